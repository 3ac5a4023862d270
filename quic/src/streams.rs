//! The application's streams on one connection: names, queues and what waits for credit.
//!
//! The application names its own streams from 0 in each direction; QUIC numbers them otherwise
//! (WebTransport has streams of its own, and a stream reset before it got credit never exists), so
//! both names are kept. A stream is forgotten when neither direction has anything left to happen.
//!
//! | part of a stream | ends with |
//! |---|---|
//! | `send` | all bytes acknowledged, reset by us, or stopped by the peer |
//! | `receiving` | end or reset delivered, or stopped by us |
//!
//! Limits: peers' streams are bounded by QUIC's stream credit; ours that wait for credit, and
//! unsent bytes, by the owner with [`StreamTable::waiting`] and [`StreamTable::unsent`].

use crate::send::{Flushed, SendQueue};
use crate::wire_id::{WireId, dir};
use bytes::Bytes;
use mainstem_core::transport::{ANSWER_PRIORITY, Direction, Origin, StreamId};
use quinn_proto::Connection;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One stream of the application.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its QUIC id; `None` while it waits for the peer's credit.
    pub(crate) wire: Option<WireId>,
    priority: i32,
    pub(crate) send: Option<SendQueue>,
    pub(crate) receiving: bool,
}

/// All streams of one session.
#[derive(Debug, Default)]
pub(crate) struct StreamTable {
    by_id: BTreeMap<StreamId, Stream>,
    by_wire: BTreeMap<WireId, StreamId>,
    waiting: [VecDeque<StreamId>; 2],
    next_local: [u64; 2],
    next_peer: [u64; 2],
    /// Streams that quinn would take bytes for again, most urgent first.
    ready: BTreeSet<(Reverse<i32>, StreamId)>,
    unsent: usize,
}

impl StreamTable {
    /// Registers a stream of ours; false when its name is not the next one.
    pub(crate) fn add_local(&mut self, id: StreamId, priority: i32, header: Bytes) -> bool {
        let slot = slot(id.direction());
        let Some(next) = self.next_local.get_mut(slot) else {
            return false;
        };
        if id.origin() != Origin::Local || id.index() != *next {
            return false;
        }
        *next += 1;
        let queue = SendQueue::beginning_with(header);
        self.unsent = self.unsent.saturating_add(queue.unsent());
        let stream = Stream {
            wire: None,
            priority,
            send: Some(queue),
            receiving: id.direction() == Direction::Bidirectional,
        };
        self.by_id.insert(id, stream);
        if let Some(waiting) = self.waiting.get_mut(slot) {
            waiting.push_back(id);
        }
        true
    }

    /// Registers a stream of the peer. Over raw QUIC its index is QUIC's (`dense` false); over
    /// WebTransport the session counts its own.
    pub(crate) fn add_peer(&mut self, wire: WireId, dense: bool) -> StreamId {
        let direction = wire.direction();
        let mut index = wire.index();
        if dense && let Some(next) = self.next_peer.get_mut(slot(direction)) {
            index = *next;
            *next += 1;
        }
        let id = StreamId::new(Origin::Peer, direction, index);
        let stream = Stream {
            wire: Some(wire),
            priority: ANSWER_PRIORITY,
            send: (direction == Direction::Bidirectional).then(SendQueue::default),
            receiving: true,
        };
        self.by_id.insert(id, stream);
        self.by_wire.insert(wire, id);
        id
    }

    pub(crate) fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn by_wire(&self, wire: WireId) -> Option<StreamId> {
        self.by_wire.get(&wire).copied()
    }

    /// Streams of ours that wait for credit.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Bytes of all streams that quinn has not taken, with an allowance per write.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether the end of a stream was written and not acknowledged.
    pub(crate) fn has_ending(&self) -> bool {
        let sends = self
            .by_id
            .values()
            .filter_map(|stream| stream.send.as_ref());
        sends.into_iter().any(SendQueue::is_ended)
    }

