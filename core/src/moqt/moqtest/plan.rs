//! [`Plan`]: the objects of a test track, one after the other, with the streams they go on.
//!
//! Nothing is laid out beforehand: a track of 2^62 groups costs as much memory as one of two. A
//! plan can be narrowed to a range; streams then begin and end at its edges.

use super::{FILL, Forwarding, PRIORITY, TestTrack};
use crate::moqt::filter::LocationRange;
use crate::moqt::name::{Location, TrackAlias};
use crate::moqt::object::{Object, ObjectStatus, SubgroupHeader, SubgroupId};
use crate::moqt::property::{Properties, PropertiesBuilder};
use crate::payload::Payload;
use bytes::Bytes;

/// One object to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The object.
    pub object: Object,
    /// The header of its stream, without an alias; `None` for a datagram.
    pub header: Option<SubgroupHeader>,
    /// Whether its stream begins with it.
    pub opens: bool,
    /// Whether its stream ends after it.
    pub ends: bool,
}

/// The objects of a track within a range, ascending.
#[derive(Clone, Debug)]
pub struct Plan {
    track: TestTrack,
    range: LocationRange,
    next: Option<Location>,
    payload: Bytes,
}

impl Plan {
    /// Everything that is within `range`.
    pub fn new(track: TestTrack, range: LocationRange) -> Self {
        let largest = track.first_bytes.max(track.other_bytes);
        let payload = vec![FILL; usize::try_from(largest).unwrap_or(0)].into();
        let mut plan = Self {
            next: Some(Location::new(track.first_group, track.first_object)),
            track,
            range,
            payload,
        };
        plan.enter_range();
        plan
    }

    /// Everything.
    pub fn whole(track: TestTrack) -> Self {
        let start = Location::ZERO;
        Self::new(track, LocationRange { start, end: None })
    }

    /// Goes to the first object of the range without walking there.
    fn enter_range(&mut self) {
        let start = self.range.start;
        let Some(at) = self.next.filter(|at| *at < start) else {
            return;
        };
        let (track, mut group) = (&self.track, at.group);
        if start.group > group {
            let behind = (start.group - group).div_ceil(track.group_step);
            group = group.saturating_add(behind.saturating_mul(track.group_step));
        }
        let mut next = Location::new(group, track.first_object);
        if group == start.group && start.object > track.first_object {
            let behind = (start.object - track.first_object).div_ceil(track.object_step);
            next.object = track
                .first_object
                .saturating_add(behind.saturating_mul(track.object_step));
            if next.object > track.final_object() {
                next = Location::new(group.saturating_add(track.group_step), track.first_object);
            }
        }
        self.next = Some(next).filter(|next| next.group <= track.last_group);
    }

    fn after(&self, at: Location) -> Option<Location> {
        let track = &self.track;
        let object = at.object.checked_add(track.object_step);
        if let Some(object) = object.filter(|object| *object <= track.last_object) {
            return Some(Location::new(at.group, object));
        }
        let group = at.group.checked_add(track.group_step)?;
        (group <= track.last_group).then(|| Location::new(group, track.first_object))
    }

    /// Whether an object of the plan's range exists at this place.
    fn holds(&self, group: u64, object: Option<u64>) -> bool {
        object.is_some_and(|object| {
            self.track.has(group, object) && self.range.contains(Location::new(group, object))
        })
    }

    fn step(&self, at: Location) -> Step {
        let track = &self.track;
        let subgroup = track.subgroup_of(at.object);
        let is_marker = track.is_marker(at.object);
        let bytes = usize::try_from(track.bytes_of(at.object)).unwrap_or(0);
        let object = Object {
            group: at.group,
            object: at.object,
            subgroup,
            priority: Some(PRIORITY),
            status: if is_marker {
                ObjectStatus::EndOfGroup
            } else {
                ObjectStatus::Normal
            },
            properties: if is_marker {
                Properties::EMPTY
            } else {
                extensions(track, at)
            },
            payload: if is_marker {
                Payload::default()
            } else {
                self.payload.slice(..bytes.min(self.payload.len())).into()
            },
        };
        let neighbour = track.subgroup_step();
        let before = neighbour.and_then(|step| at.object.checked_sub(step));
        let after = neighbour.and_then(|step| at.object.checked_add(step));
        let header = subgroup.map(|id| SubgroupHeader {
            track_alias: TrackAlias(0),
            group: at.group,
            subgroup: match (track.forwarding, id) {
                (Forwarding::SubgroupPerObject, _) => SubgroupId::FirstObject,
                (_, 0) => SubgroupId::Zero,
                (_, id) => SubgroupId::Explicit(id),
            },
            priority: Some(PRIORITY),
            has_properties: track.extension_types().next().is_some(),
            end_of_group: false,
            first_object: before.is_none_or(|before| !track.has(at.group, before)),
        });
        Step {
            object,
            header,
            opens: subgroup.is_some() && !self.holds(at.group, before),
            ends: subgroup.is_some() && !self.holds(at.group, after),
        }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let at = self.next?;
        if !self.range.contains(at) {
            self.next = None;
            return None;
        }
        self.next = self.after(at);
        Some(self.step(at))
    }
}

