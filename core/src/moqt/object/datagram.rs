//! OBJECT_DATAGRAM: one object in one datagram.
//!
//! `type, track alias, group, [object id], [priority], [properties], [status | payload]`; the type's
//! bits say which fields are there. Source: draft-ietf-moq-transport-18, Section 11.3.1.

use super::{DataFault, Limits, Object, ObjectStatus, PADDING_DATAGRAM};
use crate::moqt::error::ProtocolError;
use crate::moqt::name::TrackAlias;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_prefixed};
use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};

const PROPERTIES: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;

/// What a datagram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramEvent {
    /// Nothing.
    Padding,
    /// An object.
    Object {
        /// Its track.
        track_alias: TrackAlias,
        /// Whether it is the last of its group.
        end_of_group: bool,
        /// The object, without a subgroup.
        object: Object,
    },
}

/// Reads a datagram.
pub fn decode_datagram(data: &Bytes, limits: &Limits) -> Result<DatagramEvent, DataFault> {
    let mut reader = Reader::new(data);
    let code = reader.varint()?;
    if code == PADDING_DATAGRAM {
        return Ok(DatagramEvent::Padding);
    }
    let has = |bit: u64| code & bit != 0;
    let is_known = code & !(STATUS | 0x0f) == 0;
    if !is_known || (has(STATUS) && has(END_OF_GROUP)) {
        return Err(ProtocolError::violation("unknown datagram type").into());
    }
    let track_alias = TrackAlias(reader.varint()?);
    let group = reader.varint()?;
    let object = if has(ZERO_OBJECT_ID) {
        0
    } else {
        reader.varint()?
    };
    let priority = if has(DEFAULT_PRIORITY) {
        None
    } else {
        Some(reader.u8()?)
    };
    let mut properties = Properties::default();
    if has(PROPERTIES) {
        let block = reader.prefixed()?;
        if block.is_empty() {
            return Err(ProtocolError::violation("datagram with empty properties").into());
        }
        if block.len() > limits.properties_max {
            return Err(DataFault::Track("object properties are too long"));
        }
        properties = Properties::from_object(Bytes::copy_from_slice(block), group, object)
            .map_err(DataFault::Track)?;
    }
    let mut status = ObjectStatus::Normal;
    let mut payload = Payload::default();
    if has(STATUS) {
        status = ObjectStatus::from_value(reader.varint()?)?;
        reader.finish()?;
        if status != ObjectStatus::Normal && has(PROPERTIES) {
            return Err(ProtocolError::violation("properties on an object without payload").into());
        }
    } else {
        let rest = reader.take_rest();
        payload = Payload::from(data.slice_ref(rest));
    }
    let object = Object {
        group,
        object,
        subgroup: None,
        priority,
        status,
        properties,
        payload,
    };
    Ok(DatagramEvent::Object {
        track_alias,
        end_of_group: has(END_OF_GROUP),
        object,
    })
}

/// Writes an object as a datagram, its payload included. An empty one says its status, be it Normal
/// (18, Section 11.2.1.1: "Zero-length objects explicitly encode the Normal status").
pub fn encode_datagram(track_alias: TrackAlias, object: &Object, out: &mut BytesMut) {
    let flag = |bit: u64, set: bool| if set { bit } else { 0 };
    let is_normal = object.status == ObjectStatus::Normal;
    let has_status = !is_normal || object.payload.is_empty();
    let has_properties = is_normal && !object.properties.is_empty();
    let code = flag(PROPERTIES, has_properties)
        | flag(ZERO_OBJECT_ID, object.object == 0)
        | flag(DEFAULT_PRIORITY, object.priority.is_none())
        | flag(STATUS, has_status);
    varint::encode(code, out);
    varint::encode(track_alias.0, out);
    varint::encode(object.group, out);
    if object.object != 0 {
        varint::encode(object.object, out);
    }
    if let Some(priority) = object.priority {
        out.put_u8(priority);
    }
    if has_properties {
        put_prefixed(object.properties.raw(), out);
    }
    if has_status {
        varint::encode(object.status.value(), out);
    } else {
        for piece in object.payload.pieces() {
            out.put_slice(piece);
        }
    }
}
