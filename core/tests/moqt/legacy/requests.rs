//! Requests of draft 16: on one control stream outside, each on a stream of its own inside.

use super::{Peer, bidi, namespace, own, publish, subscribe, subscribe_ok, track};
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::legacy::{Control, Wanted};
use mainstem_core::moqt::message::{
    Message, MessageKind, PublishDone, PublishNamespace, RequestError, RequestOk, RequestUpdate,
    Setup, SubscribeNamespace,
};
use mainstem_core::moqt::name::{RequestId, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Accepted, Event, Limits};
use mainstem_core::transport::{Side, StreamEvent};

fn ok(id: u64) -> Control {
    Control::Answer {
        request: RequestId(id),
        answer: Message::from(RequestOk::default()),
    }
}

fn error(id: u64, code: RequestCode) -> Control {
    Control::Answer {
        request: RequestId(id),
        answer: Message::from(RequestError::new(code, "no")),
    }
}

fn done(id: u64, code: PublishDoneCode) -> Control {
    Control::Answer {
        request: RequestId(id),
        answer: Message::from(PublishDone {
            code,
            stream_count: Some(0),
            reason: "over".to_owned(),
        }),
    }
}

fn update(id: u64, existing: u64, priority: u8) -> Control {
    Control::Update {
        existing: RequestId(existing),
        update: RequestUpdate {
            request_id: RequestId(id),
            parameters: Parameters {
                subscriber_priority: Some(priority),
                ..Parameters::default()
            },
        },
    }
}

fn subscribe_namespace(id: u64, prefix: &str, wanted: Wanted) -> Control {
    Control::SubscribeNamespace {
        request: SubscribeNamespace {
            request_id: RequestId(id),
            prefix: namespace(prefix),
            parameters: Parameters::default(),
        },
        wanted,
    }
}

/// What the messages are, without what they say.
fn ids(messages: &[Control]) -> Vec<(&'static str, u64)> {
    let named = |message: &Control| match message {
        Control::Request(message) => Some((
            message.kind().name(),
            message.request_id().map_or(u64::MAX, |id| id.0),
        )),
        Control::SubscribeNamespace { request, .. } => {
            Some(("SUBSCRIBE_NAMESPACE", request.request_id.0))
        }
        Control::Update { update, .. } => Some(("REQUEST_UPDATE", update.request_id.0)),
        Control::Answer { request, answer } => Some((answer.kind().name(), request.0)),
        Control::PublishOk { request, .. } => Some(("PUBLISH_OK", request.0)),
        Control::Unsubscribe(id) => Some(("UNSUBSCRIBE", id.0)),
        Control::FetchCancel(id) => Some(("FETCH_CANCEL", id.0)),
        Control::PublishNamespaceDone(id) => Some(("PUBLISH_NAMESPACE_DONE", id.0)),
        Control::PublishNamespaceCancel { request, .. } => {
            Some(("PUBLISH_NAMESPACE_CANCEL", request.0))
        }
        Control::RequestsBlocked(max) => Some(("REQUESTS_BLOCKED", *max)),
        Control::MaxRequestId(max) => Some(("MAX_REQUEST_ID", *max)),
        Control::Namespace(_) => Some(("NAMESPACE", 0)),
        Control::NamespaceDone(_) => Some(("NAMESPACE_DONE", 0)),
        _ => None,
    };
    messages.iter().filter_map(named).collect()
}

#[test]
fn each_end_tells_its_credit_and_the_server_answers() {
    let client = Peer::opened(Side::Client, Limits::default());
    assert!(matches!(
        client.heard()[..],
        [Control::ClientSetup {
            max_request_id: 2048,
            ..
        }]
    ));
    let mut server = Peer::opened(Side::Server, Limits::default());
    assert!(server.outputs.is_empty());
    server.say(&Control::ClientSetup {
        setup: Setup {
            path: Some("/live".to_owned()),
            authority: Some("relay.test".to_owned()),
            ..Setup::default()
        },
        max_request_id: 0,
    });
    assert!(matches!(
        server.heard()[..],
        [Control::ServerSetup {
            max_request_id: 2048,
            ..
        }]
    ));
    let [Event::Ready(ready)] = &server.events[..] else {
        panic!("{:?}", server.events);
    };
    assert_eq!(ready.target.as_ref().unwrap().path, "/live");
}

