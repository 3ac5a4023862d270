//! Permission: nothing is granted or delivered beyond what a viewer's token says.
//!
//! | class | what happened |
//! |---|---|
//! | `granted` | a request was accepted that no time makes right |
//! | `leaked` | an object arrived under such a request |
//! | `after-expiry` | an object arrived that was published after the token had expired by the clock of every relay |
//! | `too-early` | an object arrived before the token held by the clock of any relay |
//!
//! Clocks are the relays' own, as they were told last. An object that was under way at the expiry may
//! arrive: what counts is when it was published. A relay that does not run cannot end anything, so
//! expiry is not looked at in plans that pause relays.

use super::{Checker, Expectation, Finding, Observation, Place, Seen, finding};
use crate::plan::{Access, FaultKind, NodeId, Plan, Role};
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::{Instant, UnixTime};
use std::collections::BTreeMap;
use std::time::Duration;

const NAME: &str = "permission";
/// Between two times that a relay is told the clock, and a fault that changed it.
const SLACK: Duration = Duration::from_millis(2_500);
/// Publications that are remembered.
const PUBLISHED_MAX: usize = 65_536;

/// See the module's description.
#[derive(Debug)]
pub struct Permission {
    /// What is forgiven, of all relays the most.
    slack: Duration,
    is_looked_at: bool,
    /// When each relay was told what.
    clocks: BTreeMap<NodeId, (Instant, UnixTime)>,
    expected: BTreeMap<(NodeId, u16, Key), Expectation>,
    /// The earliest clock of all relays when an object was published.
    published: BTreeMap<Place, UnixTime>,
}

impl Permission {
    /// For the relays of a plan.
    pub fn new(plan: &Plan) -> Self {
        let relays = plan.node_ids().filter_map(|(id, node)| match &node.role {
            Role::Relay(relay) if relay.access == Access::Tokens => Some((id, relay)),
            _ => None,
        });
        let skew = relays.map(|(_, relay)| relay.skew_ms).max().unwrap_or(0);
        let is_paused = |kind| matches!(kind, FaultKind::Pause | FaultKind::ClockStep { .. });
        Self {
            slack: SLACK + Duration::from_millis(skew),
            is_looked_at: !plan.faults.iter().any(|fault| is_paused(fault.kind)),
            clocks: BTreeMap::new(),
            expected: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    /// What the relays' clocks say: the earliest and the latest.
    fn clocks(&self, now: Instant) -> Option<(UnixTime, UnixTime)> {
        let shown = self
            .clocks
            .values()
            .map(|(at, unix)| *unix + now.saturating_since(*at));
        shown.fold(None, |range, unix| match range {
            None => Some((unix, unix)),
            Some((low, high)) => Some((low.min(unix), high.max(unix))),
        })
    }

    fn deliver(
        &self,
        observation: &Observation,
        expected: Expectation,
        place: Place,
    ) -> Result<(), Finding> {
        let refuse = |class, message| Err(finding(NAME, class, observation, message));
        match expected {
            Expectation::Permitted => Ok(()),
            Expectation::Refused => refuse("leaked", format!("{place} came without permission")),
            Expectation::PermittedWhile { .. } if !self.is_looked_at => Ok(()),
            Expectation::PermittedWhile { from, until } => {
                let late = self.published.get(&place);
                if late.is_some_and(|at| *at > until + self.slack) {
                    let message = format!("{place} was published after the token had expired");
                    return refuse("after-expiry", message);
                }
                match self.clocks(observation.at) {
                    Some((_, latest)) if latest + self.slack < from => {
                        refuse("too-early", format!("{place} came before the token held"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Checker for Permission {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (at, node, life) = (observation.at, observation.node, observation.life);
        match &observation.seen {
            Seen::Clock { unix } => {
                self.clocks.insert(node, (at, *unix));
            }
            Seen::Published { place, .. } => {
                if let Some((earliest, _)) = self.clocks(at) {
                    self.published.insert(*place, earliest);
                }
                if self.published.len() > PUBLISHED_MAX {
                    self.published.pop_first();
                }
            }
            Seen::Asked { key, expected, .. } => {
                self.expected.insert((node, life, *key), *expected);
            }
            Seen::Accepted { key, .. }
                if self.expected.get(&(node, life, *key)) == Some(&Expectation::Refused) =>
            {
                let message = format!("request {} was accepted without permission", key.1.0);
                return Err(finding(NAME, "granted", observation, message));
            }
            Seen::Delivered { key, place, .. } => {
                if let Some(expected) = self.expected.get(&(node, life, *key)) {
                    return self.deliver(observation, *expected, *place);
                }
            }
            Seen::Closed { session, .. } => {
                self.expected
                    .retain(|(of, _, key), _| *of != node || key.0 != *session);
            }
            _ => {}
        }
        Ok(())
    }
}
