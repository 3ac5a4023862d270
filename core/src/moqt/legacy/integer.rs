//! Integers of draft 16, and a walk over bytes that hold them.
//!
//! The two highest bits of the first byte tell how many bytes the integer takes: 1, 2, 4 or 8. So no
//! value of 2^62 or more can be written. Longer forms than needed are read, the shortest is written.
//!
//! Source: RFC 9000, Section 16; draft-ietf-moq-transport-16, Section 1.4.

use crate::moqt::draft::Draft;
use crate::moqt::error::EncodeError;
use bytes::{BufMut, BytesMut};

/// The longest form, in bytes.
pub(super) const MAX_LEN: usize = 8;
/// The largest value.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Reads one integer from the front of `bytes`: the value and how many bytes it took, or `None`
/// when more bytes are needed.
pub(super) fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    let (head, _) = bytes.split_at_checked(len)?;
    let value = head
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value & (u64::MAX >> (66 - 8 * len)), len))
}

/// Appends the shortest form of `value`, which must not pass [`MAX`].
pub(super) fn encode(value: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
    match value {
        0..0x40 => out.put_uint(value, 1),
        0x40..0x4000 => out.put_uint(value | 0x4000, 2),
        0x4000..0x4000_0000 => out.put_uint(value | 0x8000_0000, 4),
        0x4000_0000..=MAX => out.put_u64(value | 0xC000_0000_0000_0000),
        _ => {
            let (draft, what) = (Draft::D16, "an integer of 2^62 or more");
            return Err(EncodeError::NotExpressible { draft, what });
        }
    }
    Ok(())
}

/// Appends the length of `bytes`, then `bytes`.
pub(super) fn put_prefixed(bytes: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    encode(bytes.len() as u64, out)?;
    out.put_slice(bytes);
    Ok(())
}

/// A walk over bytes. Whether running out of them is a fault or a wait, the caller knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn int(&mut self) -> Option<u64> {
        let (value, used) = decode(self.rest)?;
        self.rest = self.rest.get(used..)?;
        Some(value)
    }

    pub(super) fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// A length and that many bytes.
    pub(super) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = self.int()?;
        self.bytes(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn the_rfcs_values_are_read() {
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(decode(bytes), Some((value, bytes.len())));
            let (shorter, _) = bytes.split_at(bytes.len() - 1);
            assert_eq!(decode(shorter), None);
        }
    }

    #[test]
    fn values_past_62_bits_are_refused() {
        let mut out = BytesMut::new();
        assert!(encode(MAX + 1, &mut out).is_err());
        assert!(out.is_empty());
        assert!(encode(MAX, &mut out).is_ok());
    }

    quickcheck! {
        fn what_is_written_is_read(value: u64, shift: u8, after: Vec<u8>) -> bool {
            let value = value >> (2 + shift % 62);
            let mut out = BytesMut::new();
            let written = encode(value, &mut out).map(|()| out.len());
            out.put_slice(&after);
            written.is_ok_and(|written| decode(&out) == Some((value, written)))
        }
    }
}
