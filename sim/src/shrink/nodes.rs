//! Fewer nodes and tracks. Others name them by number, so what is left is numbered anew.
//!
//! | gone | what named it |
//! |---|---|
//! | a relay | its clients and those that dialled it go to the first relay above it (or below, or any other) that stays; without one they go too |
//! | an origin | its tracks go |
//! | a track | viewers do not ask for it; those that ask for nothing go |
//! | any node | faults and links that name it go |

use super::{Cuts, cut_ranges};
use crate::plan::{FaultKind, NodeId, Plan, Role, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Tries to do without nodes.
pub(super) fn cut_nodes(search: &mut impl Cuts) {
    cut_ranges(
        search,
        |plan| plan.nodes.len(),
        |plan, range| {
            let gone = range.filter_map(|at| u16::try_from(at).ok()).map(NodeId);
            without_nodes(plan, &gone.collect())
        },
    );
}

/// Tries to do without tracks.
pub(super) fn cut_tracks(search: &mut impl Cuts) {
    cut_ranges(search, |plan| plan.tracks.len(), without_tracks);
}

/// The plan without these nodes and all that cannot be without them. `None` when nothing is left.
pub(super) fn without_nodes(plan: &Plan, gone: &BTreeSet<NodeId>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut gone = gone.clone();
    move_on(&mut plan, &mut gone);
    let tracks: BTreeSet<usize> = (0..)
        .zip(&plan.tracks)
        .filter(|(_, track)| gone.contains(&track.origin))
        .map(|(at, _)| at)
        .collect();
    drop_tracks(&mut plan, &tracks, &mut gone);
    renumber(plan, &gone)
}

/// The plan without the tracks of that range, and without viewers that ask for nothing then.
fn without_tracks(plan: &Plan, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut gone = BTreeSet::new();
    drop_tracks(&mut plan, &range.collect(), &mut gone);
    renumber(plan, &gone)
}

/// Sends whoever names a relay that goes to one that stays; who has nowhere to go goes too.
fn move_on(plan: &mut Plan, gone: &mut BTreeSet<NodeId>) {
    let instead: BTreeMap<NodeId, Option<NodeId>> = gone
        .iter()
        .map(|id| (*id, substitute(plan, *id, gone)))
        .collect();
    let ids: Vec<NodeId> = plan.node_ids().map(|(id, _)| id).collect();
    for (id, node) in ids.into_iter().zip(&mut plan.nodes) {
        let relay = match &mut node.role {
            Role::Origin(origin) => &mut origin.relay,
            Role::Viewer(viewer) => &mut viewer.relay,
            Role::Hostile(hostile) => &mut hostile.relay,
            Role::Relay(relay) => {
                for upstream in &mut relay.upstreams {
                    if let Some(Some(other)) = instead.get(upstream) {
                        *upstream = *other;
                    }
                }
                relay
                    .upstreams
                    .retain(|upstream| *upstream != id && !gone.contains(upstream));
                relay.upstreams.dedup();
                continue;
            }
        };
        match instead.get(relay) {
            Some(Some(other)) => *relay = *other,
            Some(None) => {
                gone.insert(id);
            }
            None => {}
        }
    }
}

/// The relay that takes the place of one that goes: above it, below it, or any.
fn substitute(plan: &Plan, id: NodeId, gone: &BTreeSet<NodeId>) -> Option<NodeId> {
    let upstreams_of = |id: NodeId| match plan.node(id).map(|node| &node.role) {
        Some(Role::Relay(relay)) => relay.upstreams.clone(),
        _ => Vec::new(),
    };
    let relays = || {
        plan.node_ids()
            .filter(|(_, node)| matches!(node.role, Role::Relay(_)))
            .map(|(id, _)| id)
    };
    if !relays().any(|relay| relay == id) {
        return None;
    }
    let above = upstreams_of(id).into_iter();
    let below = relays().filter(|other| upstreams_of(*other).contains(&id));
    above
        .chain(below)
        .chain(relays())
        .find(|other| !gone.contains(other))
}

/// Takes tracks out; viewers that ask for nothing then are added to `gone`.
fn drop_tracks(plan: &mut Plan, tracks: &BTreeSet<usize>, gone: &mut BTreeSet<NodeId>) {
    if tracks.is_empty() {
        return;
    }
    let mut places = BTreeMap::new();
    let mut kept = Vec::new();
    for (at, track) in plan.tracks.drain(..).enumerate() {
        if !tracks.contains(&at) {
            places.insert(at, kept.len());
            kept.push(track);
        }
    }
    plan.tracks = kept;
    let ids: Vec<NodeId> = plan.node_ids().map(|(id, _)| id).collect();
    for (id, node) in ids.into_iter().zip(&mut plan.nodes) {
        if let Role::Viewer(viewer) = &mut node.role {
            let had_tracks = !viewer.tracks.is_empty();
            viewer.tracks = viewer
                .tracks
                .iter()
                .filter_map(|at| places.get(&usize::from(*at)))
                .filter_map(|at| u16::try_from(*at).ok())
                .collect();
            if had_tracks && viewer.tracks.is_empty() {
                gone.insert(id);
            }
        }
    }
}

/// Takes nodes out that nobody names any more but tracks, links and faults, and numbers the others anew.
fn renumber(mut plan: Plan, gone: &BTreeSet<NodeId>) -> Option<Plan> {
    let mut numbers = BTreeMap::new();
    let mut kept = Vec::new();
    let ids: Vec<NodeId> = plan.node_ids().map(|(id, _)| id).collect();
    for (id, node) in ids.into_iter().zip(plan.nodes.drain(..)) {
        if !gone.contains(&id) {
            numbers.insert(id, NodeId(u16::try_from(kept.len()).ok()?));
            kept.push(node);
        }
    }
    if kept.is_empty() {
        return None;
    }
    let number = |id: &mut NodeId| match numbers.get(id) {
        Some(new) => {
            *id = *new;
            true
        }
        None => false,
    };
    plan.nodes = kept;
    for node in &mut plan.nodes {
        let stays = match &mut node.role {
            Role::Origin(origin) => number(&mut origin.relay),
            Role::Viewer(viewer) => number(&mut viewer.relay),
            Role::Hostile(hostile) => number(&mut hostile.relay),
            Role::Relay(relay) => {
                relay.upstreams.retain_mut(number);
                true
            }
        };
        if !stays {
            return None;
        }
    }
    plan.tracks.retain_mut(|track| number(&mut track.origin));
    plan.links
        .retain_mut(|link| number(&mut link.from) && number(&mut link.to));
    plan.faults.retain_mut(|fault| {
        if let FaultKind::Drain { to } = &mut fault.kind {
            *to = to.take().filter(|id| numbers.contains_key(id));
            if let Some(id) = to {
                number(id);
            }
        }
        match &mut fault.target {
            Target::All => true,
            Target::Node(node) => number(node),
            Target::OneWay { from, to } => number(from) && number(to),
            Target::Between { one, other } => number(one) && number(other),
        }
    });
    Some(plan)
}
