//! FETCH and FETCH_OK.
//!
//! The range of a fetch is the location filter of its parameters, ends inclusive, in every draft.
//! 18 writes it as two locations of which the second is one past the last object, or has object 0
//! for a whole group; its joining fetches name a subscription instead and have no filter.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.12, 10.13; 20, Sections 10.13, 10.14.

use super::kind::MessageKind;
use super::request::decode_properties;
use crate::moqt::draft::{Draft, FetchForm};
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::filter::{FetchRange, Filter, GroupOrder};
use crate::moqt::name::{FullTrackName, Location, RequestId};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_full_name, put_location};
use bytes::{BufMut, BytesMut};

/// The end of an open fetch in 18: no group is larger. Some peers hold integers to 62 bits.
const OPEN_END_18: Location = Location::new((1 << 62) - 1, 0);

/// FETCH (0x16): asks for objects of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The request.
    pub request_id: RequestId,
    /// Of what.
    pub target: FetchTarget,
    /// How; the filter is the range ([`FetchTarget::Track`] only).
    pub parameters: Parameters,
}

/// What a fetch is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchTarget {
    /// A range of a track.
    Track(FullTrackName),
    /// What a subscription lacks up to its join, from so many groups before (18).
    RelativeJoin {
        /// The subscription.
        joining: RequestId,
        /// Groups before the join.
        groups: u64,
    },
    /// What a subscription lacks up to its join, from this group on (18).
    AbsoluteJoin {
        /// The subscription.
        joining: RequestId,
        /// First group.
        group: u64,
    },
}

impl Fetch {
    /// What is to be delivered, whichever draft and kind of fetch asks for it. `largest` is the
    /// track's largest location or, for a fetch that joins a subscription, the one that the
    /// subscription joined at. `None` is to be answered with INVALID_RANGE.
    pub fn range(&self, largest: Option<Location>) -> Option<FetchRange> {
        match self.target {
            FetchTarget::Track(_) => {
                let filter = self.parameters.filter.unwrap_or(Filter::None);
                filter.fetch_range(largest)
            }
            FetchTarget::RelativeJoin { groups, .. } => {
                let group = largest?.group.saturating_sub(groups);
                FetchRange::new(Location::new(group, 0), None, largest)
            }
            FetchTarget::AbsoluteJoin { group, .. } => {
                FetchRange::new(Location::new(group, 0), None, largest)
            }
        }
    }

    /// In which order the groups are to be delivered.
    pub fn group_order(&self) -> GroupOrder {
        let order = self.parameters.group_order;
        order.unwrap_or(GroupOrder::Ascending)
    }

    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.request_id.0, out);
        match draft.profile().fetch_form {
            FetchForm::Inline => {
                let FetchTarget::Track(track) = &self.target else {
                    let what = "a fetch that joins a subscription";
                    return Err(EncodeError::NotExpressible { draft, what });
                };
                put_full_name(track, out);
                self.parameters.encode(draft, MessageKind::Fetch, out)
            }
            FetchForm::Typed => self.encode_typed(draft, out),
        }
    }

    fn encode_typed(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut parameters = self.parameters.clone();
        let filter = parameters.filter.take();
        match (&self.target, filter) {
            (FetchTarget::Track(track), filter) => {
                let (start, end) = locations_18(draft, filter.unwrap_or(Filter::None))?;
                out.put_u8(1);
                put_full_name(track, out);
                put_location(start, out);
                put_location(end, out);
            }
            (FetchTarget::RelativeJoin { joining, groups }, None) => {
                out.put_u8(2);
                varint::encode(joining.0, out);
                varint::encode(*groups, out);
            }
            (FetchTarget::AbsoluteJoin { joining, group }, None) => {
                out.put_u8(3);
                varint::encode(joining.0, out);
                varint::encode(*group, out);
            }
            (_, Some(_)) => {
                return Err(EncodeError::Invalid(
                    "a joining fetch must not have a filter",
                ));
            }
        }
        parameters.encode(draft, MessageKind::Fetch, out)
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let request_id = RequestId(reader.varint()?);
        let (target, filter) = match draft.profile().fetch_form {
            FetchForm::Inline => (FetchTarget::Track(reader.full_name()?), None),
            FetchForm::Typed => decode_typed(reader)?,
        };
        let mut parameters = Parameters::decode(draft, MessageKind::Fetch, reader)?;
        parameters.filter = parameters.filter.or(filter);
        Ok(Self {
            request_id,
            target,
            parameters,
        })
    }
}

