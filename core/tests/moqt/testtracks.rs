//! Test tracks of the moq-test protocol, fetched from their origin through a relay.

use crate::net::{Net, Node};
use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::moqtest::{Event as OriginEvent, Limits, Origin, Plan, TestTrack};
use mainstem_core::moqt::name::{FullTrackName, Location, TrackNamespace};
use mainstem_core::moqt::object::{Object, ObjectStatus};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session::{self, StreamEnd};
use mainstem_core::moqt::subscriber::{Event, Subscriber};
use std::cell::RefCell;
use std::rc::Rc;

/// Groups 2, 5, 8 and 11 of objects 1, 3, 5 and 7, the last a marker.
const TUPLE: &str = "moq-test-00/0/2/1/11/7/3/50/20/0/3/2/1/0/-1/0";

struct World {
    net: Net,
    origin: Rc<RefCell<Node<Origin>>>,
    client: Rc<RefCell<Node<Subscriber>>>,
    session: mainstem_core::transport::SessionId,
    name: FullTrackName,
    track: TestTrack,
}

fn config() -> session::Config {
    session::Config {
        sessions_max: 4,
        ..session::Config::default()
    }
}

impl World {
    fn new(draft: &str) -> Self {
        let mut net = Net::new(5);
        let (relay, _) = net.add(Relay::new(Config::default(), Policy::Open));
        let prefix = TrackNamespace::default();
        let (id, origin) = net.add(Origin::new(config(), prefix.clone(), Limits::default()));
        net.connect(id, relay, draft, "/");
        net.settle();
        let (id, client) = net.add(Subscriber::new(config()));
        let (session, _) = net.connect(id, relay, draft, "/");
        net.settle();
        let track = TestTrack::from_text(TUPLE, &Limits::default()).unwrap();
        let namespace = track.namespace_below(&prefix).unwrap();
        let name = FullTrackName::new(namespace, "track".into()).unwrap();
        Self {
            net,
            origin,
            client,
            session,
            name,
            track,
        }
    }

    /// What a fetch brings, and whether it ended well.
    fn fetch(&mut self, filter: Option<Filter>, order: GroupOrder) -> (Vec<Object>, bool) {
        let parameters = Parameters {
            filter,
            group_order: Some(order),
            ..Parameters::default()
        };
        let key = (self.client.borrow_mut().app)
            .fetch(self.session, self.name.clone(), parameters)
            .unwrap();
        self.net.settle();
        let node = self.client.borrow();
        let mut objects = Vec::new();
        let mut is_whole = false;
        for event in &node.events {
            match event {
                Event::FetchObject { key: of, object } if *of == key => {
                    objects.push(object.clone());
                }
                Event::FetchEnded { key: of, end } if *of == key => {
                    is_whole = *end == StreamEnd::Finished;
                }
                _ => {}
            }
        }
        (objects, is_whole)
    }

    fn expected(&self) -> Vec<Object> {
        let steps = Plan::whole(self.track.clone()).map(|step| step.object);
        steps
            .filter(|object| object.status == ObjectStatus::Normal)
            .collect()
    }
}

fn places(objects: &[Object]) -> Vec<(u64, u64)> {
    let places = objects.iter().map(|object| (object.group, object.object));
    places.collect()
}

#[test]
fn an_origin_answers_fetches_with_exactly_what_the_name_says() {
    for draft in ["moqt-22", "moqt-18", "moqt-16"] {
        let mut world = World::new(draft);
        let (objects, is_whole) = world.fetch(None, GroupOrder::Ascending);
        let expected = world.expected();
        assert!(is_whole, "{draft}");
        assert_eq!(places(&objects), places(&expected), "{draft}");
        for (object, wanted) in objects.iter().zip(&expected) {
            assert_eq!(object.payload, wanted.payload, "{draft}");
            assert_eq!(object.properties, wanted.properties, "{draft}");
            assert_eq!(object.subgroup, wanted.subgroup, "{draft}");
        }
        let is_played = |event: &OriginEvent| matches!(event, OriginEvent::Played { .. });
        assert!(
            world.origin.borrow().events.iter().any(is_played),
            "{draft}"
        );
    }
}

#[test]
fn a_range_and_its_order_are_kept() {
    let mut world = World::new("moqt-22");
    let filter = Some(Filter::AbsoluteRange {
        start: Location::new(3, 0),
        end_group: 8,
        end_object: Some(3),
    });
    let (objects, is_whole) = world.fetch(filter, GroupOrder::Descending);
    assert!(is_whole);
    let expected = [(8, 1), (8, 3), (5, 1), (5, 3), (5, 5)];
    assert_eq!(places(&objects), expected);
    let beyond = Some(Filter::Absolute {
        start: Location::new(12, 0),
    });
    let (objects, _) = world.fetch(beyond, GroupOrder::Ascending);
    assert!(objects.is_empty());
}
