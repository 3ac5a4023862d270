//! [`Payload`]: the bytes of one object, shared by every viewer and never copied.
//!
//! A payload arrives from a QUIC stream in packet-sized pieces. It is kept as those pieces: joining
//! them would copy each byte once more, and a relay sends the pieces on as they are, unless so many
//! viewers wait that one copy costs less than the pieces cost on each stream
//! (`moqt::object::Framed`). Cloning costs one reference count, however many pieces there are.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;

/// An immutable run of bytes in one or more pieces; cheap to clone.
#[derive(Clone, Default)]
pub struct Payload {
    pieces: Pieces,
    len: usize,
}

#[derive(Clone)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Default for Pieces {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Payload {
    /// A payload of the given pieces, in order; empty pieces are dropped.
    pub fn from_pieces(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        let len = pieces.iter().map(Bytes::len).sum();
        let pieces = match pieces.len() {
            0 => Pieces::default(),
            1 => Pieces::One(pieces.swap_remove(0)),
            _ => Pieces::Many(pieces.into()),
        };
        Self { pieces, len }
    }

    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order. An empty payload has at most one, empty, piece.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// The same with another first byte: a fault, see [`canary`](crate::canary).
    #[cfg(feature = "relay")]
    pub(crate) fn with_a_wrong_byte(&self) -> Self {
        let mut bytes = BytesMut::from(&self.to_bytes()[..]);
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
        }
        Self::from(bytes.freeze())
    }

    /// All bytes in one run. Copies when there are several pieces: for consumers, not for relays.
    pub fn to_bytes(&self) -> Bytes {
        match &self.pieces {
            Pieces::One(piece) => piece.clone(),
            Pieces::Many(pieces) => {
                let mut out = BytesMut::with_capacity(self.len);
                for piece in pieces.iter() {
                    out.put_slice(piece);
                }
                out.freeze()
            }
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self {
            len: bytes.len(),
            pieces: Pieces::One(bytes),
        }
    }
}

impl PartialEq for Payload {
    /// Equal when the bytes are equal, however they are cut.
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        let (mut ours, mut theirs) = (self.pieces().iter(), other.pieces().iter());
        let (mut one, mut two): (&[u8], &[u8]) = (&[], &[]);
        loop {
            if one.is_empty() {
                one = ours.next().map_or(&[], |piece| piece);
            }
            if two.is_empty() {
                two = theirs.next().map_or(&[], |piece| piece);
            }
            let run = one.len().min(two.len());
            let ((a, one_left), (b, two_left)) = (one.split_at(run), two.split_at(run));
            if a != b {
                return false;
            }
            if run == 0 {
                // No empty piece stands between others.
                return true;
            }
            (one, two) = (one_left, two_left);
        }
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_ignores_where_the_bytes_are_cut() {
        let whole = Payload::from(Bytes::from_static(b"abcdef"));
        let cut = Payload::from_pieces(vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"cdef"),
        ]);
        assert_eq!(whole, cut);
        assert_eq!(cut.pieces().len(), 2);
        assert_eq!(cut.to_bytes(), whole.to_bytes());
        assert!(Payload::from_pieces(Vec::new()).is_empty());
    }
}
