//! Two publishers of one track that are not at the same place: what one leaves out, the other brings.

use crate::house::Peer;
use crate::offers::{World, name};
use crate::passing::{header, object, seen};
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::message::{FetchOk, FetchTarget, Message};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::{GapKind, SubgroupHeader};
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Event as SessionEvent, Session, StreamEnd};
use mainstem_core::transport::StreamId;
use std::time::Duration;

/// A publisher that has the subgroup from its start, one that joined in its midst, and a viewer.
struct Twins {
    world: World,
    whole: (Peer, StreamId),
    ahead: (Peer, StreamId),
    viewer: Peer,
}

impl Twins {
    /// Objects 0 to 2 came, then 5 and 6 by the one that is ahead.
    fn new(draft: &str) -> Self {
        let mut world = World::new();
        let (whole, ahead) = (world.peer("moqt-22"), world.peer("moqt-22"));
        let of_whole = world.publish(&whole, &name("a", "one"));
        let of_ahead = world.publish(&ahead, &name("a", "one"));
        let (viewer, _) = world.watch(draft, None);
        let stream = world.open(&whole, of_whole, header(1, 0));
        let late = SubgroupHeader {
            first_object: false,
            ..header(1, 0)
        };
        let mut twins = Self {
            whole: (whole, stream),
            viewer,
            ahead: {
                let stream = world.open(&ahead, of_ahead, late);
                (ahead, stream)
            },
            world,
        };
        twins.by_whole(0..3, false);
        twins.by_ahead(5..7, false);
        twins
    }

    fn by_whole(&mut self, objects: std::ops::Range<u64>, fin: bool) {
        let (peer, stream) = &self.whole;
        let last = objects.end - 1;
        for id in objects {
            self.world
                .write(peer, *stream, &object(1, 0, id), fin && id == last);
        }
    }

    fn by_ahead(&mut self, objects: std::ops::Range<u64>, fin: bool) {
        let (peer, stream) = &self.ahead;
        let last = objects.end - 1;
        for id in objects {
            self.world
                .write(peer, *stream, &object(1, 0, id), fin && id == last);
        }
    }

    fn lose_whole(&mut self) {
        let peer = &self.whole.0;
        self.world.net.cut(peer.id, peer.session);
        self.world.net.settle();
    }

    fn places(&self) -> Vec<u64> {
        let seen = seen(&self.viewer).into_iter();
        seen.map(|(_, _, object)| object.object).collect()
    }

    fn streams(&self) -> usize {
        let mut streams: Vec<StreamId> = seen(&self.viewer).iter().map(|it| it.0).collect();
        streams.dedup();
        streams.len()
    }

    fn ends(&self) -> Vec<StreamEnd> {
        let node = self.viewer.node.borrow();
        let ends = node.events.iter().filter_map(|(_, event)| match event {
            SessionEvent::SubgroupEnded { end, .. } => Some(*end),
            _ => None,
        });
        ends.collect()
    }

    /// Has the one ahead answer the FETCH of what is missing, objects 3 and 4.
    fn answer(&mut self, write: impl FnOnce(&mut Session, StreamId)) {
        self.world.net.advance(Duration::from_millis(300));
        let request = self.asked().expect("a FETCH of what is missing");
        self.world.act(&self.ahead.0, |session| {
            let answer = FetchOk::new(Location::new(1, 4), false, Properties::EMPTY);
            session.accept_fetch(request, answer).unwrap();
            let stream = session.open_fetch(request, 0).unwrap();
            write(session, stream);
        });
    }

    /// The FETCH that the one ahead was sent.
    fn asked(&self) -> Option<RequestId> {
        self.ahead.0.find(|event| match event {
            SessionEvent::Request {
                request,
                message: Message::Fetch(fetch),
            } => {
                assert!(matches!(&fetch.target, FetchTarget::Track(_)));
                Some(*request)
            }
            _ => None,
        })
    }
}

