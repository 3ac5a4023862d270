//! TRACK_STATUS at a relay: answered from what is known, handed on, or refused.

use crate::house::Peer;
use crate::offers::{DRAFTS, EVERY_DRAFT, World, name, refused};
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::message::{Message, RequestError, RequestOk};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent};

fn ask(world: &mut World, peer: &Peer) -> RequestId {
    world
        .act(peer, |session| {
            session.track_status(name("a", "one"), Parameters::default())
        })
        .unwrap()
}

fn answer(peer: &Peer, wanted: RequestId) -> Option<RequestOk> {
    peer.find(|event| match event {
        SessionEvent::Accepted {
            request,
            accepted: Accepted::Request(answer),
        } if *request == wanted => Some(answer.clone()),
        _ => None,
    })
}

fn questions(peer: &Peer) -> Vec<RequestId> {
    let node = peer.node.borrow();
    let questions = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Request {
            request,
            message: Message::TrackStatus(_),
        } => Some(*request),
        _ => None,
    });
    questions.collect()
}

#[test]
fn known_track_is_described_as_a_subscribe_ok_would() {
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let properties = PropertiesBuilder::new().dynamic_groups(true).build();
        let parameters = Parameters {
            largest: Some(Location::new(4, 2)),
            ..Parameters::default()
        };
        let track = name("a", "one");
        world.publish_with(&publisher, &track, parameters, properties.clone());
        let asked = ask(&mut world, &viewer);
        let answer = answer(&viewer, asked).expect(draft);
        assert_eq!(answer.parameters.largest, Some(Location::new(4, 2)));
        assert_eq!(answer.properties, properties);
        let is_open = viewer.act(|session| session.request(asked).is_some());
        assert!(!is_open, "the answer ends the request at {draft}");
        let metrics = world.relay.1.borrow().app.metrics();
        assert_eq!(metrics.downstream_subscriptions, 0);
    }
}

#[test]
fn unknown_track_does_not_exist() {
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let viewer = world.peer(draft);
        let asked = ask(&mut world, &viewer);
        let code = Some(RequestCode::DOES_NOT_EXIST);
        assert_eq!(refused(&viewer, asked), code, "{draft}");
    }
}

#[test]
fn publishers_of_the_namespace_are_asked_and_the_first_answer_counts() {
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let (one, two, viewer) = (
            world.peer(draft),
            world.peer("moqt-22"),
            world.peer("moqt-22"),
        );
        for publisher in [&one, &two] {
            publisher.announce("a");
        }
        world.net.settle();
        let asked = ask(&mut world, &viewer);
        let (of_one, of_two) = (questions(&one)[0], questions(&two)[0]);
        let error = RequestError::new(RequestCode::DOES_NOT_EXIST, "not here");
        world
            .act(&one, |session| session.reject(of_one, error))
            .unwrap();
        assert_eq!(answer(&viewer, asked), None);
        let mut known = RequestOk::default();
        known.parameters.largest = Some(Location::new(9, 0));
        world
            .act(&two, |session| session.accept(of_two, known.clone()))
            .unwrap();
        assert_eq!(answer(&viewer, asked), Some(known), "{draft}");
    }
}

#[test]
fn question_ends_with_the_last_publisher_or_with_who_asked() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    publisher.announce("a");
    world.net.settle();
    let asked = ask(&mut world, &viewer);
    world.net.cut(publisher.id, publisher.session);
    assert_eq!(refused(&viewer, asked), Some(RequestCode::DOES_NOT_EXIST));

    let publisher = world.peer("moqt-22");
    publisher.announce("a");
    world.net.settle();
    ask(&mut world, &viewer);
    let question = questions(&publisher)[0];
    world.net.cut(viewer.id, viewer.session);
    let is_open = publisher.act(|session| session.request(question).is_some());
    assert!(!is_open, "the publisher need not answer any more");
}
