//! What the broadcaster says of its streams, seen by a bare session in a relay's place.

use crate::encoder::{FFMPEG_5, inputs_of};
use crate::net::Node;
use crate::world::{World, namespace};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, TrackName};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{self, Event, Sessions};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Input, SessionId};
use mainstem_spec_covers::covers;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

struct Bare(Sessions);

impl App for Bare {
    type Event = (SessionId, Event);

    fn handle(&mut self, now: Instant, input: Input) {
        self.0.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<Self::Event>> {
        if let Some(output) = self.0.poll_output() {
            return Some(Action::Transport(output));
        }
        self.0.poll_event().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.next_timeout()
    }
}

fn subscribed(world: &mut World, track: &str) -> Rc<RefCell<Node<Bare>>> {
    let config = session::Config {
        sessions_max: 1,
        ..session::Config::default()
    };
    let (id, node) = world.net.add(Bare(Sessions::new(config)));
    let (_, session) = world.net.connect(world.id, id, "moqt-22", "/");
    let name = TrackName(Bytes::copy_from_slice(track.as_bytes()));
    let name = FullTrackName::new(namespace(), name).unwrap();
    let mut open = node.borrow_mut();
    let open_session = open.app.0.session_mut(session).unwrap();
    open_session.subscribe(name, Parameters::default()).unwrap();
    drop(open);
    world.net.settle();
    node
}

#[test]
fn each_stream_of_a_broadcast_begins_with_its_subgroup() {
    covers!("MOQT19-2.2-3");
    let mut world = World::new();
    let mut inputs = inputs_of(FFMPEG_5, 4096).into_iter();
    // The tracks are there before anybody subscribes to them.
    world.feed(inputs.by_ref().take(4));
    let viewers =
        ["video/90p", "broadcast", "catalog"].map(|track| (track, subscribed(&mut world, track)));
    world.feed(inputs);
    for (track, viewer) in viewers {
        let mut streams = BTreeSet::new();
        for (_, event) in &viewer.borrow().events {
            if let Event::Object {
                stream,
                header,
                object,
                ..
            } = event
                && streams.insert(*stream)
            {
                assert!(header.first_object, "{track}");
                assert_eq!(object.object, 0, "{track}");
            }
        }
        assert!(!streams.is_empty(), "{track}");
    }
}
