//! Plainer plans: what is unusual goes, one thing at a time, for all of the plan and then for each part.

use super::Cuts;
use crate::plan::{CarrierPlan, ClockPlan, FaultKind, LinkPlan, NodeLimits, Plan, Role, Target};

/// A change that makes a plan plainer, or leaves it as it is.
type Change = fn(&mut Plan);

/// In this order: what makes the failing run easiest to read comes first.
const CHANGES: &[Change] = &[
    |plan| plan.link = LinkPlan::default(),
    |plan| each_node(plan, |node| node.limits = NodeLimits::default()),
    |plan| each_node(plan, |node| node.clock = ClockPlan::default()),
    |plan| each_carrier(plan, |carrier| *carrier = CarrierPlan::Quic),
    |plan| each_role(plan, no_stalls),
    |plan| each_role(plan, no_past),
    |plan| each_role(plan, at_once),
    |plan| each_role(plan, to_the_end),
    |plan| plan.tracks.iter_mut().for_each(|track| track.groups = None),
    |plan| plan.tracks.iter_mut().for_each(|track| track.subgroups = 1),
    |plan| {
        for track in &mut plan.tracks {
            track.object_bytes_max = track.object_bytes_min.clamp(1, 100);
            track.object_bytes_min = track.object_bytes_max;
        }
    },
    |plan| {
        for track in &mut plan.tracks {
            track.group_objects = (track.group_objects / 2).max(1);
            track.subgroups = track.subgroups.min(track.group_objects);
        }
    },
    |plan| each_fault(plan, halve_rate),
];

/// Tries each change for the whole plan, then limits and clocks of each node, then narrower faults.
pub(super) fn cut(search: &mut impl Cuts) {
    for change in CHANGES {
        attempt(search, *change);
    }
    for index in 0..search.plan().nodes.len() {
        attempt(search, |plan| {
            if let Some(node) = plan.nodes.get_mut(index) {
                node.limits = NodeLimits::default();
            }
        });
        attempt(search, |plan| {
            if let Some(node) = plan.nodes.get_mut(index) {
                node.clock = ClockPlan::default();
            }
        });
        attempt(search, |plan| {
            if let Some(node) = plan.nodes.get_mut(index) {
                no_stalls(&mut node.role);
                no_past(&mut node.role);
            }
        });
    }
    for index in 0..search.plan().faults.len() {
        narrow(search, index);
    }
}

fn attempt(search: &mut impl Cuts, change: impl FnOnce(&mut Plan)) -> bool {
    if search.is_spent() {
        return false;
    }
    let mut candidate = search.plan().clone();
    change(&mut candidate);
    search.attempt(candidate)
}

/// A fault of all packets that touches one node, or one direction, is easier to read.
fn narrow(search: &mut impl Cuts, index: usize) {
    let Some(fault) = search.plan().faults.get(index).copied() else {
        return;
    };
    let ids: Vec<_> = search.plan().node_ids().map(|(id, _)| id).collect();
    if fault.target != Target::All || fault.kind.is_of_node() || ids.len() > 8 {
        return;
    }
    for id in ids {
        let done = attempt(search, |plan| {
            if let Some(fault) = plan.faults.get_mut(index) {
                fault.target = Target::Node(id);
            }
        });
        if done || search.is_spent() {
            return;
        }
    }
}

fn each_node(plan: &mut Plan, change: fn(&mut crate::plan::NodePlan)) {
    plan.nodes.iter_mut().for_each(change);
}

fn each_role(plan: &mut Plan, change: fn(&mut Role)) {
    plan.nodes
        .iter_mut()
        .for_each(|node| change(&mut node.role));
}

fn each_carrier(plan: &mut Plan, change: fn(&mut CarrierPlan)) {
    for node in &mut plan.nodes {
        match &mut node.role {
            Role::Origin(origin) => change(&mut origin.carrier),
            Role::Viewer(viewer) => change(&mut viewer.carrier),
            Role::Hostile(hostile) => change(&mut hostile.carrier),
            Role::Relay(_) => {}
        }
    }
}

fn each_fault(plan: &mut Plan, change: fn(&mut FaultKind)) {
    plan.faults
        .iter_mut()
        .for_each(|fault| change(&mut fault.kind));
}

fn no_stalls(role: &mut Role) {
    if let Role::Viewer(viewer) = role {
        viewer.stalls.clear();
    }
}

fn no_past(role: &mut Role) {
    if let Role::Viewer(viewer) = role {
        viewer.past_groups = None;
        (viewer.object_timeout_ms, viewer.subgroup_timeout_ms) = (None, None);
    }
}

fn at_once(role: &mut Role) {
    match role {
        Role::Viewer(viewer) => viewer.join_ms = 0,
        Role::Origin(origin) => origin.start_ms = 0,
        Role::Hostile(hostile) => hostile.start_ms = 0,
        Role::Relay(_) => {}
    }
}

fn to_the_end(role: &mut Role) {
    match role {
        Role::Viewer(viewer) => viewer.leave_ms = None,
        Role::Origin(origin) => origin.stop_ms = None,
        Role::Hostile(_) | Role::Relay(_) => {}
    }
}

/// Rates below this are not made smaller.
const PPM_MIN: u32 = 1_000;

fn halve_rate(kind: &mut FaultKind) {
    match kind {
        FaultKind::Loss { ppm }
        | FaultKind::Duplicate { ppm }
        | FaultKind::Corrupt { ppm }
        | FaultKind::Truncate { ppm }
        | FaultKind::CongestionMark { ppm }
        | FaultKind::MarkLoss { ppm }
        | FaultKind::ResetStreams { ppm }
        | FaultKind::StopStreams { ppm }
        | FaultKind::Reorder { ppm, .. }
            if *ppm > PPM_MIN =>
        {
            *ppm /= 2;
        }
        FaultKind::Delay { ms } | FaultKind::Jitter { ms } if *ms > 1 => *ms /= 2,
        _ => {}
    }
}
