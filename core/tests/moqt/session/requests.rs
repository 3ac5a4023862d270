//! Requests: their ids, answers, updates, and how their streams end.

use super::*;
use mainstem_core::moqt::message::{
    Namespace, NamespaceDone, PublishNamespace, Redirect, RequestOk, RequestUpdate,
    SubscribeNamespace, TrackStatus,
};
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::moqt::session::{Accepted, CommandError};

fn publish_namespace(id: u64, path: &str) -> Message {
    Message::from(PublishNamespace {
        request_id: RequestId(id),
        namespace: namespace(path),
        parameters: Parameters::default(),
    })
}

fn update(id: u64) -> Message {
    Message::from(RequestUpdate {
        request_id: RequestId(id),
        parameters: Parameters {
            forward: Some(false),
            ..Parameters::default()
        },
    })
}

fn ok() -> Message {
    Message::from(RequestOk::default())
}

#[test]
fn request_ids_have_the_peers_parity_and_are_used_once() {
    covers!("MOQT19-10.1-1", "MOQT19-10.1-2");
    for draft in Draft::CANONICAL {
        let mut foreign = Peer::server(draft);
        foreign.send(bidi(0), &subscribe(1, "x"));
        assert_eq!(foreign.code(), Some(SessionCode::INVALID_REQUEST_ID));
        let mut twice = Peer::server(draft);
        twice.send(bidi(0), &subscribe(0, "x"));
        twice.send(bidi(1), &subscribe(0, "y"));
        assert_eq!(twice.code(), Some(SessionCode::INVALID_REQUEST_ID));
        let mut of_server = Peer::client(draft);
        of_server.send(bidi(0), &subscribe(1, "x"));
        of_server.send(bidi(1), &publish_namespace(5, "q"));
        of_server.send(bidi(2), &publish_namespace(3, "p"));
        assert_eq!(of_server.code(), None);
        of_server.send(bidi(3), &update(7));
        assert_eq!(of_server.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    }
}

#[test]
fn ids_of_updates_are_request_ids_too() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.send(bidi(0), &update(2));
    assert!(matches!(peer.events.last(), Some(Event::Update { .. })));
    peer.send(bidi(0), &update(2));
    assert_eq!(peer.code(), Some(SessionCode::INVALID_REQUEST_ID));
}

#[test]
fn unanswered_updates_are_bounded() {
    covers!("MOQT19-10.3.1.7-2");
    let limits = Limits {
        request_updates_max: 2,
        ..Limits::default()
    };
    let mut peer = Peer::ready_with(Draft::D22, Side::Server, limits);
    let control = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
    let setup = &peer.written(control, StreamRole::Control)[0];
    assert!(matches!(setup, Message::Setup(setup) if setup.max_request_updates == Some(2)));
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.send(bidi(0), &update(2));
    peer.send(bidi(0), &update(4));
    peer.command(|s| s.accept_update(RequestId(0), RequestOk::default()))
        .unwrap();
    peer.send(bidi(0), &update(6));
    assert_eq!(peer.code(), None);
    peer.send(bidi(0), &update(8));
    assert_eq!(peer.code(), Some(SessionCode::TOO_MANY_REQUEST_UPDATES));
}

#[test]
fn our_updates_keep_to_the_peers_limit() {
    covers!("MOQT19-10.3.1.7-1");
    for (offered, limit) in [(None, 3), (Some(0), 3), (Some(2), 2), (Some(u64::MAX), 3)] {
        let limits = Limits {
            request_gaps_max: 3,
            ..Limits::default()
        };
        let mut peer = Peer::opened(Draft::D22, Side::Client, Carrier::Quic, limits);
        let setup = Setup {
            max_request_updates: offered,
            ..Setup::default()
        };
        peer.send(uni(0), &Message::from(setup));
        let id = peer
            .command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &subscribe_ok(1));
        let update = |peer: &mut Peer| peer.command(|s| s.update(id, Parameters::default()));
        for _ in 0..limit {
            update(&mut peer).unwrap();
        }
        let refused = update(&mut peer);
        assert_eq!(refused, Err(CommandError::TooManyUpdates { limit }));
        peer.send(own(0), &refusal(RequestCode::TIMEOUT));
        update(&mut peer).unwrap();
    }
}

