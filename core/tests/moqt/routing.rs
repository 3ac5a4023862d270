//! How a relay finds publishers for viewers and viewers for publishers, and what it answers both.

use crate::house::Peer;
use crate::offers::{World, done, name, refused};
use crate::passing::{DRAFTS, EVERY_DRAFT, answer, header, object, objects};
use crate::wire::hex;
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{Message, RequestError};
use mainstem_core::moqt::name::{Location, RequestId, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::Event as SessionEvent;
use std::time::Duration;

#[test]
fn viewers_learn_the_largest_location_known_here_or_upstream() {
    covers!("MOQT19-9.4-4", "MOQT19-10.2.16-1", "MOQT19-10.2.16-2");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let told = Parameters {
        largest: Some(Location::new(4, 2)),
        ..Parameters::default()
    };
    let track = name("a", "one");
    let request = world.publish_with(&publisher, &track, told, Properties::default());
    let largest = |viewer: &Peer| answer(viewer).unwrap().0.largest;
    let (before, _) = world.watch("moqt-18", None);
    assert_eq!(largest(&before), Some(Location::new(4, 2)), "told upstream");
    let stream = world.open(&publisher, request, header(5, 0));
    world.write(&publisher, stream, &object(5, 0, 3), false);
    let (after, _) = world.watch("moqt-22", None);
    assert_eq!(largest(&after), Some(Location::new(5, 3)), "received");
}

#[test]
fn a_viewer_is_accepted_after_the_upstream_has_accepted() {
    covers!("MOQT19-9.4-2");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        publisher.announce("a");
        world.net.settle();
        let (viewer, request) = world.watch(draft, None);
        let (upstream, asked) = publisher.asked().remove(0);
        assert_eq!(asked, name("a", "one"));
        assert!(answer(&viewer).is_none() && refused(&viewer, request).is_none());
        world
            .act(&publisher, |s| {
                s.accept_subscribe(upstream, Parameters::default(), Properties::default())
            })
            .unwrap();
        assert!(answer(&viewer).is_some(), "{draft}");
    }
}

#[test]
fn a_viewer_that_does_not_wait_is_refused_at_once() {
    covers!("MOQT19-10.2.6-3");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let viewer = world.peer(draft);
        let parameters = Parameters {
            rendezvous_timeout_ms: Some(0),
            ..Parameters::default()
        };
        let request = world
            .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
            .unwrap();
        assert_eq!(refused(&viewer, request), Some(RequestCode::DOES_NOT_EXIST));
    }
}

#[test]
fn namespaces_are_told_to_all_who_asked_and_withdrawn_once() {
    covers!("MOQT19-6.2-1", "MOQT19-10.18-3", "MOQT19-10.18-5");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let path = |path: &str| TrackNamespace::from_path(path).unwrap();
        let discover = |world: &mut World, prefix: &str| {
            let prefix = path(prefix);
            world
                .act(&viewer, |s| {
                    s.subscribe_namespace(prefix, Parameters::default())
                })
                .unwrap()
        };
        let first = publisher.announce("live/a");
        world.net.settle();
        let wish = discover(&mut world, "live");
        publisher.announce("live/b/c");
        publisher.announce("elsewhere");
        world.net.settle();
        let overlapping = discover(&mut world, "live/b");
        assert_eq!(
            refused(&viewer, overlapping),
            Some(RequestCode::PREFIX_OVERLAP)
        );
        world
            .act(&publisher, |s| s.cancel(first, StreamCode::CANCELLED))
            .unwrap();
        let node = viewer.node.borrow();
        let told: Vec<(bool, TrackNamespace)> = node
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                SessionEvent::Namespace { request, suffix } if *request == wish => {
                    Some((true, suffix.clone()))
                }
                SessionEvent::NamespaceDone { request, suffix } if *request == wish => {
                    Some((false, suffix.clone()))
                }
                _ => None,
            })
            .collect();
        let expected = [(true, path("a")), (true, path("b/c")), (false, path("a"))];
        assert_eq!(told, expected, "{draft}");
    }
}

#[test]
fn nothing_is_asked_of_a_publisher_but_what_it_announced() {
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    publisher.announce("b");
    world.net.settle();
    let (viewer, request) = world.watch("moqt-22", None);
    assert!(refused(&viewer, request).is_some());
    let is_asked = |event: &SessionEvent| {
        matches!(
            event,
            SessionEvent::Request {
                message: Message::Subscribe(_),
                ..
            }
        )
    };
    assert!(!publisher.has(is_asked));
}

