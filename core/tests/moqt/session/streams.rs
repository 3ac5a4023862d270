//! Data streams: aliases that come late or twice, ends, limits.

use super::*;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::message::{Message, PublishDone};
use mainstem_core::moqt::object::encode_datagram;
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
    for draft in Draft::ALL {
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
    for draft in Draft::ALL {
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
    for draft in Draft::ALL {
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
    for draft in Draft::ALL {
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
