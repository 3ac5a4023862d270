//! What a relay passes on: objects and properties as they came, on streams that end as they ended,
//! and nothing of its own.

use crate::house::Peer;
use crate::offers::{World, done, name, refused};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{Message, RequestError};
use mainstem_core::moqt::name::{Location, RequestId, TrackAlias, TrackNamespace};
use mainstem_core::moqt::object::{Object, ObjectStatus, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent, StreamEnd};
use mainstem_core::transport::StreamId;

const DRAFTS: [&str; 3] = ["moqt-22", "moqt-20", "moqt-18"];

/// Unknown properties, applications' own (0x78, 0x79, 0x3800), immutable ones in odd encodings.
const PROPERTIES: &str = "0b 04 80 50 80 05  05 80 07  68 09  01 01 ff  b7 87 01";

fn header(group: u64, subgroup: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(0),
        group,
        subgroup: SubgroupId::Explicit(subgroup),
        priority: Some(7),
        has_properties: true,
        end_of_group: false,
        first_object: true,
    }
}

fn object(group: u64, subgroup: u64, object: u64) -> Object {
    Object {
        group,
        object,
        subgroup: Some(subgroup),
        priority: Some(7),
        payload: Bytes::from(format!("{group}/{subgroup}/{object}")).into(),
        ..Object::default()
    }
}

fn with_properties(object: Object, block: &[u8]) -> Object {
    let block = Bytes::copy_from_slice(block);
    let properties = Properties::from_object(block, object.group, object.object).unwrap();
    Object {
        properties,
        ..object
    }
}

impl World {
    fn watch(&mut self, draft: &str, filter: Option<Filter>) -> (Peer, RequestId) {
        let viewer = self.peer(draft);
        let parameters = Parameters {
            filter,
            ..Parameters::default()
        };
        let request = self
            .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
            .unwrap();
        (viewer, request)
    }

    fn open(&mut self, peer: &Peer, request: RequestId, header: SubgroupHeader) -> StreamId {
        self.act(peer, |s| s.open_subgroup(request, header, 0))
            .unwrap()
    }

    fn write(&mut self, peer: &Peer, stream: StreamId, object: &Object, fin: bool) {
        self.act(peer, |s| s.send_object(stream, object, fin, false))
            .unwrap();
    }
}

/// The objects that a peer was sent, each with its stream and that stream's header.
fn seen(peer: &Peer) -> Vec<(StreamId, SubgroupHeader, Object)> {
    let node = peer.node.borrow();
    let seen = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Object {
            stream,
            header,
            object,
            ..
        } => Some((*stream, *header, object.clone())),
        _ => None,
    });
    seen.collect()
}

fn objects(peer: &Peer) -> Vec<Object> {
    seen(peer)
        .into_iter()
        .map(|(_, _, object)| object)
        .collect()
}

fn ends(peer: &Peer) -> Vec<(StreamId, StreamEnd)> {
    let node = peer.node.borrow();
    let ends = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::SubgroupEnded { stream, end, .. } => Some((*stream, *end)),
        _ => None,
    });
    ends.collect()
}

fn answer(peer: &Peer) -> Option<(Parameters, Properties)> {
    peer.find(|event| match event {
        SessionEvent::Accepted {
            accepted: Accepted::Subscribe(answer),
            ..
        } => Some((answer.parameters.clone(), answer.properties.clone())),
        _ => None,
    })
}

#[test]
fn properties_of_tracks_reach_early_and_late_viewers_byte_for_byte() {
    covers!(
        "MOQT19-2.5-1",
        "MOQT19-2.5-2",
        "MOQT19-2.5-3",
        "MOQT19-12.7-3"
    );
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let block = Bytes::from(hex(PROPERTIES));
        let properties = Properties::from_track(block.clone()).unwrap();
        let track = name("a", "one");
        let request = world.publish_with(&publisher, &track, Parameters::default(), properties);
        let (early, _) = world.watch(draft, None);
        let stream = world.open(&publisher, request, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), false);
        let (late, _) = world.watch(draft, None);
        for viewer in [early, late] {
            let (_, properties) = answer(&viewer).unwrap();
            assert_eq!(properties.raw(), &block, "{draft}");
        }
    }
}