#[test]
fn a_second_subscription_to_a_track_is_refused_in_18_only() {
    covers!("MOQT18-5.1-1");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &subscribe(0, "x"));
        peer.send(bidi(1), &subscribe(2, "x"));
        peer.send(bidi(2), &subscribe(4, "y"));
        let expected = (draft == Draft::D18).then_some(RequestCode::DUPLICATE_SUBSCRIPTION);
        assert_eq!(peer.refused(bidi(1)), expected, "{draft}");
        assert_eq!(peer.refused(bidi(2)), None);
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn requests_beyond_the_limit_and_for_reserved_names_are_refused() {
    covers!("MOQT19-3.2.2-4", "MOQT19-3.3.3-1");
    let limits = Limits {
        requests_max: 1,
        ..Limits::default()
    };
    let mut peer = Peer::ready_with(Draft::D22, Side::Server, limits);
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.send(bidi(1), &subscribe(2, "y"));
    assert_eq!(peer.refused(bidi(1)), Some(RequestCode::EXCESSIVE_LOAD));
    assert!(peer.was_finished(bidi(1)));
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &publish_namespace(0, ".session"));
    assert_eq!(peer.refused(bidi(0)), Some(RequestCode::DOES_NOT_EXIST));
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn only_requests_begin_a_request_stream() {
    covers!("MOQT19-3.3-2");
    for message in [
        ok(),
        subscribe_ok(1),
        update(0),
        refusal(RequestCode::TIMEOUT),
    ] {
        let mut peer = Peer::server(Draft::D22);
        peer.send(bidi(0), &message);
        assert_eq!(
            peer.code(),
            Some(SessionCode::PROTOCOL_VIOLATION),
            "{message:?}"
        );
    }
}

#[test]
fn answers_must_fit_their_request() {
    covers!("MOQT19-5.1-3");
    let answered = |message: &Message| {
        let mut peer = Peer::client(Draft::D22);
        peer.command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), message);
        peer.code()
    };
    let violation = Some(SessionCode::PROTOCOL_VIOLATION);
    assert_eq!(answered(&subscribe_ok(1)), None);
    assert_eq!(
        answered(&refusal(RequestCode(0x7777))),
        None,
        "unknown codes are fine"
    );
    assert_eq!(answered(&ok()), violation);
    assert_eq!(answered(&update(1)), violation);
    assert_eq!(answered(&subscribe(1, "y")), violation);
    let mut twice = Peer::client(Draft::D22);
    twice
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    twice.send(own(0), &subscribe_ok(1));
    twice.send(own(0), &subscribe_ok(1));
    assert_eq!(twice.code(), violation);
}

#[test]
fn only_track_status_is_answered_with_properties() {
    covers!("MOQT19-10.5-1");
    let mut peer = Peer::client(Draft::D22);
    peer.command(|s| s.publish_namespace(namespace("a"), Parameters::default()))
        .unwrap();
    let answer = RequestOk {
        properties: PropertiesBuilder::new().dynamic_groups(true).build(),
        ..RequestOk::default()
    };
    peer.send(own(0), &Message::from(answer));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn redirects_name_an_address_to_clients_only_and_no_track_for_a_namespace() {
    covers!("MOQT19-10.6.1-2", "MOQT19-10.6.1-4");
    let redirected = |side, uri: &str, name: &'static str, of_track: bool| {
        let mut peer = Peer::ready_with(Draft::D22, side, Limits::default());
        if of_track {
            peer.command(|s| s.subscribe(track("x"), Parameters::default()))
        } else {
            peer.command(|s| s.publish_namespace(namespace("a"), Parameters::default()))
        }
        .unwrap();
        let mut error = RequestError::new(RequestCode::REDIRECT, "there");
        error.redirect = Some(Redirect {
            connect_uri: uri.to_owned(),
            namespace: namespace("c"),
            name: name.into(),
        });
        peer.send(own(0), &Message::from(error));
        peer.code()
    };
    let violation = Some(SessionCode::PROTOCOL_VIOLATION);
    let uri = "moqt://there.test";
    assert_eq!(redirected(Side::Client, uri, "x", true), None);
    assert_eq!(redirected(Side::Server, uri, "x", true), violation);
    assert_eq!(redirected(Side::Server, "", "x", true), None);
    assert_eq!(redirected(Side::Client, uri, "x", false), violation);
    assert_eq!(redirected(Side::Client, uri, "", false), None);
}

