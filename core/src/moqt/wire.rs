//! Reading and writing inside a message whose bytes are all there.
//!
//! [`Reader`] walks a slice that is already bounded by a length, so running out of bytes is the
//! peer's fault and not a wait. Everything it hands out is checked against what is left; nothing is
//! allocated by a length that the peer merely claims. The writing half appends to the caller's
//! buffer and allocates nothing beside it.
//!
//! Source: draft-ietf-moq-transport-18, Sections 1.4, 2.4.1, 10.

use super::error::{EncodeError, ProtocolError};
use super::name::{FullTrackName, Location, MAX_NAMESPACE_FIELDS, NameError};
use super::name::{TrackName, TrackNamespace};
use super::varint;
use bytes::{BufMut, Bytes, BytesMut};

/// Longest reason phrase, in bytes.
const MAX_REASON_LEN: usize = 1024;

/// What a message shorter than its fields is answered with.
pub(super) const SHORT: ProtocolError =
    ProtocolError::violation("length does not match the message's fields");

/// A walk over bytes that are all there.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, all of it.
    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(SHORT)
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        let (&first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(first)
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtocolError> {
        let (value, used) = varint::decode(self.rest).ok_or(SHORT)?;
        self.rest = self.rest.get(used..).ok_or(SHORT)?;
        Ok(value)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A varint length and that many bytes.
    pub(super) fn prefixed(&mut self) -> Result<&'a [u8], ProtocolError> {
        let len = self.varint()?;
        self.bytes(usize::try_from(len).map_err(|_| SHORT)?)
    }

    pub(super) fn location(&mut self) -> Result<Location, ProtocolError> {
        Ok(Location::new(self.varint()?, self.varint()?))
    }

    pub(super) fn namespace(&mut self) -> Result<TrackNamespace, ProtocolError> {
        let count = self.varint()?;
        if count > MAX_NAMESPACE_FIELDS as u64 {
            return Err(NameError::TooManyFields.into());
        }
        let mut fields = Vec::with_capacity(MAX_NAMESPACE_FIELDS);
        for _ in 0..count {
            fields.push(self.prefixed()?);
        }
        Ok(TrackNamespace::copied_from(&fields)?)
    }

    pub(super) fn track_name(&mut self) -> Result<TrackName, ProtocolError> {
        Ok(TrackName(Bytes::copy_from_slice(self.prefixed()?)))
    }

    pub(super) fn full_name(&mut self) -> Result<FullTrackName, ProtocolError> {
        Ok(FullTrackName::new(self.namespace()?, self.track_name()?)?)
    }

    /// A reason phrase. Bytes that are not UTF-8 are replaced: it is for people to read.
    pub(super) fn reason(&mut self) -> Result<String, ProtocolError> {
        let len = self.varint()?;
        if len > MAX_REASON_LEN as u64 {
            return Err(ProtocolError::violation(
                "reason phrase of more than 1024 bytes",
            ));
        }
        let bytes = self.bytes(usize::try_from(len).map_err(|_| SHORT)?)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

pub(super) fn put_prefixed(bytes: &[u8], out: &mut BytesMut) {
    varint::encode(bytes.len() as u64, out);
    out.put_slice(bytes);
}

pub(super) fn put_location(location: Location, out: &mut BytesMut) {
    varint::encode(location.group, out);
    varint::encode(location.object, out);
}

pub(super) fn put_namespace(namespace: &TrackNamespace, out: &mut BytesMut) {
    varint::encode(namespace.fields().len() as u64, out);
    for field in namespace.fields() {
        put_prefixed(field, out);
    }
}

pub(super) fn put_full_name(track: &FullTrackName, out: &mut BytesMut) {
    put_namespace(&track.namespace, out);
    put_prefixed(&track.name.0, out);
}

/// Writes a reason, cut to the wire's limit at a character boundary.
pub(super) fn put_reason(reason: &str, out: &mut BytesMut) {
    let cut = reason.floor_char_boundary(MAX_REASON_LEN);
    put_prefixed(reason.get(..cut).unwrap_or_default().as_bytes(), out);
}

/// Writes what `body` writes, with its length in front as a varint.
pub(super) fn put_with_len(
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    body(out)?;
    let len = out.len().saturating_sub(start);
    let prefix = varint::len(len as u64);
    // The length is known only now: make room for it and move the body behind it.
    out.put_bytes(0, prefix);
    out.copy_within(start..start + len, start + prefix);
    let mut head = &mut out[start..start + prefix];
    varint::encode(len as u64, &mut head);
    Ok(())
}
