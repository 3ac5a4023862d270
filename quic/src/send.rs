//! One stream's bytes that QUIC has not taken yet.
//!
//! Payload pieces are handed to quinn as the `Bytes` they are; nothing is copied. A write that
//! does not fit is kept as a cursor into its payload. Whoever asked to be notified hears once, when
//! the last notified write has been handed over.
//!
//! Limits: the owner counts [`SendQueue::unsent`] over all streams of a session.

use bytes::Bytes;
use mainstem_core::payload::Payload;
use quinn_proto::{SendStream, WriteError};
use std::collections::VecDeque;

/// Pieces handed to quinn in one call, where there are more than [`FEW`].
const BATCH: usize = 16;
/// Pieces of most writes: some framing and a payload.
const FEW: usize = 2;
/// What an item costs beside its bytes, for the account of unsent bytes.
const ITEM_COST: usize = 128;

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All of it was handed over.
    Empty,
    /// Credit or the send window is used up; quinn will say when to go on.
    Blocked,
    /// The stream takes no more: finished, reset or stopped.
    Dead,
}

/// Unsent writes of one stream, in order.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    items: VecDeque<Item>,
    unsent: usize,
    /// Notified writes among `items`.
    notified: usize,
    fin: bool,
    finished: bool,
}

#[derive(Debug)]
struct Item {
    head: Bytes,
    body: Payload,
    /// The first piece of `body` that is not wholly handed over.
    piece: usize,
    /// Bytes of that piece that are.
    skip: usize,
    notify: bool,
}

impl SendQueue {
    /// A stream that begins with these bytes.
    pub(crate) fn beginning_with(header: Bytes) -> Self {
        let mut queue = Self::default();
        if !header.is_empty() {
            queue.push(header, Payload::default(), false, false);
        }
        queue
    }

    /// Adds a write. Ignored after a final one.
    pub(crate) fn push(&mut self, head: Bytes, body: Payload, fin: bool, notify: bool) {
        if self.fin {
            return;
        }
        self.fin = fin;
        self.notified += usize::from(notify);
        let item = Item {
            head,
            body,
            piece: 0,
            skip: 0,
            notify,
        };
        self.unsent = self.unsent.saturating_add(item.cost());
        self.items.push_back(item);
    }

    /// Bytes not handed over yet, with an allowance per write.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether the end of the stream was written.
    pub(crate) fn is_ended(&self) -> bool {
        self.fin
    }

    /// Whether the end of the stream was handed over.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Hands over what quinn takes; true when the last notified write is through.
    pub(crate) fn flush(&mut self, stream: &mut SendStream<'_>) -> (Flushed, bool) {
        let before = self.notified;
        let flushed = self.flush_items(stream);
        if flushed == Flushed::Dead {
            self.items.clear();
            self.unsent = 0;
            self.notified = 0;
            return (Flushed::Dead, false);
        }
        (flushed, before > 0 && self.notified == 0)
    }

    fn flush_items(&mut self, stream: &mut SendStream<'_>) -> Flushed {
        while !self.items.is_empty() {
            let front = self.items.front().map_or(0, Item::pieces_len);
            let taken = if self.items.len() > 1 || front > FEW {
                self.hand_over::<BATCH>(stream)
            } else {
                self.hand_over::<FEW>(stream)
            };
            match taken {
                Ok(taken) => self.advance(taken),
                Err(WriteError::Blocked) => return Flushed::Blocked,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Flushed::Dead,
            }
        }
        if self.fin && !self.finished {
            self.finished = true;
            if stream.finish().is_err() {
                return Flushed::Dead;
            }
        }
        Flushed::Empty
    }

    /// Offers the first pieces; how many bytes of them were taken.
    fn hand_over<const N: usize>(&self, stream: &mut SendStream<'_>) -> Result<usize, WriteError> {
        let mut batch: [Bytes; N] = std::array::from_fn(|_| Bytes::new());
        let filled = self.gather(&mut batch);
        match batch.get_mut(..filled) {
            Some([]) | None => Ok(0),
            Some(pieces) => stream.write_chunks(pieces).map(|written| written.bytes),
        }
    }

    fn gather(&self, batch: &mut [Bytes]) -> usize {
        let pieces = self.items.iter().flat_map(Item::pieces);
        let mut filled = 0;
        for (slot, piece) in batch.iter_mut().zip(pieces) {
            *slot = piece;
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut taken: usize) {
        while let Some(item) = self.items.front_mut() {
            taken = item.advance(taken, &mut self.unsent);
            if !item.is_done() {
                break;
            }
            self.unsent = self.unsent.saturating_sub(ITEM_COST);
            self.notified -= usize::from(item.notify);
            self.items.pop_front();
        }
    }
}

impl Item {
    fn cost(&self) -> usize {
        ITEM_COST
            .saturating_add(self.head.len())
            .saturating_add(self.body.len())
    }

    /// How many pieces are left.
    fn pieces_len(&self) -> usize {
        let of_body = self.body.pieces().len().saturating_sub(self.piece);
        of_body.saturating_add(usize::from(!self.head.is_empty()))
    }

    /// What is left, as pieces.
    fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let head = (!self.head.is_empty()).then(|| self.head.clone());
        let body = self.body.pieces().iter().skip(self.piece).enumerate();
        let skip = self.skip;
        let body = body.filter_map(move |(index, piece)| {
            let from = if index == 0 { skip } else { 0 };
            (from < piece.len()).then(|| piece.slice(from..))
        });
        head.into_iter().chain(body)
    }

    /// Marks up to `taken` bytes as handed over; how many of them belong to later items.
    fn advance(&mut self, mut taken: usize, unsent: &mut usize) -> usize {
        let of_head = taken.min(self.head.len());
        let _ = self.head.split_to(of_head);
        taken -= of_head;
        *unsent = unsent.saturating_sub(of_head);
        if !self.head.is_empty() {
            return taken;
        }
        while let Some(piece) = self.body.pieces().get(self.piece) {
            let left = piece.len().saturating_sub(self.skip);
            if taken < left {
                self.skip += taken;
                *unsent = unsent.saturating_sub(taken);
                return 0;
            }
            taken -= left;
            *unsent = unsent.saturating_sub(left);
            self.piece += 1;
            self.skip = 0;
        }
        taken
    }

    fn is_done(&self) -> bool {
        self.head.is_empty() && self.piece >= self.body.pieces().len()
    }
}