#[test]
fn unknown_error_codes_of_a_publisher_mean_that_something_went_wrong() {
    covers!("MOQT19-14-1", "MOQT19-14-5");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let publisher = world.peer(draft);
        publisher.announce("a");
        world.net.settle();
        let (viewer, request) = world.watch("moqt-22", None);
        let (upstream, _) = publisher.asked().remove(0);
        let unknown = RequestError::new(RequestCode(0x7f * 5 + 0x9d), "for a reason of our own");
        world
            .act(&publisher, |s| s.reject(upstream, unknown))
            .unwrap();
        let code = refused(&viewer, request);
        assert_eq!(code, Some(RequestCode::INTERNAL_ERROR), "{draft}");

        let mut ends = Vec::new();
        for code in [PublishDoneCode::INTERNAL_ERROR, PublishDoneCode(0x7777)] {
            let mut world = World::new();
            let publisher = world.peer(draft);
            let request = world.publish(&publisher, &name("a", "one"));
            let (viewer, of_viewer) = world.watch("moqt-22", None);
            world
                .act(&publisher, |s| s.publish_done(request, code, "over"))
                .unwrap();
            let at_once = done(&viewer, of_viewer);
            world.net.advance(Duration::from_mins(1));
            ends.push((at_once, done(&viewer, of_viewer)));
        }
        assert_eq!(ends[0], ends[1], "{draft}");
    }
}

#[test]
fn objects_of_several_publishers_reach_the_viewer_once_each() {
    covers!("MOQT19-9.3-1", "MOQT19-9.3-2", "MOQT19-9.5-15");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let (one, two) = (world.peer("moqt-22"), world.peer("moqt-18"));
        let of_one = world.publish(&one, &name("a", "one"));
        let (viewer, _) = world.watch(draft, None);
        let of_two = world.publish(&two, &name("a", "one"));
        assert!(two.is_accepted(of_two), "the track has viewers");
        for (peer, request, group) in [
            (&one, of_one, 1),
            (&two, of_two, 1),
            (&two, of_two, 2),
            (&one, of_one, 2),
        ] {
            let stream = world.open(peer, request, header(group, 0));
            world.write(peer, stream, &object(group, 0, 0), true);
        }
        assert_eq!(
            objects(&viewer),
            [object(1, 0, 0), object(2, 0, 0)],
            "{draft}"
        );
    }
}

#[test]
fn every_publisher_that_announced_is_asked_now_and_later() {
    covers!(
        "MOQT19-9.5-4",
        "MOQT19-9.5-5",
        "MOQT19-9.5-9",
        "MOQT19-9.5-14"
    );
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let publishers = [
            world.peer("moqt-22"),
            world.peer("moqt-18"),
            world.peer(draft),
        ];
        let silent = world.peer("moqt-22");
        publishers[0].announce("live");
        publishers[1].announce("live/a");
        world.net.settle();
        let viewer = world.peer(draft);
        let track = name("live/a", "one");
        world
            .act(&viewer, |s| {
                s.subscribe(track.clone(), Parameters::default())
            })
            .unwrap();
        let asked =
            |peer: &Peer| -> Vec<_> { peer.asked().into_iter().map(|(_, name)| name).collect() };
        assert_eq!(asked(&publishers[0]), std::slice::from_ref(&track));
        assert_eq!(asked(&publishers[1]), std::slice::from_ref(&track));
        let (request, _) = publishers[0].asked().remove(0);
        world
            .act(&publishers[0], |s| {
                s.accept_subscribe(request, Parameters::default(), Properties::default())
            })
            .unwrap();
        publishers[2].announce("live/a");
        world.net.settle();
        assert_eq!(asked(&publishers[2]), [track], "{draft}");
        assert!(asked(&silent).is_empty());
    }
}

#[test]
fn announcements_and_offers_reach_every_subscriber_that_matches() {
    covers!("MOQT19-9.5-6");
    let mut world = World::new();
    let viewers = EVERY_DRAFT.map(|draft| world.peer(draft));
    let prefix = || TrackNamespace::from_path("a").unwrap();
    for viewer in &viewers {
        world
            .act(viewer, |s| {
                s.subscribe_namespace(prefix(), Parameters::default())
            })
            .unwrap();
        world.wish(viewer, "a", Parameters::default());
    }
    let publisher = world.peer("moqt-22");
    publisher.announce("a/b");
    world.publish(&publisher, &name("a/b", "one"));
    for viewer in &viewers {
        assert!(viewer.has(|event| matches!(event, SessionEvent::Namespace { .. })));
        assert_eq!(crate::offers::offers(viewer).len(), 1);
    }
}

