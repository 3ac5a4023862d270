//! Which stream of a subscription goes first, and when one is given up: what the transport is told.

use crate::house::Peer;
use crate::offers::{World, name};
use crate::passing::{header, object};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::name::RequestId;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::transport::StreamId;
use std::time::Duration;

fn world(parameters: Parameters) -> (World, Peer, RequestId, Peer) {
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let viewer = world.peer("moqt-22");
    world
        .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
        .unwrap();
    (world, publisher, request, viewer)
}

/// The relay's streams to its viewer, in the order of their groups, with the priority that they have
/// in the end. The publisher's own are opened with priority 0.
fn priorities(world: &World) -> Vec<i32> {
    let opened = world.net.opened.iter();
    let streams = opened.filter(|(_, stream, priority)| {
        let is_one_way = stream.direction() == mainstem_core::transport::Direction::Unidirectional;
        is_one_way && *priority > 0 && *priority < i32::MAX - 2
    });
    streams
        .map(|(session, stream, priority)| {
            let of = |(of, at, _): &&(_, StreamId, i32)| of == session && at == stream;
            let changed = world.net.priorities.iter().rev().find(of);
            changed.map_or(*priority, |it| it.2)
        })
        .collect()
}

#[test]
fn groups_of_a_stalled_viewer_stay_in_their_order_however_far_apart() {
    let last = (1 << 62) - 1;
    for groups in [
        vec![2046, 2047, 2048, 2049],
        vec![1023, 1024, 3070, 3071, 3072],
        vec![5, 4_000_000, 4_000_001, 4_002_048, last],
    ] {
        for order in [GroupOrder::Ascending, GroupOrder::Descending] {
            let (mut world, publisher, request, _viewer) = world(Parameters {
                group_order: Some(order),
                ..Parameters::default()
            });
            // Open groups: none of their streams ends.
            for group in &groups {
                let stream = world.open(&publisher, request, header(*group, 0));
                world.write(&publisher, stream, &object(*group, 0, 0), false);
            }
            let of = priorities(&world);
            assert_eq!(of.len(), groups.len());
            let is_right = match order {
                GroupOrder::Ascending => of.is_sorted_by(|a, b| a > b),
                GroupOrder::Descending => of.is_sorted_by(|a, b| a < b),
            };
            assert!(is_right, "{order:?} {groups:?}: {of:?}");
        }
    }
}

#[test]
fn a_subgroup_that_is_all_sent_is_given_up_when_its_time_out_passes() {
    covers!("MOQT19-8-9", "MOQT19-8-10");
    for timeout in [None, Some(500)] {
        let (mut world, publisher, request, viewer) = world(Parameters {
            subgroup_delivery_timeout_ms: timeout,
            ..Parameters::default()
        });
        for (group, with_fin) in [(1, true), (2, false)] {
            let stream = world.open(&publisher, request, header(group, 0));
            world.write(&publisher, stream, &object(group, 0, 0), with_fin);
            if !with_fin {
                // The end comes when the last object is with the transport already.
                world.net.advance(Duration::from_millis(10));
                world
                    .act(&publisher, |session| session.finish_stream(stream))
                    .unwrap();
            }
        }
        world.net.advance(Duration::from_millis(480));
        assert_eq!(world.net.resets, [], "{timeout:?}");
        world.net.advance(Duration::from_millis(200));
        let codes: Vec<u64> = world.net.resets.iter().map(|reset| reset.2).collect();
        let late = StreamCode::DELIVERY_TIMEOUT.0;
        let expected = if timeout.is_some() {
            vec![late; 2]
        } else {
            vec![]
        };
        assert_eq!(codes, expected, "{timeout:?}");
        // What had come through is not taken back.
        assert_eq!(crate::passing::objects(&viewer).len(), 2);
    }
}
