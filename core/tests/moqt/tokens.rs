//! Who may do what at a relay that asks for credentials, and when permission ends.

use crate::house::{
    EPOCH, House, INPUT, ORG, STREAM_KEY, good_reply, policy, signing_key, token, track_name,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstem_core::jwt::{self, Claims};
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::{Config, Event, Relay};
use mainstem_core::moqt::session::Event as SessionEvent;
use mainstem_core::moqt::subscriber;
use mainstem_core::resolve::{Grace, Refusal, RefusalCode, ResolveReply};
use mainstem_core::time::UnixTime;
use mainstem_core::transport::App;
use std::time::Duration;

const DRAFTS: [&str; 3] = ["moqt-16", "moqt-18", "moqt-22"];

fn video() -> FullTrackName {
    track_name("playback/lv_1", "video/720p")
}

/// A relay with a publisher that serves `video/720p`, so that only permission can be what lacks.
fn house() -> (House, crate::house::Peer) {
    let mut house = House::new();
    let publisher = house.publisher("moqt-22");
    publisher.announce("publish/lv_1");
    house.net.settle();
    (house, publisher)
}

/// Why a viewer with this query gets nothing: its refusal and the end of its session.
fn refused(query: &str) -> (String, Option<String>) {
    let (mut house, publisher) = house();
    let mut seen = Vec::new();
    for draft in DRAFTS {
        let viewer = house.viewer(draft, query, &video());
        // A token with an unknown key waits for news of it.
        house.net.advance(Duration::from_secs(2));
        assert!(!viewer.is_accepted());
        seen.push((viewer.refusal().unwrap(), viewer.closed()));
    }
    assert!(publisher.asked().is_empty(), "nothing goes upstream");
    assert!(publisher.closed().is_none());
    assert_eq!(seen[0], seen[1], "the drafts agree");
    seen.swap_remove(0)
}

/// A token as the header says, signed by `k1` over whatever header it is.
fn forged(header: &str, signature: Option<&[u8]>) -> String {
    let claims = Claims::playback("x", ORG, &[INPUT], EPOCH, Duration::from_hours(1));
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        part(header.as_bytes()),
        part(&serde_json::to_vec(&claims).unwrap())
    );
    let signature = match signature {
        Some(signature) => signature.to_vec(),
        None => jwt::Signer::sign(&signing_key("k1"), signed.as_bytes()).unwrap(),
    };
    format!("{signed}.{}", part(&signature))
}

#[test]
fn good_token_is_served_without_a_call_to_the_control_plane() {
    let (mut house, publisher) = house();
    let calls = house.resolve_calls();
    for draft in DRAFTS {
        for _ in 0..5 {
            let viewer = house.good_viewer(draft, &video());
            assert_eq!((viewer.refusal(), viewer.closed()), (None, None));
        }
    }
    assert_eq!(house.resolve_calls(), calls);
    let asked: Vec<FullTrackName> = publisher
        .asked()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(
        asked,
        [track_name("publish/lv_1", "video/720p")],
        "one question, in its words"
    );
}

#[test]
fn viewer_that_comes_before_the_news_of_its_key_waits_for_it() {
    let (mut house, _publisher) = house();
    let query = format!("?tok={}", token("k2", INPUT, 60));
    let viewer = house.viewer("moqt-22", &query, &video());
    assert_eq!((viewer.refusal(), viewer.closed()), (None, None));
    house.command(|relay, now| relay.set_policy(now, policy(&["k1", "k2"], &[])));
    house.net.advance(Duration::from_secs(2));
    assert_eq!((viewer.refusal(), viewer.closed()), (None, None));
    let metrics = house.relay.borrow().app.metrics();
    assert_eq!(metrics.downstream_subscriptions, 1);
}

#[test]
fn publisher_is_asked_in_the_words_that_it_announced() {
    for (announced, below) in [
        ("publish/lv_1", "publish/lv_1"),
        ("stream/org_1/lv_1", "stream/org_1/lv_1"),
        ("publish/lv_1/cam", "publish/lv_1/cam"),
    ] {
        let mut house = House::new();
        let publisher = house.publisher("moqt-18");
        publisher.announce(announced);
        house.net.settle();
        let wanted = below
            .replace("publish/lv_1", "playback/lv_1")
            .replace("stream/org_1", "playback");
        house.good_viewer("moqt-22", &track_name(&wanted, "broadcast"));
        let asked = publisher.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].1, track_name(below, "broadcast"));
    }
}

