//! Playing another rendition instead, from a group on that both have.
//!
//! | state | chunks of the old track | chunks of the new one | left by |
//! |---|---|---|---|
//! | before the group | go out | - | the old track gets there |
//! | at the group | are held | are held, from a group's first on | the new one is there, and the old one has nothing before it: it is given up |
//! | too long at the group | go out: the next group is tried | - | [`TURNS_MAX`] tries: [`Event::SwitchFailed`] |
//!
//! Renditions of one broadcast number their groups alike, so nothing is missing and nothing comes
//! twice. [`Urgency::AtOnce`] gives the old track up without waiting, and asks for the new one from the
//! beginning of the group that is playing: what comes twice replaces what is there. [`Urgency::FromNext`]
//! leaves the rest of that group out, for when it would take longer to come than the next one.
//!
//! Limits: one switch of each kind of track at a time; what is held is bounded by [`PATIENCE`] and by
//! [`HELD_MAX`]. Source: draft-ietf-moq-transport-18 section 8.4.3 (subscriber switch-over).

use super::lane::Lane;
use super::{Chunk, Event, Viewer, resuming};
use crate::catalog::Kind;
use crate::moqt::filter::Filter;
use crate::moqt::name::Location;
use crate::moqt::parameter::Parameters;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How long one rendition waits for the other at a group.
const PATIENCE: Duration = Duration::from_millis(250);
/// Groups at which a switch is tried.
const TURNS_MAX: u32 = 8;
/// Turns after which the tracks seem to number their groups differently.
const TURNS_ALIGNED: u32 = 3;
/// Chunks of each side that are held.
const HELD_MAX: usize = 1024;
/// Names that may be preferred.
const PREFERRED_MAX: usize = 8;

/// How much a switch may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing: the old rendition plays until the new one is there.
    #[default]
    Smooth,
    /// The path brings too little: the old rendition is given up at once.
    AtOnce,
    /// The same, and the new one begins with the group after the one that is playing.
    FromNext,
}

/// Why another rendition cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// The catalog has no such track.
    #[error("the stream has no track {0}")]
    UnknownTrack(String),
    /// It has no picture and no sound.
    #[error("track {0} is neither video nor audio")]
    NotMedia(String),
    /// No session takes requests at the moment.
    #[error("no session takes requests")]
    NotReady,
}

/// A switch under way.
#[derive(Debug)]
pub(super) struct Switch {
    from: String,
    to: String,
    /// Where it happens.
    group: u64,
    is_aligned: bool,
    old: VecDeque<Chunk>,
    new: VecDeque<Chunk>,
    /// The old track has ended.
    is_old_over: bool,
    deadline: Option<Instant>,
    turns: u32,
}

impl Switch {
    /// A chunk of one of the two. Returns what goes out.
    fn take(&mut self, now: Instant, chunk: Chunk) -> Option<Chunk> {
        if chunk.track == self.to {
            let is_before = self.is_aligned && chunk.group < self.group;
            if is_before || (self.new.is_empty() && chunk.object != 0) {
                return None;
            }
            self.new.push_back(chunk);
        } else if chunk.group < self.group {
            return Some(chunk);
        } else {
            self.old.push_back(chunk);
        }
        self.deadline.get_or_insert(now + PATIENCE);
        None
    }

    /// Whether nothing of the old track is to come before the new one.
    fn is_ready(&self, old: Option<&Lane>) -> bool {
        let Some(first) = self.new.front() else {
            return false;
        };
        let is_there = |chunk: &Chunk| chunk.group >= first.group;
        !self.is_aligned
            || self.is_old_over
            || self.old.back().is_some_and(is_there)
            || old.is_none_or(|lane| lane.is_done_before(first.group))
    }

    fn is_full(&self) -> bool {
        self.old.len() >= HELD_MAX || self.new.len() >= HELD_MAX
    }
}

impl Viewer {
    /// Plays this track when the catalog has it, instead of the first one of its kind. For a start: see
    /// [`Self::switch`] for what plays already.
    pub fn prefer(&mut self, track: String) {
        if self.preferred.len() < PREFERRED_MAX && !self.preferred.contains(&track) {
            self.preferred.push(track);
        }
    }

