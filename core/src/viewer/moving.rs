//! Moving to another relay while the picture goes on, when the old one says GOAWAY.
//!
//! | state | means | left by |
//! |---|---|---|
//! | staying | one session | GOAWAY: [`Event::Goaway`] asks the owner to connect |
//! | leaving | the old session serves; the new one is awaited | the new session's SETUP, or the failure to connect: [`Event::MoveFailed`] |
//! | both | each track is asked of the new session, from where it stands; both deliver, what comes twice is dropped | all tracks are moved: the old session is closed |
//!
//! A track is moved once the new session delivers something that joins up with what is here. A refusal
//! is asked again after a pause for as long as the new session lasts: the publisher may move more slowly than we.
//! When the old session ends early, what is not moved yet goes on at the new one.
//!
//! Source: draft-ietf-moq-transport-18 sections 3.6 (migration), 8.4.3 (subscriber switch-over).

use super::{CatalogFormat, Event, Viewer};
use crate::catalog::{self, MSF_TRACK, SEED_TRACK};
use crate::map::BTreeMap;
use crate::moqt::filter::Filter;
use crate::moqt::name::Location;
use crate::moqt::object::Object;
use crate::moqt::parameter::Parameters;
use crate::moqt::subscriber::Key;
use crate::time::Instant;
use crate::transport::{Closed, SessionId};
use std::time::Duration;

/// Pause before a refused track is asked for again.
const RETRY: Duration = Duration::from_millis(250);
/// How long a relay may look for a publisher of what we ask for.
const RENDEZVOUS_MS: u64 = 2000;

/// A move under way.
#[derive(Debug, Default)]
pub(super) struct Move {
    /// The session to move to, once it is ready.
    to: Option<SessionId>,
    /// What was asked there, by name.
    asked: BTreeMap<String, Key>,
    catalog: Option<(Key, CatalogFormat)>,
    is_catalog_moved: bool,
    retry_at: Option<Instant>,
}

impl Viewer {
    pub(super) fn begin_move(&mut self, session: SessionId, uri: String) {
        if self.session == Some(session) && self.moving.is_none() {
            self.moving = Some(Move::default());
            self.events.push_back(Event::Goaway { uri });
        }
    }

    /// A session is ready while another one is being left. Returns whether it is the one to move to.
    pub(super) fn move_to(&mut self, now: Instant, session: SessionId) -> bool {
        match &mut self.moving {
            Some(moving) if moving.to.is_none() => moving.to = Some(session),
            _ => return false,
        }
        self.ask_moved(now);
        true
    }

    /// Asks the new session for everything that was not asked yet.
    fn ask_moved(&mut self, now: Instant) {
        let Some(moving) = &self.moving else { return };
        let Some(to) = moving.to else { return };
        let is_catalog_asked = moving.catalog.is_some() || moving.is_catalog_moved;
        let wanted: Vec<String> = self
            .tracks
            .iter()
            .filter(|(name, key)| key.0 != to && !moving.asked.contains_key(*name))
            .map(|(name, _)| name.clone())
            .collect();
        if !is_catalog_asked {
            let format = self.catalog_key.map_or(CatalogFormat::Msf, |(_, of)| of);
            let name = match format {
                CatalogFormat::Msf => MSF_TRACK,
                CatalogFormat::Seed => SEED_TRACK,
            };
            let key = self.ask_of(to, name, patient(None));
            if let (Some(key), Some(moving)) = (key, &mut self.moving) {
                moving.catalog = Some((key, format));
            }
        }
        for name in wanted {
            let from = self.lanes.get(&name).and_then(super::Lane::resume_at);
            let key = self.ask_of(to, &name, patient(from));
            if let (Some(key), Some(moving)) = (key, &mut self.moving) {
                moving.asked.insert(name.clone(), key);
                self.names.insert(key, name);
            }
        }
        if let Some(moving) = &mut self.moving {
            moving.retry_at = Some(now + RETRY);
        }
    }

    pub(super) fn move_timeout(&self) -> Option<Instant> {
        self.moving.as_ref().and_then(|moving| moving.retry_at)
    }

    pub(super) fn handle_move_timeout(&mut self, now: Instant) {
        if self.move_timeout().is_some_and(|at| at <= now) {
            self.ask_moved(now);
        }
    }

