//! [`TestTrack`]: the sixteen fields of a test namespace.
//!
//! Reading checks everything that generating and verifying rely on, so that neither can run out of
//! numbers or memory. Source: draft-afrind-moq-test; see the parent module for the fields.

use super::{FIELDS, Limits, PRIORITY, PROTOCOL};
use crate::moqt::name::{NameError, TrackNamespace};
use crate::moqt::property::{Properties, PropertiesBuilder};
use bytes::Bytes;

/// How the objects of a track travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// One subgroup per group.
    SubgroupPerGroup,
    /// One subgroup per object, numbered as the object.
    SubgroupPerObject,
    /// Even objects in subgroup 0, odd ones in subgroup 1.
    TwoSubgroups,
    /// Each object in a datagram.
    Datagram,
}

/// Why a namespace is not a test track.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TupleError {
    /// Too few or too many fields.
    #[error("expected {FIELDS} fields, found {0}")]
    FieldCount(usize),
    /// The first field is another.
    #[error("expected {PROTOCOL} as the first field")]
    Protocol,
    /// A field is no number, or one that it must not have.
    #[error("field {index} must be {expected}")]
    Field {
        /// Which field, from 0.
        index: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// More or larger objects than we make.
    #[error("{what}: the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
}

/// A test track. Field by field as in the parent module's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestTrack {
    /// How objects travel.
    pub forwarding: Forwarding,
    /// First group.
    pub first_group: u64,
    /// First object of each group.
    pub first_object: u64,
    /// No group is larger.
    pub last_group: u64,
    /// No object of a group is larger.
    pub last_object: u64,
    /// Objects per group, without the end-of-group marker.
    pub objects_per_group: u64,
    /// Bytes of the first object of a group.
    pub first_bytes: u64,
    /// Bytes of the others.
    pub other_bytes: u64,
    /// Time between objects.
    pub interval_ms: u64,
    /// From one group to the next.
    pub group_step: u64,
    /// From one object to the next.
    pub object_step: u64,
    /// Whether the last object of each group is an end-of-group marker.
    pub end_markers: bool,
    /// Half the type of an integer property on each object.
    pub integer_extension: Option<u64>,
    /// Half the type of a byte property on each object, rounded down.
    pub bytes_extension: Option<u64>,
    /// The publisher's delivery time-out.
    pub delivery_timeout_ms: Option<u64>,
}

impl TestTrack {
    /// Reads the fields of a namespace.
    pub fn parse(fields: &[Bytes], limits: &Limits) -> Result<Self, TupleError> {
        if fields.len() != FIELDS {
            return Err(TupleError::FieldCount(fields.len()));
        }
        if fields.first().is_none_or(|field| field != PROTOCOL) {
            return Err(TupleError::Protocol);
        }
        let number = |index: usize, blank: u64| read(fields, index, blank);
        let signed = |index: usize| read_signed(fields, index);
        let mut track = Self {
            forwarding: match number(1, 0)? {
                0 => Forwarding::SubgroupPerGroup,
                1 => Forwarding::SubgroupPerObject,
                2 => Forwarding::TwoSubgroups,
                3 => Forwarding::Datagram,
                _ => return Err(field(1, "a forwarding preference, 0 to 3")),
            },
            first_group: number(2, 0)?,
            first_object: number(3, 0)?,
            last_group: number(4, (1 << 62) - 1)?,
            last_object: 0,
            objects_per_group: number(6, 10)?,
            first_bytes: number(7, 1024)?,
            other_bytes: number(8, 100)?,
            interval_ms: number(9, 1000)?,
            group_step: number(10, 1)?,
            object_step: number(11, 1)?,
            end_markers: match number(12, 0)? {
                0 => false,
                1 => true,
                _ => return Err(field(12, "0 or 1")),
            },
            integer_extension: signed(13)?,
            bytes_extension: signed(14)?,
            delivery_timeout_ms: Some(number(15, 0)?).filter(|ms| *ms > 0),
        };
        let most = track.largest_last_object()?;
        track.last_object = number(5, most)?;
        track.check(most, limits)?;
        Ok(track)
    }

    /// Reads `moq-test-00/0/0/...`, the fields with slashes between them.
    pub fn from_text(text: &str, limits: &Limits) -> Result<Self, TupleError> {
        let fields: Vec<Bytes> = text
            .split('/')
            .map(|field| Bytes::copy_from_slice(field.as_bytes()))
            .collect();
        Self::parse(&fields, limits)
    }

