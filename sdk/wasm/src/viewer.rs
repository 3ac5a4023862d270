//! [`Viewer`]: core's viewer, its catalog and chunks in the form that the page takes.
//!
//! Configuration (JSON): `namespace` (`playback/lv_..`), `grease` (a seed; none sends none), `video` and
//! `audio` (names of the tracks to begin with).
//!
//! | command (`type`) | fields | does |
//! |---|---|---|
//! | `select` | `track`, `urgent`, `next` | plays this rendition instead of the other one of its kind |
//! | `renew` | - | asks for a new session beside this one (`goaway` follows), as for a fresh token |
//! | `live` | - | forgets where the tracks stood: the next session begins at the newest group |
//! | `close` | `reason` | ends the session |
//!
//! Outputs beside the transport's work: [`Kind::Chunk`] with the track's number as `stream`, flags 1
//! (a decoder can begin here) and 2 (an init segment), and the numbers group, object, presentation time,
//! duration, producer's Unix time (0: unknown), all times in microseconds; and events: `catalog`,
//! `gap`, `trackEnded`, `unavailable`, `goaway`, `moveFailed`, `moved`, `switched`, `switchFailed`, `closed`,
//! `badMedia`.

use crate::describe::{Numbers, catalog_event};
use crate::machine::closed_event;
use crate::media::{Found, Media};
use crate::out::{Kind, Out, to_number};
use crate::wish::Wish;
use bytes::Bytes;
use mainstem_core::catalog::Catalog;
use mainstem_core::map::BTreeMap;
use mainstem_core::moqt::name::TrackNamespace;
use mainstem_core::moqt::session;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Input};
use mainstem_core::viewer::{self, Chunk, Event, Selection, Urgency};
use serde_json::json;
use std::collections::VecDeque;

/// A decoder can begin with the chunk.
pub const INDEPENDENT: u32 = 1;
/// It is an init segment.
pub const INIT: u32 = 2;

/// The viewer machine of a page. See the module's description.
#[derive(Debug)]
pub struct Viewer {
    machine: viewer::Viewer,
    numbers: Numbers,
    media: BTreeMap<String, (Option<Bytes>, Media)>,
    out: VecDeque<Out>,
}

impl Viewer {
    /// A viewer of this configuration; `Err` says what is wrong with it.
    pub fn new(config: &[u8]) -> Result<Self, String> {
        let config = Wish::parse(config)?;
        let namespace = TrackNamespace::from_path(config.text("namespace")?);
        let namespace = namespace.map_err(|e| e.to_string())?;
        let session = session::Config {
            sessions_max: 4,
            implementation: Some(concat!("mainstem-web/", env!("CARGO_PKG_VERSION")).to_owned()),
            grease: config.number("grease"),
            ..session::Config::default()
        };
        let mut viewer = viewer::Viewer::new(session, namespace, Selection::OneOfEach);
        for name in ["video", "audio"]
            .map(|kind| config.text(kind))
            .into_iter()
            .flatten()
        {
            viewer.prefer(name.to_owned());
        }
        Ok(Self {
            machine: viewer,
            numbers: Numbers::default(),
            media: BTreeMap::new(),
            out: VecDeque::new(),
        })
    }

    /// What the transport did.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.machine.handle(now, input);
    }

    /// The time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    /// When it does.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.machine.next_timeout()
    }

    /// A wish of the page's.
    pub fn command(&mut self, now: Instant, json: &[u8]) -> Result<(), String> {
        let wish = Wish::parse(json)?;
        match wish.text("type")? {
            "select" => {
                let urgency = match (wish.is("urgent"), wish.is("next")) {
                    (true, true) => Urgency::FromNext,
                    (true, false) => Urgency::AtOnce,
                    (false, _) => Urgency::Smooth,
                };
                self.machine
                    .switch(now, wish.text("track")?, urgency)
                    .map_err(|e| e.to_string())?;
            }
            "renew" => self.machine.renew(),
            "live" => self.machine.forget_places(),
            "close" => self.machine.close(wish.text("reason")?),
            other => return Err(format!("no wish of a viewer: {other}")),
        }
        Ok(())
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Out> {
        loop {
            if let Some(out) = self.out.pop_front() {
                return Some(out);
            }
            match self.machine.poll()? {
                Action::Transport(output) => self.out.extend(Out::transport(output)),
                Action::Event(event) => self.take(event),
            }
        }
    }

    fn take(&mut self, event: Event) {
        let event = match event {
            Event::Chunk(chunk) => return self.take_chunk(&chunk),
            Event::Catalog(catalog) => {
                self.follow(&catalog);
                catalog_event(&catalog, &mut self.numbers)
            }
            Event::Gap { track } => json!({ "type": "gap", "track": self.numbers.of(&track) }),
            Event::TrackEnded { track, reason } => {
                json!({ "type": "trackEnded", "track": self.numbers.of(&track), "reason": reason })
            }
            Event::Unavailable { reason } => json!({ "type": "unavailable", "reason": reason }),
            Event::Goaway { uri } => json!({ "type": "goaway", "uri": uri }),
            Event::MoveFailed { reason } => json!({ "type": "moveFailed", "reason": reason }),
            Event::Moved => json!({ "type": "moved" }),
            Event::Switched { from, to } => json!({
                "type": "switched", "from": self.numbers.of(&from), "to": self.numbers.of(&to),
            }),
            Event::SwitchFailed { track, reason } => {
                json!({ "type": "switchFailed", "track": self.numbers.of(&track), "reason": reason })
            }
            Event::Closed(closed) => {
                self.out.push_back(closed_event(&closed));
                return;
            }
        };
        self.out.push_back(Out::event(&event));
    }

    /// Readers of tracks whose init segment is new are made anew.
    fn follow(&mut self, catalog: &Catalog) {
        self.media.retain(|name, _| catalog.track(name).is_some());
        for track in &catalog.tracks {
            let known = self.media.get(&track.name);
            if known.is_none_or(|(init, _)| *init != track.init) {
                let media = Media::new(track.init.as_ref());
                self.media
                    .insert(track.name.clone(), (track.init.clone(), media));
            }
        }
    }

    fn take_chunk(&mut self, chunk: &Chunk) {
        let number = self.numbers.of(&chunk.track);
        let Some((_, media)) = self.media.get_mut(&chunk.track) else {
            return;
        };
        let found = match media.read(&chunk.payload) {
            Ok(found) => found,
            Err(error) => {
                let reason = error.to_string();
                let event = json!({ "type": "badMedia", "track": number, "reason": reason });
                self.out.push_back(Out::event(&event));
                return;
            }
        };
        for found in found {
            let mut out = Out {
                kind: Kind::Chunk,
                stream: number,
                numbers: [
                    to_number(chunk.group),
                    to_number(chunk.object),
                    0.0,
                    0.0,
                    0.0,
                    0.0,
                ],
                ..Out::default()
            };
            match found {
                Found::Init(raw) => {
                    out.flags = INIT;
                    out.pieces = vec![raw];
                }
                Found::Chunk(times, payload) => {
                    out.flags = u32::from(times.is_independent) * INDEPENDENT;
                    let [_, _, presented, duration, produced, _] = &mut out.numbers;
                    *presented = to_number(u64::try_from(times.presented).unwrap_or(0));
                    *duration = to_number(times.duration);
                    *produced = to_number(times.produced);
                    out.pieces = payload.pieces().to_vec();
                }
            }
            self.out.push_back(out);
        }
    }
}
