//! What a relay shows of itself is true, and holds no secret.

use crate::house::{House, INPUT, STREAM_KEY, track_name};
use mainstem_core::moqt::draft::Draft;
use mainstem_core::moqt::error::{RequestCode, StreamCode};
use mainstem_core::moqt::message::{MessageKind, RequestKind};
use mainstem_core::moqt::relay::Event;
use mainstem_core::moqt::session::tally::{Ended, Outcome};
use mainstem_core::transport::Origin;
use std::time::Duration;

fn log_of(house: &House) -> Vec<String> {
    let relay = house.relay.borrow();
    let records = relay.events.iter().filter_map(|event| match event {
        Event::Logged { session, record } => Some(format!("{} {}", session.0, record.to_json())),
        _ => None,
    });
    records.collect()
}

#[test]
fn sessions_and_requests_are_counted_by_draft_kind_and_code() {
    let mut house = House::new();
    let track = track_name("stream/org_1/lv_1", "video");
    let publisher = house.publisher("moqt-22");
    let viewer = house.good_viewer("moqt-18", &track);
    let stranger = house.viewer("moqt-20", "?tok=nonsense", &track);
    house.net.settle();
    let counts = house.relay.borrow().app.tally().clone();
    assert_eq!(counts.opened.get(&(Draft::D22, false)), Some(&1));
    assert_eq!(counts.opened.get(&(Draft::D18, false)), Some(&1));
    let asked = |outcome| (Origin::Peer, RequestKind::Subscribe, outcome);
    assert_eq!(counts.requests.get(&asked(Outcome::Asked)), Some(&2));
    let refused: u64 = counts
        .requests
        .iter()
        .filter(|((by, kind, outcome), _)| {
            *by == Origin::Peer
                && *kind == RequestKind::Subscribe
                && matches!(outcome, Outcome::Refused(_))
        })
        .map(|(_, count)| count)
        .sum();
    let unpublished = RequestCode::DOES_NOT_EXIST.0;
    assert!(refused >= 1, "{:?} ({unpublished})", counts.requests);
    for (node, session) in [
        (publisher.id, publisher.session),
        (viewer.id, viewer.session),
        (stranger.id, stranger.session),
    ] {
        house.net.cut(node, session);
    }
    house.net.advance(Duration::from_secs(1));
    let counts = house.relay.borrow().app.tally().clone();
    assert!(counts.open.values().all(|open| *open == 0), "{counts:?}");
    assert_eq!(
        counts.ended.values().sum::<u64>(),
        counts.opened.values().sum::<u64>()
    );
    assert!(counts.ended.contains_key(&Ended::Lost));
}

#[test]
fn denials_are_counted_by_what_was_refused_and_why() {
    let mut house = House::new();
    let track = track_name("stream/org_1/lv_1", "video");
    let _publisher = house.publisher("moqt-22");
    let _stranger = house.viewer("moqt-16", "", &track);
    let _forger = house.viewer("moqt-20", "?tok=nonsense", &track);
    house.net.settle();
    let relay = house.relay.borrow();
    let denials = relay.app.denials();
    assert_eq!(
        denials.get(&("request", "no_token")),
        Some(&1),
        "{denials:?}"
    );
    assert_eq!(
        denials.get(&("request", "malformed")),
        Some(&1),
        "{denials:?}"
    );
    assert_eq!(
        denials.get(&("session", "malformed")),
        Some(&1),
        "{denials:?}"
    );
    let tally = relay.app.tally();
    assert_eq!(tally.opened.get(&(Draft::D16, false)), Some(&1));
}

