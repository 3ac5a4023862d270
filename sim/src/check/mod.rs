//! Checkers: what must hold in every run, one file per concern.
//!
//! The world says what it sees ([`Observation`]) after each of its events, to each checker in the order of
//! [`all`]. A checker that sees something wrong answers with a [`Finding`]: a value, never a panic.
//! Its `class` is a stable text; a plan that is cut down counts as the same failure as long as checker and class
//! stay.
//!
//! | checker | holds that |
//! |---|---|
//! | [`payload`] | an object's bytes are f(track, group, object), wherever it is seen |
//! | [`order`] | objects of a subgroup arrive in order, and none twice for one subscription |
//! | [`ends`] | nothing before its publication, nothing after an end, and every end is told |
//! | [`holes`] | no object of a subgroup is missing without a word |
//! | [`conclusion`] | whoever watches a track hears of its end |
//! | [`catalog`] | a catalog by its updates is the whole catalog of that place |
//! | [`lateness`] | what was wanted within a time does not come long after it |
//! | [`permission`] | nothing is granted or delivered beyond what a token says |
//! | [`answers`] | every request is answered, or its session ends |
//! | [`upstreams`] | a relay asks once for a track, and not longer than somebody watches |
//! | [`priority`] | on a link that is too narrow, what matters more comes first |
//! | [`bounds`] | caches and buffers stay within their limits |
//! | [`closes`] | nobody is blamed who did nothing wrong; whoever breaks the rules is |
//! | [`liveness`] | after the faults every live viewer reaches the live edge; what is closed is quiet |
//!
//! To add one: a file here, a line in [`all`].

pub mod answers;
pub mod bounds;
pub mod catalog;
pub mod closes;
pub mod conclusion;
pub mod ends;
pub mod holes;
pub mod lateness;
pub mod liveness;
pub mod order;
pub mod payload;
pub mod permission;
pub mod priority;
mod seen;
pub mod upstreams;

pub use seen::{Expectation, Place, Seen};

use crate::plan::{FaultKind, NodeId, Plan, Role};
use mainstem_core::time::Instant;
use serde::Serialize;
use std::time::Duration;

/// Something that the world saw.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When.
    pub at: Instant,
    /// Where; [`NodeId::WORLD`] for what is of no node.
    pub node: NodeId,
    /// How often that node was started before.
    pub life: u16,
    /// What.
    pub seen: Seen,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whose finding it is.
    pub checker: &'static str,
    /// What kind of failure, in a stable word or two.
    pub class: &'static str,
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// Where.
    pub node: NodeId,
    /// What was expected and what came.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} at {}.{:06} s, {}: {}",
            self.checker,
            self.class,
            self.at_us / 1_000_000,
            self.at_us % 1_000_000,
            self.node,
            self.message
        )
    }
}

/// Holds one promise against what happens.
pub trait Checker {
    /// Its name, stable.
    fn name(&self) -> &'static str;

    /// Something happened.
    fn observe(&mut self, observation: &Observation) -> Result<(), Finding>;

    /// Whether the liveness phase need not go on for this checker's sake.
    fn is_content(&self) -> bool {
        true
    }

    /// The run is over; everybody has left.
    fn at_end(&mut self, at: Instant) -> Vec<Finding> {
        let _ = at;
        Vec::new()
    }
}

/// Every checker, for a run of this plan.
pub fn all(plan: &Plan) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(payload::Payloads::new(plan)),
        Box::new(order::Order::new()),
        Box::new(ends::Ends::new(plan)),
        Box::new(permission::Permission::new(plan)),
        Box::new(answers::Answers::new(plan)),
        Box::new(upstreams::Upstreams::new(plan)),
        Box::new(priority::Priority::new(plan)),
        Box::new(bounds::Bounds::new(plan)),
        Box::new(closes::Closes::new(plan)),
        Box::new(holes::Holes::new(plan)),
        Box::new(catalog::Catalogs::new(plan)),
        Box::new(lateness::Lateness::new(plan)),
        Box::new(conclusion::Conclusion::new(plan)),
        Box::new(liveness::Liveness::new(plan)),
    ]
}

/// A finding about an observation.
pub(crate) fn finding(
    checker: &'static str,
    class: &'static str,
    observation: &Observation,
    message: String,
) -> Finding {
    Finding {
        checker,
        class,
        at_us: micros(observation.at),
        node: observation.node,
        message,
    }
}

/// How much longer an answer may take for what stood still before: a transport whose packets waited in a process
/// that did nothing has measured that wait as its round trip, and repeats what is lost accordingly.
pub(crate) fn poise(plan: &Plan) -> Duration {
    let pauses = plan.faults.iter().filter_map(|fault| {
        let is_pause = matches!(fault.kind, FaultKind::Pause);
        is_pause.then(|| fault.stop_ms.saturating_sub(fault.start_ms))
    });
    let stalls = plan.nodes.iter().flat_map(|node| match &node.role {
        Role::Viewer(viewer) => viewer.stalls.as_slice(),
        Role::Origin(_) | Role::Relay(_) | Role::Hostile(_) => &[],
    });
    let longest = pauses.chain(stalls.map(|stall| stall.for_ms)).max();
    // A first measurement counts for its half again, four times over.
    Duration::from_millis(longest.unwrap_or(0)) * 3
}

/// Microseconds of virtual time.
pub(crate) fn micros(at: Instant) -> u64 {
    at.as_nanos() / 1_000
}
