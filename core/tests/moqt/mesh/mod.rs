//! Relays that are each other's upstreams, without a network: a world of relays by name, whose
//! questions to connect are answered by the test.

mod chain;
mod goaway;
mod many;
mod moving;
mod resuming;
mod trust;

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::mesh::{self, RelayId, Upstream};
use mainstem_core::moqt::relay::{Config, Event, Metrics, Policy, Relay};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{self, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::resolve::Secret;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const SECRET: &str = "the mesh's own";
const DRAFT: &str = "moqt-22";
const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

type Running<A> = (NodeId, Rc<RefCell<Node<A>>>);

struct World {
    net: Net,
    relays: BTreeMap<&'static str, Running<Relay>>,
    protocol: &'static str,
    next_id: u8,
    news: BTreeMap<&'static str, Vec<mesh::News>>,
    drained: BTreeMap<&'static str, usize>,
    limits: mesh::Limits,
}

fn sessions() -> session::Config {
    session::Config {
        sessions_max: 10_000,
        ..session::Config::default()
    }
}

fn name(track: &str) -> FullTrackName {
    let namespace = TrackNamespace::from_path("stream/org_1/lv_1").unwrap();
    let track = TrackName(Bytes::copy_from_slice(track.as_bytes()));
    FullTrackName::new(namespace, track).unwrap()
}

fn payload(group: u64, object: u64) -> Bytes {
    Bytes::from(format!("{group}/{object}/").repeat(300))
}

impl World {
    fn new() -> Self {
        Self {
            net: Net::new(11),
            relays: BTreeMap::new(),
            protocol: DRAFT,
            next_id: 0,
            news: BTreeMap::new(),
            drained: BTreeMap::new(),
            limits: mesh::Limits::default(),
        }
    }

    /// Starts a relay, anew if it was there, with these upstreams as members.
    fn relay(&mut self, at: &'static str, upstreams: &[&str]) {
        self.relay_with(at, upstreams, Some(SECRET), true);
    }

    fn relay_with(
        &mut self,
        at: &'static str,
        upstreams: &[&str],
        secret: Option<&str>,
        is_member: bool,
    ) {
        self.relay_of(at, upstreams, secret, is_member, Policy::Open);
    }

    fn relay_of(
        &mut self,
        at: &'static str,
        upstreams: &[&str],
        secret: Option<&str>,
        is_member: bool,
        policy: Policy,
    ) {
        self.next_id += 1;
        let config = Config {
            mesh: mesh::Config {
                relay_id: RelayId([self.next_id; 16]),
                secret: secret.map(Secret::new),
                seed: u64::from(self.next_id) * 77,
                limits: self.limits,
            },
            ..Config::default()
        };
        let mut relay = Relay::new(config, policy);
        relay.set_clock(self.net.now, crate::house::EPOCH);
        let upstreams: BTreeSet<Upstream> = upstreams
            .iter()
            .map(|url| Upstream {
                url: (*url).to_owned(),
                is_member,
            })
            .collect();
        relay.set_upstreams(self.net.now, &upstreams);
        let running = self.net.add(relay);
        self.relays.insert(at, running);
        self.settle();
    }

    /// Ends a relay without a word.
    fn kill(&mut self, at: &'static str) {
        let (id, node) = self.relays.remove(at).unwrap();
        self.net.cut_all(id);
        // What it still wants to do no longer happens.
        node.borrow_mut().events.clear();
        self.settle();
    }

    /// Delivers, and answers relays that want to connect, until nothing moves.
    fn settle(&mut self) {
        loop {
            self.net.settle();
            let mut wishes = Vec::new();
            for (at, (id, node)) in &self.relays {
                for event in node.borrow_mut().events.drain(..) {
                    match event {
                        Event::Dial { upstream, url } => wishes.push((*at, *id, upstream, url)),
                        Event::Mesh(news) => self.news.entry(at).or_default().push(news),
                        Event::Drained { late } => {
                            self.drained.insert(at, late);
                        }
                        _ => {}
                    }
                }
            }
            if wishes.is_empty() {
                return;
            }
            for (at, id, upstream, url) in wishes {
                let now = self.net.now;
                let client = Rc::clone(&self.relays[at].1);
                let server = self.relays.get(url.as_str()).map(|(server, _)| *server);
                if let Some(server) = server {
                    self.net
                        .connect_named(id, server, self.protocol, "/", |session| {
                            let app = &mut client.borrow_mut().app;
                            app.dialled(now, upstream, Ok(session));
                        });
                } else {
                    let reason = Err("nobody is there".to_owned());
                    client.borrow_mut().app.dialled(now, upstream, reason);
                }
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        let end = self.net.now + by;
        while self.net.now < end {
            self.net.advance(Duration::from_millis(20));
            self.settle();
        }
    }

    fn publisher(&mut self, at: &str) -> Broadcast {
        let (id, node) = self
            .net
            .add(Publisher::new(sessions(), track::Limits::default()));
        {
            let mut node = node.borrow_mut();
            node.app.announce(self.net.now, name("video").namespace);
            node.app.create_track(name("video"), Properties::default());
        }
        let relay = self.relays[at].0;
        let (session, _) = self.net.connect(id, relay, self.protocol, "/");
        self.settle();
        Broadcast { id, node, session }
    }

    fn publish(&mut self, broadcast: &Broadcast, group: u64, objects: std::ops::Range<u64>) {
        for object in objects {
            let object = Object {
                group,
                object,
                subgroup: Some(0),
                payload: payload(group, object).into(),
                ..Object::default()
            };
            let mut node = broadcast.node.borrow_mut();
            node.app.publish(self.net.now, &name("video"), INFO, object);
        }
        self.settle();
    }

    fn end_group(&mut self, broadcast: &Broadcast, group: u64) {
        let now = self.net.now;
        broadcast
            .node
            .borrow_mut()
            .app
            .end_subgroup(now, &name("video"), group, 0);
        self.settle();
    }

    fn watch(&mut self, at: &str) -> Viewer {
        self.watch_with(at, Parameters::default())
    }

    fn watch_with(&mut self, at: &str, parameters: Parameters) -> Viewer {
        let (id, node) = self.net.add(Subscriber::new(sessions()));
        let (session, _) = self.net.connect(id, self.relays[at].0, self.protocol, "/");
        let asked = node
            .borrow_mut()
            .app
            .subscribe(session, name("video"), parameters);
        asked.unwrap();
        self.settle();
        Viewer { node, session }
    }

    fn metrics(&self, at: &str) -> Metrics {
        self.relays[at].1.borrow().app.metrics()
    }
}

struct Broadcast {
    id: NodeId,
    node: Rc<RefCell<Node<Publisher>>>,
    session: SessionId,
}

struct Viewer {
    node: Rc<RefCell<Node<Subscriber>>>,
    session: SessionId,
}

impl Viewer {
    /// Places of the objects so far, their payloads checked.
    fn seen(&self) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        let objects = node.events.iter().filter_map(|event| match event {
            subscriber::Event::Object { object, .. } => Some(object),
            _ => None,
        });
        objects
            .map(|object| {
                let expected = payload(object.group, object.object);
                assert_eq!(object.payload.to_bytes(), expected);
                (object.group, object.object)
            })
            .collect()
    }

    fn has(&self, wanted: impl Fn(&subscriber::Event) -> bool) -> bool {
        self.node.borrow().events.iter().any(wanted)
    }

    fn is_ended(&self) -> bool {
        self.has(|event| {
            matches!(
                event,
                subscriber::Event::Ended { .. }
                    | subscriber::Event::Rejected { .. }
                    | subscriber::Event::Closed { .. }
            )
        })
    }
}

fn all(group: u64, objects: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    objects.map(|object| (group, object)).collect()
}