#[test]
fn requests_wait_for_credit_and_complain_once() {
    let mut peer = Peer::ready(Side::Client, 2, Limits::default());
    for name in ["a", "b", "c"] {
        let asked = peer.command(|s| s.subscribe(track(name), Parameters::default()));
        asked.unwrap();
    }
    assert_eq!(
        ids(&peer.heard()),
        [("SUBSCRIBE", 0), ("REQUESTS_BLOCKED", 2)]
    );
    peer.forget();
    peer.say(&Control::MaxRequestId(3));
    assert_eq!(ids(&peer.heard()), [("SUBSCRIBE", 2)]);
    peer.forget();
    // What is given up before it was said is never said.
    let third = RequestId(4);
    peer.command(|s| s.cancel(third, StreamCode::CANCELLED))
        .unwrap();
    peer.say(&Control::MaxRequestId(100));
    assert_eq!(ids(&peer.heard()), []);
    let asked = peer.command(|s| s.subscribe(track("d"), Parameters::default()));
    asked.unwrap();
    assert_eq!(ids(&peer.heard()), [("SUBSCRIBE", 4)]);
}

#[test]
fn credit_is_given_back_when_requests_end() {
    let limits = Limits {
        requests_max: 4,
        ..Limits::default()
    };
    let mut peer = Peer::ready(Side::Server, 0, limits);
    for id in 0..4 {
        peer.say(&subscribe(2 * id, "a"));
    }
    // All but the first are refused: one track is subscribed to once.
    assert_eq!(
        ids(&peer.heard()),
        [
            ("REQUEST_ERROR", 2),
            ("REQUEST_ERROR", 4),
            ("MAX_REQUEST_ID", 12),
            ("REQUEST_ERROR", 6)
        ]
    );
    for round in 0..100 {
        peer.forget();
        peer.say(&subscribe(8 + 2 * round, "a"));
        assert_eq!(peer.code(), None, "round {round}");
    }
}

#[test]
fn a_subscription_is_asked_for_agreed_to_and_ended_by_either_end() {
    let mut peer = Peer::server();
    peer.say(&subscribe(0, "a"));
    peer.say(&subscribe(2, "b"));
    let requests: Vec<RequestId> = peer.asked().iter().map(|(id, _)| *id).collect();
    for request in &requests {
        let agreed = peer
            .command(|s| s.accept_subscribe(*request, Parameters::default(), Properties::EMPTY));
        agreed.unwrap();
    }
    assert_eq!(
        ids(&peer.heard()),
        [("SUBSCRIBE_OK", 0), ("SUBSCRIBE_OK", 2)]
    );
    peer.forget();
    peer.say(&Control::Unsubscribe(RequestId(0)));
    assert_eq!(peer.cancelled(), [requests[0]]);
    assert_eq!(ids(&peer.heard()), []);
    let over = peer.command(|s| s.publish_done(requests[1], PublishDoneCode::EXPIRED, "late"));
    over.unwrap();
    assert_eq!(ids(&peer.heard()), [("PUBLISH_DONE", 2)]);
    assert_eq!(peer.session.requests_len(), 0);
    // 5 is EXPIRED at draft 16: type, length, id, code.
    assert_eq!(&peer.written(bidi(0))[..5], &[0x0B, 0, 8, 2, 5]);
    // It was on its way when the subscription ended.
    peer.say(&Control::Unsubscribe(RequestId(2)));
    assert_eq!(peer.code(), None);
}

