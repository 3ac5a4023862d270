//! A viewer: finds a stream's catalog, subscribes to its tracks and hands out their chunks.
//!
//! | state | means | left by |
//! |---|---|---|
//! | `Connecting` | no session is ready | the session's SETUP |
//! | `Catalog` | the catalog is asked for: `catalog` (MSF), then `.catalog` (seed JSON) | its first object |
//! | `Playing` | the chosen tracks are subscribed | the end of the tracks, or of the session |
//!
//! [`Viewer`] is an [`App`] over one session at a time. When the session is lost, its owner connects
//! again and the viewer goes on in the new session where it left off ([`resuming`]). A catalog that changes mid-stream changes
//! the subscriptions: new tracks are added, vanished ones given up. The owner may choose among renditions, at
//! any time ([`switching`]).
//!
//! Source: seed document 003 (catalog); MSF draft-01; MOQT 5.

mod lane;
mod moving;
mod resuming;
mod switching;

use crate::catalog::{self, Catalog, Kind, MSF_TRACK, SEED_TRACK};
use crate::map::BTreeMap;
use crate::moqt::error::SessionCode;
use crate::moqt::name::{FullTrackName, Location, TrackName, TrackNamespace};
use crate::moqt::object::{Object, ObjectStatus};
use crate::moqt::parameter::Parameters;
use crate::moqt::session::{self, StreamEnd};
use crate::moqt::subscriber::{Event as TrackEvent, Key, Subscriber};
use crate::payload::Payload;
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, SessionId};
use bytes::Bytes;
use lane::{Lane, Out};
use std::collections::VecDeque;
use std::time::Duration;

pub use switching::{SwitchError, Urgency};

/// How long a newer group waits for the rest of an older one.
const PATIENCE: Duration = Duration::from_millis(500);
/// Chunks of a track that may wait.
const HELD_MAX: usize = 4096;

/// Which tracks of a catalog to subscribe to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The first video and the first audio track, or those that [`Viewer::prefer`] names.
    #[default]
    OneOfEach,
    /// All video and audio tracks.
    All,
}

/// What a viewer sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The catalog arrived, or changed.
    Catalog(Catalog),
    /// A chunk of a track, in order.
    Chunk(Chunk),
    /// Chunks of a track are lost before its next one.
    Gap {
        /// The track's name.
        track: String,
    },
    /// A track's publisher ended it.
    TrackEnded {
        /// The track's name.
        track: String,
        /// Why, in words.
        reason: String,
    },
    /// The stream cannot be watched: no catalog, or none that can be read.
    Unavailable {
        /// Why, in words; begins with `auth_failed` when permission is what lacks.
        reason: String,
    },
    /// The relay is going away: begin a session where it says, beside the one that lasts.
    Goaway {
        /// Where; empty for the same place.
        uri: String,
    },
    /// That session did not come about; the old one still lasts. Try again after a pause.
    MoveFailed {
        /// Why, in words.
        reason: String,
    },
    /// Everything comes from the new session now; the old one is closed.
    Moved,
    /// What follows of this kind is of another rendition. It begins with a group.
    Switched {
        /// The track that is left.
        from: String,
        /// The track that plays.
        to: String,
    },
    /// A rendition cannot be played; the one that played goes on.
    SwitchFailed {
        /// The track that was wanted.
        track: String,
        /// Why, in words.
        reason: String,
    },
    /// The session is over.
    Closed(Closed),
}

/// One object of a media track.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The track's name in the catalog.
    pub track: String,
    /// Its group.
    pub group: u64,
    /// Its place in the group, from 0.
    pub object: u64,
    /// `[prft] moof mdat`, one or several.
    pub payload: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatalogFormat {
    Msf,
    Seed,
}