    /// Plays this track instead of the other one of its kind, from the next group on.
    /// [`Event::Switched`] or [`Event::SwitchFailed`] follows, unless it plays already.
    pub fn switch(
        &mut self,
        now: Instant,
        track: &str,
        urgency: Urgency,
    ) -> Result<(), SwitchError> {
        let unknown = || SwitchError::UnknownTrack(track.to_owned());
        let catalog = self.catalog.as_ref().ok_or(SwitchError::NotReady)?;
        let kind = catalog.track(track).ok_or_else(unknown)?.kind.clone();
        if !matches!(kind, Kind::Video | Kind::Audio) {
            return Err(SwitchError::NotMedia(track.to_owned()));
        }
        let is_other = |name: &String| {
            let other = catalog.track(name);
            name != track && other.is_some_and(|other| other.kind == kind)
        };
        let others: Vec<String> = self
            .tracks
            .keys()
            .filter(|n| is_other(n))
            .cloned()
            .collect();
        self.preferred.retain(|name| !is_other(name));
        self.prefer(track.to_owned());
        for other in &others {
            // A switch to yet another one is given up.
            self.end_switch_to(other);
        }
        let Some(from) = others.into_iter().find(|n| self.tracks.contains_key(n)) else {
            return self.begin_track(track, None);
        };
        if self.switches.iter().any(|switch| switch.to == track) {
            return Ok(());
        }
        if self.tracks.contains_key(track) {
            // The way back of a switch that had not happened yet.
            return Ok(());
        }
        let at = self.lanes.get(&from).and_then(Lane::resume_at);
        match (urgency, at) {
            (Urgency::Smooth, Some(at)) => {
                let group = at.group.saturating_add(1);
                self.begin_track(track, Some(group))?;
                self.switches.push(Switch {
                    from,
                    to: track.to_owned(),
                    group,
                    is_aligned: true,
                    old: VecDeque::new(),
                    new: VecDeque::new(),
                    is_old_over: false,
                    deadline: None,
                    turns: 0,
                });
                self.settle_switches(now);
            }
            (_, at) => {
                self.leave_track(&from);
                let skipped = u64::from(urgency == Urgency::FromNext);
                self.begin_track(track, at.map(|at| at.group.saturating_add(skipped)))?;
                let to = track.to_owned();
                self.events.push_back(Event::Switched { from, to });
            }
        }
        Ok(())
    }

    /// Asks for a session to move to, as if the relay were going away: [`Event::Goaway`] follows. For
    /// a token that is about to expire.
    pub fn renew(&mut self) {
        if let Some(session) = self.session {
            self.begin_move(session, String::new());
        }
    }

    /// Forgets where the tracks stood. After a long outage the next session then begins at the newest
    /// group, instead of with what was missed. Without effect while a session lasts.
    pub fn forget_places(&mut self) {
        if self.session.is_none() {
            self.lanes.clear();
        }
    }

    /// A chunk that is in order: out, or to the switch that it belongs to.
    pub(super) fn put_chunk(&mut self, now: Instant, chunk: Chunk) {
        let mut switches = self.switches.iter_mut();
        let Some(switch) = switches.find(|s| s.from == chunk.track || s.to == chunk.track) else {
            self.events.push_back(Event::Chunk(chunk));
            return;
        };
        let out = switch.take(now, chunk);
        self.events.extend(out.map(Event::Chunk));
        self.settle_switches(now);
    }

    /// Whether a catalog's change leaves a track in use: both sides of a switch are.
    pub(super) fn is_switching_from(&self, track: &str) -> bool {
        self.switches.iter().any(|switch| switch.from == track)
    }

    /// A track is not followed any more. Returns whether a switch takes care of it.
    pub(super) fn take_end_while_switching(&mut self, track: &str, reason: &str) -> bool {
        if let Some(switch) = self.switches.iter_mut().find(|s| s.from == track) {
            switch.is_old_over = true;
            return false;
        }
        if !self.switches.iter().any(|switch| switch.to == track) {
            return false;
        }
        self.fail_switch_to(track, reason);
        true
    }

