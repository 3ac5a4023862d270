//! Malformed tracks at a relay: what it finds out by itself or is told by its sessions, and what each
//! who watches or fetches then gets.

use crate::answers::{fetch, fetches};
use crate::house::Peer;
use crate::offers::{World, done, name, refused};
use crate::passing::{DRAFTS, header, object, objects, seen};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::FetchOk;
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::{Object, SubgroupHeader};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::session::{Event as SessionEvent, StreamEnd};
use mainstem_core::transport::StreamId;
use std::time::Duration;

/// A publisher that was asked for a fetch and has answered, and its viewer.
struct Fetching {
    world: World,
    publisher: Peer,
    viewer: Peer,
    /// The viewer's request.
    request: RequestId,
    /// The relay's.
    upstream: RequestId,
    stream: StreamId,
}

impl Fetching {
    fn new(draft: &str, is_answered: bool) -> Self {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let viewer = world.peer(draft);
        let request = fetch(&mut world, &viewer);
        let upstream = fetches(&publisher)[0];
        if is_answered {
            let answer = FetchOk::new(Location::new(4, 9), false, Properties::default());
            world
                .act(&publisher, |s| s.accept_fetch(upstream, answer))
                .unwrap();
        }
        let stream = world
            .act(&publisher, |s| s.open_fetch(upstream, 1))
            .unwrap();
        Self {
            world,
            publisher,
            viewer,
            request,
            upstream,
            stream,
        }
    }

    fn send(&mut self, object: &Object) {
        let stream = self.stream;
        self.world
            .act(&self.publisher, |s| {
                s.send_fetch_object(stream, object, false, false)
            })
            .unwrap();
    }
}

fn fetched(viewer: &Peer) -> Vec<Object> {
    let node = viewer.node.borrow();
    let objects = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::FetchObject { object, .. } => Some(object.clone()),
        _ => None,
    });
    objects.collect()
}

/// How a fetch stream ended, or its request.
fn broken_off(viewer: &Peer, request: RequestId) -> Option<StreamCode> {
    viewer.find(|event| match event {
        SessionEvent::FetchEnded {
            request: of,
            end: StreamEnd::Reset(code),
            ..
        } if *of == request => Some(*code),
        SessionEvent::Cancelled { request: of, code } if *of == request => *code,
        _ => None,
    })
}

fn has_finished(viewer: &Peer) -> bool {
    viewer.has(|event| {
        matches!(
            event,
            SessionEvent::FetchEnded {
                end: StreamEnd::Finished,
                ..
            }
        )
    })
}

fn with_payload(object: Object, payload: &'static str) -> Object {
    Object {
        payload: Bytes::from_static(payload.as_bytes()).into(),
        ..object
    }
}

const FROM_START: Option<Filter> = Some(Filter::Absolute {
    start: Location::ZERO,
});

#[test]
fn a_fault_in_what_is_fetched_breaks_the_fetches_of_the_track_off() {
    covers!("MOQT19-2.4.2-4");
    for draft in DRAFTS {
        let mut fetching = Fetching::new(draft, true);
        let good = object(1, 0, 0);
        fetching.send(&good);
        assert_eq!(fetched(&fetching.viewer), [good], "{draft}");
        // A property of the mandatory range belongs to tracks.
        let faulty = Object {
            properties: PropertiesBuilder::new().integer(0x4000, 1).build(),
            ..object(1, 0, 1)
        };
        fetching.send(&faulty);
        let Fetching {
            viewer, request, ..
        } = &fetching;
        let code = Some(StreamCode::MALFORMED_TRACK);
        assert_eq!(broken_off(viewer, *request), code, "{draft}");
        assert!(!has_finished(viewer), "{draft}");
        assert_eq!(fetched(viewer).len(), 1, "{draft}");
    }
}

#[test]
fn a_fault_in_what_is_published_breaks_the_fetches_of_the_track_off() {
    covers!("MOQT19-2.4.2-4");
    for draft in DRAFTS {
        let mut fetching = Fetching::new(draft, true);
        fetching.send(&object(1, 0, 0));
        let Fetching {
            mut world,
            publisher,
            viewer,
            request,
            ..
        } = fetching;
        let published = world.publish(&publisher, &name("a", "one"));
        let (_watching, _) = world.watch(draft, None);
        let stream = world.open(&publisher, published, header(7, 0));
        let faulty = Object {
            properties: PropertiesBuilder::new().integer(0x4000, 1).build(),
            ..object(7, 0, 0)
        };
        world.write(&publisher, stream, &faulty, false);
        let code = Some(StreamCode::MALFORMED_TRACK);
        assert_eq!(broken_off(&viewer, request), code, "{draft}");
        assert!(!has_finished(&viewer), "{draft}");
    }
}

