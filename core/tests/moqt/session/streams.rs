//! Data streams: aliases that come late or twice, ends, limits.

use super::*;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{Message, PublishDone};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::object::{ObjectStatus, encode_datagram};
use mainstem_core::moqt::session::StreamEnd;

fn done(streams: Option<u64>) -> Message {
    Message::from(PublishDone {
        code: PublishDoneCode::TRACK_ENDED,
        stream_count: streams,
        reason: "over".to_owned(),
    })
}

fn is_done(peer: &Peer) -> bool {
    let is_done = |event: &Event| matches!(event, Event::PublishDone { .. });
    peer.events.iter().any(is_done)
}

/// A client that subscribed to `x`, whose alias is 1 when it was accepted.
fn subscriber(draft: Draft, limits: Limits, accepted: bool) -> Peer {
    let mut peer = Peer::ready_with(draft, Side::Client, limits);
    peer.command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    if accepted {
        peer.send(own(0), &subscribe_ok(1));
        peer.events.clear();
    }
    peer
}

#[test]
fn a_stream_before_its_alias_is_held_and_then_served() {
    for draft in Draft::CANONICAL {
        let mut peer = subscriber(draft, Limits::default(), false);
        peer.data(uni(1), subgroup(1, 0, b"first"));
        peer.data(uni(2), subgroup(1, 1, b"second"));
        peer.finish(uni(2));
        assert!(peer.events.is_empty());
        peer.send(own(0), &subscribe_ok(1));
        let mut objects = peer.objects();
        objects.sort();
        let expected = [b"first" as &[u8], b"second"].map(Bytes::copy_from_slice);
        assert_eq!(objects, expected.map(|payload| (RequestId(0), payload)));
        let ended = |event: &&Event| matches!(event, Event::SubgroupEnded { .. });
        assert_eq!(peer.events.iter().filter(ended).count(), 1);
    }
}

#[test]
fn a_stream_whose_alias_never_comes_is_dropped_in_time() {
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    peer.data(uni(1), subgroup(9, 0, b"whose?"));
    let deadline = peer.session.next_timeout().unwrap();
    assert_eq!(deadline, peer.now + Limits::default().alias_timeout);
    peer.pass(Limits::default().alias_timeout);
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::CANCELLED));
    assert_eq!(peer.session.next_timeout(), None);
    assert_eq!((peer.events.len(), peer.code()), (0, None));
}

#[test]
fn held_streams_are_bounded() {
    let limits = Limits {
        held_bytes_max: 1000,
        ..Limits::default()
    };
    let mut peer = subscriber(Draft::D22, limits, true);
    for stream in 1..4 {
        peer.data(uni(stream), subgroup(1, stream, &[0; 900]));
        peer.finish(uni(stream));
    }
    assert_eq!(peer.code(), None, "known aliases hold nothing");
    peer.data(uni(4), subgroup(9, 0, &[0; 900]));
    peer.data(uni(5), subgroup(9, 0, &[0; 900]));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn late_streams_of_an_ended_subscription_are_discarded_at_once() {
    covers!("MOQT19-11.1-3");
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    peer.command(|s| s.cancel(RequestId(0), StreamCode::CANCELLED))
        .unwrap();
    peer.data(uni(1), subgroup(1, 0, b"late"));
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::CANCELLED));
    assert_eq!(peer.session.next_timeout(), None);
}

#[test]
fn an_alias_of_two_tracks_closes_the_session() {
    covers!("MOQT19-11.1-2");
    for draft in Draft::CANONICAL {
        let mut published = Peer::server(draft);
        published.send(bidi(0), &publish(0, "x", 7));
        published.send(bidi(1), &publish(2, "y", 7));
        assert_eq!(published.code(), Some(SessionCode::DUPLICATE_TRACK_ALIAS));
        let mut subscribed = subscriber(draft, Limits::default(), true);
        subscribed
            .command(|s| s.subscribe(track("y"), Parameters::default()))
            .unwrap();
        subscribed.send(own(1), &subscribe_ok(1));
        assert_eq!(subscribed.code(), Some(SessionCode::DUPLICATE_TRACK_ALIAS));
    }
}

#[test]
fn an_alias_may_be_shared_by_subscriptions_to_one_track_and_used_again_later() {
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    let second = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    peer.send(own(1), &subscribe_ok(1));
    assert_eq!(peer.code(), None);
    peer.command(|s| s.cancel(RequestId(0), StreamCode::CANCELLED))
        .unwrap();
    peer.data(uni(1), subgroup(1, 0, b"still"));
    assert_eq!(peer.objects(), [(second, Bytes::from_static(b"still"))]);
    peer.command(|s| s.cancel(second, StreamCode::CANCELLED))
        .unwrap();
    let other = peer
        .command(|s| s.subscribe(track("z"), Parameters::default()))
        .unwrap();
    peer.send(own(2), &subscribe_ok(1));
    peer.events.clear();
    peer.data(uni(2), subgroup(1, 0, b"new"));
    assert_eq!(peer.objects(), [(other, Bytes::from_static(b"new"))]);
}

