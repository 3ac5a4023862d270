//! Draws a plan from a seed.
//!
//! Swarm testing: each fault is there or not by a coin of its own, so that most worlds lack most faults and
//! each fault meets the others alone as well as in company. What a generated plan asks for can be had:
//! links and windows carry more than what is published, and the liveness phase is long enough for time-outs to run out.
//!
//! | profile | relays | origins | viewers | what it is about |
//! |---|---|---|---|---|
//! | smoke | 1 or 2 | 1 | 1 to 3 | a bit of everything, small |
//! | lossy-last-mile | 1 | 1 | 2 to 5 | bad links of viewers |
//! | mesh | 2 to 5 | 1 or 2 | 2 to 5 | relays that crash, drain and lose each other |
//! | hostile | 1 or 2 | 1 | 1 to 3, and 1 to 3 that mean no good | what breaks the rules |
//! | churn | 1 or 2 | 1 | 3 to 8 | viewers that come, go, stall and move |
//! | perf | 1 to 3 | 1 | 4 to 8 | larger objects, no faults |
//!
//! The generator may change at any time: what is to stay is saved as a plan.

mod faults;
mod people;
mod windows;

use super::{
    Access, ClockPlan, LinkBetween, LinkPlan, NodeId, NodeLimits, NodePlan, Plan, Profile,
    RelayPlan, Role, TrackPlan, TransportKind, VERSION,
};
use crate::random::{Purpose, Random, Streams};

/// How long the liveness phase may last: longer than any time-out that it may have to wait for.
const HEAL_MS: u64 = 90_000;

impl Plan {
    /// The plan of a seed, over real QUIC.
    pub fn generate(seed: u64, profile: Profile) -> Self {
        let mut random = Streams::new(seed).stream(Purpose::Plan);
        let drawn = match profile {
            Profile::Swarm => {
                let others = [
                    Profile::Smoke,
                    Profile::LossyLastMile,
                    Profile::Mesh,
                    Profile::Hostile,
                    Profile::Churn,
                    Profile::Perf,
                ];
                random.pick(&others).copied().unwrap_or(Profile::Smoke)
            }
            drawn => drawn,
        };
        let shape = Shape::of(drawn, &mut random);
        let plan = Self {
            version: VERSION,
            about: String::new(),
            seed,
            profile,
            transport: TransportKind::Quic,
            duration_ms: shape.duration_ms,
            heal_ms: HEAL_MS,
            link: LinkPlan {
                delay_us: random.between(200, 40_000),
                bytes_per_second: 0,
                queue_bytes: 0,
            },
            links: Vec::new(),
            nodes: Vec::new(),
            tracks: Vec::new(),
            faults: Vec::new(),
        };
        let mut draw = Draw {
            profile: drawn,
            random,
            plan,
        };
        draw.relays(&shape);
        draw.origins(&shape);
        draw.viewers(&shape);
        draw.hostile(&shape);
        draw.links();
        draw.faults();
        // Last, so that what is drawn before stays what it was.
        draw.catalogs();
        draw.timeouts();
        draw.marks();
        draw.windows();
        draw.plan
    }
}

/// How many of each there are.
struct Shape {
    duration_ms: u64,
    relays: u64,
    origins: u64,
    viewers: u64,
    hostile: u64,
}

impl Shape {
    fn of(profile: Profile, random: &mut Random) -> Self {
        let mut draw = |low, high| random.between(low, high);
        let duration_ms = draw(2_000, 6_000);
        let (relays, origins, viewers, hostile) = match profile {
            Profile::Smoke | Profile::Swarm => (draw(1, 2), 1, draw(1, 3), 0),
            Profile::LossyLastMile => (1, 1, draw(2, 5), 0),
            Profile::Mesh => (draw(2, 5), draw(1, 2), draw(2, 5), 0),
            Profile::Hostile => (draw(1, 2), 1, draw(1, 3), draw(1, 3)),
            Profile::Churn => (draw(1, 2), 1, draw(3, 8), 0),
            Profile::Perf => (draw(1, 3), 1, draw(4, 8), 0),
        };
        Self {
            duration_ms: match profile {
                Profile::Smoke | Profile::Swarm | Profile::Perf => duration_ms,
                _ => duration_ms * 2,
            },
            relays,
            origins,
            viewers,
            hostile,
        }
    }
}

