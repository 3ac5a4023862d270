//! What a relay asks of publishers on behalf of its viewers: forward state and new groups; and what
//! it sends each viewer: filters, time-outs, priorities.

use crate::house::Peer;
use crate::offers::{DRAFTS, World, done, groups, name, refused};
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::{Filter, RangeFilter, RangeSet, RangeSubject};
use mainstem_core::moqt::message::{Message, Subscribe};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::relay::Config;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent, StreamEnd};
use std::time::Duration;

pub(crate) fn forward(state: bool) -> Parameters {
    Parameters {
        forward: Some(state),
        ..Parameters::default()
    }
}

pub(crate) fn subscribe(world: &mut World, viewer: &Peer, parameters: Parameters) -> RequestId {
    world
        .act(viewer, |session| {
            session.subscribe(name("a", "one"), parameters)
        })
        .unwrap()
}

/// The updates that a peer was sent, answered.
pub(crate) fn updates(world: &mut World, peer: &Peer) -> Vec<Parameters> {
    let updates: Vec<(RequestId, Parameters)> = {
        let mut node = peer.node.borrow_mut();
        let events = std::mem::take(&mut node.events);
        let (updates, others): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|(_, event)| matches!(event, SessionEvent::Update { .. }));
        node.events = others;
        let updates = updates.into_iter().filter_map(|(_, event)| match event {
            SessionEvent::Update {
                request,
                parameters,
                ..
            } => Some((request, parameters)),
            _ => None,
        });
        updates.collect()
    };
    for (request, _) in &updates {
        world
            .act(peer, |session| {
                session.accept_update(*request, <_>::default())
            })
            .unwrap();
    }
    updates.into_iter().map(|(_, update)| update).collect()
}

fn subscribes(peer: &Peer) -> Vec<Subscribe> {
    let node = peer.node.borrow();
    let asked = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Request {
            message: Message::Subscribe(subscribe),
            ..
        } => Some(subscribe.clone()),
        _ => None,
    });
    asked.collect()
}

pub(crate) fn resets(peer: &Peer) -> Vec<(u64, StreamCode)> {
    let node = peer.node.borrow();
    let resets = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::SubgroupEnded {
            group,
            end: StreamEnd::Reset(code),
            ..
        } => Some((*group, *code)),
        _ => None,
    });
    resets.collect()
}

#[test]
fn publisher_forwards_while_any_viewer_wants_objects() {
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, one, two) = (world.peer(draft), world.peer("moqt-22"), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        let answered = publisher.find(|event| match event {
            SessionEvent::Accepted {
                accepted: Accepted::Request(answer),
                ..
            } => Some(answer.parameters.forward),
            _ => None,
        });
        let told = if draft == "moqt-18" {
            assert_eq!(answered, Some(Some(false)), "PUBLISH_OK says it");
            Vec::new()
        } else {
            vec![forward(false)]
        };
        assert_eq!(updates(&mut world, &publisher), told, "{draft}");

        let first = subscribe(&mut world, &one, forward(false));
        assert!(one.is_accepted(first));
        assert_eq!(updates(&mut world, &publisher), []);
        let second = subscribe(&mut world, &two, Parameters::default());
        assert_eq!(updates(&mut world, &publisher), [forward(true)], "{draft}");
        world.send(&publisher, published, 3, "three");
        assert_eq!(groups(&two, second), [3]);
        assert!(groups(&one, first).is_empty(), "FORWARD is 0");

        world
            .act(&one, |session| session.update(first, forward(true)))
            .unwrap();
        assert!(groups(&one, first).is_empty(), "from the next object on");
        world
            .act(&two, |session| session.update(second, forward(false)))
            .unwrap();
        assert_eq!(updates(&mut world, &publisher), []);
        world
            .act(&one, |session| session.update(first, forward(false)))
            .unwrap();
        assert_eq!(updates(&mut world, &publisher), [forward(false)], "{draft}");
        world.send(&publisher, published, 4, "four");
        assert!(groups(&one, first).is_empty());
        assert_eq!(groups(&two, second), [3]);
    }
}

#[test]
fn changes_while_an_update_is_unanswered_become_one() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    world.publish(&publisher, &name("a", "one"));
    updates(&mut world, &publisher);
    let request = subscribe(&mut world, &viewer, forward(true));
    for state in [false, true, false] {
        world
            .act(&viewer, |session| session.update(request, forward(state)))
            .unwrap();
    }
    assert_eq!(updates(&mut world, &publisher), [forward(true)]);
    assert_eq!(updates(&mut world, &publisher), [forward(false)]);
    assert_eq!(updates(&mut world, &publisher), []);
}

