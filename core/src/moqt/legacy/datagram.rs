//! Datagrams: one object each, rewritten between draft 16 and the canonical form.
//!
//! `type, track alias, group, [object id], [priority], [extensions], [status | payload]` in both;
//! only the integers differ. The payload is copied, because it has to be one run with its framing
//! and the length of that changes.
//!
//! Source: draft-ietf-moq-transport-16, Section 10.3.1.

use super::fetch::Untranslated;
use super::integer::{self, Walk};
use super::pairs;
use crate::moqt::error::ProtocolError;
use crate::moqt::varint;
use crate::moqt::wire::Reader;
use bytes::{BufMut, Bytes, BytesMut};

const EXTENSIONS: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;

/// A datagram of a peer. `None` for one that makes its track malformed: it is as good as lost.
pub(super) fn from_16(data: &[u8]) -> Result<Option<Bytes>, ProtocolError> {
    const SHORT: ProtocolError = ProtocolError::violation("datagram ends inside its header");
    let mut walk = Walk::new(data);
    let mut out = BytesMut::with_capacity(data.len() + 16);
    let code = walk.int().ok_or(SHORT)?;
    let has = |bit: u64| code & bit != 0;
    if code & !(STATUS | 0x0f) != 0 || (has(STATUS) && has(END_OF_GROUP)) {
        return Err(ProtocolError::violation("unknown datagram type"));
    }
    varint::encode(code, &mut out);
    varint::encode(walk.int().ok_or(SHORT)?, &mut out);
    varint::encode(walk.int().ok_or(SHORT)?, &mut out);
    if !has(ZERO_OBJECT_ID) {
        varint::encode(walk.int().ok_or(SHORT)?, &mut out);
    }
    if !has(DEFAULT_PRIORITY) {
        out.put_u8(walk.u8().ok_or(SHORT)?);
    }
    if has(EXTENSIONS) {
        let mut block = BytesMut::new();
        if pairs::from_16(walk.prefixed().ok_or(SHORT)?, &mut block).is_err() {
            return Ok(None);
        }
        varint::encode(block.len() as u64, &mut out);
        out.put_slice(&block);
    }
    if has(STATUS) {
        varint::encode(walk.int().ok_or(SHORT)?, &mut out);
    }
    out.put_slice(walk.take_rest());
    Ok(Some(out.freeze()))
}

/// A datagram of this end.
pub(super) fn to_16(data: &[u8]) -> Result<Bytes, Untranslated> {
    let mut reader = Reader::new(data);
    let mut out = BytesMut::with_capacity(data.len() + 16);
    let mut code = reader.varint()?;
    let has = |bit: u64| code & bit != 0;
    let (has_id, has_priority) = (!has(ZERO_OBJECT_ID), !has(DEFAULT_PRIORITY));
    let (has_extensions, has_status) = (has(EXTENSIONS), has(STATUS));
    let (alias, group) = (reader.varint()?, reader.varint()?);
    let id = has_id.then(|| reader.varint()).transpose()?;
    let priority = has_priority.then(|| reader.u8()).transpose()?;
    let mut block = BytesMut::new();
    if has_extensions {
        pairs::to_16(reader.prefixed()?, &mut block);
    }
    // An empty field is not allowed: what is left out may leave nothing.
    if block.is_empty() {
        code &= !EXTENSIONS;
    }
    for field in [Some(code), Some(alias), Some(group), id] {
        field.map_or(Ok(()), |field| integer::encode(field, &mut out))?;
    }
    if let Some(priority) = priority {
        out.put_u8(priority);
    }
    if !block.is_empty() {
        integer::put_prefixed(&block, &mut out)?;
    }
    if has_status {
        integer::encode(reader.varint()?, &mut out)?;
    }
    out.put_slice(reader.take_rest());
    Ok(out.freeze())
}
