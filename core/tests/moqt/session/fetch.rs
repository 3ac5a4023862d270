//! FETCH, from both ends.

use super::*;
use mainstem_core::moqt::filter::{FetchRange, Filter, GroupOrder};
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, RequestUpdate};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::object::{FetchEvent, FetchReader, FetchWriter, GapKind};
use mainstem_core::moqt::session::{Accepted, CommandError, StreamEnd};

const ALL: [Draft; 4] = Draft::CANONICAL;

fn range(start: (u64, u64), end: (u64, Option<u64>)) -> Filter {
    Filter::AbsoluteRange {
        start: Location::new(start.0, start.1),
        end_group: end.0,
        end_object: end.1,
    }
}

fn fetch_of(id: u64, target: FetchTarget, filter: Option<Filter>) -> Fetch {
    Fetch {
        request_id: RequestId(id),
        target,
        parameters: Parameters {
            filter,
            ..Parameters::default()
        },
    }
}

/// FETCH of groups 2 to 4 of a track.
fn fetch(id: u64) -> Fetch {
    let target = FetchTarget::Track(track("x"));
    fetch_of(id, target, Some(range((2, 0), (4, None))))
}

fn join(id: u64, joining: u64) -> Fetch {
    let joining = RequestId(joining);
    fetch_of(id, FetchTarget::RelativeJoin { joining, groups: 2 }, None)
}

fn fetch_ok(group: u64, object: u64) -> FetchOk {
    FetchOk::new(Location::new(group, object), false, Properties::default())
}

pub(super) fn object(group: u64, id: u64) -> Object {
    Object {
        group,
        object: id,
        subgroup: Some(0),
        priority: Some(3),
        payload: Bytes::from(vec![7; 20]).into(),
        ..Object::default()
    }
}

/// A peer's fetch stream for this request with these objects.
pub(super) fn stream(draft: Draft, order: GroupOrder, id: u64, objects: &[Object]) -> Bytes {
    let mut out = BytesMut::new();
    FetchWriter::encode_header(RequestId(id), &mut out);
    let mut writer = FetchWriter::new(draft, order, 128);
    for object in objects {
        writer.encode_object(object, &mut out).unwrap();
        out.extend_from_slice(&object.payload.to_bytes());
    }
    out.freeze()
}

impl Peer {
    pub(super) fn fetched(&self) -> Vec<(RequestId, u64, u64)> {
        let objects = self.events.iter().filter_map(|event| match event {
            Event::FetchObject {
                request, object, ..
            } => Some((*request, object.group, object.object)),
            _ => None,
        });
        objects.collect()
    }

    pub(super) fn fetch_ends(&self) -> Vec<(RequestId, StreamEnd)> {
        let ends = self.events.iter().filter_map(|event| match event {
            Event::FetchEnded { request, end, .. } => Some((*request, *end)),
            _ => None,
        });
        ends.collect()
    }

    /// What the session wrote to a fetch stream.
    pub(super) fn sent_on(&self, stream: StreamId, order: GroupOrder) -> Vec<FetchEvent> {
        let mut reader = FetchReader::new(self.draft, Limits::default().object);
        reader.set_order(order);
        for output in &self.outputs {
            if let Output::Write {
                stream: to,
                head,
                body,
                ..
            } = output
                && *to == stream
            {
                reader.push(head.clone());
                reader.push(body.to_bytes());
            }
        }
        std::iter::from_fn(|| reader.poll().unwrap()).collect()
    }
}