#[test]
fn nothing_outside_the_range_is_sent() {
    covers!("MOQT19-5.1.2-4");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let publisher = world.peer("moqt-22");
        let request = world.publish(&publisher, &name("a", "one"));
        let range = Filter::AbsoluteRange {
            start: Location::new(2, 1),
            end_group: 3,
            end_object: None,
        };
        let (viewer, _) = world.watch(draft, Some(range));
        for group in 1..=4 {
            let stream = world.open(&publisher, request, header(group, 0));
            for place in 0..3 {
                world.write(&publisher, stream, &object(group, 0, place), place == 2);
            }
        }
        let mut places: Vec<(u64, u64)> = objects(&viewer)
            .iter()
            .map(|o| (o.group, o.object))
            .collect();
        places.sort_unstable();
        assert_eq!(places, [(2, 1), (2, 2), (3, 0), (3, 1), (3, 2)], "{draft}");
    }
}

#[test]
fn each_of_several_subscriptions_gets_its_own_objects() {
    covers!("MOQT19-5.1-6");
    let mut world = World::new();
    let publisher = world.peer("moqt-22");
    let request = world.publish(&publisher, &name("a", "one"));
    let (viewer, first) = world.watch("moqt-22", None);
    let second = world
        .act(&viewer, |s| {
            s.subscribe(name("a", "one"), Parameters::default())
        })
        .unwrap();
    let stream = world.open(&publisher, request, header(1, 0));
    world.write(&publisher, stream, &object(1, 0, 0), true);
    let node = viewer.node.borrow();
    let requests: Vec<RequestId> = node
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            SessionEvent::Object { request, .. } => Some(*request),
            _ => None,
        })
        .collect();
    assert_eq!(requests, [first, second]);
}

#[test]
fn a_publisher_that_holds_back_is_asked_to_forward_for_a_viewer() {
    covers!("MOQT20-9.5-2");
    for draft in ["moqt-22", "moqt-21", "moqt-20"] {
        let mut world = World::new();
        let (first, publisher) = (world.peer("moqt-22"), world.peer(draft));
        world.publish(&first, &name("a", "one"));
        let (_viewer, _) = world.watch("moqt-22", None);
        let quiet = Parameters {
            forward: Some(false),
            ..Parameters::default()
        };
        let request =
            world.publish_with(&publisher, &name("a", "one"), quiet, Properties::default());
        let asked = publisher.find(|event| match event {
            SessionEvent::Update {
                request: of,
                parameters,
                ..
            } if *of == request => Some(parameters.forward),
            _ => None,
        });
        assert_eq!(asked, Some(Some(true)), "{draft}");
    }
}
#[test]
fn a_track_with_an_unknown_mandatory_property_is_refused() {
    covers!(
        "MOQT19-2.5.1-2",
        "MOQT19-2.5.1-3",
        "MOQT19-2.5.1-4",
        "MOQT19-2.5.1-5"
    );
    let mandatory = || Properties::from_track(Bytes::from(hex("c0 40 00 01"))).unwrap();
    for draft in DRAFTS {
        let mut world = World::new();
        let publisher = world.peer(draft);
        let none = Parameters::default;
        let track = name("a", "one");
        let offer = world.publish_with(&publisher, &track, none(), mandatory());
        let unsupported = Some(RequestCode::UNSUPPORTED_EXTENSION);
        assert_eq!(refused(&publisher, offer), unsupported, "{draft}");

        publisher.announce("a");
        world.net.settle();
        let (viewer, request) = world.watch("moqt-22", None);
        let (upstream, _) = publisher.asked().remove(0);
        world
            .act(&publisher, |s| {
                s.accept_subscribe(upstream, none(), mandatory())
            })
            .unwrap();
        assert_eq!(refused(&viewer, request), unsupported, "{draft}");
        let is_cancelled = publisher.has(|event| {
            matches!(event, SessionEvent::Cancelled { request, .. } if *request == upstream)
        });
        assert!(is_cancelled, "{draft}");
    }
}

/// Whether a publisher has been told to send objects of a subscription, by the last word on it.
fn is_forwarding(publisher: &Peer, wanted: RequestId) -> bool {
    let node = publisher.node.borrow();
    let mut state = true;
    for (_, event) in &node.events {
        match event {
            SessionEvent::Request {
                request,
                message: Message::Subscribe(subscribe),
            } if *request == wanted => state = subscribe.parameters.forward.unwrap_or(true),
            SessionEvent::Update {
                request,
                parameters,
                ..
            } if *request == wanted => state = parameters.forward.unwrap_or(state),
            _ => {}
        }
    }
    state
}

