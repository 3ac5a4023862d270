//! `vi64`, the variable-length integer of MoQT since draft 17.
//!
//! The number of leading one bits of the first byte is the number of bytes that follow it, 0 to 8;
//! the bits after the first zero and the bytes that follow are the value, most significant first.
//! All 64-bit values fit, in 1 to 9 bytes. Longer forms than needed are allowed on receipt; we
//! always write the shortest.
//!
//! Source: draft-ietf-moq-transport-18, Section 1.4.1.

use bytes::BufMut;

/// The longest form, in bytes.
pub const MAX_LEN: usize = 9;

/// Reads one integer from the front of `bytes`: the value and how many bytes it took, or `None`
/// when more bytes are needed.
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let extra = first.leading_ones() as usize;
    let tail = rest.get(..extra)?;
    // With 7 or 8 leading ones the first byte carries no value bits.
    let mask = 0x7f_u8.checked_shr(first.leading_ones()).unwrap_or(0);
    let value = tail.iter().fold(u64::from(first & mask), |value, &byte| {
        value << 8 | u64::from(byte)
    });
    Some((value, extra + 1))
}

/// How many bytes the shortest form of `value` takes, 1 to 9.
pub const fn len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    match bits {
        0..=7 => 1,
        57..=64 => 9,
        _ => bits.div_ceil(7),
    }
}

/// Appends the shortest form of `value`.
pub fn encode(value: u64, out: &mut impl BufMut) {
    let len = len(value);
    let bytes = value.to_be_bytes();
    if len == MAX_LEN {
        out.put_u8(0xff);
        out.put_slice(&bytes);
        return;
    }
    // `len - 1` leading ones, then a zero, then the value's bits.
    let prefix = !(0xff_u8 >> (len - 1));
    let mut bytes = bytes;
    let tail = &mut bytes[8 - len..];
    tail[0] |= prefix;
    out.put_slice(tail);
}
