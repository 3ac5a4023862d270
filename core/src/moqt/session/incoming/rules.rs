//! What a subscriber can hold against the objects of one track as they arrive.
//!
//! | seen | forbids, from then on |
//! |---|---|
//! | END_OF_TRACK at a place | objects at that place or after it |
//! | END_OF_GROUP, or the end of a stream whose header ends the group | objects of the group from there on |
//! | a FIN of a subgroup's stream | objects of the subgroup after the last one; another last one |
//! | a subgroup's priority | another one on a further stream |
//!
//! Only the newest groups are remembered; the cache behind a session may know more. Source:
//! draft-ietf-moq-transport-18, Section 2.4.2 (malformed tracks).

use crate::map::BTreeMap;
use crate::moqt::name::Location;
use crate::moqt::object::{Object, ObjectStatus, SubgroupHeader};

/// Groups that are remembered.
const GROUPS: usize = 16;
/// Subgroups of a group that are remembered.
const SUBGROUPS: usize = 64;

/// Why a track is malformed.
pub(super) type Malformed = &'static str;

/// What is known of a track.
#[derive(Debug, Default)]
pub(super) struct TrackRules {
    /// The first place that does not exist.
    end: Option<Location>,
    groups: BTreeMap<u64, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// The first object that does not exist.
    end: Option<u64>,
    subgroups: BTreeMap<u64, Subgroup>,
}

#[derive(Debug)]
struct Subgroup {
    priority: Option<u8>,
    /// The last object, once a stream ended with FIN.
    last: Option<u64>,
}

impl TrackRules {
    /// An object arrived, on a stream with this header or in a datagram.
    pub(super) fn object(
        &mut self,
        header: Option<&SubgroupHeader>,
        object: &Object,
    ) -> Result<(), Malformed> {
        let place = Location::new(object.group, object.object);
        if object.status == ObjectStatus::EndOfTrack {
            self.end = Some(self.end.map_or(place, |end| end.min(place)));
            return Ok(());
        }
        if self.end.is_some_and(|end| place >= end) {
            return Err("an object past the end of the track");
        }
        let group = self.group(object.group);
        if object.status == ObjectStatus::EndOfGroup {
            group.end = Some(group.end.map_or(place.object, |end| end.min(place.object)));
            return Ok(());
        }
        if group.end.is_some_and(|end| place.object >= end) {
            return Err("an object past the end of its group");
        }
        let (Some(header), Some(id)) = (header, object.subgroup) else {
            return Ok(());
        };
        match group.subgroups.get(&id) {
            Some(known) if known.priority != header.priority => {
                Err("a subgroup with two priorities")
            }
            Some(known) if known.last.is_some_and(|last| place.object > last) => {
                Err("an object past the end of its subgroup")
            }
            Some(_) => Ok(()),
            None => {
                group.remember(id, header.priority);
                Ok(())
            }
        }
    }

    /// A subgroup's stream ended with FIN after its object `last`.
    pub(super) fn finished(
        &mut self,
        header: &SubgroupHeader,
        subgroup: u64,
        last: u64,
    ) -> Result<(), Malformed> {
        let group = self.group(header.group);
        if header.end_of_group {
            let end = last.saturating_add(1);
            group.end = Some(group.end.map_or(end, |known| known.min(end)));
        }
        let Some(known) = group.subgroups.get_mut(&subgroup) else {
            return Ok(());
        };
        match known.last.replace(last) {
            Some(before) if before != last => Err("a subgroup that ends in two places"),
            _ => Ok(()),
        }
    }

    /// A datagram said that its object is the last of its group.
    pub(super) fn group_ends_with(&mut self, group: u64, last: u64) -> Result<(), Malformed> {
        let group = self.group(group);
        let end = last.saturating_add(1);
        match group.end.replace(end) {
            Some(before) if before != end => Err("a group that ends in two places"),
            _ => Ok(()),
        }
    }

    fn group(&mut self, id: u64) -> &mut Group {
        if !self.groups.contains_key(&id) && self.groups.len() >= GROUPS {
            self.groups.pop_first();
        }
        self.groups.entry(id).or_default()
    }
}

impl Group {
    fn remember(&mut self, subgroup: u64, priority: Option<u8>) {
        if self.subgroups.len() >= SUBGROUPS {
            self.subgroups.pop_first();
        }
        let last = None;
        self.subgroups.insert(subgroup, Subgroup { priority, last });
    }
}