#[test]
fn fetched_objects_and_the_answer_come_in_either_order() {
    for draft in ALL {
        for answer_first in [true, false] {
            let mut peer = Peer::client(draft);
            let id = peer.command(|s| s.fetch(fetch(9))).unwrap();
            assert_eq!(id, RequestId(0));
            let asked = peer.written(own(0), StreamRole::Request);
            assert_eq!(asked, [Message::from(fetch(0))]);
            let answer = Message::from(fetch_ok(4, 9));
            let bytes = stream(
                draft,
                GroupOrder::Ascending,
                0,
                &[object(2, 0), object(4, 9)],
            );
            if answer_first {
                peer.send(own(0), &answer);
                peer.finish(own(0));
            }
            peer.data(uni(1), bytes.slice(..7));
            peer.data(uni(1), bytes.slice(7..));
            peer.finish(uni(1));
            if !answer_first {
                assert_eq!(peer.session.requests_len(), 1);
                peer.send(own(0), &answer);
            }
            assert_eq!(peer.fetched(), [(id, 2, 0), (id, 4, 9)], "{draft}");
            assert_eq!(peer.fetch_ends(), [(id, StreamEnd::Finished)]);
            let accepted = |e: &Event| matches!(e, Event::Accepted { accepted: Accepted::Fetch(ok), .. } if ok.end() == Location::new(4, 9));
            assert!(peer.events.iter().any(accepted));
            assert_eq!(peer.session.requests_len(), 0, "both ends may forget it");
            assert!(peer.was_finished(own(0)));
            assert_eq!(peer.code(), None);
        }
    }
}

#[test]
fn fetches_of_the_peer_are_served_before_or_after_the_answer() {
    for draft in ALL {
        for answer_first in [true, false] {
            let mut peer = Peer::server(draft);
            peer.send(bidi(0), &Message::from(fetch(0)));
            let Some(Event::Request {
                request,
                message: Message::Fetch(asked),
            }) = peer.events.last().cloned()
            else {
                panic!("{:?}", peer.events);
            };
            let largest = Some(Location::new(3, 5));
            let wanted = FetchRange {
                start: Location::new(2, 0),
                end: Location::new(3, 5),
            };
            assert_eq!(asked.range(largest), Some(wanted), "{draft}");
            let end = Location::new(3, 5);
            let answer = FetchOk::new(end, false, Properties::default());
            if answer_first {
                peer.command(|s| s.accept_fetch(request, answer.clone()))
                    .unwrap();
            }
            let stream = peer.command(|s| s.open_fetch(request, 5)).unwrap();
            let again = peer.command(|s| s.open_fetch(request, 5));
            assert_eq!(again, Err(CommandError::WrongRequest(request)));
            peer.command(|s| s.send_fetch_object(stream, &object(2, 0), false, true))
                .unwrap();
            peer.command(|s| {
                s.send_fetch_gap(stream, GapKind::Unknown, Location::new(3, 1), false, false)
            })
            .unwrap();
            peer.command(|s| s.send_fetch_object(stream, &object(3, 5), true, true))
                .unwrap();
            if !answer_first {
                assert_eq!(peer.session.requests_len(), 1);
                peer.command(|s| s.accept_fetch(request, answer)).unwrap();
            }
            assert_eq!(peer.session.requests_len(), 0);
            assert!(peer.was_finished(bidi(0)) && peer.was_finished(stream));
            assert!(!peer.was_reset(stream));
            peer.happens(stream, StreamEvent::Writable);
            assert!(matches!(peer.events.last(), Some(Event::Writable { .. })));
            peer.session.release_stream(stream);
            let sent = peer.sent_on(stream, GroupOrder::Ascending);
            assert_eq!(sent[0], FetchEvent::Header(request));
            assert_eq!(sent[1], FetchEvent::Object(object(2, 0)));
            assert_eq!(sent[3], FetchEvent::Object(object(3, 5)));
            assert_eq!(sent.len(), 4);
        }
    }
}

#[test]
fn objects_that_cannot_be_said_leave_the_stream_as_it_was() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &Message::from(fetch(0)));
    let stream = peer.command(|s| s.open_fetch(RequestId(0), 5)).unwrap();
    let status = Object {
        status: mainstem_core::moqt::object::ObjectStatus::EndOfGroup,
        ..object(2, 0)
    };
    let refused = peer.command(|s| s.send_fetch_object(stream, &status, false, false));
    assert!(matches!(refused, Err(CommandError::Encode(_))));
    peer.command(|s| s.send_fetch_object(stream, &object(2, 1), true, false))
        .unwrap();
    assert_eq!(
        peer.sent_on(stream, GroupOrder::Ascending),
        [
            FetchEvent::Header(RequestId(0)),
            FetchEvent::Object(object(2, 1))
        ]
    );
}

