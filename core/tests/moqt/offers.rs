//! SUBSCRIBE_TRACKS at a relay: who is sent a PUBLISH of which tracks, and what becomes of it.

use crate::house::{Peer, Sdk, session_config};
use crate::net::{Net, Node, NodeId};
use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use mainstem_core::moqt::filter::{Filter, GroupOrder, RangeFilter, RangeSet, RangeSubject};
use mainstem_core::moqt::message::{Message, Publish, RequestError, RequestOk};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session::{Event as SessionEvent, Sessions};
use std::cell::RefCell;
use std::rc::Rc;

pub(crate) const DRAFTS: [&str; 3] = ["moqt-22", "moqt-20", "moqt-18"];
/// Draft 16 too, where it has the words.
pub(crate) const EVERY_DRAFT: [&str; 4] = ["moqt-22", "moqt-20", "moqt-18", "moqt-16"];

/// An open relay and peers that the test plays message by message.
pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) relay: (NodeId, Rc<RefCell<Node<Relay>>>),
}

impl World {
    pub(crate) fn new() -> Self {
        // What nobody watches is paused, which these tests look at.
        Self::with(Config {
            forward_published: false,
            ..Config::default()
        })
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut net = Net::new(11);
        let relay = net.add(Relay::new(config, Policy::Open));
        Self { net, relay }
    }

    pub(crate) fn peer(&mut self, draft: &str) -> Peer {
        let (id, node) = self.net.add(Sdk {
            sessions: Sessions::new(session_config()),
        });
        let (session, _) = self.net.connect(id, self.relay.0, draft, "/");
        Peer { id, node, session }
    }

    /// Acts on a peer's session and lets the net settle.
    pub(crate) fn act<R>(
        &mut self,
        peer: &Peer,
        act: impl FnOnce(&mut mainstem_core::moqt::session::Session) -> R,
    ) -> R {
        let result = peer.act(act);
        self.net.settle();
        result
    }

    pub(crate) fn publish(&mut self, peer: &Peer, track: &FullTrackName) -> RequestId {
        self.publish_with(peer, track, Parameters::default(), Properties::default())
    }

    pub(crate) fn publish_with(
        &mut self,
        peer: &Peer,
        track: &FullTrackName,
        parameters: Parameters,
        properties: Properties,
    ) -> RequestId {
        self.act(peer, |session| {
            session.publish(track.clone(), parameters, properties)
        })
        .unwrap()
    }

    pub(crate) fn wish(&mut self, peer: &Peer, prefix: &str, parameters: Parameters) -> RequestId {
        let prefix = TrackNamespace::from_path(prefix).unwrap();
        self.act(peer, |session| session.subscribe_tracks(prefix, parameters))
            .unwrap()
    }

    /// Agrees to an offer.
    pub(crate) fn take(&mut self, peer: &Peer, offer: RequestId) {
        self.act(peer, |session| session.accept(offer, RequestOk::default()))
            .unwrap();
    }

    /// Sends one whole subgroup of one object.
    pub(crate) fn send(&mut self, peer: &Peer, request: RequestId, group: u64, payload: &str) {
        self.send_first(peer, request, group, payload, true);
    }

    /// The same, and the subgroup goes on.
    pub(crate) fn send_open(&mut self, peer: &Peer, request: RequestId, group: u64, payload: &str) {
        self.send_first(peer, request, group, payload, false);
    }

    fn send_first(
        &mut self,
        peer: &Peer,
        request: RequestId,
        group: u64,
        payload: &str,
        fin: bool,
    ) {
        self.act(peer, |session| {
            let header = SubgroupHeader {
                track_alias: mainstem_core::moqt::name::TrackAlias(0),
                group,
                subgroup: SubgroupId::Zero,
                priority: None,
                has_properties: false,
                end_of_group: true,
                first_object: true,
            };
            let stream = session.open_subgroup(request, header, 0).unwrap();
            let object = Object {
                group,
                object: 0,
                subgroup: Some(0),
                payload: Bytes::copy_from_slice(payload.as_bytes()).into(),
                ..Object::default()
            };
            session.send_object(stream, &object, fin, false).unwrap();
        });
    }
}

