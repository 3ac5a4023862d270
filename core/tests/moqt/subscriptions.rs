//! A subscription through a relay: what is too old for it, what its filters may say, where it goes on
//! after a pause, and new groups.

use crate::aggregation::{forward, resets, subscribe, updates};
use crate::house::Peer;
use crate::offers::{DRAFTS, World, done, groups, name, offers, refused};
use crate::passing::{header, object, objects};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::{Filter, RangeFilter, RangeSet, RangeSubject};
use mainstem_core::moqt::message::{Fetch, FetchTarget, RequestOk};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::{FillParameters, Parameters};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::relay::Config;
use mainstem_core::moqt::session::{Accepted, Event as SessionEvent};
use mainstem_core::moqt::subscriber::JoinStart;
use std::time::Duration;

const LATE: StreamCode = StreamCode::DELIVERY_TIMEOUT;
const NONE: [u64; 0] = [];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn places(peer: &Peer) -> Vec<(u64, u64)> {
    let objects = objects(peer).into_iter();
    objects.map(|it| (it.group, it.object)).collect()
}

/// Of a fetch or a fill.
fn fetched(peer: &Peer) -> Vec<(u64, u64)> {
    let node = peer.node.borrow();
    let objects = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::FetchObject { object, .. } => Some((object.group, object.object)),
        _ => None,
    });
    objects.collect()
}

fn update(world: &mut World, peer: &Peer, request: RequestId, parameters: Parameters) {
    world
        .act(peer, |session| session.update(request, parameters))
        .unwrap();
}

/// Asks for the objects of the newest group before a subscription, by a FETCH of draft 18.
fn join(world: &mut World, peer: &Peer, joining: RequestId) {
    let fetch = Fetch {
        request_id: RequestId(0),
        target: FetchTarget::RelativeJoin { joining, groups: 0 },
        parameters: Parameters::default(),
    };
    world.act(peer, |session| session.fetch(fetch)).unwrap();
}

#[test]
fn object_that_waits_for_too_long_has_its_stream_reset_and_no_other_opened() {
    covers!("MOQT19-8-1", "MOQT19-8-2", "MOQT19-8-3", "MOQT19-8-4");
    for draft in DRAFTS {
        for (age, is_late) in [(400, false), (600, true)] {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let published = world.publish(&publisher, &name("a", "one"));
            let parameters = Parameters {
                object_delivery_timeout_ms: Some(500),
                ..Parameters::default()
            };
            subscribe(&mut world, &viewer, parameters);
            let stream = world.open(&publisher, published, header(1, 0));
            world.write(&publisher, stream, &object(1, 0, 0), false);
            world.net.stall(viewer.id, viewer.session, true);
            world.write(&publisher, stream, &object(1, 0, 1), false);
            // The age of this one counts: it waits behind the one before it.
            world.write(&publisher, stream, &object(1, 0, 2), false);
            world.net.advance(ms(age));
            world.net.stall(viewer.id, viewer.session, false);
            world.write(&publisher, stream, &object(1, 0, 3), false);
            if is_late {
                // The reset overtakes what was with the transport already.
                assert!(places(&viewer).len() < 3, "{draft}");
                assert_eq!(resets(&viewer), [(1, LATE)], "{draft}");
            } else {
                let all = [(1, 0), (1, 1), (1, 2), (1, 3)];
                assert_eq!(places(&viewer), all, "{draft}");
                assert!(resets(&viewer).is_empty());
            }
        }
    }
}

#[test]
fn payload_that_takes_too_long_to_arrive_makes_its_object_late() {
    covers!("MOQT20-8-1");
    for draft in DRAFTS {
        for (age, delivered) in [(400, vec![1]), (600, vec![])] {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let published = world.publish(&publisher, &name("a", "one"));
            let parameters = Parameters {
                object_delivery_timeout_ms: Some(500),
                ..Parameters::default()
            };
            let request = subscribe(&mut world, &viewer, parameters);
            let (id, session) = (publisher.id, publisher.session);
            world.net.ration(id, session, Some(4));
            world.send(&publisher, published, 1, &"x".repeat(40_000));
            assert!(groups(&viewer, request).is_empty());
            world.net.advance(ms(age));
            world.net.ration(id, session, None);
            assert_eq!(groups(&viewer, request), delivered, "{draft} {age}");
        }
    }
}

