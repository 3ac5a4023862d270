//! How a session begins and ends: SETUP, GOAWAY, control streams, what arrives too early.

use super::*;
use mainstem_core::moqt::message::{Goaway, RequestOk, SetupOption};
use mainstem_core::moqt::parameter::AuthorizationToken;
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::moqt::session::CommandError;

fn setup(change: impl FnOnce(&mut Setup)) -> Message {
    let mut setup = Setup::default();
    change(&mut setup);
    Message::from(setup)
}

fn goaway(draft: Draft, id: u64) -> Goaway {
    Goaway {
        request_id: (draft == Draft::D18).then_some(RequestId(id)),
        ..Goaway::default()
    }
}

#[test]
fn setup_goes_out_at_once_on_the_first_stream() {
    let peer = Peer::opened(Draft::D22, Side::Client, Carrier::Quic, Limits::default());
    let control = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
    assert!(matches!(&peer.outputs[0], Output::Open { stream, .. } if *stream == control));
    let written = peer.written(control, StreamRole::Control);
    let updates = Limits::default().request_updates_max as u64;
    let expected = setup(|setup| setup.max_request_updates = Some(updates));
    assert_eq!(written, [expected]);
    assert!(!peer.session.is_ready());
}

#[test]
fn a_setup_that_does_not_come_closes_the_session() {
    let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, Limits::default());
    let deadline = peer.session.next_timeout().unwrap();
    assert_eq!(deadline, peer.now + Limits::default().setup_timeout);
    peer.pass(Duration::from_secs(1));
    assert_eq!(peer.code(), None);
    peer.pass(Limits::default().setup_timeout);
    assert_eq!(peer.code(), Some(SessionCode::CONTROL_MESSAGE_TIMEOUT));
    assert_eq!(peer.session.next_timeout(), None);
}

#[test]
fn a_closed_session_says_nothing_more() {
    for draft in Draft::ALL {
        let mut peer = Peer::opened(draft, Side::Server, Carrier::Quic, Limits::default());
        let session = &mut peer.session;
        while session.poll().is_some() {}
        // The owner learns of a close only after what came before it, and still answers that.
        session.close(SessionCode::PROTOCOL_VIOLATION, "over");
        let _ = session.subscribe(track("x"), Parameters::default());
        session.allow_requests(7);
        assert!(matches!(
            session.poll(),
            Some(Action::Transport(Output::Close { .. }))
        ));
        assert_eq!(session.poll(), None, "{draft}");
    }
}

