//! Objects that came too early: two publishers feed one subgroup, and the one that is ahead left some
//! out, which the other one still brings.
//!
//! | an object of a track with several publishers | is |
//! |---|---|
//! | the next of its subgroup, or known | taken as always |
//! | beyond the next one | kept here, unseen by viewers, until those in front of it are here |
//! | kept for [`hole_delay`](super::mesh::Limits::hole_delay) | a reason to fetch what is missing, from the publisher that brought it or another |
//! | kept until that fetch is over, or for [`takeover_timeout`](super::mesh::Limits::takeover_timeout) more | taken behind a hole: viewers' streams are reset there, and what follows is never ended as if it were whole |
//!
//! Limits: [`Limits::ahead_objects_max`](super::mesh::Limits::ahead_objects_max) and
//! [`Limits::ahead_bytes_max`](super::mesh::Limits::ahead_bytes_max) per track; beyond them everything is
//! taken as it is. Source: draft-ietf-moq-transport-19, Section 11.4.3 (closing subgroup streams).

use super::mesh::MeshTimer;
use super::{Relay, RequestKey, Timer, TrackId};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::name::Location;
use crate::moqt::object::Object;
use crate::moqt::track::cache::{Cache, End, Inserted, Source, SubgroupInfo};
use crate::moqt::track::span::Span;
use crate::time::Instant;

/// What waits, of one track.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// By group, subgroup and object.
    kept: BTreeMap<(u64, u64, u64), Kept>,
    bytes: usize,
    /// Subgroups whose stream ended well behind what is kept.
    ended: BTreeSet<(u64, u64)>,
    /// When what is missing is asked for; then, when it is given up.
    until: Option<Instant>,
    is_asked: bool,
}

#[derive(Debug)]
struct Kept {
    by: RequestKey,
    source: Source,
    info: SubgroupInfo,
    began: Instant,
    object: Object,
}

impl Ahead {
    fn first_of(&self, (group, subgroup): (u64, u64)) -> Option<&Kept> {
        let of_subgroup = (group, subgroup, 0)..=(group, subgroup, u64::MAX);
        self.kept.range(of_subgroup).next().map(|(_, kept)| kept)
    }

    fn pop(&mut self, key: (u64, u64, u64)) -> Option<Kept> {
        let kept = self.kept.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(kept.object.payload.len());
        Some(kept)
    }
}

