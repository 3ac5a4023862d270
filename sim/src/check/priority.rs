//! Priority: on a link that is too narrow, what matters more comes first.
//!
//! | class | what happened |
//! |---|---|
//! | `inverted` | of a less important track, an object arrived that was published [`MARGIN`] after one of a more important track, which is still missing |
//!
//! Looked at where the network alone does not reorder: in plans with no other fault than narrow or long links, for
//! viewers behind one relay. What the transport already holds goes first: the margin covers it.

use super::{Checker, Finding, Observation, Place, Seen, finding};
use crate::plan::{FaultKind, NodeId, Plan, Role};
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "priority";
/// How much later the less important object must have been published.
pub const MARGIN: Duration = Duration::from_secs(2);
/// Publications that are remembered.
const PUBLISHED_MAX: usize = 16_384;

/// See the module's description.
#[derive(Debug)]
pub struct Priority {
    is_looked_at: bool,
    priorities: Vec<u8>,
    published: BTreeMap<Place, Instant>,
    /// The newest object of each track that a viewer got, and since when it watches.
    got: BTreeMap<(NodeId, u16), Watched>,
    requests: BTreeMap<(NodeId, u16, Key), u16>,
    told: BTreeSet<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    newest: Option<Place>,
    since: Instant,
}

impl Priority {
    /// For the tracks and faults of a plan.
    pub fn new(plan: &Plan) -> Self {
        let is_even = plan.faults.iter().all(|fault| {
            matches!(
                fault.kind,
                FaultKind::RateLimit { .. } | FaultKind::Delay { .. }
            )
        });
        let relays = plan
            .nodes
            .iter()
            .filter(|node| matches!(node.role, Role::Relay(_)));
        let is_plain = plan.nodes.iter().all(|node| match &node.role {
            Role::Viewer(viewer) => {
                let has_time = viewer.object_timeout_ms.or(viewer.subgroup_timeout_ms);
                viewer.stalls.is_empty() && viewer.past_groups.is_none() && has_time.is_none()
            }
            Role::Hostile(_) => false,
            Role::Origin(_) | Role::Relay(_) => true,
        });
        Self {
            is_looked_at: is_even && is_plain && relays.count() == 1,
            priorities: plan.tracks.iter().map(|track| track.priority).collect(),
            published: BTreeMap::new(),
            got: BTreeMap::new(),
            requests: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    fn priority(&self, track: u16) -> u8 {
        let known = self.priorities.get(usize::from(track));
        known.copied().unwrap_or(u8::MAX)
    }

    /// The oldest object of a more important track that is missing, if `place` came before it in spite of
    /// being much younger.
    fn overtaken(&self, node: NodeId, place: Place) -> Option<Place> {
        let younger = *self.published.get(&place)?;
        let of_node = (node, 0)..=(node, u16::MAX);
        self.got.range(of_node).find_map(|((_, track), watched)| {
            if self.priority(*track) >= self.priority(place.track) {
                return None;
            }
            let newest = watched.newest?;
            let next = Place {
                object: newest.object.saturating_add(1),
                ..newest
            };
            let end = Place {
                track: track.saturating_add(1),
                group: 0,
                object: 0,
            };
            let (missing, older) = self.published.range(next..end).next()?;
            let is_due = *older >= watched.since;
            (is_due && younger.saturating_since(*older) > MARGIN).then_some(*missing)
        })
    }
}

impl Checker for Priority {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        if !self.is_looked_at {
            return Ok(());
        }
        let (at, node, life) = (observation.at, observation.node, observation.life);
        match &observation.seen {
            Seen::Published { place, .. } => {
                self.published.insert(*place, at);
                if self.published.len() > PUBLISHED_MAX {
                    self.published.pop_first();
                }
            }
            Seen::Accepted { key, .. } => {
                if let Some(track) = self.requests.get(&(node, life, *key)) {
                    let watched = Watched {
                        newest: None,
                        since: at,
                    };
                    self.got.insert((node, *track), watched);
                }
            }
            Seen::Asked { key, track, .. } => {
                self.requests.insert((node, life, *key), *track);
            }
            Seen::Delivered { place, .. } => {
                if let Some(missing) = self.overtaken(node, *place)
                    && self.told.insert(node)
                {
                    let message = format!(
                        "expected {missing} before {place}, which matters less and is {} s younger",
                        MARGIN.as_secs()
                    );
                    return Err(finding(NAME, "inverted", observation, message));
                }
                if let Some(watched) = self.got.get_mut(&(node, place.track)) {
                    watched.newest = watched.newest.max(Some(*place));
                }
            }
            Seen::Ended { .. } | Seen::Closed { .. } | Seen::GaveUp { .. } => {
                self.got.retain(|(of, _), _| *of != node);
            }
            _ => {}
        }
        Ok(())
    }
}
