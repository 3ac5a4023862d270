//! Objects of fetch streams: draft 16 writes ids as they are, later drafts as deltas.
//!
//! A fetch stream is a header that names the request, then objects and ends of ranges. What an
//! object leaves out is taken from the object before it. Both forms leave out the same fields, the
//! ids excepted, so only those and the integers are rewritten.
//!
//! | field | 16 | canonical |
//! |---|---|---|
//! | group, when given | the id | the first: the id; then the steps from the group before, less one |
//! | object, when given | the id | the id when the group is given; else the steps from the one before |
//! | end of range | both ids | both ids |
//!
//! Whether an end of range has a payload length the text leaves open. As in later drafts it has none.
//!
//! What cannot be said in deltas, ids that run against the group order, becomes a repeated object:
//! both make the track malformed.
//!
//! Source: draft-ietf-moq-transport-16, Section 10.4.4; 18, Section 11.4.4.

use super::incoming::{Head, Then};
use super::integer::{self, Walk};
use super::pairs;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::filter::GroupOrder;
use crate::moqt::name::Location;
use crate::moqt::varint;
use crate::moqt::wire::Reader;
use bytes::{BufMut, BytesMut};

const SUBGROUP_MODE: u64 = 0x03;
const SUBGROUP_ZERO: u64 = 0x00;
const SUBGROUP_PRIOR: u64 = 0x01;
const SUBGROUP_NEXT: u64 = 0x02;
const OBJECT: u64 = 0x04;
const GROUP: u64 = 0x08;
const PRIORITY: u64 = 0x10;
const PROPERTIES: u64 = 0x20;
const DATAGRAM: u64 = 0x40;
const FLAGS_MAX: u64 = 0x7f;
const ENDS_OF_RANGES: [u64; 2] = [0x8C, 0x10C];

/// Where a fetch stream stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) order: GroupOrder,
    prior: Option<Location>,
    /// The subgroup of the object before, on a stream of this end.
    subgroup: u64,
}

impl Place {
    pub(super) const fn start(order: GroupOrder) -> Self {
        Self {
            order,
            prior: None,
            subgroup: 0,
        }
    }

    /// Reads an item of draft 16 and writes it in canonical form; `None` when bytes are missing.
    pub(super) fn item_from_16(
        &mut self,
        bytes: &[u8],
        properties_max: usize,
    ) -> Result<Option<Head>, ProtocolError> {
        let mut walk = Walk::new(bytes);
        let mut out = BytesMut::with_capacity(32);
        let Some(flags) = walk.int() else {
            return Ok(None);
        };
        if ENDS_OF_RANGES.contains(&flags) {
            let (Some(group), Some(object)) = (walk.int(), walk.int()) else {
                return Ok(None);
            };
            for value in [flags, group, object] {
                varint::encode(value, &mut out);
            }
            self.prior = Some(Location::new(group, object));
            return Ok(Some(Head::new(bytes, &walk, out, Then::Item)));
        }
        if flags > FLAGS_MAX {
            return Err(ProtocolError::violation("unknown serialization flags"));
        }
        let Some(ids) = Ids::read(flags, &mut walk) else {
            return Ok(None);
        };
        let place = self.resolve(&ids)?;
        let Some(priority) = optional(flags & PRIORITY != 0, || walk.u8()) else {
            return Ok(None);
        };
        self.put_ids(flags, &ids, place, &mut out);
        if let Some(priority) = priority {
            out.put_u8(priority);
        }
        if flags & PROPERTIES != 0 {
            match super::incoming::extensions(&mut walk, properties_max, &mut out) {
                None => return Ok(None),
                Some(Then::Nothing) => return Ok(Some(Head::broken(out))),
                Some(_) => {}
            }
        }
        let Some(length) = walk.int() else {
            return Ok(None);
        };
        varint::encode(length, &mut out);
        self.prior = Some(place);
        Ok(Some(Head::new(bytes, &walk, out, Then::Payload(length))))
    }

    fn resolve(&self, ids: &Ids) -> Result<Location, ProtocolError> {
        const FAULT: ProtocolError =
            ProtocolError::violation("first object of a fetch refers to one before it");
        let prior = self.prior.ok_or(FAULT);
        let group = ids.group.map_or_else(|| prior.map(|p| p.group), Ok)?;
        let next = || prior.map(|p| p.object.saturating_add(1));
        let object = ids.object.map_or_else(next, Ok)?;
        Ok(Location::new(group, object))
    }

    fn put_ids(&self, flags: u64, ids: &Ids, place: Location, out: &mut BytesMut) {
        let (group, object) = match (self.prior, self.order) {
            (None, _) => (Some(place.group), place.object),
            (Some(prior), GroupOrder::Ascending) if place.group > prior.group => {
                (Some(place.group - prior.group - 1), place.object)
            }
            (Some(prior), GroupOrder::Descending) if place.group < prior.group => {
                (Some(prior.group - place.group - 1), place.object)
            }
            (Some(prior), _) if place.group == prior.group => {
                (None, place.object.saturating_sub(prior.object))
            }
            (Some(_), _) => (None, 0),
        };
        let group_flag = if group.is_some() { GROUP } else { 0 };
        varint::encode(flags & !(GROUP | OBJECT) | group_flag | OBJECT, out);
        for field in [group, ids.subgroup, Some(object)].into_iter().flatten() {
            varint::encode(field, out);
        }
    }