#[test]
fn ranges_mean_the_same_in_every_draft() {
    covers!("MOQT20-5.1.2-4");
    let largest = Some(Location::new(10, 4));
    let at = |start: (u64, u64), end: (u64, u64)| {
        Some(FetchRange {
            start: Location::new(start.0, start.1),
            end: Location::new(end.0, end.1),
        })
    };
    for draft in ALL {
        let resolved = |fetch: Fetch, largest| {
            let mut peer = Peer::server(draft);
            peer.send(bidi(0), &Message::from(fetch));
            match peer.events.last() {
                Some(Event::Request {
                    message: Message::Fetch(asked),
                    ..
                }) => asked.range(largest),
                other => panic!("{other:?} {:?}", peer.code()),
            }
        };
        let of = |filter| fetch_of(0, FetchTarget::Track(track("x")), filter);
        assert_eq!(resolved(of(None), largest), at((0, 0), (10, 4)), "{draft}");
        assert_eq!(resolved(of(None), None), None);
        let whole = range((2, 3), (5, None));
        assert_eq!(
            resolved(of(Some(whole)), largest),
            at((2, 3), (5, u64::MAX))
        );
        let exact = range((2, 3), (5, Some(6)));
        assert_eq!(resolved(of(Some(exact)), largest), at((2, 3), (5, 6)));
        let one = range((2, 3), (2, Some(3)));
        assert_eq!(resolved(of(Some(one)), largest), at((2, 3), (2, 3)));
        let beyond = range((10, 5), (12, None));
        assert_eq!(resolved(of(Some(beyond)), largest), None);
        let open = Filter::Absolute {
            start: Location::new(10, 4),
        };
        assert_eq!(resolved(of(Some(open)), largest), at((10, 4), (10, 4)));
    }
    let join = |groups| {
        fetch_of(
            0,
            FetchTarget::RelativeJoin {
                joining: RequestId(0),
                groups,
            },
            None,
        )
    };
    assert_eq!(join(3).range(largest), at((7, 0), (10, 4)));
    assert_eq!(join(30).range(largest), at((0, 0), (10, 4)));
    assert_eq!(join(3).range(None), None);
    let absolute = |group| {
        fetch_of(
            0,
            FetchTarget::AbsoluteJoin {
                joining: RequestId(0),
                group,
            },
            None,
        )
    };
    assert_eq!(absolute(10).range(largest), at((10, 0), (10, 4)));
    assert_eq!(absolute(11).range(largest), None);
}

