//! What a peer of draft 16 must not do, and the code that it is closed with.

use super::{Peer, bidi, bytes_of, namespace, own, publish, subscribe, subscribe_ok, uni};
use bytes::Bytes;
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::legacy::{Control, Wanted};
use mainstem_core::moqt::message::{
    Message, PublishDone, RequestOk, RequestUpdate, Setup, SubscribeNamespace,
};
use mainstem_core::moqt::name::RequestId;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::Limits;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Side, StreamEvent};

fn limits(requests_max: usize) -> Limits {
    Limits {
        requests_max,
        ..Limits::default()
    }
}

#[test]
fn a_request_beyond_the_credit_closes_with_too_many_requests() {
    let mut peer = Peer::ready(Side::Server, 0, limits(2));
    peer.say(&subscribe(0, "a"));
    peer.say(&subscribe(2, "b"));
    assert_eq!((peer.code(), peer.asked().len()), (None, 2));
    peer.say(&subscribe(4, "c"));
    assert_eq!(peer.code(), Some(SessionCode::TOO_MANY_REQUESTS));
}

#[test]
fn request_ids_of_the_other_side_or_used_before_close_the_session() {
    for ids in [&[1][..], &[0, 0], &[2, 0]] {
        let mut peer = Peer::server();
        for id in ids {
            peer.say(&subscribe(*id, "a"));
        }
        assert_eq!(
            peer.code(),
            Some(SessionCode::INVALID_REQUEST_ID),
            "{ids:?}"
        );
    }
}

#[test]
fn messages_about_requests_that_never_were_close_the_session() {
    let id = RequestId(8);
    let ok = Message::from(RequestOk::default());
    for message in [
        Control::Unsubscribe(id),
        Control::FetchCancel(id),
        Control::PublishNamespaceDone(id),
        Control::Answer {
            request: RequestId(9),
            answer: ok,
        },
        subscribe_ok(1, 7),
    ] {
        let mut peer = Peer::server();
        peer.say(&message);
        let code = peer.code();
        assert_eq!(code, Some(SessionCode::INVALID_REQUEST_ID), "{message:?}");
    }
}

