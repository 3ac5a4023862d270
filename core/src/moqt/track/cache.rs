//! The retained objects of one track, and what is known of those that are not retained.
//!
//! A relay and an original publisher both keep the newest groups of each track, so that a late
//! subscriber starts at a group boundary. Payloads are shared; one that goes to many subscribers at
//! once is copied into one run for them.
//!
//! Objects of a subgroup are appended in ascending Object ID; what arrives twice (two publishers
//! of one track, a publisher that moved) is recognised and dropped. Groups are evicted whole,
//! oldest first, and the newest group of a track is never evicted.
//!
//! | an object is | when | told by |
//! |---|---|---|
//! | held | it is here, by subscription or by fetch, and not older than it may be | [`Piece::Object`] |
//! | absent | an end of group or track, a prior gap, or a fetched gap said that it does not exist | [`Piece::Absent`] |
//! | unknown | none of that: not here yet, joined too late, lost, evicted, expired | [`Piece::Unknown`] |
//!
//! A gap between objects of a subgroup says nothing. What was said to be absent and comes by
//! subscription all the same is held.
//!
//! The live groups are here, what is known of the past in `past`, what is compared in `arrivals`.
//!
//! Limits: [`Limits`]. Source: draft-ietf-moq-transport-19 sections 2.1 (object model), 8.1 (caching
//! relays), 12.3 (max cache duration), 12.8, 12.9 (gaps).

mod arrivals;
mod past;

pub use arrivals::Source;

use super::history::History;
use super::span::{LAST, Span, Spans};
use crate::map::BTreeMap;
use crate::moqt::name::Location;
use crate::moqt::object::{Framed, Object, ObjectStatus};
use crate::time::Instant;
use std::time::Duration;

/// Bounds of one track's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups kept, the newest included.
    pub groups_max: usize,
    /// Payload and property bytes kept, the newest group excepted up to `group_bytes_max`.
    pub bytes_max: usize,
    /// Bytes of one group; a group that passes it is no longer stored or forwarded.
    pub group_bytes_max: usize,
    /// Objects of one group.
    pub group_objects_max: usize,
    /// Subgroups of one group.
    pub subgroups_max: usize,
    /// Bytes of objects that were fetched from upstream.
    pub history_bytes_max: usize,
    /// Groups of them.
    pub history_groups_max: usize,
    /// Ranges that are remembered as not existing.
    pub absent_ranges_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            groups_max: 8,
            bytes_max: 16 << 20,
            group_bytes_max: 64 << 20,
            group_objects_max: 65_536,
            subgroups_max: 256,
            history_bytes_max: 32 << 20,
            history_groups_max: 256,
            absent_ranges_max: 1024,
        }
    }
}

/// How a subgroup's delivery ended, as far as this endpoint knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// More objects may come.
    Open,
    /// All objects are here.
    Finished,
    /// Abandoned: objects may be missing after the last one here.
    Abandoned,
}

/// What all objects of a subgroup share on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupInfo {
    /// Publisher priority; `None` inherits the track's default.
    pub priority: Option<u8>,
    /// Whether objects carry a properties field.
    pub has_properties: bool,
    /// Whether this subgroup holds the group's largest object.
    pub end_of_group: bool,
    /// Whether the first object here is the first that the original publisher sent.
    pub first_object: bool,
}

/// The retained part of one subgroup.
#[derive(Debug)]
pub struct Subgroup {
    /// What its objects share.
    pub info: SubgroupInfo,
    /// Objects in ascending Object ID.
    pub objects: Vec<Object>,
    /// When each of them began to come.
    pub(super) received: Vec<Instant>,
    /// When it became known that all objects are here.
    pub(super) finished: Option<Instant>,
    /// Whether more will come.
    pub end: End,
    /// The streams whose last object is the last one here.
    sources: Vec<Source>,
    /// Objects, by their index, that are not known to be the next ones after those before them.
    breaks: Vec<usize>,
    /// The newest object, written for many streams, and its index.
    framed: Option<(usize, Framed)>,
}

/// The retained part of one group.
#[derive(Debug, Default)]
pub struct Group {
    /// By Subgroup ID.
    pub subgroups: BTreeMap<u64, Subgroup>,
    bytes: usize,
    objects: usize,
    /// The largest Object ID that came.
    last: Option<u64>,
}

/// What became of an object offered to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Stored.
    New,
    /// Known already, or older than what is kept: not to be forwarded.
    Stale,
    /// Known already as another object: the track is malformed.
    Contradicts,
    /// The group passed a limit: neither stored nor forwarded.
    OverLimit,
}

/// The retained groups of one track.
#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    groups: BTreeMap<u64, Group>,
    bytes: usize,
    largest: Option<Location>,
    /// Groups below this were evicted and do not come back.
    floor: u64,
    history: History,
    absent: Spans,
}

/// What is known of a place and of those after it. Ranges lie within what was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The object of that place.
    Object(&'a Object),
    /// None of these exists.
    Absent(Span),
    /// Whether these exist is not known.
    Unknown(Span),
}

/// How old an object may be to be served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Age {
    /// The time.
    pub now: Instant,
    /// MAX_CACHE_DURATION; `None` is for ever.
    pub max: Option<Duration>,
}

