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

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn the_specifications_values_are_read() {
        let cases: [(&[u8], u64); 10] = [
            (&[0x25], 37),
            (&[0x80, 0x25], 37),
            (&[0xbb, 0xbd], 15_293),
            (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
            (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
            (&[0xff; 9], u64::MAX),
            (&[0x7f], 127),
            (&[0xfc, 1, 2, 3, 4, 5, 6], 0x0102_0304_0506),
            (&[0xfe, 1, 2, 3, 4, 5, 6, 7], 0x01_0203_0405_0607),
            (&[0xff, 0, 0, 0, 0, 0, 0, 0, 1], 1),
        ];
        for (bytes, value) in cases {
            assert_eq!(decode(bytes), Some((value, bytes.len())), "{bytes:02x?}");
            let (shorter, _) = bytes.split_at(bytes.len() - 1);
            assert_eq!(decode(shorter), None, "{shorter:02x?}");
        }
    }

    #[test]
    fn each_length_is_used_up_to_its_last_value() {
        let mut smallest = 0;
        for bytes in 1..=MAX_LEN {
            let bits = if bytes == MAX_LEN { 64 } else { 7 * bytes };
            let largest = u64::MAX >> (64 - bits);
            assert_eq!((len(smallest), len(largest)), (bytes, bytes));
            smallest = largest.wrapping_add(1);
        }
    }

    quickcheck! {
        fn what_is_written_is_read(value: u64, shift: u8, after: Vec<u8>) -> bool {
            let value = value >> (shift % 64);
            let mut out = Vec::new();
            encode(value, &mut out);
            let written = out.len();
            out.extend_from_slice(&after);
            written == len(value) && decode(&out) == Some((value, written))
        }

        fn any_bytes_are_a_value_or_wait(bytes: Vec<u8>) -> bool {
            match decode(&bytes) {
                Some((value, used)) => used <= bytes.len() && len(value) <= used,
                None => bytes.first().is_none_or(|b| bytes.len() <= b.leading_ones() as usize),
            }
        }
    }
}
