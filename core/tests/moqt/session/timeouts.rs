//! What a session waits for has an end: GOAWAY, fetches without a stream, streams without a header.

use super::*;
use mainstem_core::moqt::filter::{RangeFilter, RangeSet, RangeSubject};
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::object::FetchWriter;

const WAIT: Duration = Duration::from_secs(2);

fn fetch(id: u64) -> Fetch {
    Fetch {
        request_id: RequestId(id),
        target: FetchTarget::Track(track("x")),
        parameters: Parameters::default(),
    }
}

fn fetch_ok() -> FetchOk {
    FetchOk::new(Location::new(4, 9), false, Properties::default())
}

fn going(peer: &mut Peer, timeout: Duration) {
    let now = peer.now;
    peer.command(|s| s.goaway(now, "", timeout)).unwrap();
}

#[test]
fn a_peer_that_outstays_our_goaway_is_closed_with_goaway_timeout() {
    for draft in Draft::CANONICAL {
        for side in [Side::Server, Side::Client] {
            let mut peer = Peer::ready_with(draft, side, Limits::default());
            let first = u64::from(side == Side::Client);
            peer.send(bidi(0), &subscribe(first, "x"));
            going(&mut peer, WAIT);
            peer.pass(WAIT.checked_sub(Duration::from_millis(1)).unwrap());
            assert_eq!(peer.code(), None);
            peer.pass(Duration::from_millis(1));
            assert_eq!(peer.code(), Some(SessionCode::GOAWAY_TIMEOUT), "{draft}");
            assert_eq!(peer.session.next_timeout(), None);
        }
    }
}

#[test]
fn a_session_without_requests_ends_in_peace_after_our_goaway() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    going(&mut peer, WAIT);
    peer.stop(bidi(0));
    peer.pass(WAIT);
    assert_eq!(peer.code(), Some(SessionCode::NO_ERROR));
}

#[test]
fn a_goaway_without_time_out_waits_for_ever() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    going(&mut peer, Duration::ZERO);
    assert_eq!(peer.session.next_timeout(), None);
    // A second one changes nothing: the first is the one that the peer knows.
    going(&mut peer, WAIT);
    assert_eq!(peer.session.next_timeout(), None);
}

#[test]
fn a_request_that_does_not_move_is_reset_and_the_others_go_on() {
    let mut peer = Peer::server(Draft::D22);
    peer.send(bidi(0), &subscribe(0, "x"));
    peer.send(bidi(1), &subscribe(2, "y"));
    let now = peer.now;
    peer.command(|s| s.goaway_request(now, RequestId(0), "", WAIT))
        .unwrap();
    peer.pass(WAIT);
    let code = StreamCode::GOING_AWAY.0;
    let reset = |output: &Output| matches!(output, Output::Reset { stream, code: of, .. } if *stream == bidi(0) && *of == code);
    assert!(peer.outputs.iter().any(reset));
    assert_eq!(peer.cancelled(), [RequestId(0)]);
    assert_eq!((peer.session.requests_len(), peer.code()), (1, None));
    assert_eq!(peer.session.next_timeout(), None);
}

#[test]
fn a_fetch_that_is_answered_and_gets_no_stream_is_cancelled_in_time() {
    for draft in Draft::CANONICAL {
        let mut peer = Peer::client(draft);
        let id = peer.command(|s| s.fetch(fetch(0))).unwrap();
        assert_eq!(peer.session.next_timeout(), None, "an answer is awaited");
        peer.send(own(0), &Message::from(fetch_ok()));
        peer.finish(own(0));
        let timeout = Limits::default().fetch_stream_timeout;
        assert_eq!(peer.session.next_timeout(), Some(peer.now + timeout));
        peer.pass(timeout);
        assert_eq!(peer.cancelled(), [id]);
        assert!(peer.was_reset(own(0)));
        assert_eq!((peer.session.requests_len(), peer.code()), (0, None));
    }
}

#[test]
fn a_fetch_stream_that_has_begun_may_take_its_time() {
    let mut peer = Peer::client(Draft::D22);
    let id = peer.command(|s| s.fetch(fetch(0))).unwrap();
    peer.send(own(0), &Message::from(fetch_ok()));
    let mut header = BytesMut::new();
    FetchWriter::encode_header(id, &mut header);
    peer.data(uni(1), header.freeze());
    assert_eq!(peer.session.next_timeout(), None);
    peer.pass(Duration::from_mins(10));
    assert_eq!((peer.cancelled().len(), peer.code()), (0, None));
}

