//! Rules of a session that stand in no other file: what opens a request, that it is answered once,
//! in which order it ends, and what unknown values do not do.

use super::*;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::message::{
    MessageKind, Namespace, PublishDone, PublishNamespace, RequestOk, RequestUpdate,
    SubscribeNamespace,
};
use mainstem_core::moqt::session::{CONTROL_PRIORITY, CommandError, REQUEST_PRIORITY};

/// A request of the peer, by its kind.
pub(super) fn asked(kind: &str, id: u64) -> Message {
    let request_id = RequestId(id);
    let parameters = Parameters::default();
    match kind {
        "subscribe" => subscribe(id, "x"),
        "publish" => publish(id, "x", 5),
        "announce" => Message::from(PublishNamespace {
            request_id,
            namespace: namespace("p"),
            parameters,
        }),
        _ => Message::from(SubscribeNamespace {
            request_id,
            prefix: namespace("q"),
            parameters,
        }),
    }
}

const KINDS: [&str; 4] = ["subscribe", "publish", "announce", "discover"];

pub(super) fn accept(peer: &mut Peer, kind: &str, request: RequestId) -> Result<(), CommandError> {
    if kind == "subscribe" {
        let answer = Parameters::default();
        peer.command(|s| s.accept_subscribe(request, answer, Properties::default()))
    } else {
        peer.command(|s| s.accept(request, RequestOk::default()))
    }
}

pub(super) fn reject(peer: &mut Peer, request: RequestId) -> Result<(), CommandError> {
    let error = RequestError::new(RequestCode::UNINTERESTED, "no");
    peer.command(|s| s.reject(request, error))
}

pub(super) fn update(id: u64) -> Message {
    Message::from(RequestUpdate {
        request_id: RequestId(id),
        parameters: Parameters::default(),
    })
}

pub(super) fn header() -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(0),
        group: 0,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    }
}

/// A server that has accepted a subscription of its peer: request 0, on the peer's first stream.
pub(super) fn publishing(draft: Draft) -> Peer {
    let mut peer = Peer::server(draft);
    peer.send(bidi(0), &subscribe(0, "x"));
    accept(&mut peer, "subscribe", RequestId(0)).unwrap();
    peer
}

/// What was done to a stream, in order: the kinds of messages, `fin`, `reset`.
pub(super) fn history(peer: &Peer, of: StreamId) -> Vec<String> {
    let mut reader = ControlReader::new(StreamRole::Request);
    let mut history = Vec::new();
    for output in &peer.outputs {
        match output {
            Output::Write {
                stream, head, fin, ..
            } if *stream == of => {
                reader.push(head);
                while let Some(message) = reader.poll(peer.draft).unwrap() {
                    history.push(message.kind().name().to_owned());
                }
                assert!(!reader.is_mid_message());
                history.extend(fin.then(|| "fin".to_owned()));
            }
            Output::Reset { stream, .. } if *stream == of => history.push("reset".to_owned()),
            _ => {}
        }
    }
    history
}

#[test]
fn each_request_opens_a_stream_of_its_own_and_stands_first_on_it() {
    covers!("MOQT19-3.3-1", "MOQT19-10-1");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let none = Parameters::default;
        peer.command(|s| s.subscribe(track("x"), none())).unwrap();
        peer.command(|s| s.publish(track("y"), none(), Properties::default()))
            .unwrap();
        peer.command(|s| s.publish_namespace(namespace("p"), none()))
            .unwrap();
        peer.command(|s| s.subscribe_namespace(namespace("q"), none()))
            .unwrap();
        let kinds = [
            MessageKind::Subscribe,
            MessageKind::Publish,
            MessageKind::PublishNamespace,
            MessageKind::SubscribeNamespace,
        ];
        for (index, kind) in (0..).zip(kinds) {
            let written = peer.written(own(index), StreamRole::Request);
            let written: Vec<MessageKind> = written.iter().map(Message::kind).collect();
            assert_eq!(written, [kind]);
            let is_open = |output: &Output| matches!(output, Output::Open { stream, .. } if *stream == own(index));
            assert_eq!(peer.outputs.iter().filter(|o| is_open(o)).count(), 1);
        }
    }
}