#[test]
fn viewer_that_waits_for_a_publisher_is_served_by_its_alias() {
    covers!("MOQT19-10.2.6-1");
    let mut house = House::new();
    let track = track_name("playback/lv_1", "broadcast");
    let viewer = house.good_viewer("moqt-22", &track);
    assert!(viewer.refusal().unwrap().contains("nobody publishes"));
    let patient = Parameters {
        rendezvous_timeout_ms: Some(5_000),
        ..Parameters::default()
    };
    viewer.subscribe_with(&track, patient.clone());
    house.net.settle();
    house.net.advance(Duration::from_secs(6));
    let metrics = house.relay.borrow().app.metrics();
    assert_eq!(
        (metrics.tracks, metrics.downstream_subscriptions),
        (0, 0),
        "given up"
    );
    viewer.subscribe_with(&track, patient);
    house.net.settle();
    let publisher = house.publisher("moqt-18");
    publisher.announce("publish/lv_1");
    house.net.settle();
    let (request, asked) = publisher.asked().remove(0);
    assert_eq!(asked, track_name("publish/lv_1", "broadcast"));
    publisher
        .act(|s| s.accept_subscribe(request, <_>::default(), <_>::default()))
        .unwrap();
    house.net.settle();
    assert!(viewer.is_accepted());
}

#[test]
fn missing_token_is_refused_and_the_session_may_bring_one_later() {
    covers!("MOQT19-9.4-1");
    let (reason, closed) = refused("");
    assert!(
        reason.contains("auth_failed: a playback token is needed"),
        "{reason}"
    );
    assert_eq!(closed, None);
    let (mut house, _publisher) = house();
    let viewer = house.viewer("moqt-18", "", &video());
    viewer.subscribe(&video(), vec![token("k1", INPUT, 60)]);
    house.net.settle();
    assert_eq!(
        house.relay.borrow().app.metrics().downstream_subscriptions,
        1
    );
}

