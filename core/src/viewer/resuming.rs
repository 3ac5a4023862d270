//! Going on where a lost session left off.
//!
//! | step | what is asked | when it does not help |
//! |---|---|---|
//! | the catalog is here again | each track, from the last chunk that went out | - |
//! | chunks come, but not the next ones | a FETCH of what is missing, while newer chunks are held | [`Event::Gap`] |
//! | the relay knows of smaller numbers only | the track without a place: it began anew | [`Event::Gap`] when it did |
//!
//! A relay that lost what it retained asks its publisher or the next relay in turn, so what is
//! missing is a gap only where nobody has it. What comes twice is dropped by the track's lane.
//!
//! Limits: one fetch of each track at a time; chunks that are held, and for how long, as in [`super::lane`].
//! Source: draft-ietf-moq-transport-18 sections 5.1.2 (filters), 9.16 (FETCH).

use super::{Chunk, Event, Viewer};
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::name::{FullTrackName, Location, TrackName};
use crate::moqt::object::{GapKind, Object, ObjectStatus};
use crate::moqt::parameter::Parameters;
use crate::moqt::subscriber::Key;
use crate::moqt::track::fetched;
use crate::moqt::track::span::Span;
use crate::time::Instant;
use bytes::Bytes;

/// How long a relay that lost its publisher may wait for it to come back.
const RENDEZVOUS_MS: u64 = 2000;

/// A fetch of what is missing.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) track: String,
    /// Whether somebody said that objects are missing which may exist.
    is_lossy: bool,
}

/// What a SUBSCRIBE to a track says; `from` is where it goes on.
pub(super) fn parameters(from: Option<Location>) -> Parameters {
    Parameters {
        filter: from.map(|start| Filter::Absolute { start }),
        rendezvous_timeout_ms: from.map(|_| RENDEZVOUS_MS),
        ..Parameters::default()
    }
}

impl Viewer {
    /// A subscription was accepted. Does the track still have the numbers that it had?
    pub(super) fn check_resumed(&mut self, key: Key, largest: Option<Location>) {
        let Some(name) = self.names.get(&key).cloned() else {
            return;
        };
        let lane = self.lanes.get_mut(&name);
        let Some(lane) = lane.filter(|lane| lane.is_resuming_by_number()) else {
            return;
        };
        let next = lane.resume_at().map_or(0, |at| at.group);
        if largest.is_some_and(|largest| largest.group.saturating_add(1) >= next) {
            return;
        }
        lane.allow_anew();
        self.names.remove(&key);
        // A subscription that ended meanwhile needs no cancel.
        let _ = self.subscriber.unsubscribe(key);
        if let Some(again) = self.ask(&name, Parameters::default()) {
            self.tracks.insert(name.clone(), again);
            self.names.insert(again, name);
        } else {
            self.tracks.remove(&name);
            let reason = "the session takes no requests".to_owned();
            let track = name;
            self.events.push_back(Event::TrackEnded { track, reason });
        }
    }

    /// A lane waits for what is missing.
    pub(super) fn ask_missing(&mut self, now: Instant, track: &str, span: Span) {
        self.give_up_fills(track);
        let subscription = self.tracks.get(track).copied();
        let name = TrackName(Bytes::copy_from_slice(track.as_bytes()));
        let name = FullTrackName::new(self.namespace.clone(), name).ok();
        let asked = subscription.zip(name).and_then(|(key, name)| {
            let parameters = Parameters {
                filter: Some(fetched::filter_of(span)),
                group_order: Some(GroupOrder::Ascending),
                ..Parameters::default()
            };
            self.subscriber.fetch(key.0, name, parameters).ok()
        });
        match asked {
            Some(fetch) => {
                let track = track.to_owned();
                let is_lossy = false;
                self.fills.insert(fetch, Fill { track, is_lossy });
            }
            None => {
                if let Some(lane) = self.lanes.get_mut(track) {
                    lane.end_fill(now, false);
                }
            }
        }
    }

    /// An object of what was missing.
    pub(super) fn take_fill(&mut self, now: Instant, key: Key, object: &Object) {
        let Some(fill) = self.fills.get(&key) else {
            return;
        };
        let track = fill.track.clone();
        let Some(lane) = self.lanes.get_mut(&track).filter(|lane| lane.is_filling()) else {
            self.give_up_fills(&track);
            return;
        };
        if object.status == ObjectStatus::Normal {
            lane.fetched(Chunk {
                track: track.clone(),
                group: object.group,
                object: object.object,
                payload: object.payload.clone(),
            });
        }
        self.drain_track(now, &track);
    }

    /// Some of what is missing does not come.
    pub(super) fn note_fill_gap(&mut self, key: Key, kind: GapKind) {
        if let Some(fill) = self.fills.get_mut(&key) {
            fill.is_lossy |= kind != GapKind::NonExistent;
        }
    }

    /// A fetch of what is missing is over.
    pub(super) fn end_fill(&mut self, now: Instant, key: Key, is_whole: bool) {
        let Some(fill) = self.fills.remove(&key) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&fill.track) {
            lane.end_fill(now, is_whole && !fill.is_lossy);
        }
        self.drain_track(now, &fill.track);
    }

    /// A fetch of what is missing was refused, or cut. Returns whether the request was one.
    pub(super) fn is_fill_refused(&mut self, now: Instant, key: Key) -> bool {
        let is_fill = self.fills.contains_key(&key);
        self.end_fill(now, key, false);
        is_fill
    }

    /// The fetches of a track took too long.
    pub(super) fn give_up_fills(&mut self, track: &str) {
        let of_track = self.fills.iter().filter(|(_, fill)| fill.track == track);
        let keys: Vec<Key> = of_track.map(|(key, _)| *key).collect();
        for key in keys {
            self.fills.remove(&key);
            // A fetch that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(key);
        }
    }

    fn drain_track(&mut self, now: Instant, track: &str) {
        if let Some(key) = self.tracks.get(track).copied() {
            self.drain_lane(now, key);
        }
    }
}
