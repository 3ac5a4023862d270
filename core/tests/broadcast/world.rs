//! An encoder's packager, a broadcaster, an open relay, and viewers of single tracks.

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::broadcast::{self, Broadcaster};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::{self, Policy, Relay};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{Event, Subscriber};
use mainstem_core::packager::{Config, Input, Output, Packager};
use mainstem_core::time::UnixTime;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::rc::Rc;

/// The id of the first group.
pub(crate) const FIRST_GROUP: u64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) relay: NodeId,
    pub(crate) id: NodeId,
    pub(crate) broadcaster: Rc<RefCell<Node<Broadcaster>>>,
    pub(crate) session: SessionId,
    pub(crate) packager: Packager,
}

pub(crate) struct Viewer {
    node: Rc<RefCell<Node<Subscriber>>>,
}

pub(crate) fn namespace() -> TrackNamespace {
    TrackNamespace::from_path("stream/org_1/lv_1").unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(broadcast::Config::default())
    }

    pub(crate) fn with(config: broadcast::Config) -> Self {
        let mut net = Net::new(3);
        let (relay, _) = net.add(Relay::new(relay::Config::default(), Policy::Open));
        let broadcaster = Broadcaster::new(net.now, config, namespace(), FIRST_GROUP);
        let (id, broadcaster) = net.add(broadcaster);
        let (session, _) = net.connect(id, relay, "moqt-22", "/");
        Self {
            net,
            relay,
            id,
            broadcaster,
            session,
            packager: Packager::new(Config::default()),
        }
    }

    /// The encoder does something; what comes of it is published.
    pub(crate) fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.packager.handle(input);
            while let Some(output) = self.packager.poll() {
                let now = self.net.now;
                let app = &mut self.broadcaster.borrow_mut().app;
                match output {
                    Output::Tracks(tracks) => {
                        let time = UnixTime::from_millis(FIRST_GROUP + now.as_nanos() / 1_000_000);
                        app.set_tracks(now, time, &tracks).unwrap();
                    }
                    Output::Chunk(chunk) => app.publish(now, &chunk).unwrap(),
                    Output::Fault(fault) => panic!("{fault}"),
                }
            }
            self.net.settle();
        }
    }

    /// Another encoder takes the place of the one before.
    pub(crate) fn new_encoder(&mut self) {
        self.packager = Packager::new(Config::default());
    }

    pub(crate) fn watch(&mut self, track: &str) -> Viewer {
        let config = session::Config {
            sessions_max: 1,
            ..session::Config::default()
        };
        let (id, node) = self.net.add(Subscriber::new(config));
        let (session, _) = self.net.connect(id, self.relay, "moqt-22", "/");
        let name = TrackName(Bytes::copy_from_slice(track.as_bytes()));
        let name = FullTrackName::new(namespace(), name).unwrap();
        node.borrow_mut()
            .app
            .subscribe(session, name, Parameters::default())
            .unwrap();
        self.net.settle();
        Viewer { node }
    }

    pub(crate) fn events(&self) -> Vec<broadcast::Event> {
        self.broadcaster.borrow().events.clone()
    }
}

impl Viewer {
    /// The objects so far, in order of groups.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let node = self.node.borrow();
        let mut objects: Vec<Object> = node
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Object { object, .. } => Some(object.clone()),
                _ => None,
            })
            .collect();
        objects.sort_by_key(|object| (object.group, object.object));
        objects
    }

    /// Groups counted from the first, and how many objects each has; ids within are 0, 1, 2 ...
    pub(crate) fn groups(&self) -> Vec<(u64, usize)> {
        let mut groups: Vec<(u64, usize)> = Vec::new();
        for object in self.objects() {
            let group = object.group - FIRST_GROUP;
            if groups.last().is_none_or(|(last, _)| *last != group) {
                groups.push((group, 0));
            }
            let (_, count) = groups.last_mut().unwrap();
            assert_eq!(object.object, *count as u64, "objects are numbered from 0");
            *count += 1;
        }
        groups
    }

    pub(crate) fn has_ended(&self) -> bool {
        let node = self.node.borrow();
        node.events
            .iter()
            .any(|event| matches!(event, Event::Ended { .. }))
    }
}