#[test]
fn objects_reach_early_and_late_viewers_with_every_field_and_nothing_added() {
    covers!(
        "MOQT19-2.5-1",
        "MOQT19-2.5-2",
        "MOQT19-2.5-3",
        "MOQT19-2.5-5",
        "MOQT19-2.5-7",
        "MOQT19-2.5-8",
        "MOQT19-2.5-9",
        "MOQT19-2.5-10",
        "MOQT19-9.1-3",
        "MOQT19-9.7-1",
        "MOQT19-11.2.1.1-1",
        "MOQT19-12.7-1",
        "MOQT19-12.7-2",
        "MOQT19-12.7-3",
        "MOQT19-12.8-1",
        "MOQT19-12.8-2",
        "MOQT19-12.9-1",
        "MOQT19-12.9-2"
    );
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let request = world.publish(&publisher, &name("a", "one"));
        let (early, _) = world.watch(draft, None);
        let unknown = hex(PROPERTIES);
        let sent = [
            // A gap of one group and of two objects before it, in longer encodings than needed.
            with_properties(object(3, 2, 5), &hex("3c 80 01 02 80 02")),
            with_properties(object(3, 2, 6), &unknown),
            // Other unknown ones than the object before, and none.
            with_properties(object(3, 2, 8), &hex("12 04")),
            object(3, 2, 9),
            Object {
                status: ObjectStatus::EndOfGroup,
                payload: Bytes::new().into(),
                ..object(3, 2, 10)
            },
        ];
        let stream = world.open(&publisher, request, header(3, 2));
        for object in &sent {
            world.write(&publisher, stream, object, false);
        }
        let (late, _) = world.watch(
            draft,
            Some(Filter::Absolute {
                start: Location::ZERO,
            }),
        );
        for viewer in [&early, &late] {
            assert_eq!(objects(viewer), sent, "{draft}");
            for (_, header, _) in seen(viewer) {
                assert_eq!((header.group, header.priority), (3, Some(7)));
                assert_eq!(header.subgroup, SubgroupId::Explicit(2));
            }
        }
    }
}

#[test]
fn subgroups_have_a_stream_each_and_no_other() {
    covers!("MOQT19-2.2-1", "MOQT19-2.2-2");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let (viewer, _) = world.watch("moqt-22", None);
    let streams = [0, 1, 2].map(|subgroup| world.open(&publisher, request, header(1, subgroup)));
    for place in 0..9 {
        let subgroup = place % 3;
        let stream = streams[usize::try_from(subgroup).unwrap()];
        world.write(&publisher, stream, &object(1, subgroup, place), false);
    }
    let seen = seen(&viewer);
    assert_eq!(seen.len(), 9);
    for (stream, _, object) in &seen {
        for (other_stream, _, other) in &seen {
            assert_eq!(stream == other_stream, object.subgroup == other.subgroup);
        }
    }
}

#[test]
fn only_a_stream_from_the_beginning_says_so() {
    covers!("MOQT19-2.2-4");
    for (is_first, filter, expected) in [
        (
            true,
            Filter::Absolute {
                start: Location::ZERO,
            },
            true,
        ),
        (
            false,
            Filter::Absolute {
                start: Location::ZERO,
            },
            false,
        ),
        (true, Filter::NextObject, false),
    ] {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let request = world.publish(&publisher, &name("a", "one"));
        let (early, _) = world.watch("moqt-22", None);
        let header = SubgroupHeader {
            first_object: is_first,
            ..header(1, 0)
        };
        let stream = world.open(&publisher, request, header);
        world.write(&publisher, stream, &object(1, 0, 0), false);
        let (late, _) = world.watch("moqt-22", Some(filter));
        world.write(&publisher, stream, &object(1, 0, 1), false);
        assert_eq!(seen(&early)[0].1.first_object, is_first);
        assert_eq!(seen(&late)[0].1.first_object, expected, "{filter:?}");
    }
}

#[test]
fn streams_end_as_they_ended_upstream() {
    covers!("MOQT19-11.4.3-1", "MOQT19-11.4.3-2", "MOQT19-11.4.3-6");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let (viewer, _) = world.watch("moqt-22", None);
    let whole = world.open(&publisher, request, header(1, 0));
    world.write(&publisher, whole, &object(1, 0, 0), false);
    let broken = world.open(&publisher, request, header(2, 0));
    world.write(&publisher, broken, &object(2, 0, 0), false);
    assert!(ends(&viewer).is_empty());
    world.act(&publisher, |s| s.finish_stream(whole)).unwrap();
    world.act(&publisher, |s| {
        s.reset_stream(broken, StreamCode::INTERNAL_ERROR);
    });
    let streams: Vec<StreamId> = seen(&viewer).iter().map(|(stream, _, _)| *stream).collect();
    let ends = ends(&viewer);
    assert!(
        ends.contains(&(streams[0], StreamEnd::Finished)),
        "{ends:?}"
    );
    let is_reset =
        |end: &(StreamId, StreamEnd)| end.0 == streams[1] && matches!(end.1, StreamEnd::Reset(_));
    assert!(ends.iter().any(is_reset), "{ends:?}");
}