#[test]
fn a_namespace_is_withdrawn_only_after_it_was_announced() {
    covers!("MOQT19-10.18-6");
    let mut peer = Peer::client(Draft::D22);
    peer.command(|s| s.subscribe_namespace(namespace("a"), Parameters::default()))
        .unwrap();
    peer.send(own(0), &ok());
    let is_ok = |event: &Event| {
        matches!(
            event,
            Event::Accepted {
                accepted: Accepted::Request(_),
                ..
            }
        )
    };
    assert!(peer.events.iter().any(is_ok));
    let suffix = namespace("b");
    peer.send(own(0), &Message::from(NamespaceDone { suffix }));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
}

#[test]
fn a_fin_after_subscribe_leaves_the_subscription_and_a_reset_ends_it() {
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &subscribe(0, "x"));
        peer.finish(bidi(0));
        assert!(peer.cancelled().is_empty());
        let answer = Parameters::default;
        peer.command(|s| s.accept_subscribe(RequestId(0), answer(), Properties::default()))
            .unwrap();
        peer.stop(bidi(0));
        assert_eq!(peer.cancelled(), [RequestId(0)]);
        peer.send(bidi(1), &subscribe(2, "x"));
        peer.reset(bidi(1));
        assert_eq!(peer.cancelled(), [RequestId(0), RequestId(2)]);
        assert!(peer.was_reset(bidi(1)));
        assert_eq!(peer.session.requests_len(), 0);
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn a_fin_withdraws_a_namespace_and_is_answered() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &publish_namespace(0, "a"));
    peer.command(|s| s.accept(RequestId(0), RequestOk::default()))
        .unwrap();
    peer.finish(bidi(0));
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    assert!(peer.was_finished(bidi(0)));
    let request = SubscribeNamespace {
        request_id: RequestId(2),
        prefix: namespace("a"),
        parameters: Parameters::default(),
    };
    peer.send(bidi(1), &Message::from(request));
    peer.stop(bidi(1));
    assert_eq!(peer.cancelled(), [RequestId(0), RequestId(2)]);
    assert_eq!(peer.code(), None);
}

#[test]
fn a_request_stream_that_ends_inside_a_message_closes() {
    let mut peer = Peer::server(Draft::D22);
    peer.data(bidi(0), Bytes::from_static(&[0x03, 0x00]));
    peer.finish(bidi(0));
    assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
    let mut peer = Peer::server(Draft::D22);
    peer.data(bidi(0), Bytes::from_static(&[0x03, 0x00]));
    peer.reset(bidi(0));
    assert_eq!(peer.code(), None, "a reset may come at any place");
}

#[test]
fn a_publisher_that_ends_our_subscription_by_its_stream_ends_it() {
    let asked = || {
        let mut peer = Peer::client(Draft::D22);
        peer.command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &subscribe_ok(1));
        peer
    };
    let mut finished = asked();
    finished.finish(own(0));
    let mut reset = asked();
    reset.reset(own(0));
    let mut stopped = asked();
    stopped.stop(own(0));
    assert_eq!(stopped.cancelled(), [], "it says so by what it sends");
    stopped.reset(own(0));
    for peer in [finished, reset, stopped] {
        assert_eq!(peer.cancelled(), [RequestId(0)]);
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}

#[test]
fn our_cancel_resets_and_stops_the_request_stream() {
    covers!("MOQT18-3.3.2-1");
    let mut peer = Peer::client(Draft::D22);
    let request = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    peer.command(|s| s.cancel(request, StreamCode::CANCELLED))
        .unwrap();
    assert!(peer.was_reset(own(0)));
    assert_eq!(peer.was_stopped(own(0)), Some(StreamCode::CANCELLED));
    peer.send(own(0), &subscribe_ok(1));
    assert_eq!(
        (peer.events.len(), peer.code()),
        (0, None),
        "a late answer is nothing"
    );
}