/// The viewer machine. See the module's description.
#[derive(Debug)]
pub struct Viewer {
    subscriber: Subscriber,
    namespace: TrackNamespace,
    selection: Selection,
    limits: catalog::Limits,
    session: Option<SessionId>,
    catalog_key: Option<(Key, CatalogFormat)>,
    msf: catalog::msf::Reader,
    catalog: Option<Catalog>,
    tracks: BTreeMap<String, Key>,
    names: BTreeMap<Key, String>,
    /// By name: a track that moves has two subscriptions for a while.
    lanes: BTreeMap<String, Lane>,
    /// What is missing after a lost session and was asked for: whose it is.
    fills: BTreeMap<Key, resuming::Fill>,
    moving: Option<moving::Move>,
    /// One of each kind at most.
    switches: Vec<switching::Switch>,
    /// Names of tracks that go before the first one of their kind.
    preferred: Vec<String>,
    /// The session that was left: its end is no news.
    left: Option<SessionId>,
    events: VecDeque<Event>,
}

impl Viewer {
    /// A viewer of the stream in `namespace`.
    pub fn new(config: session::Config, namespace: TrackNamespace, selection: Selection) -> Self {
        let limits = catalog::Limits::default();
        Self {
            subscriber: Subscriber::new(config),
            namespace,
            selection,
            limits,
            session: None,
            catalog_key: None,
            msf: catalog::msf::Reader::new(limits),
            catalog: None,
            tracks: BTreeMap::new(),
            names: BTreeMap::new(),
            lanes: BTreeMap::new(),
            fills: BTreeMap::new(),
            moving: None,
            switches: Vec::new(),
            preferred: Vec::new(),
            left: None,
            events: VecDeque::new(),
        }
    }

    /// The catalog as it stands.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    /// Ends the session.
    pub fn close(&mut self, reason: &str) {
        if let Some(session) = self.session {
            self.subscriber.close(session, reason);
        }
    }

    fn process(&mut self, now: Instant) {
        while let Some(event) = self.subscriber.poll_event() {
            self.take(now, event);
        }
    }

    fn take(&mut self, now: Instant, event: TrackEvent) {
        match event {
            TrackEvent::Ready { session } => {
                if self.move_to(now, session) {
                    return;
                }
                self.forget_session();
                self.session = Some(session);
                self.ask_catalog(CatalogFormat::Msf);
            }
            TrackEvent::Object { key, object } => self.take_object(now, key, &object),
            TrackEvent::SubgroupEnded { key, group, end } => {
                let is_whole = end == StreamEnd::Finished;
                // What a session that is being left cuts short, the new one goes on with.
                if (is_whole || self.moving.is_none())
                    && let Some(lane) = self.lane_of(key)
                {
                    lane.ended(now, group, is_whole);
                }
                self.drain_lane(now, key);
                self.settle_switches(now);
            }
            TrackEvent::Rejected { key, error, .. } => {
                if !self.is_fill_refused(now, key) && !self.is_moved_refused(key) {
                    self.take_refusal(key, &error.reason);
                }
            }
            TrackEvent::Ended { key, reason, .. } => {
                if self.is_fill_refused(now, key) || self.is_moved_refused(key) {
                    return;
                }
                self.take_track_end(key, reason);
            }
            TrackEvent::Closed { session, closed } => {
                if self.left.take_if(|left| *left == session).is_some()
                    || self.take_closed_while_moving(session, &closed)
                {
                    return;
                }
                if self.session.is_none_or(|current| current == session) {
                    self.forget_session();
                    self.events.push_back(Event::Closed(closed));
                }
            }
            TrackEvent::Goaway { session, uri } => self.begin_move(session, uri),
            TrackEvent::Accepted { key, largest } => self.check_resumed(key, largest),
            TrackEvent::FetchAccepted { .. } | TrackEvent::FillAccepted { .. } => {}
            TrackEvent::FetchObject { key, object } => self.take_fill(now, key, &object),
            TrackEvent::FetchGap { key, kind, .. } => self.note_fill_gap(key, kind),
            TrackEvent::FetchEnded { key, end } => {
                self.end_fill(now, key, end == StreamEnd::Finished);
            }
        }
    }