pub(crate) fn name(namespace: &str, track: &str) -> FullTrackName {
    FullTrackName::new(
        TrackNamespace::from_path(namespace).unwrap(),
        TrackName(Bytes::copy_from_slice(track.as_bytes())),
    )
    .unwrap()
}

/// The PUBLISHes that a peer was sent.
pub(crate) fn offers(peer: &Peer) -> Vec<Publish> {
    let node = peer.node.borrow();
    let offers = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Request {
            message: Message::Publish(publish),
            ..
        } => Some(publish.clone()),
        _ => None,
    });
    offers.collect()
}

fn offered(peer: &Peer) -> Vec<FullTrackName> {
    offers(peer).into_iter().map(|offer| offer.track).collect()
}

/// Groups of the objects that a peer was sent for a request.
pub(crate) fn groups(peer: &Peer, wanted: RequestId) -> Vec<u64> {
    let node = peer.node.borrow();
    let groups = node.events.iter().filter_map(|(_, event)| match event {
        SessionEvent::Object {
            request, object, ..
        } if *request == wanted => Some(object.group),
        _ => None,
    });
    groups.collect()
}

pub(crate) fn done(peer: &Peer, wanted: RequestId) -> Option<PublishDoneCode> {
    peer.find(|event| match event {
        SessionEvent::PublishDone { request, code, .. } if *request == wanted => Some(*code),
        _ => None,
    })
}

pub(crate) fn refused(peer: &Peer, wanted: RequestId) -> Option<RequestCode> {
    peer.find(|event| match event {
        SessionEvent::Rejected { request, error } if *request == wanted => Some(error.code),
        _ => None,
    })
}

#[test]
fn tracks_below_a_prefix_are_offered_now_and_later() {
    covers!("MOQT19-5.1-5", "MOQT19-9.5-11");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let first = world.publish(&publisher, &name("a/b", "one"));
        world.publish(&publisher, &name("x", "elsewhere"));
        let wish = world.wish(&viewer, "a", Parameters::default());
        assert!(viewer.is_accepted(wish), "{draft}");
        assert_eq!(offered(&viewer), [name("a/b", "one")], "{draft}");
        world.publish(&publisher, &name("a", "two"));
        let two = [name("a/b", "one"), name("a", "two")];
        assert_eq!(offered(&viewer), two, "{draft}");

        let offer = offers(&viewer)[0].request_id;
        world.take(&viewer, offer);
        world.send(&publisher, first, 7, "seven");
        assert_eq!(groups(&viewer, offer), [7], "{draft}");
        world
            .act(&publisher, |session| {
                session.publish_done(first, PublishDoneCode::TRACK_ENDED, "over")
            })
            .unwrap();
        assert_eq!(done(&viewer, offer), Some(PublishDoneCode::TRACK_ENDED));
    }
}

#[test]
fn own_tracks_and_tracks_already_subscribed_to_are_not_offered() {
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        world.publish(&publisher, &name("a", "one"));
        world.publish(&viewer, &name("a", "own"));
        world
            .act(&viewer, |session| {
                session.subscribe(name("a", "one"), Parameters::default())
            })
            .unwrap();
        world.wish(&viewer, "a", Parameters::default());
        assert_eq!(offered(&viewer), [], "{draft}");
    }
}

#[test]
fn waiting_subscribe_goes_on_and_no_publish_is_sent_beside_it() {
    covers!("MOQT19-9.5-12", "MOQT19-9.5-13");
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    world.wish(&viewer, "a", Parameters::default());
    let parameters = Parameters {
        rendezvous_timeout_ms: Some(5000),
        ..Parameters::default()
    };
    let subscribe = world
        .act(&viewer, |session| {
            session.subscribe(name("a", "one"), parameters)
        })
        .unwrap();
    world.publish(&publisher, &name("a", "one"));
    assert!(viewer.is_accepted(subscribe));
    assert_eq!(offered(&viewer), []);
}