#[test]
fn a_subscription_of_this_end_is_ended_by_either_end() {
    let mut peer = Peer::client();
    for name in ["a", "b", "c"] {
        let asked = peer.command(|s| s.subscribe(track(name), Parameters::default()));
        asked.unwrap();
    }
    peer.say(&subscribe_ok(0, 10));
    peer.say(&subscribe_ok(2, 11));
    peer.say(&error(4, RequestCode::DOES_NOT_EXIST));
    assert!(matches!(
        peer.events[..],
        [
            Event::Accepted {
                request: RequestId(0),
                ..
            },
            Event::Accepted {
                request: RequestId(2),
                ..
            },
            Event::Rejected {
                request: RequestId(4),
                ..
            },
        ]
    ));
    peer.forget();
    peer.say(&done(0, PublishDoneCode::TOO_FAR_BEHIND));
    assert!(matches!(
        peer.events[..],
        [Event::PublishDone {
            code: PublishDoneCode::TOO_FAR_BEHIND,
            ..
        }]
    ));
    let asked = peer.command(|s| s.cancel(RequestId(2), StreamCode::CANCELLED));
    asked.unwrap();
    assert_eq!(ids(&peer.heard()), [("UNSUBSCRIBE", 2)]);
    // They crossed.
    peer.say(&done(2, PublishDoneCode::TRACK_ENDED));
    assert_eq!((peer.code(), peer.session.requests_len()), (None, 0));
}

