//! Variable-length integers and the incremental frame reader of HTTP/3 and of capsules.
//!
//! HTTP/3 frames and capsules have one shape: type, length, payload. [`Frames`] takes bytes cut
//! anywhere and hands out the head and then the payload in pieces, so that whoever listens decides
//! what to keep and what to skip. It holds at most 16 bytes.
//!
//! Sources: RFC 9000 section 16, RFC 9114 section 7.1, RFC 9297 section 3.2.

use bytes::{Buf, BufMut, Bytes};

/// The largest variable-length integer.
pub(crate) const VARINT_MAX: u64 = (1 << 62) - 1;

/// Reads one integer from the front: its value and length, or `None` when it is not whole.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1_usize << (first >> 6);
    let rest = bytes.get(1..length)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| {
        value << 8 | u64::from(*byte)
    });
    Some((value, length))
}

/// Appends an integer in its shortest form; values over 62 bits are cut to the largest one.
pub(crate) fn write_varint(value: u64, out: &mut impl BufMut) {
    let value = value.min(VARINT_MAX);
    // Each branch is guarded by a comparison, so no bits are lost.
    if value < 1 << 6 {
        out.put_uint(value, 1);
    } else if value < 1 << 14 {
        out.put_uint(value | 1 << 14, 2);
    } else if value < 1 << 30 {
        out.put_uint(value | 2 << 30, 4);
    } else {
        out.put_uint(value | 3 << 62, 8);
    }
}

/// Appends a frame or capsule.
pub(crate) fn write_frame(kind: u64, payload: &[u8], out: &mut impl BufMut) {
    write_varint(kind, out);
    write_varint(u64::try_from(payload.len()).unwrap_or(VARINT_MAX), out);
    out.put_slice(payload);
}

/// Collects the bytes of one integer that may arrive in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct VarintReader {
    bytes: [u8; 8],
    len: usize,
}

impl VarintReader {
    /// Takes what it needs from the front of `data`; the integer when it is whole.
    pub(crate) fn read(&mut self, data: &mut Bytes) -> Option<u64> {
        while data.has_remaining() {
            let slot = self.bytes.get_mut(self.len)?;
            *slot = data.get_u8();
            self.len += 1;
            if let Some((value, _)) = read_varint(self.taken()) {
                return Some(value);
            }
        }
        None
    }

    /// The bytes taken so far.
    pub(crate) fn taken(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A piece of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A frame begins.
    Head {
        /// Its type.
        kind: u64,
        /// Bytes of payload that follow.
        len: u64,
    },
    /// Some of its payload; the pieces of an empty frame are one empty piece.
    Body {
        /// The frame's type.
        kind: u64,
        /// The bytes.
        bytes: Bytes,
        /// Whether this is the end of the frame.
        last: bool,
    },
}

/// Cuts a stream into frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Kind(VarintReader),
    Len { kind: u64, len: VarintReader },
    Body { kind: u64, left: u64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Kind(VarintReader::default())
    }
}

impl Frames {
    /// A reader that has already seen the type of its first frame.
    pub(crate) fn after_kind(kind: u64) -> Self {
        Self {
            state: State::Len {
                kind,
                len: VarintReader::default(),
            },
        }
    }

    /// Whether the stream may end here.
    pub(crate) fn is_between_frames(&self) -> bool {
        matches!(&self.state, State::Kind(kind) if kind.taken().is_empty())
    }

    /// The next piece, taken from the front of `data`; `None` when `data` is used up.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Option<Part> {
        loop {
            match &mut self.state {
                State::Kind(reader) => {
                    let kind = reader.read(data)?;
                    *self = Self::after_kind(kind);
                }
                State::Len { kind, len } => {
                    let kind = *kind;
                    let len = len.read(data)?;
                    self.state = State::Body { kind, left: len };
                    return Some(Part::Head { kind, len });
                }
                State::Body { kind, left } => {
                    let kind = *kind;
                    if *left > 0 && data.is_empty() {
                        return None;
                    }
                    let take = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let bytes = data.split_to(take);
                    *left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
                    let last = *left == 0;
                    if last {
                        self.state = State::default();
                    }
                    return Some(Part::Body { kind, bytes, last });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames as (type, payload), whatever the cuts.
    fn frames(pieces: &[&[u8]]) -> (Vec<(u64, Vec<u8>)>, bool) {
        let mut reader = Frames::default();
        let mut out: Vec<(u64, Vec<u8>)> = Vec::new();
        for piece in pieces {
            let mut data = Bytes::copy_from_slice(piece);
            while let Some(part) = reader.next(&mut data) {
                match part {
                    Part::Head { kind, .. } => out.push((kind, Vec::new())),
                    Part::Body { bytes, .. } => out.last_mut().unwrap().1.extend(bytes),
                }
            }
            assert!(data.is_empty());
        }
        let between = reader.is_between_frames();
        (out, between)
    }

    proptest! {
        #[test]
        fn varints_survive_the_wire(value in 0..=VARINT_MAX) {
            let mut out = Vec::new();
            write_varint(value, &mut out);
            prop_assert_eq!(read_varint(&out), Some((value, out.len())));
            for cut in 0..out.len() {
                prop_assert_eq!(read_varint(&out[..cut]), None);
            }
        }

        #[test]
        fn the_same_bytes_cut_anywhere_are_the_same_frames(
            sent in proptest::collection::vec((0_u64..VARINT_MAX, proptest::collection::vec(any::<u8>(), 0..100)), 0..5),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let mut wire = Vec::new();
            for (kind, payload) in &sent {
                write_frame(*kind, payload, &mut wire);
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &wire[w[0]..w[1]]).collect();
            prop_assert_eq!(frames(&pieces), (sent, true));
        }
    }
}