/// A plan being drawn.
struct Draw {
    profile: Profile,
    random: Random,
    plan: Plan,
}

impl Draw {
    fn add(&mut self, role: Role, limits: NodeLimits) -> NodeId {
        let id = NodeId(u16::try_from(self.plan.nodes.len()).unwrap_or(u16::MAX));
        let clock = self.clock();
        self.plan.nodes.push(NodePlan {
            role,
            limits,
            clock,
        });
        id
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, percent: u32) -> bool {
        self.random.chance(percent.saturating_mul(10_000))
    }

    /// One of some values; none of them in most cases.
    fn seldom<T: Copy>(&mut self, percent: u32, choices: &[T]) -> Option<T> {
        let is_drawn = self.percent(percent);
        let picked = self.random.pick(choices).copied();
        picked.filter(|_| is_drawn)
    }

    /// Relays come first: their numbers are 0 and up. Each dials one or more of those before it.
    fn relays(&mut self, shape: &Shape) {
        let access = if self.percent(60) {
            Access::Tokens
        } else {
            Access::Open
        };
        for at in 0..shape.relays {
            let mut upstreams = Vec::new();
            if at > 0 {
                upstreams.push(node(self.random.below(at)));
                for other in 0..at {
                    let other = node(other);
                    if self.percent(25) && !upstreams.contains(&other) {
                        upstreams.push(other);
                    }
                }
            }
            let role = Role::Relay(RelayPlan {
                upstreams,
                access,
                resolve_ms: self.random.between(0, 200),
                skew_ms: self.seldom(50, &[500, 2_000]).unwrap_or(0),
            });
            let limits = self.relay_limits();
            self.add(role, limits);
        }
    }

    fn relay_limits(&mut self) -> NodeLimits {
        NodeLimits {
            cache_bytes: self.seldom(20, &[4 << 10, 64 << 10, 1 << 20]),
            groups: self.seldom(20, &[2, 3, 4]),
            send_window: self.seldom(20, &[32 << 10, 128 << 10]),
            receive_window: self.seldom(15, &[64 << 10, 256 << 10]),
            stream_receive_window: self.seldom(15, &[4 << 10, 32 << 10]),
            peer_bidi_streams: self.seldom(10, &[16, 64]),
            peer_uni_streams: self.seldom(15, &[12, 32]),
            publisher_linger_ms: self.seldom(30, &[500, 2_000]),
            subscriber_linger_ms: self.seldom(30, &[0, 100, 500]),
            ..NodeLimits::default()
        }
    }

    fn clock(&mut self) -> ClockPlan {
        let ahead: Option<i64> = self.seldom(10, &[-30_000, -1_500, 1_500, 30_000]);
        let drift: Option<i64> = self.seldom(10, &[-50_000, -200, 200, 50_000]);
        ClockPlan {
            ahead_ms: ahead.unwrap_or(0),
            drift_ppm: drift.unwrap_or(0),
        }
    }

    /// Tracks of an origin: a large slow one and a small quick one, or either.
    fn tracks(&mut self, origin: NodeId) {
        let count = self.random.between(1, 2);
        for at in 0..count {
            let interval_ms = *self.random.pick(&[40, 80, 100, 200]).unwrap_or(&100);
            let group_ms = *self.random.pick(&[250, 500, 1_000]).unwrap_or(&500);
            let group_objects = (group_ms / interval_ms).max(1);
            let largest = match self.profile {
                Profile::Perf => 12_000,
                _ => *self.random.pick(&[200, 1_000, 3_000]).unwrap_or(&1_000),
            };
            let subgroups = if self.percent(25) {
                self.random.between(1, group_objects.min(3))
            } else {
                1
            };
            let is_endless = !self.percent(10);
            let groups = self.random.between(2, 8);
            let smallest = self.random.between(0, largest);
            let priority = u8::try_from(self.random.below(256)).unwrap_or(128);
            self.plan.tracks.push(TrackPlan {
                origin,
                name: format!("track{at}"),
                interval_ms,
                group_objects,
                subgroups,
                object_bytes_min: usize::try_from(smallest).unwrap_or_default(),
                object_bytes_max: usize::try_from(largest).unwrap_or_default(),
                priority,
                groups: (!is_endless).then_some(groups),
                is_catalog: false,
            });
        }
    }

