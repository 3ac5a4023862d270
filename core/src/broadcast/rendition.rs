//! A track as it is published: its open group and what it has cost.
//!
//! Its priority stands in each group and object, and not in a property of the track: what answers a SUBSCRIBE then
//! has no properties, which players of draft 16 cannot skip.

use crate::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use crate::moqt::object::Object;
use crate::moqt::property::Properties;
use crate::moqt::publisher::Publisher;
use crate::moqt::track::cache::{self, SubgroupInfo};
use crate::payload::Payload;
use crate::time::{Instant, MediaTime};
use bytes::Bytes;

/// A published track.
#[derive(Debug)]
pub(super) struct Rendition {
    name: FullTrackName,
    priority: u8,
    open: Option<Open>,
}

/// The group that objects are added to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) group: u64,
    /// Presentation time of its first chunk.
    pub(super) begins: MediaTime,
    objects: u64,
    bytes: usize,
}

/// The open group would grow past a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupFull;

impl Rendition {
    /// Makes the track; `None` when the name is too long for one.
    pub(super) fn create(
        publisher: &mut Publisher,
        namespace: &TrackNamespace,
        name: &str,
        priority: u8,
    ) -> Option<Self> {
        let name = TrackName(Bytes::copy_from_slice(name.as_bytes()));
        let name = FullTrackName::new(namespace.clone(), name).ok()?;
        publisher.create_track(name.clone(), Properties::EMPTY);
        Some(Self {
            name,
            priority,
            open: None,
        })
    }

    pub(super) fn name(&self) -> &FullTrackName {
        &self.name
    }

    pub(super) fn open(&self) -> Option<Open> {
        self.open
    }

    /// Ends the open group and begins another. Going back is refused: ids rise.
    pub(super) fn begin_group(
        &mut self,
        now: Instant,
        publisher: &mut Publisher,
        group: u64,
        begins: MediaTime,
    ) {
        self.end_group(now, publisher);
        self.open = Some(Open {
            group,
            begins,
            objects: 0,
            bytes: 0,
        });
    }

    /// Adds an object to the open group; without one, nothing happens.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        publisher: &mut Publisher,
        limits: &cache::Limits,
        payload: Payload,
    ) -> Result<(), GroupFull> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let bytes = open.bytes.saturating_add(payload.len());
        let is_full = usize::try_from(open.objects)
            .map_or(true, |objects| objects >= limits.group_objects_max);
        if is_full || bytes > limits.group_bytes_max {
            return Err(GroupFull);
        }
        let (group, object) = (open.group, open.objects);
        open.bytes = bytes;
        open.objects = open.objects.saturating_add(1);
        self.put(now, publisher, (group, object), payload);
        Ok(())
    }

    pub(super) fn end_group(&mut self, now: Instant, publisher: &mut Publisher) {
        if let Some(open) = self.open.take() {
            publisher.end_subgroup(now, &self.name, open.group, 0);
        }
    }

    /// Publishes a group of one object.
    pub(super) fn publish_whole(
        &mut self,
        now: Instant,
        publisher: &mut Publisher,
        group: u64,
        payload: Payload,
    ) {
        self.put(now, publisher, (group, 0), payload);
        publisher.end_subgroup(now, &self.name, group, 0);
    }

    fn put(
        &self,
        now: Instant,
        publisher: &mut Publisher,
        (group, object): (u64, u64),
        payload: Payload,
    ) {
        let priority = Some(self.priority);
        // One subgroup holds the whole group.
        let info = SubgroupInfo {
            priority,
            has_properties: false,
            end_of_group: true,
            first_object: true,
        };
        let object = Object {
            group,
            object,
            subgroup: Some(0),
            priority,
            payload,
            ..Object::default()
        };
        publisher.publish(now, &self.name, info, object);
    }

    /// Ends the track and its open group.
    pub(super) fn end(&mut self, now: Instant, publisher: &mut Publisher) {
        self.end_group(now, publisher);
        publisher.end_track(now, &self.name);
    }
}