#[test]
fn fetches_that_cannot_be_are_refused_by_name() {
    covers!("MOQT19-10.12.2-1", "MOQT19-10.12.2-2", "MOQT19-10.12.2-4");
    let mut peer = Peer::server(Draft::D18);
    peer.send(bidi(0), &Message::from(join(0, 8)));
    assert_eq!(
        peer.refused(bidi(0)),
        Some(RequestCode::INVALID_JOINING_REQUEST_ID)
    );
    peer.send(bidi(1), &Message::from(fetch(2)));
    peer.send(bidi(2), &Message::from(join(4, 2)));
    assert_eq!(
        peer.refused(bidi(2)),
        Some(RequestCode::INVALID_JOINING_REQUEST_ID),
        "a fetch is not a subscription"
    );
    let paused = Parameters {
        forward: Some(false),
        ..Parameters::default()
    };
    peer.send(
        bidi(3),
        &Message::from(Subscribe {
            request_id: RequestId(6),
            track: track("p"),
            parameters: paused,
        }),
    );
    peer.send(bidi(4), &Message::from(join(8, 6)));
    assert_eq!(peer.refused(bidi(4)), Some(RequestCode::INVALID_RANGE));
    let parameters = Parameters {
        forward: Some(true),
        ..Parameters::default()
    };
    peer.send(
        bidi(3),
        &Message::from(RequestUpdate {
            request_id: RequestId(10),
            parameters,
        }),
    );
    peer.send(bidi(5), &Message::from(join(12, 6)));
    assert_eq!(peer.refused(bidi(5)), None, "forwarding again");
    assert_eq!(
        peer.session.request(RequestId(12)).unwrap().kind(),
        mainstem_core::moqt::message::RequestKind::Fetch
    );
    for draft in [Draft::D20, Draft::D22] {
        let mut peer = Peer::server(draft);
        let backwards = range((2, 5), (2, Some(4)));
        peer.send(
            bidi(0),
            &Message::from(fetch_of(0, FetchTarget::Track(track("x")), Some(backwards))),
        );
        assert_eq!(
            peer.refused(bidi(0)),
            Some(RequestCode::INVALID_RANGE),
            "{draft}"
        );
    }
    let reserved = FullTrackName::new(namespace("."), "x".into()).unwrap();
    peer.send(
        bidi(6),
        &Message::from(fetch_of(14, FetchTarget::Track(reserved), None)),
    );
    assert_eq!(peer.refused(bidi(6)), Some(RequestCode::DOES_NOT_EXIST));
    assert_eq!(peer.code(), None);
}

#[test]
fn joins_name_a_subscription_of_ours() {
    let mut peer = Peer::client(Draft::D18);
    let unknown = peer.command(|s| s.fetch(join(0, 6)));
    assert_eq!(unknown, Err(CommandError::UnknownRequest(RequestId(6))));
    let subscription = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    let id = peer.command(|s| s.fetch(join(0, subscription.0))).unwrap();
    assert_eq!(
        peer.written(own(1), StreamRole::Request),
        [Message::from(join(2, 0))]
    );
    let wrong = peer.command(|s| s.fetch(join(0, id.0)));
    assert_eq!(wrong, Err(CommandError::WrongRequest(id)));
    let mut peer = Peer::client(Draft::D22);
    let subscription = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    let cannot = peer.command(|s| s.fetch(join(0, subscription.0)));
    assert!(matches!(cannot, Err(CommandError::Encode(_))));
}

#[test]
fn fetch_ok_before_the_start_closes_the_session() {
    covers!("MOQT19-10.13-2");
    for draft in ALL {
        let mut peer = Peer::client(draft);
        peer.command(|s| s.fetch(fetch(0))).unwrap();
        peer.send(own(0), &Message::from(fetch_ok(1, 9)));
        assert_eq!(
            peer.code(),
            Some(SessionCode::PROTOCOL_VIOLATION),
            "{draft}"
        );
    }
}

#[test]
fn objects_outside_the_range_are_not_passed_on() {
    let draft = Draft::D22;
    let mut peer = Peer::client(draft);
    peer.command(|s| s.fetch(fetch(0))).unwrap();
    let objects = [object(1, 9), object(2, 0), object(4, 3), object(5, 0)];
    peer.data(uni(1), stream(draft, GroupOrder::Ascending, 0, &objects));
    assert_eq!(peer.fetched().len(), 2);
    assert_eq!(peer.code(), None);
}

#[test]
fn an_object_past_the_end_of_the_track_gives_the_fetch_up() {
    let draft = Draft::D18;
    let mut peer = Peer::client(draft);
    let id = peer.command(|s| s.fetch(fetch(0))).unwrap();
    let answer = FetchOk::new(Location::new(3, 0), true, Properties::default());
    peer.send(own(0), &Message::from(answer));
    peer.data(
        uni(1),
        stream(
            draft,
            GroupOrder::Ascending,
            0,
            &[object(3, 0), object(3, 1)],
        ),
    );
    assert_eq!(peer.fetched(), [(id, 3, 0)]);
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::MALFORMED_TRACK));
    assert_eq!(peer.cancelled(), [id]);
    assert_eq!(peer.code(), None);
}

