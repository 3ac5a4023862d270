//! Chains and rings: who is served from where, and what happens when a relay dies or comes back.

use super::{World, all, name};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::mesh::News;
use std::time::Duration;

/// A, then B behind it, then C behind B.
fn chain() -> World {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("c", &["b"]);
    world
}

#[test]
fn viewers_on_both_sides_of_a_chain_are_served_from_one_upload_at_either_end() {
    for draft in ["moqt-22", "moqt-20", "moqt-18", "moqt-16"] {
        for (at, other) in [("a", "c"), ("c", "a"), ("b", "c")] {
            let mut world = chain();
            world.protocol = draft;
            let broadcast = world.publisher(at);
            let viewers: Vec<_> = ["a", "b", "c", other].map(|at| world.watch(at)).into();
            let mut expected = Vec::new();
            for group in 10..13 {
                world.publish(&broadcast, group, 0..4);
                world.end_group(&broadcast, group);
                expected.extend(all(group, 0..4));
            }
            for viewer in &viewers {
                assert_eq!(viewer.seen(), expected, "published at {at}, {draft}");
            }
            for at in ["a", "b", "c"] {
                assert_eq!(world.metrics(at).upstream_subscriptions, 1, "at {at}");
            }
        }
    }
}

#[test]
fn a_late_viewer_behind_the_chain_begins_at_a_group() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    let viewer = world.watch("c");
    world.publish(&broadcast, 2, 2..4);
    assert_eq!(viewer.seen(), all(2, 0..4));
}

#[test]
fn a_viewer_that_was_here_before_goes_on_where_it_left_off() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    let _keeps_it_fed = world.watch("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    let parameters = Parameters {
        filter: Some(Filter::Absolute {
            start: Location::new(1, 2),
        }),
        ..Parameters::default()
    };
    let viewer = world.watch_with("c", parameters);
    let mut expected = all(1, 2..4);
    expected.extend(all(2, 0..2));
    let mut seen = viewer.seen();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_ring_neither_loops_announcements_nor_subscriptions() {
    let mut world = World::new();
    world.relay("a", &["c"]);
    world.relay("b", &["a"]);
    world.relay("c", &["b"]);
    world.advance(Duration::from_secs(3));
    let broadcast = world.publisher("a");
    let viewers = ["a", "b", "c"].map(|at| world.watch(at));
    world.publish(&broadcast, 1, 0..3);
    for viewer in &viewers {
        assert_eq!(viewer.seen(), all(1, 0..3));
    }
    for at in ["a", "b", "c"] {
        assert_eq!(world.metrics(at).upstream_subscriptions, 1, "at {at}");
    }
    // From A to B and to C: nothing more.
    assert_eq!(world.metrics("a").downstream_subscriptions, 3);
    assert_eq!(world.metrics("b").downstream_subscriptions, 1);
    assert_eq!(world.metrics("c").downstream_subscriptions, 1);
    // With the publisher the routes go, and do not keep each other alive.
    world.net.cut(broadcast.id, broadcast.session);
    world.settle();
    for at in ["a", "b", "c"] {
        assert_eq!(world.metrics(at).namespaces, 0, "at {at}");
    }
}

#[test]
fn the_death_of_a_relay_moves_tracks_to_another_path_without_loss_or_duplicate() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("d", &["a"]);
    world.relay("c", &["b", "d"]);
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    let used = if world.metrics("b").downstream_subscriptions > 0 {
        "b"
    } else {
        "d"
    };
    world.kill(used);
    world.publish(&broadcast, 2, 2..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..2);
    let mut expected = all(1, 0..4);
    expected.extend(all(2, 0..4));
    expected.extend(all(3, 0..2));
    assert_eq!(viewer.seen(), expected);
    assert!(!viewer.is_ended());
    assert!(
        viewer.has(|event| matches!(
            event,
            mainstem_core::moqt::subscriber::Event::SubgroupEnded {
                group: 2,
                end: mainstem_core::moqt::session::StreamEnd::Finished,
                ..
            }
        )),
        "the stream that was open goes on and ends whole"
    );
}