#[test]
fn bad_tokens_are_told_apart_and_end_the_session() {
    covers!("MOQT19-9.4-1");
    let expired = {
        let past = UnixTime::from_secs(EPOCH.as_secs() - 100);
        let claims = Claims::playback("x", ORG, &[INPUT], past, Duration::from_mins(1));
        jwt::mint(&signing_key("k1"), &claims, past).unwrap()
    };
    let other_org = {
        let claims = Claims::playback("x", "org_2", &[INPUT], EPOCH, Duration::from_mins(1));
        jwt::mint(&signing_key("k1"), &claims, EPOCH).unwrap()
    };
    let public_pem = signing_key("k1").public_key().to_pem();
    let hmac = ring::hmac::sign(
        &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public_pem.as_bytes()),
        b"whatever: the algorithm is refused before the signature is looked at",
    );
    for (token, words) in [
        (expired, "has expired"),
        (token("k1", "lv_2", 60), "does not permit this input"),
        (token("k9", INPUT, 60), "not known here"),
        (other_org, "not the owner"),
        (
            forged(r#"{"alg":"none","kid":"k1"}"#, Some(b"")),
            "not accepted",
        ),
        (
            forged(r#"{"alg":"HS256","kid":"k1"}"#, Some(hmac.as_ref())),
            "not accepted",
        ),
        (
            forged(r#"{"alg":"RS256","kid":"k1"}"#, None),
            "expected EdDSA",
        ),
        (
            forged(r#"{"alg":"EdDSA","kid":"k1"}"#, Some(&[0; 64])),
            "signature is wrong",
        ),
        (forged(r#"{"alg":"EdDSA"}"#, None), "no kid"),
        ("nonsense".to_owned(), "three parts"),
    ] {
        let (refusal, closed) = refused(&format!("?tok={token}"));
        assert!(
            refusal.contains("auth_failed: ") && refusal.contains(words),
            "{refusal}"
        );
        let closed = closed.expect("the session has nothing better to show");
        assert!(
            closed.contains("auth_failed: ") && closed.contains(words),
            "{closed}"
        );
    }
}

#[test]
fn deactivated_key_refuses_its_tokens_and_ends_the_sessions_on_it() {
    covers!("MOQT19-13-1");
    let (mut house, _publisher) = house();
    house.command(|relay, now| relay.set_policy(now, policy(&["k1", "k2"], &[])));
    let on_k1 = house.good_viewer("moqt-18", &video());
    let by_request = house.viewer("moqt-22", "", &video());
    by_request.subscribe(&video(), vec![token("k1", INPUT, 60)]);
    let query = format!("?tok={}", token("k2", INPUT, 60));
    let on_k2 = house.viewer("moqt-22", &query, &video());
    house.command(|relay, now| relay.set_policy(now, policy(&["k2"], &["k1"])));
    for ended in [&on_k1, &by_request] {
        let closed = ended.closed().unwrap();
        assert!(
            closed.contains("signing key of the token was deactivated"),
            "{closed}"
        );
    }
    assert_eq!(on_k2.closed(), None);
    let late = house.good_viewer("moqt-22", &video());
    assert!(late.refusal().unwrap().contains("has been deactivated"));
}

#[test]
fn session_ends_when_its_token_does() {
    let (mut house, _publisher) = house();
    let query = format!("?tok={}", token("k1", INPUT, 60));
    let short = house.viewer("moqt-22", &query, &video());
    let long = house.good_viewer("moqt-18", &video());
    house.net.advance(Duration::from_millis(59_900));
    assert_eq!(short.closed(), None);
    house.net.advance(Duration::from_millis(200));
    assert!(
        short
            .closed()
            .unwrap()
            .contains("auth_failed: the token has expired")
    );
    assert_eq!(long.closed(), None);
}

#[test]
fn token_ends_by_the_wall_clock_when_that_goes_a_little_slow() {
    let (mut house, _publisher) = house();
    let query = format!("?tok={}", token("k1", INPUT, 60));
    let viewer = house.viewer("moqt-18", &query, &video());
    // Told every second, and from the first on 30 ms behind the clock that deadlines were armed by.
    for second in 1..60 {
        house.net.advance(Duration::from_secs(1));
        let unix = EPOCH + Duration::from_millis(second * 1000 - 30);
        house.command(|relay, now| relay.set_clock(now, unix));
    }
    house.net.advance(Duration::from_millis(1010));
    assert_eq!(viewer.closed(), None);
    house.net.advance(Duration::from_millis(40));
    assert!(viewer.closed().unwrap().contains("has expired"));
}

#[test]
fn token_in_a_request_ends_its_subscription_only() {
    let (mut house, publisher) = house();
    let viewer = house.viewer("moqt-22", "", &video());
    viewer.subscribe(&video(), vec![token("k1", INPUT, 60)]);
    viewer.subscribe(
        &track_name("playback/lv_1", "audio"),
        vec![token("k1", INPUT, 3600)],
    );
    house.net.settle();
    for (request, _) in publisher.asked() {
        let accepted =
            publisher.act(|s| s.accept_subscribe(request, <_>::default(), <_>::default()));
        accepted.unwrap();
    }
    house.net.settle();
    house.net.advance(Duration::from_secs(61));
    assert!(viewer.ended().unwrap().contains("expired"));
    assert_eq!(viewer.closed(), None);
    assert_eq!(
        house.relay.borrow().app.metrics().downstream_subscriptions,
        1
    );
}

#[test]
fn rotated_stream_key_ends_its_publisher_and_no_other() {
    let (mut house, publisher) = house();
    let viewer = house.good_viewer("moqt-22", &video());
    let current = ["cred_2".to_owned()];
    house.command(|relay, now| relay.revoke_input(now, "org_2", INPUT, &current));
    house.command(|relay, now| relay.revoke_input(now, ORG, "lv_2", &current));
    let kept = ["cred_2".to_owned(), "cred_1".to_owned()];
    house.command(|relay, now| relay.revoke_input(now, ORG, INPUT, &kept));
    assert_eq!(publisher.closed(), None);
    house.command(|relay, now| relay.revoke_input(now, ORG, INPUT, &current));
    let closed = publisher.closed().unwrap();
    assert!(
        closed.contains("auth_failed: the stream key was replaced"),
        "{closed}"
    );
    assert_eq!(viewer.closed(), None);
}

/// The replaced key is good for a minute more: for those who publish with it, and for one whose
/// answer was on its way.
#[test]
fn publisher_with_a_replaced_key_ends_with_its_grace() {
    let (mut house, publisher) = house();
    let crossing = house.peer("moqt-22", &format!("/publish/{INPUT}?sk={STREAM_KEY}"));
    let valid = ["cred_2".to_owned(), "cred_1".to_owned()];
    let grace = Grace {
        credential: "cred_1".to_owned(),
        until: EPOCH.as_secs() + 60,
    };
    house.command(|relay, now| {
        relay.revoke_input(now, ORG, INPUT, &valid);
        relay.end_grace_at(now, INPUT, grace);
    });
    house.answer(|_| Ok(good_reply()));
    let newer = house.peer("moqt-22", &format!("/publish/{INPUT}?sk={STREAM_KEY}"));
    house.answer(|_| {
        Ok(ResolveReply {
            credential: "cred_2".to_owned(),
            ..good_reply()
        })
    });
    house.net.advance(Duration::from_secs(58));
    for peer in [&publisher, &crossing, &newer] {
        assert_eq!(peer.closed(), None);
    }
    house.net.advance(Duration::from_secs(4));
    for peer in [&publisher, &crossing] {
        let closed = peer.closed().expect("the grace is over");
        assert!(closed.contains("auth_failed"), "{closed}");
    }
    assert_eq!(newer.closed(), None);
}

#[test]
fn publishers_come_again_when_changes_were_missed_and_viewers_stay() {
    let (mut house, publisher) = house();
    let waiting = house.peer("moqt-22", &format!("/publish/{INPUT}?sk={STREAM_KEY}"));
    let viewer = house.good_viewer("moqt-22", &video());
    house.command(Relay::end_publishers);
    for peer in [&publisher, &waiting] {
        let closed = peer.closed().expect("it is to come again");
        assert!(
            closed.contains("connect again") && !closed.contains("auth_failed"),
            "{closed}"
        );
    }
    assert_eq!(viewer.closed(), None);
    // An answer that was on its way finds nobody.
    house.answer(|_| Ok(good_reply()));
    let again = house.publisher("moqt-22");
    assert_eq!(again.closed(), None);
}

#[test]
fn rotation_that_crosses_the_answer_still_ends_the_publisher() {
    let mut house = House::new();
    let path = format!("/publish/{INPUT}?sk={STREAM_KEY}");
    let (old, new) = (house.peer("moqt-22", &path), house.peer("moqt-18", &path));
    let current = ["cred_2".to_owned()];
    house.command(|relay, now| relay.revoke_input(now, ORG, INPUT, &current));
    let mut credentials = ["cred_1", "cred_2"].into_iter();
    house.answer(|_| {
        Ok(ResolveReply {
            credential: credentials.next().unwrap().to_owned(),
            ..good_reply()
        })
    });
    assert!(
        old.closed()
            .unwrap()
            .contains("the stream key was replaced")
    );
    assert_eq!(new.closed(), None);
}

#[test]
fn deleted_input_ends_publisher_and_viewers() {
    let (mut house, publisher) = house();
    let viewer = house.good_viewer("moqt-22", &video());
    house.command(|relay, now| relay.revoke_input(now, ORG, INPUT, &[]));
    assert!(
        publisher
            .closed()
            .unwrap()
            .contains("the input was deleted")
    );
    assert!(viewer.closed().unwrap().contains("the input was deleted"));
}

#[test]
fn publish_address_needs_a_stream_key_that_is_good() {
    let mut house = House::new();
    for draft in DRAFTS {
        let none = house.peer(draft, "/publish/lv_1");
        assert!(none.closed().unwrap().contains("no stream key (sk)"));
        let wrong = house.peer(draft, "/publish/lv_1?sk=sk_live_bad");
        house.answer(|request| {
            assert_eq!(request.sk.as_ref().unwrap().expose(), "sk_live_bad");
            Err(Refusal {
                code: RefusalCode::WrongStreamKey,
                message: "the stream key is wrong".to_owned(),
            })
        });
        let closed = wrong.closed().unwrap();
        assert_eq!(closed, "0x2: auth_failed: the stream key is wrong");
        let broken = house.peer(draft, "/publish/lv_1?sk=sk_live_good");
        house.answer(|_| {
            Err(Refusal {
                code: RefusalCode::Unavailable,
                message: "the control plane is away".to_owned(),
            })
        });
        let closed = broken.closed().unwrap();
        assert!(
            !closed.contains("auth_failed"),
            "not the key's fault: {closed}"
        );
    }
    let shown = format!("{:?}", house.relay.borrow().events);
    assert!(!shown.contains("sk_live"), "no secrets: {shown}");
}

#[test]
fn unanswered_question_ends_the_session_in_time() {
    let mut house = House::new();
    let peer = house.peer("moqt-22", "/publish/lv_1?sk=good");
    let other = house.peer("moqt-22", "/playback/lv_1");
    house.net.advance(Duration::from_secs(9));
    assert_eq!(peer.closed(), None);
    house.net.advance(Duration::from_secs(2));
    assert!(peer.closed().unwrap().contains("did not answer in time"));
    assert_eq!(other.closed(), None);
    // An answer that comes after all changes nothing.
    assert_eq!(house.answer(|_| Ok(good_reply())), 1);
}

#[test]
fn session_of_a_viewer_may_not_publish() {
    covers!("MOQT19-9.5-1", "MOQT19-9.5-2");
    for draft in DRAFTS {
        let mut house = House::new();
        let query = format!("/playback/{INPUT}?tok={}", token("k1", INPUT, 60));
        let viewer = house.peer(draft, &query);
        for namespace in ["publish/lv_1", "playback/lv_1", "stream/org_1/lv_1"] {
            let asked = [
                viewer.announce(namespace),
                viewer.publish(&track_name(namespace, "broadcast")),
            ];
            house.net.settle();
            for request in asked {
                let refusal = viewer.refusal(request).unwrap();
                assert!(refusal.contains("auth_failed: not permitted"), "{refusal}");
            }
        }
        let metrics = house.relay.borrow().app.metrics();
        assert_eq!((metrics.tracks, metrics.namespaces), (0, 0));
    }
}

#[test]
fn publisher_may_not_publish_elsewhere_nor_watch() {
    covers!("MOQT19-9.5-1", "MOQT19-9.5-3");
    let mut house = House::new();
    let publisher = house.publisher("moqt-22");
    for namespace in [
        "publish/lv_2",
        "stream/org_2/lv_1",
        "stream/org_1",
        "playback/lv_1",
    ] {
        let asked = publisher.announce(namespace);
        house.net.settle();
        assert!(
            publisher.refusal(asked).unwrap().contains("auth_failed"),
            "{namespace}"
        );
    }
    let asked = publisher
        .act(|s| s.subscribe(video(), <_>::default()))
        .unwrap();
    house.net.settle();
    assert!(
        publisher
            .refusal(asked)
            .unwrap()
            .contains("a playback token is needed")
    );
}

#[test]
fn what_comes_before_the_answer_waits_within_bounds() {
    let mut house = House::with(Config {
        requests_held_max: 3,
        ..Config::default()
    });
    let peer = house.peer("moqt-22", "/publish/lv_1?sk=good");
    let asked: Vec<_> = ["a", "b", "c"]
        .map(|track| track_name("publish/lv_1", track))
        .to_vec();
    let requests: Vec<_> = asked.iter().map(|track| peer.publish(track)).collect();
    house.net.settle();
    assert!(!requests.iter().any(|request| peer.is_accepted(*request)));
    house.answer(|_| Ok(good_reply()));
    assert!(requests.iter().all(|request| peer.is_accepted(*request)));

    let flood = house.peer("moqt-22", "/publish/lv_1?sk=good");
    for track in ["a", "b", "c", "d"] {
        flood.publish(&track_name("publish/lv_1", track));
    }
    house.net.settle();
    assert!(flood.closed().unwrap().contains("too many requests before"));
    assert_eq!(peer.closed(), None);
    let denied = |event: &Event| matches!(event, Event::Denied { .. });
    assert!(house.relay.borrow().events.iter().any(denied));
}

#[test]
fn request_withdrawn_before_the_answer_leaves_nothing_behind() {
    let mut house = House::new();
    let peer = house.peer("moqt-22", "/publish/lv_1?sk=good");
    let request = peer.publish(&track_name("publish/lv_1", "a"));
    peer.act(|s| s.cancel(request, mainstem_core::moqt::error::StreamCode::CANCELLED))
        .unwrap();
    house.net.settle();
    house.answer(|_| Ok(good_reply()));
    let metrics = house.relay.borrow().app.metrics();
    assert_eq!((metrics.tracks, metrics.upstream_subscriptions), (0, 0));
}

#[test]
fn tokens_hold_for_nobody_without_a_clock() {
    let mut house = House::new();
    *house.relay.borrow_mut() = crate::net::Node {
        app: mainstem_core::moqt::relay::Relay::new(Config::default(), policy(&["k1"], &[])),
        events: Vec::new(),
    };
    let viewer = house.good_viewer("moqt-22", &video());
    assert!(viewer.refusal().unwrap().contains("not valid yet"));
}

#[test]
fn token_that_is_no_token_is_refused_as_malformed() {
    covers!("MOQT19-10.2.2-7");
    for draft in DRAFTS {
        let (mut house, _publisher) = house();
        let viewer = house.viewer(draft, "", &video());
        viewer.subscribe(&video(), vec!["nonsense".to_owned()]);
        house.net.settle();
        let node = viewer.node.borrow();
        let codes: Vec<RequestCode> = node
            .events
            .iter()
            .filter_map(|event| match event {
                subscriber::Event::Rejected { error, .. } => Some(error.code),
                _ => None,
            })
            .collect();
        assert_eq!(codes.last(), Some(&RequestCode::MALFORMED_AUTH_TOKEN));
    }
}

#[test]
fn namespaces_and_tracks_below_a_prefix_need_a_token_too() {
    covers!("MOQT19-10.18-4", "MOQT19-10.19-4");
    for draft in DRAFTS {
        let mut house = House::new();
        let publisher = house.publisher("moqt-22");
        publisher.announce("publish/lv_1");
        publisher.publish(&track_name("publish/lv_1", "video"));
        house.net.settle();
        let stranger = house.peer(draft, &format!("/playback/{INPUT}"));
        let prefix = || video().namespace;
        let none = Parameters::default;
        let asked = [
            stranger
                .act(|s| s.subscribe_namespace(prefix(), none()))
                .unwrap(),
            stranger
                .act(|s| s.subscribe_tracks(prefix(), none()))
                .unwrap(),
        ];
        house.net.settle();
        for request in asked {
            let refusal = stranger.refusal(request).unwrap();
            assert!(refusal.contains("auth_failed"), "{draft} {refusal}");
        }
        let told = |event: &SessionEvent| {
            matches!(
                event,
                SessionEvent::Namespace { .. } | SessionEvent::Request { .. }
            )
        };
        assert!(!stranger.has(told));
    }
}

#[test]
fn path_that_leads_nowhere_ends_the_session_as_invalid() {
    covers!("MOQT19-10.3.1.2-4");
    for draft in DRAFTS {
        for path in ["/publish/", "/publish/a%20b?sk=1"] {
            let mut house = House::new();
            let peer = house.peer(draft, path);
            let closed = peer.closed().unwrap();
            assert!(closed.starts_with("0x8: "), "INVALID_PATH, not {closed}");
        }
    }
}

#[test]
fn sessions_that_are_over_leave_no_deadline_of_their_tokens() {
    let (mut house, publisher) = house();
    for _ in 0..5 {
        let viewer = house.good_viewer("moqt-22", &video());
        house.net.cut(viewer.id, viewer.session);
    }
    house.net.cut(publisher.id, publisher.session);
    // What lingers for a publisher or a viewer that may come back is over by then.
    house.net.advance(Duration::from_secs(30));
    let deadline = house.relay.borrow().app.next_timeout();
    assert_eq!(deadline, None, "nothing is left to wait for");
}

#[test]
fn requests_that_are_refused_leave_no_deadline_of_their_tokens() {
    let mut house = House::new();
    let publisher = house.publisher("moqt-22");
    publisher.announce("publish/lv_1");
    house.net.settle();
    let viewer = house.viewer("moqt-22", "", &video());
    viewer.subscribe(&video(), vec![token("k1", INPUT, 3600)]);
    house.net.settle();
    // Whom the relay asked goes without an answer, and nobody else comes while the viewer waits.
    house.net.cut(publisher.id, publisher.session);
    house.net.advance(Duration::from_secs(30));
    assert!(viewer.refusal().is_some());
    let deadline = house.relay.borrow().app.next_timeout();
    assert_eq!(deadline, None, "nothing is left to wait for");
}
