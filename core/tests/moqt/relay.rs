//! What the relay promises to publishers and viewers, without a network.

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::{self, Publisher};
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{self, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const DRAFTS: [&str; 5] = ["moqt-22", "moqt-21", "moqt-20", "moqt-18", "moqt-16"];
const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

struct World {
    net: Net,
    relay: (NodeId, Rc<RefCell<Node<Relay>>>),
    publisher: (NodeId, Rc<RefCell<Node<Publisher>>>),
}

fn config() -> session::Config {
    session::Config {
        sessions_max: 10_000,
        ..session::Config::default()
    }
}

fn name(track: &str) -> FullTrackName {
    let namespace = TrackNamespace::from_path("stream/org_1/lv_1").unwrap();
    FullTrackName::new(
        namespace,
        TrackName(Bytes::copy_from_slice(track.as_bytes())),
    )
    .unwrap()
}

fn payload(group: u64, object: u64) -> Bytes {
    Bytes::from(format!("{group}/{object}/").repeat(300))
}

impl World {
    fn new(policy: Policy) -> Self {
        let mut net = Net::new(7);
        let relay = net.add(Relay::new(Config::default(), policy));
        let publisher = net.add(Publisher::new(config(), track::Limits::default()));
        Self {
            net,
            relay,
            publisher,
        }
    }

    /// An open relay with a publisher of `video`.
    fn published(draft: &str) -> Self {
        let mut world = Self::new(Policy::Open);
        world.connect_publisher(draft);
        world
    }

    fn connect_publisher(&mut self, draft: &str) -> SessionId {
        {
            let mut node = self.publisher.1.borrow_mut();
            node.app.announce(self.net.now, name("video").namespace);
            node.app.create_track(name("video"), Properties::default());
        }
        let (session, _) = self.net.connect(self.publisher.0, self.relay.0, draft, "/");
        self.net.settle();
        session
    }

    fn publish(&mut self, group: u64, object: u64) {
        let object = Object {
            group,
            object,
            subgroup: Some(0),
            payload: payload(group, object).into(),
            ..Object::default()
        };
        let now = self.net.now;
        self.publisher
            .1
            .borrow_mut()
            .app
            .publish(now, &name("video"), INFO, object);
        self.net.settle();
    }

    fn end_group(&mut self, group: u64) {
        let now = self.net.now;
        self.publisher
            .1
            .borrow_mut()
            .app
            .end_subgroup(now, &name("video"), group, 0);
        self.net.settle();
    }

    fn watch(&mut self, draft: &str) -> Viewer {
        let (id, node) = self.net.add(Subscriber::new(config()));
        let (session, _) = self.net.connect(id, self.relay.0, draft, "/");
        node.borrow_mut()
            .app
            .subscribe(session, name("video"), Parameters::default())
            .unwrap();
        self.net.settle();
        Viewer { id, node, session }
    }
}

struct Viewer {
    id: NodeId,
    node: Rc<RefCell<Node<Subscriber>>>,
    session: SessionId,
}

impl Viewer {
    /// Places and payloads of the objects so far.
    fn seen(&self) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        node.events
            .iter()
            .filter_map(|event| match event {
                subscriber::Event::Object { object, .. } => {
                    assert_eq!(
                        object.payload.to_bytes(),
                        payload(object.group, object.object)
                    );
                    Some((object.group, object.object))
                }
                _ => None,
            })
            .collect()
    }

    fn has(&self, wanted: impl Fn(&subscriber::Event) -> bool) -> bool {
        self.node.borrow().events.iter().any(wanted)
    }
}

