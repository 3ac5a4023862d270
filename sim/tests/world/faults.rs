//! Every kind of fault bites, and nothing is wrong afterwards.

use crate::plans::{ORIGIN, RELAY, VIEWER, relay, run, star, with};
use mainstem_sim::plan::{ClockPlan, FaultKind, NodeId, Role, Target, TokenPlan};
use mainstem_sim::{Plan, Report};

/// A fault between origin and relay, and to and from the viewers.
fn everywhere(kind: FaultKind) -> Report {
    run(&with(star(2), Target::All, kind))
}

#[test]
fn loss_bites_and_everything_is_delivered_all_the_same() {
    let mut plan = with(star(3), Target::All, FaultKind::Loss { ppm: 50_000 });
    plan.tracks[0].groups = Some(8);
    plan.duration_ms = 8_000;
    let report = run(&plan);
    assert!(report.network.lost > 10, "{:?}", report.network);
    assert_eq!(report.tally.delivered, 240);
}

#[test]
fn burst_loss_bites() {
    let kind = FaultKind::BurstLoss {
        enter_ppm: 20_000,
        leave_ppm: 300_000,
        loss_ppm: 800_000,
    };
    assert!(everywhere(kind).network.lost_in_burst > 10);
}

#[test]
fn delay_and_jitter_bite() {
    assert!(everywhere(FaultKind::Delay { ms: 150 }).network.delayed > 100);
    assert!(everywhere(FaultKind::Jitter { ms: 80 }).network.delayed > 100);
}

#[test]
fn reordering_and_duplication_bite() {
    let kind = FaultKind::Reorder {
        ppm: 200_000,
        ms: 30,
    };
    assert!(everywhere(kind).network.reordered > 50);
    let kind = FaultKind::Duplicate { ppm: 200_000 };
    assert!(everywhere(kind).network.duplicated > 50);
}

#[test]
fn corruption_and_truncation_bite() {
    let kind = FaultKind::Corrupt { ppm: 50_000 };
    assert!(everywhere(kind).network.corrupted > 10);
    let kind = FaultKind::Truncate { ppm: 50_000 };
    assert!(everywhere(kind).network.truncated > 10);
}

#[test]
fn congestion_is_marked_and_marks_are_lost() {
    let marked = everywhere(FaultKind::CongestionMark { ppm: 200_000 });
    assert!(marked.network.congestion_marked > 50);
    let unmarked = everywhere(FaultKind::MarkLoss { ppm: 200_000 });
    // A sender whose marks do not arrive sets none any more.
    assert!(unmarked.network.unmarked > 0);
    assert_eq!(run(&star(1)).network.congestion_marked, 0);
}

#[test]
fn a_smaller_path_bites() {
    let report = everywhere(FaultKind::MtuDrop { bytes: 1_250 });
    assert!(report.network.dropped_by_mtu > 0);
}

#[test]
fn a_narrow_link_drops_at_the_tail_of_its_queue() {
    let kind = FaultKind::RateLimit {
        bytes_per_second: 20_000,
        queue_bytes: 10_000,
    };
    let report = run(&with(star(2), Target::Node(VIEWER), kind));
    assert!(report.network.dropped_by_queue > 0);
}

#[test]
fn clients_survive_a_change_of_address() {
    for node in [ORIGIN, VIEWER] {
        let plan = with(star(1), Target::Node(node), FaultKind::AddressChange);
        let before = run(&star(1)).tally.closed;
        // The connection goes on: nobody has to connect again.
        assert_eq!(run(&plan).tally.closed, before);
    }
}

#[test]
fn partitions_bite_and_heal() {
    let (one, other) = (RELAY, VIEWER);
    for target in [
        Target::Node(ORIGIN),
        Target::Between { one, other },
        Target::OneWay {
            from: RELAY,
            to: VIEWER,
        },
    ] {
        let report = run(&with(star(2), target, FaultKind::Partition));
        assert!(report.network.partitioned > 0, "{target:?}");
    }
}

#[test]
fn a_crashed_node_comes_back() {
    for node in [RELAY, ORIGIN, VIEWER] {
        let report = run(&with(star(2), Target::Node(node), FaultKind::Crash));
        assert_eq!(report.tally.restarts, 1, "{node}");
    }
}

#[test]
fn a_paused_node_comes_back() {
    let quiet = run(&star(2)).tally.delivered;
    for node in [RELAY, ORIGIN, VIEWER] {
        let report = run(&with(star(2), Target::Node(node), FaultKind::Pause));
        assert!(report.tally.delivered <= quiet + 100, "{node}");
    }
}

#[test]
fn a_drained_relay_sends_everybody_to_another_one() {
    let mut plan = star(2);
    plan.nodes.push(relay(&[RELAY]));
    let to = Some(NodeId(4));
    let drained = with(plan, Target::Node(RELAY), FaultKind::Drain { to });
    let report = run(&drained);
    assert!(report.tally.goaways >= 3, "{:?}", report.tally);
}

/// A token that holds for two seconds of the right clock.
fn short_token() -> Plan {
    let mut plan = star(1);
    if let Role::Viewer(viewer) = &mut plan.nodes[VIEWER.index()].role {
        viewer.token = TokenPlan::Until { seconds: 2 };
    }
    plan
}

#[test]
fn a_relay_whose_clock_is_wrong_ends_tokens_at_another_time() {
    let right = run(&short_token()).tally.delivered;
    let mut ahead = short_token();
    ahead.nodes[RELAY.index()].clock = ClockPlan {
        ahead_ms: 1_000,
        drift_ppm: 0,
    };
    let ahead = run(&ahead).tally.delivered;
    let mut fast = short_token();
    fast.nodes[RELAY.index()].clock = ClockPlan {
        ahead_ms: 0,
        drift_ppm: 900_000,
    };
    let fast = run(&fast).tally.delivered;
    assert!(ahead < right && fast < right, "{right} {ahead} {fast}");
    let step = FaultKind::ClockStep { ms: -3_000 };
    let stepped = run(&with(short_token(), Target::Node(RELAY), step));
    assert!(stepped.tally.delivered > right);
    let drift = FaultKind::ClockDrift { ppm: -900_000 };
    let drifting = run(&with(short_token(), Target::Node(RELAY), drift));
    assert!(drifting.tally.delivered > right);
}

#[test]
fn streams_that_end_in_the_middle_bite() {
    for node in [ORIGIN, RELAY] {
        let kind = FaultKind::ResetStreams { ppm: 200_000 };
        let quiet = run(&star(2)).tally.delivered;
        let report = run(&with(star(2), Target::Node(node), kind));
        assert!(report.tally.delivered < quiet, "{node}");
    }
    for node in [RELAY, VIEWER] {
        let kind = FaultKind::StopStreams { ppm: 200_000 };
        let quiet = run(&star(2)).tally.delivered;
        let report = run(&with(star(2), Target::Node(node), kind));
        assert!(report.tally.delivered < quiet, "{node}");
    }
}
