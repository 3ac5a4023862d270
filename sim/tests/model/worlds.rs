//! Whole worlds over the model: what holds over real QUIC holds here, under every fault.

use crate::plans::{ORIGIN, RELAY, VIEWER, relay, run, star, viewer, with};
use mainstem_sim::plan::{CarrierPlan, FaultKind, Role, Stall, Target, TransportKind};
use mainstem_sim::{NodeId, Plan};

fn over_model(plan: Plan) -> Plan {
    Plan {
        transport: TransportKind::Model,
        ..plan
    }
}

#[test]
fn every_draft_and_carrier_delivers_as_much_as_over_quic() {
    for draft in [16, 18, 20, 21, 22] {
        for carrier in [CarrierPlan::Quic, CarrierPlan::WebTransport] {
            let mut plan = over_model(star(1));
            plan.tracks[0].groups = Some(5);
            plan.tracks[0].subgroups = 2;
            for node in &mut plan.nodes {
                match &mut node.role {
                    Role::Viewer(viewer) => (viewer.draft, viewer.carrier) = (draft, carrier),
                    Role::Origin(origin) => (origin.draft, origin.carrier) = (draft, carrier),
                    _ => {}
                }
            }
            assert_eq!(run(&plan).tally.delivered, 50, "draft {draft}, {carrier:?}");
        }
    }
}

#[test]
fn faults_of_the_network_bite_and_heal() {
    let (enter_ppm, leave_ppm, loss_ppm) = (20_000, 300_000, 800_000);
    let kinds = [
        FaultKind::Loss { ppm: 50_000 },
        FaultKind::BurstLoss {
            enter_ppm,
            leave_ppm,
            loss_ppm,
        },
        FaultKind::Delay { ms: 150 },
        FaultKind::Jitter { ms: 80 },
        FaultKind::Reorder {
            ppm: 200_000,
            ms: 30,
        },
        FaultKind::Duplicate { ppm: 200_000 },
        FaultKind::Corrupt { ppm: 50_000 },
        FaultKind::Truncate { ppm: 50_000 },
        FaultKind::MtuDrop { bytes: 1_250 },
        FaultKind::Partition,
    ];
    for kind in kinds {
        let mut plan = over_model(with(star(2), Target::All, kind));
        plan.tracks[0].groups = Some(15);
        plan.duration_ms = 8_000;
        let report = run(&plan);
        assert!(report.tally.delivered >= 100, "{kind:?}: {report:?}");
    }
}

#[test]
fn a_narrow_link_with_a_short_queue_heals() {
    let kind = FaultKind::RateLimit {
        bytes_per_second: 20_000,
        queue_bytes: 6_000,
    };
    let report = run(&over_model(with(star(2), Target::Node(VIEWER), kind)));
    assert!(report.network.dropped_by_queue > 0);
}

#[test]
fn faults_of_nodes_bite_and_heal() {
    let plans = [
        with(star(2), Target::Node(ORIGIN), FaultKind::AddressChange),
        with(star(2), Target::Node(VIEWER), FaultKind::AddressChange),
        with(star(2), Target::Node(RELAY), FaultKind::Crash),
        with(star(2), Target::Node(ORIGIN), FaultKind::Crash),
        with(star(2), Target::Node(VIEWER), FaultKind::Pause),
        with(star(2), Target::Node(RELAY), FaultKind::Drain { to: None }),
    ];
    for plan in plans {
        run(&over_model(plan));
    }
    let mut stalled = over_model(star(2));
    if let Role::Viewer(viewer) = &mut stalled.nodes[2].role {
        let (at_ms, for_ms) = (1_000, 2_000);
        viewer.stalls = vec![Stall { at_ms, for_ms }];
    }
    run(&stalled);
}

#[test]
fn a_chain_of_relays_delivers_over_the_model() {
    let mut plan = over_model(star(1));
    plan.nodes.push(relay(&[RELAY]));
    plan.nodes.push(relay(&[NodeId(3)]));
    plan.nodes.push(viewer(NodeId(4)));
    let report = run(&plan);
    assert!(report.tally.delivered > 150, "{report:?}");
}

#[test]
fn the_same_plan_is_the_same_run_over_the_model() {
    let plan = with(star(2), Target::All, FaultKind::Loss { ppm: 50_000 });
    let plan = over_model(with(plan, Target::Node(RELAY), FaultKind::Crash));
    let (one, other) = (run(&plan), run(&plan));
    assert_eq!(one.trace_hash, other.trace_hash);
    let reseeded = Plan { seed: 9, ..plan };
    assert_ne!(run(&reseeded).trace_hash, one.trace_hash);
}
