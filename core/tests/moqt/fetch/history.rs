//! Fetches that the relay's cache answers, whole or in part.

use super::*;
use mainstem_core::moqt::filter::{RangeFilter, RangeSet, RangeSubject};
use mainstem_core::moqt::property::PropertiesBuilder;
use std::time::Duration;

#[test]
fn retained_groups_are_fetched_without_asking_upstream() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..4, 3);
        let client = world.join();
        let key = world.fetch(&client, range((1, 0), 2, None));
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole([1, 2], 3), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
        assert_eq!(fetched.accepted, Some((at(2, u64::MAX), false)), "{draft}");
        let part = world.fetch(&client, range((1, 1), 2, Some(1)));
        let expected = [(1, 1), (1, 2), (2, 0), (2, 1)].map(|(g, o)| Item::Object(g, o));
        let fetched = client.fetched(part);
        assert_eq!(fetched.items, expected, "{draft}");
        assert_eq!(fetched.accepted, Some((at(2, 1), false)), "{draft}");
        let metrics = world.metrics();
        assert_eq!((metrics.fetches_accepted, metrics.fetches_upstream), (2, 0));
        assert_eq!(metrics.fetches, 0);
        assert_eq!((metrics.fetches_hit, metrics.fetches_missed), (2, 0));
        assert_eq!(metrics.objects_past, 6 + 4, "{draft}");
        assert!(metrics.bytes_past > 0 && metrics.bytes_past <= metrics.bytes_sent);
    }
}

#[test]
fn groups_descend_when_asked_and_objects_ascend_within_them() {
    covers!("MOQT19-10.12.3-4");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..4, 3);
        let client = world.join();
        let key = world.fetch(&client, descending(range((0, 1), 3, None)));
        let mut expected = whole([3, 2, 1], 3);
        expected.extend([Item::Object(0, 1), Item::Object(0, 2)]);
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, expected, "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished], "{draft}");
    }
}

#[test]
fn fetch_ends_at_the_largest_object_of_its_acceptance() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        let viewer = world.watch();
        world.publish_groups(0..2, 3);
        world.publish(2, 0);
        let client = world.join();
        let key = world.fetch(&client, range((1, 0), 9, None));
        world.publish(2, 1);
        let fetched = client.fetched(key);
        let mut expected = whole([1], 3);
        expected.push(Item::Object(2, 0));
        assert_eq!(fetched.items, expected, "{draft}");
        assert_eq!(fetched.accepted, Some((at(2, 0), false)), "{draft}");
        assert_eq!(viewer.seen().len(), 8);
    }
}

#[test]
fn fetch_beyond_what_is_published_is_an_invalid_range() {
    covers!("MOQT19-10.12.3-3");
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        let client = world.join();
        let key = world.fetch(&client, everything());
        assert_eq!(
            client.fetched(key).refused,
            Some(RequestCode::INVALID_RANGE)
        );
        world.publish_groups(0..1, 2);
        let key = world.fetch(&client, range((7, 0), 8, None));
        let fetched = client.fetched(key);
        assert_eq!(fetched.refused, Some(RequestCode::INVALID_RANGE), "{draft}");
        assert_eq!(fetched.items, []);
    }
}

#[test]
fn slow_fetcher_holds_no_more_than_a_burst_and_loses_nothing() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..8, 40);
        let client = world.join();
        world.net.stall(client.id, client.session, true);
        let key = world.fetch(&client, everything());
        assert_eq!(world.metrics().fetches, 1);
        let sent = world.metrics().bytes_sent;
        world.net.advance(Duration::from_secs(1));
        assert_eq!(
            world.metrics().bytes_sent,
            sent,
            "nothing more is handed over"
        );
        world.net.stall(client.id, client.session, false);
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..8, 40), "{draft}");
        assert_eq!(fetched.ends, [StreamEnd::Finished]);
        assert_eq!(world.metrics().fetches, 0);
    }
}

#[test]
fn fetcher_that_leaves_is_forgotten() {
    for draft in DRAFTS {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..8, 40);
        let client = world.join();
        world.net.stall(client.id, client.session, true);
        let key = world.fetch(&client, everything());
        client.node.borrow_mut().app.unsubscribe(key).unwrap();
        world.net.settle();
        assert_eq!(world.metrics().fetches, 0, "{draft}");
        let key = world.fetch(&client, everything());
        assert_eq!(world.metrics().fetches, 1, "{draft}");
        world.net.cut(client.id, client.session);
        assert_eq!(world.metrics().fetches, 0, "{draft}");
        let _ = key;
    }
}

