//! Filters: which objects and tracks of a subscription or fetch pass.
//!
//! [`Filter`] is the location filter in one form for all drafts, ends inclusive. Drafts differ in
//! what they can say:
//!
//! | filter | 18 | 20, 21 | 22 |
//! |---|---|---|---|
//! | `None` | absolute `{0, 0}` | no fields | type 0 |
//! | `NextGroup` | type 1 | one field, 0 | type 1, 0 |
//! | `NextObject` | type 2 | two fields, 0 and 0 | type 5 |
//! | `RelativeStart` | cannot | one field | type 1 |
//! | `Absolute` | type 3 | two fields; `{0, 0}` as no fields | type 2 |
//! | `AbsoluteRange` without an end object | type 4 | three fields | type 3 |
//! | `AbsoluteRange` with an end object | cannot | four fields | type 4 |
//!
//! So three values change their name on the way and not their meaning: `RelativeStart` of 0 groups
//! arrives as `NextGroup`, and `{0, 0}` and `None` are the same filter in 18, 20 and 21
//! ([`Filter::canonical`]).
//!
//! Source: draft-ietf-moq-transport-18, Section 5.1.2; 19, Section 5.1.3 (range filters); changes
//! of 20 and 22.

pub mod sets;

use super::draft::{Draft, FilterForm};
use super::error::{EncodeError, ProtocolError};
use super::name::Location;
use super::varint;
use super::wire::{Reader, put_location, put_with_len};
use bytes::{BufMut, Bytes, BytesMut};

/// In which order groups are wanted or delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupOrder {
    /// Oldest first (0x1).
    Ascending,
    /// Newest first (0x2).
    Descending,
}

impl GroupOrder {
    /// The wire value.
    pub const fn value(self) -> u8 {
        match self {
            Self::Ascending => 1,
            Self::Descending => 2,
        }
    }

    /// The order of a wire value, if it is one.
    pub const fn from_value(value: u64) -> Option<Self> {
        match value {
            1 => Some(Self::Ascending),
            2 => Some(Self::Descending),
            _ => None,
        }
    }
}

/// Which locations of a track pass; ends inclusive. See the module for what each draft can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Everything passes.
    None,
    /// From the group after the largest one.
    NextGroup,
    /// From the object after the largest one ("Largest Object" in 18).
    NextObject,
    /// From so many groups before the next group: 0 is the next group, 1 the current one.
    RelativeStart {
        /// Groups to go back.
        groups: u64,
    },
    /// From this place on.
    Absolute {
        /// First place that passes.
        start: Location,
    },
    /// From this place to this end.
    AbsoluteRange {
        /// First place that passes.
        start: Location,
        /// Last group that passes; not smaller than the start's.
        end_group: u64,
        /// Last object of the end group that passes; `None` is the whole group.
        end_object: Option<u64>,
    },
}

/// A resolved filter: both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationRange {
    /// First place that passes.
    pub start: Location,
    /// Last place that passes; `None` when the range is open.
    pub end: Option<Location>,
}

impl LocationRange {
    /// Whether `location` is inside.
    pub fn contains(&self, location: Location) -> bool {
        location >= self.start && self.end.is_none_or(|end| location <= end)
    }
}

/// What a fetch or a fill is to deliver, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRange {
    /// First place.
    pub start: Location,
    /// Last place, not beyond the largest one. Object 2^64 - 1 stands for the whole group.
    pub end: Location,
}

impl FetchRange {
    /// From `start` to `end` or the largest place, whichever comes first; `None`, INVALID_RANGE, when
    /// nothing is published or the range is empty.
    pub fn new(start: Location, end: Option<Location>, largest: Option<Location>) -> Option<Self> {
        let largest = largest?;
        let end = end.map_or(largest, |end| end.min(largest));
        (start <= end).then_some(Self { start, end })
    }

    /// Whether `location` is inside.
    pub fn contains(&self, location: Location) -> bool {
        (self.start..=self.end).contains(&location)
    }
}

