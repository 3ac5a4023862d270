//! Objects on their way: from publishers into tracks, and out of the cache when it is full.
//!
//! Objects of uploads go another way: see [`super::sdk`].

use super::{Relay, RequestKey, TrackId};
use crate::moqt::object::{Object, SubgroupHeader};
use crate::moqt::session::StreamEnd;
use crate::moqt::track::cache::{End, Inserted, SubgroupInfo};
use crate::time::Instant;

impl Relay {
    pub(super) fn take_object(
        &mut self,
        now: Instant,
        key: RequestKey,
        header: SubgroupHeader,
        object: Object,
    ) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        let Some(object) = self.take_uploaded(now, key, object) else {
            return;
        };
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
        if self.publish_object(now, id, info, object) == Inserted::New {
            self.metrics.objects_received += 1;
            self.metrics.bytes_received += size;
        }
    }

    /// Puts an object into a track and keeps the retained groups of all within their budget.
    pub(super) fn publish_object(
        &mut self,
        now: Instant,
        id: TrackId,
        info: SubgroupInfo,
        object: Object,
    ) -> Inserted {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Inserted::Stale;
        };
        let group = object.group;
        let before = (
            entry.track.cache().bytes(),
            entry.track.cache().newest_group(),
        );
        let inserted = entry.track.publish(now, &mut self.sessions, info, object);
        let after = entry.track.cache().bytes();
        self.cache_bytes = self
            .cache_bytes
            .saturating_sub(before.0)
            .saturating_add(after);
        if inserted == Inserted::New && before.1.is_none_or(|newest| group > newest) {
            self.ages.insert((now, id, group));
        }
        self.evict();
        inserted
    }

    pub(super) fn take_datagram(&mut self, now: Instant, key: RequestKey, object: Object) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        let Some(object) = self.take_uploaded(now, key, object) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        self.metrics.objects_received += 1;
        self.metrics.bytes_received += object.payload.len() as u64;
        entry.track.publish_datagram(&mut self.sessions, &object);
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
    }

    /// Keeps all retained groups together within the budget: the oldest go first, the newest group
    /// of a track stays.
    fn evict(&mut self) {
        let mut kept = Vec::new();
        while self.cache_bytes > self.config.cache_bytes_max {
            let Some((at, id, group)) = self.ages.pop_first() else {
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
            if entry.track.evict_oldest(&mut self.sessions).is_none() {
                kept.push((at, id, group));
                continue;
            }
            let freed = before.saturating_sub(entry.track.cache().bytes());
            self.cache_bytes = self.cache_bytes.saturating_sub(freed);
        }
        self.ages.extend(kept);
        // Groups that a track evicted by itself leave their age behind.
        while self.ages.len() > self.entries.len().saturating_mul(64).max(1024) {
            self.ages.pop_first();
        }
    }
}
