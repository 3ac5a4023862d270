//! Worlds in which each fault has something to spoil: what a profile draws, with what the fault needs.
//!
//! A seed draws the world ([`Plan::generate`]); the shape adds the token that ends, the viewers that leave,
//! the link that is too narrow. Units: milliseconds and bytes, as in plans.

use crate::NodeId;
use crate::plan::{
    Access, Fault, FaultKind, Plan, Profile, Role, Target, TokenPlan, TransportKind, ViewerPlan,
};

/// A world of a profile, over the stream model.
pub(super) fn drawn(seed: u64, profile: Profile) -> Plan {
    Plan {
        transport: TransportKind::Model,
        ..Plan::generate(seed, profile)
    }
}

/// A bit of everything.
pub(super) fn smoke(seed: u64) -> Plan {
    drawn(seed, Profile::Smoke)
}

/// The same over real QUIC.
pub(super) fn over_quic(seed: u64) -> Plan {
    Plan {
        transport: TransportKind::Quic,
        ..smoke(seed)
    }
}

/// No faults of the network; what there is, is small.
fn calm(seed: u64) -> Plan {
    let mut plan = smoke(seed);
    plan.faults.clear();
    for node in &mut plan.nodes {
        node.clock = crate::plan::ClockPlan::default();
        if let Role::Origin(origin) = &mut node.role {
            (origin.has_wrong_key, origin.start_ms, origin.stop_ms) = (false, 0, None);
        }
    }
    for track in &mut plan.tracks {
        track.groups = None;
    }
    plan
}

fn viewers(plan: &mut Plan) -> impl Iterator<Item = &mut ViewerPlan> {
    plan.nodes
        .iter_mut()
        .filter_map(|node| match &mut node.role {
            Role::Viewer(viewer) => Some(viewer),
            _ => None,
        })
}

fn with_tokens(plan: &mut Plan, token: TokenPlan) {
    for node in &mut plan.nodes {
        if let Role::Relay(relay) = &mut node.role {
            relay.access = Access::Tokens;
        }
    }
    for viewer in viewers(plan) {
        (viewer.token, viewer.leave_ms, viewer.join_ms) = (token, None, 100);
    }
}

/// Viewers whose tokens end in the middle.
pub(super) fn tokens_that_end(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Until { seconds: 2 });
    plan.duration_ms = 10_000;
    plan
}

/// Viewers with tokens for another input.
pub(super) fn tokens_of_others(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::WrongInput);
    plan
}

/// Everybody leaves early.
pub(super) fn nobody_watches(seed: u64) -> Plan {
    let mut plan = calm(seed);
    for viewer in viewers(&mut plan) {
        (viewer.join_ms, viewer.leave_ms) = (100, Some(1_500));
        viewer.token = TokenPlan::Good;
    }
    plan.duration_ms = 20_000;
    plan
}

/// Origins die and come back, and viewers would wait for them for an hour.
pub(super) fn origins_that_die(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    let origins: Vec<NodeId> = plan
        .node_ids()
        .filter(|(_, node)| matches!(node.role, Role::Origin(_)))
        .map(|(id, _)| id)
        .collect();
    for node in &mut plan.nodes {
        if matches!(node.role, Role::Relay(_)) {
            node.limits.publisher_linger_ms = Some(3_600_000);
        }
    }
    plan.duration_ms = plan.duration_ms.max(5_000);
    plan.faults.extend(origins.into_iter().map(|origin| Fault {
        start_ms: 1_500,
        stop_ms: 2_500,
        target: Target::Node(origin),
        kind: FaultKind::Crash,
    }));
    plan
}

/// Tracks that end.
pub(super) fn tracks_that_end(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    for track in &mut plan.tracks {
        track.groups = Some((1_500 / (track.interval_ms * track.group_objects).max(1)).max(1));
    }
    plan.duration_ms = plan.duration_ms.max(6_000);
    plan
}