#[test]
fn viewers_behind_a_relay_that_dies_and_comes_back_stay_and_lose_at_most_what_was_in_flight() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    let other = world.watch("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    world.kill("b");
    world.publish(&broadcast, 2, 2..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..2);
    world.relay("b", &["a"]);
    world.advance(Duration::from_secs(6));
    world.publish(&broadcast, 3, 2..4);
    world.end_group(&broadcast, 3);
    let mut expected = all(1, 0..4);
    expected.extend(all(2, 0..4));
    expected.extend(all(3, 0..4));
    let mut seen = viewer.seen();
    seen.sort_unstable();
    assert_eq!(seen, expected, "what A retains fills the hole");
    assert!(
        !viewer.has(|event| matches!(
            event,
            mainstem_core::moqt::subscriber::Event::SubgroupEnded {
                end: mainstem_core::moqt::session::StreamEnd::Reset(_),
                ..
            }
        )),
        "no stream was reset"
    );
    assert_eq!(other.seen(), expected);
    assert!(!viewer.is_ended());
    for at in ["b", "c"] {
        assert_eq!(world.metrics(at).upstream_subscriptions, 1, "at {at}");
    }
}

#[test]
fn what_the_next_relay_does_not_retain_is_fetched_through_it_from_who_holds_it() {
    let mut world = World::new();
    world.relay("a", &[]);
    world.relay("b", &["a"]);
    world.relay("d", &["a"]);
    world.relay("c", &["b"]);
    let broadcast = world.publisher("a");
    let _keeps_it_fed = world.watch("a");
    let viewer = world.watch("c");
    for group in 1..3 {
        world.publish(&broadcast, group, 0..4);
        world.end_group(&broadcast, group);
    }
    world.publish(&broadcast, 3, 0..2);
    world.kill("b");
    world.publish(&broadcast, 3, 2..4);
    world.end_group(&broadcast, 3);
    world.publish(&broadcast, 4, 0..4);
    world.end_group(&broadcast, 4);
    world.publish(&broadcast, 5, 0..2);
    // D begins here, and retains nothing of what was before.
    let other = world.watch("d");
    assert_eq!(other.seen(), all(5, 0..2));
    let relay = std::rc::Rc::clone(&world.relays["c"].1);
    let upstream = mainstem_core::moqt::relay::mesh::Upstream {
        url: "d".to_owned(),
        is_member: true,
    };
    let now = world.net.now;
    relay
        .borrow_mut()
        .app
        .set_upstreams(now, &[upstream].into_iter().collect());
    world.settle();
    world.advance(Duration::from_secs(1));
    world.publish(&broadcast, 5, 2..4);
    world.end_group(&broadcast, 5);
    world.publish(&broadcast, 6, 0..2);
    world.advance(Duration::from_secs(8));
    let mut seen = viewer.seen();
    seen.sort_unstable();
    let mut expected: Vec<(u64, u64)> = (1..6).flat_map(|group| all(group, 0..4)).collect();
    expected.extend(all(6, 0..2));
    assert_eq!(seen, expected, "nothing is lost and nothing comes twice");
    assert!(
        !viewer.has(|event| matches!(
            event,
            mainstem_core::moqt::subscriber::Event::SubgroupEnded {
                end: mainstem_core::moqt::session::StreamEnd::Reset(_),
                ..
            }
        )),
        "no stream was reset"
    );
}

#[test]
fn viewers_of_a_relay_that_stays_away_are_let_go() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&broadcast, 1, 0..2);
    world.kill("b");
    world.advance(Duration::from_secs(11));
    assert!(viewer.is_ended());
    assert_eq!(world.metrics("c").tracks, 0);
}

#[test]
fn a_withdrawn_namespace_is_withdrawn_everywhere() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    assert_eq!(world.metrics("c").namespaces, 1);
    world.net.cut(broadcast.id, broadcast.session);
    world.settle();
    for at in ["a", "b", "c"] {
        assert_eq!(world.metrics(at).namespaces, 0, "at {at}");
    }
    assert!(world.watch("c").is_ended(), "nobody publishes it");
}