#[test]
fn control_goes_before_requests_and_those_before_objects() {
    covers!("MOQT19-7.2-2");
    let mut peer = publishing(Draft::D22);
    peer.send(bidi(1), &subscribe(2, "y"));
    peer.command(|s| s.publish_namespace(namespace("p"), Parameters::default()))
        .unwrap();
    let highest = mainstem_core::moqt::track::stream_priority(
        0,
        0,
        mainstem_core::moqt::filter::GroupOrder::Ascending,
        0,
    );
    peer.command(|s| s.open_subgroup(RequestId(0), header(), highest))
        .unwrap();
    let priorities: Vec<i32> = peer
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Open { priority, .. } => Some(*priority),
            _ => None,
        })
        .collect();
    assert_eq!(priorities, [CONTROL_PRIORITY, REQUEST_PRIORITY, highest]);
    assert!(priorities.is_sorted_by(|one, other| one > other));
}

#[test]
fn a_request_is_answered_once_and_then_never_again() {
    covers!(
        "MOQT19-5.1-1",
        "MOQT19-5.1-2",
        "MOQT19-6.1-1",
        "MOQT19-6.2-3",
        "MOQT19-10.7-1"
    );
    for draft in Draft::CANONICAL {
        for kind in KINDS {
            let request = RequestId(0);
            let mut accepted = Peer::server(draft);
            accepted.send(bidi(0), &asked(kind, 0));
            assert_eq!(history(&accepted, bidi(0)), Vec::<String>::new());
            accept(&mut accepted, kind, request).unwrap();
            let answer = if kind == "subscribe" {
                "SUBSCRIBE_OK"
            } else {
                "REQUEST_OK"
            };
            let again = accept(&mut accepted, kind, request);
            assert_eq!(again, Err(CommandError::WrongRequest(request)));
            let again = reject(&mut accepted, request);
            assert_eq!(again, Err(CommandError::WrongRequest(request)));
            assert_eq!(history(&accepted, bidi(0)), [answer], "{draft} {kind}");

            let mut refused = Peer::server(draft);
            refused.send(bidi(0), &asked(kind, 0));
            reject(&mut refused, request).unwrap();
            let again = accept(&mut refused, kind, request);
            assert_eq!(again, Err(CommandError::UnknownRequest(request)));
            assert_eq!(history(&refused, bidi(0)), ["REQUEST_ERROR", "fin"]);
        }
    }
}

#[test]
fn no_direction_ends_before_what_it_owes() {
    covers!(
        "MOQT19-3.3.2-1",
        "MOQT19-3.3.2-2",
        "MOQT19-3.3.2-3",
        "MOQT19-3.3.3-1"
    );
    for draft in Draft::CANONICAL {
        for kind in KINDS {
            let mut peer = Peer::server(draft);
            peer.send(bidi(0), &asked(kind, 0));
            // The peer's FIN asks for nothing to be ended while an answer is owed.
            if kind == "subscribe" {
                peer.finish(bidi(0));
                assert_eq!(history(&peer, bidi(0)), Vec::<String>::new());
            }
            reject(&mut peer, RequestId(0)).unwrap();
            assert_eq!(history(&peer, bidi(0)), ["REQUEST_ERROR", "fin"]);
        }
        let mut peer = publishing(draft);
        peer.finish(bidi(0));
        assert_eq!(history(&peer, bidi(0)), ["SUBSCRIBE_OK"]);
        peer.command(|s| s.publish_done(RequestId(0), PublishDoneCode::TRACK_ENDED, "over"))
            .unwrap();
        let expected = ["SUBSCRIBE_OK", "PUBLISH_DONE", "fin"];
        assert_eq!(history(&peer, bidi(0)), expected);
    }
}

#[test]
fn a_refused_request_gets_no_objects() {
    covers!("MOQT19-5.1.1-3");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &subscribe(0, "x"));
        reject(&mut peer, RequestId(0)).unwrap();
        let before = peer.outputs.len();
        let stream = peer.command(|s| s.open_subgroup(RequestId(0), header(), 0));
        let unknown = CommandError::UnknownRequest(RequestId(0));
        assert_eq!(stream, Err(unknown.clone()));
        let datagram = peer.command(|s| s.send_datagram(RequestId(0), &Object::default()));
        assert_eq!(datagram, Err(unknown));
        assert_eq!(peer.outputs.len(), before);
    }
}

