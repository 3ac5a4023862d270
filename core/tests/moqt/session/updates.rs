//! Rules of updates, fetches and the state of subscriptions that stand in no other file.

use super::rules::{accept, asked, header, history, publishing, reject, update};
use super::*;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::message::RequestOk;
use mainstem_core::moqt::session::CommandError;

#[test]
fn every_update_has_one_answer() {
    covers!("MOQT19-10.9-2", "MOQT19-10.9.1-4");
    for draft in Draft::CANONICAL {
        let mut peer = publishing(draft);
        let request = RequestId(0);
        peer.send(bidi(0), &update(2));
        peer.send(bidi(0), &update(4));
        for _ in 0..2 {
            peer.command(|s| s.accept_update(request, RequestOk::default()))
                .unwrap();
        }
        let again = peer.command(|s| s.accept_update(request, RequestOk::default()));
        assert_eq!(again, Err(CommandError::WrongRequest(request)));
        let expected = ["SUBSCRIBE_OK", "REQUEST_OK", "REQUEST_OK"];
        assert_eq!(history(&peer, bidi(0)), expected);
    }
}

#[test]
fn a_refused_update_ends_its_subscription() {
    covers!("MOQT19-10.9.1-1");
    for draft in Draft::CANONICAL {
        let mut peer = publishing(draft);
        peer.send(bidi(0), &update(2));
        let error = RequestError::new(RequestCode::NOT_SUPPORTED, "no");
        peer.command(|s| s.reject_update(RequestId(0), error))
            .unwrap();
        let expected = ["SUBSCRIBE_OK", "REQUEST_ERROR", "PUBLISH_DONE", "fin"];
        assert_eq!(history(&peer, bidi(0)), expected);
        let Some(Message::PublishDone(done)) = peer.written(bidi(0), StreamRole::Request).pop()
        else {
            panic!("PUBLISH_DONE is not last");
        };
        assert_eq!(done.code, PublishDoneCode::UPDATE_FAILED);
    }
}

