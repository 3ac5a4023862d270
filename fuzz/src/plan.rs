//! Plans of the simulator: bytes as JSON, and a world made of what passes.
//!
//! Input: the text of a plan, or, after a zero byte, a profile, a seed (8) and how short to make it. Laws:
//! what passes is written and reads the same; a plan that was drawn passes; a world of it runs to an end,
//! twice to the same one. What the checkers find is for the simulator's own tests: a plan of no sense may
//! well be one in which nobody reaches the live edge.

use crate::input::Cursor;
use mainstem_sim::plan::{Plan, Profile};
use mainstem_sim::world::World;

/// Nodes of a plan that is run.
const NODES_MAX: usize = 6;
/// Virtual time of each phase of a run.
const PHASE_MS_MAX: u64 = 400;

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let plan = match data.split_first() {
        Some((0, rest)) => drawn(&mut Cursor::new(rest)),
        _ => match Plan::from_json(&String::from_utf8_lossy(data)) {
            Ok(plan) => plan,
            Err(error) => return assert!(!error.to_string().is_empty()),
        },
    };
    let again = Plan::from_json(&plan.to_json());
    assert_eq!(again.ok().as_ref(), Some(&plan), "what passes is written");
    if plan.nodes.len() <= NODES_MAX {
        check_run(plan);
    }
}

fn drawn(input: &mut Cursor<'_>) -> Plan {
    let profile = input.one_of(&Profile::ALL);
    let plan = Plan::generate(input.word(), profile);
    assert!(
        plan.validate().is_ok(),
        "a plan that was drawn passes: {plan:?}"
    );
    plan
}

/// A short run, twice.
fn check_run(mut plan: Plan) {
    plan.duration_ms = plan.duration_ms.min(PHASE_MS_MAX);
    plan.heal_ms = plan.heal_ms.min(PHASE_MS_MAX);
    if plan.validate().is_err() {
        // A fault that begins later than the shorter run ends.
        return;
    }
    let run = || World::new(&plan).map(|world| world.run().trace_hash).ok();
    assert_eq!(run(), run(), "the same plan is the same run");
}