#[test]
fn a_viewer_that_came_before_the_publisher_is_served_across_the_mesh() {
    let mut world = chain();
    let parameters = Parameters {
        rendezvous_timeout_ms: Some(5000),
        ..Parameters::default()
    };
    let viewer = world.watch_with("c", parameters);
    let broadcast = world.publisher("a");
    world.publish(&broadcast, 1, 0..2);
    assert_eq!(viewer.seen(), all(1, 0..2));
}

#[test]
fn a_publisher_that_moves_within_the_mesh_keeps_its_viewers() {
    let mut world = chain();
    let first = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&first, 1, 0..2);
    world.net.cut(first.id, first.session);
    world.settle();
    let second = world.publisher("c");
    world.publish(&second, 2, 0..2);
    let mut expected = all(1, 0..2);
    expected.extend(all(2, 0..2));
    assert_eq!(viewer.seen(), expected);
    assert!(!viewer.is_ended());
}

#[test]
fn a_publisher_at_hand_stands_before_a_relay() {
    let mut world = chain();
    let _far = world.publisher("a");
    let viewer = world.watch("c");
    let near = world.publisher("c");
    world.publish(&near, 5, 0..2);
    assert_eq!(viewer.seen(), all(5, 0..2));
    assert_eq!(world.metrics("c").upstream_subscriptions, 1);
    world.advance(Duration::from_secs(3));
    assert_eq!(world.metrics("b").upstream_subscriptions, 0);
}

#[test]
fn a_shorter_way_that_appears_is_taken_without_loss() {
    let mut world = chain();
    let broadcast = world.publisher("a");
    let viewer = world.watch("c");
    world.publish(&broadcast, 1, 0..2);
    let app = std::rc::Rc::clone(&world.relays["c"].1);
    let upstreams = ["a", "b"].map(|url| mainstem_core::moqt::relay::mesh::Upstream {
        url: url.to_owned(),
        is_member: true,
    });
    let now = world.net.now;
    let upstreams = upstreams.into_iter().collect();
    app.borrow_mut().app.set_upstreams(now, &upstreams);
    world.settle();
    world.publish(&broadcast, 1, 2..4);
    world.end_group(&broadcast, 1);
    assert_eq!(viewer.seen(), all(1, 0..4));
    world.advance(Duration::from_secs(3));
    assert_eq!(world.metrics("b").downstream_subscriptions, 0);
    assert_eq!(world.metrics("c").upstream_subscriptions, 1);
}

#[test]
fn an_upstream_of_another_make_is_asked_for_what_nobody_else_has() {
    let mut world = World::new();
    // Without the secret a relay of ours is as good as one of another make.
    world.relay_with("other", &[], None, false);
    world.relay_with("edge", &["other"], Some(super::SECRET), false);
    assert_eq!(world.news["edge"], [News::PlainUp]);
    let broadcast = world.publisher("other");
    let viewer = world.watch("edge");
    world.publish(&broadcast, 1, 0..2);
    assert_eq!(viewer.seen(), all(1, 0..2));
    // And it is told what is published here.
    let mut world = World::new();
    world.relay_with("other", &[], None, false);
    world.relay_with("edge", &["other"], None, false);
    let broadcast = world.publisher("edge");
    let viewer = world.watch("other");
    world.publish(&broadcast, 1, 0..2);
    assert_eq!(viewer.seen(), all(1, 0..2));
    let nothing = world.watch("edge");
    assert!(!nothing.is_ended(), "{:?}", name("video"));
}

#[test]
fn pauses_between_attempts_grow_and_are_bounded() {
    let mut world = World::new();
    world.relay("b", &["a"]);
    world.advance(Duration::from_mins(1));
    let losses = world.news["b"].len();
    assert!((10..=30).contains(&losses), "{losses} attempts in a minute");
}
