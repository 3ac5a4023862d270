//! The heap: what happens, ordered by time and then by the order in which it came to be.

use crate::packet::Packet;
use crate::plan::NodeId;
use mainstem_core::time::Instant;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::SocketAddr;

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A packet reaches where it was sent.
    Packet {
        from: SocketAddr,
        to: SocketAddr,
        receiver: NodeId,
        packet: Packet,
    },
    /// A node's deadline has come, unless it has moved.
    Timer { node: NodeId },
    /// A fault of the plan begins.
    FaultStart { index: usize },
    /// A fault of the plan is over.
    FaultStop { index: usize },
    /// A viewer stops reading, or reads again.
    Stall { node: NodeId, is_over: bool },
    /// A node leaves.
    Leave { node: NodeId },
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            next: 0,
        }
    }

    pub(super) fn push(&mut self, at: Instant, event: Event) {
        let number = self.next;
        self.next += 1;
        self.heap.push(Reverse(Entry { at, number, event }));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }
}
