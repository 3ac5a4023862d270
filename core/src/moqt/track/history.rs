//! Objects of the past that were fetched from upstream, and those that came in datagrams.
//!
//! They stand beside the groups that a subscription brings: nobody's cursor points into them, and
//! they may come in any order. Groups are evicted whole, the one that was begun first goes first.
//!
//! Limits: `history_bytes_max`, `history_groups_max` and `group_objects_max` of
//! [`super::cache::Limits`]. Source: draft-ietf-moq-transport-19, section 8.1 (caching relays).

use super::cache::Limits;
use crate::map::BTreeMap;
use crate::moqt::object::Object;
use crate::time::Instant;
use std::collections::VecDeque;

/// The fetched objects of one track.
#[derive(Debug, Default)]
pub(super) struct History {
    groups: BTreeMap<u64, Group>,
    /// Groups by the time that their first object came.
    order: VecDeque<u64>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Group {
    objects: BTreeMap<u64, (Instant, Object)>,
    bytes: usize,
}

impl History {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn object(&self, group: u64, object: u64) -> Option<&Object> {
        let (_, held) = self.groups.get(&group)?.objects.get(&object)?;
        Some(held)
    }

    pub(super) fn holds_group(&self, group: u64) -> bool {
        self.groups.contains_key(&group)
    }

    /// Keeps an object. Returns whether it is new and fits; `evicted` gets the groups that went.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        object: Object,
        limits: &Limits,
        evicted: &mut Vec<u64>,
    ) -> bool {
        let size = size_of(&object);
        let id = object.group;
        let is_new_group = !self.groups.contains_key(&id);
        let group = self.groups.entry(id).or_default();
        if let Some((received, _)) = group.objects.get_mut(&object.object) {
            *received = now;
            return false;
        }
        let fits = group.objects.len() < limits.group_objects_max
            && group.bytes.saturating_add(size) <= limits.history_bytes_max;
        if !fits {
            if is_new_group {
                self.groups.remove(&id);
            }
            return false;
        }
        group.objects.insert(object.object, (now, object));
        group.bytes += size;
        self.bytes += size;
        if is_new_group {
            self.order.push_back(id);
        }
        while self.is_over(limits) {
            let Some(group) = self.evict_oldest_but(id) else {
                break;
            };
            evicted.push(group);
        }
        true
    }

    fn is_over(&self, limits: &Limits) -> bool {
        self.bytes > limits.history_bytes_max || self.groups.len() > limits.history_groups_max
    }

    fn evict_oldest_but(&mut self, kept: u64) -> Option<u64> {
        let index = self.order.iter().position(|group| *group != kept)?;
        let group = self.order.remove(index)?;
        self.forget(group);
        Some(group)
    }

    /// Drops a group. Returns the bytes that it held.
    pub(super) fn evict(&mut self, group: u64) -> usize {
        self.order.retain(|of| *of != group);
        self.forget(group)
    }

    fn forget(&mut self, group: u64) -> usize {
        let Some(group) = self.groups.remove(&group) else {
            return 0;
        };
        self.bytes = self.bytes.saturating_sub(group.bytes);
        group.bytes
    }

    /// Drops one object: it is kept elsewhere from now on.
    pub(super) fn remove(&mut self, group_id: u64, object: u64) {
        let Some(group) = self.groups.get_mut(&group_id) else {
            return;
        };
        let Some((_, object)) = group.objects.remove(&object) else {
            return;
        };
        let size = size_of(&object);
        group.bytes = group.bytes.saturating_sub(size);
        self.bytes = self.bytes.saturating_sub(size);
        if group.objects.is_empty() {
            self.evict(group_id);
        }
    }

    /// The objects of a group from `object` on.
    pub(super) fn objects_from(
        &self,
        group: u64,
        object: u64,
    ) -> impl Iterator<Item = (Instant, &Object)> {
        let of_group = self.groups.get(&group).into_iter();
        of_group
            .flat_map(move |group| group.objects.range(object..))
            .map(|(_, (received, object))| (*received, object))
    }

    /// The first group at or after this one that holds anything.
    pub(super) fn group_from(&self, group: u64) -> Option<u64> {
        self.groups.range(group..).next().map(|(id, _)| *id)
    }

    /// The last group before this one that holds anything.
    pub(super) fn group_before(&self, group: u64) -> Option<u64> {
        self.groups.range(..group).next_back().map(|(id, _)| *id)
    }
}

/// What an object counts: its bytes and what keeping it costs, so that empty objects are bounded too.
fn size_of(object: &Object) -> usize {
    const KEEPING: usize = 128;
    let properties = object.properties.raw().len();
    object
        .payload
        .len()
        .saturating_add(properties)
        .saturating_add(KEEPING)
}