#[test]
fn after_a_hole_a_subgroup_goes_on_in_a_new_stream() {
    covers!("MOQT19-11.4.3-5");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let (viewer, _) = world.watch("moqt-22", None);
    let first = world.open(&publisher, request, header(1, 0));
    world.write(&publisher, first, &object(1, 0, 0), false);
    world.act(&publisher, |s| {
        s.reset_stream(first, StreamCode::INTERNAL_ERROR);
    });
    let again = SubgroupHeader {
        first_object: false,
        ..header(1, 0)
    };
    let second = world.open(&publisher, request, again);
    world.write(&publisher, second, &object(1, 0, 5), true);
    let seen = seen(&viewer);
    let places: Vec<u64> = seen.iter().map(|(_, _, object)| object.object).collect();
    assert_eq!(places, [0, 5]);
    assert_ne!(seen[0].0, seen[1].0, "a stream of its own");
    assert!(!seen[1].1.first_object);
    let ends = ends(&viewer);
    assert!(matches!(ends[0], (stream, StreamEnd::Reset(_)) if stream == seen[0].0));
    assert_eq!(ends[1], (seen[1].0, StreamEnd::Finished));
}

#[test]
fn objects_keep_their_forwarding_preference() {
    covers!("MOQT19-11.2.1-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let request = world.publish(&publisher, &name("a", "one"));
        let (viewer, _) = world.watch(draft, None);
        let in_datagram = Object {
            subgroup: None,
            ..object(1, 0, 0)
        };
        world
            .act(&publisher, |s| s.send_datagram(request, &in_datagram))
            .unwrap();
        let stream = world.open(&publisher, request, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 1), true);
        let datagram = viewer.find(|event| match event {
            SessionEvent::Datagram { object, .. } => Some(object.clone()),
            _ => None,
        });
        assert_eq!(datagram, Some(in_datagram), "{draft}");
        assert_eq!(objects(&viewer), [object(1, 0, 1)], "{draft}");
    }
}

#[test]
fn viewers_learn_the_largest_location_known_here_or_upstream() {
    covers!("MOQT19-9.4-4", "MOQT19-10.2.16-1", "MOQT19-10.2.16-2");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let told = Parameters {
        largest: Some(Location::new(4, 2)),
        ..Parameters::default()
    };
    let track = name("a", "one");
    let request = world.publish_with(&publisher, &track, told, Properties::default());
    let largest = |viewer: &Peer| answer(viewer).unwrap().0.largest;
    let (before, _) = world.watch("moqt-18", None);
    assert_eq!(largest(&before), Some(Location::new(4, 2)), "told upstream");
    let stream = world.open(&publisher, request, header(5, 0));
    world.write(&publisher, stream, &object(5, 0, 3), false);
    let (after, _) = world.watch("moqt-22", None);
    assert_eq!(largest(&after), Some(Location::new(5, 3)), "received");
}

#[test]
fn a_viewer_is_accepted_after_the_upstream_has_accepted() {
    covers!("MOQT19-9.4-2");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let (viewer, request) = world.watch(draft, None);
        let (upstream, asked) = publisher.asked().remove(0);
        assert_eq!(asked, name("a", "one"));
        assert!(answer(&viewer).is_none() && refused(&viewer, request).is_none());
        world
            .act(&publisher, |s| {
                s.accept_subscribe(upstream, Parameters::default(), Properties::default())
            })
            .unwrap();
        assert!(answer(&viewer).is_some(), "{draft}");
    }
}

#[test]
fn a_viewer_that_does_not_wait_is_refused_at_once() {
    covers!("MOQT19-10.2.6-3");
    for draft in DRAFTS {
        let mut world = World::new();
        let viewer = world.peer(draft);
        let parameters = Parameters {
            rendezvous_timeout_ms: Some(0),
            ..Parameters::default()
        };
        let request = world
            .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
            .unwrap();
        assert_eq!(refused(&viewer, request), Some(RequestCode::DOES_NOT_EXIST));
    }
}