#[test]
fn publish_done_is_the_last_word_of_a_subscription() {
    covers!(
        "MOQT19-5.1.1-2",
        "MOQT19-10.11-1",
        "MOQT19-10.11-2",
        "MOQT19-11.4.3-2",
        "MOQT18-10.11-1"
    );
    for draft in Draft::CANONICAL {
        let mut peer = publishing(draft);
        let request = RequestId(0);
        let done = peer
            .command(|s| s.open_subgroup(request, header(), 0))
            .unwrap();
        peer.command(|s| s.send_object(done, &Object::default(), true, false))
            .unwrap();
        let open = peer
            .command(|s| s.open_subgroup(request, header(), 0))
            .unwrap();
        peer.command(|s| s.send_object(open, &Object::default(), false, false))
            .unwrap();
        assert!(peer.session.request(request).is_some());
        peer.command(|s| s.publish_done(request, PublishDoneCode::EXPIRED, "over"))
            .unwrap();
        assert!(peer.session.request(request).is_none());
        assert!(peer.was_reset(open), "not every object was delivered");
        assert!(peer.was_finished(done) && !peer.was_reset(done));
        let of_stream = |output: &Output, of: StreamId| matches!(output, Output::Write { stream, .. } | Output::Reset { stream, .. } if *stream == of);
        let last = |of| peer.outputs.iter().rposition(|o| of_stream(o, of)).unwrap();
        let first_of_done = peer.outputs.len() - 2;
        assert!(last(open) < first_of_done && last(done) < first_of_done);
        assert_eq!(
            history(&peer, bidi(0)),
            ["SUBSCRIBE_OK", "PUBLISH_DONE", "fin"]
        );
        let Some(Message::PublishDone(message)) = peer.written(bidi(0), StreamRole::Request).pop()
        else {
            panic!("PUBLISH_DONE is not last");
        };
        assert_eq!(message.stream_count, Some(2));
        let late = peer.command(|s| s.open_subgroup(request, header(), 0));
        assert_eq!(late, Err(CommandError::UnknownRequest(request)));
    }
}

#[test]
fn a_subscription_without_streams_counts_none() {
    covers!("MOQT19-10.11-5");
    for draft in Draft::CANONICAL {
        let mut peer = publishing(draft);
        peer.command(|s| s.publish_done(RequestId(0), PublishDoneCode::TRACK_ENDED, "over"))
            .unwrap();
        let Some(Message::PublishDone(message)) = peer.written(bidi(0), StreamRole::Request).pop()
        else {
            panic!("PUBLISH_DONE is not last");
        };
        assert_eq!(message.stream_count, Some(0));
    }
}

#[test]
fn a_stream_ends_with_a_fin_after_its_last_object() {
    covers!("MOQT19-11.4.3-1");
    for with_object in [true, false] {
        let mut peer = publishing(Draft::D22);
        let stream = peer
            .command(|s| s.open_subgroup(RequestId(0), header(), 0))
            .unwrap();
        peer.command(|s| s.send_object(stream, &Object::default(), with_object, false))
            .unwrap();
        if !with_object {
            peer.command(|s| s.finish_stream(stream)).unwrap();
        }
        assert!(peer.was_finished(stream) && !peer.was_reset(stream));
    }
}

#[test]
fn a_namespace_subscription_is_answered_before_anything_else() {
    covers!("MOQT19-10.18-2");
    for draft in Draft::CANONICAL {
        let suffix = namespace("b");
        for first in [
            Message::from(Namespace { suffix }),
            subscribe_ok(1),
            update(1),
        ] {
            let mut peer = Peer::client(draft);
            peer.command(|s| s.subscribe_namespace(namespace("a"), Parameters::default()))
                .unwrap();
            peer.send(own(0), &first);
            let violation = Some(SessionCode::PROTOCOL_VIOLATION);
            assert_eq!(peer.code(), violation, "{draft} {first:?}");
        }
    }
}

#[test]
fn each_track_that_is_published_has_an_alias_of_its_own() {
    covers!("MOQT19-11.1-1");
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        for (index, name) in (0..).zip(["x", "y"]) {
            peer.send(bidi(index), &subscribe(2 * index, name));
            accept(&mut peer, "subscribe", RequestId(2 * index)).unwrap();
        }
        peer.command(|s| s.publish(track("z"), Parameters::default(), Properties::default()))
            .unwrap();
        let mut aliases = Vec::new();
        for stream in [bidi(0), bidi(1), own(0)] {
            match peer.written(stream, StreamRole::Request).pop() {
                Some(Message::SubscribeOk(answer)) => aliases.push(answer.track_alias),
                Some(Message::Publish(message)) => aliases.push(message.track_alias),
                other => panic!("neither SUBSCRIBE_OK nor PUBLISH: {other:?}"),
            }
        }
        aliases.sort_unstable();
        aliases.dedup();
        assert_eq!(aliases.len(), 3);
    }
}