impl Age {
    fn admits(&self, received: Instant) -> bool {
        self.max
            .is_none_or(|max| self.now.saturating_since(received) < max)
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: BTreeMap::new(),
            bytes: 0,
            largest: None,
            floor: 0,
            history: History::default(),
            absent: Spans::new(limits.absent_ranges_max),
        }
    }

    /// The largest location seen, whether still kept or not.
    pub fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// Raises the largest location to what a publisher reported.
    pub fn observe_largest(&mut self, location: Location) {
        self.largest = self.largest.max(Some(location));
    }

    /// Bytes kept, fetched ones included.
    pub fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.history.bytes())
    }

    /// Groups below this were evicted.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The groups kept, from `group` on, in ascending order.
    pub fn groups_from(&self, group: u64) -> impl Iterator<Item = (u64, &Group)> {
        self.groups.range(group..).map(|(id, group)| (*id, group))
    }

    /// The newest group kept.
    pub fn newest_group(&self) -> Option<u64> {
        self.groups.last_key_value().map(|(id, _)| *id)
    }

    /// The oldest group kept.
    pub fn oldest_group(&self) -> Option<u64> {
        self.groups.first_key_value().map(|(id, _)| *id)
    }

    /// The group from which another publisher has to go on: the oldest one that is not complete, or
    /// the newest. `None` while nothing is kept.
    pub fn resume_at(&self) -> Option<u64> {
        let is_open = |group: &Group| group.subgroups.values().any(|it| it.end != End::Finished);
        let mut groups = self.groups.iter();
        let unfinished = groups.find(|(_, group)| is_open(group)).map(|(id, _)| *id);
        unfinished.or_else(|| self.newest_group())
    }

    /// The subgroups to which more may come.
    pub fn open_subgroups(&self) -> Vec<(u64, u64)> {
        let mut open = Vec::new();
        for (group, kept) in &self.groups {
            let of_group = kept.subgroups.iter().filter(|(_, it)| it.end == End::Open);
            open.extend(of_group.map(|(subgroup, _)| (*group, *subgroup)));
        }
        open
    }

    /// The oldest and the newest group kept.
    pub fn span(&self) -> Option<(u64, u64)> {
        Some((self.oldest_group()?, self.newest_group()?))
    }

    /// One retained subgroup.
    pub fn subgroup(&self, group: u64, subgroup: u64) -> Option<&Subgroup> {
        self.groups.get(&group)?.subgroups.get(&subgroup)
    }

    /// Stores an object of a subgroup, which this stream brought; `None` for one that is published
    /// here. `object.subgroup` must be set.
    pub fn insert(
        &mut self,
        now: Instant,
        info: SubgroupInfo,
        mut object: Object,
        source: Option<Source>,
    ) -> Inserted {
        let Some(subgroup_id) = object.subgroup else {
            return Inserted::Stale;
        };
        if object.group < self.floor {
            return Inserted::Stale;
        }
        let size = object
            .payload
            .len()
            .saturating_add(object.properties.raw().len());
        if self.contradicts(info.priority, &object) {
            return Inserted::Contradicts;
        }
        let group = self.groups.entry(object.group).or_default();
        if group.objects >= self.limits.group_objects_max
            || group.bytes.saturating_add(size) > self.limits.group_bytes_max
        {
            return Inserted::OverLimit;
        }
        let subgroups = group.subgroups.len();
        let subgroup = match group.subgroups.entry(subgroup_id) {
            crate::map::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            crate::map::btree_map::Entry::Vacant(entry) => {
                if subgroups >= self.limits.subgroups_max {
                    return Inserted::OverLimit;
                }
                entry.insert(Subgroup::new(info))
            }
        };
        if subgroup
            .objects
            .last()
            .is_some_and(|last| last.object >= object.object)
            || subgroup.end == End::Finished
        {
            subgroup.note_repeat(object.object, source);
            return Inserted::Stale;
        }
        // A publisher that came back goes on with a subgroup that looked abandoned.
        subgroup.end = End::Open;
        let location = Location {
            group: object.group,
            object: object.object,
        };
        let ends = matches!(
            object.status,
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack
        );
        learn_from(&mut self.absent, &object);
        if !self.history.is_empty() {
            self.history.remove(object.group, object.object);
        }
        // A fetch tells each object's priority, a subgroup tells it once.
        object.priority = object.priority.or(subgroup.info.priority);
        subgroup.note_source(&self.absent, &object, source);
        subgroup.objects.push(object);
        subgroup.received.push(now);
        if ends {
            subgroup.end = End::Finished;
            subgroup.finished = Some(now);
        }
        group.bytes += size;
        group.objects += 1;
        group.last = group.last.max(Some(location.object));
        self.bytes += size;
        self.largest = self.largest.max(Some(location));
        Inserted::New
    }

    /// Writes the newest object of a subgroup for the streams of many subscribers, in one run.
    pub fn frame_newest(&mut self, group: u64, subgroup: u64) {
        let group = self.groups.get_mut(&group);
        if let Some(subgroup) = group.and_then(|group| group.subgroups.get_mut(&subgroup)) {
            subgroup.frame_newest();
        }
    }

    /// Records how a subgroup's stream ended. An abandoned stream does not undo a finished one.
    pub fn end_subgroup(&mut self, now: Instant, group: u64, subgroup: u64, end: End) {
        if let Some(subgroup) = self
            .groups
            .get_mut(&group)
            .and_then(|group| group.subgroups.get_mut(&subgroup))
            && subgroup.end == End::Open
        {
            subgroup.end = end;
            if end == End::Abandoned {
                // What comes on one of its streams all the same follows a hole.
                subgroup.sources.clear();
            }
            subgroup.finished = (end == End::Finished).then_some(now);
            if end == End::Finished
                && subgroup.info.end_of_group
                && let Some(last) = subgroup.objects.last()
                && let Some(past) = last.object.checked_add(1)
            {
                let start = Location::new(group, past);
                let end = Location::new(group, u64::MAX);
                self.absent.insert(Span { start, end });
            }
        }
    }

    /// When the newest object of the oldest group arrived.
    pub fn oldest_arrival(&self) -> Option<Instant> {
        let (_, group) = self.groups.first_key_value()?;
        let newest = group.subgroups.values().filter_map(|it| it.received.last());
        newest.max().copied()
    }

    /// Marks every open subgroup as abandoned: their publisher is gone.
    pub fn abandon_open(&mut self) -> Vec<(u64, u64)> {
        let mut abandoned = Vec::new();
        for (group_id, group) in &mut self.groups {
            for (subgroup_id, subgroup) in &mut group.subgroups {
                if subgroup.end == End::Open {
                    subgroup.end = End::Abandoned;
                    abandoned.push((*group_id, *subgroup_id));
                }
            }
        }
        abandoned
    }

    /// Whether the track's own limits ask for an eviction.
    pub fn is_over_limit(&self) -> bool {
        self.groups.len() > self.limits.groups_max.max(1)
            || (self.bytes > self.limits.bytes_max && self.groups.len() > 1)
    }

    /// Drops the oldest group unless it is the newest as well, and names it.
    pub fn evict_oldest(&mut self) -> Option<u64> {
        if self.groups.len() < 2 {
            return None;
        }
        let (id, group) = self.groups.pop_first()?;
        self.bytes = self.bytes.saturating_sub(group.bytes);
        self.floor = self.floor.max(id.saturating_add(1));
        Some(id)
    }

    /// Forgets the objects but not the largest location: what is kept would have holes.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }
}