#[test]
fn subgroup_has_its_time_from_its_end_on_and_is_reset_when_it_is_over() {
    covers!("MOQT19-8-9", "MOQT19-8-10");
    for draft in DRAFTS {
        for is_of_track in [true, false] {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let properties = if is_of_track {
                let builder = PropertiesBuilder::new();
                builder.subgroup_delivery_timeout_ms(300).build()
            } else {
                Properties::default()
            };
            let none = Parameters::default();
            let published = world.publish_with(&publisher, &name("a", "one"), none, properties);
            let parameters = Parameters {
                subgroup_delivery_timeout_ms: (!is_of_track).then_some(300),
                ..Parameters::default()
            };
            subscribe(&mut world, &viewer, parameters);
            let stream = world.open(&publisher, published, header(1, 0));
            world.write(&publisher, stream, &object(1, 0, 0), false);
            world.net.advance(ms(5000));
            world.net.stall(viewer.id, viewer.session, true);
            world.net.advance(ms(5000));
            // Only now is the last object known.
            world.write(&publisher, stream, &object(1, 0, 1), true);
            world.net.advance(ms(200));
            let expired = |world: &World| world.relay.1.borrow().app.metrics().groups_expired;
            assert_eq!(expired(&world), 0, "{draft}");
            world.net.advance(ms(200));
            assert_eq!(expired(&world), 1, "{draft}");
            world.net.stall(viewer.id, viewer.session, false);
            assert_eq!(places(&viewer), [(1, 0)], "{draft}");
            assert_eq!(resets(&viewer), [(1, LATE)], "{draft}");
        }
    }
}

#[test]
fn datagram_that_waits_for_too_long_is_dropped() {
    covers!("MOQT19-8-7");
    // (viewer's object and subgroup time-outs, the track's, age, delivered)
    for (object_ms, subgroup_ms, track_ms, age, delivered) in [
        (None, None, None, 9000, true),
        (Some(500), None, None, 400, true),
        (Some(500), None, None, 600, false),
        (Some(500), Some(300), None, 400, false),
        (Some(500), None, Some(300), 400, false),
    ] {
        for draft in DRAFTS {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let properties = track_ms.map_or(Properties::default(), |ms| {
                let builder = PropertiesBuilder::new();
                builder.object_delivery_timeout_ms(ms).build()
            });
            let none = Parameters::default();
            let published = world.publish_with(&publisher, &name("a", "one"), none, properties);
            let parameters = Parameters {
                object_delivery_timeout_ms: object_ms,
                subgroup_delivery_timeout_ms: subgroup_ms,
                ..Parameters::default()
            };
            subscribe(&mut world, &viewer, parameters);
            world.net.stall(viewer.id, viewer.session, true);
            let datagram = Object {
                subgroup: None,
                ..object(1, 0, 0)
            };
            world
                .act(&publisher, |it| it.send_datagram(published, &datagram))
                .unwrap();
            world.net.advance(ms(age));
            world.net.stall(viewer.id, viewer.session, false);
            let came = viewer.has(|event| matches!(event, SessionEvent::Datagram { .. }));
            assert_eq!(came, delivered, "{draft} after {age}");
        }
    }
}

#[test]
fn absolute_start_is_not_served_what_is_past_its_time_in_the_cache() {
    covers!("MOQT19-12.3-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let properties = PropertiesBuilder::new().max_cache_duration_ms(2000).build();
        let none = Parameters::default();
        let request = world.publish_with(&publisher, &name("a", "one"), none, properties);
        world.watch("moqt-22", None);
        let stream = world.open(&publisher, request, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), false);
        world.net.advance(ms(1000));
        world.write(&publisher, stream, &object(1, 0, 1), true);
        let start = Some(Filter::Absolute {
            start: Location::ZERO,
        });
        world.net.advance(ms(900));
        let (in_time, _) = world.watch(draft, start);
        assert_eq!(places(&in_time), [(1, 0), (1, 1)], "{draft}");
        world.net.advance(ms(200));
        let (later, _) = world.watch(draft, start);
        assert_eq!(places(&later), [(1, 1)], "{draft}: each has its own time");
        world.net.advance(ms(1000));
        let (late, _) = world.watch(draft, start);
        assert_eq!(places(&late), [], "{draft}");
    }
}