#[test]
fn every_object_reaches_every_viewer_in_order_at_every_draft() {
    covers!("MOQT19-9.4-5", "MOQT19-9.7-3");
    for draft in DRAFTS {
        let mut world = World::published(draft);
        let viewers: Vec<Viewer> = DRAFTS.iter().map(|draft| world.watch(draft)).collect();
        let mut expected = Vec::new();
        for group in 10..14 {
            for object in 0..5 {
                world.publish(group, object);
                expected.push((group, object));
            }
            world.end_group(group);
        }
        for viewer in &viewers {
            assert_eq!(viewer.seen(), expected, "publisher at {draft}");
        }
        let metrics = world.relay.1.borrow().app.metrics();
        assert_eq!(metrics.upstream_subscriptions, 1);
        assert_eq!(metrics.downstream_subscriptions, 5);
        assert_eq!(metrics.objects_received, 20);
        assert_eq!(metrics.objects_sent, 100);
        assert_eq!(
            world
                .publisher
                .1
                .borrow()
                .app
                .subscribers_len(&name("video")),
            1
        );
    }
}

#[test]
fn late_viewer_starts_at_the_newest_group_boundary() {
    covers!("MOQT19-9.5-7");
    let mut world = World::published("moqt-22");
    let early = world.watch("moqt-22");
    for group in 1..4 {
        for object in 0..3 {
            world.publish(group, object);
        }
        world.end_group(group);
    }
    world.publish(4, 0);
    world.publish(4, 1);
    let late = world.watch("moqt-18");
    assert_eq!(late.seen(), [(4, 0), (4, 1)]);
    world.publish(4, 2);
    assert_eq!(late.seen(), [(4, 0), (4, 1), (4, 2)]);
    assert_eq!(early.seen().len(), 12);
}

#[test]
fn viewer_that_starts_a_track_gets_the_publishers_current_group() {
    let mut world = World::published("moqt-22");
    world.publish(1, 0);
    world.publish(1, 1);
    let viewer = world.watch("moqt-22");
    assert_eq!(viewer.seen(), [(1, 0), (1, 1)]);
}

#[test]
fn stalled_viewer_loses_old_groups_and_delays_nobody() {
    let mut world = World::published("moqt-22");
    let slow = world.watch("moqt-22");
    let quick = world.watch("moqt-22");
    world.publish(1, 0);
    world.net.stall(slow.id, slow.session, true);
    let mut expected = vec![(1, 0)];
    for group in 2..12 {
        world.net.advance(Duration::from_secs(1));
        for object in 0..4 {
            world.publish(group, object);
            expected.push((group, object));
        }
        world.end_group(group);
    }
    assert_eq!(quick.seen(), expected);
    assert_eq!(slow.seen(), [(1, 0)]);
    let metrics = world.relay.1.borrow().app.metrics();
    assert!(metrics.groups_dropped >= 7, "{metrics:?}");
    world.net.stall(slow.id, slow.session, false);
    world.publish(12, 0);
    let seen = slow.seen();
    assert!(
        seen.contains(&(11, 3)),
        "the newest groups arrive: {seen:?}"
    );
    assert!(seen.contains(&(12, 0)));
    assert!(!seen.contains(&(5, 0)), "old groups are lost: {seen:?}");
    for group in [11, 12] {
        let of_group: Vec<_> = seen.iter().filter(|(of, _)| *of == group).collect();
        assert!(of_group.is_sorted(), "{of_group:?}");
    }
}

#[test]
fn burst_of_groups_is_no_sign_of_a_slow_viewer() {
    let mut world = World::published("moqt-22");
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    world.net.stall(viewer.id, viewer.session, true);
    let mut expected = vec![(1, 0)];
    for group in 2..8 {
        for object in 0..4 {
            world.publish(group, object);
            expected.push((group, object));
        }
        world.end_group(group);
    }
    world.net.stall(viewer.id, viewer.session, false);
    let mut seen = viewer.seen();
    seen.sort_unstable();
    assert_eq!(seen, expected, "nothing is lost of what arrived at once");
}

#[test]
fn viewers_stay_while_their_publisher_is_away() {
    let mut world = World::published("moqt-22");
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    let session = {
        let events = &world.publisher.1.borrow().events;
        let announced = events.iter().find_map(|event| match event {
            publisher::Event::Announced { session } => Some(*session),
            _ => None,
        });
        announced.unwrap()
    };
    world.net.cut(world.publisher.0, session);
    world.net.advance(Duration::from_secs(3));
    assert!(!viewer.has(|event| matches!(event, subscriber::Event::Ended { .. })));
    world.connect_publisher("moqt-18");
    world.publish(2, 0);
    assert_eq!(viewer.seen().last(), Some(&(2, 0)));
}

