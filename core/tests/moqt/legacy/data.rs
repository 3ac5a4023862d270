//! Objects at draft 16: framing is rewritten, payloads and meanings are kept, in both directions.

use super::{Peer, own_uni, publish, subscribe, uni};
use crate::arbitrary::cases;
use crate::streams::{Stream, stream};
use bytes::Bytes;
use mainstem_core::moqt::error::{SessionCode, StreamCode};
use mainstem_core::moqt::legacy::Control;
use mainstem_core::moqt::message::RequestOk;
use mainstem_core::moqt::name::{RequestId, TrackAlias};
use mainstem_core::moqt::object::{Object, ObjectStatus, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder, PropertyValue};
use mainstem_core::moqt::session::{Event, StreamEnd};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Output, StreamEvent};
use moqtap_codec::draft16::data_stream as t;
use moqtap_codec::varint::VarInt;
use proptest::prelude::*;

fn int(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap()
}

/// A server to which the peer publishes under the alias 7.
fn subscribed() -> Peer {
    let mut peer = Peer::server();
    peer.say(&publish(0, "a", 7));
    let request = peer.asked()[0].0;
    peer.command(|s| s.accept(request, RequestOk::default()))
        .unwrap();
    peer.forget();
    peer
}

#[test]
fn a_late_stream_of_a_subscription_that_was_given_up_is_stopped_and_the_session_goes_on() {
    let mut peer = Peer::server();
    peer.say(&publish(0, "a", 7));
    let request = peer.asked()[0].0;
    peer.command(|s| s.accept(request, RequestOk::default()))
        .unwrap();
    peer.command(|s| s.cancel(request, StreamCode::CANCELLED))
        .unwrap();
    // A subgroup header and two objects, in one piece.
    let late = Bytes::from_static(b"\x30\x07\x00\x00\x03abc\x00\x03def");
    peer.data(uni(0), late);
    assert_eq!(peer.code(), None);
}

/// A server that publishes to the peer, and the subscription.
fn publishing() -> (Peer, RequestId) {
    let mut peer = Peer::server();
    peer.say(&subscribe(0, "a"));
    let request = peer.asked()[0].0;
    let agreed =
        peer.command(|s| s.accept_subscribe(request, Parameters::default(), Properties::EMPTY));
    agreed.unwrap();
    peer.forget();
    (peer, request)
}