    /// An object of the new session's catalog: the old one is not read any more. Returns whether it
    /// was one.
    pub(super) fn take_moved_catalog(&mut self, key: Key, object: &Object) -> bool {
        let Some(moving) = &mut self.moving else {
            return false;
        };
        let Some((_, format)) = moving.catalog.filter(|(of, _)| *of == key) else {
            return false;
        };
        moving.catalog = None;
        moving.is_catalog_moved = true;
        let old = self.catalog_key.replace((key, format));
        if let Some((old, _)) = old {
            // A subscription that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(old);
        }
        self.msf = catalog::msf::Reader::new(self.limits);
        self.take_catalog(format, object);
        self.end_move();
        true
    }

    /// Something of a track arrived from the new session: does it join up with what is here? Then the
    /// old subscription is given up.
    pub(super) fn check_moved(&mut self, key: Key, place: Location) {
        let Some(moving) = &mut self.moving else {
            return;
        };
        if moving.to != Some(key.0) {
            return;
        }
        let Some(name) = self.names.get(&key).cloned() else {
            return;
        };
        let next = self.lanes.get(&name).and_then(super::Lane::resume_at);
        let joins = next.is_none_or(|next| {
            place <= next || place == Location::new(next.group.saturating_add(1), 0)
        });
        if !joins || moving.asked.remove(&name).is_none() {
            return;
        }
        // What the new relay is slow to bring is asked for, before it counts as lost.
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.resume();
        }
        if let Some(old) = self.tracks.insert(name, key)
            && old != key
        {
            self.names.remove(&old);
            // A subscription that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(old);
        }
        self.end_move();
    }

    /// A subscription at the new session was refused or ended: it is asked for again.
    pub(super) fn is_moved_refused(&mut self, key: Key) -> bool {
        let Some(moving) = &mut self.moving else {
            return false;
        };
        if moving.catalog.is_some_and(|(of, _)| of == key) {
            moving.catalog = None;
            return true;
        }
        let Some(name) = self.names.get(&key) else {
            return false;
        };
        if moving.asked.get(name) == Some(&key) {
            moving.asked.remove(name);
            self.names.remove(&key);
            return true;
        }
        // The old session ends what it serves; it goes on at the new one.
        self.session == Some(key.0) && moving.to.is_some() && self.tracks.get(name) == Some(&key)
    }

    /// A track is not wanted any more: nor is what was asked of the new session for it.
    pub(super) fn forget_asked(&mut self, track: &str) {
        let asked = self
            .moving
            .as_mut()
            .and_then(|moving| moving.asked.remove(track));
        if let Some(key) = asked {
            self.names.remove(&key);
            // A subscription that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(key);
        }
        self.end_move();
    }

    /// A session ended during a move. Returns whether the move takes care of it.
    pub(super) fn take_closed_while_moving(&mut self, session: SessionId, closed: &Closed) -> bool {
        let Some(moving) = &mut self.moving else {
            return false;
        };
        if self.session == Some(session) {
            let Some(to) = moving.to else {
                // The new session is not there yet: the owner begins anew.
                self.moving = None;
                return false;
            };
            self.session = Some(to);
            self.end_move();
            return true;
        }
        let asked = std::mem::take(&mut moving.asked);
        for key in asked.into_values() {
            self.names.remove(&key);
        }
        self.moving = Some(Move::default());
        let reason = match closed {
            Closed::Application { reason, .. } | Closed::Transport { reason } => reason.clone(),
        };
        self.events.push_back(Event::MoveFailed { reason });
        true
    }

    /// When everything is moved, the old session is left.
    fn end_move(&mut self) {
        let Some(moving) = &self.moving else { return };
        let Some(to) = moving.to else { return };
        let is_whole = moving.is_catalog_moved && self.tracks.values().all(|key| key.0 == to);
        if !is_whole {
            return;
        }
        self.moving = None;
        let old = self.session.replace(to);
        if let Some(old) = old.filter(|old| *old != to) {
            self.left = Some(old);
            self.subscriber.close(old, "moved");
        }
        self.events.push_back(Event::Moved);
    }
}

/// What a SUBSCRIBE says that may come before the publisher.
fn patient(from: Option<Location>) -> Parameters {
    Parameters {
        filter: from.map(|start| Filter::Absolute { start }),
        rendezvous_timeout_ms: Some(RENDEZVOUS_MS),
        ..Parameters::default()
    }
}
