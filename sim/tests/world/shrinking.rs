//! A world of twenty nodes with one seeded fault is cut down to what the failure needs.

use crate::plans::{relay, star, viewer};
use mainstem_core::transport::Closed;
use mainstem_sim::plan::{Fault, FaultKind, LinkPlan, Role, Target, TransportKind};
use mainstem_sim::shrink::{Failure, Limits, shrink};
use mainstem_sim::{Checker, Finding, NodeId, Observation, Plan, Seen, World};

/// Holds that no session is lost, which a crash of a relay breaks.
struct NothingLost {
    is_over: bool,
}

impl Checker for NothingLost {
    fn name(&self) -> &'static str {
        "nothing-lost"
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        match &observation.seen {
            Seen::Healed => self.is_over = true,
            Seen::Closed {
                closed: Closed::Transport { reason },
                ..
            } if !self.is_over => {
                return Err(Finding {
                    checker: "nothing-lost",
                    class: "session-lost",
                    at_us: observation.at.as_nanos() / 1_000,
                    node: observation.node,
                    message: reason.clone(),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

fn fails(plan: &Plan) -> Option<Failure> {
    let mut world = World::new(plan).ok()?;
    world.add_checker(Box::new(NothingLost { is_over: false }));
    let findings = world.run().findings;
    let finding = findings.iter().find(|it| it.class == "session-lost")?;
    Some(Failure {
        checker: finding.checker.to_owned(),
        class: finding.class.to_owned(),
        at_ms: finding.at_us / 1_000,
    })
}

/// A relay with an origin, three relays below it, fifteen viewers; nine harmless faults and a crash.
fn twenty_nodes() -> Plan {
    let mut plan = star(0);
    let above = NodeId(0);
    plan.transport = TransportKind::Model;
    plan.link = LinkPlan::default();
    plan.duration_ms = 12_000;
    let first = u16::try_from(plan.nodes.len()).unwrap();
    for _ in 0..3 {
        plan.nodes.push(relay(&[above]));
    }
    while plan.nodes.len() < 20 {
        let at = u16::try_from(plan.nodes.len()).unwrap();
        plan.nodes.push(viewer(NodeId(first + at % 3)));
    }
    let mut faults: Vec<Fault> = (0..9)
        .map(|at| Fault {
            start_ms: 500 * at,
            stop_ms: 500 * at + 2_000,
            target: Target::All,
            kind: if at % 2 == 0 {
                FaultKind::Delay { ms: 10 + at }
            } else {
                FaultKind::Duplicate { ppm: 10_000 }
            },
        })
        .collect();
    faults.push(Fault {
        start_ms: 3_000,
        stop_ms: 11_000,
        target: Target::Node(NodeId(first + 1)),
        kind: FaultKind::Crash,
    });
    plan.faults = faults;
    plan
}

#[test]
fn a_crash_among_twenty_nodes_is_cut_down_to_five_nodes_and_three_faults() {
    let plan = twenty_nodes();
    assert_eq!((plan.nodes.len(), plan.faults.len()), (20, 10));
    let failure = fails(&plan).expect("the crash loses sessions");
    let shrunk = shrink(&plan, &failure, Limits::default(), fails, |_| {});
    let left = &shrunk.plan;
    assert!(left.nodes.len() <= 5, "{}", left.to_json());
    assert!(left.faults.len() <= 3, "{}", left.to_json());
    assert!(left.faults.iter().any(|it| it.kind == FaultKind::Crash));
    let again = Plan::from_json(&left.to_json()).expect("it is read back");
    assert!(fails(&again).expect("it still fails").is_like(&failure));
    let relays = left.nodes.iter();
    assert!(
        relays
            .filter(|it| matches!(it.role, Role::Relay(_)))
            .count()
            >= 1
    );
}
