//! A viewer that follows a relay which goes away: the picture goes on.

use super::{Broadcast, INFO, World, name, sessions};
use crate::net::{Node, NodeId};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::property::Properties;
use mainstem_core::viewer::{Event, Selection, Viewer};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const CATALOG: &str = r#"{"version":"1","tracks":[{"name":"video","packaging":"cmaf","role":"video",
    "isLive":true,"codec":"avc1.42C00D","width":16,"height":16,"framerate":25,"timescale":90000}]}"#;

pub(super) struct Watching {
    pub(super) id: NodeId,
    node: Rc<RefCell<Node<Viewer>>>,
}

impl Watching {
    pub(super) fn seen(&self) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        let chunks = node.events.iter().filter_map(|event| match event {
            Event::Chunk(chunk) => Some((chunk.group, chunk.object)),
            _ => None,
        });
        chunks.collect()
    }

    pub(super) fn gaps(&self) -> usize {
        let node = self.node.borrow();
        let is_gap = |event: &&Event| matches!(event, Event::Gap { .. });
        node.events.iter().filter(is_gap).count()
    }

    pub(super) fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.node.borrow().events.iter().any(wanted)
    }
}

impl World {
    /// A publisher with a catalog.
    pub(super) fn broadcast(&mut self, at: &str) -> Broadcast {
        let broadcast = self.publisher(at);
        {
            let mut node = broadcast.node.borrow_mut();
            node.app
                .create_track(name("catalog"), Properties::default());
            let object = Object {
                subgroup: Some(0),
                payload: bytes::Bytes::from_static(CATALOG.as_bytes()).into(),
                ..Object::default()
            };
            node.app
                .publish(self.net.now, &name("catalog"), INFO, object);
        }
        self.settle();
        broadcast
    }

    pub(super) fn view(&mut self, at: &str) -> Watching {
        let viewer = Viewer::new(sessions(), name("video").namespace, Selection::OneOfEach);
        let (id, node) = self.net.add(viewer);
        self.net.connect(id, self.relays[at].0, self.protocol, "/");
        self.settle();
        Watching { id, node }
    }

    pub(super) fn follow(&mut self, watching: &Watching, to: &str) {
        self.net
            .connect(watching.id, self.relays[to].0, self.protocol, "/");
        self.settle();
    }
}

pub(super) fn expected(groups: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    groups
        .flat_map(|group| (0..4).map(move |object| (group, object)))
        .collect()
}

/// A viewer at A, which goes away, with B behind it.
fn leaving() -> (World, Broadcast, Watching) {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    let broadcast = world.broadcast("a");
    let watching = world.view("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    assert_eq!(
        watching.seen().len(),
        6,
        "{:?}",
        watching.node.borrow().events
    );
    let now = world.net.now;
    let relay = Rc::clone(&world.relays["a"].1);
    relay
        .borrow_mut()
        .app
        .drain(now, "b", Duration::from_secs(10));
    world.settle();
    assert!(watching.has(|event| matches!(event, Event::Goaway { uri } if uri == "b")));
    (world, broadcast, watching)
}

#[test]
fn a_viewer_that_follows_a_relay_loses_and_doubles_nothing() {
    let (mut world, broadcast, watching) = leaving();
    world.publish(&broadcast, 2, 2..3);
    world.follow(&watching, "b");
    world.publish(&broadcast, 2, 3..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..4);
    world.advance(Duration::from_secs(1));
    assert_eq!(watching.seen(), expected(1..=3));
    assert!(watching.has(|event| matches!(event, Event::Moved)));
    assert!(!watching.has(|event| matches!(
        event,
        Event::Gap { .. } | Event::Closed(_) | Event::TrackEnded { .. }
    )));
    assert_eq!(world.metrics("b").downstream_subscriptions, 2);
}

#[test]
fn a_viewer_whose_new_relay_is_not_there_yet_goes_on_with_the_old_one() {
    let (mut world, broadcast, watching) = leaving();
    let session = world.net.open_loose(watching.id);
    world.net.end_loose(watching.id, session);
    assert!(watching.has(|event| matches!(event, Event::MoveFailed { .. })));
    world.publish(&broadcast, 2, 2..4);
    world.end_group(&broadcast, 2);
    world.follow(&watching, "b");
    world.publish(&broadcast, 3, 0..4);
    world.advance(Duration::from_secs(1));
    assert_eq!(watching.seen(), expected(1..=3));
    assert!(watching.has(|event| matches!(event, Event::Moved)));
}

#[test]
fn a_viewer_that_comes_before_the_publisher_waits_with_the_old_relay() {
    let mut world = World::new();
    world.relay("a", &[]);
    // No way from here to the publisher until it comes itself.
    world.relay("b", &[]);
    let broadcast = world.broadcast("a");
    let watching = world.view("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    let now = world.net.now;
    let relay = Rc::clone(&world.relays["a"].1);
    relay
        .borrow_mut()
        .app
        .drain(now, "b", Duration::from_secs(20));
    world.settle();
    world.follow(&watching, "b");
    world.publish(&broadcast, 2, 0..4);
    world.advance(Duration::from_secs(3));
    assert_eq!(watching.seen(), expected(1..=2), "by the old relay");
    world
        .net
        .connect(broadcast.id, world.relays["b"].0, "moqt-22", "/");
    world.settle();
    world.advance(Duration::from_secs(1));
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..4);
    world.advance(Duration::from_secs(2));
    assert_eq!(watching.seen(), expected(1..=3));
    assert!(watching.has(|event| matches!(event, Event::Moved)));
    assert_eq!(world.drained.get("a"), Some(&0));
}
