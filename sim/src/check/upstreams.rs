//! Upstreams: a relay asks an origin once for a track, and not longer than somebody watches.
//!
//! | class | what happened |
//! |---|---|
//! | `second` | an origin serves more subscriptions to a track than it has sessions |
//! | `leaked` | an origin serves a track long after everybody stopped watching it |

use super::{Checker, Finding, Observation, Seen, finding};
use crate::plan::{NodeId, Plan, Role};
use mainstem_core::moqt::relay;
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NAME: &str = "upstreams";
/// Beyond the lingering of each relay on the way.
const SLACK: Duration = Duration::from_secs(3);

/// See the module's description.
#[derive(Debug)]
pub struct Upstreams {
    linger: Duration,
    watchers: BTreeMap<u16, BTreeSet<(NodeId, u16, Key)>>,
    tracks: BTreeMap<(NodeId, u16, Key), u16>,
    /// Since when nobody watches a track.
    unwatched: BTreeMap<u16, Instant>,
    faults: usize,
    calm_since: Instant,
}

impl Upstreams {
    /// For the relays of a plan.
    pub fn new(plan: &Plan) -> Self {
        let usual = relay::Config::default().subscriber_linger;
        let lingers = plan.nodes.iter().filter_map(|node| match node.role {
            Role::Relay(_) => {
                let ms = node.limits.subscriber_linger_ms;
                Some(ms.map_or(usual, Duration::from_millis))
            }
            _ => None,
        });
        Self {
            linger: lingers.sum::<Duration>() + SLACK,
            watchers: BTreeMap::new(),
            tracks: BTreeMap::new(),
            unwatched: BTreeMap::new(),
            faults: 0,
            calm_since: Instant::ZERO,
        }
    }

    fn gone(&mut self, at: Instant, is: impl Fn(&(NodeId, u16, Key)) -> bool) {
        let gone: Vec<_> = self.tracks.keys().filter(|of| is(of)).copied().collect();
        for of in gone {
            let Some(track) = self.tracks.remove(&of) else {
                continue;
            };
            let watchers = self.watchers.entry(track).or_default();
            watchers.remove(&of);
            if watchers.is_empty() {
                self.unwatched.insert(track, at);
            }
        }
    }
}

impl Checker for Upstreams {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (at, node, life) = (observation.at, observation.node, observation.life);
        match &observation.seen {
            Seen::FaultBegan { .. } => self.faults += 1,
            Seen::FaultEnded { .. } => {
                self.faults = self.faults.saturating_sub(1);
                self.calm_since = at;
            }
            Seen::Healed => {
                self.faults = 0;
                self.calm_since = at;
            }
            Seen::Asked { key, track, .. } => {
                self.tracks.insert((node, life, *key), *track);
                let watchers = self.watchers.entry(*track).or_default();
                watchers.insert((node, life, *key));
                self.unwatched.remove(track);
            }
            Seen::Rejected { key, .. } | Seen::Ended { key, .. } | Seen::GaveUp { key } => {
                self.gone(at, |of| *of == (node, life, *key));
            }
            Seen::Closed { session, .. } => {
                self.gone(at, |of| of.0 == node && of.2.0 == *session);
            }
            Seen::Died | Seen::Started => self.gone(at, |of| of.0 == node),
            Seen::Serving {
                track,
                subscriptions,
                sessions,
            } => {
                if subscriptions > sessions {
                    let message = format!(
                        "expected at most {sessions} subscriptions to t{track}, there are {subscriptions}"
                    );
                    return Err(finding(NAME, "second", observation, message));
                }
                let since = self.unwatched.get(track).map(|at| self.calm_since.max(*at));
                let is_late = since.is_some_and(|since| at.saturating_since(since) > self.linger);
                if *subscriptions > 0 && self.faults == 0 && is_late {
                    let message = format!("t{track} is served, and nobody has watched it for long");
                    return Err(finding(NAME, "leaked", observation, message));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
