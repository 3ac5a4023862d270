//! Liveness: after the faults every live viewer reaches the live edge, and what is closed is quiet.
//!
//! A viewer is live when the plan has it join and not leave, its relay lets it in, and its tracks go
//! on. It is at the live edge of a track when it gets an object, not the first of its subgroup, of a group
//! that began after the faults, no later than [`EDGE`] after its publication.

use super::{Checker, Finding, Observation, Place, Seen, finding, micros};
use crate::plan::{Access, NodeId, Plan, Role, TokenPlan, TrackPlan};
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What it is called in findings.
pub const NAME: &str = "liveness";
/// How old an object at the live edge may be.
pub const EDGE: Duration = Duration::from_secs(2);
/// Publications that are remembered.
const PUBLISHED_MAX: usize = 65_536;

/// See the module's description.
#[derive(Debug)]
pub struct Liveness {
    /// Who has not reached the live edge of what.
    waiting: BTreeSet<(NodeId, u16)>,
    healed_at: Option<Instant>,
    /// First group of each track that began after the faults.
    fresh: BTreeMap<u16, u64>,
    published: BTreeMap<Place, Instant>,
    /// The first object of a group of each track that is not the first of its subgroup, if any is.
    second: Vec<u64>,
    order: std::collections::VecDeque<Place>,
}

impl Liveness {
    /// For the viewers of a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut waiting = BTreeSet::new();
        for (id, node) in plan.node_ids() {
            let Role::Viewer(viewer) = &node.role else {
                continue;
            };
            let is_let_in = match plan.node(viewer.relay).map(|node| &node.role) {
                Some(Role::Relay(relay)) => {
                    relay.access == Access::Open || viewer.token == TokenPlan::Good
                }
                _ => false,
            };
            if viewer.leave_ms.is_some() || !is_let_in {
                continue;
            }
            for track in &viewer.tracks {
                if goes_on(plan, *track) {
                    waiting.insert((id, *track));
                }
            }
        }
        Self {
            waiting,
            healed_at: None,
            fresh: BTreeMap::new(),
            published: BTreeMap::new(),
            second: plan.tracks.iter().map(second_object).collect(),
            order: std::collections::VecDeque::new(),
        }
    }

    fn publish(&mut self, at: Instant, place: Place) {
        if self.healed_at.is_some() && place.object == 0 {
            self.fresh.entry(place.track).or_insert(place.group);
        }
        self.published.insert(place, at);
        self.order.push_back(place);
        if self.order.len() > PUBLISHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.published.remove(&oldest);
        }
    }
}

fn second_object(track: &TrackPlan) -> u64 {
    // Objects go to subgroups in turn.
    if track.group_objects > track.subgroups {
        track.subgroups
    } else {
        0
    }
}

/// Whether a track is published until the end, by somebody who is let in.
fn goes_on(plan: &Plan, track: u16) -> bool {
    let Some(track) = plan.tracks.get(usize::from(track)) else {
        return false;
    };
    match plan.node(track.origin).map(|node| &node.role) {
        Some(Role::Origin(origin)) => {
            let is_open = matches!(
                plan.node(origin.relay).map(|node| &node.role),
                Some(Role::Relay(relay)) if relay.access == Access::Open
            );
            origin.stop_ms.is_none() && track.groups.is_none() && (is_open || !origin.has_wrong_key)
        }
        _ => false,
    }
}

impl Checker for Liveness {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        match &observation.seen {
            Seen::Healed => {
                self.healed_at = Some(observation.at);
                Ok(())
            }
            Seen::Published { place, .. } => {
                self.publish(observation.at, *place);
                Ok(())
            }
            Seen::Delivered { place, .. } => {
                let fresh = self.fresh.get(&place.track);
                let second = self.second.get(usize::from(place.track));
                // A stream that does not go on has its first object all the same.
                let goes_on = second.is_some_and(|second| place.object >= *second);
                let is_fresh = goes_on && fresh.is_some_and(|fresh| place.group >= *fresh);
                let published = self.published.get(place);
                if is_fresh
                    && published.is_some_and(|at| observation.at.saturating_since(*at) <= EDGE)
                {
                    self.waiting.remove(&(observation.node, place.track));
                }
                Ok(())
            }
            Seen::Residue { node, what } => {
                let message = format!("expected nothing of {node} after its end, it has {what}");
                Err(finding(NAME, "residue", observation, message))
            }
            _ => Ok(()),
        }
    }

    fn is_content(&self) -> bool {
        self.waiting.is_empty()
    }

    fn at_end(&mut self, at: Instant) -> Vec<Finding> {
        let Some((node, track)) = self.waiting.first().copied() else {
            return Vec::new();
        };
        let healed = self.healed_at.map_or(0, micros) / 1_000;
        vec![Finding {
            checker: NAME,
            class: "not-at-live-edge",
            at_us: micros(at),
            node,
            message: format!(
                "expected {node} at the live edge of t{track} after the faults ended at {healed} ms; {} are not",
                self.waiting.len()
            ),
        }]
    }
}