impl Filter {
    /// The range of a fetch or fill with this filter, when `largest` is the largest location of the
    /// track. `None` is INVALID_RANGE for a fetch, and a fill that is not opened.
    pub fn fetch_range(&self, largest: Option<Location>) -> Option<FetchRange> {
        let LocationRange { start, end } = self.resolve(largest);
        FetchRange::new(start, end, largest)
    }

    /// The range that this filter means when `largest` is the largest location published so far
    /// (`None`: nothing published). A whole end group ends at object 2^64 - 1.
    pub fn resolve(&self, largest: Option<Location>) -> LocationRange {
        let next_group = largest.map_or(0, |l| l.group.saturating_add(1));
        let open = |start| LocationRange { start, end: None };
        match *self {
            Self::None => open(Location::ZERO),
            Self::NextGroup => open(Location::new(next_group, 0)),
            Self::RelativeStart { groups } => {
                open(Location::new(next_group.saturating_sub(groups), 0))
            }
            Self::NextObject => open(largest.map_or(Location::ZERO, |l| {
                Location::new(l.group, l.object.saturating_add(1))
            })),
            Self::Absolute { start } => open(start),
            Self::AbsoluteRange {
                start,
                end_group,
                end_object,
            } => LocationRange {
                start,
                end: Some(Location::new(end_group, end_object.unwrap_or(u64::MAX))),
            },
        }
    }

