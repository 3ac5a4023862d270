//! Credit for streams: how many of a direction each end may open.
//!
//! A peer may have `open_max` of its streams open at a time; each that is over makes room for another,
//! which the peer is told when it adds up to an eighth. Source: RFC 9000 section 4.6.

use mainstem_core::transport::StreamId;
use std::collections::{BTreeSet, VecDeque};

/// The peer broke a rule of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) &'static str);

/// Credit for one direction of streams.
#[derive(Debug, Default)]
pub(super) struct Credit {
    pub(super) waiting: VecDeque<StreamId>,
    /// Ours: the next names, and how many the peer allows in all.
    pub(super) next_local: u64,
    pub(super) next_wire: u64,
    pub(super) allowed: u64,
    /// The peer's: the next names, those left out so far, and how many we allow.
    pub(super) next_peer: u64,
    pub(super) next_seen: u64,
    pub(super) unseen: BTreeSet<u64>,
    pub(super) granted: u64,
    pub(super) told: u64,
    pub(super) open_max: u64,
    pub(super) open: u64,
}

impl Credit {
    /// Credit for so many streams of the peer at a time.
    pub(super) fn new(granted: u64) -> Self {
        Self {
            granted,
            told: granted,
            open_max: granted,
            open: granted,
            ..Self::default()
        }
    }

    /// Whether a stream of the peer that is not open was never seen.
    pub(super) fn is_new(&mut self, index: u64) -> Result<bool, Violation> {
        if index >= self.granted {
            return Err(Violation("more streams than were granted"));
        }
        if index < self.next_seen {
            return Ok(self.unseen.remove(&index));
        }
        self.unseen.extend(self.next_seen..index);
        self.next_seen = index + 1;
        Ok(true)
    }

    /// Grants what is free: how many in all, when that is worth telling.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let more = self.open_max.saturating_sub(self.open);
        self.granted = self.granted.saturating_add(more);
        self.open = self.open.saturating_add(more);
        let is_news = self.granted.saturating_sub(self.told) > self.open_max / 8;
        is_news.then(|| {
            self.told = self.granted;
            self.granted
        })
    }
}
