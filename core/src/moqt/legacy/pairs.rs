//! Extension Headers of draft 16 and the Properties that they are elsewhere.
//!
//! Both are Key-Value-Pairs with delta-coded types, even ones with an integer and odd ones with
//! bytes, and the types mean the same. Only the integers are written otherwise, those inside
//! Immutable Extensions (0x0B) included.
//!
//! | from 16 | to 16 |
//! |---|---|
//! | all pairs are kept | a pair whose type or integer takes more than 62 bits is left out |
//! | DELIVERY_TIMEOUT (0x02) of 0 on a track is a violation | the same is left out |
//!
//! Source: draft-ietf-moq-transport-16, Sections 1.4.2, 2.5, 11.

use super::integer::{self, Walk};
use crate::moqt::error::ProtocolError;
use crate::moqt::property::{MAX_VALUE_LEN, Pairs, Property, PropertyValue};
use crate::moqt::varint;
use bytes::{BufMut, BytesMut};

const DELIVERY_TIMEOUT: u64 = 0x02;
const IMMUTABLE: u64 = 0x0B;

/// One pair as it came, or why there is none.
pub(super) fn next<'a>(
    walk: &mut Walk<'a>,
    previous: &mut u64,
) -> Result<Property<'a>, ProtocolError> {
    const SHORT: ProtocolError = ProtocolError::key_value("key-value pair ends too early");
    let delta = walk.int().ok_or(SHORT)?;
    let key = previous
        .checked_add(delta)
        .ok_or(ProtocolError::violation("key-value type past 2^64 - 1"))?;
    *previous = key;
    if key.is_multiple_of(2) {
        let value = PropertyValue::Integer(walk.int().ok_or(SHORT)?);
        return Ok(Property { key, value });
    }
    let len = walk.int().ok_or(SHORT)?;
    if len > MAX_VALUE_LEN as u64 {
        let reason = "key-value of more than 65535 bytes";
        return Err(ProtocolError::violation(reason));
    }
    let value = PropertyValue::Bytes(walk.bytes(len).ok_or(SHORT)?);
    Ok(Property { key, value })
}

/// The Track Extensions that end a control message, as Track Properties.
pub(super) fn track_from_16(block: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
    let (mut walk, mut previous) = (Walk::new(block), 0);
    while !walk.is_empty() {
        let pair = next(&mut walk, &mut previous)?;
        if pair.key == DELIVERY_TIMEOUT && pair.value == PropertyValue::Integer(0) {
            return Err(ProtocolError::violation("DELIVERY_TIMEOUT of 0"));
        }
    }
    from_16(block, out)
}

/// A block of pairs, as canonical pairs.
pub(super) fn from_16(block: &[u8], out: &mut BytesMut) -> Result<(), ProtocolError> {
    write_canonical(block, out, true)
}

fn write_canonical(block: &[u8], out: &mut BytesMut, deep: bool) -> Result<(), ProtocolError> {
    let (mut walk, mut previous) = (Walk::new(block), 0);
    while !walk.is_empty() {
        let before = previous;
        let pair = next(&mut walk, &mut previous)?;
        varint::encode(pair.key.saturating_sub(before), out);
        match pair.value {
            PropertyValue::Integer(value) => varint::encode(value, out),
            PropertyValue::Bytes(bytes) if pair.key == IMMUTABLE && deep => {
                let mut inside = BytesMut::with_capacity(bytes.len() + 8);
                write_canonical(bytes, &mut inside, false)?;
                varint::encode(inside.len() as u64, out);
                out.put_slice(&inside);
            }
            PropertyValue::Bytes(bytes) => {
                varint::encode(bytes.len() as u64, out);
                out.put_slice(bytes);
            }
        }
    }
    Ok(())
}

/// Track Properties, as Track Extensions.
pub(super) fn track_to_16(block: &[u8], out: &mut BytesMut) {
    write_16(block, out, true, |pair| {
        pair.key == DELIVERY_TIMEOUT && pair.value == PropertyValue::Integer(0)
    });
}

/// Canonical pairs, as pairs of draft 16.
pub(super) fn to_16(block: &[u8], out: &mut BytesMut) {
    write_16(block, out, true, |_| false);
}

fn write_16(block: &[u8], out: &mut BytesMut, deep: bool, leave_out: fn(&Property<'_>) -> bool) {
    let mut previous = 0;
    for pair in Pairs::new(block).flatten() {
        let too_large = pair.value_exceeds(integer::MAX);
        if too_large || pair.key > integer::MAX || leave_out(&pair) {
            continue;
        }
        // All integers below were just seen to fit.
        let _ = integer::encode(pair.key.saturating_sub(previous), out);
        previous = pair.key;
        let _ = match pair.value {
            PropertyValue::Integer(value) => integer::encode(value, out),
            PropertyValue::Bytes(bytes) if pair.key == IMMUTABLE && deep => {
                let mut inside = BytesMut::with_capacity(bytes.len() + 8);
                write_16(bytes, &mut inside, false, leave_out);
                integer::put_prefixed(&inside, out)
            }
            PropertyValue::Bytes(bytes) => integer::put_prefixed(bytes, out),
        };
    }
}

impl Property<'_> {
    fn value_exceeds(&self, max: u64) -> bool {
        matches!(self.value, PropertyValue::Integer(value) if value > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::property::PropertiesBuilder;
    use bytes::Bytes;

    #[test]
    fn pairs_keep_their_meaning_both_ways() {
        let inside = PropertiesBuilder::new().integer(0x200, 70).build();
        let properties = PropertiesBuilder::new()
            .integer(0x3E, 300)
            .bytes(0x0B, inside.raw().clone())
            .bytes(0x4001, Bytes::from_static(b"kept as it is"))
            .integer(0x4_0000, 1 << 40)
            .build();
        let (mut there, mut back) = (BytesMut::new(), BytesMut::new());
        to_16(properties.raw(), &mut there);
        assert_ne!(&there, properties.raw());
        from_16(&there, &mut back).unwrap();
        assert_eq!(&back, properties.raw());
    }

    #[test]
    fn what_16_cannot_say_is_left_out() {
        let properties = PropertiesBuilder::new()
            .integer(0x02, 0)
            .integer(0x04, u64::MAX)
            .integer(0x0E, 7)
            .build();
        let mut out = BytesMut::new();
        track_to_16(properties.raw(), &mut out);
        assert_eq!(out[..], [0x0E, 7]);
    }

    #[test]
    fn a_track_must_not_have_a_delivery_timeout_of_zero() {
        let fault = track_from_16(&[0x02, 0], &mut BytesMut::new()).unwrap_err();
        assert_eq!(fault.code.0, 0x3);
        assert_eq!(track_from_16(&[0x02, 1], &mut BytesMut::new()), Ok(()));
    }

    #[test]
    fn pairs_that_end_too_early_are_a_formatting_error() {
        for block in [&[0x02][..], &[0x01, 5, 1], &[0x40]] {
            let fault = from_16(block, &mut BytesMut::new()).unwrap_err();
            assert_eq!(fault.code.0, 0x6, "{block:?}");
        }
    }
}