#[test]
fn a_maximum_that_does_not_rise_closes_the_session() {
    for max in [999, 1000] {
        let mut peer = Peer::server();
        peer.say(&Control::MaxRequestId(max));
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
    let mut peer = Peer::server();
    peer.say(&Control::MaxRequestId(1001));
    assert_eq!(peer.code(), None);
}

#[test]
fn an_update_of_nothing_closes_the_session() {
    let update = |existing| Control::Update {
        existing: RequestId(existing),
        update: RequestUpdate {
            request_id: RequestId(2),
            parameters: Parameters::default(),
        },
    };
    for existing in [4, 5, 2] {
        let mut peer = Peer::server();
        peer.say(&subscribe(0, "a"));
        peer.say(&update(existing));
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn streams_that_begin_with_another_message_close_the_session() {
    let request = SubscribeNamespace {
        request_id: RequestId(0),
        prefix: namespace("a"),
        parameters: Parameters::default(),
    };
    let asked = Control::SubscribeNamespace {
        request,
        wanted: Wanted::Namespaces,
    };
    let setup = Control::ClientSetup {
        setup: Setup::default(),
        max_request_id: 0,
    };
    for message in [
        subscribe(0, "a"),
        setup.clone(),
        Control::Goaway(String::new()),
    ] {
        let mut peer = Peer::server();
        peer.say_on(bidi(1), &message);
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
    for message in [asked, setup, Control::Namespace(namespace("a"))] {
        let mut peer = Peer::server();
        peer.say(&message);
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn the_control_stream_begins_with_the_clients_setup_and_never_ends() {
    for side in [Side::Client, Side::Server] {
        let mut peer = Peer::opened(side, Limits::default());
        peer.say(&Control::Goaway(String::new()));
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
        for end in [
            StreamEvent::Finished,
            StreamEvent::Reset(0),
            StreamEvent::Stopped(0),
        ] {
            let mut peer = Peer::ready(side, 0, Limits::default());
            peer.happens(peer.control, end);
            assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
        }
    }
    let mut client = Peer::client();
    let setup = Setup::default();
    client.say_on(
        bidi(0),
        &Control::ClientSetup {
            setup,
            max_request_id: 0,
        },
    );
    assert_eq!(client.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn answers_that_do_not_fit_close_the_session() {
    let done = |id| Control::Answer {
        request: RequestId(id),
        answer: Message::from(PublishDone {
            code: mainstem_core::moqt::error::PublishDoneCode::TRACK_ENDED,
            stream_count: None,
            reason: String::new(),
        }),
    };
    let ok = |id| Control::Answer {
        request: RequestId(id),
        answer: Message::from(RequestOk::default()),
    };
    // An answer to a SUBSCRIBE of the peer, and PUBLISH_DONE from the subscriber.
    for message in [subscribe_ok(0, 1), ok(0), done(0)] {
        let mut peer = Peer::server();
        peer.say(&subscribe(0, "a"));
        peer.say(&message);
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
    // REQUEST_OK to a PUBLISH, and two answers.
    let publish = |peer: &mut Peer| {
        let track = super::track("a");
        let asked = peer.command(|s| s.publish(track, Parameters::default(), Properties::EMPTY));
        asked.unwrap();
    };
    let publish_ok = Control::PublishOk {
        request: RequestId(1),
        answer: RequestOk::default(),
    };
    for messages in [vec![ok(1)], vec![publish_ok.clone(), publish_ok]] {
        let mut peer = Peer::server();
        publish(&mut peer);
        for message in messages {
            peer.say(&message);
        }
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn one_alias_for_two_tracks_closes_the_session() {
    let mut peer = Peer::server();
    peer.say(&publish(0, "a", 7));
    peer.say(&publish(2, "b", 7));
    assert_eq!(peer.code(), Some(SessionCode::DUPLICATE_TRACK_ALIAS));
}

/// A SUBSCRIBE of the track `x` in the namespace `n` with these parameters.
fn subscribe_with(parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, 1, b'n', 1, b'x'];
    body.extend_from_slice(parameters);
    let mut bytes = vec![0x03, 0, u8::try_from(body.len()).unwrap()];
    bytes.extend(body);
    bytes
}

#[test]
fn parameters_that_cannot_be_close_the_session_with_their_code() {
    use SessionCode as S;
    let cases: [(&[u8], Option<S>); 16] = [
        (&[0], None),
        // DELIVERY_TIMEOUT of 0.
        (&[1, 0x02, 0], Some(S::PROTOCOL_VIOLATION)),
        // FORWARD 2, SUBSCRIBER_PRIORITY 256, GROUP_ORDER 3.
        (&[1, 0x10, 2], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x20, 0x41, 0], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x22, 3], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x22, 2], None),
        // Filters: unknown type, too long, too short, backwards.
        (&[1, 0x21, 1, 5], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x21, 2, 1, 0], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x21, 2, 3, 0], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x21, 4, 4, 5, 0, 4], Some(S::PROTOCOL_VIOLATION)),
        // Tokens that cannot be read, or refer to nothing.
        (&[1, 0x03, 1, 9], Some(S::KEY_VALUE_FORMATTING_ERROR)),
        (&[1, 0x03, 3, 0, 1, 1], Some(S::KEY_VALUE_FORMATTING_ERROR)),
        // Unknown, repeated, ignored where it does not belong.
        (&[1, 0x3E, 0], Some(S::PROTOCOL_VIOLATION)),
        (&[2, 0x10, 1, 0, 1], Some(S::PROTOCOL_VIOLATION)),
        (&[1, 0x08, 1], None),
        // More parameters than there are bytes.
        (&[2, 0x10, 1], Some(S::KEY_VALUE_FORMATTING_ERROR)),
    ];
    for (parameters, code) in cases {
        let mut peer = Peer::server();
        peer.data(bidi(0), subscribe_with(parameters).into());
        assert_eq!(peer.code(), code, "{parameters:02x?}");
    }
}

/// Draft 16, Section 7.1: a subscriber without a preference writes 0.
#[test]
fn a_group_order_of_0_is_no_preference() {
    let mut peer = Peer::server();
    peer.data(bidi(0), subscribe_with(&[1, 0x22, 0]).into());
    assert_eq!(peer.code(), None);
    let asked = peer.asked();
    let [(_, Message::Subscribe(subscribe))] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(subscribe.parameters, Parameters::default());
}

#[test]
fn messages_of_the_wrong_length_or_type_close_the_session() {
    let mut long = bytes_of(&subscribe(0, "a")).to_vec();
    long[2] += 1;
    long.push(0);
    let mut unknown = bytes_of(&subscribe(0, "a")).to_vec();
    unknown[0] = 0x01;
    // A track of a namespace without fields.
    let unnamed = vec![0x03, 0, 5, 0, 0, 1, b'x', 0];
    let short = vec![0x15, 0, 0];
    for bytes in [long, unknown, unnamed, short, vec![0x15, 0, 2, 7, 7]] {
        let mut peer = Peer::server();
        peer.data(bidi(0), bytes.into());
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn goaway_comes_once_and_without_a_uri_from_clients() {
    let mut peer = Peer::server();
    peer.say(&Control::Goaway("moqt://elsewhere/".to_owned()));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    let mut peer = Peer::client();
    peer.say(&Control::Goaway("moqt://elsewhere/".to_owned()));
    assert_eq!(peer.code(), None);
    peer.say(&Control::Goaway(String::new()));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn streams_and_datagrams_of_unknown_types_close_the_session() {
    // Subgroup types of later drafts, the reserved mode, SETUP, padding.
    for stream in [
        &[0x40, 0x50][..],
        &[0x16],
        &[0x40, 0x2f],
        &[0x6f, 0],
        &[0x93, 0x2b, 0x3e, 0x28],
    ] {
        let mut peer = Peer::server();
        peer.data(uni(0), Bytes::copy_from_slice(stream));
        assert_eq!(
            peer.code(),
            Some(SessionCode::PROTOCOL_VIOLATION),
            "{stream:02x?}"
        );
    }
    for datagram in [
        &[0x10][..],
        &[0x22, 1, 1, 1, 1],
        &[0x00, 1],
        &[0x01, 1, 1, 1, 1, 0],
    ] {
        let mut peer = Peer::server();
        let data = Bytes::copy_from_slice(datagram);
        peer.command(|session| session.handle_datagram(Instant::default(), data));
        assert_eq!(
            peer.code(),
            Some(SessionCode::PROTOCOL_VIOLATION),
            "{datagram:02x?}"
        );
    }
}

#[test]
fn a_fetch_stream_that_nobody_asked_for_closes_the_session() {
    let mut peer = Peer::server();
    peer.data(uni(0), Bytes::from_static(&[0x05, 1]));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn unfinished_messages_are_bounded_over_all_streams() {
    let limits = Limits {
        held_bytes_max: 90_000,
        ..Limits::default()
    };
    let mut peer = Peer::ready(Side::Server, 0, limits);
    // A SUBSCRIBE_NAMESPACE of 60,000 bytes that does not end.
    let mut begun = vec![0x11, 0xea, 0x60];
    begun.resize(50_000, 0);
    peer.data(bidi(1), begun.clone().into());
    assert_eq!(peer.code(), None);
    peer.happens(bidi(1), StreamEvent::Reset(0));
    peer.data(bidi(2), begun.clone().into());
    assert_eq!(peer.code(), None);
    peer.data(bidi(3), begun.into());
    assert!(peer.code().is_some());
}

#[test]
fn a_peer_cannot_open_more_streams_than_were_granted() {
    let limits = Limits {
        incoming_streams_max: 4,
        ..Limits::default()
    };
    for is_data in [true, false] {
        let mut peer = Peer::ready(Side::Server, 0, limits);
        for index in 1..=5 {
            let (stream, byte) = if is_data {
                (uni(index), 0x10)
            } else {
                (bidi(index), 0x11)
            };
            peer.data(stream, Bytes::copy_from_slice(&[byte]));
        }
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn setup_parameters_keep_their_rules() {
    use SessionCode as S;
    // Count, then pairs: a token by alias, MAX_REQUEST_ID twice, PATH from a server.
    let cases: [(Side, &[u8], Option<S>); 5] = [
        (
            Side::Server,
            &[1, 0x03, 2, 2, 7],
            Some(S::PROTOCOL_VIOLATION),
        ),
        (
            Side::Server,
            &[2, 0x02, 5, 0, 5],
            Some(S::PROTOCOL_VIOLATION),
        ),
        (Side::Client, &[1, 0x01, 1, b'/'], Some(S::INVALID_PATH)),
        (
            Side::Client,
            &[1, 0x05, 1, b'h'],
            Some(S::INVALID_AUTHORITY),
        ),
        // Unknown ones are ignored, repeated or not.
        (Side::Server, &[2, 0x3f, 1, 0, 0, 0], None),
    ];
    for (side, body, code) in cases {
        let mut peer = Peer::opened(side, Limits::default());
        let (kind, stream) = match side {
            Side::Server => (0x20, bidi(0)),
            Side::Client => (0x21, own(0)),
        };
        let mut bytes = vec![kind, 0, u8::try_from(body.len()).unwrap()];
        bytes.extend_from_slice(body);
        peer.data(stream, bytes.into());
        assert_eq!(peer.code(), code, "{body:02x?}");
        assert_eq!(peer.session.is_ready(), code.is_none());
    }
}
