//! A track as it is published: its open group and what it has cost.

use crate::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use crate::moqt::object::Object;
use crate::moqt::property::PropertiesBuilder;
use crate::moqt::publisher::Publisher;
use crate::moqt::track::cache::{self, SubgroupInfo};
use crate::payload::Payload;
use crate::time::{Instant, MediaTime};
use bytes::Bytes;

/// One subgroup holds the whole group.
const WHOLE_GROUP: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

/// A published track.
#[derive(Debug)]
pub(super) struct Rendition {
    name: FullTrackName,
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
        let properties = PropertiesBuilder::new().default_publisher_priority(priority);
        publisher.create_track(name.clone(), properties.build());
        Some(Self { name, open: None })
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
        let object = Object {
            group: open.group,
            object: open.objects,
            subgroup: Some(0),
            payload,
            ..Object::default()
        };
        open.bytes = bytes;
        open.objects = open.objects.saturating_add(1);
        publisher.publish(now, &self.name, WHOLE_GROUP, object);
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
        let object = Object {
            group,
            subgroup: Some(0),
            payload,
            ..Object::default()
        };
        publisher.publish(now, &self.name, WHOLE_GROUP, object);
        publisher.end_subgroup(now, &self.name, group, 0);
    }

    /// Ends the track and its open group.
    pub(super) fn end(&mut self, now: Instant, publisher: &mut Publisher) {
        self.end_group(now, publisher);
        publisher.end_track(now, &self.name);
    }
}