#[test]
fn a_mandatory_property_that_comes_after_objects_breaks_the_fetch_off() {
    covers!("MOQT19-2.5.1-8");
    for draft in DRAFTS {
        // The viewer's fetch was answered before: by a track whose past is asked for.
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        let published = world.publish(&publisher, &name("a", "one"));
        let (_watching, _) = world.watch(draft, None);
        let stream = world.open(&publisher, published, header(4, 0));
        world.write(&publisher, stream, &object(4, 0, 0), true);
        let viewer = world.peer(draft);
        let request = fetch(&mut world, &viewer);
        let upstream = fetches(&publisher)[0];
        let stream = world
            .act(&publisher, |s| s.open_fetch(upstream, 1))
            .unwrap();
        let first = object(0, 0, 0);
        world
            .act(&publisher, |s| {
                s.send_fetch_object(stream, &first, false, false)
            })
            .unwrap();
        assert_eq!(fetched(&viewer), [first], "{draft}");
        let mandatory = Properties::from_track(Bytes::from(hex("c0 40 00 01"))).unwrap();
        let answer = FetchOk::new(Location::new(3, 9), false, mandatory);
        world
            .act(&publisher, |s| s.accept_fetch(upstream, answer))
            .unwrap();
        assert!(broken_off(&viewer, request).is_some(), "{draft}");
        assert!(!has_finished(&viewer), "{draft}");
        assert_eq!(fetched(&viewer).len(), 1, "{draft}");
    }
}

#[test]
fn what_came_ahead_of_a_mandatory_property_is_passed_to_nobody() {
    covers!("MOQT19-2.5.1-7");
    for draft in DRAFTS {
        let mut fetching = Fetching::new(draft, false);
        fetching.send(&object(1, 0, 0));
        let Fetching {
            mut world,
            publisher,
            viewer,
            request,
            upstream,
            ..
        } = fetching;
        let mandatory = Properties::from_track(Bytes::from(hex("c0 40 00 01"))).unwrap();
        let answer = FetchOk::new(Location::new(4, 9), false, mandatory);
        world
            .act(&publisher, |s| s.accept_fetch(upstream, answer))
            .unwrap();
        let code = Some(RequestCode::UNSUPPORTED_EXTENSION);
        assert_eq!(refused(&viewer, request), code, "{draft}");
        assert!(fetched(&viewer).is_empty(), "{draft}");
        let late = world.peer(draft);
        fetch(&mut world, &late);
        assert!(fetched(&late).is_empty(), "{draft}");
        assert_eq!(fetches(&publisher).len(), 2, "{draft}: asked anew");
    }
}

/// How an object comes again.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// In a stream with this header.
    In(SubgroupHeader),
    Datagram,
}

/// Publishes 1/0/0, 1/0/1 and a repeat of the first by another publisher. Returns who watched from the
/// beginning and how that ended.
fn repeat(again: Again, repeated: &Object) -> (World, Peer, Option<PublishDoneCode>) {
    let mut world = World::new();
    let (publisher, other) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let first = world.publish(&publisher, &name("a", "one"));
    let second = world.publish(&other, &name("a", "one"));
    let (viewer, watching) = world.watch("moqt-22", None);
    let stream = world.open(&publisher, first, header(1, 0));
    world.write(&publisher, stream, &object(1, 0, 0), false);
    world.write(&publisher, stream, &object(1, 0, 1), false);
    match again {
        Again::In(header) => {
            let stream = world.open(&other, second, header);
            world.write(&other, stream, repeated, false);
        }
        Again::Datagram => {
            world
                .act(&other, |s| s.send_datagram(second, repeated))
                .unwrap();
        }
    }
    let ended = done(&viewer, watching);
    (world, viewer, ended)
}

#[test]
fn an_object_that_comes_again_as_another_makes_the_track_malformed() {
    covers!("MOQT19-9.1-1", "MOQT19-2.1-1");
    let urgent = SubgroupHeader {
        priority: Some(1),
        ..header(1, 0)
    };
    let of_urgent = Object {
        priority: Some(1),
        ..object(1, 0, 0)
    };
    let in_datagram = Object {
        subgroup: None,
        ..object(1, 0, 0)
    };
    let as_it_was = |of: Object| with_payload(of, "1/0/0");
    let cases = [
        (
            "payload",
            Again::In(header(1, 0)),
            with_payload(object(1, 0, 0), "1/0/X"),
        ),
        (
            "length",
            Again::In(header(1, 0)),
            with_payload(object(1, 0, 0), "1/0/0 and more"),
        ),
        (
            "subgroup",
            Again::In(header(1, 3)),
            as_it_was(object(1, 3, 0)),
        ),
        ("priority", Again::In(urgent), of_urgent),
        ("forwarding preference", Again::Datagram, in_datagram),
    ];
    for (what, again, repeated) in cases {
        let (mut world, viewer, ended) = repeat(again, &repeated);
        assert_eq!(ended, Some(PublishDoneCode::MALFORMED_TRACK), "{what}");
        assert_eq!(
            objects(&viewer),
            [object(1, 0, 0), object(1, 0, 1)],
            "{what}"
        );
        assert_eq!(world.relay.1.borrow().app.metrics().requests_malformed, 1);
        // Nobody gets the other one later.
        let (late, _) = world.watch("moqt-22", FROM_START);
        assert!(objects(&late).is_empty(), "{what}");
    }
}