#[test]
fn announced_namespaces_are_bounded() {
    let limits = Limits {
        namespaces_max: 2,
        ..Limits::default()
    };
    let mut peer = Peer::ready_with(Draft::D22, Side::Client, limits);
    let id = peer
        .command(|s| s.subscribe_namespace(namespace("a"), Parameters::default()))
        .unwrap();
    peer.send(own(0), &ok());
    for suffix in ["b", "c", "c", "d"] {
        assert_eq!(peer.cancelled(), []);
        let suffix = namespace(suffix);
        peer.send(own(0), &Message::from(Namespace { suffix }));
    }
    assert_eq!(peer.cancelled(), [id]);
    assert_eq!(peer.was_stopped(own(0)), Some(StreamCode::EXCESSIVE_LOAD));
    assert_eq!(peer.code(), None);
}

#[test]
fn track_status_is_over_with_its_answer() {
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let id = peer
            .command(|s| s.track_status(track("x"), Parameters::default()))
            .unwrap();
        peer.send(own(0), &ok());
        peer.finish(own(0));
        let accepted =
            |event: &Event| matches!(event, Event::Accepted { request, .. } if *request == id);
        assert!(peer.events.iter().any(accepted));
        assert!(peer.was_finished(own(0)));
        assert_eq!(
            (peer.session.requests_len(), peer.cancelled().len()),
            (0, 0)
        );
        let mut peer = Peer::server(draft);
        peer.send(
            bidi(0),
            &Message::from(TrackStatus {
                request_id: RequestId(0),
                track: track("x"),
                parameters: Parameters::default(),
            }),
        );
        peer.command(|s| s.accept(RequestId(0), RequestOk::default()))
            .unwrap();
        assert!(peer.was_finished(bidi(0)));
        assert_eq!(peer.session.requests_len(), 0);
    }
}

#[test]
fn news_of_tracks_and_subscriptions_reaches_the_other_end() {
    // All that the news of a subscription can say is how far the track has come.
    covers!("MOQT20-10.10-2", "MOQT20-10.10-3");
    let mut asks = Peer::client(Draft::D22);
    let mut serves = Peer::server(Draft::D22);
    let tracks = asks
        .command(|s| s.subscribe_tracks(namespace("a"), Parameters::default()))
        .unwrap();
    let sub = asks
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    for (index, id) in [(0, tracks), (1, sub)] {
        let asked = asks.written(own(index), StreamRole::Request);
        serves.send(bidi(index), &asked[0]);
        assert!(
            matches!(serves.events.last(), Some(Event::Request { request, .. }) if *request == id)
        );
    }
    let early = serves.command(|s| s.publish_skipped(tracks, namespace("b"), "x".into()));
    assert_eq!(early, Err(CommandError::WrongRequest(tracks)));
    serves
        .command(|s| s.accept(tracks, RequestOk::default()))
        .unwrap();
    serves
        .command(|s| s.publish_skipped(tracks, namespace("b"), "x".into()))
        .unwrap();
    serves
        .command(|s| s.accept_subscribe(sub, Parameters::default(), Properties::default()))
        .unwrap();
    let largest = mainstem_core::moqt::Location::new(7, 3);
    serves.command(|s| s.notify_state(sub, largest)).unwrap();
    for index in 0..2 {
        for message in serves.written(bidi(index), StreamRole::Request) {
            asks.send(own(index), &message);
        }
    }
    let skipped = Event::PublishSkipped {
        request: tracks,
        suffix: namespace("b"),
        name: "x".into(),
    };
    let notified = Event::StateNotified {
        request: sub,
        parameters: Parameters {
            largest: Some(largest),
            ..Parameters::default()
        },
    };
    assert!(asks.events.contains(&skipped) && asks.events.contains(&notified));
    assert_eq!(asks.code(), None);
}
