//! [`run_plan`]: a run in which even a panic is a finding.

use super::{NAME, Report, Tally, World, WorldError};
use crate::check::Finding;
use crate::links::Counters;
use crate::plan::{NodeId, Plan};
use crate::trace::Recording;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The class of a finding that is a panic of the code under test.
pub const PANIC: &str = "panic";

/// Runs a plan. A panic of the code under test is a finding of class [`PANIC`]; the process's panic
/// hook says where it was.
pub fn run_plan(plan: &Plan, recording: Recording) -> Result<Report, WorldError> {
    let world = World::with(plan, recording)?;
    // The world is gone after a panic: nobody sees it half done.
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(report) => Ok(report),
        Err(payload) => {
            let words = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            Ok(panicked(plan, words.unwrap_or("without words")))
        }
    }
}

fn panicked(plan: &Plan, words: &str) -> Report {
    Report {
        seed: plan.seed,
        trace_hash: 0,
        events: 0,
        virtual_ms: 0,
        busy_ms: 0,
        healed_in_ms: None,
        findings: vec![Finding {
            checker: NAME,
            class: PANIC,
            at_us: 0,
            node: NodeId::WORLD,
            message: words.to_owned(),
        }],
        network: Counters::default(),
        tally: Tally::default(),
        transcript: Vec::new(),
        digests: Vec::new(),
    }
}
