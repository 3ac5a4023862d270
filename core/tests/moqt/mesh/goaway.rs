//! Going away: who is told what, and how those that are told move.

use super::{World, all, name};
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::subscriber::Event;
use mainstem_core::transport::Closed;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

fn drain(world: &mut World, at: &'static str, uri: &str) {
    let now = world.net.now;
    let node = std::rc::Rc::clone(&world.relays[at].1);
    node.borrow_mut().app.drain(now, uri, TIMEOUT);
    world.settle();
}

fn close_code(viewer: &super::Viewer) -> Option<SessionCode> {
    viewer
        .node
        .borrow()
        .events
        .iter()
        .find_map(|event| match event {
            Event::Closed {
                closed: Closed::Application { code, .. },
                ..
            } => Some(SessionCode(*code)),
            _ => None,
        })
}

#[test]
fn a_draining_relay_serves_on_refuses_what_is_new_and_closes_what_stays() {
    covers!("MOQT19-3.6-1");
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("a");
    world.publish(&broadcast, 1, 0..2);
    drain(&mut world, "a", "moqt://b");
    assert!(viewer.has(|event| matches!(event, Event::Goaway { uri, .. } if uri == "moqt://b")));
    world.publish(&broadcast, 1, 2..4);
    assert_eq!(viewer.seen(), all(1, 0..4), "it is served on");
    assert!(!world.drained.contains_key("a"));
    world.advance(TIMEOUT);
    assert_eq!(world.drained.get("a"), Some(&1));
    assert!(viewer.has(
        |event| matches!(event, Event::Ended { reason, .. } if reason.contains("going away"))
    ));
    assert_eq!(close_code(&viewer), Some(SessionCode::GOAWAY_TIMEOUT));
    assert_eq!(world.metrics("a").sessions, 0);
}

#[test]
fn who_leaves_in_time_ends_the_drain_early() {
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("a");
    world.publish(&broadcast, 1, 0..2);
    drain(&mut world, "a", "moqt://b");
    viewer.node.borrow_mut().app.close(viewer.session, "moved");
    world.settle();
    world.advance(Duration::from_secs(2));
    assert_eq!(world.drained.get("a"), Some(&0));
}

#[test]
fn who_comes_during_a_drain_is_sent_on_and_refused() {
    covers!("MOQT19-10.4-4");
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.publisher("a");
    let stays = world.watch("a");
    world.publish(&broadcast, 1, 0..2);
    drain(&mut world, "a", "moqt://b");
    // Its SUBSCRIBE crosses the GOAWAY.
    let (id, node) = world
        .net
        .add(mainstem_core::moqt::subscriber::Subscriber::new(
            super::sessions(),
        ));
    let (session, _) = world.net.connect(id, world.relays["a"].0, "moqt-22", "/");
    assert!(
        node.borrow()
            .events
            .iter()
            .any(|event| matches!(event, Event::Goaway { .. }))
    );
    let asked = node
        .borrow_mut()
        .app
        .subscribe(session, name("video"), Parameters::default());
    assert!(asked.is_err(), "a client that was told asks for nothing");
    assert!(!stays.is_ended());
}

#[test]
fn tracks_leave_a_draining_relay_for_another_without_loss_or_duplicate() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("d", &["a"]);
    world.relay("c", &["b", "d"]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&broadcast, 1, 0..2);
    let used = if world.metrics("b").downstream_subscriptions > 0 {
        "b"
    } else {
        "d"
    };
    drain(&mut world, used, "");
    world.publish(&broadcast, 1, 2..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    let mut expected = all(1, 0..4);
    expected.extend(all(2, 0..2));
    assert_eq!(viewer.seen(), expected);
    assert_eq!(world.metrics(used).downstream_subscriptions, 0);
    assert_eq!(world.drained.get(used), Some(&0), "all have left");
    assert!(!viewer.is_ended());
}

#[test]
fn an_upstream_that_goes_away_is_followed_to_where_it_says() {
    covers!("MOQT19-10.4-8");
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("d", &["a"]);
    world.relay("c", &["b"]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&broadcast, 1, 0..2);
    drain(&mut world, "b", "d");
    world.publish(&broadcast, 1, 2..4);
    world.end_group(&broadcast, 1);
    assert_eq!(viewer.seen(), all(1, 0..4));
    assert_eq!(world.metrics("d").downstream_subscriptions, 1);
    assert_eq!(world.drained.get("b"), Some(&0));
    assert!(!viewer.is_ended());
}

#[test]
fn viewers_and_publishers_that_move_to_a_sibling_lose_nothing() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    let broadcast = world.publisher("a");
    let old = world.watch("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    drain(&mut world, "a", "b");
    // The viewer is quicker than the publisher.
    let resume = Parameters {
        filter: Some(Filter::Absolute {
            start: Location::new(2, 2),
        }),
        ..Parameters::default()
    };
    let new = world.watch_with("b", resume);
    old.node.borrow_mut().app.close(old.session, "moved");
    world.settle();
    world.publish(&broadcast, 2, 2..3);
    world
        .net
        .connect(broadcast.id, world.relays["b"].0, "moqt-22", "/");
    world.settle();
    world.publish(&broadcast, 2, 3..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..2);
    let mut expected = all(2, 2..4);
    expected.extend(all(3, 0..2));
    assert_eq!(new.seen(), expected);
    assert!(!new.is_ended());
    world.advance(Duration::from_secs(2));
    assert_eq!(world.drained.get("a"), Some(&0));
    world.publish(&broadcast, 3, 2..4);
    expected.extend(all(3, 2..4));
    assert_eq!(new.seen(), expected);
}