    /// The fields, none of them blank.
    pub fn fields(&self) -> [String; FIELDS] {
        let extension =
            |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |v| v.to_string());
        [
            PROTOCOL.to_owned(),
            (self.forwarding as u8).to_string(),
            self.first_group.to_string(),
            self.first_object.to_string(),
            self.last_group.to_string(),
            self.last_object.to_string(),
            self.objects_per_group.to_string(),
            self.first_bytes.to_string(),
            self.other_bytes.to_string(),
            self.interval_ms.to_string(),
            self.group_step.to_string(),
            self.object_step.to_string(),
            u8::from(self.end_markers).to_string(),
            extension(self.integer_extension),
            extension(self.bytes_extension),
            self.delivery_timeout_ms.unwrap_or(0).to_string(),
        ]
    }

    /// The namespace below `prefix`.
    pub fn namespace_below(&self, prefix: &TrackNamespace) -> Result<TrackNamespace, NameError> {
        prefix.joined(&TrackNamespace::new(self.fields())?)
    }

    /// Reads the namespace of a track below `prefix`; `None` when it is not below it.
    pub fn below(
        prefix: &TrackNamespace,
        namespace: &TrackNamespace,
        limits: &Limits,
    ) -> Option<Result<Self, TupleError>> {
        let suffix = namespace.suffix_after(prefix)?;
        Some(Self::parse(suffix.fields(), limits))
    }

    /// The track's own properties.
    pub fn properties(&self) -> Properties {
        let builder = PropertiesBuilder::new().default_publisher_priority(PRIORITY);
        match self.delivery_timeout_ms {
            Some(ms) => builder.object_delivery_timeout_ms(ms).build(),
            None => builder.build(),
        }
    }

    /// Bytes of an object.
    pub fn bytes_of(&self, object: u64) -> u64 {
        if object == self.first_object {
            self.first_bytes
        } else {
            self.other_bytes
        }
    }

    /// The last object that a group really has.
    pub fn final_object(&self) -> u64 {
        last_of(self.first_object, self.last_object, self.object_step)
    }

    /// The last group that the track really has.
    pub fn final_group(&self) -> u64 {
        last_of(self.first_group, self.last_group, self.group_step)
    }

    /// Whether an object exists at this place.
    pub fn has(&self, group: u64, object: u64) -> bool {
        is_in(group, self.first_group, self.last_group, self.group_step)
            && is_in(
                object,
                self.first_object,
                self.last_object,
                self.object_step,
            )
    }

    /// Whether this object is an end-of-group marker.
    pub fn is_marker(&self, object: u64) -> bool {
        self.end_markers && object == self.final_object()
    }

    /// The subgroup of an object; `None` for a datagram.
    pub fn subgroup_of(&self, object: u64) -> Option<u64> {
        match self.forwarding {
            Forwarding::SubgroupPerGroup => Some(0),
            Forwarding::SubgroupPerObject => Some(object),
            Forwarding::TwoSubgroups => Some(object & 1),
            Forwarding::Datagram => None,
        }
    }

    /// How far an object is from the next one of its subgroup; `None` when it is alone there.
    pub(super) fn subgroup_step(&self) -> Option<u64> {
        match self.forwarding {
            Forwarding::SubgroupPerGroup => Some(self.object_step),
            Forwarding::SubgroupPerObject | Forwarding::Datagram => None,
            Forwarding::TwoSubgroups if self.object_step.is_multiple_of(2) => {
                Some(self.object_step)
            }
            Forwarding::TwoSubgroups => Some(self.object_step.saturating_mul(2)),
        }
    }

    /// Types of the properties that each object carries.
    pub fn extension_types(&self) -> impl Iterator<Item = u64> {
        let integer = self.integer_extension.map(|v| v.saturating_mul(2));
        let bytes = self
            .bytes_extension
            .map(|v| v.saturating_mul(2).saturating_add(1));
        integer.into_iter().chain(bytes)
    }

    fn largest_last_object(&self) -> Result<u64, TupleError> {
        let slots = self
            .objects_per_group
            .checked_add(self.end_markers.into())
            .and_then(|slots| slots.checked_sub(1));
        let slots = slots.ok_or(field(6, "at least 1 and not too large"))?;
        slots
            .checked_mul(self.object_step)
            .and_then(|span| span.checked_add(self.first_object))
            .ok_or(field(6, "small enough for the objects' numbers"))
    }

    fn check(&self, most: u64, limits: &Limits) -> Result<(), TupleError> {
        if self.group_step == 0 {
            return Err(field(10, "at least 1"));
        }
        if self.object_step == 0 {
            return Err(field(11, "at least 1"));
        }
        if self.objects_per_group == 0 {
            return Err(field(6, "at least 1"));
        }
        if self.last_group < self.first_group {
            return Err(field(4, "at least the first group"));
        }
        if self.last_object < self.first_object {
            return Err(field(5, "at least the first object"));
        }
        if self.last_object > most {
            return Err(field(5, "within the objects per group"));
        }
        if self.end_markers && self.final_object() != self.last_object {
            return Err(field(5, "reached by the increment when it is a marker"));
        }
        let bytes = self.first_bytes.max(self.other_bytes);
        let (what, limit) = match self.forwarding {
            Forwarding::Datagram => ("bytes of a datagram", limits.datagram_bytes_max),
            _ => ("bytes of an object", limits.object_bytes_max),
        };
        if bytes > limit {
            return Err(TupleError::Limit { what, limit });
        }
        if self.extension_types().any(|key| key >= 1 << 62) {
            return Err(field(13, "small enough to be a property's type"));
        }
        Ok(())
    }
}