#[test]
fn a_data_stream_whose_header_does_not_come_closes_the_session() {
    let timeout = Limits::default().stream_header_timeout;
    let whole = subgroup(1, 0, b"object");
    let mut fetched = BytesMut::new();
    FetchWriter::encode_header(RequestId(300), &mut fetched);
    for begun in [
        whole.slice(..1),
        whole.slice(..2),
        fetched.freeze().slice(..2),
    ] {
        let mut peer = Peer::client(Draft::D22);
        peer.data(uni(1), begun);
        assert_eq!(peer.session.next_timeout(), Some(peer.now + timeout));
        peer.pass(timeout);
        assert_eq!(peer.code(), Some(SessionCode::DATA_STREAM_TIMEOUT));
    }
    let mut ended = Peer::client(Draft::D22);
    ended.data(uni(1), whole.slice(..1));
    ended.reset(uni(1));
    assert_eq!(ended.session.next_timeout(), None);
}

#[test]
fn a_reset_of_a_fetch_stream_resets_its_request_whatever_the_peer_has_seen() {
    let code = StreamCode::INTERNAL_ERROR;
    let is_reset = |peer: &Peer| {
        let with = |output: &Output| matches!(output, Output::Reset { stream, code: of, .. } if *stream == bidi(0) && *of == code.0);
        peer.outputs.iter().any(with) && !peer.was_finished(bidi(0))
    };
    for draft in Draft::CANONICAL {
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &Message::from(fetch(0)));
        let stream = peer.command(|s| s.open_fetch(RequestId(0), 5)).unwrap();
        peer.command(|s| s.accept_fetch(RequestId(0), fetch_ok()))
            .unwrap();
        peer.command(|s| s.reset_stream(stream, code));
        assert!(is_reset(&peer), "{draft}");
        assert_eq!(peer.session.requests_len(), 0);
        // The same when the answer comes after it.
        let mut peer = Peer::server(draft);
        peer.send(bidi(0), &Message::from(fetch(0)));
        let stream = peer.command(|s| s.open_fetch(RequestId(0), 5)).unwrap();
        peer.command(|s| s.reset_stream(stream, code));
        assert_eq!(peer.session.requests_len(), 1, "it is not answered yet");
        peer.command(|s| s.accept_fetch(RequestId(0), fetch_ok()))
            .unwrap();
        assert!(is_reset(&peer), "{draft}");
        assert_eq!(peer.session.requests_len(), 0);
    }
}

#[test]
fn range_filters_hold_under_a_shared_alias() {
    let mut peer = Peer::opened(Draft::D22, Side::Client, Carrier::Quic, Limits::default());
    let setup = Setup {
        max_filter_ranges: Some(8),
        ..Setup::default()
    };
    peer.send(uni(0), &Message::from(setup));
    let only = |last| {
        let set = RangeSet {
            set: 0,
            property: None,
            ranges: vec![(1, Some(last))],
        };
        let filter = RangeFilter::new(RangeSubject::Object, &set).unwrap();
        Parameters {
            range_filters: vec![filter],
            ..Parameters::default()
        }
    };
    let all = peer
        .command(|s| s.subscribe(track("x"), Parameters::default()))
        .unwrap();
    let some = peer.command(|s| s.subscribe(track("x"), only(9))).unwrap();
    peer.send(own(0), &subscribe_ok(1));
    peer.send(own(1), &subscribe_ok(1));
    peer.data(uni(1), subgroup(1, 0, b"object 0"));
    let zero = Bytes::from_static(b"object 0");
    assert_eq!(peer.objects(), [(all, zero)], "{some:?} asked for 1 to 9");
    // Alone under the alias, what the publisher sends was filtered by it.
    peer.command(|s| s.cancel(all, StreamCode::CANCELLED))
        .unwrap();
    peer.events.clear();
    peer.data(uni(2), subgroup(1, 1, b"object 0"));
    assert_eq!(peer.objects().len(), 1);
}
