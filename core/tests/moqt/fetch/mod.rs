//! FETCH, joining FETCH and fill through a relay, without a network.

mod history;
mod joining;
mod permission;
mod upstream;

use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::Location;
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{GapKind, Object};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::{Config, Metrics, Policy, Relay};
use mainstem_core::moqt::session::{self, StreamEnd};
use mainstem_core::moqt::subscriber::{self, Key, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::transport::SessionId;
use std::cell::RefCell;
use std::rc::Rc;

const DRAFTS: [&str; 3] = ["moqt-22", "moqt-20", "moqt-18"];

fn config() -> session::Config {
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

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// From `start` to the end of group `end`, or to an object of it.
fn range(start: (u64, u64), end: u64, object: Option<u64>) -> Parameters {
    Parameters {
        filter: Some(Filter::AbsoluteRange {
            start: at(start.0, start.1),
            end_group: end,
            end_object: object,
        }),
        ..Parameters::default()
    }
}

fn everything() -> Parameters {
    Parameters::default()
}

fn descending(parameters: Parameters) -> Parameters {
    Parameters {
        group_order: Some(GroupOrder::Descending),
        ..parameters
    }
}

/// A relay with a publisher of `video`.
struct World {
    net: Net,
    relay: (NodeId, Rc<RefCell<Node<Relay>>>),
    publisher: (NodeId, Rc<RefCell<Node<Publisher>>>),
    draft: &'static str,
    /// The publisher's session at its own end.
    uplink: SessionId,
}

impl World {
    fn new(draft: &'static str) -> Self {
        Self::with(draft, Config::default(), Properties::default())
    }

    fn with(draft: &'static str, config_of_relay: Config, properties: Properties) -> Self {
        let mut net = Net::new(11);
        let relay = net.add(Relay::new(config_of_relay, Policy::Open));
        let mut limits = track::Limits::default();
        limits.cache.groups_max = 64;
        let publisher = net.add(Publisher::new(config(), limits));
        {
            let mut node = publisher.1.borrow_mut();
            node.app.announce(net.now, name("video").namespace);
            node.app.create_track(name("video"), properties);
        }
        let (uplink, _) = net.connect(publisher.0, relay.0, draft, "/");
        net.settle();
        Self {
            net,
            relay,
            publisher,
            draft,
            uplink,
        }
    }

    /// Publishes a place.
    fn publish(&mut self, group: u64, object: u64) {
        let info = SubgroupInfo {
            priority: None,
            has_properties: false,
            end_of_group: true,
            first_object: object == 0,
        };
        let object = Object {
            group,
            object,
            subgroup: Some(0),
            payload: payload(group, object).into(),
            ..Object::default()
        };
        let now = self.net.now;
        let publisher = &self.publisher.1;
        let video = name("video");
        publisher
            .borrow_mut()
            .app
            .publish(now, &video, info, object);
        self.net.settle();
    }

    fn end_group(&mut self, group: u64) {
        let now = self.net.now;
        let publisher = &self.publisher.1;
        let video = name("video");
        publisher
            .borrow_mut()
            .app
            .end_subgroup(now, &video, group, 0);
        self.net.settle();
    }

    /// Publishes whole groups of so many objects.
    fn publish_groups(&mut self, groups: std::ops::Range<u64>, objects: u64) {
        for group in groups {
            for object in 0..objects {
                self.publish(group, object);
            }
            self.end_group(group);
        }
    }

    fn join(&mut self) -> Client {
        let (id, node) = self.net.add(Subscriber::new(config()));
        let (session, _) = self.net.connect(id, self.relay.0, self.draft, "/");
        Client { id, node, session }
    }

    /// A client that subscribes, so that the relay has the track from here on.
    fn watch(&mut self) -> Client {
        let client = self.join();
        client.subscribe(Parameters::default());
        self.net.settle();
        client
    }

    fn fetch(&mut self, client: &Client, parameters: Parameters) -> Key {
        let key = {
            let mut node = client.node.borrow_mut();
            node.app.fetch(client.session, name("video"), parameters)
        };
        self.net.settle();
        key.unwrap()
    }

    fn metrics(&self) -> Metrics {
        self.relay.1.borrow().app.metrics()
    }
}

struct Client {
    id: NodeId,
    node: Rc<RefCell<Node<Subscriber>>>,
    session: SessionId,
}

/// How a fetch went, as its client saw it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fetched {
    accepted: Option<(Location, bool)>,
    refused: Option<RequestCode>,
    /// Objects and gaps in order.
    items: Vec<Item>,
    ends: Vec<StreamEnd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Object(u64, u64),
    Gap(GapKind, u64, u64),
}

impl Client {
    fn subscribe(&self, parameters: Parameters) -> Key {
        let mut node = self.node.borrow_mut();
        let subscribed = node.app.subscribe(self.session, name("video"), parameters);
        subscribed.unwrap()
    }

    fn fetched(&self, key: Key) -> Fetched {
        let mut fetched = Fetched::default();
        for event in &self.node.borrow().events {
            match event {
                subscriber::Event::FetchAccepted {
                    key: of,
                    end,
                    end_of_track,
                } if *of == key => {
                    fetched.accepted = Some((*end, *end_of_track));
                }
                subscriber::Event::Rejected { key: of, error, .. } if *of == key => {
                    fetched.refused = Some(error.code);
                }
                subscriber::Event::FetchObject { key: of, object } if *of == key => {
                    let (group, id) = (object.group, object.object);
                    assert_eq!(object.payload.to_bytes(), payload(group, id));
                    fetched.items.push(Item::Object(group, id));
                }
                subscriber::Event::FetchGap { key: of, kind, end } if *of == key => {
                    fetched.items.push(Item::Gap(*kind, end.group, end.object));
                }
                subscriber::Event::FetchEnded { key: of, end } if *of == key => {
                    fetched.ends.push(*end);
                }
                _ => {}
            }
        }
        fetched
    }

    /// Places that came by subscription.
    fn seen(&self) -> Vec<(u64, u64)> {
        let node = self.node.borrow();
        let places = node.events.iter().filter_map(|event| match event {
            subscriber::Event::Object { object, .. } => Some((object.group, object.object)),
            _ => None,
        });
        places.collect()
    }
}

/// The objects of whole groups, in this order of groups.
fn whole(groups: impl IntoIterator<Item = u64>, objects: u64) -> Vec<Item> {
    let groups = groups.into_iter();
    groups
        .flat_map(|group| (0..objects).map(move |object| Item::Object(group, object)))
        .collect()
}
