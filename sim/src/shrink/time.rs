//! Less time: the safety phase ends soon after the failure, faults are short and come early.

use super::Cuts;
use crate::check::liveness;
use crate::plan::{Plan, Role};

/// What a run needs beyond the failure's own time.
const SLACK_MS: u64 = 50;
/// Times closer than this are not told apart.
const GRAIN_MS: u64 = 100;

/// Tries shorter phases, then shorter faults.
pub(super) fn cut(search: &mut impl Cuts) {
    let soon = search.failure().at_ms.saturating_add(SLACK_MS);
    let was = search.plan().duration_ms;
    if soon < was {
        attempt_duration(search, soon);
    }
    halve(search, |plan| plan.duration_ms, attempt_duration);
    // Whoever has not come back fails in a shorter phase as well, and so does everybody else.
    if search.failure().checker != liveness::NAME {
        halve(
            search,
            |plan| plan.heal_ms,
            |search, ms| {
                let mut candidate = search.plan().clone();
                candidate.heal_ms = ms;
                search.attempt(candidate)
            },
        );
    }
    for index in 0..search.plan().faults.len() {
        shorten_fault(search, index);
        hasten_fault(search, index);
    }
}

/// Halves a time as long as that fails.
fn halve<S: Cuts>(
    search: &mut S,
    of: impl Fn(&Plan) -> u64,
    attempt: impl Fn(&mut S, u64) -> bool,
) {
    while !search.is_spent() {
        let half = of(search.plan()) / 2;
        if half < GRAIN_MS || !attempt(search, half) {
            return;
        }
    }
}

/// A safety phase of `ms`; whatever is planned for later moves to its end.
fn attempt_duration(search: &mut impl Cuts, ms: u64) -> bool {
    let mut candidate = search.plan().clone();
    set_duration(&mut candidate, ms.max(1));
    search.attempt(candidate)
}

fn set_duration(plan: &mut Plan, ms: u64) {
    plan.duration_ms = ms;
    plan.faults.retain(|fault| fault.start_ms < ms);
    for fault in &mut plan.faults {
        fault.stop_ms = fault.stop_ms.min(ms);
    }
    for node in &mut plan.nodes {
        match &mut node.role {
            Role::Viewer(viewer) => {
                viewer.join_ms = viewer.join_ms.min(ms);
                viewer.leave_ms = viewer.leave_ms.filter(|leave| *leave <= ms);
                viewer.stalls.retain(|stall| stall.at_ms < ms);
            }
            Role::Origin(origin) => {
                origin.start_ms = origin.start_ms.min(ms);
                origin.stop_ms = origin.stop_ms.filter(|stop| *stop <= ms);
            }
            Role::Hostile(hostile) => hostile.start_ms = hostile.start_ms.min(ms),
            Role::Relay(_) => {}
        }
    }
}

/// A fault that ends at its middle, or begins there.
fn shorten_fault(search: &mut impl Cuts, index: usize) {
    for keeps_beginning in [true, false] {
        while !search.is_spent() {
            let mut candidate = search.plan().clone();
            let Some(fault) = candidate.faults.get_mut(index) else {
                return;
            };
            if fault.stop_ms.saturating_sub(fault.start_ms) < GRAIN_MS {
                return;
            }
            let middle = fault.start_ms.midpoint(fault.stop_ms);
            if keeps_beginning {
                fault.stop_ms = middle;
            } else {
                fault.start_ms = middle;
            }
            if !search.attempt(candidate) {
                break;
            }
        }
    }
}

/// A fault as long as it was, in half the time from the beginning.
fn hasten_fault(search: &mut impl Cuts, index: usize) {
    while !search.is_spent() {
        let mut candidate = search.plan().clone();
        let Some(fault) = candidate.faults.get_mut(index) else {
            return;
        };
        let earlier = fault.start_ms - fault.start_ms / 2;
        if fault.start_ms < GRAIN_MS {
            return;
        }
        fault.start_ms -= earlier;
        fault.stop_ms -= earlier;
        if !search.attempt(candidate) {
            return;
        }
    }
}