fn decode_typed(reader: &mut Reader<'_>) -> Result<(FetchTarget, Option<Filter>), ProtocolError> {
    match reader.varint()? {
        1 => {
            let track = reader.full_name()?;
            let (start, end) = (reader.location()?, reader.location()?);
            let filter = if end == OPEN_END_18 {
                Filter::Absolute { start }.canonical()
            } else {
                Filter::AbsoluteRange {
                    start,
                    end_group: end.group,
                    end_object: end.object.checked_sub(1),
                }
            };
            Ok((FetchTarget::Track(track), Some(filter)))
        }
        2 => {
            let (joining, groups) = (RequestId(reader.varint()?), reader.varint()?);
            Ok((FetchTarget::RelativeJoin { joining, groups }, None))
        }
        3 => {
            let (joining, group) = (RequestId(reader.varint()?), reader.varint()?);
            Ok((FetchTarget::AbsoluteJoin { joining, group }, None))
        }
        _ => Err(ProtocolError::violation("unknown fetch type")),
    }
}

/// Start, and end one past the last object, as 18 writes them.
fn locations_18(draft: Draft, filter: Filter) -> Result<(Location, Location), EncodeError> {
    let (start, end) = match filter {
        Filter::None => (Location::ZERO, OPEN_END_18),
        Filter::Absolute { start } => (start, OPEN_END_18),
        Filter::AbsoluteRange {
            start,
            end_group,
            end_object,
        } => {
            let past = end_object.map_or(Some(0), |object| object.checked_add(1));
            let past = past.ok_or(EncodeError::Invalid("no object is past 2^64 - 1"))?;
            (start, Location::new(end_group, past))
        }
        Filter::NextGroup | Filter::NextObject | Filter::RelativeStart { .. } => {
            let what = "a fetch from a place relative to the largest object";
            return Err(EncodeError::NotExpressible { draft, what });
        }
    };
    let is_whole_group = end.object == 0;
    let is_backwards =
        end.group < start.group || (end.group == start.group && !is_whole_group && end <= start);
    if is_backwards {
        return Err(EncodeError::Invalid(
            "a fetch must not end before it starts",
        ));
    }
    Ok((start, end))
}

/// FETCH_OK (0x18): the fetch is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOk {
    /// Whether the end is the end of the track.
    pub end_of_track: bool,
    /// Last group that the answer covers.
    pub end_group: u64,
    /// Last object of that group that the answer covers. `None`, the whole group, in 18 only.
    pub end_object: Option<u64>,
    /// No parameter is defined for this message.
    pub parameters: Parameters,
    /// Track Properties.
    pub properties: Properties,
}

impl FetchOk {
    /// The answer for a range that ends at `end`, the track with it or not.
    pub fn new(end: Location, end_of_track: bool, properties: Properties) -> Self {
        Self {
            end_of_track,
            end_group: end.group,
            end_object: Some(end.object),
            parameters: Parameters::default(),
            properties,
        }
    }

    /// The last place that the answer covers; object 2^64 - 1 stands for the whole group.
    pub fn end(&self) -> Location {
        Location::new(self.end_group, self.end_object.unwrap_or(u64::MAX))
    }

    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let object = match (draft.profile().fetch_form, self.end_object) {
            (FetchForm::Inline, Some(object)) => object,
            (FetchForm::Inline, None) => u64::MAX,
            (FetchForm::Typed, None | Some(u64::MAX)) => 0,
            (FetchForm::Typed, Some(object)) => object
                .checked_add(1)
                .ok_or(EncodeError::Invalid("no object is past 2^64 - 1"))?,
        };
        out.put_u8(self.end_of_track.into());
        put_location(Location::new(self.end_group, object), out);
        self.parameters.encode(draft, MessageKind::FetchOk, out)?;
        out.put_slice(self.properties.raw());
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let end_of_track = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(ProtocolError::violation("End Of Track is neither 0 nor 1")),
        };
        let end = reader.location()?;
        let end_object = match draft.profile().fetch_form {
            FetchForm::Inline => Some(end.object),
            FetchForm::Typed => end.object.checked_sub(1),
        };
        Ok(Self {
            end_of_track,
            end_group: end.group,
            end_object,
            parameters: Parameters::decode(draft, MessageKind::FetchOk, reader)?,
            properties: decode_properties(reader)?,
        })
    }
}