    /// What is known of the tracks stays: the next session goes on from there.
    fn forget_session(&mut self) {
        self.forget_switches();
        self.session = None;
        self.moving = None;
        self.catalog_key = None;
        self.msf = catalog::msf::Reader::new(self.limits);
        self.catalog = None;
        self.tracks.clear();
        self.names.clear();
        self.fills.clear();
        for lane in self.lanes.values_mut() {
            lane.cut();
        }
    }

    fn ask_catalog(&mut self, format: CatalogFormat) {
        let name = match format {
            CatalogFormat::Msf => MSF_TRACK,
            CatalogFormat::Seed => SEED_TRACK,
        };
        match self.ask(name, Parameters::default()) {
            Some(key) => self.catalog_key = Some((key, format)),
            None => self.unavailable("the session takes no requests"),
        }
    }

    fn ask(&mut self, name: &str, parameters: Parameters) -> Option<Key> {
        self.ask_of(self.session?, name, parameters)
    }

    fn ask_of(&mut self, session: SessionId, name: &str, parameters: Parameters) -> Option<Key> {
        let name = TrackName(Bytes::copy_from_slice(name.as_bytes()));
        let track = FullTrackName::new(self.namespace.clone(), name).ok()?;
        self.subscriber.subscribe(session, track, parameters).ok()
    }

    fn take_refusal(&mut self, key: Key, reason: &str) {
        match self.catalog_key {
            Some((of, format)) if of == key => {
                self.catalog_key = None;
                // Without permission the other catalog would be refused as well.
                match format {
                    CatalogFormat::Msf if !reason.starts_with("auth_failed") => {
                        self.ask_catalog(CatalogFormat::Seed);
                    }
                    CatalogFormat::Msf | CatalogFormat::Seed => self.unavailable(reason),
                }
            }
            _ => self.take_track_end(key, reason.to_owned()),
        }
    }

    fn take_track_end(&mut self, key: Key, reason: String) {
        let name = self.names.get(&key).cloned();
        if name.is_some_and(|name| self.take_end_while_switching(&name, &reason)) {
            return;
        }
        if let Some(track) = self.forget_track(key) {
            self.events.push_back(Event::TrackEnded { track, reason });
        }
    }

    fn unavailable(&mut self, reason: &str) {
        self.events.push_back(Event::Unavailable {
            reason: reason.to_owned(),
        });
    }

    fn lane_of(&mut self, key: Key) -> Option<&mut Lane> {
        self.lanes.get_mut(self.names.get(&key)?)
    }

    fn drain_lane(&mut self, now: Instant, key: Key) {
        let Some(track) = self.names.get(&key).cloned() else {
            return;
        };
        while let Some(out) = self.lanes.get_mut(&track).and_then(Lane::poll) {
            match out {
                Out::Chunk(chunk) => self.put_chunk(now, chunk),
                Out::Gap => self.events.push_back(Event::Gap {
                    track: track.clone(),
                }),
                Out::Missing(span) => self.ask_missing(now, &track, span),
            }
        }
    }

    /// The track is not followed any more. Its lane stays, for when it comes back.
    fn forget_track(&mut self, key: Key) -> Option<String> {
        let name = self.names.remove(&key)?;
        if self.lanes.get_mut(&name).is_some_and(Lane::end) {
            let track = name.clone();
            self.events.push_back(Event::Gap { track });
        }
        self.give_up_fills(&name);
        self.tracks.remove(&name);
        Some(name)
    }

    fn take_object(&mut self, now: Instant, key: Key, object: &Object) {
        if object.status != ObjectStatus::Normal {
            return;
        }
        if self.take_moved_catalog(key, object) {
            return;
        }
        match self.catalog_key {
            Some((of, format)) if of == key => self.take_catalog(format, object),
            _ => {
                self.check_moved(key, Location::new(object.group, object.object));
                let Some(track) = self.names.get(&key) else {
                    return;
                };
                let Some(lane) = self.lanes.get_mut(track) else {
                    return;
                };
                let chunk = Chunk {
                    track: track.clone(),
                    group: object.group,
                    object: object.object,
                    payload: object.payload.clone(),
                };
                lane.chunk(now, chunk);
                self.drain_lane(now, key);
            }
        }
    }