#[test]
fn requests_before_setup_are_held_and_then_served() {
    covers!("MOQT19-3.3-3");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::opened(draft, Side::Server, Carrier::Quic, Limits::default());
        peer.send(bidi(0), &subscribe(0, "x"));
        peer.send(bidi(1), &publish(2, "y", 5));
        peer.data(uni(1), subgroup(5, 3, b"early"));
        assert!(peer.events.is_empty());
        peer.send(uni(0), &setup(|_| {}));
        assert!(matches!(peer.events[0], Event::Ready(_)));
        let asked = |event: &&Event| matches!(event, Event::Request { .. });
        assert_eq!(peer.events.iter().filter(asked).count(), 2);
        assert_eq!(
            peer.objects(),
            [(RequestId(2), Bytes::from_static(b"early"))]
        );
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn too_much_before_setup_closes_the_session() {
    let limits = Limits {
        held_bytes_max: 1000,
        ..Limits::default()
    };
    let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, limits);
    peer.data(uni(1), subgroup(5, 3, &[0; 600]));
    assert_eq!(peer.code(), None);
    peer.data(uni(2), subgroup(5, 4, &[0; 600]));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn path_and_authority_belong_to_clients_over_raw_quic() {
    covers!(
        "MOQT19-10.3.1.1-2",
        "MOQT19-10.3.1.1-3",
        "MOQT19-10.3.1.2-2",
        "MOQT19-10.3.1.2-3"
    );
    let path = setup(|setup| setup.path = Some("/x".to_owned()));
    let authority = setup(|setup| setup.authority = Some("h:1".to_owned()));
    let web = Carrier::WebTransport;
    let cases = [
        (Side::Server, web, &path, Some(SessionCode::INVALID_PATH)),
        (
            Side::Server,
            web,
            &authority,
            Some(SessionCode::INVALID_AUTHORITY),
        ),
        (
            Side::Client,
            Carrier::Quic,
            &path,
            Some(SessionCode::INVALID_PATH),
        ),
        (
            Side::Client,
            Carrier::Quic,
            &authority,
            Some(SessionCode::INVALID_AUTHORITY),
        ),
        (Side::Server, Carrier::Quic, &path, None),
        (Side::Server, Carrier::Quic, &authority, None),
    ];
    for (side, carrier, message, code) in cases {
        let mut peer = Peer::opened(Draft::D22, side, carrier, Limits::default());
        peer.send(uni(0), message);
        assert_eq!(peer.code(), code, "{side:?} {carrier:?} {message:?}");
    }
}

#[test]
fn tokens_refer_to_nothing_that_was_not_registered() {
    covers!("MOQT19-10.2.2-6", "MOQT19-10.2.2-11", "MOQT19-10.3.1.4-1");
    let alias = AuthorizationToken::UseAlias { alias: 1 };
    let register = AuthorizationToken::Register {
        alias: 1,
        token_type: 0,
        value: Bytes::from_static(b"t"),
    };
    let in_setup = |token: &AuthorizationToken| {
        let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, Limits::default());
        peer.send(
            uni(0),
            &setup(|setup| setup.authorization_tokens.push(token.clone())),
        );
        peer.code()
    };
    assert_eq!(in_setup(&alias), Some(SessionCode::PROTOCOL_VIOLATION));
    assert_eq!(in_setup(&register), None, "counts as a use by value");
    let in_request = |token: &AuthorizationToken| {
        let mut peer = Peer::server(Draft::D22);
        let mut message = subscribe(0, "x");
        if let Message::Subscribe(subscribe) = &mut message {
            subscribe
                .parameters
                .authorization_tokens
                .push(token.clone());
        }
        peer.send(bidi(0), &message);
        peer.code()
    };
    assert_eq!(
        in_request(&alias),
        Some(SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS)
    );
    assert_eq!(
        in_request(&register),
        Some(SessionCode::AUTH_TOKEN_CACHE_OVERFLOW)
    );
}

