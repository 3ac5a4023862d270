//! Subgroup streams: a header, then objects in ascending order.
//!
//! | state of [`SubgroupReader`] | waits for |
//! |---|---|
//! | `Header` | the whole header |
//! | `Object` | the framing of an object: delta, properties, length, status |
//! | `Payload` | the rest of an object's payload |
//!
//! Framing is small and copied together; a payload is kept in the pieces that it came in.
//! Source: draft-ietf-moq-transport-18, Sections 11.4.2, 11.4.3.

use super::pieces::{Pieces, Walk};
use super::{DataFault, Limits, Object, ObjectStatus};
use crate::moqt::error::ProtocolError;
use crate::moqt::name::TrackAlias;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::put_prefixed;
use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};

const PROPERTIES: u64 = 0x01;
const SUBGROUP_ID_MODE: u64 = 0x06;
const END_OF_GROUP: u64 = 0x08;
const ALWAYS: u64 = 0x10;
const DEFAULT_PRIORITY: u64 = 0x20;
const FIRST_OBJECT: u64 = 0x40;

/// How a subgroup names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubgroupId {
    /// Subgroup 0.
    Zero,
    /// The ID of the first object on the stream.
    FirstObject,
    /// As the header says.
    Explicit(u64),
}

impl SubgroupId {
    /// The ID, unless the first object has to tell it.
    pub const fn known(self) -> Option<u64> {
        match self {
            Self::Zero => Some(0),
            Self::FirstObject => None,
            Self::Explicit(id) => Some(id),
        }
    }
}

/// The header of a subgroup stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// The track.
    pub track_alias: TrackAlias,
    /// The group.
    pub group: u64,
    /// The subgroup.
    pub subgroup: SubgroupId,
    /// Publisher priority; `None` inherits the track's.
    pub priority: Option<u8>,
    /// Whether each object carries a properties field.
    pub has_properties: bool,
    /// Whether the last object before a FIN is the last of the group.
    pub end_of_group: bool,
    /// Whether the first object here is the first of the subgroup.
    pub first_object: bool,
}

/// Whether a stream type announces a subgroup: `0b0XX1XXXX` without the reserved ID mode.
pub(super) const fn is_header_type(code: u64) -> bool {
    code & !0x7f == 0 && code & ALWAYS != 0 && code & SUBGROUP_ID_MODE != SUBGROUP_ID_MODE
}

impl SubgroupHeader {
    /// Appends the header.
    pub fn encode(&self, out: &mut BytesMut) {
        let flag = |bit: u64, set: bool| if set { bit } else { 0 };
        let mode = match self.subgroup {
            SubgroupId::Zero => 0,
            SubgroupId::FirstObject => 0x02,
            SubgroupId::Explicit(_) => 0x04,
        };
        let code = ALWAYS
            | mode
            | flag(PROPERTIES, self.has_properties)
            | flag(END_OF_GROUP, self.end_of_group)
            | flag(DEFAULT_PRIORITY, self.priority.is_none())
            | flag(FIRST_OBJECT, self.first_object);
        varint::encode(code, out);
        varint::encode(self.track_alias.0, out);
        varint::encode(self.group, out);
        if let SubgroupId::Explicit(id) = self.subgroup {
            varint::encode(id, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
    }

    /// Reads a header from the front of `bytes`: the header and its length, or `None` when more
    /// bytes are needed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let mut walk = Walk { rest: bytes };
        let Some(code) = walk.varint() else {
            return Ok(None);
        };
        if !is_header_type(code) {
            return Err(ProtocolError::violation("invalid subgroup header type"));
        }
        Ok(Self::decode_fields(code, &mut walk)
            .map(|header| (header, bytes.len() - walk.rest.len())))
    }

    fn decode_fields(code: u64, walk: &mut Walk<'_>) -> Option<Self> {
        let track_alias = TrackAlias(walk.varint()?);
        let group = walk.varint()?;
        let subgroup = match code & SUBGROUP_ID_MODE {
            0 => SubgroupId::Zero,
            0x02 => SubgroupId::FirstObject,
            _ => SubgroupId::Explicit(walk.varint()?),
        };
        let priority = if code & DEFAULT_PRIORITY == 0 {
            Some(walk.u8()?)
        } else {
            None
        };
        Some(Self {
            track_alias,
            group,
            subgroup,
            priority,
            has_properties: code & PROPERTIES != 0,
            end_of_group: code & END_OF_GROUP != 0,
            first_object: code & FIRST_OBJECT != 0,
        })
    }
}

/// Appends an object's framing; its payload follows it on the stream. `previous` is the object
/// before it on the same stream. A status other than normal has no properties on the wire.
pub fn encode_subgroup_object(
    object: &Object,
    previous: Option<u64>,
    has_properties: bool,
    out: &mut BytesMut,
) {
    let delta = match previous {
        Some(previous) => object.object.saturating_sub(previous).saturating_sub(1),
        None => object.object,
    };
    varint::encode(delta, out);
    if has_properties {
        if object.status == ObjectStatus::Normal {
            put_prefixed(object.properties.raw(), out);
        } else {
            varint::encode(0, out);
        }
    }
    varint::encode(object.payload.len() as u64, out);
    if object.payload.is_empty() {
        varint::encode(object.status.value(), out);
    }
}

/// What a subgroup stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubgroupEvent {
    /// Its header; once, first.
    Header(SubgroupHeader),
    /// An object, its subgroup set.
    Object(Object),
}

