//! Bytes of a data stream that have arrived and are not understood yet, in the pieces they came in.
//!
//! Framing is small: it is copied out to be read. Payloads leave as the pieces that they arrived in.
//! The owner bounds how much may wait here. Source: ARCHITECTURE, section 3 (payloads are never
//! copied).

use crate::moqt::varint;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// The unread bytes of one stream.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Pieces {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len = self.len.saturating_add(bytes.len());
            self.pieces.push_back(bytes);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Copies bytes from `skip` on into `out`. Returns how many there were.
    pub(super) fn copy_from(&self, skip: usize, out: &mut [u8]) -> usize {
        let mut skip = skip;
        let mut filled = 0;
        for piece in &self.pieces {
            let Some(rest) = piece.get(skip..) else {
                skip -= piece.len();
                continue;
            };
            skip = 0;
            for (to, from) in out.iter_mut().skip(filled).zip(rest) {
                *to = *from;
                filled += 1;
            }
            if filled == out.len() {
                break;
            }
        }
        filled
    }

    /// A copy of `length` bytes from `skip` on; the caller has seen that they are there.
    pub(super) fn copy_range(&self, skip: usize, length: usize) -> Bytes {
        let mut block = vec![0; length];
        self.copy_from(skip, &mut block);
        block.into()
    }

    /// Drops bytes that have been understood.
    pub(super) fn consume(&mut self, mut count: usize) {
        self.len = self.len.saturating_sub(count);
        while count > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                return;
            };
            if piece.len() > count {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }

    /// Moves up to `missing` bytes to `to`, and counts them off. Returns how many were moved.
    pub(super) fn take(&mut self, missing: &mut usize, to: &mut Vec<Bytes>) -> usize {
        let before = *missing;
        while *missing > 0 {
            let Some(mut piece) = self.pieces.pop_front() else {
                break;
            };
            if piece.len() > *missing {
                let rest = piece.split_off(*missing);
                self.pieces.push_front(rest);
            }
            *missing -= piece.len();
            self.len -= piece.len();
            to.push(piece);
        }
        before - *missing
    }
}

/// A walk over bytes that may not all be there.
pub(super) struct Walk<'a> {
    pub(super) rest: &'a [u8],
}

impl Walk<'_> {
    pub(super) fn varint(&mut self) -> Option<u64> {
        let (value, used) = varint::decode(self.rest)?;
        self.rest = self.rest.get(used..)?;
        Some(value)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}
