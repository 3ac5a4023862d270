//! Participants at a relay: both directions in one session, and tracks that outlive it.

use crate::house::{House, STREAM_KEY, good_reply, session_config, token, track_name};
use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::participant::{Event, Participant, SubscriptionId};
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::time::Instant;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const DRAFTS: [&str; 3] = ["moqt-16", "moqt-18", "moqt-22"];

struct Party {
    id: NodeId,
    node: Rc<RefCell<Node<Participant>>>,
}

impl Party {
    fn new(net: &mut Net) -> Self {
        let (id, node) = net.add(Participant::new(session_config(), track::Limits::default()));
        Self { id, node }
    }

    fn act<R>(&self, net: &mut Net, act: impl FnOnce(&mut Participant, Instant) -> R) -> R {
        let result = act(&mut self.node.borrow_mut().app, net.now);
        net.settle();
        result
    }

    fn offer(&self, net: &mut Net, name: &FullTrackName) {
        let namespace: TrackNamespace = name.namespace.clone();
        self.act(net, |app, now| {
            assert!(app.create_track(name.clone(), Properties::default()));
            app.announce(now, namespace);
        });
    }

    fn write(&self, net: &mut Net, name: &FullTrackName, place: (u64, u64)) {
        let info = SubgroupInfo {
            priority: Some(9),
            has_properties: false,
            end_of_group: true,
            first_object: true,
        };
        let object = Object {
            group: place.0,
            object: place.1,
            subgroup: Some(0),
            priority: Some(9),
            payload: Bytes::from(format!("{place:?}")).into(),
            ..Object::default()
        };
        self.act(net, |app, now| {
            if place.1 == 0 && place.0 > 0 {
                app.end_subgroup(now, name, place.0 - 1, 0);
            }
            app.publish(now, name, info, object);
        });
    }

    fn subscribe(&self, net: &mut Net, name: &FullTrackName) -> SubscriptionId {
        let name = name.clone();
        self.act(net, |app, now| app.subscribe(now, name, None).unwrap())
    }

    fn places(&self, of: SubscriptionId) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        let objects = node.events.iter().filter_map(|event| match event {
            Event::Object {
                subscription,
                object,
            } if *subscription == of => {
                assert_eq!(object.priority, Some(9));
                Some((object.group, object.object))
            }
            _ => None,
        });
        objects.collect()
    }

    fn end_of(&self, of: SubscriptionId) -> Option<String> {
        let node = self.node.borrow();
        node.events.iter().find_map(|event| match event {
            Event::Ended {
                subscription,
                reason,
            } if *subscription == of => Some(reason.clone()),
            _ => None,
        })
    }
}

struct World {
    net: Net,
    relay: NodeId,
    draft: &'static str,
}

impl World {
    fn new(draft: &'static str) -> Self {
        let mut net = Net::new(3);
        let (relay, _) = net.add(Relay::new(Config::default(), Policy::Open));
        Self { net, relay, draft }
    }

    fn connect(&mut self, party: &Party) -> SessionId {
        self.net.connect(party.id, self.relay, self.draft, "/").0
    }
}

#[test]
fn both_directions_share_one_session() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let (one, other) = (Party::new(&mut world.net), Party::new(&mut world.net));
        let (mine, theirs) = (track_name("room/one", "a"), track_name("room/two", "b"));
        one.offer(&mut world.net, &mine);
        other.offer(&mut world.net, &theirs);
        world.connect(&one);
        world.connect(&other);
        let heard = one.subscribe(&mut world.net, &theirs);
        let seen = other.subscribe(&mut world.net, &mine);
        for place in [(1, 0), (1, 1), (2, 0)] {
            one.write(&mut world.net, &mine, place);
            other.write(&mut world.net, &theirs, place);
        }
        assert_eq!(one.places(heard), [(1, 0), (1, 1), (2, 0)], "{draft}");
        assert_eq!(other.places(seen), one.places(heard), "{draft}");
        assert_eq!(one.node.borrow().app.subscribers_len(&mine), 1);
        other.act(&mut world.net, |app, now| app.end_track(now, &theirs));
        world.net.advance(Duration::from_secs(4));
        assert!(one.end_of(heard).is_some(), "{draft}");
        one.act(&mut world.net, |app, _| app.unsubscribe(heard));
    }
}