#[test]
fn a_second_goaway_closes_the_session() {
    covers!("MOQT19-10.4-4", "MOQT19-10.4-6");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        let message = Message::from(goaway(draft, 1));
        peer.send(uni(0), &message);
        assert!(matches!(peer.events.last(), Some(Event::Goaway(_))));
        let refused = peer.command(|s| s.subscribe(track("x"), Parameters::default()));
        assert_eq!(refused, Err(CommandError::GoingAway));
        peer.send(uni(0), &message);
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn a_second_goaway_of_one_request_closes_the_session() {
    covers!("MOQT19-10.4-7");
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.send(bidi(1), &subscribe(2, "y"));
    let message = Message::from(Goaway::default());
    peer.send(bidi(0), &message);
    peer.send(bidi(1), &message);
    assert_eq!(peer.code(), None);
    peer.send(bidi(0), &message);
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn one_request_is_moved_without_the_others() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    let wait = Duration::from_secs(2);
    let uri = "moqt://elsewhere.test/";
    let now = peer.now;
    for _ in 0..2 {
        peer.command(|s| s.goaway_request(now, RequestId(0), uri, wait))
            .unwrap();
    }
    let expected = Goaway {
        new_session_uri: uri.to_owned(),
        timeout_ms: 2000,
        request_id: None,
    };
    let sent = peer.written(bidi(0), StreamRole::Request);
    assert_eq!(sent, [Message::from(expected)], "once");
    peer.send(bidi(1), &subscribe(2, "y"));
    assert_eq!(peer.refused(bidi(1)), None);
    let mut peer = Peer::client(Draft::D22);
    let id = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    let refused = peer.command(|s| s.goaway_request(now, id, uri, wait));
    assert!(matches!(refused, Err(CommandError::Encode(_))));
    peer.send(own(0), &Message::from(Goaway::default()));
    let moved =
        |event: &Event| matches!(event, Event::RequestGoaway { request, .. } if *request == id);
    assert!(peer.events.last().is_some_and(moved));
    peer.command(|s| s.subscribe(track("y"), Parameters::default()))
        .unwrap();
}

#[test]
fn reserved_namespaces_are_not_published() {
    covers!("MOQT19-3.2.1-3", "MOQT19-3.2.1-4");
    let mut peer = Peer::client(Draft::D22);
    for reserved in [".", ".session"] {
        let refused = peer.command(|s| {
            let name = FullTrackName::new(namespace(reserved), "x".into()).unwrap();
            let track = s.publish(name, Parameters::default(), Properties::default());
            (
                track,
                s.publish_namespace(namespace(reserved), Parameters::default()),
            )
        });
        assert!(matches!(refused, (Err(_), Err(_))), "{reserved}");
    }
    peer.command(|s| s.publish_namespace(namespace(".other"), Parameters::default()))
        .unwrap();
    let mut peer = Peer::server(Draft::D22);
    for (index, (reserved, refusal)) in (0..).zip([
        (".", Some(RequestCode::DOES_NOT_EXIST)),
        (".session", Some(RequestCode::DOES_NOT_EXIST)),
        (".other", None),
    ]) {
        let message = Subscribe {
            request_id: RequestId(2 * index),
            track: FullTrackName::new(namespace(reserved), "x".into()).unwrap(),
            parameters: Parameters::default(),
        };
        peer.send(bidi(index), &Message::from(message));
        assert_eq!(peer.refused(bidi(index)), refusal, "{reserved}");
    }
}

#[test]
fn options_of_extensions_reach_the_owner() {
    let mut peer = Peer::opened(Draft::D22, Side::Server, Carrier::Quic, Limits::default());
    let options = vec![
        SetupOption::Integer {
            key: 0x9E,
            value: 7,
        },
        SetupOption::Bytes {
            key: 0x4001,
            value: Bytes::from_static(b"hops"),
        },
    ];
    peer.send(uni(0), &setup(|setup| setup.options.clone_from(&options)));
    let Some(Event::Ready(ready)) = peer.events.last() else {
        unreachable!("SETUP came");
    };
    assert_eq!(ready.options, options);
}

#[test]
fn tracks_with_properties_that_must_be_understood_are_refused() {
    let properties = || PropertiesBuilder::new().integer(0x4000, 1).build();
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        let mut message = publish(0, "x", 3);
        if let Message::Publish(publish) = &mut message {
            publish.properties = properties();
        }
        peer.send(bidi(0), &message);
        let unsupported = RequestCode::UNSUPPORTED_EXTENSION;
        assert_eq!(peer.refused(bidi(0)), Some(unsupported));
        let mut peer = Peer::client(draft);
        let id = peer
            .command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        let mut message = subscribe_ok(3);
        if let Message::SubscribeOk(ok) = &mut message {
            ok.properties = properties();
        }
        peer.send(own(0), &message);
        let Some(Event::Rejected { request, error }) = peer.events.last() else {
            unreachable!("{:?}", peer.events);
        };
        assert_eq!((*request, error.code), (id, unsupported));
        assert_eq!(peer.was_stopped(own(0)), Some(StreamCode::CANCELLED));
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}

#[test]
fn a_goaway_is_checked_against_the_side_it_came_to() {
    covers!("MOQT19-10.4-11", "MOQT18-10.4-1");
    let to = |side, goaway: Goaway, draft| {
        let mut peer = Peer::ready_with(draft, side, Limits::default());
        peer.send(uni(0), &Message::from(goaway));
        peer.code()
    };
    let with_uri = |draft| Goaway {
        new_session_uri: "moqt://elsewhere.test/".to_owned(),
        ..goaway(draft, 0)
    };
    let violation = Some(SessionCode::PROTOCOL_VIOLATION);
    assert_eq!(
        to(Side::Server, with_uri(Draft::D22), Draft::D22),
        violation
    );
    assert_eq!(to(Side::Client, with_uri(Draft::D22), Draft::D22), None);
    let wrong = to(Side::Client, goaway(Draft::D18, 1), Draft::D18);
    assert_eq!(wrong, Some(SessionCode::INVALID_REQUEST_ID));
    assert_eq!(to(Side::Client, goaway(Draft::D18, 2), Draft::D18), None);
}

#[test]
fn requests_after_our_goaway_are_refused() {
    covers!("MOQT18-10.4-2");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &subscribe(0, "x"));
        let now = peer.now;
        peer.command(|s| s.goaway(now, "", Duration::from_secs(1)))
            .unwrap();
        peer.send(bidi(1), &subscribe(2, "y"));
        assert_eq!(peer.refused(bidi(1)), Some(RequestCode::GOING_AWAY));
        assert_eq!(peer.refused(bidi(0)), None);
        let control = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
        let written = peer.written(control, StreamRole::Control);
        let Some(Message::Goaway(goaway)) = written.last() else {
            unreachable!("a GOAWAY is written");
        };
        let first_refused = (draft == Draft::D18).then_some(RequestId(2));
        assert_eq!(goaway.request_id, first_refused);
    }
}