impl Relay {
    /// Keeps an object that came too early; gives back what did not.
    pub(super) fn keep_ahead(
        &mut self,
        now: Instant,
        id: TrackId,
        (by, source): (RequestKey, Source),
        (info, began): (SubgroupInfo, Instant),
        object: Object,
    ) -> Option<Object> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Some(object);
        };
        let Some(subgroup) = object.subgroup else {
            return Some(object);
        };
        // Almost every track has one publisher. What another relay goes on with has its own rules.
        let is_alone = entry.upstreams.len() < 2 && entry.ahead.kept.is_empty();
        if is_alone
            || entry.takeover.contains_key(&(object.group, subgroup))
            || !(entry.track.cache()).is_ahead(info.first_object, &object, source)
        {
            return Some(object);
        }
        let limits = self.mesh.config.limits;
        let bytes = entry.ahead.bytes.saturating_add(object.payload.len());
        if entry.ahead.kept.len() >= limits.ahead_objects_max || bytes > limits.ahead_bytes_max {
            self.flush_ahead(now, id);
            return Some(object);
        }
        entry.ahead.bytes = bytes;
        let kept = Kept {
            by,
            source,
            info,
            began,
            object,
        };
        let key = (kept.object.group, subgroup, kept.object.object);
        if let Some(before) = entry.ahead.kept.insert(key, kept) {
            entry.ahead.bytes = (entry.ahead.bytes).saturating_sub(before.object.payload.len());
        }
        if entry.ahead.until.is_none() {
            entry.ahead.is_asked = false;
            self.arm_ahead(id, now + limits.hole_delay);
        }
        None
    }

    /// Something of a subgroup was taken: what is kept behind it may follow.
    pub(super) fn take_ahead(&mut self, now: Instant, id: TrackId, place: (u64, u64)) {
        loop {
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            let Some(kept) = entry.ahead.first_of(place) else {
                break;
            };
            let (info, object) = (kept.info, &kept.object);
            if (entry.track.cache()).is_ahead(info.first_object, object, kept.source) {
                return;
            }
            let key = (place.0, place.1, object.object);
            self.release(now, id, key);
        }
        self.end_ahead(now, id, place);
    }

    /// A subgroup's stream ended well. Returns whether its end has to wait for what is kept.
    pub(super) fn ends_ahead(&mut self, id: TrackId, place: (u64, u64)) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        let waits = entry.ahead.first_of(place).is_some();
        if waits {
            entry.ahead.ended.insert(place);
        }
        waits
    }

    /// Nothing more is waited for: what is kept is taken as it is.
    pub(super) fn flush_ahead(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.ahead.until = None;
        while let Some(key) =
            (self.entries.get(&id)).and_then(|entry| entry.ahead.kept.keys().next().copied())
        {
            self.release(now, id, key);
            self.end_ahead(now, id, (key.0, key.1));
        }
    }

    pub(super) fn take_ahead_timer(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.ahead.until.is_none_or(|until| until > now) {
            return;
        }
        entry.ahead.until = None;
        let missing = entry.missing_before().filter(|_| !entry.ahead.is_asked);
        entry.ahead.is_asked = true;
        if missing.is_some_and(|(span, by)| self.fetch_hole(id, by, span, true)) {
            self.arm_ahead(id, now + self.mesh.config.limits.takeover_timeout);
        } else {
            self.give_up_ahead(now, id);
        }
    }

    /// What is missing before the first object that is kept does not come, or all of it came: it is
    /// taken, and the next one has its own time.
    pub(super) fn give_up_ahead(&mut self, now: Instant, id: TrackId) {
        let first = self.entries.get(&id);
        let first = first.and_then(|entry| entry.ahead.kept.keys().next().copied());
        if let Some(first) = first {
            self.release(now, id, first);
            self.take_ahead(now, id, (first.0, first.1));
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.ahead.until = None;
        entry.ahead.is_asked = false;
        if !entry.ahead.kept.is_empty() {
            self.arm_ahead(id, now + self.mesh.config.limits.hole_delay);
        }
    }

    fn arm_ahead(&mut self, id: TrackId, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.ahead.until = Some(until);
            let timer = Timer::Mesh(MeshTimer::Ahead(id));
            self.timers.insert((until, timer));
        }
    }

    fn release(&mut self, now: Instant, id: TrackId, key: (u64, u64, u64)) {
        let entry = self.entries.get_mut(&id);
        let Some(kept) = entry.and_then(|entry| entry.ahead.pop(key)) else {
            return;
        };
        let size = kept.object.payload.len() as u64;
        let source = Some(kept.source);
        let inserted = self.publish_object(now, kept.began, id, kept.info, kept.object, source);
        match inserted {
            Inserted::New => {
                self.metrics.objects_received += 1;
                self.metrics.bytes_received += size;
            }
            Inserted::Contradicts => {
                self.object_contradicts(now, kept.by);
            }
            Inserted::Stale | Inserted::OverLimit => {}
        }
    }

    /// Nothing of a subgroup is kept any more: if its stream ended, it does.
    fn end_ahead(&mut self, now: Instant, id: TrackId, place: (u64, u64)) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.ahead.kept.is_empty() {
            entry.ahead.until = None;
        }
        if entry.ahead.first_of(place).is_some() || !entry.ahead.ended.remove(&place) {
            return;
        }
        let (sessions, end) = (&mut self.sessions, End::Finished);
        (entry.track).end_subgroup(now, sessions, place.0, place.1, end);
        self.drop_ended(id);
        self.arm_track(id);
    }
}

impl super::tracks::Entry {
    /// What is missing before the first object that is kept, and who is asked for it: the publisher
    /// that brought it, or another one.
    fn missing_before(&self) -> Option<(Span, RequestKey)> {
        let ((group, subgroup, object), kept) = self.ahead.kept.first_key_value()?;
        let next = next_of(self.track.cache(), *group, *subgroup);
        let start = Location::new(*group, next);
        let end = Location::new(*group, object.checked_sub(1)?);
        let mut established = self.established_upstreams();
        let by = if self.upstreams.contains_key(&kept.by) {
            Some(kept.by)
        } else {
            established.next()
        };
        Some((Span::new(start, end)?, by?))
    }
}

fn next_of(cache: &Cache, group: u64, subgroup: u64) -> u64 {
    let last = cache
        .subgroup(group, subgroup)
        .and_then(|held| held.objects.last());
    last.map_or(0, |last| last.object.saturating_add(1))
}