#[test]
fn tracks_of_both_directions_outlive_their_session() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let (one, other) = (Party::new(&mut world.net), Party::new(&mut world.net));
        let name = track_name("room", "a");
        one.offer(&mut world.net, &name);
        let publishing = world.connect(&one);
        let watching = world.connect(&other);
        let seen = other.subscribe(&mut world.net, &name);
        one.write(&mut world.net, &name, (1, 0));
        world.net.cut(other.id, watching);
        one.write(&mut world.net, &name, (1, 1));
        world.connect(&other);
        one.write(&mut world.net, &name, (1, 2));
        assert_eq!(other.places(seen), [(1, 0), (1, 1), (1, 2)], "{draft}");

        world.net.cut(one.id, publishing);
        one.write(&mut world.net, &name, (2, 0));
        world.connect(&one);
        world.net.advance(Duration::from_secs(1));
        one.write(&mut world.net, &name, (2, 1));
        world.net.advance(Duration::from_secs(1));
        let places = other.places(seen);
        assert_eq!(&places[3..], [(2, 0), (2, 1)], "{draft}");
    }
}

#[test]
fn a_subscription_waits_for_its_publisher() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let (one, other) = (Party::new(&mut world.net), Party::new(&mut world.net));
        let name = track_name("room", "late");
        // There is no session either.
        let seen = other.subscribe(&mut world.net, &name);
        world.connect(&other);
        world.net.advance(Duration::from_secs(5));
        assert_eq!(other.end_of(seen), None, "{draft}");
        one.offer(&mut world.net, &name);
        world.connect(&one);
        one.write(&mut world.net, &name, (1, 0));
        world.net.advance(Duration::from_secs(1));
        assert_eq!(other.places(seen), [(1, 0)], "{draft}");
    }
}

#[test]
fn the_newer_session_takes_over_and_the_older_one_is_closed() {
    let mut world = World::new("moqt-22");
    let (one, other) = (Party::new(&mut world.net), Party::new(&mut world.net));
    let name = track_name("room", "a");
    one.offer(&mut world.net, &name);
    world.connect(&one);
    world.connect(&other);
    let seen = other.subscribe(&mut world.net, &name);
    one.write(&mut world.net, &name, (1, 0));
    world.connect(&other);
    one.write(&mut world.net, &name, (1, 1));
    world.net.advance(Duration::from_secs(2));
    one.write(&mut world.net, &name, (2, 0));
    assert_eq!(other.places(seen), [(1, 0), (1, 1), (2, 0)]);
    let node = other.node.borrow();
    let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
    assert!(!node.events.iter().any(is_closed), "leaving is no news");
}

#[test]
fn sdk_names_meet_at_the_relay_and_a_wrong_token_ends_the_subscription() {
    let mut house = House::new();
    let one = Party::new(&mut house.net);
    let (up, down) = (
        track_name("publish/lv_1", "broadcast"),
        track_name("playback/lv_1", "broadcast"),
    );
    one.offer(&mut house.net, &up);
    let path = format!("/publish/lv_1?sk={STREAM_KEY}");
    house.net.connect(one.id, house.relay_id, "moqt-22", &path);
    house.answer(|_| Ok(good_reply()));
    one.write(&mut house.net, &up, (1, 0));

    for (input, is_let_in) in [("lv_1", true), ("lv_2", false)] {
        let viewer = Party::new(&mut house.net);
        let seen = viewer.subscribe(&mut house.net, &down);
        let path = format!("/playback/lv_1?tok={}", token("k1", input, 60));
        house
            .net
            .connect(viewer.id, house.relay_id, "moqt-22", &path);
        assert_eq!(viewer.places(seen).len(), usize::from(is_let_in));
        let node = viewer.node.borrow();
        let told = format!("{:?}", node.events);
        assert_eq!(told.contains("auth_failed"), !is_let_in, "{told}");
    }
}