#[test]
fn updates_come_from_who_asked_and_from_subscribers_alone() {
    covers!("MOQT19-10.9-1");
    let violation = Some(SessionCode::PROTOCOL_VIOLATION);
    for draft in Draft::CANONICAL {
        // Who answers a SUBSCRIBE, a PUBLISH_NAMESPACE or a SUBSCRIBE_NAMESPACE changes nothing of it.
        for index in 0..3 {
            let mut peer = Peer::client(draft);
            let none = Parameters::default;
            match index {
                0 => peer.command(|s| s.subscribe(track("x"), none())),
                1 => peer.command(|s| s.publish_namespace(namespace("p"), none())),
                _ => peer.command(|s| s.subscribe_namespace(namespace("q"), none())),
            }
            .unwrap();
            let answer = if index == 0 {
                subscribe_ok(1)
            } else {
                Message::from(RequestOk::default())
            };
            peer.send(own(0), &answer);
            assert_eq!(peer.code(), None);
            peer.send(own(0), &update(1));
            assert_eq!(peer.code(), violation, "{draft} {index}");
        }
        // A subscriber changes what our PUBLISH began, and who asked changes what it asked for.
        let mut peer = Peer::client(draft);
        peer.command(|s| s.publish(track("x"), Parameters::default(), Properties::default()))
            .unwrap();
        peer.send(own(0), &Message::from(RequestOk::default()));
        peer.send(own(0), &update(1));
        assert_eq!(peer.code(), None);
        let mut peer = publishing(draft);
        peer.send(bidi(0), &update(2));
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn from_draft_20_on_publish_ok_carries_nothing_but_its_expiry() {
    covers!("MOQT20-10.2-1");
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        for is_expiry in [true, false] {
            let mut peer = Peer::client(draft);
            let none = Parameters::default();
            peer.command(|s| s.publish(track("x"), none, Properties::default()))
                .unwrap();
            let mut answer = RequestOk::default();
            if is_expiry {
                answer.parameters.expires_ms = Some(5);
            } else {
                answer.parameters.largest = Some(mainstem_core::moqt::Location::ZERO);
            }
            peer.send(own(0), &Message::from(answer));
            let violation = SessionCode::PROTOCOL_VIOLATION;
            assert_eq!(peer.code(), (!is_expiry).then_some(violation), "{draft}");
        }
    }
}

#[test]
fn the_state_of_a_subscription_is_told_by_its_publisher_alone() {
    covers!("MOQT20-10.10-1");
    let notify = || {
        Message::from(mainstem_core::moqt::message::PublishStateNotify {
            parameters: Parameters {
                forward: Some(false),
                ..Parameters::default()
            },
        })
    };
    let violation = Some(SessionCode::PROTOCOL_VIOLATION);
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        let mut peer = publishing(draft);
        peer.send(bidi(0), &notify());
        assert_eq!(peer.code(), violation, "from the subscriber");
        let mut peer = Peer::client(draft);
        peer.command(|s| s.publish_namespace(namespace("p"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &Message::from(RequestOk::default()));
        peer.send(own(0), &notify());
        assert_eq!(peer.code(), violation, "of a namespace");
        let mut peer = Peer::client(draft);
        peer.command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &subscribe_ok(1));
        peer.send(own(0), &notify());
        assert_eq!(peer.code(), None, "of our subscription");
    }
}

/// FETCH of the peer for all of a track.
pub(super) fn fetch(id: u64) -> Message {
    Message::from(mainstem_core::moqt::message::Fetch {
        request_id: RequestId(id),
        target: mainstem_core::moqt::message::FetchTarget::Track(track("x")),
        parameters: Parameters::default(),
    })
}

#[test]
fn a_fetch_is_answered_once() {
    use mainstem_core::moqt::message::FetchOk;
    covers!("MOQT19-5.2-1");
    let answer = || {
        let end = mainstem_core::moqt::Location::new(4, 9);
        FetchOk::new(end, false, Properties::default())
    };
    for draft in Draft::CANONICAL {
        let mut accepted = Peer::server(draft);
        accepted.send(bidi(0), &fetch(0));
        accepted
            .command(|s| s.accept_fetch(RequestId(0), answer()))
            .unwrap();
        assert!(
            accepted
                .command(|s| s.accept_fetch(RequestId(0), answer()))
                .is_err()
        );
        assert!(reject(&mut accepted, RequestId(0)).is_err());
        let answers = history(&accepted, bidi(0));
        let answers: Vec<&String> = answers.iter().filter(|each| *each != "fin").collect();
        assert_eq!(answers, ["FETCH_OK"]);
        let mut refused = Peer::server(draft);
        refused.send(bidi(0), &fetch(0));
        reject(&mut refused, RequestId(0)).unwrap();
        assert!(
            refused
                .command(|s| s.accept_fetch(RequestId(0), answer()))
                .is_err()
        );
        assert_eq!(history(&refused, bidi(0)), ["REQUEST_ERROR", "fin"]);
    }
}

#[test]
fn a_fetch_that_is_given_up_before_its_answer_loses_both_streams() {
    covers!("MOQT19-5.2-3", "MOQT19-5.2-4");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &fetch(0));
        let stream = peer.command(|s| s.open_fetch(RequestId(0), 1)).unwrap();
        // After STOP_SENDING the host has reset the direction by itself.
        peer.reset(bidi(0));
        assert!(peer.was_reset(stream), "{draft}: data");
        assert!(peer.was_reset(bidi(0)), "{draft}: request");
        assert_eq!(peer.session.requests_len(), 0);
    }
}

#[test]
fn fills_are_counted_among_the_streams_of_a_subscription() {
    use mainstem_core::moqt::parameter::FillParameters;
    covers!("MOQT20-10.12-2");
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        let mut peer = Peer::server(draft);
        peer.send(
            bidi(0),
            &Message::from(Subscribe {
                request_id: RequestId(0),
                track: track("x"),
                parameters: Parameters {
                    fill: Some(Box::new(FillParameters::default())),
                    ..Parameters::default()
                },
            }),
        );
        accept(&mut peer, "subscribe", RequestId(0)).unwrap();
        let fill = peer.command(|s| s.open_fetch(RequestId(0), 1)).unwrap();
        peer.command(|s| s.finish_stream(fill)).unwrap();
        let live = peer
            .command(|s| s.open_subgroup(RequestId(0), header(), 0))
            .unwrap();
        peer.command(|s| s.finish_stream(live)).unwrap();
        peer.command(|s| s.publish_done(RequestId(0), PublishDoneCode::TRACK_ENDED, "over"))
            .unwrap();
        let Some(Message::PublishDone(done)) = peer.written(bidi(0), StreamRole::Request).pop()
        else {
            panic!("PUBLISH_DONE is not last");
        };
        assert_eq!(done.stream_count, Some(2), "{draft}");
    }
}

#[test]
fn padding_datagrams_are_nothing() {
    covers!("MOQT19-11.5.2-2");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        let padding = Bytes::from_static(&[0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0, 0]);
        peer.session.handle_datagram(peer.now, padding);
        peer.drain();
        assert_eq!((peer.code(), peer.events.len()), (None, 0), "{draft}");
    }
}

