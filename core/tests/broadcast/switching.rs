//! A viewer that changes between the renditions of a broadcast.

use crate::encoder::{config, h264, video};
use crate::net::Node;
use crate::world::{FIRST_GROUP, World, namespace};
use mainstem_core::moqt::session;
use mainstem_core::packager::{Announcement, Frame, Input, Source};
use mainstem_core::viewer::{Event, Selection, SwitchError, Urgency, Viewer};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const GROUP: i64 = 5;

const LOW: Source = Source {
    number: 1,
    ..Source::VIDEO
};

struct Watching {
    world: World,
    node: Rc<RefCell<Node<Viewer>>>,
    /// Frames that were sent.
    frames: i64,
    /// Which renditions are fed.
    sources: Vec<Source>,
}

impl Watching {
    /// Two renditions of the same picture, and a viewer of the first.
    fn new() -> Self {
        let mut world = World::new();
        let announced = Announcement {
            has_audio: false,
            ..Announcement::default()
        };
        world.feed([
            Input::Announced(announced),
            config(Source::VIDEO, h264()),
            config(LOW, h264()),
        ]);
        let viewer = Viewer::new(session(), namespace(), Selection::OneOfEach);
        let (id, node) = world.net.add(viewer);
        world.net.connect(id, world.relay, "moqt-22", "/");
        world.net.settle();
        let sources = vec![Source::VIDEO, LOW];
        Self {
            world,
            node,
            frames: 0,
            sources,
        }
    }

    /// So many frames of each rendition, 40 ms apart; groups of [`GROUP`].
    fn play(&mut self, count: i64) {
        for _ in 0..count {
            let (at, is_key) = (self.frames * 40, self.frames % GROUP == 0);
            self.frames += 1;
            for source in self.sources.clone() {
                let Input::Frame(frame) = video(at, is_key) else {
                    unreachable!();
                };
                self.world.feed([Input::Frame(Frame { source, ..frame })]);
            }
            self.world.net.advance(Duration::from_millis(40));
        }
    }

    fn switch(&mut self, track: &str, urgency: Urgency) -> Result<(), SwitchError> {
        let now = self.world.net.now;
        let result = self.node.borrow_mut().app.switch(now, track, urgency);
        self.world.net.settle();
        result
    }

    /// What the viewer got: the rendition's letter with group and object, and its news.
    fn told(&self) -> Vec<String> {
        let letter = |track: &str| if track == "video/720p" { "H" } else { "L" };
        let events = self.node.borrow();
        let told = events.events.iter().filter_map(|event| match event {
            Event::Chunk(chunk) => {
                let group = chunk.group - FIRST_GROUP;
                Some(format!("{}{group}.{}", letter(&chunk.track), chunk.object))
            }
            Event::Switched { from, to } => Some(format!("{}>{}", letter(from), letter(to))),
            Event::SwitchFailed { track, .. } => Some(format!("!{}", letter(track))),
            Event::Gap { .. } => Some("gap".to_owned()),
            Event::TrackEnded { .. } => Some("ended".to_owned()),
            _ => None,
        });
        told.collect()
    }
}

fn session() -> session::Config {
    session::Config {
        sessions_max: 2,
        ..session::Config::default()
    }
}

/// The name of the second rendition: the two have the same shape.
const LOW_NAME: &str = "video/720p-3";

#[test]
fn smooth_switch_happens_at_a_group_with_nothing_missing_and_nothing_twice() {
    let mut watching = Watching::new();
    watching.play(7);
    watching.switch(LOW_NAME, Urgency::Smooth).unwrap();
    watching.play(7);
    watching.switch("video/720p", Urgency::Smooth).unwrap();
    watching.play(6);
    let mut expected = Vec::new();
    for (group, letter) in [(0, "H"), (1, "H"), (2, "L"), (3, "H")] {
        if group == 2 {
            expected.push("H>L".to_owned());
        } else if group == 3 {
            expected.push("L>H".to_owned());
        }
        expected.extend((0..GROUP).map(|object| format!("{letter}{group}.{object}")));
    }
    assert_eq!(watching.told(), expected);
}

#[test]
fn urgent_switch_gives_the_old_rendition_up_and_begins_with_the_present_group() {
    let mut watching = Watching::new();
    watching.play(7);
    watching.switch(LOW_NAME, Urgency::AtOnce).unwrap();
    watching.play(1);
    let told = watching.told();
    let after: Vec<&str> = told.iter().skip(7).map(String::as_str).collect();
    assert_eq!(after, ["H>L", "L1.0", "L1.1", "L1.2"]);
}

#[test]
fn urgent_switch_from_the_next_group_leaves_the_rest_of_the_present_one_out() {
    let mut watching = Watching::new();
    watching.play(7);
    watching.switch(LOW_NAME, Urgency::FromNext).unwrap();
    watching.play(5);
    let told = watching.told();
    let after: Vec<&str> = told.iter().skip(7).map(String::as_str).collect();
    assert_eq!(after, ["H>L", "L2.0", "L2.1"]);
}

#[test]
fn rendition_that_does_not_come_fails_and_costs_the_old_one_nothing() {
    let mut watching = Watching::new();
    watching.play(2);
    watching.sources = vec![Source::VIDEO];
    watching.switch(LOW_NAME, Urgency::Smooth).unwrap();
    watching.play(100);
    let told = watching.told();
    let failed: Vec<&String> = told.iter().filter(|each| *each == "!L").collect();
    assert_eq!(failed.len(), 1, "{told:?}");
    let chunks = told.iter().filter(|each| each.starts_with('H'));
    assert_eq!(chunks.count(), 102);
    assert!(!told.iter().any(|each| each == "gap"), "{told:?}");
}

#[test]
fn wish_that_is_taken_back_before_the_group_changes_nothing() {
    let mut watching = Watching::new();
    watching.play(7);
    watching.switch(LOW_NAME, Urgency::Smooth).unwrap();
    watching.play(1);
    watching.switch("video/720p", Urgency::Smooth).unwrap();
    watching.play(4);
    let told = watching.told();
    let expected: Vec<String> = (0..12)
        .map(|n| format!("H{}.{}", n / GROUP, n % GROUP))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn wish_for_what_is_not_there_is_refused() {
    let mut watching = Watching::new();
    let unknown = SwitchError::UnknownTrack("video/1p".to_owned());
    assert_eq!(watching.switch("video/1p", Urgency::Smooth), Err(unknown));
}

#[test]
fn preferred_rendition_is_the_first_that_is_asked_for() {
    let mut watching = Watching::new();
    let mut viewer = Viewer::new(session(), namespace(), Selection::OneOfEach);
    viewer.prefer(LOW_NAME.to_owned());
    let (id, node) = watching.world.net.add(viewer);
    watching
        .world
        .net
        .connect(id, watching.world.relay, "moqt-22", "/");
    watching.world.net.settle();
    watching.node = node;
    watching.play(3);
    assert_eq!(watching.told(), ["L0.0", "L0.1", "L0.2"]);
}
