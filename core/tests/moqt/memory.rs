//! What a relay keeps is bounded, whoever sends and whoever does not read.

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::{Config, Metrics, Policy, Relay};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{Event, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};
const OBJECT: usize = 1000;

struct World {
    net: Net,
    relay: (NodeId, Rc<RefCell<Node<Relay>>>),
    publisher: Rc<RefCell<Node<Publisher>>>,
}

struct Viewer {
    id: NodeId,
    session: SessionId,
    node: Rc<RefCell<Node<Subscriber>>>,
}

fn name(track: usize) -> FullTrackName {
    let namespace = TrackNamespace::from_path("stream/memory").unwrap();
    FullTrackName::new(namespace, TrackName(Bytes::from(track.to_string()))).unwrap()
}

impl World {
    fn new(config: Config, tracks: usize) -> Self {
        let sessions = session::Config {
            sessions_max: 1000,
            ..session::Config::default()
        };
        let mut net = Net::new(5);
        let relay = net.add(Relay::new(config, Policy::Open));
        let (id, publisher) = net.add(Publisher::new(sessions, track::Limits::default()));
        {
            let mut node = publisher.borrow_mut();
            node.app.announce(net.now, name(0).namespace);
            for track in 0..tracks {
                node.app.create_track(name(track), Properties::default());
            }
        }
        net.connect(id, relay.0, "moqt-22", "/");
        net.settle();
        Self {
            net,
            relay,
            publisher,
        }
    }

    fn watch(&mut self, tracks: std::ops::Range<usize>) -> Viewer {
        let sessions = session::Config {
            sessions_max: 10,
            ..session::Config::default()
        };
        let (id, node) = self.net.add(Subscriber::new(sessions));
        let (session, _) = self.net.connect(id, self.relay.0, "moqt-22", "/");
        for track in tracks {
            let mut node = node.borrow_mut();
            node.app
                .subscribe(session, name(track), Parameters::default())
                .unwrap();
        }
        self.net.settle();
        Viewer { id, session, node }
    }

    fn publish(&mut self, track: usize, group: u64, object: u64, bytes: usize) {
        let object = Object {
            group,
            object,
            subgroup: Some(0),
            payload: Bytes::from(vec![7; bytes]).into(),
            ..Object::default()
        };
        let mut node = self.publisher.borrow_mut();
        node.app.publish(self.net.now, &name(track), INFO, object);
    }

    fn end_group(&mut self, track: usize, group: u64) {
        let mut node = self.publisher.borrow_mut();
        node.app.end_subgroup(self.net.now, &name(track), group, 0);
    }

    fn metrics(&self) -> Metrics {
        self.relay.1.borrow().app.metrics()
    }
}

impl Viewer {
    fn places(&self) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        let places = node.events.iter().filter_map(|event| match event {
            Event::Object { object, .. } => Some((object.group, object.object)),
            _ => None,
        });
        places.collect()
    }
}

#[test]
fn budget_holds_with_a_thousand_tracks_and_every_track_keeps_its_newest_group() {
    const TRACKS: usize = 1000;
    let budget = TRACKS * OBJECT + TRACKS * OBJECT / 2;
    let config = Config {
        cache_bytes_max: budget,
        ..Config::default()
    };
    let mut world = World::new(config, TRACKS);
    let viewer = world.watch(0..TRACKS);
    for group in 0..3 {
        for track in 0..TRACKS {
            world.publish(track, group, 0, OBJECT);
            world.end_group(track, group);
        }
        world.net.advance(Duration::from_secs(1));
        let metrics = world.metrics();
        assert!(metrics.cache_bytes <= budget, "{metrics:?}");
        assert!(metrics.groups_evictable <= TRACKS * 8, "{metrics:?}");
    }
    assert_eq!(viewer.places().len(), 3 * TRACKS);
    let metrics = world.metrics();
    assert_eq!(metrics.groups_evicted, 3 * 1000 - 1500);
    assert_eq!(metrics.groups_evictable, 500);
    let late = world.watch(0..100);
    assert_eq!(late.places(), vec![(2, 0); 100]);
    // Nothing is left behind when the tracks go.
    for viewer in [viewer, late] {
        world.net.cut(viewer.id, viewer.session);
    }
    world.net.advance(Duration::from_mins(1));
    let metrics = world.metrics();
    assert_eq!((metrics.tracks, metrics.cache_bytes), (0, 0));
    assert_eq!(metrics.groups_evictable, 0);
}

#[test]
fn budget_below_the_newest_groups_takes_everything_else() {
    let config = Config {
        cache_bytes_max: 1,
        ..Config::default()
    };
    let mut world = World::new(config, 10);
    let _viewer = world.watch(0..10);
    for group in 0..5 {
        for track in 0..10 {
            world.publish(track, group, 0, OBJECT);
        }
        world.net.settle();
        assert!(world.metrics().cache_bytes <= 10 * OBJECT);
        assert_eq!(world.metrics().groups_evictable, 0);
    }
}

#[test]
fn objects_beyond_the_hard_bound_are_refused_and_leave_no_hole_in_a_stream() {
    let config = Config {
        cache_bytes_max: OBJECT,
        cache_bytes_hard_max: 10 * OBJECT,
        ..Config::default()
    };
    let mut world = World::new(config, 1);
    let viewer = world.watch(0..1);
    for object in 0..20 {
        world.publish(0, 0, object, OBJECT);
        world.net.settle();
    }
    // A small one that would fit again: it comes on a stream of its own.
    assert_eq!(world.metrics().cache_bytes, 10 * OBJECT);
    assert_eq!(world.metrics().objects_over_limit, 10);
    let whole: Vec<(u64, u64)> = (0..10).map(|object| (0, object)).collect();
    assert_eq!(viewer.places(), whole);
    let is_reset = |event: &Event| {
        matches!(event, Event::SubgroupEnded { end, .. }
            if *end != session::StreamEnd::Finished)
    };
    assert!(viewer.node.borrow().events.iter().any(is_reset));
    // The next group takes the place of the one that is too large.
    world.publish(0, 1, 0, 10);
    world.net.settle();
    assert!(world.metrics().cache_bytes <= 10 * OBJECT);
}

#[test]
fn stalled_viewer_pins_a_bounded_amount_and_lets_go_of_it() {
    let limits = Config::default().track;
    let mut world = World::new(Config::default(), 1);
    let stalled = world.watch(0..1);
    let quick = world.watch(0..1);
    world.publish(0, 0, 0, OBJECT);
    world.net.settle();
    world.net.stall(stalled.id, stalled.session, true);
    let mut most = 0;
    for group in 1..100 {
        for object in 0..30 {
            world.publish(0, group, object, 10 * OBJECT);
        }
        world.end_group(0, group);
        world.net.advance(Duration::from_secs(1));
        let waiting = world.net.waiting_bytes(stalled.id, stalled.session);
        most = most.max(waiting);
    }
    let per_group = limits.burst_bytes + 11 * OBJECT;
    let bound = (limits.burst_groups_max + 1) * per_group;
    assert!(most <= bound, "{most} bytes wait, bound {bound}");
    let steady = (limits.groups_behind_max + 2) * per_group;
    let waiting = world.net.waiting_bytes(stalled.id, stalled.session);
    assert!(waiting <= steady, "{waiting} bytes wait, {steady} expected");
    assert_eq!(quick.places().len(), 99 * 30 + 1);
    world.net.stall(stalled.id, stalled.session, false);
    world.net.settle();
    assert_eq!(world.net.waiting_bytes(stalled.id, stalled.session), 0);
}
