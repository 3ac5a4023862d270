//! A walk over the fuzzer's bytes that never runs out: past the end there are zeros.
//!
//! So every input means something, and a shorter one means less of it, which is what lets a fuzzer
//! shrink and join inputs. Integers are one or two bytes, because a mutation should be a step.

use bytes::Bytes;

/// The rest of an input.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether all of it was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// Two bytes, the more significant first.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes, the most significant first.
    pub fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    /// An index below `count`, which must not be 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A flag.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// So many bytes, or as many as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A length of two bytes and so many bytes.
    pub fn prefixed(&mut self) -> Bytes {
        let len = usize::from(self.short());
        Bytes::copy_from_slice(self.bytes(len))
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// The same bytes in pieces whose lengths follow from `seed`: of one byte each for 0, of up to 7, 64
/// or 700 bytes for others. Where the cuts fall must change nothing.
pub fn cut(bytes: &Bytes, seed: u16) -> Vec<Bytes> {
    let mut state = u32::from(seed) * 2 + 1;
    let longest = [7, 64, 700][usize::from(seed) % 3];
    let mut rest = bytes.clone();
    if rest.is_empty() {
        // A stream that begins without a byte begins all the same.
        return vec![rest];
    }
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = match seed {
            0 => 1,
            _ => 1 + (state >> 16) as usize % longest,
        };
        pieces.push(rest.split_to(len.min(rest.len())));
    }
    pieces
}