/// Reads one subgroup stream.
#[derive(Debug)]
pub struct SubgroupReader {
    limits: Limits,
    pieces: Pieces,
    header: Option<SubgroupHeader>,
    subgroup: Option<u64>,
    previous: Option<u64>,
    /// An object whose payload is still arriving, and how much of it is missing.
    partial: Option<(Object, usize, Vec<Bytes>)>,
    /// How much of it is there.
    taken: usize,
}

impl SubgroupReader {
    /// A reader for a stream, from its first byte.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pieces: Pieces::default(),
            header: None,
            subgroup: None,
            previous: None,
            partial: None,
            taken: 0,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.pieces.push(bytes);
    }

    /// Bytes pushed and not handed out as an event yet.
    pub fn buffered(&self) -> usize {
        self.pieces.len().saturating_add(self.taken)
    }

    /// The next event; `None` when more bytes are needed.
    pub fn poll(&mut self) -> Result<Option<SubgroupEvent>, DataFault> {
        let Some(header) = self.header else {
            return self.poll_header();
        };
        if self.partial.is_none() && !self.begin_object(&header)? {
            return Ok(None);
        }
        if let Some((_, missing, taken)) = &mut self.partial {
            self.taken += self.pieces.take(missing, taken);
        }
        match self.partial.take() {
            Some((mut object, 0, pieces)) => {
                object.payload = Payload::from_pieces(pieces);
                self.previous = Some(object.object);
                self.taken = 0;
                Ok(Some(SubgroupEvent::Object(object)))
            }
            partial => {
                self.partial = partial;
                Ok(None)
            }
        }
    }

    /// Whether an object's header is read and its payload is still arriving.
    pub fn is_mid_object(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether the stream may end here: not inside its header or an object.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if self.header.is_none() || self.partial.is_some() || self.pieces.len() > 0 {
            return Err(ProtocolError::violation(
                "subgroup stream ends inside an object",
            ));
        }
        Ok(())
    }

    fn poll_header(&mut self) -> Result<Option<SubgroupEvent>, DataFault> {
        // Five integers of nine bytes are more than any header takes.
        let mut head = [0; 5 * varint::MAX_LEN];
        let filled = self.pieces.copy_from(0, &mut head);
        let front = head.get(..filled).unwrap_or_default();
        let Some((header, used)) = SubgroupHeader::decode(front)? else {
            return Ok(None);
        };
        self.pieces.consume(used);
        self.header = Some(header);
        self.subgroup = header.subgroup.known();
        Ok(Some(SubgroupEvent::Header(header)))
    }

    /// Reads an object's framing. Returns whether it was all there.
    fn begin_object(&mut self, header: &SubgroupHeader) -> Result<bool, DataFault> {
        let mut head = [0; 4 * varint::MAX_LEN];
        let filled = self.pieces.copy_from(0, &mut head);
        let mut walk = Walk {
            rest: head.get(..filled).unwrap_or_default(),
        };
        let Some(delta) = walk.varint() else {
            return Ok(false);
        };
        let mut properties = Properties::default();
        let id = self.id_after(delta)?;
        let mut used = filled - walk.rest.len();
        if header.has_properties {
            let Some(length) = walk.varint() else {
                return Ok(false);
            };
            used = filled - walk.rest.len();
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= self.limits.properties_max)
                .ok_or(DataFault::Track("object properties are too long"))?;
            if self.pieces.len() < used + length {
                return Ok(false);
            }
            if length > 0 {
                let block = self.pieces.copy_range(used, length);
                properties =
                    Properties::from_object(block, header.group, id).map_err(DataFault::Track)?;
            }
            used += length;
        }
        let mut tail = [0; 2 * varint::MAX_LEN];
        let filled = self.pieces.copy_from(used, &mut tail);
        let mut walk = Walk {
            rest: tail.get(..filled).unwrap_or_default(),
        };
        let Some(length) = walk.varint() else {
            return Ok(false);
        };
        let mut status = ObjectStatus::Normal;
        if length == 0 {
            let Some(value) = walk.varint() else {
                return Ok(false);
            };
            status = ObjectStatus::from_value(value)?;
            if status != ObjectStatus::Normal && !properties.is_empty() {
                let reason = "properties on an object without payload";
                return Err(ProtocolError::violation(reason).into());
            }
        }
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.limits.payload_max)
            .ok_or(DataFault::Track("object is larger than allowed"))?;
        self.pieces.consume(used + filled - walk.rest.len());
        let subgroup = *self.subgroup.get_or_insert(id);
        let object = Object {
            group: header.group,
            object: id,
            subgroup: Some(subgroup),
            priority: header.priority,
            status,
            properties,
            payload: Payload::default(),
        };
        self.partial = Some((object, length, Vec::new()));
        Ok(true)
    }

    /// The Object ID that a delta means.
    fn id_after(&self, delta: u64) -> Result<u64, ProtocolError> {
        let first = match self.previous {
            Some(previous) => previous.checked_add(1),
            None => Some(0),
        };
        first
            .and_then(|first| first.checked_add(delta))
            .ok_or(ProtocolError::violation("object id beyond 2^64 - 1"))
    }
}
