//! Fewer faults and fewer special links: nothing else names them, so they are just left out.

use super::{Cuts, cut_ranges};
use crate::plan::Plan;

/// Tries to do without faults.
pub(super) fn cut_faults(search: &mut impl Cuts) {
    cut_ranges(
        search,
        |plan| plan.faults.len(),
        |plan, range| Some(without(plan, |plan| drop(plan.faults.drain(range)))),
    );
}

/// Tries to do without links that are not like the others.
pub(super) fn cut_links(search: &mut impl Cuts) {
    cut_ranges(
        search,
        |plan| plan.links.len(),
        |plan, range| Some(without(plan, |plan| drop(plan.links.drain(range)))),
    );
}

fn without(plan: &Plan, cut: impl FnOnce(&mut Plan)) -> Plan {
    let mut candidate = plan.clone();
    cut(&mut candidate);
    candidate
}
