//! One stream's sending direction: what the application wrote, what the transport holds of it.
//!
//! | part | bytes | leaves by |
//! |---|---|---|
//! | `queue` | written, not taken by the transport | credit of the peer and room in the send window |
//! | `buffer` | taken, in no packet yet | a packet |
//! | `lost` | were in a packet that is lost | another packet |
//! | (in flight) | in a packet | acknowledgement |
//!
//! The same account as `mainstem_quic`'s: an allowance per write, and one notice when the last notified
//! write is taken. Limits: the owner counts. Units: bytes.

use super::packet::{Data, Frame, WireId, len64};
use bytes::Bytes;
use mainstem_core::payload::Payload;
use std::collections::{BTreeMap, VecDeque};

/// What a write costs beside its bytes, for the account of unsent bytes.
const ITEM_COST: usize = 128;

#[derive(Debug)]
struct Item {
    pieces: VecDeque<Bytes>,
    notify: bool,
}

/// Why not all was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// All was.
    No,
    /// The connection has no room.
    Connection,
    /// The stream has no credit.
    Stream,
}

/// A sending direction. See the module's description.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Item>,
    unsent: usize,
    notified: usize,
    fin: bool,
    buffer: VecDeque<Bytes>,
    /// Bytes taken, put into a packet, and acknowledged.
    handed: u64,
    packed: u64,
    acknowledged: u64,
    lost: BTreeMap<u64, (Bytes, bool)>,
    credit: u64,
    fin_handed: bool,
    fin_packed: bool,
    fin_acknowledged: bool,
    /// The peer is to know of the stream before there are bytes.
    announce: bool,
}

impl Outgoing {
    pub(super) fn set_credit(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    pub(super) fn announce(&mut self) {
        self.announce = true;
    }

    /// Adds a write. Ignored after a final one.
    pub(super) fn push(&mut self, head: Bytes, body: &Payload, fin: bool, notify: bool) {
        if self.fin {
            return;
        }
        self.fin = fin;
        self.notified += usize::from(notify);
        let bytes = head.len().saturating_add(body.len());
        self.unsent = self.unsent.saturating_add(bytes).saturating_add(ITEM_COST);
        let pieces = std::iter::once(head).chain(body.pieces().iter().cloned());
        let pieces = pieces.filter(|piece| !piece.is_empty()).collect();
        self.queue.push_back(Item { pieces, notify });
    }

    /// Bytes that the transport did not take, with an allowance per write.
    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Bytes that the transport took.
    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    /// Bytes that the transport took and that are not acknowledged.
    pub(super) fn held(&self) -> u64 {
        self.handed.saturating_sub(self.acknowledged)
    }

    /// Hands over up to `room` bytes: how many, whether the last notified write is through, and why
    /// the rest is not.
    pub(super) fn hand_over(&mut self, room: u64) -> (u64, bool, Blocked) {
        let before = self.notified;
        let mut moved = 0;
        let mut blocked = Blocked::No;
        while let Some(item) = self.queue.front_mut() {
            if let Some(piece) = item.pieces.front_mut() {
                let credit = self.credit.saturating_sub(self.handed);
                let left = room.saturating_sub(moved).min(credit);
                if left == 0 {
                    blocked = if credit == 0 {
                        Blocked::Stream
                    } else {
                        Blocked::Connection
                    };
                    break;
                }
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                let taken = piece.split_to(take);
                if piece.is_empty() {
                    item.pieces.pop_front();
                }
                moved += len64(&taken);
                self.handed += len64(&taken);
                self.unsent = self.unsent.saturating_sub(take);
                self.buffer.push_back(taken);
                continue;
            }
            self.unsent = self.unsent.saturating_sub(ITEM_COST);
            self.notified -= usize::from(item.notify);
            self.queue.pop_front();
        }
        if self.queue.is_empty() && self.fin {
            self.fin_handed = true;
        }
        (moved, before > 0 && self.notified == 0, blocked)
    }

    /// Whether a packet could take something of it.
    pub(super) fn is_sendable(&self) -> bool {
        let wants_end = self.fin_handed && !self.fin_packed;
        self.announce || wants_end || !self.buffer.is_empty() || !self.lost.is_empty()
    }

    /// A frame of at most `room` bytes.
    pub(super) fn pack(&mut self, stream: WireId, room: usize) -> Frame {
        self.announce = false;
        if let Some((offset, (mut data, fin))) = self.lost.pop_first() {
            let rest = data.split_off(room.min(data.len()));
            let is_whole = rest.is_empty();
            if !is_whole {
                self.lost
                    .insert(offset.saturating_add(len64(&data)), (rest, fin));
            }
            let fin = fin && is_whole;
            let data = Data(data);
            return Frame::Stream {
                stream,
                offset,
                data,
                fin,
            };
        }
        let mut data = self.buffer.pop_front().unwrap_or_default();
        let rest = data.split_off(room.min(data.len()));
        if !rest.is_empty() {
            self.buffer.push_front(rest);
        }
        let offset = self.packed;
        self.packed += len64(&data);
        let fin = self.fin_handed && self.buffer.is_empty() && !self.fin_packed;
        self.fin_packed |= fin;
        let data = Data(data);
        Frame::Stream {
            stream,
            offset,
            data,
            fin,
        }
    }

    /// A frame arrived at the peer.
    pub(super) fn arrived(&mut self, data: &Bytes, fin: bool) {
        self.acknowledged = self.acknowledged.saturating_add(len64(data));
        self.fin_acknowledged |= fin;
    }

    /// A frame did not.
    pub(super) fn lost(&mut self, offset: u64, data: &Bytes, fin: bool) {
        if data.is_empty() && !fin {
            self.announce = true;
            return;
        }
        self.lost.insert(offset, (data.clone(), fin));
    }

    /// Whether all of it arrived, its end too.
    pub(super) fn is_done(&self) -> bool {
        self.fin_acknowledged && self.acknowledged == self.handed
    }
}
