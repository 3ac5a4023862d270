//! What a relay passes on: objects and properties as they came, on streams that end as they ended,
//! and nothing of its own.

use crate::house::Peer;
use crate::offers::{World, done, name, refused};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, StreamCode};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::Message;
use mainstem_core::moqt::name::{Location, RequestId, TrackAlias};
use mainstem_core::moqt::object::{Object, ObjectStatus, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent, StreamEnd};
use mainstem_core::transport::StreamId;

pub(crate) const DRAFTS: [&str; 3] = ["moqt-22", "moqt-20", "moqt-18"];
/// Draft 16 too, where it has the words.
pub(crate) const EVERY_DRAFT: [&str; 4] = ["moqt-22", "moqt-20", "moqt-18", "moqt-16"];

/// Unknown properties, applications' own (0x78, 0x79, 0x3800), immutable ones in odd encodings.
pub(crate) const PROPERTIES: &str = "0b 04 80 50 80 05  05 80 07  68 09  01 01 ff  b7 87 01";

pub(crate) fn header(group: u64, subgroup: u64) -> SubgroupHeader {
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

pub(crate) fn object(group: u64, subgroup: u64, object: u64) -> Object {
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
    pub(crate) fn watch(&mut self, draft: &str, filter: Option<Filter>) -> (Peer, RequestId) {
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

    pub(crate) fn open(
        &mut self,
        peer: &Peer,
        request: RequestId,
        header: SubgroupHeader,
    ) -> StreamId {
        self.act(peer, |s| s.open_subgroup(request, header, 0))
            .unwrap()
    }

    pub(crate) fn write(&mut self, peer: &Peer, stream: StreamId, object: &Object, fin: bool) {
        self.act(peer, |s| s.send_object(stream, object, fin, false))
            .unwrap();
    }
}

/// The objects that a peer was sent, each with its stream and that stream's header.
pub(crate) fn seen(peer: &Peer) -> Vec<(StreamId, SubgroupHeader, Object)> {
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

pub(crate) fn objects(peer: &Peer) -> Vec<Object> {
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

pub(crate) fn answer(peer: &Peer) -> Option<(Parameters, Properties)> {
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
    for draft in EVERY_DRAFT {
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
fn parameters_change_nothing_in_the_objects() {
    covers!("MOQT19-10.2-7");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let viewers = [
        Parameters::default(),
        Parameters {
            object_delivery_timeout_ms: Some(60_000),
            subgroup_delivery_timeout_ms: Some(60_000),
            ..Parameters::default()
        },
        Parameters {
            subscriber_priority: Some(1),
            group_order: Some(mainstem_core::moqt::filter::GroupOrder::Descending),
            filter: Some(Filter::NextObject),
            ..Parameters::default()
        },
    ]
    .map(|parameters| {
        let viewer = world.peer("moqt-22");
        world
            .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
            .unwrap();
        viewer
    });
    let stream = world.open(&publisher, request, header(1, 0));
    let sent = [0, 1, 2].map(|place| object(1, 0, place));
    for object in &sent {
        world.write(&publisher, stream, object, false);
    }
    for viewer in &viewers {
        assert_eq!(objects(viewer), sent);
    }
}

#[test]
fn what_closes_a_publishers_session_stays_in_it() {
    use mainstem_core::moqt::message::Setup;
    use mainstem_core::transport::{Carrier, Direction, Input, Opened, Origin, Side, StreamEvent};
    covers!("MOQT19-9.5-17");
    let mut world = World::new();
    let relay = world.relay.0;
    let good = world.peer("moqt-22");
    let track = name("a", "one");
    world.publish(&good, &track);
    let (viewer, _) = world.watch("moqt-22", None);
    let session = world.net.open_loose(relay);
    let opened = Opened {
        side: Side::Server,
        carrier: Carrier::Quic,
        protocol: "moqt-22".to_owned(),
        target: None,
        remote: ([192, 0, 2, 9], 4443).into(),
    };
    world.net.feed(relay, Input::Opened { session, opened });
    let publish = Message::from(mainstem_core::moqt::message::Publish {
        request_id: RequestId(0),
        track,
        track_alias: TrackAlias(3),
        parameters: Parameters::default(),
        properties: Properties::default(),
    });
    let draft = mainstem_core::moqt::Draft::D22;
    let uni = |index| StreamId::new(Origin::Peer, Direction::Unidirectional, index);
    let bidi = StreamId::new(Origin::Peer, Direction::Bidirectional, 0);
    for (stream, bytes) in [
        (
            uni(0),
            crate::wire::encoded(draft, &Message::from(Setup::default())),
        ),
        (bidi, crate::wire::encoded(draft, &publish)),
        // A good object of group 9, then one with properties beside a status.
        (
            uni(1),
            Bytes::from(hex("31 03 09 00 00 01 07  00 02 40 05 00 03")),
        ),
    ] {
        let event = StreamEvent::Data(bytes);
        world.net.feed(
            relay,
            Input::Stream {
                session,
                stream,
                event,
            },
        );
    }
    let closed = world.net.end_loose(relay, session).map(|(code, _)| code);
    assert_eq!(closed, Some(3), "PROTOCOL_VIOLATION");
    let places: Vec<(u64, u64)> = objects(&viewer)
        .iter()
        .map(|o| (o.group, o.object))
        .collect();
    assert_eq!(places, [(9, 0)]);
    assert_eq!((viewer.closed(), good.closed()), (None, None));
}
