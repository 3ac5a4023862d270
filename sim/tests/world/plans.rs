//! Small plans by hand.

use mainstem_sim::plan::{
    Access, CarrierPlan, ClockPlan, Fault, FaultKind, LinkPlan, NodeId, NodeLimits, NodePlan,
    OriginPlan, Plan, Profile, RelayPlan, Role, Target, TokenPlan, TrackPlan, TransportKind,
    VERSION, ViewerPlan,
};
use mainstem_sim::{Report, World};

pub(crate) const RELAY: NodeId = NodeId(0);
pub(crate) const ORIGIN: NodeId = NodeId(1);
pub(crate) const VIEWER: NodeId = NodeId(2);

pub(crate) fn node(role: Role) -> NodePlan {
    NodePlan {
        role,
        limits: NodeLimits::default(),
        clock: ClockPlan::default(),
    }
}

pub(crate) fn relay(upstreams: &[NodeId]) -> NodePlan {
    node(Role::Relay(RelayPlan {
        upstreams: upstreams.to_vec(),
        access: Access::Tokens,
        resolve_ms: 20,
        skew_ms: 0,
    }))
}

pub(crate) fn origin(relay: NodeId) -> NodePlan {
    node(Role::Origin(OriginPlan {
        relay,
        carrier: CarrierPlan::Quic,
        draft: 22,
        start_ms: 0,
        stop_ms: None,
        has_wrong_key: false,
    }))
}

pub(crate) fn viewer_plan(relay: NodeId) -> ViewerPlan {
    ViewerPlan {
        relay,
        carrier: CarrierPlan::Quic,
        draft: 22,
        tracks: vec![0],
        join_ms: 300,
        leave_ms: None,
        stalls: Vec::new(),
        token: TokenPlan::Good,
        past_groups: None,
        object_timeout_ms: None,
        subgroup_timeout_ms: None,
    }
}

pub(crate) fn viewer(relay: NodeId) -> NodePlan {
    node(Role::Viewer(viewer_plan(relay)))
}

/// A relay, an origin with one track, and so many viewers.
pub(crate) fn star(viewers: usize) -> Plan {
    let mut nodes = vec![relay(&[]), origin(RELAY)];
    nodes.extend((0..viewers).map(|_| viewer(RELAY)));
    Plan {
        version: VERSION,
        about: String::new(),
        seed: 1,
        profile: Profile::Smoke,
        transport: TransportKind::Quic,
        duration_ms: 4_000,
        heal_ms: 60_000,
        link: LinkPlan::default(),
        links: Vec::new(),
        nodes,
        tracks: vec![TrackPlan {
            origin: ORIGIN,
            name: "video".to_owned(),
            interval_ms: 40,
            group_objects: 10,
            subgroups: 1,
            object_bytes_min: 100,
            object_bytes_max: 2_500,
            priority: 128,
            groups: None,
            is_catalog: false,
        }],
        faults: Vec::new(),
    }
}

pub(crate) fn with(mut plan: Plan, target: Target, kind: FaultKind) -> Plan {
    plan.faults.push(Fault {
        start_ms: 1_000,
        stop_ms: 3_000,
        target,
        kind,
    });
    plan
}

/// Runs a plan in which nothing may be found.
pub(crate) fn run(plan: &Plan) -> Report {
    let report = World::new(plan).unwrap().run();
    assert_eq!(report.findings, Vec::new(), "{}", plan.to_json());
    report
}
