//! Origins, viewers and hostile peers of a generated plan.

use super::super::node::{
    Behaviour, CarrierPlan, HostilePlan, OriginPlan, Stall, TokenPlan, ViewerPlan,
};
use super::{Draw, NodeLimits, Profile, Role, Shape, node};
use mainstem_core::moqt::Draft;

impl Draw {
    fn draft(&mut self) -> u8 {
        let newest = self.percent(50);
        let drawn = self.random.pick(&Draft::ALL).map_or(22, |d| d.number());
        if newest { 22 } else { drawn }
    }

    fn carrier(&mut self) -> CarrierPlan {
        if self.percent(30) {
            CarrierPlan::WebTransport
        } else {
            CarrierPlan::Quic
        }
    }

    pub(super) fn origins(&mut self, shape: &Shape) {
        for _ in 0..shape.origins {
            let relay = node(self.random.below(shape.relays));
            let start_ms = self.random.between(0, 500);
            let ends = self.percent(5);
            let stop_ms = self.random.between(1_000, shape.duration_ms);
            let has_wrong_key = self.percent(2);
            let role = Role::Origin(OriginPlan {
                relay,
                carrier: self.carrier(),
                draft: self.draft(),
                start_ms,
                stop_ms: ends.then_some(stop_ms),
                has_wrong_key,
            });
            let limits = self.client_limits();
            let id = self.add(role, limits);
            self.tracks(id);
        }
    }

    fn client_limits(&mut self) -> NodeLimits {
        NodeLimits {
            groups: self.seldom(15, &[2, 3, 4]),
            send_window: self.seldom(15, &[32 << 10, 128 << 10]),
            receive_window: self.seldom(15, &[64 << 10, 256 << 10]),
            stream_receive_window: self.seldom(15, &[4 << 10, 32 << 10]),
            peer_uni_streams: self.seldom(15, &[12, 32]),
            peer_bidi_streams: self.seldom(10, &[8, 32]),
            idle_ms: self.seldom(20, &[3_000, 10_000]),
            ..NodeLimits::default()
        }
    }

    pub(super) fn viewers(&mut self, shape: &Shape) {
        for _ in 0..shape.viewers {
            let viewer = self.viewer(shape);
            let limits = self.client_limits();
            self.add(Role::Viewer(viewer), limits);
        }
    }

    /// Viewers that want what they watch in time or not at all.
    pub(super) fn timeouts(&mut self) {
        for at in 0..self.plan.nodes.len() {
            let object = self.seldom(12, &[1_000, 2_000, 5_000]);
            let subgroup = self.seldom(12, &[2_000, 5_000]);
            let node = self.plan.nodes.get_mut(at).map(|node| &mut node.role);
            if let Some(Role::Viewer(viewer)) = node {
                (viewer.object_timeout_ms, viewer.subgroup_timeout_ms) = (object, subgroup);
            }
        }
    }

    fn viewer(&mut self, shape: &Shape) -> ViewerPlan {
        let restless = if self.profile == Profile::Churn {
            60
        } else {
            10
        };
        let join_ms = self.random.between(0, shape.duration_ms * 2 / 3);
        let leaves = self.percent(restless);
        let leave_ms = self.random.between(join_ms, shape.duration_ms);
        let mut stalls = Vec::new();
        while stalls.len() < 3 && self.percent(restless / 2) {
            stalls.push(Stall {
                at_ms: self.random.between(join_ms, shape.duration_ms),
                for_ms: self.random.between(50, 3_000),
            });
        }
        let token = match self.random.below(20) {
            0 => TokenPlan::None,
            1 => TokenPlan::WrongInput,
            2 => TokenPlan::Until {
                seconds: self.random.between(1, 10),
            },
            3 => TokenPlan::From {
                seconds: self.random.between(1, 10),
            },
            _ => TokenPlan::Good,
        };
        ViewerPlan {
            relay: node(self.random.below(shape.relays)),
            carrier: self.carrier(),
            draft: self.draft(),
            tracks: self.watched(),
            join_ms,
            leave_ms: leaves.then_some(leave_ms),
            stalls,
            token,
            past_groups: self.seldom(20, &[0, 1, 2, 5]),
            object_timeout_ms: None,
            subgroup_timeout_ms: None,
        }
    }

    /// All tracks of one origin, or one of them.
    fn watched(&mut self) -> Vec<u16> {
        let Some(first) = self.random.pick(&self.plan.tracks).cloned() else {
            return Vec::new();
        };
        let all: Vec<u16> = (0..)
            .zip(&self.plan.tracks)
            .filter(|(_, track)| track.origin == first.origin)
            .map(|(index, _)| index)
            .collect();
        if self.percent(70) {
            return all;
        }
        self.random.pick(&all).copied().into_iter().collect()
    }

    pub(super) fn hostile(&mut self, shape: &Shape) {
        for _ in 0..shape.hostile {
            let behaviour = self.random.pick(&Behaviour::ALL).copied();
            let role = Role::Hostile(HostilePlan {
                relay: node(self.random.below(shape.relays)),
                carrier: self.carrier(),
                draft: self.draft(),
                behaviour: behaviour.unwrap_or(Behaviour::Garbage),
                start_ms: self.random.between(0, shape.duration_ms / 2),
                interval_ms: self.random.between(10, 200),
            });
            self.add(role, NodeLimits::default());
        }
    }
}