#[test]
fn what_the_other_publisher_still_brings_is_waited_for() {
    for draft in ["moqt-22", "moqt-18"] {
        for is_lost in [false, true] {
            let mut twins = Twins::new(draft);
            assert_eq!(twins.places(), [0, 1, 2], "{draft}");
            if is_lost {
                let peer = &twins.ahead.0;
                twins.world.net.cut(peer.id, peer.session);
            }
            twins.by_whole(3..9, true);
            assert_eq!(twins.places(), (0..9).collect::<Vec<u64>>(), "{draft}");
            assert_eq!(twins.streams(), 1, "{draft}");
            assert_eq!(twins.ends(), [StreamEnd::Finished], "{draft}");
        }
    }
}

#[test]
fn end_of_the_one_ahead_waits_for_what_is_missing() {
    let mut twins = Twins::new("moqt-22");
    twins.by_ahead(7..8, true);
    assert_eq!(twins.ends(), []);
    twins.by_whole(3..8, true);
    assert_eq!(twins.places(), (0..8).collect::<Vec<u64>>());
    assert_eq!(twins.ends(), [StreamEnd::Finished]);
}

#[test]
fn what_a_lost_publisher_does_not_bring_is_fetched_from_the_other() {
    let mut twins = Twins::new("moqt-22");
    twins.lose_whole();
    twins.answer(|session, stream| {
        for id in 3..5 {
            session
                .send_fetch_object(stream, &object(1, 0, id), id == 4, false)
                .unwrap();
        }
    });
    twins.by_ahead(7..8, true);
    assert_eq!(twins.places(), (0..8).collect::<Vec<u64>>());
    assert_eq!(twins.streams(), 1);
    assert_eq!(twins.ends(), [StreamEnd::Finished]);
}

#[test]
fn what_comes_behind_a_place_that_nobody_knows_goes_on_a_stream_of_its_own() {
    for (unknown, fetched) in [(3, 4), (4, 3)] {
        let mut twins = Twins::new("moqt-22");
        twins.lose_whole();
        twins.answer(|session, stream| {
            let gap = Location::new(1, unknown);
            if unknown < fetched {
                session
                    .send_fetch_gap(stream, GapKind::Unknown, gap, false, false)
                    .unwrap();
            }
            let is_last = unknown < fetched;
            session
                .send_fetch_object(stream, &object(1, 0, fetched), is_last, false)
                .unwrap();
            if unknown > fetched {
                session
                    .send_fetch_gap(stream, GapKind::Unknown, gap, true, false)
                    .unwrap();
            }
        });
        twins.by_ahead(7..8, true);
        assert_eq!(twins.places(), [0, 1, 2, fetched, 5, 6, 7]);
        assert_eq!(twins.streams(), 2, "{unknown} is unknown");
        let cancelled = StreamEnd::Reset(StreamCode::CANCELLED);
        assert_eq!(twins.ends(), [cancelled, cancelled]);
    }
}

#[test]
fn subgroup_with_a_hole_that_stays_is_never_ended_as_a_whole_one() {
    covers!("MOQT19-11.4.3-2", "MOQT19-11.4.3-5");
    for draft in ["moqt-22", "moqt-18"] {
        let mut twins = Twins::new(draft);
        twins.lose_whole();
        // Nobody answers the FETCH.
        twins.world.net.advance(Duration::from_secs(3));
        twins.by_ahead(7..9, true);
        assert_eq!(twins.places(), [0, 1, 2, 5, 6, 7, 8], "{draft}");
        assert_eq!(twins.streams(), 2, "{draft}");
        let cancelled = StreamEnd::Reset(StreamCode::CANCELLED);
        assert_eq!(twins.ends(), [cancelled, cancelled], "{draft}");
        // One who comes later is told the same.
        let (late, _) = twins.world.watch(draft, None);
        twins.viewer = late;
        assert_eq!(twins.places(), [0, 1, 2, 5, 6, 7, 8], "{draft}");
        assert_eq!(twins.ends(), [cancelled, cancelled], "{draft}");
    }
}
