//! Without faults everything is delivered, by every draft and carrier.

use crate::plans::{ORIGIN, RELAY, relay, run, star, viewer};
use mainstem_sim::plan::{CarrierPlan, Role, Stall, TokenPlan};
use mainstem_sim::{NodeId, Plan};

/// Each of the viewers gets what is published from the group on in which it joined.
#[test]
fn three_viewers_get_everything_that_is_published_while_they_watch() {
    let mut plan = star(3);
    // Ten whole groups, and then the end.
    plan.tracks[0].groups = Some(10);
    plan.duration_ms = 6_000;
    let report = run(&plan);
    assert_eq!(report.tally.published, 100);
    // Joined at 300 ms, in the first group.
    assert_eq!(report.tally.delivered, 300);
    assert_eq!(report.tally.denied, 0);
}

#[test]
fn every_draft_and_carrier_delivers() {
    for draft in [16, 18, 20, 21, 22] {
        for carrier in [CarrierPlan::Quic, CarrierPlan::WebTransport] {
            let mut plan = star(1);
            plan.tracks[0].groups = Some(5);
            plan.tracks[0].subgroups = 2;
            for node in &mut plan.nodes {
                match &mut node.role {
                    Role::Viewer(viewer) => (viewer.draft, viewer.carrier) = (draft, carrier),
                    Role::Origin(origin) => (origin.draft, origin.carrier) = (draft, carrier),
                    _ => {}
                }
            }
            let report = run(&plan);
            assert_eq!(report.tally.delivered, 50, "draft {draft}, {carrier:?}");
        }
    }
}

#[test]
fn a_chain_of_relays_delivers() {
    let mut plan = star(1);
    plan.nodes.push(relay(&[RELAY]));
    plan.nodes.push(relay(&[NodeId(3)]));
    plan.nodes.push(viewer(NodeId(4)));
    let report = run(&plan);
    assert!(report.tally.delivered > 150, "{report:?}");
}

#[test]
fn a_viewer_without_permission_gets_nothing() {
    for token in [TokenPlan::None, TokenPlan::WrongInput] {
        let mut plan = star(1);
        if let Role::Viewer(viewer) = &mut plan.nodes[2].role {
            viewer.token = token;
        }
        let report = run(&plan);
        assert_eq!(report.tally.delivered, 0, "{token:?}");
        assert!(report.tally.denied + report.tally.rejected > 0);
    }
}

#[test]
fn an_origin_with_a_wrong_key_publishes_to_nobody() {
    let mut plan = star(1);
    if let Role::Origin(origin) = &mut plan.nodes[ORIGIN.index()].role {
        origin.has_wrong_key = true;
    }
    let report = run(&plan);
    assert_eq!(report.tally.delivered, 0);
    assert!(report.tally.denied > 0);
}

#[test]
fn a_viewer_that_asks_for_the_past_gets_it() {
    for draft in [18, 22] {
        let mut plan = star(1);
        if let Role::Viewer(viewer) = &mut plan.nodes[2].role {
            viewer.join_ms = 2_100;
            viewer.past_groups = Some(2);
            viewer.draft = draft;
        }
        let report = run(&plan);
        assert!(report.tally.delivered_past >= 20, "{draft} {report:?}");
    }
}

#[test]
fn a_stalled_viewer_comes_back_to_the_live_edge() {
    let mut plan: Plan = star(2);
    if let Role::Viewer(viewer) = &mut plan.nodes[2].role {
        viewer.stalls = vec![Stall {
            at_ms: 1_000,
            for_ms: 2_000,
        }];
    }
    run(&plan);
}
