//! Fetches that rest on a subscription: joining FETCH at 18, fill from 20 on.

use super::*;
use mainstem_core::moqt::parameter::FillParameters;
use mainstem_core::moqt::subscriber::JoinStart;

fn from_next_object() -> Parameters {
    Parameters {
        filter: Some(Filter::NextObject),
        ..Parameters::default()
    }
}

fn joined(world: &mut World, client: &Client, subscription: Key, start: JoinStart) -> Fetched {
    let key = client
        .node
        .borrow_mut()
        .app
        .join(subscription, start)
        .unwrap();
    world.net.settle();
    client.fetched(key)
}

#[test]
fn join_and_subscription_have_no_hole_and_no_object_twice() {
    for draft in DRAFTS {
        for (start, first) in [
            (JoinStart::Relative(0), 3),
            (JoinStart::Relative(2), 1),
            (JoinStart::Relative(9), 0),
            (JoinStart::Absolute(2), 2),
        ] {
            let mut world = World::new(draft);
            world.watch();
            world.publish_groups(0..3, 3);
            world.publish(3, 0);
            world.publish(3, 1);
            let client = world.join();
            let subscription = client.subscribe(from_next_object());
            world.net.settle();
            let fetched = joined(&mut world, &client, subscription, start);
            let mut expected = whole(first..3, 3);
            expected.extend([Item::Object(3, 0), Item::Object(3, 1)]);
            assert_eq!(fetched.items, expected, "{draft} {start:?}");
            assert_eq!(fetched.ends, [StreamEnd::Finished]);
            world.publish(3, 2);
            assert_eq!(client.seen(), [(3, 2)], "{draft} {start:?}");
        }
    }
}

#[test]
fn join_of_a_subscription_that_starts_a_track_waits_for_it() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..3, 3);
        let client = world.join();
        let subscription = client.subscribe(from_next_object());
        if draft != "moqt-18" {
            // From 20 on an update needs an established subscription.
            world.net.settle();
        }
        let key = {
            let mut node = client.node.borrow_mut();
            node.app.join(subscription, JoinStart::Relative(1)).unwrap()
        };
        world.net.settle();
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole([1, 2], 3), "{draft}");
        assert_eq!(fetched.refused, None);
    }
}

#[test]
fn join_before_anything_is_published_is_an_invalid_range_at_18_and_no_stream_later() {
    covers!("MOQT19-10.12.2-3");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let client = world.join();
        let subscription = client.subscribe(Parameters::default());
        world.net.settle();
        let fetched = joined(&mut world, &client, subscription, JoinStart::Relative(0));
        let expected = (draft == "moqt-18").then_some(RequestCode::INVALID_RANGE);
        assert_eq!(fetched.refused, expected, "{draft}");
        assert_eq!((fetched.items.len(), fetched.ends.len()), (0, 0));
    }
}

#[test]
fn join_of_a_paused_subscription_is_refused() {
    covers!("MOQT19-10.12.2-1");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..2, 3);
        let client = world.join();
        let subscription = client.subscribe(Parameters {
            forward: Some(false),
            ..Parameters::default()
        });
        world.net.settle();
        let fetched = joined(&mut world, &client, subscription, JoinStart::Relative(0));
        let expected = (draft == "moqt-18").then_some(RequestCode::INVALID_RANGE);
        assert_eq!(fetched.refused, expected, "{draft}");
        assert_eq!((fetched.items.len(), fetched.ends.len()), (0, 0), "{draft}");
    }
}

#[test]
fn subscribe_with_fill_gets_the_past_beside_what_comes() {
    covers!("MOQT20-10.2.15-1");
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new(draft);
        world.publish_groups(0..4, 3);
        let client = world.join();
        let fill = FillParameters {
            filter: Some(Filter::RelativeStart { groups: 3 }),
            group_order: Some(GroupOrder::Descending),
            ..FillParameters::default()
        };
        let key = client.subscribe(Parameters {
            fill: Some(Box::new(fill)),
            ..from_next_object()
        });
        world.net.settle();
        world.publish(4, 0);
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole([3, 2, 1], 3), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
        assert_eq!(client.seen(), [(4, 0)], "{draft}");
    }
}

#[test]
fn fill_is_sent_before_its_subscription_ends() {
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..6, 40);
        let client = world.join();
        let subscription = client.subscribe(from_next_object());
        world.net.settle();
        world.net.stall(client.id, client.session, true);
        let key = {
            let mut node = client.node.borrow_mut();
            node.app.join(subscription, JoinStart::Absolute(0)).unwrap()
        };
        world.net.settle();
        let now = world.net.now;
        world
            .publisher
            .1
            .borrow_mut()
            .app
            .end_track(now, &name("video"));
        world.net.settle();
        world.net.stall(client.id, client.session, false);
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..6, 40), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
        let node = client.node.borrow();
        let ended = |event: &subscriber::Event| matches!(event, subscriber::Event::Ended { .. });
        assert!(node.events.iter().any(ended), "{draft}");
    }
}

#[test]
fn past_is_served_to_a_subscription_whose_track_has_ended() {
    for draft in ["moqt-22", "moqt-20", "moqt-18", "moqt-16"] {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..3, 2);
        let client = world.join();
        let subscription = client.subscribe(from_next_object());
        world.net.settle();
        world.net.stall(client.id, client.session, true);
        world.publish_groups(3..4, 40);
        let now = world.net.now;
        {
            let app = &mut world.publisher.1.borrow_mut().app;
            app.end_track(now, &name("video"));
        }
        world.net.settle();
        let key = {
            let app = &mut client.node.borrow_mut().app;
            app.join(subscription, JoinStart::Absolute(0)).unwrap()
        };
        world.net.settle();
        world.net.stall(client.id, client.session, false);
        let fetched = client.fetched(key);
        assert_eq!(fetched.refused, None, "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
        assert_eq!(fetched.items[..6], whole(0..3, 2), "{draft}");
    }
}