    /// Opens waiting streams while there is credit; their names.
    pub(crate) fn open_waiting(&mut self, quic: &mut Connection) -> Vec<StreamId> {
        let mut opened = Vec::new();
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            let Some(waiting) = self.waiting.get_mut(slot(direction)) else {
                continue;
            };
            while let Some(id) = waiting.front().copied() {
                let Some(stream) = self.by_id.get_mut(&id) else {
                    // Reset while it waited: it never exists.
                    waiting.pop_front();
                    continue;
                };
                let Some(wire) = quic.streams().open(dir(direction)) else {
                    break;
                };
                waiting.pop_front();
                let _ = quic.send_stream(wire).set_priority(stream.priority);
                stream.wire = Some(wire.into());
                self.by_wire.insert(wire.into(), id);
                opened.push(id);
            }
        }
        opened
    }

    /// Adds a write; false when the stream does not send.
    pub(crate) fn push(&mut self, id: StreamId, write: impl FnOnce(&mut SendQueue)) -> bool {
        let Some(queue) = self.by_id.get_mut(&id).and_then(|s| s.send.as_mut()) else {
            return false;
        };
        let before = queue.unsent();
        write(queue);
        self.unsent = self
            .unsent
            .saturating_sub(before)
            .saturating_add(queue.unsent());
        true
    }

    /// Hands over what quinn takes of a stream; true when its last notified write is through.
    pub(crate) fn flush(&mut self, id: StreamId, quic: &mut Connection) -> bool {
        let Some(stream) = self.by_id.get_mut(&id) else {
            return false;
        };
        let (Some(wire), Some(queue)) = (stream.wire, stream.send.as_mut()) else {
            return false;
        };
        let before = queue.unsent();
        let (flushed, notify) = queue.flush(&mut quic.send_stream(wire.to_quinn()));
        self.unsent = self
            .unsent
            .saturating_sub(before)
            .saturating_add(queue.unsent());
        if flushed == Flushed::Dead && !queue.is_finished() {
            // The peer stopped it; quinn's event for that ends it in an orderly way.
            self.ready.remove(&(Reverse(stream.priority), id));
        }
        notify
    }

    /// Changes a stream's priority, where it stands in line included.
    pub(crate) fn set_priority(&mut self, id: StreamId, priority: i32, quic: &mut Connection) {
        let Some(stream) = self.by_id.get_mut(&id).filter(|it| it.send.is_some()) else {
            return;
        };
        let before = std::mem::replace(&mut stream.priority, priority);
        if let Some(wire) = stream.wire {
            // A stream that quinn has closed meanwhile has no place to change.
            let _ = quic.send_stream(wire.to_quinn()).set_priority(priority);
        }
        if self.ready.remove(&(Reverse(before), id)) {
            self.ready.insert((Reverse(priority), id));
        }
    }

    /// quinn would take bytes for this stream again.
    pub(crate) fn mark_ready(&mut self, id: StreamId) {
        if let Some(stream) = self.by_id.get(&id) {
            self.ready.insert((Reverse(stream.priority), id));
        }
    }

    /// The most urgent stream that quinn would take bytes for again.
    pub(crate) fn next_ready(&mut self) -> Option<StreamId> {
        self.ready.pop_first().map(|(_, id)| id)
    }

    /// The sending direction is over: forgets its bytes.
    pub(crate) fn end_send(&mut self, id: StreamId) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            let unsent = stream.send.take().map_or(0, |queue| queue.unsent());
            self.unsent = self.unsent.saturating_sub(unsent);
            self.ready.remove(&(Reverse(stream.priority), id));
            if stream.wire.is_none() {
                stream.receiving = false;
            }
        }
        self.prune(id);
    }

    /// The receiving direction is over.
    pub(crate) fn end_receive(&mut self, id: StreamId) {
        if let Some(stream) = self.by_id.get_mut(&id) {
            stream.receiving = false;
        }
        self.prune(id);
    }

    /// Forgets everything; the QUIC ids that were in use.
    pub(crate) fn clear(&mut self) -> Vec<(WireId, Stream)> {
        let streams = std::mem::take(self).by_id.into_values();
        streams.filter_map(|s| Some((s.wire?, s))).collect()
    }

    fn prune(&mut self, id: StreamId) {
        if let Some(stream) = self.by_id.get(&id)
            && stream.send.is_none()
            && !stream.receiving
        {
            if let Some(wire) = stream.wire {
                self.by_wire.remove(&wire);
            }
            self.by_id.remove(&id);
        }
    }
}

fn slot(direction: Direction) -> usize {
    match direction {
        Direction::Bidirectional => 0,
        Direction::Unidirectional => 1,
    }
}