#[test]
fn session_has_no_more_fetches_than_it_may() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.fetch.session_fetches_max = 2;
        let mut world = World::with(draft, config, Properties::default());
        world.watch();
        world.publish_groups(0..8, 40);
        let client = world.join();
        world.net.stall(client.id, client.session, true);
        let keys = [0, 1, 2].map(|_| world.fetch(&client, everything()));
        assert_eq!(world.metrics().fetches, 2);
        world.net.stall(client.id, client.session, false);
        let refused = keys.map(|key| client.fetched(key).refused);
        assert_eq!(refused, [None, None, Some(RequestCode::EXCESSIVE_LOAD)]);
    }
}

#[test]
fn range_filter_lets_only_its_objects_pass() {
    covers!("MOQT19-5.1.4-1");
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new(draft);
        world.watch();
        world.publish_groups(0..3, 4);
        let client = world.join();
        let odd = RangeSet {
            set: 0,
            property: None,
            ranges: vec![(1, Some(1)), (3, None)],
        };
        let filter = RangeFilter::new(RangeSubject::Object, &odd).unwrap();
        let parameters = Parameters {
            range_filters: vec![filter],
            ..range((0, 0), 2, None)
        };
        let key = world.fetch(&client, parameters);
        let fetched = client.fetched(key);
        let places = (0..3).flat_map(|group| [Item::Object(group, 1), Item::Object(group, 3)]);
        assert_eq!(fetched.items, places.collect::<Vec<_>>(), "{draft}");
        let faulty = Parameters {
            range_filters: vec![RangeFilter {
                subject: RangeSubject::Priority,
                value: Bytes::from_static(&[0, 0xff, 0xff]),
            }],
            ..everything()
        };
        let key = world.fetch(&client, faulty);
        let refused = client.fetched(key).refused;
        assert_eq!(refused, Some(RequestCode::INVALID_FILTER), "{draft}");
    }
}

#[test]
fn expired_objects_are_fetched_anew() {
    covers!("MOQT19-12.3-1");
    for draft in DRAFTS {
        let properties = PropertiesBuilder::new()
            .max_cache_duration_ms(5_000)
            .build();
        let mut world = World::with(draft, Config::default(), properties);
        world.watch();
        world.publish_groups(0..2, 3);
        let client = world.join();
        let fresh = world.fetch(&client, range((0, 0), 1, None));
        assert_eq!(world.metrics().fetches_upstream, 0);
        world.net.advance(Duration::from_secs(6));
        let late = world.fetch(&client, range((0, 0), 1, None));
        assert_eq!(world.metrics().fetches_upstream, 1, "{draft}");
        for key in [fresh, late] {
            let fetched = client.fetched(key);
            assert_eq!(fetched.items, whole(0..2, 3), "{draft}");
            assert_eq!(fetched.ends, [StreamEnd::Finished]);
        }
    }
}

#[test]
fn retained_history_stays_within_the_budget_of_the_relay() {
    for draft in DRAFTS {
        let config = Config {
            cache_bytes_max: 100_000,
            ..Config::default()
        };
        let mut world = World::with(draft, config, Properties::default());
        world.publish_groups(0..30, 20);
        let client = world.join();
        let key = world.fetch(&client, everything());
        let fetched = client.fetched(key);
        assert_eq!(fetched.items, whole(0..30, 20), "{draft}");
        let kept = world.metrics().cache_bytes;
        assert!(kept > 0 && kept <= 120_000, "{draft}: {kept}");
        world.net.advance(Duration::from_secs(31));
        let metrics = world.metrics();
        assert_eq!((metrics.cache_bytes, metrics.tracks), (0, 0), "{draft}");
    }
}

#[test]
fn history_of_a_track_whose_publisher_left_stays_within_the_budget() {
    for draft in DRAFTS {
        let config = Config {
            cache_bytes_max: 20_000,
            ..Config::default()
        };
        let mut world = World::with(draft, config, Properties::default());
        let viewer = world.watch();
        world.publish_groups(0..3, 20);
        let key = world.fetch(&viewer, everything());
        assert!(!viewer.fetched(key).items.is_empty(), "{draft}");
        let live = world.metrics().cache_bytes;
        assert!(live > 20_000, "{draft}: the newest group stays: {live}");
        // From now on every group is history, and none of them the newest.
        world.net.cut(world.publisher.0, world.uplink);
        world.net.cut(viewer.id, viewer.session);
        world.net.advance(Duration::from_secs(12));
        let kept = world.metrics().cache_bytes;
        assert!(kept <= 20_000, "{draft}: {kept}");
    }
}