    /// The one name of this filter among its synonyms: `NextGroup` for a relative start of 0
    /// groups, `None` for everything from `{0, 0}`.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::RelativeStart { groups: 0 } => Self::NextGroup,
            Self::Absolute {
                start: Location::ZERO,
            } => Self::None,
            other => other,
        }
    }

    /// The narrowest filter that `draft` can express and that lets at least this one's objects
    /// pass: what a relay asks of an upstream that speaks an older draft.
    #[must_use]
    pub fn widened_for(self, draft: Draft) -> Self {
        match draft.profile().filter_form {
            FilterForm::CountedFields | FilterForm::TaggedByType => self,
            FilterForm::Typed => match self {
                Self::RelativeStart { groups: 0 } => Self::NextGroup,
                Self::RelativeStart { .. } => Self::None,
                Self::AbsoluteRange {
                    start, end_group, ..
                } => Self::AbsoluteRange {
                    start,
                    end_group,
                    end_object: None,
                },
                other => other,
            },
        }
    }

    /// Writes the parameter's value, its length included where the draft has one.
    pub(super) fn encode(self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        if let Self::AbsoluteRange {
            start, end_group, ..
        } = self
            && end_group < start.group
        {
            return Err(EncodeError::Invalid(
                "a filter must not end before it starts",
            ));
        }
        match draft.profile().filter_form {
            FilterForm::Typed => put_with_len(out, |out| self.encode_typed(draft, out)),
            FilterForm::CountedFields => put_with_len(out, |out| {
                self.encode_counted(out);
                Ok(())
            }),
            FilterForm::TaggedByType => {
                self.encode_tagged(out);
                Ok(())
            }
        }
    }

    fn encode_typed(self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let cannot = |what| Err(EncodeError::NotExpressible { draft, what });
        match self {
            Self::NextGroup | Self::RelativeStart { groups: 0 } => out.put_u8(1),
            Self::NextObject => out.put_u8(2),
            // 18 has no word for "no filter", and says that this one is equivalent.
            Self::None => {
                out.put_u8(3);
                put_location(Location::ZERO, out);
            }
            Self::Absolute { start } => {
                out.put_u8(3);
                put_location(start, out);
            }
            Self::AbsoluteRange {
                start,
                end_group,
                end_object: None,
            } => {
                out.put_u8(4);
                put_location(start, out);
                varint::encode(end_group.saturating_sub(start.group), out);
            }
            Self::RelativeStart { .. } => return cannot("a filter that starts groups ago"),
            Self::AbsoluteRange {
                end_object: Some(_),
                ..
            } => return cannot("a filter that ends within a group"),
        }
        Ok(())
    }

    fn encode_counted(self, out: &mut BytesMut) {
        match self.canonical() {
            Self::None => {}
            Self::NextGroup => out.put_u8(0),
            Self::RelativeStart { groups } => varint::encode(groups, out),
            Self::NextObject => out.put_slice(&[0, 0]),
            Self::Absolute { start } => put_location(start, out),
            Self::AbsoluteRange {
                start,
                end_group,
                end_object,
            } => put_range(start, end_group, end_object, out),
        }
    }

    fn encode_tagged(self, out: &mut BytesMut) {
        match self {
            Self::None => out.put_u8(0),
            Self::NextGroup => out.put_slice(&[1, 0]),
            Self::RelativeStart { groups } => {
                out.put_u8(1);
                varint::encode(groups, out);
            }
            Self::NextObject => out.put_u8(5),
            Self::Absolute { start } => {
                out.put_u8(2);
                put_location(start, out);
            }
            Self::AbsoluteRange {
                start,
                end_group,
                end_object,
            } => {
                out.put_u8(3 + u8::from(end_object.is_some()));
                put_range(start, end_group, end_object, out);
            }
        }
    }

    /// Reads the parameter's value.
    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        match draft.profile().filter_form {
            FilterForm::Typed => {
                let mut value = Reader::new(reader.prefixed()?);
                let filter = Self::decode_typed(&mut value)?;
                value.finish()?;
                Ok(filter)
            }
            FilterForm::CountedFields => {
                let mut value = Reader::new(reader.prefixed()?);
                let filter = Self::decode_counted(&mut value)?;
                value.finish()?;
                Ok(filter)
            }
            FilterForm::TaggedByType => Self::decode_tagged(reader),
        }
    }

    fn decode_typed(value: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        match value.varint()? {
            1 => Ok(Self::NextGroup),
            2 => Ok(Self::NextObject),
            3 => Ok(Self::Absolute {
                start: value.location()?,
            }),
            4 => range(value.location()?, value.varint()?, None),
            _ => Err(UNKNOWN_TYPE),
        }
    }

    /// The number of fields is what parsing finds, not the byte length: integers take 1 to 9 bytes.
    fn decode_counted(value: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        if value.is_empty() {
            return Ok(Self::None);
        }
        let group = value.varint()?;
        if value.is_empty() {
            return Ok(relative(group));
        }
        let start = Location::new(group, value.varint()?);
        if value.is_empty() {
            return Ok(match start {
                Location::ZERO => Self::NextObject,
                start => Self::Absolute { start },
            });
        }
        let delta = value.varint()?;
        if value.is_empty() {
            return range(start, delta, None);
        }
        range(start, delta, Some(value.varint()?))
    }

    fn decode_tagged(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        match reader.varint()? {
            0 => Ok(Self::None),
            1 => Ok(relative(reader.varint()?)),
            2 => Ok(Self::Absolute {
                start: reader.location()?,
            }),
            3 => range(reader.location()?, reader.varint()?, None),
            4 => {
                let (start, delta) = (reader.location()?, reader.varint()?);
                range(start, delta, Some(reader.varint()?))
            }
            5 => Ok(Self::NextObject),
            _ => Err(UNKNOWN_TYPE),
        }
    }
}

const UNKNOWN_TYPE: ProtocolError = ProtocolError::violation("unknown location filter type");

fn relative(groups: u64) -> Filter {
    Filter::RelativeStart { groups }.canonical()
}

fn range(start: Location, delta: u64, end_object: Option<u64>) -> Result<Filter, ProtocolError> {
    let end_group = start.group.checked_add(delta);
    Ok(Filter::AbsoluteRange {
        start,
        end_group: end_group.ok_or(ProtocolError::violation("filter ends past group 2^64 - 1"))?,
        end_object,
    })
}

