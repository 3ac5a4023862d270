//! The machines of the two kinds of client, and the viewer that follows a catalog.
//!
//! Header: tight limits (1), cut seed (2). The owner publishes, subscribes, fetches, joins and gives
//! up as the script says. Source: `core/src/moqt/{publisher,subscriber}.rs`, `core/src/viewer`.

use super::session::{self, config, parameters, track};
use super::stage::{self, Subject};
use crate::input::Cursor;
use mainstem_core::moqt::name::TrackNamespace;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::{self, Publisher};
use mainstem_core::moqt::subscriber::{self, JoinStart, Key, Subscriber};
use mainstem_core::moqt::track::{self, cache::SubgroupInfo};
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Input, SessionId, Side};
use mainstem_core::viewer::{self, Selection, Viewer};

/// Plays the input to a publisher.
pub fn run_publisher(data: &[u8]) {
    let mut input = Cursor::new(data);
    let is_tight = input.flag();
    let cuts = input.short();
    play(&input, is_tight, cuts, || {
        let mut app = Publisher::new(config(is_tight), track::Limits::default());
        let now = Instant::from_nanos(1_000_000_000);
        let track = track(&mut Cursor::new(&[0, 0]));
        app.announce(now, track.namespace.clone());
        app.create_track(track, Properties::default());
        Publishing(app)
    });
}

/// Plays the input to a subscriber.
pub fn run_subscriber(data: &[u8]) {
    let mut input = Cursor::new(data);
    let is_tight = input.flag();
    let cuts = input.short();
    play(&input, is_tight, cuts, || Subscribing {
        app: Subscriber::new(config(is_tight)),
        keys: Vec::new(),
    });
}

/// Plays the input to a viewer.
pub fn run_viewer(data: &[u8]) {
    let mut input = Cursor::new(data);
    let is_tight = input.flag();
    let cuts = input.short();
    play(&input, is_tight, cuts, || {
        let namespace = TrackNamespace::from_path("playback/lv_1").expect("short");
        Viewing(Viewer::new(config(is_tight), namespace, Selection::All))
    });
}

fn play<A: Subject>(input: &Cursor<'_>, is_tight: bool, cuts: u16, machine: impl Fn() -> A) {
    if is_tight {
        stage::endure(input, cuts, machine);
    } else {
        stage::compare(input, cuts, machine);
    }
}

struct Publishing(Publisher);

struct Subscribing {
    app: Subscriber,
    keys: Vec<Key>,
}

struct Viewing(Viewer);

macro_rules! app {
    ($name:ident, $app:tt, $event:ty) => {
        impl App for $name {
            type Event = $event;

            fn handle(&mut self, now: Instant, input: Input) {
                self.$app.handle(now, input);
            }

            fn handle_timeout(&mut self, now: Instant) {
                self.$app.handle_timeout(now);
            }

            fn poll(&mut self) -> Option<Action<$event>> {
                self.$app.poll()
            }

            fn next_timeout(&self) -> Option<Instant> {
                self.$app.next_timeout()
            }
        }
    };
}

app!(Publishing, 0, publisher::Event);
app!(Subscribing, app, subscriber::Event);
app!(Viewing, 0, viewer::Event);

impl Subject for Publishing {
    const SIDE: Side = Side::Client;

    fn command(&mut self, now: Instant, _: SessionId, input: &mut Cursor<'_>) {
        let kind = input.byte();
        let track = track(input);
        match kind % 12 {
            0..=5 => {
                let object = session::object(input);
                let info = SubgroupInfo {
                    priority: input.flag().then_some(3),
                    has_properties: false,
                    end_of_group: input.flag(),
                    first_object: input.flag(),
                };
                self.0.publish(now, &track, info, object);
            }
            6 | 7 => {
                let (group, subgroup) = (u64::from(input.byte()), u64::from(input.byte() & 3));
                self.0.end_subgroup(now, &track, group, subgroup);
            }
            8 => self.0.create_track(track, Properties::default()),
            9 => self.0.announce(now, track.namespace),
            10 => self.0.end_track(now, &track),
            _ if input.byte() > 200 => self.0.close_all("over"),
            _ => drop(self.0.remove_track(&track)),
        }
    }

    fn hear(&mut self, _: Instant, event: publisher::Event) {
        let _ = format!("{event:?}");
    }

    fn check_empty(&mut self) {
        let track = track(&mut Cursor::new(&[0, 0]));
        assert_eq!(self.0.subscribers_len(&track), 0);
        assert!(self.0.is_drained());
    }
}

impl Subject for Subscribing {
    const SIDE: Side = Side::Client;

    fn command(&mut self, _: Instant, session: SessionId, input: &mut Cursor<'_>) {
        let kind = input.byte();
        let index = usize::from(input.byte());
        let key = (!self.keys.is_empty()).then(|| self.keys[index % self.keys.len()]);
        let asked = match (kind % 8, key) {
            (0..=2, _) => self.app.subscribe(session, track(input), parameters(input)),
            (3, _) => self.app.fetch(session, track(input), parameters(input)),
            (4, Some(key)) => self
                .app
                .join(key, JoinStart::Relative(u64::from(input.byte()))),
            (5, Some(key)) => self
                .app
                .join(key, JoinStart::Absolute(u64::from(input.byte()))),
            (6, Some(key)) => return drop(self.app.unsubscribe(key)),
            (7, Some(_)) if input.byte() > 200 => return self.app.close(session, "over"),
            _ => return,
        };
        self.keys.extend(asked.ok());
    }

    fn hear(&mut self, _: Instant, event: subscriber::Event) {
        let _ = format!("{event:?}");
    }

    fn check_empty(&mut self) {
        assert!(self.keys.iter().all(|key| self.app.track(*key).is_none()));
    }
}

impl Subject for Viewing {
    const SIDE: Side = Side::Client;

    fn command(&mut self, _: Instant, _: SessionId, input: &mut Cursor<'_>) {
        match input.byte() {
            250.. => self.0.close("over"),
            _ => drop(
                self.0
                    .catalog()
                    .map(|catalog| catalog.first_video().is_some()),
            ),
        }
    }

    fn hear(&mut self, _: Instant, event: viewer::Event) {
        let _ = format!("{event:?}");
    }

    fn check_empty(&mut self) {}
}