#[test]
fn streams_that_nobody_asked_for_are_stopped() {
    for draft in ALL {
        let mut peer = Peer::client(draft);
        let id = peer
            .command(|s| s.subscribe(track("x"), Parameters::default()))
            .unwrap();
        let empty = |id| stream(draft, GroupOrder::Ascending, id, &[]);
        peer.data(uni(1), empty(id.0));
        assert_eq!(
            peer.was_stopped(uni(1)),
            Some(StreamCode::CANCELLED),
            "no fill was asked for"
        );
        peer.data(uni(2), empty(77));
        assert_eq!(peer.was_stopped(uni(2)), Some(StreamCode::CANCELLED));
        let fetch = peer.command(|s| s.fetch(fetch(0))).unwrap();
        peer.data(uni(3), empty(fetch.0));
        peer.data(uni(4), empty(fetch.0));
        assert_eq!(peer.was_stopped(uni(3)), None);
        assert_eq!(
            peer.was_stopped(uni(4)),
            Some(StreamCode::CANCELLED),
            "a second one"
        );
        assert_eq!(peer.code(), None);
    }
}

#[test]
fn giving_a_fetch_up_stops_its_stream() {
    covers!("MOQT19-5.2-2");
    let draft = Draft::D22;
    let mut peer = Peer::client(draft);
    let id = peer.command(|s| s.fetch(fetch(0))).unwrap();
    peer.data(
        uni(1),
        stream(draft, GroupOrder::Ascending, 0, &[object(2, 0)]),
    );
    peer.command(|s| s.cancel(id, StreamCode::CANCELLED))
        .unwrap();
    assert_eq!(peer.was_stopped(uni(1)), Some(StreamCode::CANCELLED));
    assert_eq!(peer.was_stopped(own(0)), Some(StreamCode::CANCELLED));
    // What was under way is not heard.
    peer.data(uni(1), Bytes::from_static(&[0xff]));
    assert_eq!(peer.code(), None);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn a_fetch_that_the_peer_gives_up_is_reset() {
    covers!("MOQT19-5.2-4");
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &Message::from(fetch(0)));
    let stream = peer.command(|s| s.open_fetch(RequestId(0), 5)).unwrap();
    peer.command(|s| s.accept_fetch(RequestId(0), fetch_ok(4, 9)))
        .unwrap();
    peer.finish(bidi(0));
    assert_eq!(
        peer.session.requests_len(),
        1,
        "a FIN only says that nothing follows"
    );
    peer.stop(bidi(0));
    assert!(peer.was_reset(stream));
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn a_refused_fetch_loses_its_stream() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &Message::from(fetch(0)));
    let stream = peer.command(|s| s.open_fetch(RequestId(0), 5)).unwrap();
    let error = RequestError::new(RequestCode::INVALID_RANGE, "nothing there");
    peer.command(|s| s.reject(RequestId(0), error)).unwrap();
    assert!(peer.was_reset(stream));
    assert_eq!(peer.refused(bidi(0)), Some(RequestCode::INVALID_RANGE));
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn resets_of_fetch_streams_keep_their_code() {
    let mut peer = Peer::client(Draft::D22);
    let id = peer.command(|s| s.fetch(fetch(0))).unwrap();
    peer.data(
        uni(1),
        stream(Draft::D22, GroupOrder::Ascending, 0, &[object(2, 0)]),
    );
    peer.happens(uni(1), StreamEvent::Reset(0x9d));
    assert_eq!(
        peer.fetch_ends(),
        [(id, StreamEnd::Reset(StreamCode(0x9d)))]
    );
    peer.send(own(0), &Message::from(fetch_ok(4, 9)));
    assert_eq!(peer.session.requests_len(), 0);
}