#[test]
fn who_leaves_after_goaway_is_counted_as_moved() {
    let mut house = House::new();
    let track = track_name("stream/org_1/lv_1", "video");
    let publisher = house.publisher("moqt-22");
    // The relay waits a moment for publishers to move.
    publisher.announce("stream/org_1/lv_1");
    house.net.settle();
    let viewer = house.good_viewer("moqt-22", &track);
    house.net.settle();
    house.command(|relay, now| relay.drain(now, "", Duration::from_secs(5)));
    let goaways = |house: &House| {
        let key = (Origin::Local, MessageKind::Goaway);
        house.relay.borrow().app.tally().messages.get(&key).copied()
    };
    assert_eq!(goaways(&house), Some(2));
    let session = viewer.session;
    viewer.node.borrow_mut().app.close(session, "moved");
    house.net.settle();
    house.net.advance(Duration::from_secs(6));
    let tally = house.relay.borrow().app.tally().clone();
    assert_eq!(tally.moved.get(&Origin::Peer), Some(&1), "{tally:?}");
    assert_eq!(tally.moved.get(&Origin::Local), None);
}

#[test]
fn unknown_codes_of_a_peer_are_counted_as_one() {
    use mainstem_core::moqt::session::tally::OTHER;
    use mainstem_core::transport::{Direction, Input, StreamEvent, StreamId};
    let mut house = House::new();
    let peer = house.peer("moqt-22", "/");
    let session = house.relay.borrow().app.open_sessions(house.net.now, 1)[0].session;
    for code in 1000..1100 {
        let stream = StreamId::new(Origin::Peer, Direction::Unidirectional, code);
        let event = StreamEvent::Reset(code);
        house.net.feed(
            house.relay_id,
            Input::Stream {
                session,
                stream,
                event,
            },
        );
    }
    let counts = house.relay.borrow().app.tally().clone();
    assert_eq!(counts.resets.get(&(Origin::Peer, OTHER)), Some(&100));
    assert_eq!(counts.resets.len(), 1, "{:?}", counts.resets);
    assert_eq!(StreamCode(1000).name(), None);
    drop(peer);
}

#[test]
fn event_log_tells_what_was_said_and_no_secret() {
    let mut house = House::new();
    house.command(|relay, _| relay.log_all(true));
    let track = track_name("stream/org_1/lv_1", "video");
    let publisher = house.publisher("moqt-22");
    publisher.announce("stream/org_1/lv_1");
    house.net.settle();
    let _viewer = house.good_viewer("moqt-18", &track);
    house.net.settle();
    let log = log_of(&house);
    let has = |words: &[&str]| {
        log.iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(has(&["moqt:session_opened", "moqt-22"]), "{log:#?}");
    assert!(has(&["control_message_created", "\"setup\""]));
    assert!(has(&[
        "control_message_parsed",
        "\"setup\"",
        &format!("/publish/{INPUT}"),
    ]));
    assert!(has(&[
        "control_message_parsed",
        "\"subscribe\"",
        "\"track_name\":\"video\"",
    ]));
    assert!(has(&["stream_opened", "remote-bidi-0"]));
    assert!(has(&[
        "control_message_created",
        "\"subscribe\"",
        "local-bidi-0",
    ]));
    for line in &log {
        assert!(
            !line.contains(STREAM_KEY) && !line.contains("sk="),
            "{line}"
        );
        assert!(!line.contains("tok=") && !line.contains("eyJ"), "{line}");
    }
}

#[test]
fn event_log_is_silent_unless_asked_for_and_may_follow_one_session() {
    let mut house = House::new();
    let track = track_name("stream/org_1/lv_1", "video");
    let publisher = house.publisher("moqt-22");
    assert!(log_of(&house).is_empty());
    let first = house.relay.borrow().app.open_sessions(house.net.now, 9)[0].session;
    house.command(|relay, _| assert!(relay.log_session(first, true)));
    let _viewer = house.good_viewer("moqt-22", &track);
    house.net.cut(publisher.id, publisher.session);
    let log = log_of(&house);
    assert!(log[0].contains("moqt:log_began_late"), "{}", log[0]);
    assert!(log.iter().any(|line| line.contains("moqt:session_closed")));
    let begin = format!("{} ", first.0);
    assert!(log.iter().all(|line| line.starts_with(&begin)), "{log:#?}");
    house.command(|relay, _| {
        assert!(!relay.log_session(mainstem_core::transport::SessionId(9999), true));
    });
}
