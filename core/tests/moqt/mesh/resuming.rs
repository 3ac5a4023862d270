//! A viewer whose relay is lost without a word: it comes back and goes on where it left off.

use super::World;
use super::moving::expected;
use mainstem_core::viewer::Event;
use std::time::Duration;

#[test]
fn a_viewer_that_comes_back_to_its_relay_is_sent_what_it_missed_once() {
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.broadcast("a");
    let watching = world.view("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    world.net.cut_all(watching.id);
    world.settle();
    assert!(watching.has(|event| matches!(event, Event::Closed(_))));
    world.publish(&broadcast, 2, 2..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..4);
    world.end_group(&broadcast, 3);
    world.publish(&broadcast, 4, 0..1);
    world.follow(&watching, "a");
    world.publish(&broadcast, 4, 1..4);
    world.advance(Duration::from_secs(1));
    assert_eq!(watching.seen(), expected(1..=4));
    assert_eq!(watching.gaps(), 0);
}

#[test]
fn a_viewer_of_a_restarted_edge_gets_everything_from_the_origin_behind_it() {
    let mut world = World::new();
    world.relay("origin", &[]);
    world.relay("edge", &["origin"]);
    let broadcast = world.broadcast("origin");
    let watching = world.view("edge");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    world.kill("edge");
    world.publish(&broadcast, 2, 2..4);
    world.end_group(&broadcast, 2);
    world.publish(&broadcast, 3, 0..2);
    world.relay("edge", &["origin"]);
    // Somebody without a past is there first: the edge holds the newest group alone.
    world.watch("edge");
    world.publish(&broadcast, 3, 2..4);
    world.end_group(&broadcast, 3);
    world.publish(&broadcast, 4, 0..2);
    world.follow(&watching, "edge");
    world.publish(&broadcast, 4, 2..4);
    world.advance(Duration::from_secs(3));
    assert_eq!(watching.seen(), expected(1..=4));
    assert_eq!(watching.gaps(), 0);
}

#[test]
fn what_nobody_holds_any_more_is_told_as_a_gap() {
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.broadcast("a");
    let watching = world.view("a");
    world.publish(&broadcast, 1, 0..4);
    world.end_group(&broadcast, 1);
    world.publish(&broadcast, 2, 0..2);
    world.kill("a");
    world.net.cut_all(broadcast.id);
    world.relay("a", &[]);
    // Another broadcast of the stream: nobody has the rest of group 2.
    let another = world.broadcast("a");
    world.publish(&another, 7, 0..4);
    world.end_group(&another, 7);
    world.follow(&watching, "a");
    world.publish(&another, 8, 0..4);
    world.advance(Duration::from_secs(5));
    let mut wanted = expected(1..=1);
    wanted.extend([(2, 0), (2, 1)]);
    wanted.extend(expected(7..=8));
    assert_eq!(watching.seen(), wanted);
    assert_eq!(watching.gaps(), 1);
}

#[test]
fn a_track_that_begins_anew_with_smaller_numbers_is_watched_again() {
    let mut world = World::new();
    world.relay("a", &[]);
    let broadcast = world.broadcast("a");
    let watching = world.view("a");
    world.publish(&broadcast, 70, 0..4);
    world.kill("a");
    world.net.cut_all(broadcast.id);
    world.relay("a", &[]);
    let another = world.broadcast("a");
    world.publish(&another, 0, 0..2);
    world.follow(&watching, "a");
    world.publish(&another, 0, 2..4);
    world.advance(Duration::from_secs(2));
    let mut wanted = expected(70..=70);
    wanted.extend(expected(0..=0));
    assert_eq!(watching.seen(), wanted);
    assert_eq!(watching.gaps(), 1);
}
