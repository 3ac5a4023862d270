//! What a relay answers to fetches and to questions about tracks: when, and with which properties.

use crate::house::Peer;
use crate::offers::{World, name, refused};
use crate::passing::{DRAFTS, PROPERTIES, answer, header, object};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, Message};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent};

/// The FETCHes that a peer was asked.
pub(crate) fn fetches(peer: &Peer) -> Vec<RequestId> {
    let node = peer.node.borrow();
    let asked = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Request {
            request,
            message: Message::Fetch(_),
        } => Some(*request),
        _ => None,
    });
    asked.collect()
}

pub(crate) fn fetch(world: &mut World, viewer: &Peer) -> RequestId {
    let ask = Fetch {
        request_id: RequestId(0),
        target: FetchTarget::Track(name("a", "one")),
        parameters: Parameters::default(),
    };
    world.act(viewer, |s| s.fetch(ask)).unwrap()
}

fn fetch_answer(viewer: &Peer) -> Option<FetchOk> {
    viewer.find(|event| match event {
        SessionEvent::Accepted {
            accepted: Accepted::Fetch(answer),
            ..
        } => Some(answer.clone()),
        _ => None,
    })
}

#[test]
fn a_fetch_is_answered_when_its_end_is_known() {
    covers!("MOQT19-9.4-3", "MOQT19-10.13-1", "MOQT20-9.5-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let viewer = world.peer(draft);
        fetch(&mut world, &viewer);
        let upstream = fetches(&publisher)[0];
        assert_eq!(fetch_answer(&viewer), None);
        let answer = FetchOk::new(Location::new(4, 9), false, Properties::default());
        world
            .act(&publisher, |s| s.accept_fetch(upstream, answer))
            .unwrap();
        let end = fetch_answer(&viewer).map(|answer| answer.end());
        assert_eq!(end, Some(Location::new(4, 9)), "{draft}");
    }
}

#[test]
fn a_fetch_from_a_track_with_an_unknown_mandatory_property_is_refused() {
    covers!("MOQT19-2.5.1-7");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let viewer = world.peer(draft);
        let request = fetch(&mut world, &viewer);
        let upstream = fetches(&publisher)[0];
        let mandatory = Properties::from_track(Bytes::from(hex("c0 40 00 01"))).unwrap();
        let answer = FetchOk::new(Location::new(4, 9), false, mandatory);
        world
            .act(&publisher, |s| s.accept_fetch(upstream, answer))
            .unwrap();
        let code = refused(&viewer, request);
        assert_eq!(code, Some(RequestCode::UNSUPPORTED_EXTENSION), "{draft}");
    }
}

#[test]
fn properties_of_a_track_are_told_wherever_it_is_spoken_of() {
    covers!("MOQT19-9.6-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let block = Bytes::from(hex(PROPERTIES));
        let properties = || Properties::from_track(block.clone()).unwrap();
        let track = name("a", "one");
        let none = Parameters::default;
        let request = world.publish_with(&publisher, &track, none(), properties());
        let (subscribed, _) = world.watch(draft, None);
        let stream = world.open(&publisher, request, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), true);
        let [offered, asked, fetched] = [(); 3].map(|()| world.peer(draft));
        world.wish(&offered, "a", none());
        world
            .act(&asked, |s| s.track_status(track, none()))
            .unwrap();
        fetch(&mut world, &fetched);
        let told = asked.find(|event| match event {
            SessionEvent::Accepted {
                accepted: Accepted::Request(answer),
                ..
            } => Some(answer.properties.clone()),
            _ => None,
        });
        for (what, seen) in [
            ("SUBSCRIBE_OK", answer(&subscribed).map(|(_, told)| told)),
            (
                "PUBLISH",
                crate::offers::offers(&offered)
                    .pop()
                    .map(|offer| offer.properties),
            ),
            ("TRACK_STATUS_OK", told),
            (
                "FETCH_OK",
                fetch_answer(&fetched).map(|answer| answer.properties),
            ),
        ] {
            assert_eq!(seen, Some(properties()), "{draft} {what}");
        }
    }
}

#[test]
fn faulty_range_filters_are_refused_in_fetch_and_in_subscribe_tracks() {
    use mainstem_core::moqt::filter::{RangeFilter, RangeSubject};
    covers!("MOQT19-10.2.14-1");
    let objects = [
        (
            "past 64 bits",
            RangeSubject::Object,
            "00 01 ff ffffffffffffffff",
        ),
        ("priority above 255", RangeSubject::Priority, "00 80 fa 06"),
        (
            "odd object property",
            RangeSubject::ObjectProperty,
            "00 3d 02",
        ),
    ];
    let tracks = [
        (
            "odd track property",
            RangeSubject::TrackProperty,
            "00 3d 02",
        ),
        (
            "past 64 bits",
            RangeSubject::TrackProperty,
            "00 3c 01 ff ffffffffffffffff",
        ),
    ];
    let parameters = |subject, value: &str| Parameters {
        range_filters: vec![RangeFilter {
            subject,
            value: Bytes::from(hex(value)),
        }],
        ..Parameters::default()
    };
    for draft in ["moqt-22", "moqt-20"] {
        for (what, subject, value) in objects {
            let mut world = World::new();
            let publisher = world.peer("moqt-22");
            let request = world.publish(&publisher, &name("a", "one"));
            let (_early, _) = world.watch("moqt-22", None);
            let stream = world.open(&publisher, request, header(1, 0));
            world.write(&publisher, stream, &object(1, 0, 0), true);
            let viewer = world.peer(draft);
            let ask = Fetch {
                request_id: RequestId(0),
                target: FetchTarget::Track(name("a", "one")),
                parameters: parameters(subject, value),
            };
            let fetched = world.act(&viewer, |s| s.fetch(ask)).unwrap();
            let code = Some(RequestCode::INVALID_FILTER);
            assert_eq!(refused(&viewer, fetched), code, "{draft} {what}");
        }
        for (what, subject, value) in tracks {
            let mut world = World::new();
            let viewer = world.peer(draft);
            let wish = world.wish(&viewer, "a", parameters(subject, value));
            let code = Some(RequestCode::INVALID_FILTER);
            assert_eq!(refused(&viewer, wish), code, "{draft} {what}");
        }
    }
}