#[test]
fn one_viewer_that_wants_objects_is_enough_for_the_publishers_to_send_them() {
    covers!("MOQT19-9.2-1", "MOQT19-9.5-8", "MOQT19-9.5-10");
    for draft in DRAFTS {
        let mut world = World::new();
        let publishers = [world.peer(draft), world.peer("moqt-22")];
        for publisher in &publishers {
            publisher.announce("a");
        }
        world.net.settle();
        let viewers = [Some(false), Some(true)].map(|forward| {
            let viewer = world.peer("moqt-22");
            let parameters = Parameters {
                forward,
                ..Parameters::default()
            };
            world
                .act(&viewer, |s| s.subscribe(name("a", "one"), parameters))
                .unwrap();
            for publisher in &publishers {
                for (request, _) in publisher.asked() {
                    if publisher.is_pending(request) {
                        world
                            .act(publisher, |s| {
                                let none = Parameters::default();
                                s.accept_subscribe(request, none, Properties::default())
                            })
                            .unwrap();
                    }
                }
            }
            viewer
        });
        for publisher in &publishers {
            let (request, _) = publisher.asked().remove(0);
            assert!(is_forwarding(publisher, request), "{draft}");
        }
        let (request, _) = publishers[0].asked().remove(0);
        let stream = world.open(&publishers[0], request, header(1, 0));
        world.write(&publishers[0], stream, &object(1, 0, 0), true);
        assert!(objects(&viewers[0]).is_empty());
        assert_eq!(objects(&viewers[1]).len(), 1);
    }
}

#[test]
fn a_publish_of_a_track_with_viewers_is_answered_by_a_wish_for_its_objects() {
    covers!("MOQT19-9.5-16");
    let mut world = World::new();
    let (first, publisher) = (world.peer("moqt-22"), world.peer("moqt-18"));
    world.publish(&first, &name("a", "one"));
    let (_viewer, _) = world.watch("moqt-22", None);
    let quiet = Parameters {
        forward: Some(false),
        ..Parameters::default()
    };
    let request = world.publish_with(&publisher, &name("a", "one"), quiet, Properties::default());
    let answer = publisher.find(|event| match event {
        SessionEvent::Accepted {
            request: of,
            accepted: mainstem_core::moqt::session::Accepted::Request(answer),
        } if *of == request => Some(answer.parameters.forward),
        _ => None,
    });
    // Left out it is 1.
    assert!(matches!(answer, Some(None | Some(true))), "{answer:?}");
}

#[test]
fn a_track_that_was_skipped_stays_skipped() {
    covers!("MOQT19-6.1-2");
    for draft in DRAFTS {
        let mut config = mainstem_core::moqt::relay::Config::default();
        config.sessions.limits.requests_max = 2;
        let mut world = World::with(config);
        let publishers = [(); 3].map(|()| world.peer("moqt-22"));
        let viewer = world.peer(draft);
        world.wish(&viewer, "a", Parameters::default());
        let offered = |viewer: &Peer| -> Vec<_> {
            let offers = crate::offers::offers(viewer);
            offers.into_iter().map(|offer| offer.track).collect()
        };
        world.publish(&publishers[0], &name("a", "one"));
        world.publish(&publishers[1], &name("a", "two"));
        assert!(viewer.has(|event| matches!(event, SessionEvent::PublishSkipped { .. })));
        let taken = crate::offers::offers(&viewer)[0].request_id;
        let error = RequestError::new(RequestCode::UNINTERESTED, "no");
        world.act(&viewer, |s| s.reject(taken, error)).unwrap();
        world.publish(&publishers[2], &name("a", "three"));
        assert_eq!(offered(&viewer), [name("a", "one"), name("a", "three")]);
    }
}

#[test]
fn tokens_of_a_wish_are_not_passed_back_with_the_offers() {
    covers!("MOQT20-10.2.2-1");
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let token = mainstem_core::moqt::parameter::AuthorizationToken::UseValue {
            token_type: 0,
            value: Bytes::from_static(b"secret"),
        };
        let parameters = Parameters {
            authorization_tokens: vec![token],
            ..Parameters::default()
        };
        world.wish(&viewer, "a", parameters);
        world.publish(&publisher, &name("a", "one"));
        let offers = crate::offers::offers(&viewer);
        assert_eq!(offers.len(), 1);
        assert!(offers[0].parameters.authorization_tokens.is_empty());
    }
}