    /// Reads a canonical item from the front of `reader` and writes it in the form of draft 16.
    /// Returns how many bytes of payload follow. What is read, this end wrote: it is whole.
    pub(super) fn item_to_16(
        &mut self,
        reader: &mut Reader<'_>,
        out: &mut BytesMut,
    ) -> Result<u64, Untranslated> {
        let flags = reader.varint()?;
        if flags > FLAGS_MAX {
            let end = reader.location()?;
            for value in [flags, end.group, end.object] {
                integer::encode(value, out)?;
            }
            self.prior = Some(end);
            return Ok(0);
        }
        let group = given(flags & GROUP != 0, || reader.varint())?;
        let subgroup = given(has_subgroup(flags), || reader.varint())?;
        let object = given(flags & OBJECT != 0, || reader.varint())?;
        let place = self.place_after(group, object);
        let mut flags = flags | GROUP | OBJECT;
        let subgroup = self.subgroup_of(flags, subgroup);
        if subgroup.is_some() {
            flags |= SUBGROUP_MODE;
        }
        self.subgroup = subgroup.unwrap_or(0);
        integer::encode(flags, out)?;
        for field in [Some(place.group), subgroup, Some(place.object)] {
            field.map_or(Ok(()), |field| integer::encode(field, out))?;
        }
        if flags & PRIORITY != 0 {
            out.put_u8(reader.u8()?);
        }
        if flags & PROPERTIES != 0 {
            let mut block = BytesMut::new();
            pairs::to_16(reader.prefixed()?, &mut block);
            integer::put_prefixed(&block, out)?;
        }
        let length = reader.varint()?;
        integer::encode(length, out)?;
        self.prior = Some(place);
        Ok(length)
    }

    /// The subgroup to write. Draft 16 leaves open which object a reference means after the end of
    /// a range, so there is none: any but 0 is written out.
    fn subgroup_of(&self, flags: u64, given: Option<u64>) -> Option<u64> {
        match flags & SUBGROUP_MODE {
            _ if flags & DATAGRAM != 0 => None,
            SUBGROUP_ZERO => None,
            SUBGROUP_PRIOR => Some(self.subgroup),
            SUBGROUP_NEXT => Some(self.subgroup.saturating_add(1)),
            _ => given,
        }
    }

    fn place_after(&self, group: Option<u64>, object: Option<u64>) -> Location {
        let Some(prior) = self.prior else {
            return Location::new(group.unwrap_or(0), object.unwrap_or(0));
        };
        let next = prior.object.saturating_add(1);
        let Some(delta) = group else {
            let object = object.map_or(next, |delta| prior.object.saturating_add(delta));
            return Location::new(prior.group, object);
        };
        let step = delta.saturating_add(1);
        let group = match self.order {
            GroupOrder::Ascending => prior.group.saturating_add(step),
            GroupOrder::Descending => prior.group.saturating_sub(step),
        };
        Location::new(group, object.unwrap_or(next))
    }
}

/// Why an object of this end cannot be sent to a peer of draft 16.
#[derive(Debug)]
pub(super) struct Untranslated;

impl From<ProtocolError> for Untranslated {
    fn from(_: ProtocolError) -> Self {
        Self
    }
}

impl From<EncodeError> for Untranslated {
    fn from(_: EncodeError) -> Self {
        Self
    }
}

/// The ids that an object of draft 16 gives.
struct Ids {
    group: Option<u64>,
    subgroup: Option<u64>,
    object: Option<u64>,
}

impl Ids {
    fn read(flags: u64, walk: &mut Walk<'_>) -> Option<Self> {
        Some(Self {
            group: optional(flags & GROUP != 0, || walk.int())?,
            subgroup: optional(has_subgroup(flags), || walk.int())?,
            object: optional(flags & OBJECT != 0, || walk.int())?,
        })
    }
}

const fn has_subgroup(flags: u64) -> bool {
    flags & DATAGRAM == 0 && flags & SUBGROUP_MODE == SUBGROUP_MODE
}

/// A field that is there or not; the outer `None` says that its bytes are missing.
#[expect(clippy::option_option, reason = "absent and incomplete differ")]
fn optional<T>(is_there: bool, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if is_there {
        read().map(Some)
    } else {
        Some(None)
    }
}

fn given<T>(
    is_there: bool,
    read: impl FnOnce() -> Result<T, ProtocolError>,
) -> Result<Option<T>, ProtocolError> {
    is_there.then(read).transpose()
}
