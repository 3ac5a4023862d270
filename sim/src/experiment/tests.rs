//! Experiments print what their worlds came to.

use super::measure::Meter;
use super::{BUFFER, all};
use crate::check::{Checker, Observation, Place, Seen};
use crate::plan::{NodeId, Plan};
use mainstem_core::moqt::name::RequestId;
use mainstem_core::moqt::object::Object;
use mainstem_core::time::Instant;
use mainstem_core::transport::SessionId;
use std::time::Duration;

const VIEWER: NodeId = NodeId(2);

fn plan() -> Plan {
    let loss = all(1).swap_remove(0);
    let cell = loss.cells.into_iter().next().expect("a first point");
    cell.plans.into_iter().next().expect("a plan")
}

fn ms(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn place(object: u64) -> Place {
    Place {
        track: 0,
        group: object / 6,
        object: object % 6,
    }
}

fn key() -> (SessionId, RequestId) {
    (SessionId(0), RequestId(0))
}

/// Figures of objects that are published every 40 ms from 1 s on and arrive `arrives` later, if they do.
fn figures_of(count: u64, arrives: impl Fn(u64) -> Option<u64>) -> super::Figures {
    let (mut meter, reading) = Meter::new(&plan(), BUFFER);
    let mut seen = vec![(
        1_550,
        VIEWER,
        Seen::Asked {
            key: key(),
            track: 0,
            expected: crate::check::Expectation::Permitted,
        },
    )];
    for object in 0..count {
        let at = 1_600 + 40 * object;
        seen.push((
            at,
            NodeId(1),
            Seen::Published {
                place: place(object),
                subgroup: 0,
                ends_group: false,
                bytes: 0,
            },
        ));
        if let Some(later) = arrives(object) {
            let delivered = Seen::Delivered {
                key: key(),
                place: place(object),
                object: Box::new(Object::default()),
                is_past: false,
            };
            seen.push((at + later, VIEWER, delivered));
        }
    }
    seen.sort_by_key(|(at, ..)| *at);
    for (at, node, seen) in seen {
        let observation = Observation {
            at: ms(at),
            node,
            life: 0,
            seen,
        };
        assert!(meter.observe(&observation).is_ok());
    }
    reading.figures()
}

#[test]
fn a_steady_stream_has_no_stall() {
    let figures = figures_of(400, |_| Some(30));
    // It begins at 1.5 s, asks at 1.55 s, and the first object is published at 1.6 s.
    assert_eq!(figures.join_ms(50), Some(130.0));
    assert_eq!(figures.delay_ms(0, 99), Some(30.0));
    assert_eq!(figures.delivered_percent(0), Some(100.0));
}

#[test]
fn a_late_object_stalls_by_what_the_buffer_does_not_cover() {
    // Published until 20 s, as the plan lasts; one object is half a second late.
    let figures = figures_of(460, |object| Some(if object == 100 { 530 } else { 30 }));
    let stalled = figures.stalled.as_millis();
    assert_eq!(stalled, 500 - BUFFER.as_millis());
}

#[test]
fn a_lost_object_counts_as_not_delivered_and_does_not_stall() {
    let figures = figures_of(400, |object| (object != 100).then_some(30));
    let delivered = figures.delivered_percent(0).expect("objects were due");
    assert!((99.0..100.0).contains(&delivered), "{delivered}");
}

#[test]
fn who_gets_nothing_is_counted() {
    let figures = figures_of(10, |_| None);
    assert_eq!(figures.joinless, 1);
    assert_eq!(figures.join_ms(50), None);
    assert_eq!(figures.delivered_percent(0), None);
}

#[test]
fn every_plan_of_an_experiment_is_valid() {
    for experiment in all(2) {
        assert!(experiment.runs() > 10, "{}", experiment.name);
        for plan in experiment.cells.iter().flat_map(|cell| &cell.plans) {
            if let Err(error) = plan.validate() {
                panic!("{}: {error}", experiment.name);
            }
        }
    }
}