#[test]
fn a_refused_update_closes_its_namespace_request() {
    covers!("MOQT19-10.9.1-3");
    for draft in Draft::CANONICAL {
        for kind in ["announce", "discover"] {
            let mut peer = Peer::server(draft);
            peer.send(bidi(0), &asked(kind, 0));
            accept(&mut peer, kind, RequestId(0)).unwrap();
            peer.send(bidi(0), &update(2));
            let error = RequestError::new(RequestCode::NOT_SUPPORTED, "no");
            peer.command(|s| s.reject_update(RequestId(0), error))
                .unwrap();
            let expected = ["REQUEST_OK", "REQUEST_ERROR", "fin"];
            assert_eq!(history(&peer, bidi(0)), expected, "{draft} {kind}");
        }
    }
}

#[test]
fn a_fetch_of_a_track_with_an_unknown_mandatory_property_is_given_up() {
    use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget};
    covers!("MOQT19-2.5.1-6");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let ask = Fetch {
            request_id: RequestId(0),
            target: FetchTarget::Track(track("x")),
            parameters: Parameters::default(),
        };
        peer.command(|s| s.fetch(ask)).unwrap();
        let block = Bytes::from_static(&[0xc0, 0x40, 0, 1]);
        let properties = Properties::from_track(block).unwrap();
        let end = mainstem_core::moqt::Location::new(4, 9);
        peer.send(own(0), &Message::from(FetchOk::new(end, false, properties)));
        assert!(peer.was_reset(own(0)) || peer.was_stopped(own(0)).is_some());
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}
#[test]
fn an_alias_of_setup_that_the_peer_cannot_hold_is_not_used() {
    use mainstem_core::moqt::parameter::AuthorizationToken as Token;
    covers!("MOQT19-10.3.1.4-3");
    for draft in Draft::CANONICAL {
        let opened = Opened {
            side: Side::Client,
            carrier: Carrier::Quic,
            protocol: draft.protocol().to_owned(),
            target: None,
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        let now = Instant::from_nanos(5_000_000_000);
        let setup = Setup {
            authorization_tokens: vec![Token::Register {
                alias: 1,
                token_type: 0,
                value: Bytes::from_static(b"t"),
            }],
            ..Setup::default()
        };
        let limits = Limits::default();
        let session = Session::new(now, SessionId(1), draft, &opened, setup, limits);
        let mut peer = Peer {
            session,
            draft,
            now,
            events: Vec::new(),
            outputs: Vec::new(),
        };
        peer.drain();
        // The peer offers no cache.
        peer.send(uni(0), &Message::from(Setup::default()));
        let parameters = Parameters {
            authorization_tokens: vec![Token::UseAlias { alias: 1 }],
            ..Parameters::default()
        };
        if peer
            .command(|s| s.subscribe(track("x"), parameters))
            .is_err()
        {
            continue;
        }
        let Some(Message::Subscribe(asked)) = peer.written(own(0), StreamRole::Request).pop()
        else {
            panic!("no SUBSCRIBE");
        };
        let by_value = Token::UseValue {
            token_type: 0,
            value: Bytes::from_static(b"t"),
        };
        assert_eq!(asked.parameters.authorization_tokens, [by_value], "{draft}");
    }
}

#[test]
fn the_alias_of_a_token_that_has_expired_stays_until_it_is_deleted() {
    use mainstem_core::moqt::parameter::AuthorizationToken as Token;
    covers!("MOQT19-10.2.2-9");
    let limits = Limits {
        token_cache_bytes_max: 1000,
        ..Limits::default()
    };
    for draft in Draft::CANONICAL {
        let mut peer = Peer::ready_with(draft, Side::Server, limits);
        let asks = |id: u64, token: Token| {
            Message::from(Subscribe {
                request_id: RequestId(id),
                track: track("x"),
                parameters: Parameters {
                    authorization_tokens: vec![token],
                    ..Parameters::default()
                },
            })
        };
        let value = Bytes::from_static(b"old");
        let register = Token::Register {
            alias: 1,
            token_type: 0,
            value: value.clone(),
        };
        peer.send(bidi(0), &asks(0, register));
        let expired = || RequestError::new(RequestCode::EXPIRED_AUTH_TOKEN, "expired");
        peer.command(|s| s.reject(RequestId(0), expired())).unwrap();
        // It is used again, and judged again.
        peer.send(bidi(1), &asks(2, Token::UseAlias { alias: 1 }));
        assert_eq!(peer.code(), None, "{draft}");
        let token_type = 0;
        let seen = Token::UseValue { token_type, value };
        let is_seen = |event: &Event| matches!(event, Event::Request { message: Message::Subscribe(m), .. } if m.parameters.authorization_tokens == [seen.clone()]);
        assert!(peer.events.last().is_some_and(is_seen));
        peer.command(|s| s.reject(RequestId(2), expired())).unwrap();
        peer.send(bidi(2), &asks(4, Token::Delete { alias: 1 }));
        assert_eq!(peer.code(), None, "{draft}");
    }
}
