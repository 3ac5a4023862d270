//! A publisher, a relay and a viewer over real QUIC and over the model: each gets the same inputs.

use crate::world::*;
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{Object, ObjectStatus};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::{self, Policy, Relay};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{self, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::payload::Payload;
use mainstem_core::transport::{Carrier, SessionId, StreamEvent};
use mainstem_quic::Limits;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const WHILE: Duration = Duration::from_millis(500);
const GROUPS: u64 = 6;
const OBJECTS: u64 = 5;

fn name() -> FullTrackName {
    let namespace = TrackNamespace::from_path("live/one").unwrap();
    FullTrackName::new(namespace, TrackName(Bytes::from_static(b"video"))).unwrap()
}

fn payload(group: u64, object: u64) -> Payload {
    let size = if object == 0 { 60_000 } else { 3_000 };
    let bytes = (0..size).map(|at: u64| (at ^ group ^ (object << 3)).to_le_bytes()[0]);
    Payload::from(bytes.collect::<Bytes>())
}

/// What each of the three was told, and the objects that the viewer's owner saw.
fn run(kind: Kind, carrier: Carrier, link: Link) -> ([Story; 3], Vec<(u64, u64, Payload)>) {
    let mut world = World::new(kind, link);
    let config = session::Config {
        sessions_max: 10,
        ..session::Config::default()
    };
    let relay = Relay::new(relay::Config::default(), Policy::Open);
    let (to, relay) = world.add(true, Limits::default(), relay);
    let publisher = Publisher::new(config.clone(), track::Limits::default());
    let (_, publisher) = world.add(false, Limits::default(), publisher);
    let (_, viewer) = world.add(false, Limits::default(), Subscriber::new(config));
    {
        let mut host = publisher.borrow_mut();
        host.app().create_track(name(), Properties::default());
        host.app().announce(world.now, name().namespace.clone());
        let request = world.request(to, carrier, "/");
        host.connect(world.now, request);
    }
    world.run_for(WHILE);
    let session = viewer
        .borrow_mut()
        .connect(world.now, world.request(to, carrier, "/"));
    world.run_for(WHILE);
    {
        let mut host = viewer.borrow_mut();
        let subscribed = host.app().subscribe(session, name(), Parameters::default());
        subscribed.unwrap();
        host.drive(world.now);
    }
    world.run_for(WHILE);
    publish(&mut world, &publisher);
    world.run_for(WHILE);
    {
        let mut host = publisher.borrow_mut();
        host.app().end_track(world.now, &name());
        host.drive(world.now);
    }
    world.run_for(WHILE);
    viewer.borrow_mut().close_all(world.now, 0, "seen enough");
    world.run_for(WHILE);
    let mut objects = Vec::new();
    for event in viewer.borrow_mut().events() {
        if let subscriber::Event::Object { object, .. } = event {
            objects.push((object.group, object.object, object.payload));
        }
    }
    let stories = [
        story(relay.borrow().log()),
        story(publisher.borrow().log()),
        story(viewer.borrow().log()),
    ];
    (stories, objects)
}

/// All objects, one after the other.
fn publish(world: &mut World, publisher: &Rc<RefCell<Hosted<Publisher>>>) {
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            let mut host = publisher.borrow_mut();
            let info = SubgroupInfo {
                priority: Some(100),
                has_properties: false,
                end_of_group: true,
                first_object: true,
            };
            let object = Object {
                group,
                object,
                subgroup: Some(0),
                priority: None,
                status: ObjectStatus::Normal,
                properties: Properties::default(),
                payload: payload(group, object),
            };
            host.app().publish(world.now, &name(), info, object);
            host.drive(world.now);
            drop(host);
            world.run_for(Duration::from_millis(40));
        }
        let mut host = publisher.borrow_mut();
        host.app().end_subgroup(world.now, &name(), group, 0);
        host.drive(world.now);
        drop(host);
        world.run_for(Duration::from_millis(40));
    }
}

#[test]
fn every_machine_gets_the_same_inputs_over_the_model_as_over_quic() {
    for carrier in CARRIERS {
        let (quic, objects) = run(Kind::Quic, carrier, GOOD);
        let (model, others) = run(Kind::Model, carrier, GOOD);
        assert_eq!(objects.len() as u64, GROUPS * OBJECTS);
        assert!(objects == others, "{carrier:?}");
        for (who, (quic, model)) in ["relay", "publisher", "viewer"]
            .into_iter()
            .zip(quic.iter().zip(&model))
        {
            assert_eq!(quic.sessions, model.sessions, "{carrier:?} {who}");
            let names = |story: &Story| story.streams.keys().copied().collect::<Vec<_>>();
            assert_eq!(names(quic), names(model), "{carrier:?} {who}");
            for (stream, of_quic) in &quic.streams {
                assert!(
                    of_quic == &model.streams[stream],
                    "{carrier:?} {who} {stream:?}: {:?} over quic, {:?} over the model",
                    (of_quic.0.len(), &of_quic.1),
                    (model.streams[stream].0.len(), &model.streams[stream].1),
                );
            }
        }
    }
}

#[test]
fn the_viewer_sees_every_object_over_a_bad_link_too() {
    for carrier in CARRIERS {
        let (stories, mut objects) = run(Kind::Model, carrier, BAD);
        objects.sort_by_key(|(group, object, _)| (*group, *object));
        let want = (0..GROUPS).flat_map(|group| {
            (0..OBJECTS).map(move |object| (group, object, payload(group, object)))
        });
        assert!(objects == want.collect::<Vec<_>>(), "{carrier:?}");
        let [_, _, viewer] = stories;
        let resets = viewer.streams.iter().filter(|((session, _), it)| {
            *session == SessionId(0) && it.1.iter().any(|e| matches!(e, StreamEvent::Reset(_)))
        });
        assert_eq!(resets.count(), 0);
    }
}

#[test]
fn the_model_needs_far_fewer_packets() {
    let packets = |kind| {
        let mut pair = Pair::new(kind, Carrier::Quic);
        let server = pair.sessions[SERVER];
        pair.ends[SERVER].borrow_mut().app().flood = Some((100_000, 100));
        pair.act(SERVER, open(server, local(UNI, 0), 0));
        pair.act(SERVER, write(server, local(UNI, 0), "", false, true));
        pair.run_for(Duration::from_secs(30));
        assert_eq!(
            pair.story(CLIENT)
                .of(pair.sessions[CLIENT], peer(UNI, 0))
                .0
                .len(),
            10_000_000
        );
        pair.world.packets_sent
    };
    let (quic, model) = (packets(Kind::Quic), packets(Kind::Model));
    assert!(model * 6 < quic, "{quic} over quic, {model} over the model");
}
