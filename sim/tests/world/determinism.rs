//! The same plan is the same run, whatever the platform's clock says, and another seed is another.

use crate::plans::{ORIGIN, RELAY, star, with};
use mainstem_sim::plan::{FaultKind, Plan, Target};
use mainstem_sim::quic::deterministic::{pool_len, process_epoch};
use mainstem_sim::trace::{Recording, first_difference};
use mainstem_sim::{Report, World};
use std::time::Duration;

fn faulty() -> Plan {
    let plan = with(star(2), Target::All, FaultKind::Loss { ppm: 50_000 });
    let plan = with(plan, Target::All, FaultKind::Jitter { ms: 20 });
    let plan = with(plan, Target::Node(RELAY), FaultKind::Crash);
    with(plan, Target::Node(ORIGIN), FaultKind::AddressChange)
}

fn outcome(report: &Report) -> (u64, u64, u64, u64) {
    let tally = report.tally;
    let Report {
        trace_hash,
        events,
        virtual_ms,
        ..
    } = *report;
    (trace_hash, events, virtual_ms, tally.delivered)
}

#[test]
fn the_same_plan_is_the_same_run() {
    let plan = faulty();
    let record = || World::with(&plan, Recording::Digests).unwrap().run();
    let (one, other) = (record(), record());
    assert_eq!(first_difference(&one.digests, &other.digests), None);
    assert_eq!(outcome(&one), outcome(&other));
}

#[test]
fn the_platforms_clock_does_not_matter() {
    let plan = faulty();
    let one = World::new(&plan).unwrap().run();
    for ahead in [Duration::from_nanos(1), Duration::from_hours(24)] {
        let epoch = process_epoch() + ahead;
        let other = World::at(&plan, Recording::Nothing, epoch).unwrap().run();
        assert_eq!(outcome(&one), outcome(&other), "{ahead:?}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let plan = star(1);
    let other = Plan {
        seed: 2,
        ..plan.clone()
    };
    let hash = |plan: &Plan| World::new(plan).unwrap().run().trace_hash;
    assert_ne!(hash(&plan), hash(&other));
}

#[test]
fn a_plan_survives_json() {
    let plan = faulty();
    assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
}

#[test]
fn the_pool_of_leaked_objects_does_not_grow_with_every_run() {
    let plan = star(1);
    let run = || World::new(&plan).unwrap().run();
    run();
    // Other tests of this process take some at the same time; fifty runs of three nodes would show.
    let before = pool_len();
    for _ in 0..20 {
        run();
    }
    assert!(pool_len() < before + 40, "{before} to {}", pool_len());
}

#[test]
fn interleaved_worlds_do_not_disturb_each_other() {
    let plan = faulty();
    let alone = World::new(&plan).unwrap().run();
    let first = World::new(&plan).unwrap();
    let second = World::new(&star(2)).unwrap();
    second.run();
    assert_eq!(outcome(&alone), outcome(&first.run()));
}