#[test]
fn namespaces_are_told_to_all_who_asked_and_withdrawn_once() {
    covers!("MOQT19-6.2-1", "MOQT19-10.18-3", "MOQT19-10.18-5");
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let path = |path: &str| TrackNamespace::from_path(path).unwrap();
        let discover = |world: &mut World, prefix: &str| {
            let prefix = path(prefix);
            world
                .act(&viewer, |s| {
                    s.subscribe_namespace(prefix, Parameters::default())
                })
                .unwrap()
        };
        let first = publisher.announce("live/a");
        world.net.settle();
        let wish = discover(&mut world, "live");
        publisher.announce("live/b/c");
        publisher.announce("elsewhere");
        world.net.settle();
        let overlapping = discover(&mut world, "live/b");
        assert_eq!(
            refused(&viewer, overlapping),
            Some(RequestCode::PREFIX_OVERLAP)
        );
        world
            .act(&publisher, |s| s.cancel(first, StreamCode::CANCELLED))
            .unwrap();
        let node = viewer.node.borrow();
        let told: Vec<(bool, TrackNamespace)> = node
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                SessionEvent::Namespace { request, suffix } if *request == wish => {
                    Some((true, suffix.clone()))
                }
                SessionEvent::NamespaceDone { request, suffix } if *request == wish => {
                    Some((false, suffix.clone()))
                }
                _ => None,
            })
            .collect();
        let expected = [(true, path("a")), (true, path("b/c")), (false, path("a"))];
        assert_eq!(told, expected, "{draft}");
    }
}

#[test]
fn a_malformed_track_ends_its_viewers_and_is_not_kept() {
    covers!("MOQT19-2.4.2-3", "MOQT19-2.4.2-5");
    let mut world = World::new();
    let (publisher, other) = (world.peer("moqt-22"), world.peer("moqt-18"));
    let request = world.publish(&publisher, &name("a", "one"));
    let of_other = world.publish(&other, &name("a", "one"));
    let (viewer, of_viewer) = world.watch("moqt-22", None);
    let stream = world.open(&publisher, request, header(1, 0));
    world.write(&publisher, stream, &object(1, 0, 0), false);
    // A property of the mandatory range belongs to tracks.
    let mut builder = mainstem_core::moqt::property::PropertiesBuilder::new();
    builder = builder.integer(0x4000, 1);
    let faulty = Object {
        properties: builder.build(),
        ..object(1, 0, 1)
    };
    world.write(&publisher, stream, &faulty, false);
    assert_eq!(objects(&viewer), [object(1, 0, 0)]);
    assert_eq!(
        done(&viewer, of_viewer),
        Some(PublishDoneCode::MALFORMED_TRACK)
    );
    for (peer, of) in [(&publisher, request), (&other, of_other)] {
        let is_cancelled = |event: &SessionEvent| matches!(event, SessionEvent::Cancelled { request, .. } if *request == of);
        assert!(peer.has(is_cancelled));
    }
    let (late, of_late) = world.watch("moqt-22", None);
    assert!(objects(&late).is_empty() && refused(&late, of_late).is_some());
    // Published anew it is a track like any other.
    let again = world.publish(&publisher, &name("a", "one"));
    let (viewer, _) = world.watch("moqt-22", None);
    let stream = world.open(&publisher, again, header(2, 0));
    world.write(&publisher, stream, &object(2, 0, 0), false);
    assert_eq!(objects(&viewer), [object(2, 0, 0)]);
}

#[test]
fn nothing_is_asked_of_a_publisher_but_what_it_announced() {
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    publisher.announce("b");
    world.net.settle();
    let (viewer, request) = world.watch("moqt-22", None);
    assert!(refused(&viewer, request).is_some());
    let is_asked = |event: &SessionEvent| {
        matches!(
            event,
            SessionEvent::Request {
                message: Message::Subscribe(_),
                ..
            }
        )
    };
    assert!(!publisher.has(is_asked));
}

#[test]
fn unknown_error_codes_of_a_publisher_mean_that_something_went_wrong() {
    covers!("MOQT19-14-1", "MOQT19-14-5");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer(draft);
        publisher.announce("a");
        world.net.settle();
        let (viewer, request) = world.watch("moqt-22", None);
        let (upstream, _) = publisher.asked().remove(0);
        let unknown = RequestError::new(RequestCode(0x7f * 5 + 0x9d), "for a reason of our own");
        world
            .act(&publisher, |s| s.reject(upstream, unknown))
            .unwrap();
        let code = refused(&viewer, request);
        assert_eq!(code, Some(RequestCode::INTERNAL_ERROR), "{draft}");

        let mut ends = Vec::new();
        for code in [PublishDoneCode::INTERNAL_ERROR, PublishDoneCode(0x7777)] {
            let mut world = World::new();
            let publisher = world.peer(draft);
            let request = world.publish(&publisher, &name("a", "one"));
            let (viewer, of_viewer) = world.watch("moqt-22", None);
            world
                .act(&publisher, |s| s.publish_done(request, code, "over"))
                .unwrap();
            let at_once = done(&viewer, of_viewer);
            world.net.advance(std::time::Duration::from_secs(60));
            ends.push((at_once, done(&viewer, of_viewer)));
        }
        assert_eq!(ends[0], ends[1], "{draft}");
    }
}
