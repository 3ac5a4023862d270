//! Objects on their way: from publishers into tracks, and out of the cache when it is full.
//!
//! Objects of uploads go another way: see [`super::sdk`].

use super::{Relay, RequestKey, TrackId};
use crate::canary::{self, Canary};
use crate::moqt::object::{Object, SubgroupHeader};
use crate::moqt::session::StreamEnd;
use crate::moqt::track::cache::{End, Inserted, Source, SubgroupInfo};
use crate::time::Instant;
use crate::transport::StreamId;

impl Relay {
    pub(super) fn take_object(
        &mut self,
        now: Instant,
        began: Instant,
        key: RequestKey,
        stream: StreamId,
        header: SubgroupHeader,
        object: Object,
    ) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        let Some(mut object) = self.take_uploaded(now, key, object) else {
            return;
        };
        if canary::is_on(Canary::PayloadCorrupted) {
            object.payload = object.payload.with_a_wrong_byte();
        }
        let info = SubgroupInfo {
            priority: header.priority,
            has_properties: header.has_properties,
            end_of_group: header.end_of_group,
            first_object: header.first_object,
        };
        if let Some(subgroup) = object.subgroup {
            self.check_takeover(now, id, (object.group, subgroup, object.object));
        }
        let size = object.payload.len() as u64;
        let source = (key.0, stream);
        let Some(object) = self.keep_ahead(now, id, (key, source), (info, began), object) else {
            return;
        };
        let place = (object.group, object.subgroup);
        match self.publish_object(now, began, id, info, object, Some(source)) {
            Inserted::New => {
                self.metrics.objects_received += 1;
                self.metrics.bytes_received += size;
                if let (group, Some(subgroup)) = place {
                    self.take_ahead(now, id, (group, subgroup));
                }
            }
            Inserted::Contradicts => self.object_contradicts(now, key),
            Inserted::Stale | Inserted::OverLimit => {}
        }
    }

    /// Puts an object into a track and keeps the retained groups of all within their budget. Its age
    /// counts from when it `began` to arrive.
    pub(super) fn publish_object(
        &mut self,
        now: Instant,
        began: Instant,
        id: TrackId,
        info: SubgroupInfo,
        object: Object,
        source: Option<Source>,
    ) -> Inserted {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Inserted::Stale;
        };
        let group = object.group;
        let place = (group, object.subgroup.unwrap_or_default());
        let before = entry.track.cache().span();
        let bytes_before = entry.track.cache().bytes();
        let is_full = self.cache_bytes.saturating_add(object.payload.len())
            > self.config.cache_bytes_hard_max;
        let inserted = if is_full && !canary::is_on(Canary::CacheBoundPassed) {
            Inserted::OverLimit
        } else {
            let sessions = &mut self.sessions;
            entry
                .track
                .publish_begun(now, began, sessions, info, object, source)
        };
        if inserted == Inserted::OverLimit {
            // What follows in this stream would follow a hole: viewers are told by a reset.
            let sessions = &mut self.sessions;
            let (group, subgroup) = place;
            entry
                .track
                .end_subgroup(now, sessions, group, subgroup, End::Abandoned);
            self.metrics.objects_over_limit += 1;
            self.metrics.groups_over_limit += entry.track.subscribers_len() as u64;
            return inserted;
        }
        let cache = entry.track.cache();
        let (after, bytes_after) = (cache.span(), cache.bytes());
        let has_ended = entry.track.has_ended();
        self.cache_bytes = self
            .cache_bytes
            .saturating_sub(bytes_before)
            .saturating_add(bytes_after);
        if canary::is_on(Canary::CacheBytesCountedTwice) {
            let more = bytes_after.saturating_sub(bytes_before);
            self.cache_bytes = self.cache_bytes.saturating_add(more);
        }
        if inserted == Inserted::New {
            self.age(now, id, group, before, after);
            self.evict();
            self.advance_parked(now, id);
        }
        if has_ended {
            self.drop_ended(id);
        }
        inserted
    }

    /// Keeps the order in which groups may go, after a track took an object of `group`. `before` and
    /// `after` are its oldest and newest group.
    fn age(
        &mut self,
        now: Instant,
        id: TrackId,
        group: u64,
        before: Option<(u64, u64)>,
        after: Option<(u64, u64)>,
    ) {
        let (Some((oldest_before, newest_before)), Some((oldest, newest))) = (before, after) else {
            return;
        };
        if newest > newest_before && newest_before >= oldest {
            self.ages.insert((now, id, newest_before));
        } else if group < newest {
            self.ages.insert((now, id, group));
        }
        if let Some(last) = oldest.checked_sub(1).filter(|last| *last >= oldest_before) {
            self.metrics.groups_evicted += 1;
            self.ages.forget(id, oldest_before..=last);
        }
    }

    /// Keeps an object of the past in a track's cache, within the budget of all. Returns whether the
    /// track is good: the object is not here as another one.
    pub(super) fn keep_fetched(&mut self, now: Instant, id: TrackId, object: Object) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return true;
        };
        let group = object.group;
        let is_full = self.cache_bytes.saturating_add(object.payload.len())
            > self.config.cache_bytes_hard_max;
        if is_full {
            return true;
        }
        let before = entry.track.cache().bytes();
        let mut evicted = Vec::new();
        let inserted = entry.track.keep_fetched(now, object, &mut evicted);
        if inserted != Inserted::New {
            return inserted != Inserted::Contradicts;
        }
        let after = entry.track.cache().bytes();
        self.cache_bytes = self
            .cache_bytes
            .saturating_sub(before)
            .saturating_add(after);
        self.fetches.ages.insert((now, id, group));
        for group in evicted {
            self.fetches.ages.forget(id, group..=group);
        }
        true
    }

    pub(super) fn take_datagram(&mut self, now: Instant, key: RequestKey, object: Object) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        let Some(object) = self.take_uploaded(now, key, object) else {
            return;
        };
        if !self.keep_fetched(now, id, object.clone()) {
            self.object_contradicts(now, key);
            return;
        }
        self.evict();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        self.metrics.objects_received += 1;
        self.metrics.bytes_received += object.payload.len() as u64;
        entry
            .track
            .publish_datagram(now, &mut self.sessions, &object);
        self.advance_parked(now, id);
    }

    pub(super) fn take_subgroup_end(
        &mut self,
        now: Instant,
        key: RequestKey,
        group: u64,
        subgroup: Option<u64>,
        end: StreamEnd,
    ) {
        let is_whole = end == StreamEnd::Finished;
        if self.take_uploaded_end(now, key, (group, subgroup), is_whole) {
            return;
        }
        let (Some(id), Some(subgroup)) = (self.upstreams.get(&key).copied(), subgroup) else {
            return;
        };
        if is_whole && self.ends_ahead(id, (group, subgroup)) {
            return;
        }
        if !is_whole && self.may_be_taken_over(now, id, key, (group, subgroup)) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let end = match end {
            StreamEnd::Finished => End::Finished,
            StreamEnd::Reset(_) => End::Abandoned,
        };
        entry
            .track
            .end_subgroup(now, &mut self.sessions, group, subgroup, end);
        let has_deadline = entry.track.next_timeout().is_some();
        self.drop_ended(id);
        if has_deadline {
            self.arm_track(id);
        }
    }

    fn evict_fetched(&mut self) {
        if let Some((_, id, group)) = self.fetches.ages.pop_first()
            && let Some(entry) = self.entries.get_mut(&id)
        {
            let freed = entry.track.evict_history(group);
            self.cache_bytes = self.cache_bytes.saturating_sub(freed);
            self.metrics.groups_evicted += 1;
        }
    }

    /// Keeps all retained groups together within the budget: the oldest go first, the newest group
    /// of a track stays.
    pub(super) fn evict(&mut self) {
        while self.cache_bytes > self.config.cache_bytes_max
            && !canary::is_on(Canary::CacheBoundPassed)
        {
            let (live, fetched) = (self.ages.oldest(), self.fetches.ages.oldest());
            if fetched.is_some_and(|fetched| live.is_none_or(|live| fetched <= live)) {
                self.evict_fetched();
                continue;
            }
            let Some((_, id, group)) = self.ages.pop_first() else {
                break;
            };
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let oldest = entry.track.cache().oldest_group();
            if oldest.is_none_or(|oldest| oldest > group) {
                continue;
            }
            let before = entry.track.cache().bytes();
            if entry.track.evict_oldest(&mut self.sessions).is_some() {
                self.metrics.groups_evicted += 1;
            }
            let freed = before.saturating_sub(entry.track.cache().bytes());
            self.cache_bytes = self.cache_bytes.saturating_sub(freed);
        }
    }
}