/// Extensions as draft 16 writes them.
fn extensions(properties: &Properties) -> Vec<u8> {
    let mut out = Vec::new();
    let mut previous = 0;
    for pair in properties {
        let pair = pair.unwrap();
        int(pair.key - previous).encode(&mut out);
        previous = pair.key;
        match pair.value {
            PropertyValue::Integer(value) => int(value).encode(&mut out),
            PropertyValue::Bytes(bytes) => {
                int(bytes.len() as u64).encode(&mut out);
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

fn is_short(properties: &Properties) -> bool {
    let fits =
        |value: &PropertyValue<'_>| !matches!(value, PropertyValue::Integer(v) if v >> 62 != 0);
    properties.iter().all(|pair| fits(&pair.unwrap().value))
}

/// Whether draft 16 can say it, as it is.
fn is_sayable(stream: &Stream) -> bool {
    let id = match stream.header.subgroup {
        SubgroupId::Explicit(id) => id,
        _ => 0,
    };
    let fits = |value: u64| value >> 62 == 0;
    let objects = &stream.objects;
    // Nothing may follow the end of a group, at any draft.
    let mut earlier = objects.iter().rev().skip(1);
    earlier.all(|o| o.status == ObjectStatus::Normal)
        && fits(id)
        && fits(stream.header.group)
        && objects
            .iter()
            .all(|o| fits(o.object) && is_short(&o.properties))
}

/// Nothing follows the end of a group or a track.
fn until_its_end(mut stream: Stream) -> Stream {
    let is_end = |object: &Object| object.status != ObjectStatus::Normal;
    if let Some(end) = stream.objects.iter().position(is_end) {
        stream.objects.truncate(end + 1);
    }
    stream
}

/// The stream as moqtap-codec writes it.
fn their_bytes(stream: &Stream) -> Vec<u8> {
    let header = &stream.header;
    let flag = |bit: u8, set: bool| if set { bit } else { 0 };
    let (mode, id) = match header.subgroup {
        SubgroupId::Zero => (0, 0),
        SubgroupId::FirstObject => (2, 0),
        SubgroupId::Explicit(id) => (4, id),
    };
    let header_type = 0x10
        | mode
        | flag(0x01, header.has_properties)
        | flag(0x08, header.end_of_group)
        | flag(0x20, header.priority.is_none());
    let theirs = t::SubgroupHeader {
        header_type,
        track_alias: int(7),
        group_id: int(header.group),
        subgroup_id: int(id),
        publisher_priority: header.priority,
    };
    let mut out = Vec::new();
    theirs.encode_checked(&mut out).unwrap();
    let mut writer = t::SubgroupObjectReader::new(&theirs);
    for object in &stream.objects {
        let payload = object.payload.to_bytes();
        let theirs = t::SubgroupObject {
            object_id: int(object.object),
            extension_headers: extensions(&object.properties),
            payload_length: int(payload.len() as u64),
            object_status: payload.is_empty().then(|| t_status(object.status)),
            payload: payload.to_vec(),
        };
        writer.write_object(&theirs, &mut out).unwrap();
    }
    out
}

fn t_status(status: ObjectStatus) -> moqtap_codec::draft16::types::ObjectStatus {
    moqtap_codec::draft16::types::ObjectStatus::from_u64(status.value()).unwrap()
}

fn objects(peer: &Peer) -> Vec<Object> {
    let objects = peer.events.iter().filter_map(|event| match event {
        Event::Object { object, .. } => Some(object.clone()),
        _ => None,
    });
    objects.collect()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn subgroups_of_the_other_codec_are_understood_however_cut(
        stream in stream().prop_map(until_its_end),
        cuts in proptest::collection::vec(1_usize..60, 1..6),
    ) {
        prop_assume!(is_sayable(&stream));
        let bytes = Bytes::from(their_bytes(&stream));
        let mut peer = subscribed();
        let (mut rest, mut cut) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(*cut.next().unwrap()));
            peer.data(uni(0), piece);
        }
        peer.happens(uni(0), StreamEvent::Finished);
        prop_assert_eq!(peer.code(), None);
        prop_assert_eq!(objects(&peer), stream.objects.clone());
        let is_end = |event: &Event| matches!(event, Event::SubgroupEnded { end: StreamEnd::Finished, .. });
        prop_assert_eq!(peer.events.iter().filter(|event| is_end(event)).count(), 1);
    }

    #[test]
    fn subgroups_are_understood_by_the_other_codec(stream in stream().prop_map(until_its_end)) {
        prop_assume!(is_sayable(&stream));
        let (mut peer, request) = publishing();
        let opened = peer.command(|s| s.open_subgroup(request, stream.header, 5)).unwrap();
        for object in &stream.objects {
            peer.command(|s| s.send_object(opened, object, false, false)).unwrap();
        }
        peer.command(|s| s.finish_stream(opened)).unwrap();
        prop_assert!(peer.was_finished(own_uni(0)));
        let written = peer.written(own_uni(0));
        let mut rest = &written[..];
        let header = t::SubgroupHeader::decode(&mut rest).unwrap();
        prop_assert_eq!(header.group_id, int(stream.header.group));
        prop_assert_eq!(header.has_extensions(), stream.header.has_properties);
        prop_assert_eq!(header.has_end_of_group(), stream.header.end_of_group);
        prop_assert_eq!(header.has_priority(), stream.header.priority.is_some());
        let mut reader = t::SubgroupObjectReader::new(&header);
        for object in &stream.objects {
            let read = reader.read_object(&mut rest).unwrap();
            prop_assert_eq!(read.object_id, int(object.object));
            prop_assert_eq!(&read.extension_headers, &extensions(&object.properties));
            prop_assert_eq!(&read.payload[..], &object.payload.to_bytes()[..]);
            prop_assert_eq!(read.status().as_u64(), object.status.value());
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn payloads_pass_without_a_copy() {
    let payload = Bytes::from(vec![9; 1000]);
    let (mut peer, request) = publishing();
    let header = SubgroupHeader {
        track_alias: TrackAlias(0),
        group: 1 << 20,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    let stream = peer
        .command(|s| s.open_subgroup(request, header, 0))
        .unwrap();
    let object = Object {
        payload: payload.clone().into(),
        ..Object::default()
    };
    peer.command(|s| s.send_object(stream, &object, true, true))
        .unwrap();
    let bodies = peer.outputs.iter().filter_map(|output| match output {
        Output::Write { body, notify, .. } => Some((body.pieces()[0].as_ptr(), *notify)),
        _ => None,
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [(payload.as_ptr(), true)]);
    peer.happens(own_uni(0), StreamEvent::Writable);
    assert!(matches!(peer.events[..], [Event::Writable { .. }]));

    // Type, alias, group, object, length; then the payload in the same run of bytes.
    let mut run = vec![0x30, 7, 1, 0, 0x43, 0xe8];
    run.extend_from_slice(&payload);
    let run = Bytes::from(run);
    let mut peer = subscribed();
    peer.data(uni(0), run.clone());
    let objects = objects(&peer);
    assert_eq!(objects[0].payload.pieces()[0].as_ptr(), run[6..].as_ptr());
}

#[test]
fn an_id_that_cannot_be_said_costs_its_stream_alone() {
    let (mut peer, request) = publishing();
    let header = |group| SubgroupHeader {
        track_alias: TrackAlias(0),
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(3),
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    let object = Object::default();
    for group in [1 << 62, 1] {
        let stream = peer
            .command(|s| s.open_subgroup(request, header(group), 0))
            .unwrap();
        peer.command(|s| s.send_object(stream, &object, false, false))
            .unwrap();
    }
    assert_eq!(peer.was_reset(own_uni(0)), Some(StreamCode::INTERNAL_ERROR));
    assert_eq!(peer.was_reset(own_uni(1)), None);
    assert!(matches!(peer.events[..], [Event::Stopped { .. }]));
    // Type, alias, group, priority; delta, length, status.
    assert_eq!(peer.written(own_uni(1)), [0x10, 0, 1, 3, 0, 0, 0]);
}

#[test]
fn extensions_that_break_the_rules_cost_the_track_and_not_the_session() {
    let too_long = [0x31, 7, 1, 0, 0x80, 0x02, 0, 0];
    let unreadable = [0x31, 7, 1, 0, 1, 0x3C];
    for bytes in [&too_long[..], &unreadable] {
        let mut peer = subscribed();
        peer.data(uni(0), Bytes::copy_from_slice(bytes));
        assert_eq!((peer.code(), peer.cancelled().len()), (None, 1));
        assert_eq!(peer.heard(), [Control::Unsubscribe(RequestId(0))]);
    }
}

#[test]
fn a_stream_that_ends_inside_an_object_closes_the_session() {
    for length in [1, 3, 5, 6] {
        let bytes = [0x30, 7, 1, 0, 2, 1, 1];
        let mut peer = subscribed();
        peer.data(uni(0), Bytes::copy_from_slice(&bytes[..length]));
        peer.happens(uni(0), StreamEvent::Finished);
        // After the header, and before anything, it may end.
        let is_whole = length == 3;
        let code = (!is_whole).then_some(SessionCode::PROTOCOL_VIOLATION);
        assert_eq!(peer.code(), code, "{length}");
    }
}

#[test]
fn reset_codes_are_those_of_the_draft() {
    let mut peer = subscribed();
    peer.data(uni(0), Bytes::from_static(&[0x30, 7, 1]));
    peer.happens(uni(0), StreamEvent::Reset(4));
    let end = StreamEnd::Reset(StreamCode::UNKNOWN_OBJECT_STATUS);
    assert!(matches!(peer.events[..], [Event::SubgroupEnded { end: e, .. }] if e == end));
}

#[test]
fn datagrams_mean_the_same_to_both() {
    let object = |id, status, extended: bool| Object {
        group: 1 << 30,
        object: id,
        priority: (id % 2 == 0).then_some(200),
        status,
        properties: if extended {
            PropertiesBuilder::new().integer(0x40, 1 << 40).build()
        } else {
            Properties::EMPTY
        },
        payload: match status {
            ObjectStatus::Normal => Bytes::from_static(b"payload").into(),
            _ => Bytes::new().into(),
        },
        ..Object::default()
    };
    let all = [
        object(0, ObjectStatus::Normal, true),
        object(1 << 20, ObjectStatus::Normal, false),
        object(3, ObjectStatus::EndOfTrack, false),
    ];
    for object in all {
        let (mut peer, request) = publishing();
        peer.command(|s| s.send_datagram(request, &object)).unwrap();
        let sent = peer.outputs.iter().find_map(|output| match output {
            Output::Datagram { data, .. } => Some(data.clone()),
            _ => None,
        });
        let sent = sent.unwrap();
        let mut rest = &sent[..];
        let header = t::DatagramHeader::decode(&mut rest).unwrap();
        assert_eq!(header.group_id, int(object.group));
        assert_eq!(header.object_id, int(object.object));
        assert_eq!(rest, &object.payload.to_bytes()[..]);
        let mut again = Vec::new();
        header.encode_checked(&mut again).unwrap();
        again.extend_from_slice(rest);
        assert_eq!(again, sent);

        // The alias that the session chose is 0; the other end publishes under it.
        let mut peer = Peer::server();
        peer.say(&publish(0, "a", 0));
        peer.command(|s| s.handle_datagram(Instant::default(), sent));
        let Some(Event::Datagram { object: read, .. }) = peer.events.last() else {
            panic!("{:?}", peer.events);
        };
        assert_eq!(*read, object);
    }
}