impl Subgroup {
    fn new(info: SubgroupInfo) -> Self {
        Self {
            info,
            objects: Vec::new(),
            received: Vec::new(),
            finished: None,
            end: End::Open,
            sources: Vec::new(),
            breaks: Vec::new(),
            framed: None,
        }
    }

    /// Writes the newest object for the streams of many subscribers.
    fn frame_newest(&mut self) {
        let previous = self.objects.iter().rev().nth(1).map(|object| object.object);
        let index = self.objects.len().saturating_sub(1);
        if let Some(newest) = self.objects.last_mut() {
            let framed = Framed::new(newest, previous, self.info.has_properties);
            self.framed = Some((index, framed));
        }
    }

    /// An object as it was written for many streams, by its index.
    pub(super) fn framed(&self, index: usize) -> Option<&Framed> {
        let (of, framed) = self.framed.as_ref()?;
        (*of == index).then_some(framed)
    }

    fn position(&self, object: u64) -> Result<usize, usize> {
        self.objects.binary_search_by_key(&object, |of| of.object)
    }

    fn next_held(&self, object: u64, age: Age) -> Option<&Object> {
        let (Ok(from) | Err(from)) = self.position(object);
        let objects = self.objects.iter().zip(&self.received).skip(from);
        objects
            .filter(|(object, _)| object.status == ObjectStatus::Normal)
            .find(|(_, received)| age.admits(**received))
            .map(|(object, _)| object)
    }
}

/// Takes over what an object says about places that are not its own: by its status those from there
/// on, by its properties those before it.
fn learn_from(absent: &mut Spans, object: &Object) {
    let start = Location::new(object.group, object.object);
    let end = match object.status {
        ObjectStatus::Normal => None,
        ObjectStatus::EndOfGroup => Some(Location::new(object.group, u64::MAX)),
        ObjectStatus::EndOfTrack => Some(LAST),
    };
    if let Some(end) = end {
        absent.insert(Span { start, end });
    }
    if object.properties.is_empty() {
        return;
    }
    if let Some(objects) = object.properties.prior_object_id_gap()
        && let Some(first) = object.object.checked_sub(objects)
        && objects > 0
    {
        let start = Location::new(object.group, first);
        let end = Location::new(object.group, object.object.saturating_sub(1));
        absent.insert(Span { start, end });
    }
    if let Some(groups) = object.properties.prior_group_id_gap()
        && let Some(first) = object.group.checked_sub(groups)
        && groups > 0
    {
        let start = Location::new(first, 0);
        let end = Location::new(object.group.saturating_sub(1), u64::MAX);
        absent.insert(Span { start, end });
    }
}