#[test]
fn an_object_that_is_fetched_as_another_makes_the_track_malformed() {
    covers!("MOQT19-9.1-1");
    let malformed = Some(PublishDoneCode::MALFORMED_TRACK);
    for (what, repeated, expected) in [
        ("payload", with_payload(object(1, 0, 0), "1/0/X"), malformed),
        (
            "subgroup",
            with_payload(object(1, 2, 0), "1/0/0"),
            malformed,
        ),
        ("nothing else", object(1, 0, 0), None),
    ] {
        for is_fetched_first in [false, true] {
            let mut fetching = Fetching::new("moqt-22", true);
            if is_fetched_first {
                fetching.send(&repeated);
            }
            let track = name("a", "one");
            let published = fetching.world.publish(&fetching.publisher, &track);
            let (watching, request) = fetching.world.watch("moqt-22", None);
            let world = &mut fetching.world;
            let stream = world.open(&fetching.publisher, published, header(1, 0));
            world.write(&fetching.publisher, stream, &object(1, 0, 0), false);
            if !is_fetched_first {
                fetching.send(&repeated);
            }
            assert_eq!(
                done(&watching, request),
                expected,
                "{what} {is_fetched_first}"
            );
            let code = broken_off(&fetching.viewer, fetching.request);
            let is_broken = code == Some(StreamCode::MALFORMED_TRACK);
            assert_eq!(is_broken, expected.is_some(), "{what} {is_fetched_first}");
        }
    }
}

#[test]
fn an_object_that_comes_again_as_it_was_is_passed_on_once() {
    covers!("MOQT19-2.1-1");
    let other_properties = Object {
        properties: PropertiesBuilder::new().integer(0x78, 2).build(),
        ..object(1, 0, 0)
    };
    for again in [object(1, 0, 0), other_properties] {
        let (mut world, viewer, ended) = repeat(Again::In(header(1, 0)), &again);
        assert_eq!(ended, None);
        let sent = [object(1, 0, 0), object(1, 0, 1)];
        assert_eq!(objects(&viewer), sent);
        let (late, _) = world.watch("moqt-22", FROM_START);
        assert_eq!(objects(&late), sent);
    }
}

/// Object IDs with the stream that each came on, numbered as they appear.
fn streams(viewer: &Peer) -> Vec<(usize, u64)> {
    let mut known: Vec<StreamId> = Vec::new();
    let mut places = Vec::new();
    for (stream, _, object) in seen(viewer) {
        let index = known.iter().position(|of| *of == stream);
        let index = index.unwrap_or_else(|| {
            known.push(stream);
            known.len() - 1
        });
        places.push((index, object.object));
    }
    places
}

/// What two streams of one subgroup bring in turn, and how it is passed on.
type Case = (&'static str, Vec<(usize, Object)>, Vec<(usize, u64)>);

#[test]
fn what_may_follow_a_hole_goes_on_a_stream_of_its_own() {
    covers!("MOQT19-11.4.3-4");
    let gone = PropertiesBuilder::new().integer(0x3e, 3).build();
    let at = |id| object(1, 0, id);
    let cases: [Case; 5] = [
        (
            "a hole",
            vec![(0, at(0)), (1, at(5)), (1, at(7))],
            vec![(0, 0), (1, 5), (1, 7)],
        ),
        (
            "the next id",
            vec![(0, at(0)), (1, at(1)), (0, at(2))],
            vec![(0, 0), (0, 1), (0, 2)],
        ),
        (
            "a stream of gaps",
            vec![(0, at(0)), (0, at(4)), (0, at(9))],
            vec![(0, 0), (0, 4), (0, 9)],
        ),
        (
            "two that tell the same",
            vec![
                (0, at(0)),
                (1, at(0)),
                (0, at(4)),
                (1, at(4)),
                (1, at(9)),
                (0, at(9)),
                (0, at(12)),
            ],
            vec![(0, 0), (0, 4), (0, 9), (0, 12)],
        ),
        (
            "a gap of which it is told",
            vec![
                (0, at(0)),
                (
                    1,
                    Object {
                        properties: gone,
                        ..at(4)
                    },
                ),
            ],
            vec![(0, 0), (0, 4)],
        ),
    ];
    for (what, sent, expected) in cases {
        let mut world = World::new();
        let publishers = [world.peer("moqt-22"), world.peer("moqt-22")];
        let streams_of = [0, 1].map(|index: usize| {
            let publisher = &publishers[index];
            (index, world.publish(publisher, &name("a", "one")))
        });
        let (early, _) = world.watch("moqt-22", None);
        let open = streams_of.map(|(index, request)| {
            let header = SubgroupHeader {
                first_object: index == 0,
                ..header(1, 0)
            };
            world.open(&publishers[index], request, header)
        });
        for (by, object) in &sent {
            world.write(&publishers[*by], open[*by], object, false);
        }
        // What could still be brought by the other one is waited for, and asked for in vain.
        world.net.advance(Duration::from_secs(3));
        let (late, _) = world.watch("moqt-22", FROM_START);
        assert_eq!(streams(&early), expected, "{what}, early");
        assert_eq!(streams(&late), expected, "{what}, late");
    }
}
