//! Bounds: what a relay holds stays within its limits.
//!
//! | class | what happened |
//! |---|---|
//! | `cache` | retained groups take more bytes than the relay may hold |
//! | `groups` | retained groups take more bytes than so many groups of the plan's tracks can |
//! | `unsent` | a connection has more bytes waiting than it may |
//! | `sessions` | there are more sessions than connections are allowed |

use super::{Checker, Finding, Observation, Seen, finding};
use crate::plan::{NodeId, Plan, Role};
use mainstem_core::moqt::relay::{self, Metrics};
use mainstem_quic::{Figures, Limits};
use std::collections::BTreeMap;

const NAME: &str = "bounds";
/// What the host counts for each write that waits, and one object beyond the bound that ends a session.
const UNSENT_SLACK: u64 = 5 << 20;

#[derive(Clone, Copy, Debug)]
struct Bound {
    cache_bytes: usize,
    groups_bytes: usize,
    unsent_bytes: u64,
    sessions: usize,
}

/// See the module's description.
#[derive(Debug)]
pub struct Bounds {
    relays: BTreeMap<NodeId, Bound>,
}

impl Bounds {
    /// For the relays of a plan.
    pub fn new(plan: &Plan) -> Self {
        let usual = relay::Config::default();
        let host = Limits::default();
        let relays = plan.node_ids().filter_map(|(id, node)| {
            let Role::Relay(_) = node.role else {
                return None;
            };
            let limits = &node.limits;
            let cache = &usual.track.cache;
            let live = limits.groups.unwrap_or(cache.groups_max);
            // One that is being filled, and what was fetched: for viewers that asked for the past, and for
            // relays whose upstream was away for a while.
            let groups = live + 1 + cache.history_groups_max;
            let fetches = plan.nodes.iter().any(|node| match &node.role {
                Role::Viewer(viewer) => viewer.past_groups.is_some(),
                Role::Relay(relay) => !relay.upstreams.is_empty(),
                Role::Origin(_) | Role::Hostile(_) => false,
            });
            let of_track = |track: &crate::plan::TrackPlan| {
                let objects = usize::try_from(track.group_objects).unwrap_or(usize::MAX);
                objects.saturating_mul(track.object_bytes_most().saturating_add(64))
            };
            let bytes = plan.tracks.iter().map(|track| {
                let groups = if fetches { groups } else { live + 1 };
                of_track(track).saturating_mul(groups)
            });
            let hard = limits
                .cache_bytes_hard
                .unwrap_or(usual.cache_bytes_hard_max);
            let bound = Bound {
                cache_bytes: hard,
                groups_bytes: bytes.fold(0, usize::saturating_add),
                unsent_bytes: u64::try_from(host.unsent_bytes_max).unwrap_or(u64::MAX)
                    + UNSENT_SLACK,
                sessions: limits.connections.unwrap_or(host.connections_max),
            };
            Some((id, bound))
        });
        Self {
            relays: relays.collect(),
        }
    }
}

fn passed(bound: Bound, relay: &Metrics, host: Option<&Figures>) -> Option<(&'static str, String)> {
    let cache = relay.cache_bytes;
    let unsent = host.map_or(0, |host| host.unsent_bytes_of_one);
    let over = |what: &str, most: u64, found: u64| {
        format!("expected at most {most} {what}, there are {found}")
    };
    let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    if cache > bound.cache_bytes {
        let message = over("bytes in the cache", wide(bound.cache_bytes), wide(cache));
        Some(("cache", message))
    } else if cache > bound.groups_bytes {
        let message = over("bytes of groups", wide(bound.groups_bytes), wide(cache));
        Some(("groups", message))
    } else if unsent > bound.unsent_bytes {
        Some(("unsent", over("bytes unsent", bound.unsent_bytes, unsent)))
    } else if relay.sessions > bound.sessions {
        let message = over("sessions", wide(bound.sessions), wide(relay.sessions));
        Some(("sessions", message))
    } else {
        None
    }
}

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let Seen::Metrics { relay, host, .. } = &observation.seen else {
            return Ok(());
        };
        let Some(bound) = self.relays.get(&observation.node) else {
            return Ok(());
        };
        match passed(*bound, relay, host.as_deref()) {
            Some((class, message)) => Err(finding(NAME, class, observation, message)),
            None => Ok(()),
        }
    }
}