fn put_range(start: Location, end_group: u64, end_object: Option<u64>, out: &mut BytesMut) {
    put_location(start, out);
    varint::encode(end_group.saturating_sub(start.group), out);
    if let Some(object) = end_object {
        varint::encode(object, out);
    }
}

/// What a range filter is about (20 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeSubject {
    /// Subgroup id (0x25).
    Subgroup,
    /// Object id (0x26).
    Object,
    /// Publisher priority (0x27).
    Priority,
    /// The value of an object property (0x28).
    ObjectProperty,
    /// The value of a track property (0x29).
    TrackProperty,
}

impl RangeSubject {
    /// The parameter's type.
    pub(super) const fn parameter(self) -> u8 {
        match self {
            Self::Subgroup => 0x25,
            Self::Object => 0x26,
            Self::Priority => 0x27,
            Self::ObjectProperty => 0x28,
            Self::TrackProperty => 0x29,
        }
    }

    const fn has_property(self) -> bool {
        matches!(self, Self::ObjectProperty | Self::TrackProperty)
    }
}

/// A range filter as it came. A faulty one is answered with REQUEST_ERROR INVALID_FILTER and not
/// with a close, so reading it is a step of its own: [`RangeFilter::parse`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeFilter {
    /// What it is about.
    pub subject: RangeSubject,
    /// The parameter's value; empty removes the filter in REQUEST_UPDATE.
    pub value: Bytes,
}

/// A range filter, read. Filters of one set must all pass; one set that passes is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet {
    /// The set it belongs to.
    pub set: u8,
    /// The property it is about, for the two property subjects.
    pub property: Option<u64>,
    /// First and last value of each range, inclusive; only the last range may be open.
    pub ranges: Vec<(u64, Option<u64>)>,
}

impl RangeFilter {
    /// A filter of these ranges, ascending. `None` when they cannot be written: ranges that
    /// overlap or descend, an open range before the last, a property missing or not wanted.
    pub fn new(subject: RangeSubject, set: &RangeSet) -> Option<Self> {
        let mut out = BytesMut::new();
        out.put_u8(set.set);
        match (subject.has_property(), set.property) {
            (true, Some(property)) => varint::encode(property, &mut out),
            (false, None) => {}
            (true, None) | (false, Some(_)) => return None,
        }
        let mut previous = Some(0_u64);
        for &(start, end) in &set.ranges {
            varint::encode(start.checked_sub(previous?)?, &mut out);
            if let Some(end) = end {
                varint::encode(end.checked_sub(start)?, &mut out);
            }
            previous = end;
        }
        let value = out.freeze();
        Some(Self { subject, value })
    }

    /// Reads it; `None` is INVALID_FILTER. An empty value, which removes the filter, has no ranges.
    pub fn parse(&self) -> Option<RangeSet> {
        let mut set = RangeSet {
            set: 0,
            property: None,
            ranges: Vec::new(),
        };
        if self.value.is_empty() {
            return Some(set);
        }
        let mut reader = Reader::new(&self.value);
        set.set = reader.u8().ok()?;
        if self.subject.has_property() {
            let property = reader.varint().ok()?;
            // Only properties of even types are single integers.
            set.property = Some(property).filter(|p| p.is_multiple_of(2));
            set.property?;
        }
        let max = match self.subject {
            RangeSubject::Priority => u64::from(u8::MAX),
            RangeSubject::Subgroup
            | RangeSubject::Object
            | RangeSubject::ObjectProperty
            | RangeSubject::TrackProperty => u64::MAX,
        };
        let bounded = |from: u64, delta: u64| from.checked_add(delta).filter(|&v| v <= max);
        let mut previous = 0;
        while !reader.is_empty() {
            let start = bounded(previous, reader.varint().ok()?)?;
            if reader.is_empty() {
                set.ranges.push((start, None));
                break;
            }
            let end = bounded(start, reader.varint().ok()?)?;
            set.ranges.push((start, Some(end)));
            previous = end;
        }
        Some(set)
    }
}
