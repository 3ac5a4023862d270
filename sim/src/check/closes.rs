//! Closes: nobody is blamed who did nothing wrong, and whoever breaks the rules is told so.
//!
//! | class | what happened |
//! |---|---|
//! | `blamed` | a relay closed the session of a viewer or origin for a fault, or with no known code |
//! | `blames` | a viewer's or origin's machine closed its session for a fault of the relay's |
//! | `no-goaway` | a session was closed for staying after GOAWAY, and no GOAWAY had come |
//! | `own-fault` | a relay closed a hostile peer's session with an internal error |
//! | `unblamed` | a relay closed a session for a broken rule, and named no fault |
//!
//! A GOAWAY that is lost may be overtaken by the close that follows it: where packets get lost, or nobody reads them,
//! before a relay has gone, `no-goaway` is not held.

use super::{Checker, Finding, Observation, Seen, finding};
use crate::plan::{Behaviour, Fault, FaultKind, LinkPlan, NodeId, NodePlan, Plan, Role};
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::transport::{Closed, Origin, SessionId};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "closes";

/// Codes that say nothing against the peer.
const BLAMELESS: [SessionCode; 6] = [
    SessionCode::NO_ERROR,
    SessionCode::UNAUTHORIZED,
    SessionCode::GOAWAY_TIMEOUT,
    SessionCode::EXPIRED_AUTH_TOKEN,
    SessionCode::CONTROL_MESSAGE_TIMEOUT,
    SessionCode::DATA_STREAM_TIMEOUT,
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    WellBehaved,
    Hostile(Behaviour),
}

/// See the module's description.
#[derive(Debug)]
pub struct Closes {
    kinds: BTreeMap<NodeId, Kind>,
    told_to_go: BTreeSet<(NodeId, u16, SessionId)>,
    is_closing: bool,
    /// A relay that goes away ends whoever had no time to do wrong without blame.
    has_drain: bool,
    /// Packets may get lost while a relay goes away.
    may_miss_goaway: bool,
    /// Packets may get lost: a WebTransport session then ends with its connection, and nobody is told why.
    may_lose_words: bool,
}

impl Closes {
    /// For the nodes of a plan.
    pub fn new(plan: &Plan) -> Self {
        let kinds = plan.node_ids().filter_map(|(id, node)| {
            let kind = match &node.role {
                Role::Origin(_) | Role::Viewer(_) => Kind::WellBehaved,
                Role::Hostile(hostile) => Kind::Hostile(hostile.behaviour),
                Role::Relay(_) => return None,
            };
            Some((id, kind))
        });
        Self {
            kinds: kinds.collect(),
            told_to_go: BTreeSet::new(),
            is_closing: false,
            has_drain: drains(plan).next().is_some(),
            may_miss_goaway: may_miss_goaway(plan),
            may_lose_words: is_narrow(plan) || plan.faults.iter().any(loses_packets),
        }
    }
}

fn drains(plan: &Plan) -> impl Iterator<Item = &Fault> {
    let is_drain = |fault: &&Fault| matches!(fault.kind, FaultKind::Drain { .. });
    plan.faults.iter().filter(is_drain)
}

/// Whether a link drops what it has no room for.
fn is_narrow(plan: &Plan) -> bool {
    let is_narrow = |link: &LinkPlan| link.bytes_per_second > 0;
    is_narrow(&plan.link) || plan.links.iter().any(|each| is_narrow(&each.link))
}

fn loses_packets(fault: &Fault) -> bool {
    let stops = matches!(fault.kind, FaultKind::AddressChange | FaultKind::Pause);
    stops || !fault.kind.is_of_node()
}

fn may_miss_goaway(plan: &Plan) -> bool {
    let narrow = is_narrow(plan);
    // A sender that lost much sends next to nothing for a while, also when nothing is lost any more.
    let harms =
        |drain: &Fault, other: &Fault| other.start_ms < drain.stop_ms && loses_packets(other);
    let stalls = |drain: &Fault, node: &NodePlan| match &node.role {
        Role::Viewer(viewer) => {
            let mut stalls = viewer.stalls.iter();
            stalls.any(|stall| stall.at_ms < drain.stop_ms)
        }
        Role::Origin(_) | Role::Relay(_) | Role::Hostile(_) => false,
    };
    drains(plan).any(|drain| {
        narrow
            || plan.faults.iter().any(|other| harms(drain, other))
            || plan.nodes.iter().any(|node| stalls(drain, node))
    })
}

/// What is wrong with the end of a session of somebody who keeps the rules.
fn unjust(by: Origin, code: SessionCode, was_told: bool) -> Option<&'static str> {
    if code == SessionCode::GOAWAY_TIMEOUT && !was_told {
        return Some("no-goaway");
    }
    // Bounds are the relay's to set: what passes them is ended with an internal error.
    let is_bound = code == SessionCode::INTERNAL_ERROR && by == Origin::Peer;
    if BLAMELESS.contains(&code) || is_bound {
        return None;
    }
    Some(match by {
        Origin::Peer => "blamed",
        Origin::Local => "blames",
    })
}

/// What is wrong with the end of a session of somebody who does not.
fn lenient(behaviour: Behaviour, by: Origin, code: SessionCode) -> Option<&'static str> {
    if by == Origin::Local {
        return None;
    }
    // These pass bounds and break no rule.
    let is_greedy = matches!(behaviour, Behaviour::NeverReads | Behaviour::FloodsRequests);
    if is_greedy {
        return None;
    }
    match code {
        SessionCode::INTERNAL_ERROR => Some("own-fault"),
        SessionCode::NO_ERROR
            if matches!(behaviour, Behaviour::WrongOrder | Behaviour::DuplicateIds) =>
        {
            Some("unblamed")
        }
        _ => None,
    }
}

impl Checker for Closes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        let (node, life) = (observation.node, observation.life);
        match &observation.seen {
            Seen::Closing => self.is_closing = true,
            Seen::Goaway { session, .. } => {
                self.told_to_go.insert((node, life, *session));
            }
            Seen::Closed { session, closed } => {
                let was_told = self.told_to_go.remove(&(node, life, *session));
                let was_told = was_told || self.may_miss_goaway;
                let Closed::Application { by, code, reason } = closed else {
                    return Ok(());
                };
                if self.is_closing {
                    return Ok(());
                }
                let code = SessionCode(*code);
                let class = match self.kinds.get(&node) {
                    Some(Kind::WellBehaved) => unjust(*by, code, was_told),
                    Some(Kind::Hostile(_))
                        if code == SessionCode::NO_ERROR
                            && (self.has_drain || self.may_lose_words && reason.is_empty()) =>
                    {
                        None
                    }
                    Some(Kind::Hostile(behaviour)) => lenient(*behaviour, *by, code),
                    None => None,
                };
                if let Some(class) = class {
                    let message = format!("closed by {by:?} with {code}: {reason}");
                    return Err(finding(NAME, class, observation, message));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