#[test]
fn quiet_viewer_makes_a_quiet_subscription_upstream() {
    covers!("MOQT19-10.2.18-3");
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer(draft), world.peer("moqt-22"));
        publisher.announce("a");
        world.net.settle();
        let wanted = Parameters {
            new_group_request: Some(0),
            ..forward(false)
        };
        subscribe(&mut world, &viewer, wanted.clone());
        let asked = subscribes(&publisher);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].parameters, wanted, "{draft}");
    }
}

#[test]
fn new_group_is_asked_for_once_per_group() {
    let dynamic = PropertiesBuilder::new().dynamic_groups(true).build();
    for (properties, expected) in [(dynamic, vec![5]), (Properties::default(), vec![])] {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let at = Parameters {
            largest: Some(Location::new(4, 2)),
            ..Parameters::default()
        };
        world.publish_with(&publisher, &name("a", "one"), at, properties);
        for value in [5, 5, 4, 3] {
            let viewer = world.peer("moqt-22");
            let parameters = Parameters {
                new_group_request: Some(value),
                ..Parameters::default()
            };
            subscribe(&mut world, &viewer, parameters);
        }
        let asked = updates(&mut world, &publisher);
        let asked: Vec<u64> = asked.iter().filter_map(|it| it.new_group_request).collect();
        assert_eq!(asked, expected);
    }
}

#[test]
fn range_filters_choose_objects_per_viewer() {
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new();
        let (publisher, all, some) = (world.peer("moqt-18"), world.peer(draft), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        let set = RangeSet {
            set: 0,
            property: None,
            ranges: vec![(1, None)],
        };
        let filtered = |set: &RangeSet| Parameters {
            range_filters: vec![RangeFilter::new(RangeSubject::Object, set).unwrap()],
            ..Parameters::default()
        };
        let everything = subscribe(&mut world, &all, Parameters::default());
        let later = subscribe(&mut world, &some, filtered(&set));
        world.send(&publisher, published, 1, "object 0");
        assert_eq!(groups(&all, everything), [1]);
        assert!(groups(&some, later).is_empty(), "{draft}");

        // A priority is one byte, and this one begins at 256.
        let beyond = RangeFilter {
            subject: RangeSubject::Priority,
            value: Bytes::from_static(&[0, 0x81, 0]),
        };
        let out_of_range = Parameters {
            range_filters: vec![beyond],
            ..Parameters::default()
        };
        let faulty = subscribe(&mut world, &some, out_of_range.clone());
        let code = Some(RequestCode::INVALID_FILTER);
        assert_eq!(refused(&some, faulty), code, "{draft}");
        world
            .act(&some, |session| session.update(later, out_of_range))
            .unwrap();
        let failed = Some(PublishDoneCode::UPDATE_FAILED);
        assert_eq!(done(&some, later), failed, "{draft}");
        let metrics = world.relay.1.borrow().app.metrics();
        assert_eq!(metrics.downstream_subscriptions, 1);
    }
}

#[test]
fn range_that_was_published_already_is_refused() {
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let at = Parameters {
            largest: Some(Location::new(9, 0)),
            ..Parameters::default()
        };
        world.publish_with(&publisher, &name("a", "one"), at, Properties::default());
        let range = |end_group| Parameters {
            filter: Some(Filter::AbsoluteRange {
                start: Location::new(3, 0),
                end_group,
                end_object: None,
            }),
            ..Parameters::default()
        };
        let past = subscribe(&mut world, &viewer, range(8));
        let code = Some(RequestCode::INVALID_RANGE);
        assert_eq!(refused(&viewer, past), code, "{draft}");
        let current = subscribe(&mut world, &viewer, range(9));
        assert!(viewer.is_accepted(current), "{draft}");
    }
}

#[test]
fn concurrent_subscriptions_of_one_session_get_each_object() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let published = world.publish(&publisher, &name("a", "one"));
    let old = subscribe(&mut world, &viewer, Parameters::default());
    world.send(&publisher, published, 1, "one");
    let new = subscribe(&mut world, &viewer, Parameters::default());
    world
        .act(&viewer, |session| {
            session.cancel(old, StreamCode::CANCELLED)
        })
        .unwrap();
    world.send(&publisher, published, 2, "two");
    assert_eq!(groups(&viewer, old), [1]);
    assert_eq!(groups(&viewer, new), [1, 2], "no gap for who switches");
}