#[test]
fn a_control_stream_that_ends_closes_the_session() {
    covers!("MOQT19-3.3-4");
    let mut finished = Peer::server(Draft::D22);
    finished.finish(uni(0));
    let mut reset = Peer::server(Draft::D22);
    reset.reset(uni(0));
    let mut stopped = Peer::server(Draft::D22);
    stopped.stop(StreamId::new(Origin::Local, Direction::Unidirectional, 0));
    assert_eq!(
        stopped.code(),
        None,
        "what was sent before it may still come"
    );
    stopped.pass(Limits::default().publish_done_timeout);
    let mut second = Peer::server(Draft::D22);
    second.send(uni(3), &setup(|_| {}));
    let mut again = Peer::server(Draft::D22);
    again.send(uni(0), &setup(|_| {}));
    let mut other = Peer::server(Draft::D22);
    other.send(uni(0), &Message::from(RequestOk::default()));
    for peer in [finished, reset, stopped, second, again, other] {
        assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn nothing_but_the_end_is_heard_after_a_close() {
    let mut peer = Peer::server(Draft::D22);
    peer.command(|s| s.close(SessionCode::NO_ERROR, "done"));
    let before = peer.outputs.len();
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.data(uni(1), Bytes::from_static(&[0x3f]));
    peer.session
        .handle_datagram(peer.now, Bytes::from_static(&[0x7f]));
    peer.pass(Duration::from_mins(1));
    peer.command(|s| s.close(SessionCode::INTERNAL_ERROR, "again"));
    assert_eq!((peer.outputs.len(), peer.events.len()), (before, 0));
    let refused = peer.command(|s| s.subscribe(track("x"), Parameters::default()));
    assert_eq!(refused, Err(CommandError::NotReady));
}

#[test]
fn padding_is_ignored_and_unknown_streams_close() {
    covers!("MOQT19-3.4-1", "MOQT19-11.5.1-2");
    let mut peer = Peer::server(Draft::D22);
    let padding = Bytes::from_static(&[0xf0, 0x13, 0x2b, 0x3e, 0x28, 1, 2, 3]);
    peer.data(uni(1), padding);
    peer.data(uni(1), Bytes::from_static(&[9; 50]));
    peer.finish(uni(1));
    let datagram = Bytes::from_static(&[0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0, 0]);
    peer.session.handle_datagram(peer.now, datagram);
    peer.drain();
    assert_eq!(peer.code(), None);
    peer.data(uni(2), Bytes::from_static(&[0x3f, 0, 0]));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}