    fn take_catalog(&mut self, format: CatalogFormat, object: &Object) {
        let json = object.payload.to_bytes();
        let read = match format {
            CatalogFormat::Msf => self.msf.apply(&json).cloned(),
            CatalogFormat::Seed => Catalog::parse_seed(&json, &self.limits),
        };
        match read {
            Ok(catalog) => {
                if self.catalog.as_ref() != Some(&catalog) {
                    self.follow(&catalog);
                    self.catalog = Some(catalog.clone());
                    self.events.push_back(Event::Catalog(catalog));
                }
            }
            // A catalog that was read before stays in force: the next group brings a whole one.
            Err(_) if self.catalog.is_some() => {}
            Err(error) => self.unavailable(&format!("the catalog cannot be read: {error}")),
        }
    }

    /// Subscribes to what the catalog offers and gives up what it does not offer any more.
    fn follow(&mut self, catalog: &Catalog) {
        let mut wanted: Vec<&str> = Vec::new();
        for kind in [Kind::Video, Kind::Audio] {
            let of_kind = catalog.tracks.iter().filter(|track| track.kind == kind);
            let mut names = of_kind.map(|track| track.name.as_str());
            match self.selection {
                Selection::OneOfEach => {
                    let is_preferred = |name: &&str| self.preferred.iter().any(|of| of == name);
                    let first = names.clone().next();
                    wanted.extend(names.clone().find(is_preferred).or(first));
                    wanted.extend(names.filter(|name| self.is_switching_from(name)));
                }
                Selection::All => wanted.extend(&mut names),
            }
        }
        let gone: Vec<Key> = self
            .names
            .iter()
            .filter(|(_, name)| !wanted.contains(&name.as_str()))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.forget_track(key);
            // A subscription that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(key);
        }
        self.lanes.retain(|name, _| wanted.contains(&name.as_str()));
        for name in wanted {
            if self.tracks.contains_key(name) {
                continue;
            }
            let from = self.lanes.get_mut(name).and_then(Lane::resume);
            if let Some(key) = self.ask(name, resuming::parameters(from)) {
                self.follow_track(name, key);
            }
        }
    }

    /// A subscription is what a track comes by.
    fn follow_track(&mut self, name: &str, key: Key) {
        self.tracks.insert(name.to_owned(), key);
        self.names.insert(key, name.to_owned());
        let lane = self.lanes.entry(name.to_owned());
        lane.or_insert_with(|| Lane::new(PATIENCE, HELD_MAX));
    }

    /// Ends the session for a fault of what it carries.
    pub fn fail(&mut self, reason: &str) {
        if let Some(session) = self.session {
            self.subscriber
                .close_with(session, SessionCode::INTERNAL_ERROR, reason);
        }
    }
}

impl App for Viewer {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.subscriber.handle(now, input);
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.subscriber.handle_timeout(now);
        self.process(now);
        self.handle_move_timeout(now);
        self.settle_switches(now);
        let due: Vec<Key> = self
            .tracks
            .iter()
            .filter(|(name, _)| {
                let at = self.lanes.get(*name).and_then(Lane::next_timeout);
                at.is_some_and(|at| at <= now)
            })
            .map(|(_, key)| *key)
            .collect();
        for key in due {
            if let Some(lane) = self.lane_of(key) {
                lane.handle_timeout(now);
            }
            self.drain_lane(now, key);
        }
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.subscriber.poll_output() {
            return Some(Action::Transport(output));
        }
        self.events.pop_front().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let lanes = self.lanes.values().filter_map(Lane::next_timeout);
        lanes
            .chain(self.subscriber.next_timeout())
            .chain(self.move_timeout())
            .chain(self.switch_timeout())
            .min()
    }
}