#[test]
fn faulty_range_filters_of_a_subscription_are_refused() {
    covers!("MOQT19-5.1.3-1", "MOQT19-10.2.12-1", "MOQT19-10.2.13-1");
    let faulty = [
        (RangeSubject::Object, "00 01 ff ffffffffffffffff"),
        (RangeSubject::Subgroup, "00 01 ff ffffffffffffffff"),
        (RangeSubject::Priority, "00 80 fa 06"),
        (RangeSubject::ObjectProperty, "00 3d 02"),
    ];
    for draft in ["moqt-22", "moqt-20"] {
        for (subject, value) in faulty {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            let published = world.publish(&publisher, &name("a", "one"));
            let parameters = || Parameters {
                range_filters: vec![RangeFilter {
                    subject,
                    value: Bytes::from(hex(value)),
                }],
                ..Parameters::default()
            };
            let code = Some(RequestCode::INVALID_FILTER);
            let request = subscribe(&mut world, &viewer, parameters());
            assert_eq!(refused(&viewer, request), code, "{draft} {subject:?}");
            let request = subscribe(&mut world, &viewer, Parameters::default());
            update(&mut world, &viewer, request, parameters());
            let failed = Some(PublishDoneCode::UPDATE_FAILED);
            assert_eq!(done(&viewer, request), failed, "{draft} {subject:?}");
            world.send(&publisher, published, 1, "one");
            assert!(groups(&viewer, request).is_empty());
        }
    }
}

#[test]
fn more_ranges_than_were_offered_are_refused() {
    covers!("MOQT19-5.1.3-3", "MOQT19-10.3.1.6-2");
    let ranges = |subject, count: u64| {
        let ranges = (0..count).map(|at| (2 * at, Some(2 * at))).collect();
        let set = RangeSet {
            set: 0,
            property: None,
            ranges,
        };
        Parameters {
            range_filters: vec![RangeFilter::new(subject, &set).unwrap()],
            ..Parameters::default()
        }
    };
    for draft in ["moqt-22", "moqt-20"] {
        let code = RequestCode::INVALID_FILTER;
        // All filters of a subscription count together, and 64 are offered.
        for (second, is_refused) in [(24, false), (25, true)] {
            let mut world = World::new();
            let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
            world.publish(&publisher, &name("a", "one"));
            let first = ranges(RangeSubject::Object, 40);
            let request = subscribe(&mut world, &viewer, first);
            assert!(viewer.is_accepted(request), "{draft}");
            let update_of = ranges(RangeSubject::Subgroup, second);
            update(&mut world, &viewer, request, update_of);
            let error = viewer.find(|event| match event {
                SessionEvent::Updated { answer, .. } => Some(answer.clone().err()),
                _ => None,
            });
            let error = error.flatten().map(|error| error.code);
            assert_eq!(error, is_refused.then_some(code), "{draft} {second}");
        }
        let mut config = Config::default();
        config.track.filter_ranges_max = 2;
        let mut world = World::with(config);
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        world.publish(&publisher, &name("a", "one"));
        for (count, is_refused) in [(2, false), (3, true)] {
            let parameters = ranges(RangeSubject::Object, count);
            let request = subscribe(&mut world, &viewer, parameters);
            assert_eq!(
                refused(&viewer, request),
                is_refused.then_some(code),
                "{draft}"
            );
        }
    }
}

#[test]
fn subscription_goes_on_with_the_next_object_after_a_pause() {
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        world.watch("moqt-22", None);
        let request = subscribe(&mut world, &viewer, Parameters::default());
        let stream = world.open(&publisher, published, header(1, 0));
        let write = |world: &mut World, id| {
            world.write(&publisher, stream, &object(1, 0, id), false);
        };
        write(&mut world, 0);
        update(&mut world, &viewer, request, forward(false));
        write(&mut world, 1);
        update(&mut world, &viewer, request, forward(true));
        assert_eq!(places(&viewer), [(1, 0)], "{draft}");
        write(&mut world, 2);
        assert_eq!(places(&viewer), [(1, 0), (1, 2)], "{draft}");
    }
}

#[test]
fn fetch_joins_a_subscription_where_its_forward_state_became_1() {
    covers!("MOQT19-5.1-4");
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        world.watch("moqt-22", None);
        let stream = world.open(&publisher, published, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), false);
        let request = subscribe(&mut world, &viewer, forward(false));
        world.write(&publisher, stream, &object(1, 0, 1), false);
        let mut resumed = forward(true);
        if draft != "moqt-18" {
            // A fill ends where the subscription is when the update is taken.
            let filter = Some(JoinStart::Relative(0).filter());
            resumed.fill = Some(Box::new(FillParameters {
                filter,
                ..FillParameters::default()
            }));
        }
        update(&mut world, &viewer, request, resumed);
        let told = viewer.find(|event| match event {
            SessionEvent::Updated {
                answer: Ok(answer), ..
            } => Some(answer.parameters.largest),
            _ => None,
        });
        assert_eq!(told, Some(Some(Location::new(1, 1))), "{draft}");
        world.write(&publisher, stream, &object(1, 0, 2), false);
        // Nothing changes from 0 to 1 here.
        update(&mut world, &viewer, request, forward(true));
        world.write(&publisher, stream, &object(1, 0, 3), false);
        if draft == "moqt-18" {
            join(&mut world, &viewer, request);
        }
        assert_eq!(fetched(&viewer), [(1, 0), (1, 1)], "{draft}");
        assert_eq!(places(&viewer), [(1, 2), (1, 3)], "{draft}");
    }
}