/// A viewer whose link takes half of two tracks, one of which matters more.
pub(super) fn a_link_that_is_too_narrow(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    plan.tracks.truncate(1);
    let relay = NodeId(0);
    let mut viewer = None;
    let mut kept = Vec::new();
    for (id, mut node) in (0..).map(NodeId).zip(std::mem::take(&mut plan.nodes)) {
        match &mut node.role {
            Role::Relay(_) if id != relay => continue,
            Role::Viewer(_) if viewer.is_some() => continue,
            Role::Viewer(it) => {
                (it.relay, it.tracks, it.past_groups) = (relay, vec![0, 1], None);
                it.stalls.clear();
                viewer = Some(NodeId(u16::try_from(kept.len()).unwrap_or(u16::MAX)));
            }
            Role::Origin(it) => it.relay = relay,
            Role::Relay(it) => it.upstreams.clear(),
            Role::Hostile(_) => continue,
        }
        node.limits = crate::plan::NodeLimits {
            send_window: Some(16_000),
            ..Default::default()
        };
        kept.push(node);
    }
    plan.nodes = kept;
    let origin = plan
        .node_ids()
        .find(|(_, node)| matches!(node.role, Role::Origin(_)))
        .map_or(relay, |(id, _)| id);
    for track in &mut plan.tracks {
        (track.origin, track.interval_ms, track.group_objects) = (origin, 50, 400);
        (track.object_bytes_min, track.object_bytes_max) = (2_000, 2_000);
        (track.priority, track.subgroups) = (200, 1);
    }
    if let Some(first) = plan.tracks.first().cloned() {
        plan.tracks.push(crate::plan::TrackPlan {
            name: "audio".to_owned(),
            priority: 10,
            ..first
        });
    }
    plan.links.clear();
    plan.duration_ms = 15_000;
    // 80,000 bytes a second are published.
    plan.faults = vec![Fault {
        start_ms: 500,
        stop_ms: 15_000,
        target: Target::Between {
            one: relay,
            other: viewer.unwrap_or_default(),
        },
        kind: FaultKind::RateLimit {
            bytes_per_second: 50_000,
            queue_bytes: 30_000,
        },
    }];
    plan
}

/// The same, and the viewer wants nothing that is older than it says.
pub(super) fn in_time_or_not_at_all(seed: u64) -> Plan {
    let mut plan = a_link_that_is_too_narrow(seed);
    for viewer in viewers(&mut plan) {
        viewer.object_timeout_ms = Some(300);
    }
    plan
}

/// Relays that may keep little.
pub(super) fn small_caches(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    for node in &mut plan.nodes {
        if matches!(node.role, Role::Relay(_)) {
            node.limits.cache_bytes = Some(20_000);
            node.limits.cache_bytes_hard = Some(30_000);
        }
    }
    plan.duration_ms = plan.duration_ms.max(6_000);
    plan
}

/// Viewers that follow a catalog, and nothing else.
pub(super) fn catalogs(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    plan.tracks.truncate(1);
    for track in &mut plan.tracks {
        (track.is_catalog, track.name) = (true, "catalog".to_owned());
        (track.interval_ms, track.group_objects, track.subgroups) = (200, 6, 1);
    }
    for viewer in viewers(&mut plan) {
        viewer.tracks = vec![0];
    }
    plan.duration_ms = plan.duration_ms.max(4_000);
    plan
}

/// Viewers that ask for what came before them.
pub(super) fn the_past(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    for viewer in viewers(&mut plan) {
        (viewer.join_ms, viewer.past_groups) = (1_800, Some(2));
    }
    plan.duration_ms = plan.duration_ms.max(4_000);
    plan
}

/// Viewers that come when there is something to catch up with, over real QUIC: a packet brings several objects.
pub(super) fn late_viewers(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    for viewer in viewers(&mut plan) {
        viewer.join_ms = 1_800;
    }
    for track in &mut plan.tracks {
        (track.object_bytes_min, track.object_bytes_max) = (20, 100);
        (track.interval_ms, track.group_objects) = (40, 30);
    }
    plan.duration_ms = plan.duration_ms.max(4_000);
    plan.transport = TransportKind::Quic;
    plan
}

/// Relays that go away in order.
pub(super) fn drains(seed: u64) -> Plan {
    let mut plan = calm(seed);
    with_tokens(&mut plan, TokenPlan::Good);
    plan.duration_ms = 12_000;
    plan.faults.push(Fault {
        start_ms: 1_500,
        stop_ms: 11_000,
        target: Target::Node(NodeId(0)),
        kind: FaultKind::Drain { to: None },
    });
    plan
}
