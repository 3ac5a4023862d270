//! [`Queue`]: bytes that arrived and wait to be whole boxes.
//!
//! Large pieces are kept as they came and come out again uncopied. Small ones (under
//! [`SHARE_MIN`]) are gathered, or a box that arrives byte by byte would cost a reference-counted
//! piece per byte.

use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Pieces of at least this many bytes are kept without copying.
pub(crate) const SHARE_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Bytes>,
    /// Small pieces gathered at the end.
    tail: BytesMut,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() >= SHARE_MIN {
            self.seal();
            self.pieces.push_back(bytes);
        } else {
            self.tail.put_slice(&bytes);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// Copies up to `out.len()` bytes from the front without taking them; gives their number.
    pub(crate) fn peek(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        let pieces = self.pieces.iter().map(|piece| &piece[..]);
        for piece in pieces.chain(std::iter::once(&self.tail[..])) {
            let Some(room) = out.get_mut(filled..) else {
                break;
            };
            let n = room.len().min(piece.len());
            if let (Some(to), Some(from)) = (room.get_mut(..n), piece.get(..n)) {
                to.copy_from_slice(from);
            }
            filled += n;
        }
        filled
    }

    /// Takes `len` bytes as the pieces that they are in; fewer when there are fewer.
    pub(crate) fn take_payload(&mut self, len: usize) -> Payload {
        let mut left = len.min(self.len);
        self.len -= left;
        let mut taken = Vec::new();
        while left > 0 {
            let Some(mut front) = self.pieces.pop_front() else {
                taken.push(self.tail.split_to(left.min(self.tail.len())).freeze());
                break;
            };
            if front.len() > left {
                taken.push(front.split_to(left));
                self.pieces.push_front(front);
                break;
            }
            left -= front.len();
            taken.push(front);
        }
        Payload::from_pieces(taken)
    }

    /// Takes `len` bytes in one run; copies only when they are in several pieces.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        self.take_payload(len).to_bytes()
    }

    /// Drops `len` bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        drop(self.take_payload(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pieces_are_shared_and_small_ones_gathered() {
        let big = Bytes::from(vec![7u8; 4096]);
        let mut queue = Queue::default();
        queue.push(Bytes::from_static(b"ab"));
        queue.push(Bytes::from_static(b"cd"));
        queue.push(big.clone());
        queue.push(Bytes::from_static(b"ef"));
        let mut head = [0; 5];
        assert_eq!(queue.peek(&mut head), 5);
        assert_eq!(&head, b"abcd\x07");
        assert_eq!(queue.take(3), "abc");
        let payload = queue.take_payload(4097 + 1);
        assert_eq!(payload.pieces().len(), 3);
        assert_eq!(payload.pieces()[1].as_ptr(), big.as_ptr());
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.take(9), "f");
        assert_eq!(queue.len(), 0);
    }
}
