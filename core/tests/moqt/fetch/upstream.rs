//! Fetches for which the relay has to ask the publisher.

use super::*;
use mainstem_core::moqt::relay;
use std::time::Duration;

#[test]
fn track_without_subscribers_is_fetched_from_its_publisher_once() {
    covers!("MOQT20-9.5-1");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..4, 3);
        let client = world.join();
        let first = world.fetch(&client, range((1, 0), 2, None));
        let fetched = client.fetched(first);
        assert_eq!(fetched.items, whole([1, 2], 3), "{draft}");
        assert_eq!(fetched.accepted, Some((at(2, u64::MAX), false)), "{draft}");
        let metrics = world.metrics();
        assert_eq!(
            (metrics.fetches_upstream, metrics.upstream_subscriptions),
            (1, 0)
        );
        let everything = world.fetch(&client, everything());
        assert_eq!(client.fetched(everything).items, whole(0..4, 3), "{draft}");
        let asked = world.metrics().fetches_upstream;
        let again = world.fetch(&client, range((1, 0), 2, None));
        assert_eq!(client.fetched(again).items, whole([1, 2], 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, asked, "{draft}: a hit");
    }
}

#[test]
fn hole_in_the_cache_is_stitched_in_order() {
    covers!("MOQT19-10.12.3-1");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..3, 3);
        let client = world.join();
        // Groups 0 and 2 are here, 1 is not.
        world.fetch(&client, range((0, 0), 0, None));
        world.fetch(&client, range((2, 0), 2, None));
        assert_eq!(world.metrics().fetches_upstream, 2);
        let key = world.fetch(&client, range((0, 0), 2, Some(2)));
        assert_eq!(client.fetched(key).items, whole(0..3, 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, 3, "{draft}");
        let key = world.fetch(&client, descending(range((0, 0), 2, Some(2))));
        assert_eq!(client.fetched(key).items, whole([2, 1, 0], 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, 3, "{draft}: a hit");
    }
}

#[test]
fn descending_fetch_is_stitched_in_order() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(3..9, 3);
        world.watch();
        world.publish_groups(9..11, 3);
        let client = world.join();
        let key = world.fetch(&client, descending(everything()));
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole((3..11).rev(), 3), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
        let asked = world.metrics().fetches_upstream;
        assert!(asked <= 2, "{draft}: {asked}");
        let again = world.fetch(&client, everything());
        assert_eq!(client.fetched(again).items, whole(3..11, 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, asked, "{draft}: a hit");
    }
}

#[test]
fn what_a_viewer_joined_too_late_for_is_fetched() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..5, 3);
        world.watch();
        world.publish_groups(5..7, 3);
        let client = world.join();
        let key = world.fetch(&client, everything());
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..7, 3), "{draft}");
        assert_eq!(fetched.accepted, Some((at(6, 2), false)), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}");
    }
}

#[test]
fn equal_fetches_at_once_cost_one_upstream() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..6, 40);
        // The relay takes nothing from the publisher until all have asked.
        let server = SessionId(2);
        world.net.stall(world.relay.0, server, true);
        let clients: Vec<Client> = (0..5).map(|_| world.join()).collect();
        let keys: Vec<Key> = clients
            .iter()
            .map(|client| world.fetch(client, everything()))
            .collect();
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}");
        world.net.stall(world.relay.0, server, false);
        for (client, key) in clients.iter().zip(keys) {
            let fetched = client.fetched(key);
            assert_eq!(fetched.items, whole(0..6, 40), "{draft}");
            assert_eq!(fetched.ends, [StreamEnd::Finished]);
        }
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}");
    }
}

#[test]
fn publisher_that_dies_in_mid_fetch_leaves_an_unknown_range() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..2, 3);
        world.watch();
        world.publish_groups(2..4, 3);
        let client = world.join();
        // Group 1 came with the subscription; 0 has to be asked for.
        world.net.stall(world.publisher.0, world.uplink, true);
        let key = world.fetch(&client, range((0, 0), 3, Some(2)));
        assert_eq!(client.fetched(key).items, []);
        world.net.cut(world.publisher.0, world.uplink);
        let fetched = client.fetched(key);
        let mut expected = vec![Item::Gap(GapKind::Unknown, 0, u64::MAX)];
        expected.extend(whole([1, 2, 3], 3));
        assert_eq!(fetched.items, expected, "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished]);
    }
}

#[test]
fn patience_with_upstream_ends() {
    covers!(
        "MOQT19-10.2.5-1",
        "MOQT19-10.2.5-2",
        "MOQT19-10.2.5-3",
        "MOQT20-10.2.5-1",
        "MOQT20-11.4.4.2-1"
    );
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.publish_groups(0..2, 3);
        world.watch();
        world.net.stall(world.publisher.0, world.uplink, true);
        let client = world.join();
        let wait = |ms| Parameters {
            fill_timeout_ms: Some(ms),
            ..range((0, 0), 1, Some(2))
        };
        let now = world.fetch(&client, wait(0));
        let soon = world.fetch(&client, wait(2_000));
        let late = world.fetch(&client, range((0, 0), 1, Some(2)));
        let kind = if draft == "moqt-18" {
            GapKind::Unknown
        } else {
            GapKind::TimedOut
        };
        let mut expected = vec![Item::Gap(kind, 0, u64::MAX)];
        expected.extend(whole([1], 3));
        assert_eq!(client.fetched(now).items, expected, "{draft}");
        assert_eq!(client.fetched(soon).items, []);
        world.net.advance(Duration::from_millis(2_001));
        assert_eq!(client.fetched(soon).items, expected, "{draft}");
        assert_eq!(client.fetched(late).items, []);
        world.net.advance(Duration::from_secs(9));
        assert_eq!(client.fetched(late).items, expected, "{draft}");
        assert_eq!(world.metrics().fetches, 0);
    }
}

#[test]
fn fetch_of_what_nobody_publishes_does_not_exist() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let client = world.join();
        let missing = name("audio");
        let key = {
            let mut node = client.node.borrow_mut();
            node.app
                .fetch(client.session, missing, everything())
                .unwrap()
        };
        world.net.settle();
        assert_eq!(
            client.fetched(key).refused,
            Some(RequestCode::DOES_NOT_EXIST)
        );
        world.net.cut(world.publisher.0, world.uplink);
        let key = world.fetch(&client, everything());
        assert_eq!(
            client.fetched(key).refused,
            Some(RequestCode::DOES_NOT_EXIST)
        );
        assert_eq!(world.metrics().tracks, 0, "{draft}");
    }
}

#[test]
fn fetch_upstream_does_not_run_far_ahead_of_its_reader() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.fetch = relay::fetch::Limits {
            ahead_bytes_max: 50_000,
            ..config.fetch
        };
        let mut world = World::with(draft, config, Properties::default());
        world.publish_groups(0..30, 20);
        let client = world.join();
        world.net.stall(client.id, client.session, true);
        let key = world.fetch(&client, everything());
        let kept = world.metrics().cache_bytes;
        assert!(kept < 300_000, "{draft}: {kept} of a million bytes");
        world.net.stall(client.id, client.session, false);
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..30, 20), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished]);
    }
}

#[test]
fn evicted_history_is_fetched_from_the_relay_behind() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..20, 3);
        let client = world.join();
        let key = world.fetch(&client, everything());
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..20, 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}");
        let again = world.fetch(&client, everything());
        assert_eq!(client.fetched(again).items, whole(0..20, 3), "{draft}");
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}: a hit");
    }
}
