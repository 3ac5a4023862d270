//! What an original publisher says of its streams and objects, seen by a bare session.

use crate::house::{Peer, Sdk, session_config, track_name};
use crate::net::{Net, Node, NodeId};
use crate::passing::{DRAFTS, object, objects, seen};
use bytes::Bytes;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::name::{FullTrackName, Location};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::session::Sessions;
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use std::cell::RefCell;
use std::rc::Rc;

struct World {
    net: Net,
    publisher: (NodeId, Rc<RefCell<Node<Publisher>>>),
    draft: &'static str,
}

fn track() -> FullTrackName {
    track_name("a", "one")
}

impl World {
    fn new(draft: &'static str) -> Self {
        let mut net = Net::new(5);
        let publisher = net.add(Publisher::new(session_config(), track::Limits::default()));
        let app = &mut publisher.1.borrow_mut().app;
        app.create_track(track(), Properties::default());
        Self {
            net,
            publisher: (publisher.0, Rc::clone(&publisher.1)),
            draft,
        }
    }

    fn publish(&mut self, object: Object) {
        // The publisher knows by itself which object is the first.
        let info = SubgroupInfo {
            priority: Some(7),
            has_properties: false,
            end_of_group: false,
            first_object: false,
        };
        let now = self.net.now;
        let node = &self.publisher.1;
        node.borrow_mut().app.publish(now, &track(), info, object);
        self.net.settle();
    }

    fn watch(&mut self, filter: Option<Filter>) -> Peer {
        let (id, node) = self.net.add(Sdk {
            sessions: Sessions::new(session_config()),
        });
        let (_, session) = self.net.connect(self.publisher.0, id, self.draft, "/");
        let peer = Peer { id, node, session };
        let parameters = Parameters {
            filter,
            ..Parameters::default()
        };
        peer.act(|session| session.subscribe(track(), parameters))
            .unwrap();
        self.net.settle();
        peer
    }
}

/// Of each stream: its subgroup, its first object, and whether that is said to be the first of all.
fn beginnings(viewer: &Peer) -> Vec<(u64, u64, bool)> {
    let mut known = Vec::new();
    let mut beginnings = Vec::new();
    for (stream, header, object) in seen(viewer) {
        if !known.contains(&stream) {
            known.push(stream);
            let subgroup = object.subgroup.unwrap_or_default();
            beginnings.push((subgroup, object.object, header.first_object));
        }
    }
    beginnings
}

#[test]
fn the_stream_that_opens_a_subgroup_says_so() {
    covers!("MOQT19-2.2-3");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let early = world.watch(None);
        for (subgroup, id) in [(0, 0), (1, 1), (0, 2)] {
            world.publish(object(1, subgroup, id));
        }
        let start = Location::ZERO;
        let whole = world.watch(Some(Filter::Absolute { start }));
        let next = world.watch(Some(Filter::NextObject));
        for (subgroup, id) in [(0, 3), (1, 4), (2, 5)] {
            world.publish(object(1, subgroup, id));
        }
        let all = [(0, 0, true), (1, 1, true), (2, 5, true)];
        assert_eq!(beginnings(&early), all, "{draft}");
        assert_eq!(beginnings(&whole), all, "{draft}");
        let rest = [(0, 3, false), (1, 4, false), (2, 5, true)];
        assert_eq!(beginnings(&next), rest, "{draft}");
    }
}

#[test]
fn what_is_published_stays_as_it_is() {
    covers!("MOQT19-2.1-1");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let early = world.watch(None);
        let first = object(1, 0, 0);
        world.publish(first.clone());
        world.publish(Object {
            payload: Bytes::from_static(b"another").into(),
            ..object(1, 0, 0)
        });
        world.publish(Object {
            payload: Bytes::from_static(b"another").into(),
            ..object(1, 1, 0)
        });
        let start = Location::ZERO;
        let late = world.watch(Some(Filter::Absolute { start }));
        for viewer in [early, late] {
            assert_eq!(objects(&viewer), std::slice::from_ref(&first), "{draft}");
        }
    }
}