#[test]
fn offer_carries_what_its_subscribe_tracks_asked_for() {
    let mut world = World::new();
    let (publisher, old, new) = (
        world.peer("moqt-22"),
        world.peer("moqt-18"),
        world.peer("moqt-22"),
    );
    let quiet = Parameters {
        forward: Some(false),
        ..Parameters::default()
    };
    world.wish(&old, "", quiet);
    let full = Parameters {
        group_order: Some(GroupOrder::Descending),
        filter: Some(Filter::NextGroup),
        ..Parameters::default()
    };
    world.wish(&new, "", full.clone());
    let properties = PropertiesBuilder::new().max_cache_duration_ms(5000).build();
    world.publish_with(
        &publisher,
        &name("a", "one"),
        Parameters::default(),
        properties.clone(),
    );
    let (old, new) = (&offers(&old)[0], &offers(&new)[0]);
    assert_eq!(old.parameters.forward, Some(false));
    assert_eq!(new.parameters.group_order, full.group_order);
    assert_eq!(new.parameters.filter, full.filter);
    assert_eq!(new.parameters.forward, None);
    assert_eq!(
        (&old.properties, &new.properties),
        (&properties, &properties)
    );
}

#[test]
fn overlapping_prefixes_of_one_session_are_refused_by_kind() {
    covers!("MOQT19-10.19-3");
    for draft in EVERY_DRAFT {
        let mut world = World::new();
        let viewer = world.peer(draft);
        world.wish(&viewer, "a/b", Parameters::default());
        let wider = world.wish(&viewer, "a", Parameters::default());
        let narrower = world.wish(&viewer, "a/b/c", Parameters::default());
        let beside = world.wish(&viewer, "a/c", Parameters::default());
        let overlap = Some(RequestCode::PREFIX_OVERLAP);
        assert_eq!(refused(&viewer, wider), overlap);
        assert_eq!(refused(&viewer, narrower), overlap);
        assert!(viewer.is_accepted(beside));
        let namespaces = world
            .act(&viewer, |session| {
                let prefix = TrackNamespace::from_path("a/b").unwrap();
                session.subscribe_namespace(prefix, Parameters::default())
            })
            .unwrap();
        assert!(viewer.is_accepted(namespaces), "a space of its own");
    }
}

#[test]
fn cancelled_subscribe_tracks_offers_no_more_and_keeps_what_was_taken() {
    covers!("MOQT19-6.1-3");
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    let wish = world.wish(&viewer, "a", Parameters::default());
    let track = world.publish(&publisher, &name("a", "one"));
    let offer = offers(&viewer)[0].request_id;
    world.take(&viewer, offer);
    world
        .act(&viewer, |session| {
            session.cancel(wish, StreamCode::CANCELLED)
        })
        .unwrap();
    world.publish(&publisher, &name("a", "two"));
    assert_eq!(offers(&viewer).len(), 1);
    world.send(&publisher, track, 1, "still");
    assert_eq!(groups(&viewer, offer), [1]);
}

#[test]
fn refused_offer_is_not_sent_and_not_repeated() {
    let mut world = World::new();
    let (publisher, viewer) = (world.peer("moqt-22"), world.peer("moqt-22"));
    world.wish(&viewer, "a", Parameters::default());
    let track = world.publish(&publisher, &name("a", "one"));
    let offer = offers(&viewer)[0].request_id;
    let error = RequestError::new(RequestCode::UNINTERESTED, "no");
    world
        .act(&viewer, |session| session.reject(offer, error))
        .unwrap();
    world.send(&publisher, track, 1, "nobody");
    assert!(groups(&viewer, offer).is_empty());
    assert_eq!(offers(&viewer).len(), 1);
    let metrics = world.relay.1.borrow().app.metrics();
    assert_eq!(metrics.downstream_subscriptions, 0);
}

#[test]
fn track_without_room_for_a_request_is_skipped_by_name() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.sessions.limits.requests_max = 2;
        let mut world = World::with(config);
        let (publisher, other) = (world.peer("moqt-22"), world.peer("moqt-22"));
        let viewer = world.peer(draft);
        let wish = world.wish(&viewer, "a", Parameters::default());
        world.publish(&publisher, &name("a", "one"));
        world.publish(&other, &name("a/b", "two"));
        assert_eq!(offered(&viewer), [name("a", "one")]);
        let skipped = viewer.find(|event| match event {
            SessionEvent::PublishSkipped {
                request,
                suffix,
                name,
            } => Some((*request, suffix.clone(), name.clone())),
            _ => None,
        });
        let suffix = TrackNamespace::from_path("b").unwrap();
        assert_eq!(skipped, Some((wish, suffix, name("b", "two").name)));
    }
}