    /// Catalogs beside the other tracks of some origins, for some of those who watch them.
    fn catalogs(&mut self) {
        let origins: Vec<NodeId> = self.plan.tracks.iter().map(|track| track.origin).collect();
        for origin in std::collections::BTreeSet::from_iter(origins) {
            if !self.percent(30) {
                continue;
            }
            let index = u16::try_from(self.plan.tracks.len()).unwrap_or(u16::MAX);
            self.plan.tracks.push(TrackPlan {
                origin,
                name: "catalog".to_owned(),
                interval_ms: *self.random.pick(&[100, 250, 500]).unwrap_or(&250),
                group_objects: self.random.between(1, 8),
                subgroups: 1,
                object_bytes_min: 0,
                object_bytes_max: 0,
                priority: 0,
                groups: None,
                is_catalog: true,
            });
            for at in 0..self.plan.nodes.len() {
                let watches = self.percent(60);
                let plan = &mut self.plan;
                let Some(Role::Viewer(viewer)) = plan.nodes.get_mut(at).map(|node| &mut node.role)
                else {
                    continue;
                };
                let mut watched = viewer.tracks.iter();
                let is_of_origin = watched.all(|track| {
                    let track = plan.tracks.get(usize::from(*track));
                    track.is_some_and(|track| track.origin == origin)
                });
                if watches && is_of_origin && !viewer.tracks.is_empty() {
                    viewer.tracks.push(index);
                }
            }
        }
    }

    /// Bytes per second that the tracks of a list come to, with their framing.
    fn rate(&self, tracks: impl Iterator<Item = u16>) -> u64 {
        let of_track = |index: u16| {
            let track = self.plan.tracks.get(usize::from(index))?;
            let bytes = u64::try_from(track.object_bytes_most()).ok()? + 100;
            Some(bytes * 1_000 / track.interval_ms.max(1))
        };
        tracks.filter_map(of_track).sum()
    }

    /// Viewers' own links: each carries three times what its viewer watches, and more.
    fn links(&mut self) {
        let share = match self.profile {
            Profile::LossyLastMile => 90,
            Profile::Perf => 0,
            _ => 25,
        };
        for at in 0..self.plan.nodes.len() {
            let Some(Role::Viewer(viewer)) = self.plan.nodes.get(at).map(|node| &node.role) else {
                continue;
            };
            let relay = viewer.relay;
            let least = self.rate(viewer.tracks.clone().into_iter()) * 3 + 40_000;
            let is_limited = self.percent(share);
            let bytes_per_second = self.random.between(least, least * 4);
            let delay_us = self.random.between(1_000, 120_000);
            let queue_ms = self.random.between(20, 400);
            if is_limited {
                self.plan.links.push(LinkBetween {
                    from: relay,
                    to: node(u64::try_from(at).unwrap_or_default()),
                    link: LinkPlan {
                        delay_us,
                        bytes_per_second,
                        queue_bytes: (bytes_per_second * queue_ms / 1_000).max(10_000),
                    },
                });
            }
        }
    }
}

/// The node of a number.
fn node(number: u64) -> NodeId {
    NodeId(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_generated_plan_is_valid_and_survives_json() {
        for profile in Profile::ALL {
            for seed in 0..300 {
                let plan = Plan::generate(seed, profile);
                let again = Plan::from_json(&plan.to_json());
                assert_eq!(again.unwrap(), plan, "{profile} {seed}");
            }
        }
    }

    #[test]
    fn swarm_draws_every_fault_and_leaves_most_out_of_each_plan() {
        let mut kinds = BTreeSet::new();
        let mut count = 0;
        for seed in 0..400 {
            let plan = Plan::generate(seed, Profile::Swarm);
            count += plan.faults.len();
            kinds.extend(plan.faults.iter().map(|fault| fault.kind.name()));
        }
        assert_eq!(kinds.len(), 21, "{kinds:?}");
        assert!((400..3_600).contains(&count), "{count}");
    }
}