#[test]
fn fetch_joins_an_offered_subscription_where_its_publish_said() {
    covers!("MOQT19-5.1-4");
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let published = world.publish(&publisher, &name("a", "one"));
        world.watch("moqt-22", None);
        let stream = world.open(&publisher, published, header(1, 0));
        world.write(&publisher, stream, &object(1, 0, 0), false);
        let from_next = Parameters {
            filter: Some(Filter::NextObject),
            ..Parameters::default()
        };
        // Draft 18 says in PUBLISH_OK what later drafts say when they ask for tracks.
        let none = Parameters::default();
        let (wished, answered) = match draft {
            "moqt-18" => (none, from_next),
            _ => (from_next, none),
        };
        world.wish(&viewer, "a", wished);
        let offer = offers(&viewer)[0].clone();
        assert_eq!(offer.parameters.largest, Some(Location::new(1, 0)));
        // The answer takes its time.
        world.write(&publisher, stream, &object(1, 0, 1), false);
        world
            .act(&viewer, |session| {
                let answer = RequestOk {
                    parameters: answered,
                    ..RequestOk::default()
                };
                session.accept(offer.request_id, answer)
            })
            .unwrap();
        if draft == "moqt-18" {
            join(&mut world, &viewer, offer.request_id);
            assert_eq!(fetched(&viewer), [(1, 0)]);
        }
        assert_eq!(places(&viewer), [(1, 1)], "{draft}");
    }
}

#[test]
fn update_that_asks_for_a_new_group_is_passed_on_once() {
    covers!("MOQT19-10.2.18-4");
    let wish = |value| Parameters {
        new_group_request: Some(value),
        ..Parameters::default()
    };
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer(draft), world.peer(draft));
        let properties = PropertiesBuilder::new().dynamic_groups(true).build();
        let at = Parameters {
            largest: Some(Location::new(4, 2)),
            ..Parameters::default()
        };
        let track = name("a", "one");
        let published = world.publish_with(&publisher, &track, at, properties);
        let request = subscribe(&mut world, &viewer, Parameters::default());
        updates(&mut world, &publisher);
        updates(&mut world, &publisher);
        let ask = |world: &mut World, value| -> Vec<u64> {
            update(world, &viewer, request, wish(value));
            let asked = updates(world, &publisher).into_iter();
            asked.filter_map(|it| it.new_group_request).collect()
        };
        assert_eq!(ask(&mut world, 4), NONE, "there is group 4 at {draft}");
        assert_eq!(ask(&mut world, 5), [5], "{draft}");
        assert_eq!(ask(&mut world, 5), NONE, "it is on its way at {draft}");
        assert_eq!(ask(&mut world, 0), NONE, "so is any at {draft}");
        assert_eq!(ask(&mut world, 7), [7], "{draft}");
        world.send(&publisher, published, 8, "eight");
        assert_eq!(ask(&mut world, 7), NONE, "{draft}");
        assert_eq!(ask(&mut world, 0), [0], "{draft}");
    }
}

#[test]
fn largest_location_that_a_publisher_tells_is_told_on() {
    covers!("MOQT20-10.10-2", "MOQT20-10.10-3");
    let mut world = World::new();
    let (publisher, old, new) = (
        world.peer("moqt-22"),
        world.peer("moqt-18"),
        world.peer("moqt-20"),
    );
    let published = world.publish(&publisher, &name("a", "one"));
    let requests = [&old, &new].map(|viewer| subscribe(&mut world, viewer, Parameters::default()));
    let largest = Location::new(9, 1);
    world
        .act(&publisher, |session| {
            session.notify_state(published, largest)
        })
        .unwrap();
    let told = |viewer: &Peer| {
        viewer.find(|event| match event {
            SessionEvent::StateNotified {
                request,
                parameters,
            } => Some((*request, parameters.clone())),
            _ => None,
        })
    };
    let only_largest = Parameters {
        largest: Some(largest),
        ..Parameters::default()
    };
    assert_eq!(told(&new), Some((requests[1], only_largest)));
    assert_eq!(told(&old), None, "draft 18 has no word for it");
    let (late, _) = world.watch("moqt-22", None);
    let answered = late.find(|event| match event {
        SessionEvent::Accepted {
            accepted: Accepted::Subscribe(answer),
            ..
        } => Some(answer.parameters.largest),
        _ => None,
    });
    assert_eq!(answered, Some(Some(largest)));
}