#[test]
fn track_property_filter_chooses_what_is_offered() {
    covers!("MOQT19-5.1.3-2");
    for draft in ["moqt-22", "moqt-20"] {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let set = RangeSet {
            set: 0,
            property: Some(0x200),
            ranges: vec![(720, None)],
        };
        let filter = RangeFilter::new(RangeSubject::TrackProperty, &set).unwrap();
        let parameters = Parameters {
            range_filters: vec![filter.clone()],
            ..Parameters::default()
        };
        world.wish(&viewer, "a", parameters);
        for (track, height) in [("small", 480), ("large", 1080)] {
            let properties = PropertiesBuilder::new().integer(0x200, height).build();
            let none = Parameters::default();
            world.publish_with(&publisher, &name("a", track), none, properties);
        }
        assert_eq!(offered(&viewer), [name("a", "large")], "{draft}");

        let twice = Parameters {
            range_filters: vec![filter.clone(), filter],
            ..Parameters::default()
        };
        let faulty = world.wish(&viewer, "b", twice);
        let code = Some(RequestCode::INVALID_FILTER);
        assert_eq!(refused(&viewer, faulty), code, "{draft}");
    }
}

#[test]
fn too_many_different_filters_of_one_prefix_conflict() {
    let mut world = World::with(Config {
        tracks_filters_max: 2,
        ..Config::default()
    });
    let wish = |world: &mut World, prefix: &str, subgroup: u64| {
        let viewer = world.peer("moqt-22");
        let set = RangeSet {
            set: 0,
            property: None,
            ranges: vec![(subgroup, Some(subgroup))],
        };
        let parameters = Parameters {
            range_filters: vec![RangeFilter::new(RangeSubject::Subgroup, &set).unwrap()],
            ..Parameters::default()
        };
        let request = world.wish(&viewer, prefix, parameters);
        let code = refused(&viewer, request);
        (viewer, request, code)
    };
    let (first, request, _) = wish(&mut world, "a", 1);
    assert_eq!(wish(&mut world, "a", 2).2, None);
    let conflict = Some(RequestCode::CONFLICTING_FILTERS);
    assert_eq!(wish(&mut world, "a", 3).2, conflict);
    assert_eq!(wish(&mut world, "a", 2).2, None, "somebody has it already");
    assert_eq!(wish(&mut world, "b", 3).2, None, "another prefix");
    let plain = world.peer("moqt-22");
    let unfiltered = world.wish(&plain, "a", Parameters::default());
    assert_eq!(
        refused(&plain, unfiltered),
        None,
        "no filter is no conflict"
    );
    world
        .act(&first, |session| {
            session.cancel(request, StreamCode::CANCELLED)
        })
        .unwrap();
    assert_eq!(wish(&mut world, "a", 3).2, None, "there is room again");
}

#[test]
fn moved_prefix_offers_what_it_covers_now_and_a_bad_move_ends_the_request() {
    covers!("MOQT19-10.2.19-1");
    for draft in DRAFTS {
        let mut world = World::new();
        let (publisher, viewer) = (world.peer("moqt-22"), world.peer(draft));
        let wish = world.wish(&viewer, "a", Parameters::default());
        world.publish(&publisher, &name("c", "one"));
        let moved = |prefix: &str| Parameters {
            namespace_prefix: Some(TrackNamespace::from_path(prefix).unwrap()),
            ..Parameters::default()
        };
        world
            .act(&viewer, |session| session.update(wish, moved("c")))
            .unwrap();
        assert_eq!(offered(&viewer), [name("c", "one")], "{draft}");
        world.publish(&publisher, &name("a", "gone"));
        assert_eq!(offers(&viewer).len(), 1, "{draft}");
        world
            .act(&viewer, |session| {
                // The first is not agreed to yet, so that its session does not object.
                let prefix = TrackNamespace::from_path("b").unwrap();
                session.subscribe_tracks(prefix, Parameters::default())?;
                session.update(wish, moved("b/c"))
            })
            .unwrap();
        let error = viewer.find(|event| match event {
            SessionEvent::Updated {
                answer: Err(error), ..
            } => Some(error.code),
            _ => None,
        });
        assert_eq!(error, Some(RequestCode::PREFIX_OVERLAP), "{draft}");
        world.publish(&publisher, &name("c", "two"));
        assert_eq!(offers(&viewer).len(), 1, "the request is over at {draft}");
    }
}