#[test]
fn a_track_offered_by_the_peer_is_taken_and_given_up() {
    let mut peer = Peer::server();
    peer.say(&publish(0, "a", 7));
    peer.say(&publish(2, "b", 8));
    let (first, second) = (peer.asked()[0].0, peer.asked()[1].0);
    let ok = RequestOk::default();
    peer.command(|s| s.accept(first, ok)).unwrap();
    let no = RequestError::new(RequestCode::UNINTERESTED, "no");
    peer.command(|s| s.reject(second, no)).unwrap();
    assert_eq!(
        ids(&peer.heard()),
        [("PUBLISH_OK", 0), ("REQUEST_ERROR", 2)]
    );
    peer.forget();
    peer.command(|s| s.cancel(first, StreamCode::CANCELLED))
        .unwrap();
    assert_eq!(ids(&peer.heard()), [("UNSUBSCRIBE", 0)]);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn a_track_offered_by_this_end_is_ended_by_either_end() {
    let mut peer = Peer::client();
    let offer = |peer: &mut Peer, name| {
        let asked =
            peer.command(|s| s.publish(track(name), Parameters::default(), Properties::EMPTY));
        asked.unwrap()
    };
    let (first, second) = (offer(&mut peer, "a"), offer(&mut peer, "b"));
    peer.say(&Control::PublishOk {
        request: RequestId(0),
        answer: RequestOk::default(),
    });
    assert!(matches!(
        peer.events[..],
        [Event::Accepted {
            accepted: Accepted::Request(_),
            ..
        }]
    ));
    // The subscriber changes what the publisher began.
    peer.say(&update(1, 0, 9));
    assert!(matches!(peer.events.last(), Some(Event::Update { .. })));
    let ok = RequestOk::default();
    peer.command(|s| s.accept_update(first, ok)).unwrap();
    peer.say(&Control::Unsubscribe(RequestId(0)));
    assert_eq!(peer.cancelled(), [first]);
    let code = StreamCode::GOING_AWAY;
    peer.command(|s| s.cancel(second, code)).unwrap();
    let heard = ids(&peer.heard());
    let expected = [
        ("PUBLISH", 0),
        ("PUBLISH", 2),
        ("REQUEST_OK", 1),
        ("PUBLISH_DONE", 2),
    ];
    assert_eq!(heard, expected);
}

#[test]
fn updates_are_answered_by_their_own_ids_in_any_order() {
    let mut peer = Peer::client();
    let asked = peer.command(|s| s.subscribe(track("a"), Parameters::default()));
    let request = asked.unwrap();
    peer.say(&subscribe_ok(0, 1));
    for _ in 0..2 {
        let changed = peer.command(|s| s.update(request, Parameters::default()));
        changed.unwrap();
    }
    let heard = ids(&peer.heard());
    assert_eq!(heard[1..], [("REQUEST_UPDATE", 2), ("REQUEST_UPDATE", 4)]);
    peer.forget();
    peer.say(&error(4, RequestCode::INTERNAL_ERROR));
    assert_eq!(peer.events, []);
    peer.say(&ok(2));
    assert!(matches!(
        peer.events[..],
        [
            Event::Updated { answer: Ok(_), .. },
            Event::Updated { answer: Err(_), .. }
        ]
    ));
    peer.say(&ok(2));
    assert_eq!(peer.code(), None, "an answer to what is over is ignored");
}

#[test]
fn an_update_that_crosses_the_end_of_its_request_is_refused() {
    let mut peer = Peer::server();
    peer.say(&subscribe(0, "a"));
    let request = peer.asked()[0].0;
    let agreed =
        peer.command(|s| s.accept_subscribe(request, Parameters::default(), Properties::EMPTY));
    agreed.unwrap();
    peer.say(&update(2, 0, 3));
    let over = peer.command(|s| s.publish_done(request, PublishDoneCode::TRACK_ENDED, "over"));
    over.unwrap();
    peer.say(&update(4, 0, 3));
    assert_eq!(
        ids(&peer.heard()),
        [
            ("SUBSCRIBE_OK", 0),
            ("PUBLISH_DONE", 0),
            ("REQUEST_ERROR", 2),
            ("REQUEST_ERROR", 4)
        ]
    );
}

#[test]
fn a_namespace_is_offered_and_taken_back_by_either_end() {
    let offer = Message::from(PublishNamespace {
        request_id: RequestId(0),
        namespace: namespace("a"),
        parameters: Parameters::default(),
    });
    let mut peer = Peer::server();
    peer.say(&Control::Request(offer));
    let request = peer.asked()[0].0;
    let ok = RequestOk::default();
    peer.command(|s| s.accept(request, ok)).unwrap();
    peer.say(&Control::PublishNamespaceDone(RequestId(0)));
    assert_eq!(peer.cancelled(), [request]);
    assert_eq!(ids(&peer.heard()), [("REQUEST_OK", 0)]);

    let mut peer = Peer::client();
    for path in ["a", "b", "c"] {
        let asked = peer.command(|s| s.publish_namespace(namespace(path), Parameters::default()));
        asked.unwrap();
    }
    peer.say(&self::ok(0));
    peer.say(&self::ok(2));
    peer.say(&error(4, RequestCode::UNAUTHORIZED));
    peer.forget();
    peer.say(&Control::PublishNamespaceCancel {
        request: RequestId(0),
        code: RequestCode::EXPIRED_AUTH_TOKEN,
        reason: String::new(),
    });
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    let code = StreamCode::CANCELLED;
    peer.command(|s| s.cancel(RequestId(2), code)).unwrap();
    assert_eq!(ids(&peer.heard()), [("PUBLISH_NAMESPACE_DONE", 2)]);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn the_peer_asks_for_namespaces_tracks_or_both_on_a_stream() {
    for (wanted, kinds) in [
        (Wanted::Namespaces, &[MessageKind::SubscribeNamespace][..]),
        (Wanted::Tracks, &[MessageKind::SubscribeTracks]),
        (
            Wanted::Both,
            &[
                MessageKind::SubscribeTracks,
                MessageKind::SubscribeNamespace,
            ],
        ),
    ] {
        let mut peer = Peer::server();
        peer.say_on(bidi(1), &subscribe_namespace(0, "a", wanted));
        let asked = peer.asked();
        let found: Vec<_> = asked.iter().map(|(_, message)| message.kind()).collect();
        assert_eq!(found, kinds);
        for (request, _) in &asked {
            assert!(peer.heard_on(bidi(1)).is_empty());
            let ok = RequestOk::default();
            peer.command(|s| s.accept(*request, ok)).unwrap();
        }
        assert_eq!(ids(&peer.heard_on(bidi(1))), [("REQUEST_OK", 0)]);
        if wanted != Wanted::Tracks {
            let last = asked[asked.len() - 1].0;
            peer.forget();
            peer.command(|s| s.namespace(last, namespace("b"))).unwrap();
            peer.command(|s| s.namespace_done(last, namespace("b")))
                .unwrap();
            let heard = ids(&peer.heard_on(bidi(1)));
            assert_eq!(heard, [("NAMESPACE", 0), ("NAMESPACE_DONE", 0)]);
        }
        peer.happens(bidi(1), StreamEvent::Finished);
        assert_eq!(peer.cancelled().len(), kinds.len());
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
        assert!(peer.was_finished(bidi(1)));
    }
}

#[test]
fn half_a_refusal_of_namespaces_and_tracks_is_a_refusal() {
    for refused in [0, 1] {
        let mut peer = Peer::server();
        peer.say_on(bidi(1), &subscribe_namespace(0, "a", Wanted::Both));
        let asked = peer.asked();
        for (index, (request, _)) in asked.iter().enumerate() {
            if index == refused {
                let no = RequestError::new(RequestCode::PREFIX_OVERLAP, "no");
                peer.command(|s| s.reject(*request, no)).unwrap();
            } else {
                let ok = RequestOk::default();
                // When the other half was refused before, there is nothing to agree to.
                let agreed = peer.command(|s| s.accept(*request, ok));
                assert_eq!(agreed.is_err(), refused == 0);
            }
        }
        assert_eq!(ids(&peer.heard_on(bidi(1))), [("REQUEST_ERROR", 0)]);
        assert!(peer.was_finished(bidi(1)));
        assert_eq!(peer.session.requests_len(), 0);
    }
}

#[test]
fn namespaces_of_the_peer_arrive_on_a_stream_of_this_end() {
    let mut peer = Peer::client();
    let asked = peer.command(|s| s.subscribe_namespace(namespace("a"), Parameters::default()));
    let request = asked.unwrap();
    assert_eq!(ids(&peer.heard_on(own(1))), [("SUBSCRIBE_NAMESPACE", 0)]);
    peer.say_on(own(1), &ok(0));
    peer.say_on(own(1), &Control::Namespace(namespace("b")));
    peer.say_on(own(1), &Control::NamespaceDone(namespace("b")));
    let suffixes: Vec<TrackNamespace> = peer
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Namespace { suffix, .. } | Event::NamespaceDone { suffix, .. } => {
                Some(suffix.clone())
            }
            _ => None,
        })
        .collect();
    assert_eq!(suffixes.len(), 2);
    peer.command(|s| s.cancel(request, StreamCode::CANCELLED))
        .unwrap();
    assert_eq!(peer.was_reset(own(1)), Some(StreamCode::CANCELLED));
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn a_refused_namespace_subscription_is_over() {
    let mut peer = Peer::client();
    let asked = peer.command(|s| s.subscribe_namespace(namespace("a"), Parameters::default()));
    asked.unwrap();
    peer.say_on(own(1), &error(0, RequestCode::PREFIX_OVERLAP));
    assert!(matches!(peer.events[..], [Event::Rejected { .. }]));
    peer.happens(own(1), StreamEvent::Finished);
    assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
}

#[test]
fn a_stream_of_namespaces_may_come_before_the_control_stream() {
    let mut peer = Peer::opened(Side::Server, Limits::default());
    let asked = subscribe_namespace(0, "a", Wanted::Namespaces);
    peer.say_on(bidi(0), &asked);
    assert!(peer.asked().is_empty());
    peer.control = bidi(1);
    peer.say(&Control::ClientSetup {
        setup: Setup::default(),
        max_request_id: 0,
    });
    assert_eq!(peer.asked().len(), 1);
    peer.say(&subscribe(2, "a"));
    assert_eq!((peer.asked().len(), peer.code()), (2, None));
}

#[test]
fn goaway_carries_only_a_uri() {
    let mut peer = Peer::server();
    let wait = std::time::Duration::from_secs(1);
    let now = peer.now;
    peer.command(|s| s.goaway(now, "moqt://elsewhere/", wait))
        .unwrap();
    assert_eq!(
        peer.heard(),
        [Control::Goaway("moqt://elsewhere/".to_owned())]
    );
}

#[test]
fn control_messages_cut_anywhere_say_the_same() {
    let said = [
        subscribe(0, "a"),
        publish(2, "b", 9),
        update(4, 0, 1),
        Control::MaxRequestId(2000),
        Control::Unsubscribe(RequestId(0)),
    ];
    let bytes: Vec<u8> = said.iter().flat_map(super::bytes_of).collect();
    let mut whole = Peer::server();
    whole.data(bidi(0), bytes.clone().into());
    assert_eq!((whole.events.len(), whole.code()), (4, None));
    for cut in 1..bytes.len() {
        let mut peer = Peer::server();
        peer.data(bidi(0), Bytes::copy_from_slice(&bytes[..cut]));
        peer.data(bidi(0), Bytes::copy_from_slice(&bytes[cut..]));
        assert_eq!(peer.events, whole.events);
        assert_eq!(peer.outputs, whole.outputs);
    }
}