#[test]
fn session_level_names_stay_in_the_session_and_other_reserved_ones_reach_the_owner() {
    covers!(
        "MOQT19-3.2.1-2",
        "MOQT19-3.2.1-4",
        "MOQT19-3.2.2-2",
        "MOQT19-3.2.2-3",
        "MOQT19-3.2.2-4"
    );
    for draft in Draft::CANONICAL {
        let ask = |path: &str, name: &'static str| {
            let mut peer = Peer::server(draft);
            let request = Subscribe {
                request_id: RequestId(0),
                track: FullTrackName::new(namespace(path), name.into()).unwrap(),
                parameters: Parameters::default(),
            };
            peer.send(bidi(0), &Message::from(request));
            assert_eq!(peer.code(), None);
            (peer.refused(bidi(0)), peer.events.len())
        };
        let refused = (Some(RequestCode::DOES_NOT_EXIST), 0);
        assert_eq!(ask(".", "x"), refused);
        assert_eq!(ask("./below", "x"), refused);
        assert_eq!(ask(".session", ""), refused);
        assert_eq!(ask(".session", "x"), refused);
        assert_eq!(ask(".session/below", "x"), refused);
        for path in [".other", ".sessions", "a/.session"] {
            assert_eq!(ask(path, "x"), (None, 1), "{path}");
        }
    }
}

#[test]
fn unknown_codes_close_no_session() {
    covers!("MOQT19-14-2", "MOQT19-14-6");
    for draft in Draft::CANONICAL {
        for code in [0x9d, 0x7f * 3 + 0x9d, 0x7777] {
            let asking = || {
                let mut peer = Peer::client(draft);
                peer.command(|s| s.subscribe(track("x"), Parameters::default()))
                    .unwrap();
                peer
            };
            let mut refused = asking();
            refused.send(own(0), &refusal(RequestCode(code)));
            let is_rejected = |event: &Event| matches!(event, Event::Rejected { error, .. } if error.code.0 == code);
            assert!(refused.events.iter().any(is_rejected));
            let mut ended = asking();
            ended.send(own(0), &subscribe_ok(1));
            let done = PublishDone {
                code: PublishDoneCode(code),
                stream_count: Some(0),
                reason: String::new(),
            };
            ended.send(own(0), &Message::from(done));
            let is_ended = |event: &Event| matches!(event, Event::PublishDone { code: of, .. } if of.0 == code);
            assert!(ended.events.iter().any(is_ended));
            let mut reset = asking();
            reset.send(own(0), &subscribe_ok(1));
            reset.data(uni(1), subgroup(1, 0, b"x"));
            reset.happens(uni(1), StreamEvent::Reset(code));
            let mut stopped = publishing(draft);
            stopped.happens(bidi(0), StreamEvent::Stopped(code));
            for peer in [refused, ended, reset, stopped] {
                assert_eq!(peer.code(), None, "{draft} 0x{code:x}");
            }
        }
    }
}

#[test]
fn tracks_below_a_prefix_are_answered_before_anything_else() {
    covers!("MOQT19-10.19-2");
    for draft in Draft::CANONICAL {
        for first in [subscribe_ok(1), update(1)] {
            let mut peer = Peer::client(draft);
            peer.command(|s| s.subscribe_tracks(namespace("a"), Parameters::default()))
                .unwrap();
            peer.send(own(0), &first);
            let violation = Some(SessionCode::PROTOCOL_VIOLATION);
            assert_eq!(peer.code(), violation, "{draft} {first:?}");
        }
    }
}

#[test]
fn setup_refers_to_no_token_that_came_before() {
    use mainstem_core::moqt::parameter::AuthorizationToken as Token;
    covers!("MOQT19-10.2.2-3");
    for draft in Draft::CANONICAL {
        for token in [Token::Delete { alias: 0 }, Token::UseAlias { alias: 0 }] {
            let mut peer = Peer::opened(draft, Side::Server, Carrier::Quic, Limits::default());
            let mut setup = Setup::default();
            setup.authorization_tokens.push(token);
            peer.send(uni(0), &Message::from(setup));
            assert_eq!(peer.code(), Some(SessionCode::PROTOCOL_VIOLATION));
        }
    }
}