    /// The session is over: what is held goes out, and the next session begins with the new rendition.
    pub(super) fn forget_switches(&mut self) {
        for switch in std::mem::take(&mut self.switches) {
            self.events.extend(switch.old.into_iter().map(Event::Chunk));
        }
    }

    pub(super) fn switch_timeout(&self) -> Option<Instant> {
        let deadlines = self.switches.iter().filter_map(|switch| switch.deadline);
        deadlines.min()
    }

    /// Completes the switches that can be, and looks after those that take too long.
    pub(super) fn settle_switches(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(switch) = self.switches.get_mut(at) {
            let is_due = switch.deadline.is_some_and(|deadline| deadline <= now);
            if switch.is_ready(self.lanes.get(&switch.from)) {
                let switch = self.switches.remove(at);
                self.complete(switch, false);
            } else if !(is_due || switch.is_full()) {
                at += 1;
            } else if switch.new.is_empty() {
                let last = switch.old.back().map_or(switch.group, |last| last.group);
                self.events.extend(switch.old.drain(..).map(Event::Chunk));
                switch.group = last.saturating_add(1);
                switch.deadline = None;
                switch.turns = switch.turns.saturating_add(1);
                switch.is_aligned &= switch.turns < TURNS_ALIGNED;
                if switch.turns >= TURNS_MAX {
                    let to = switch.to.clone();
                    self.fail_switch_to(&to, "the rendition does not come");
                } else {
                    at += 1;
                }
            } else {
                // The rest of the old rendition is late: what is there of the new one goes on.
                let switch = self.switches.remove(at);
                self.complete(switch, true);
            }
        }
    }

    fn complete(&mut self, switch: Switch, is_cut: bool) {
        let Switch {
            from, to, old, new, ..
        } = switch;
        let first = new.front().map_or(u64::MAX, |chunk| chunk.group);
        let before = old.into_iter().filter(|chunk| chunk.group < first);
        self.events.extend(before.map(Event::Chunk));
        if is_cut {
            let track = from.clone();
            self.events.push_back(Event::Gap { track });
        }
        self.leave_track(&from);
        self.events.push_back(Event::Switched { from, to });
        self.events.extend(new.into_iter().map(Event::Chunk));
    }

    fn fail_switch_to(&mut self, track: &str, reason: &str) {
        let Some(from) = self.end_switch_to(track) else {
            return;
        };
        self.preferred.retain(|name| name != track);
        self.prefer(from);
        self.events.push_back(Event::SwitchFailed {
            track: track.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Gives a switch to this track up. Returns what plays on.
    fn end_switch_to(&mut self, track: &str) -> Option<String> {
        let at = self.switches.iter().position(|s| s.to == track)?;
        let switch = self.switches.remove(at);
        self.events.extend(switch.old.into_iter().map(Event::Chunk));
        self.leave_track(track);
        Some(switch.from)
    }

    fn begin_track(&mut self, track: &str, group: Option<u64>) -> Result<(), SwitchError> {
        if self.tracks.contains_key(track) {
            return Ok(());
        }
        let parameters = match group {
            Some(group) => Parameters {
                filter: Some(Filter::Absolute {
                    start: Location::new(group, 0),
                }),
                ..resuming::parameters(None)
            },
            None => Parameters::default(),
        };
        let key = self.ask(track, parameters).ok_or(SwitchError::NotReady)?;
        self.follow_track(track, key);
        Ok(())
    }

    /// Gives a track up without a word about it.
    fn leave_track(&mut self, track: &str) {
        self.give_up_fills(track);
        self.lanes.remove(track);
        if let Some(key) = self.tracks.remove(track) {
            self.names.remove(&key);
            // A subscription that ended meanwhile needs no cancel.
            let _ = self.subscriber.unsubscribe(key);
        }
        self.forget_asked(track);
    }
}