fn field(index: usize, expected: &'static str) -> TupleError {
    TupleError::Field { index, expected }
}

fn text_of(fields: &[Bytes], index: usize) -> &str {
    let bytes = fields.get(index).map_or(&[][..], |field| field);
    // What is not text is not a number either.
    std::str::from_utf8(bytes).unwrap_or("?")
}

fn read(fields: &[Bytes], index: usize, blank: u64) -> Result<u64, TupleError> {
    match text_of(fields, index) {
        "" => Ok(blank),
        text => text.parse().map_err(|_| field(index, "a number")),
    }
}

fn read_signed(fields: &[Bytes], index: usize) -> Result<Option<u64>, TupleError> {
    match text_of(fields, index) {
        "" => Ok(None),
        text => {
            let value: i64 = text.parse().map_err(|_| field(index, "a number"))?;
            Ok(u64::try_from(value).ok())
        }
    }
}

fn last_of(first: u64, last: u64, step: u64) -> u64 {
    let steps = last.saturating_sub(first).checked_div(step).unwrap_or(0);
    first.saturating_add(steps.saturating_mul(step))
}

fn is_in(value: u64, first: u64, last: u64, step: u64) -> bool {
    value >= first && value <= last && (value - first).is_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TestTrack, TupleError> {
        TestTrack::from_text(text, &Limits::default())
    }

    #[test]
    fn blank_fields_have_the_documented_meaning() {
        let track = parse("moq-test-00///////////////").unwrap();
        assert_eq!(track.forwarding, Forwarding::SubgroupPerGroup);
        assert_eq!((track.last_group, track.last_object), ((1 << 62) - 1, 9));
        assert_eq!((track.first_bytes, track.other_bytes), (1024, 100));
        assert_eq!(track.interval_ms, 1000);
        assert_eq!(
            (track.integer_extension, track.delivery_timeout_ms),
            (None, None)
        );
        assert_eq!(track.properties().default_publisher_priority(), PRIORITY);
    }

    #[test]
    fn fields_survive_a_round_trip() {
        let text = "moq-test-00/2/10/3/24/7/3/40/24/2/7/2/0/1/-1/500";
        let track = parse(text).unwrap();
        assert_eq!(track.fields().join("/"), text);
        assert_eq!(track.properties().object_delivery_timeout_ms(), Some(500));
        let prefix = TrackNamespace::from_path("moq-test/x").unwrap();
        let namespace = track.namespace_below(&prefix).unwrap();
        let limits = Limits::default();
        assert_eq!(
            TestTrack::below(&prefix, &namespace, &limits),
            Some(Ok(track))
        );
        let other = TrackNamespace::from_path("other").unwrap();
        assert_eq!(TestTrack::below(&other, &namespace, &limits), None);
    }

    #[test]
    fn impossible_tracks_are_refused_with_the_field_that_is_wrong() {
        let wrong = |text: &str| match parse(text) {
            Err(TupleError::Field { index, .. }) => index,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(wrong("moq-test-00/4//////////////"), 1);
        assert_eq!(wrong("moq-test-00/x//////////////"), 1);
        assert_eq!(wrong("moq-test-00/0/5//4///////////"), 4);
        assert_eq!(wrong("moq-test-00/0/0/0/1/10/10/////////"), 5);
        assert_eq!(wrong("moq-test-00/0/0/0/1/0/0/////////"), 6);
        assert_eq!(wrong("moq-test-00/0/0/0/1/0/1////0/////"), 10);
        assert_eq!(wrong("moq-test-00/0/0/0/1/5/9/////2/1///"), 5);
        assert_eq!(parse("moq-test-00/0"), Err(TupleError::FieldCount(2)));
        assert_eq!(
            parse("moq-test-01///////////////"),
            Err(TupleError::Protocol)
        );
        let large = parse("moq-test-00/3///////2000///////");
        assert!(matches!(large, Err(TupleError::Limit { limit: 1100, .. })));
    }
}
