//! Who may fetch, and when that ends.

use crate::house::{House, INPUT, Peer, token, track_name};
use bytes::Bytes;
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, Message};
use mainstem_core::moqt::name::RequestId;
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::relay::Config;
use mainstem_core::moqt::session::Event as SessionEvent;
use std::time::Duration;

const DRAFTS: [&str; 3] = ["moqt-22", "moqt-20", "moqt-18"];

fn fetch(peer: &Peer, tokens: &[String]) -> RequestId {
    let token = |value: &String| AuthorizationToken::UseValue {
        token_type: 0,
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    let message = Fetch {
        request_id: RequestId(0),
        target: FetchTarget::Track(track_name("playback/lv_1", "video/720p")),
        parameters: Parameters {
            authorization_tokens: tokens.iter().map(token).collect(),
            ..Parameters::default()
        },
    };
    peer.act(|session| session.fetch(message)).unwrap()
}

fn house() -> (House, Peer) {
    let mut config = Config::default();
    config.fetch.upstream_timeout = Duration::from_hours(1);
    let mut house = House::with(config);
    let publisher = house.publisher("moqt-22");
    publisher.announce("publish/lv_1");
    house.net.settle();
    (house, publisher)
}

fn asked(publisher: &Peer) -> Option<(RequestId, FetchTarget)> {
    publisher.find(|event| match event {
        SessionEvent::Request {
            request,
            message: Message::Fetch(fetch),
        } => Some((*request, fetch.target.clone())),
        _ => None,
    })
}

#[test]
fn fetch_without_a_token_is_refused_and_nobody_is_asked() {
    for draft in DRAFTS {
        let (mut house, publisher) = house();
        let peer = house.peer(draft, "/");
        let request = fetch(&peer, &[]);
        house.net.settle();
        let reason = peer.refusal(request).unwrap();
        assert!(reason.starts_with("UNAUTHORIZED"), "{draft}: {reason}");
        let other = fetch(&peer, &[token("k1", "lv_other", 60)]);
        house.net.settle();
        assert!(peer.refusal(other).is_some(), "{draft}");
        assert_eq!(asked(&publisher), None, "{draft}");
    }
}

#[test]
fn fetch_ends_when_its_token_does() {
    for draft in DRAFTS {
        let (mut house, publisher) = house();
        let peer = house.peer(draft, "/");
        let request = fetch(&peer, &[token("k1", INPUT, 5)]);
        house.net.settle();
        let (of_relay, target) = asked(&publisher).unwrap();
        let spelled = track_name("publish/lv_1", "video/720p");
        assert_eq!(target, FetchTarget::Track(spelled), "in its own words");
        let answer = FetchOk {
            end_of_track: false,
            end_group: 4,
            end_object: Some(7),
            parameters: Parameters::default(),
            properties: Properties::default(),
        };
        publisher
            .act(|session| session.accept_fetch(of_relay, answer))
            .unwrap();
        house.net.settle();
        assert!(peer.is_accepted(request), "{draft}");
        // Less than a publisher may take to send the objects.
        house.net.advance(Duration::from_secs(9));
        let end = peer.find(|event| match event {
            SessionEvent::Cancelled { request: of, code } if *of == request => *code,
            _ => None,
        });
        assert_eq!(end, Some(StreamCode::EXPIRED_AUTH_TOKEN), "{draft}");
        assert_eq!(peer.closed(), None, "{draft}");
        house.net.advance(Duration::from_mins(1));
        let metrics = house.relay.borrow().app.metrics();
        assert_eq!((metrics.fetches, metrics.tracks), (0, 0), "{draft}");
    }
}