#[test]
fn viewers_are_let_go_when_the_publisher_does_not_come_back() {
    let mut world = World::published("moqt-22");
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    let session = SessionId(1);
    world.net.cut(world.publisher.0, session);
    world.net.advance(Duration::from_secs(11));
    assert!(viewer.has(|event| matches!(event, subscriber::Event::Ended { .. })));
    let metrics = world.relay.1.borrow().app.metrics();
    assert_eq!((metrics.tracks, metrics.downstream_subscriptions), (0, 0));
}

#[test]
fn ended_track_ends_its_subscriptions_after_the_last_object() {
    let mut world = World::published("moqt-18");
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    world.end_group(1);
    let now = world.net.now;
    world
        .publisher
        .1
        .borrow_mut()
        .app
        .end_track(now, &name("video"));
    world.net.settle();
    assert_eq!(viewer.seen(), [(1, 0)]);
    assert!(viewer.has(|event| matches!(event, subscriber::Event::Ended { .. })));
}

#[test]
fn whoever_comes_after_the_end_of_a_track_gets_its_last_group_and_its_end() {
    for draft in DRAFTS {
        let mut world = World::published(draft);
        for group in 1..3 {
            world.publish(group, 0);
            world.end_group(group);
        }
        let now = world.net.now;
        let end = |world: &World| {
            let mut publisher = world.publisher.1.borrow_mut();
            publisher.app.end_track(now, &name("video"));
        };
        end(&world);
        for _ in 0..2 {
            let viewer = world.watch("moqt-22");
            assert_eq!(viewer.seen(), [(2, 0)], "publisher at {draft}");
            let is_end = |event: &subscriber::Event| matches!(event, subscriber::Event::Ended { reason, .. } if reason.contains("ended"));
            assert!(viewer.has(is_end), "publisher at {draft}");
        }
        world.publish(3, 0);
        let viewer = world.watch(draft);
        assert_eq!(viewer.seen(), [(2, 0)], "nothing follows the end");
        let publisher = world.publisher.1.borrow();
        assert_eq!(publisher.app.subscribers_len(&name("video")), 0);
    }
}

#[test]
fn track_that_is_made_again_after_its_end_goes_on() {
    let mut world = World::published("moqt-18");
    let now = world.net.now;
    {
        let app = &mut world.publisher.1.borrow_mut().app;
        app.end_track(now, &name("video"));
        app.create_track(name("video"), Properties::default());
    }
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    assert_eq!(viewer.seen(), [(1, 0)]);
    assert!(!viewer.has(|event| matches!(event, subscriber::Event::Ended { .. })));
}

#[test]
fn unpublished_track_is_refused() {
    let mut world = World::new(Policy::Open);
    let viewer = world.watch("moqt-22");
    assert!(viewer.has(|event| matches!(event, subscriber::Event::Rejected { .. })));
    assert_eq!(world.relay.1.borrow().app.metrics().tracks, 0);
}

#[test]
fn upstream_subscription_ends_with_the_last_viewer() {
    let mut world = World::published("moqt-22");
    let viewer = world.watch("moqt-22");
    world.publish(1, 0);
    world.net.cut(viewer.id, viewer.session);
    world.net.advance(Duration::from_secs(3));
    let metrics = world.relay.1.borrow().app.metrics();
    assert_eq!((metrics.upstream_subscriptions, metrics.tracks), (0, 0));
    assert_eq!(
        world
            .publisher
            .1
            .borrow()
            .app
            .subscribers_len(&name("video")),
        0
    );
    let again = world.watch("moqt-22");
    assert_eq!(
        again.seen(),
        [(1, 0)],
        "a new viewer finds the current group"
    );
}
