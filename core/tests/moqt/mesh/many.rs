//! More namespaces than a session takes requests of a stranger, and more than a relay may be told.

use super::{SECRET, World, sessions};
use crate::net::{Node, NodeId};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::name::{RequestId, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::mesh::{Limits, News};
use mainstem_core::moqt::session::{Event, Sessions};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Input, SessionId};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Announces what the test wants.
struct Announcer(Sessions);

impl App for Announcer {
    type Event = (SessionId, Event);

    fn handle(&mut self, now: Instant, input: Input) {
        self.0.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }
    fn poll(&mut self) -> Option<Action<Self::Event>> {
        match self.0.poll_output() {
            Some(output) => Some(Action::Transport(output)),
            None => self.0.poll_event().map(Action::Event),
        }
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }
}

struct Announcing {
    node: Rc<RefCell<Node<Announcer>>>,
    id: NodeId,
    sessions: Vec<(SessionId, Vec<RequestId>)>,
}

impl World {
    /// Announces `count` namespaces at a relay, over as many sessions as that takes.
    fn announce_many(&mut self, at: &str, count: usize) -> Announcing {
        let (id, node) = self.net.add(Announcer(Sessions::new(sessions())));
        let mut announcing = Announcing {
            node,
            id,
            sessions: Vec::new(),
        };
        let names: Vec<usize> = (0..count).collect();
        for part in names.chunks(500) {
            let relay = self.relays[at].0;
            let (session, _) = self.net.connect(id, relay, self.protocol, "/");
            let mut requests = Vec::new();
            for name in part {
                let path = format!("stream/org_1/lv_{name:05}");
                let namespace = TrackNamespace::from_path(&path).unwrap();
                let mut node = announcing.node.borrow_mut();
                let open = node.app.0.session_mut(session).unwrap();
                let asked = open.publish_namespace(namespace, Parameters::default());
                requests.push(asked.unwrap());
            }
            announcing.sessions.push((session, requests));
            self.settle();
        }
        announcing
    }

    fn namespaces(&self, at: &str) -> usize {
        self.metrics(at).namespaces
    }

    fn full(&self, at: &str) -> Vec<usize> {
        let news = self.news.get(at).into_iter().flatten();
        news.filter_map(|news| match news {
            News::AnnouncementsFull { told, .. } => Some(*told),
            _ => None,
        })
        .collect()
    }
}

#[test]
fn ten_thousand_namespaces_travel_a_chain_before_and_after_it_stands() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    let many = world.announce_many("a", 10_000);
    world.relay("c", &["b"]);
    for at in ["a", "b", "c"] {
        assert_eq!(world.namespaces(at), 10_000, "at {at}");
        assert!(world.full(at).is_empty());
    }
    for (session, _) in &many.sessions {
        world.net.cut(many.id, *session);
    }
    world.settle();
    for at in ["a", "b", "c"] {
        assert_eq!(world.namespaces(at), 0, "at {at}");
    }
}

#[test]
fn what_passes_the_bound_of_a_link_is_told_to_the_log_and_travels_when_there_is_room() {
    let mut world = World::new();
    world.limits = Limits {
        announcements_max: 40,
        announcements_in_flight_max: 7,
        ..Limits::default()
    };
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    let many = world.announce_many("a", 60);
    assert_eq!(world.namespaces("a"), 60);
    assert_eq!(world.namespaces("b"), 40);
    assert_eq!(world.full("a"), [40], "once");
    let (session, requests) = &many.sessions[0];
    for request in &requests[..20] {
        let mut node = many.node.borrow_mut();
        let open = node.app.0.session_mut(*session).unwrap();
        open.cancel(*request, StreamCode::CANCELLED).unwrap();
    }
    world.settle();
    assert_eq!(world.namespaces("a"), 40);
    assert_eq!(world.namespaces("b"), 40);
    let viewer = world.watch("b");
    assert!(viewer.is_ended(), "this one is not there");
    assert_eq!(world.full("a"), [40]);
}

#[test]
fn a_relay_that_accepts_fewer_says_so_once() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.limits.announcements_max = 30;
    world.relay("b", &["a"]);
    world.announce_many("a", 50);
    assert_eq!(world.namespaces("b"), 30);
    let count = |at: &str, wanted: fn(&News) -> bool| {
        world.news[at].iter().filter(|news| wanted(news)).count()
    };
    let refused = |news: &News| matches!(news, News::AnnouncementRefused { relay: Some(_), .. });
    assert_eq!(count("a", refused), 1);
    let refused = |news: &News| matches!(news, News::RouteRefused { .. });
    assert_eq!(count("b", refused), 1);
}

#[test]
fn a_plain_upstream_is_told_as_many_as_leave_room_for_subscriptions() {
    let mut world = World::new();
    world.relay_with("other", &[], None, false);
    world.relay_with("edge", &["other"], Some(SECRET), false);
    world.announce_many("edge", 100);
    let most = Limits::default().plain_announcements_max;
    assert_eq!(world.namespaces("other"), most);
    assert_eq!(world.full("edge"), [most]);
}

#[test]
fn announcements_wait_for_answers_and_follow_changes_of_route_meanwhile() {
    let mut world = World::new();
    world.limits.announcements_in_flight_max = 3;
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("c", &["b", "a"]);
    world.relay("d", &["c"]);
    let many = world.announce_many("a", 100);
    assert_eq!(world.namespaces("d"), 100);
    // The shorter way goes: everything is told anew, by the longer one.
    world.kill("b");
    world.relay("b", &["a"]);
    world.advance(Duration::from_secs(6));
    assert_eq!(world.namespaces("d"), 100);
    assert_eq!(world.namespaces("c"), 200, "by B and by A itself");
    for (session, _) in &many.sessions {
        world.net.cut(many.id, *session);
    }
    world.settle();
    for at in ["a", "b", "c", "d"] {
        assert_eq!(world.namespaces(at), 0, "at {at}");
    }
}