/// The values are arbitrary, so a mix of the place's numbers does.
fn extensions(track: &TestTrack, at: Location) -> Properties {
    let mixed = at.group.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        ^ at.object.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mut builder = PropertiesBuilder::new();
    for key in track.extension_types() {
        builder = if key.is_multiple_of(2) {
            // What every draft's integer holds.
            builder.integer(key, mixed >> 2)
        } else {
            let length = usize::try_from(mixed % 20).unwrap_or(0);
            builder.bytes(key, vec![FILL; length + 1].into())
        };
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn track(text: &str) -> TestTrack {
        TestTrack::from_text(text, &Limits::default()).unwrap()
    }

    fn show(plan: Plan) -> Vec<String> {
        plan.map(|step| {
            let object = &step.object;
            let flag = |set: bool, name: &'static str| if set { name } else { "" };
            format!(
                "{}.{} s{} {}b{}{}{}",
                object.group,
                object.object,
                object.subgroup.map_or(-1, u64::cast_signed),
                object.payload.len(),
                flag(object.status != ObjectStatus::Normal, " marker"),
                flag(step.opens, " opens"),
                flag(step.ends, " ends"),
            )
        })
        .collect()
    }

    #[test]
    fn one_subgroup_per_group_holds_all_its_objects_and_the_marker() {
        let plan = Plan::whole(track("moq-test-00/0/0/0/1/2/2/9/4/1/1/1/1/-1/-1/0"));
        assert_eq!(
            show(plan),
            [
                "0.0 s0 9b opens",
                "0.1 s0 4b",
                "0.2 s0 0b marker ends",
                "1.0 s0 9b opens",
                "1.1 s0 4b",
                "1.2 s0 0b marker ends"
            ]
        );
    }

    #[test]
    fn one_subgroup_per_object_opens_and_ends_with_each() {
        let plan = Plan::whole(track("moq-test-00/1/0/0/0/1/2/3/3/1/1/1/0/-1/-1/0"));
        assert_eq!(show(plan), ["0.0 s0 3b opens ends", "0.1 s1 3b opens ends"]);
    }

    #[test]
    fn two_subgroups_part_even_from_odd_objects() {
        let plan = Plan::whole(track("moq-test-00/2/0/0/0/4/5/3/3/1/1/1/0/-1/-1/0"));
        assert_eq!(
            show(plan),
            [
                "0.0 s0 3b opens",
                "0.1 s1 3b opens",
                "0.2 s0 3b",
                "0.3 s1 3b ends",
                "0.4 s0 3b ends"
            ]
        );
    }

    #[test]
    fn increments_and_datagrams_have_no_streams_and_right_numbers() {
        let plan = Plan::whole(track("moq-test-00/3/10/3/24/7/3/4/2/1/7/2/0/-1/-1/0"));
        let places = [
            "10.3", "10.5", "10.7", "17.3", "17.5", "17.7", "24.3", "24.5", "24.7",
        ];
        let expected: Vec<String> = places
            .iter()
            .map(|place| format!("{place} s-1 {}b", if place.ends_with('3') { 4 } else { 2 }))
            .collect();
        assert_eq!(show(plan), expected);
    }

    #[test]
    fn a_range_cuts_streams_at_its_edges_and_is_entered_at_once() {
        let long = track("moq-test-00/0/0/0//3/4/1/1/1/1/1/0/-1/-1/0");
        let range = LocationRange {
            start: Location::new(1 << 40, 2),
            end: Some(Location::new((1 << 40) + 1, 0)),
        };
        let seen = show(Plan::new(long.clone(), range));
        let g = 1_u64 << 40;
        let expected = [
            format!("{g}.2 s0 1b opens"),
            format!("{g}.3 s0 1b ends"),
            format!("{}.0 s0 1b opens ends", g + 1),
        ];
        assert_eq!(seen, expected);
        let past = LocationRange {
            start: Location::new(u64::MAX, 0),
            end: None,
        };
        assert_eq!(Plan::new(long, past).count(), 0);
    }

    #[test]
    fn extensions_are_on_every_object_and_not_on_markers() {
        let with = track("moq-test-00/0/0/0/0/2/2/1/1/1/1/1/1/1/2/0");
        for step in Plan::whole(with) {
            let keys: Vec<u64> = step
                .object
                .properties
                .iter()
                .flatten()
                .map(|p| p.key)
                .collect();
            if step.object.status == ObjectStatus::Normal {
                assert_eq!(keys, [2, 5]);
            } else {
                assert!(keys.is_empty());
            }
        }
    }
}
