//! What the shrinker cuts, and what it keeps.

use super::{Failure, Limits, Shrunk, shrink};
use crate::plan::{
    Fault, FaultKind, LinkPlan, NodeId, NodePlan, OriginPlan, Plan, Profile, RelayPlan, Role,
    Stall, Target, TokenPlan, TrackPlan, TransportKind, VERSION, ViewerPlan,
};

const DRAFT: u8 = 22;

fn node(role: Role) -> NodePlan {
    NodePlan {
        role,
        limits: crate::plan::NodeLimits::default(),
        clock: crate::plan::ClockPlan::default(),
    }
}

fn viewer(relay: u16, tracks: Vec<u16>) -> NodePlan {
    node(Role::Viewer(ViewerPlan {
        relay: NodeId(relay),
        carrier: crate::plan::CarrierPlan::Quic,
        draft: DRAFT,
        tracks,
        join_ms: 100,
        leave_ms: None,
        stalls: vec![Stall {
            at_ms: 500,
            for_ms: 300,
        }],
        token: TokenPlan::None,
        past_groups: None,
        object_timeout_ms: None,
        subgroup_timeout_ms: None,
    }))
}

/// Four relays in a line, two origins, fourteen viewers, twelve faults.
fn large() -> Plan {
    let mut nodes: Vec<NodePlan> = (0..4u16)
        .map(|at| {
            node(Role::Relay(RelayPlan {
                upstreams: at.checked_sub(1).map(NodeId).into_iter().collect(),
                ..RelayPlan::default()
            }))
        })
        .collect();
    for _ in 0..2 {
        nodes.push(node(Role::Origin(OriginPlan {
            relay: NodeId(0),
            carrier: crate::plan::CarrierPlan::Quic,
            draft: DRAFT,
            start_ms: 0,
            stop_ms: None,
            has_wrong_key: false,
        })));
    }
    for at in 0..14u16 {
        let tracks = if at % 2 == 0 { vec![0, 1] } else { vec![2] };
        nodes.push(viewer(at % 4, tracks));
    }
    let tracks = (0..3u16)
        .map(|at| TrackPlan {
            origin: NodeId(4 + at / 2),
            name: format!("t{at}"),
            interval_ms: 40,
            group_objects: 10,
            subgroups: 2,
            object_bytes_min: 100,
            object_bytes_max: 2000,
            priority: 128,
            groups: None,
            is_catalog: false,
        })
        .collect();
    let faults = (0..12u16)
        .map(|at| Fault {
            start_ms: u64::from(at) * 100,
            stop_ms: u64::from(at) * 100 + 1000,
            target: Target::Node(NodeId(at % 20)),
            kind: if at == 7 {
                FaultKind::Pause
            } else {
                FaultKind::Delay { ms: 20 }
            },
        })
        .collect();
    Plan {
        version: VERSION,
        about: String::new(),
        seed: 5,
        profile: Profile::Mesh,
        transport: TransportKind::Model,
        duration_ms: 8_000,
        heal_ms: 10_000,
        link: LinkPlan::default(),
        links: Vec::new(),
        nodes,
        tracks,
        faults,
    }
}

fn failure(at_ms: u64) -> Failure {
    Failure {
        checker: "order".to_owned(),
        class: "twice".to_owned(),
        at_ms,
    }
}

/// Shrinks with a rule in place of a run; every plan that is tried must be valid.
fn cut(plan: &Plan, rule: impl Fn(&Plan) -> bool) -> Shrunk {
    assert!(plan.validate().is_ok());
    assert!(rule(plan), "the plan must fail to begin with");
    shrink(
        plan,
        &failure(3_000),
        Limits::default(),
        |plan| {
            plan.validate().expect("only valid plans are run");
            rule(plan).then(|| failure(plan.duration_ms.min(3_000)))
        },
        |_| {},
    )
}

fn count(plan: &Plan, is: impl Fn(&Role) -> bool) -> usize {
    plan.nodes.iter().filter(|node| is(&node.role)).count()
}

#[test]
fn what_the_failure_does_not_need_goes() {
    let shrunk = cut(&large(), |plan| {
        let paused = plan
            .faults
            .iter()
            .any(|fault| fault.kind == FaultKind::Pause);
        let watched = plan
            .nodes
            .iter()
            .any(|node| matches!(&node.role, Role::Viewer(viewer) if !viewer.tracks.is_empty()));
        paused && watched
    });
    let plan = &shrunk.plan;
    assert!(shrunk.is_smallest);
    assert_eq!(plan.faults.len(), 1);
    assert_eq!(plan.tracks.len(), 1);
    // The viewer, its relay, the origin, and the node that the fault names if it is none of them.
    assert!(plan.nodes.len() <= 4, "{} nodes", plan.nodes.len());
    assert!(plan.duration_ms <= 200, "{} ms", plan.duration_ms);
    assert_eq!(plan.about, "order: twice");
}

#[test]
fn a_chain_of_relays_is_cut_in_its_middle() {
    let hops = |plan: &Plan| {
        count(
            plan,
            |role| matches!(role, Role::Relay(relay) if !relay.upstreams.is_empty()),
        )
    };
    let shrunk = cut(&large(), |plan| hops(plan) >= 1 && !plan.tracks.is_empty());
    assert_eq!(hops(&shrunk.plan), 1);
    assert_eq!(
        count(&shrunk.plan, |role| matches!(role, Role::Relay(_))),
        2
    );
    assert_eq!(
        count(&shrunk.plan, |role| matches!(role, Role::Viewer(_))),
        0
    );
}

#[test]
fn another_kind_of_failure_does_not_count() {
    let plan = large();
    let mut calls = 0;
    let shrunk = shrink(
        &plan,
        &failure(3_000),
        Limits::default(),
        |candidate| {
            calls += 1;
            (candidate != &plan).then(|| Failure {
                class: "other".to_owned(),
                ..failure(10)
            })
        },
        |_| {},
    );
    assert_eq!(shrunk.plan.nodes, plan.nodes);
    assert_eq!(shrunk.plan.faults, plan.faults);
    assert_eq!(shrunk.runs, calls);
}

#[test]
fn it_ends_when_its_runs_are_used_up() {
    let limits = Limits {
        runs_max: 7,
        seeds_per_cut: 3,
    };
    let shrunk = shrink(&large(), &failure(3_000), limits, |_| None, |_| {});
    assert_eq!(shrunk.runs, 7);
    assert!(!shrunk.is_smallest);
}

#[test]
fn a_cut_that_changes_chance_is_tried_with_other_seeds() {
    let shrunk = cut(&large(), |plan| {
        // Fails with odd seeds only.
        plan.seed % 2 == 1 && !plan.tracks.is_empty()
    });
    assert_eq!(shrunk.plan.seed % 2, 1);
    assert_eq!(shrunk.plan.tracks.len(), 1);
    assert!(shrunk.plan.faults.is_empty());
}