#[test]
fn publish_done_waits_for_its_streams() {
    for draft in Draft::CANONICAL {
        let mut peer = subscriber(draft, Limits::default(), true);
        peer.data(uni(1), subgroup(1, 0, b"one"));
        peer.finish(uni(1));
        peer.send(own(0), &done(Some(3)));
        peer.finish(own(0));
        assert!(!is_done(&peer));
        peer.data(uni(2), subgroup(1, 1, b"two"));
        peer.finish(uni(2));
        assert!(!is_done(&peer));
        peer.data(uni(3), subgroup(1, 2, b"three"));
        peer.reset(uni(3));
        assert!(is_done(&peer), "{draft}");
        assert_eq!(peer.objects().len(), 3);
        assert!(peer.was_finished(own(0)));
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}

#[test]
fn a_publisher_that_reads_no_more_still_ends_its_track_itself() {
    for draft in Draft::CANONICAL {
        let mut peer = subscriber(draft, Limits::default(), true);
        peer.data(uni(1), subgroup(1, 0, b"one"));
        peer.finish(uni(1));
        // STOP_SENDING may overtake what was sent before it.
        peer.stop(own(0));
        assert_eq!(peer.session.requests_len(), 1, "{draft}");
        peer.send(own(0), &done(Some(1)));
        peer.finish(own(0));
        assert!(is_done(&peer), "{draft}");
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}

#[test]
fn publish_done_waits_no_longer_than_allowed() {
    covers!("MOQT19-10.11-7");
    for count in [Some(1), None] {
        let mut peer = subscriber(Draft::D22, Limits::default(), true);
        peer.send(own(0), &done(count));
        peer.pass(Limits::default().publish_done_timeout);
        assert!(is_done(&peer), "{count:?}");
        assert_eq!(peer.session.requests_len(), 0);
    }
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    peer.send(own(0), &done(Some(0)));
    assert!(is_done(&peer), "no streams, no wait");
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    peer.send(own(0), &done(Some(1)));
    peer.send(own(0), &done(Some(1)));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn unsubscribing_resets_the_streams_of_the_subscription_and_no_others() {
    covers!("MOQT19-5.1.1-1");
    let mut peer = Peer::server(Draft::D22);
    let header = SubgroupHeader {
        track_alias: TrackAlias(0),
        group: 0,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    let mut streams = Vec::new();
    for (index, name) in ["x", "y"].into_iter().enumerate() {
        let index = index as u64;
        let request = RequestId(2 * index);
        peer.send(bidi(index), &subscribe(request.0, name));
        let answer = Parameters::default();
        peer.command(|s| s.accept_subscribe(request, answer, Properties::default()))
            .unwrap();
        let stream = peer
            .command(|s| s.open_subgroup(request, header, 0))
            .unwrap();
        let object = Object::default();
        peer.command(|s| s.send_object(stream, &object, false, true))
            .unwrap();
        streams.push(stream);
    }
    peer.stop(bidi(0));
    peer.reset(bidi(0));
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    assert!(peer.was_reset(streams[0]) && !peer.was_reset(streams[1]));
    let object = Object {
        object: 1,
        ..Object::default()
    };
    let gone = peer.command(|s| s.send_object(streams[0], &object, false, false));
    assert!(gone.is_err());
    let goes_on = peer.command(|s| s.send_object(streams[1], &object, true, false));
    assert!(goes_on.is_ok());
}

#[test]
fn a_malformed_track_costs_its_subscription_and_not_the_session() {
    covers!("MOQT19-2.4.2-1");
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    let mandatory = [0x31, 1, 0, 0, 3, 0xc0, 0x40, 0, 1, 7];
    peer.data(uni(1), Bytes::copy_from_slice(&mandatory));
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::MALFORMED_TRACK));
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
}

#[test]
fn unfinished_objects_are_bounded_over_all_streams() {
    covers!("MOQT19-13.5-2");
    let limits = Limits {
        unfinished_bytes_max: 10_000,
        ..Limits::default()
    };
    let mut peer = subscriber(Draft::D22, limits, true);
    let whole = subgroup(1, 0, &[5; 6000]);
    let part = whole.slice(..5000);
    peer.data(uni(1), part.clone());
    peer.data(uni(2), part.clone());
    peer.data(uni(3), part.clone());
    assert_eq!(peer.was_stopped(uni(3)), Some(StreamCode::EXCESSIVE_LOAD));
    let abandoned = |event: &Event| {
        let code = StreamCode::EXCESSIVE_LOAD;
        matches!(event, Event::SubgroupEnded { end, .. } if *end == StreamEnd::Reset(code))
    };
    assert!(peer.events.iter().any(abandoned));
    // The others go on, and make room.
    for stream in [1, 2, 4, 5, 6] {
        if stream > 2 {
            peer.data(uni(stream), part.clone());
        }
        peer.data(uni(stream), whole.slice(5000..));
        peer.finish(uni(stream));
    }
    assert_eq!(peer.objects().len(), 5);
    assert_eq!(peer.code(), None);
    for stream in 0..1000 {
        peer.data(
            bidi(stream),
            Bytes::from_static(&[0x03, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
        );
    }
    assert_eq!(peer.code(), Some(SessionCode::INTERNAL_ERROR));
}

#[test]
fn open_streams_are_bounded() {
    let limits = Limits {
        incoming_streams_max: 3,
        ..Limits::default()
    };
    let mut peer = subscriber(Draft::D22, limits, true);
    for stream in 1..20 {
        peer.data(uni(stream), subgroup(1, stream, b"x"));
        peer.finish(uni(stream));
    }
    assert_eq!(peer.code(), None, "ended streams make room");
    for stream in 20..24 {
        peer.data(uni(stream), subgroup(1, stream, b"x"));
    }
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn a_fetch_stream_that_nobody_asked_for_is_stopped() {
    let mut peer = Peer::client(Draft::D22);
    peer.data(uni(1), Bytes::from_static(&[0x05, 0x00]));
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::CANCELLED));
    assert_eq!(peer.code(), None);
}

#[test]
fn datagrams_are_tied_to_their_subscription_or_lost() {
    covers!("MOQT19-11.3.1-2");
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    let object = Object {
        group: 3,
        payload: Bytes::from_static(b"d").into(),
        ..Object::default()
    };
    for alias in [1, 9] {
        let mut data = BytesMut::new();
        encode_datagram(TrackAlias(alias), &object, &mut data);
        peer.session.handle_datagram(peer.now, data.freeze());
        peer.drain();
    }
    let expected = Event::Datagram {
        request: RequestId(0),
        object,
    };
    assert_eq!(peer.events, [expected]);
    peer.session
        .handle_datagram(peer.now, Bytes::from_static(&[0x22]));
    peer.drain();
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn objects_under_a_shared_alias_go_to_every_subscription_that_they_pass() {
    covers!("MOQT19-5.1-6");
    for draft in [Draft::D20, Draft::D22] {
        let mut peer = subscriber(draft, Limits::default(), true);
        let later = Parameters {
            filter: Some(Filter::Absolute {
                start: Location::new(5, 0),
            }),
            ..Parameters::default()
        };
        let second = peer.command(|s| s.subscribe(track("x"), later)).unwrap();
        peer.send(own(1), &subscribe_ok(1));
        peer.data(uni(1), subgroup(1, 4, b"four"));
        peer.data(uni(2), subgroup(1, 5, b"five"));
        peer.finish(uni(2));
        let four = (RequestId(0), Bytes::from_static(b"four"));
        let five = |request| (request, Bytes::from_static(b"five"));
        assert_eq!(peer.objects(), [four, five(RequestId(0)), five(second)]);
        let ended = |event: &&Event| matches!(event, Event::SubgroupEnded { .. });
        assert_eq!(peer.events.iter().filter(ended).count(), 2);
        let object = Object {
            group: 6,
            ..Object::default()
        };
        let mut datagram = BytesMut::new();
        encode_datagram(TrackAlias(1), &object, &mut datagram);
        peer.session.handle_datagram(peer.now, datagram.freeze());
        peer.drain();
        let arrived = |event: &&Event| matches!(event, Event::Datagram { .. });
        assert_eq!(peer.events.iter().filter(arrived).count(), 2);
    }
}

#[test]
fn streams_of_a_track_that_was_given_up_do_not_reach_the_next_one_of_the_alias() {
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    let whole = subgroup(1, 0, b"old");
    peer.data(uni(1), whole.slice(..whole.len() - 1));
    peer.command(|s| s.cancel(RequestId(0), StreamCode::CANCELLED))
        .unwrap();
    peer.command(|s| s.subscribe(track("y"), Parameters::default()))
        .unwrap();
    peer.send(own(1), &subscribe_ok(1));
    peer.data(uni(1), whole.slice(whole.len() - 1..));
    assert_eq!(peer.objects(), []);
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::CANCELLED));
}

/// A stream of group 0 with these objects and this header.
fn of_group_0(change: impl FnOnce(&mut SubgroupHeader), objects: &[(u64, ObjectStatus)]) -> Bytes {
    let mut header = SubgroupHeader {
        track_alias: TrackAlias(1),
        group: 0,
        subgroup: SubgroupId::Zero,
        priority: Some(5),
        has_properties: false,
        end_of_group: false,
        first_object: false,
    };
    change(&mut header);
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut previous = None;
    for (id, status) in objects {
        let object = Object {
            object: *id,
            status: *status,
            ..Object::default()
        };
        encode_subgroup_object(&object, previous, false, &mut out);
        previous = Some(*id);
    }
    out.freeze()
}

#[test]
fn objects_that_contradict_earlier_ones_make_the_track_malformed() {
    use ObjectStatus::{EndOfGroup, EndOfTrack, Normal};
    let other = |header: &mut SubgroupHeader| header.subgroup = SubgroupId::Explicit(1);
    let cases = [
        (
            "after the end of the group",
            of_group_0(|_| {}, &[(0, Normal), (3, EndOfGroup)]),
            of_group_0(other, &[(3, Normal)]),
        ),
        (
            "after the end of the track",
            of_group_0(|_| {}, &[(0, Normal), (3, EndOfTrack)]),
            of_group_0(|h| h.group = 1, &[(0, Normal)]),
        ),
        (
            "after the last object of a stream that ends the group",
            of_group_0(|h| h.end_of_group = true, &[(0, Normal), (3, Normal)]),
            of_group_0(other, &[(4, Normal)]),
        ),
        (
            "after the end of the subgroup",
            of_group_0(|_| {}, &[(0, Normal), (3, Normal)]),
            of_group_0(|_| {}, &[(4, Normal)]),
        ),
        (
            "another end of the subgroup",
            of_group_0(|_| {}, &[(0, Normal), (3, Normal)]),
            of_group_0(|_| {}, &[(1, Normal)]),
        ),
        (
            "another priority",
            of_group_0(|_| {}, &[(0, Normal)]),
            of_group_0(|h| h.priority = None, &[(0, Normal)]),
        ),
    ];
    for (what, first, second) in cases {
        let mut peer = subscriber(Draft::D22, Limits::default(), true);
        peer.data(uni(1), first);
        peer.finish(uni(1));
        assert_eq!(peer.cancelled(), [], "{what}");
        peer.data(uni(2), second);
        peer.finish(uni(2));
        assert_eq!(peer.cancelled(), [RequestId(0)], "{what}");
        assert_eq!(peer.was_stopped(own(0)), Some(StreamCode::MALFORMED_TRACK));
        assert_eq!(peer.code(), None, "{what}");
    }
}

#[test]
fn what_does_not_contradict_goes_on() {
    use ObjectStatus::{EndOfGroup, Normal};
    let mut peer = subscriber(Draft::D22, Limits::default(), true);
    let other = |header: &mut SubgroupHeader| header.subgroup = SubgroupId::Explicit(1);
    let streams = [
        of_group_0(|_| {}, &[(0, Normal), (4, EndOfGroup)]),
        of_group_0(other, &[(1, Normal), (3, Normal), (4, EndOfGroup)]),
        of_group_0(|_| {}, &[(0, Normal), (4, EndOfGroup)]),
        of_group_0(|h| h.group = 1, &[(0, Normal)]),
    ];
    for (index, stream) in (1..).zip(streams) {
        peer.data(uni(index), stream);
        peer.finish(uni(index));
    }
    assert_eq!(peer.cancelled(), []);
    assert_eq!(peer.objects().len(), 8);
}

#[test]
fn the_age_of_an_object_counts_from_the_last_byte_of_its_header() {
    covers!("MOQT19-8-1", "MOQT20-8-1");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        peer.command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &subscribe_ok(1));
        let bytes = subgroup(1, 0, b"payload");
        let head = bytes.len() - b"payload".len();
        let start = peer.now;
        // The header but its last byte, that byte, some payload, the rest.
        for cut in [
            0..head - 1,
            head - 1..head,
            head..head + 3,
            head + 3..bytes.len(),
        ] {
            peer.data(uni(1), bytes.slice(cut));
            peer.pass(Duration::from_millis(100));
        }
        let began = peer.events.iter().find_map(|event| match event {
            Event::Object { began, .. } => Some(*began),
            _ => None,
        });
        assert_eq!(began, Some(start + Duration::from_millis(100)), "{draft}");
    }
}