#[test]
fn late_objects_are_reset_by_the_smaller_of_both_time_outs() {
    // (viewer's, publisher's, age in ms, delivered)
    for (viewer_ms, track_ms, age, delivered) in [
        (Some(500), None, 400, true),
        (Some(500), None, 600, false),
        (Some(500), Some(100), 400, false),
        (Some(0), Some(0), 9000, true),
        (None, Some(100), 400, false),
    ] {
        for draft in DRAFTS {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let properties = track_ms.map_or(Properties::default(), |ms| {
                PropertiesBuilder::new()
                    .object_delivery_timeout_ms(ms)
                    .build()
            });
            let none = Parameters::default();
            let published = world.publish_with(&publisher, &name("a", "one"), none, properties);
            world.send(&publisher, published, 1, "one");
            world.net.advance(Duration::from_millis(age));
            let parameters = Parameters {
                object_delivery_timeout_ms: viewer_ms,
                ..Parameters::default()
            };
            let request = subscribe(&mut world, &viewer, parameters);
            let expected = if delivered { vec![1] } else { vec![] };
            assert_eq!(groups(&viewer, request), expected, "{draft} after {age}");
        }
    }
}

#[test]
fn objects_older_than_max_cache_duration_are_not_served() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let properties = PropertiesBuilder::new().max_cache_duration_ms(1000).build();
    let none = Parameters::default();
    let published = world.publish_with(&publisher, &name("a", "one"), none, properties);
    world.send(&publisher, published, 1, "one");
    world.net.advance(Duration::from_millis(1500));
    let request = subscribe(&mut world, &viewer, Parameters::default());
    assert!(groups(&viewer, request).is_empty());
    world.send(&publisher, published, 2, "two");
    assert_eq!(groups(&viewer, request), [2]);
    let retained = world.relay.1.borrow().app.metrics().cache_bytes;
    assert_eq!(retained, "two".len(), "the old group left the cache");
}

#[test]
fn finished_subgroup_that_is_not_taken_in_time_is_reset() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let published = world.publish(&publisher, &name("a", "one"));
    let parameters = Parameters {
        subgroup_delivery_timeout_ms: Some(300),
        ..Parameters::default()
    };
    let request = subscribe(&mut world, &viewer, parameters);
    world.net.stall(viewer.id, viewer.session, true);
    world.send(&publisher, published, 1, "one");
    world.net.advance(Duration::from_millis(200));
    assert!(resets(&viewer).is_empty());
    world.net.advance(Duration::from_millis(200));
    world.net.stall(viewer.id, viewer.session, false);
    assert!(
        groups(&viewer, request).is_empty(),
        "it was reset on the way"
    );
    assert_eq!(world.relay.1.borrow().app.metrics().groups_expired, 1);
    world.send(&publisher, published, 2, "two");
    assert_eq!(groups(&viewer, request), [2]);
}

#[test]
fn viewer_that_takes_nothing_for_long_is_too_far_behind() {
    let mut config = Config::default();
    config.track.hopeless_after = Duration::from_secs(5);
    let mut world = World::with(config);
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let published = world.publish(&publisher, &name("a", "one"));
    let request = subscribe(&mut world, &viewer, Parameters::default());
    world.net.stall(viewer.id, viewer.session, true);
    for group in 1..12 {
        world.send(&publisher, published, group, "more");
        world.net.advance(Duration::from_secs(1));
    }
    let metrics = world.relay.1.borrow().app.metrics();
    assert_eq!(metrics.downstream_subscriptions, 0);
    world.net.stall(viewer.id, viewer.session, false);
    world.net.advance(Duration::from_secs(5));
    let code = Some(PublishDoneCode::TOO_FAR_BEHIND);
    assert_eq!(done(&viewer, request), code);
}

#[test]
fn new_subscriber_priority_moves_streams_that_are_open() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let published = world.publish(&publisher, &name("a", "one"));
    let request = subscribe(&mut world, &viewer, Parameters::default());
    world.send_open(&publisher, published, 1, "one");
    assert_eq!(groups(&viewer, request), [1]);
    let parameters = Parameters {
        subscriber_priority: Some(7),
        ..Parameters::default()
    };
    world
        .act(&viewer, |session| session.update(request, parameters))
        .unwrap();
    let moved: Vec<i32> = world.net.priorities.iter().map(|it| it.2).collect();
    let order = mainstem_core::moqt::filter::GroupOrder::Ascending;
    let expected = mainstem_core::moqt::track::stream_priority(7, 128, order, 1);
    assert_eq!(moved, [expected]);
}

#[test]
fn what_is_published_is_taken_from_the_start_and_never_paused_unless_told_otherwise() {
    for draft in DRAFTS {
        let mut world = World::with(Config::default());
        let (publisher, viewer) = (world.peer(draft), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        world.send(&publisher, published, 1, "before anybody came");
        let first = subscribe(&mut world, &viewer, Parameters::default());
        assert_eq!(groups(&viewer, first), [1], "{draft}");
        world
            .act(&viewer, |session| {
                session.cancel(first, StreamCode::CANCELLED)
            })
            .unwrap();
        world.net.advance(Duration::from_secs(10));
        assert!(updates(&mut world, &publisher).is_empty(), "{draft}");
    }
}
