//! [`Agenda`]: what a node's owner wants to do, and when.

use mainstem_core::time::Instant;
use std::collections::BTreeMap;

/// Duties by time; those of the same time in the order in which they were put in.
#[derive(Debug)]
pub(super) struct Agenda<D> {
    duties: BTreeMap<(Instant, u64), D>,
    next: u64,
}

impl<D> Agenda<D> {
    pub(super) fn new() -> Self {
        Self {
            duties: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn put(&mut self, at: Instant, duty: D) {
        self.duties.insert((at, self.next), duty);
        self.next += 1;
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.duties.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next duty whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<D> {
        if self.next_at()? > now {
            return None;
        }
        self.duties.pop_first().map(|(_, duty)| duty)
    }

    pub(super) fn clear(&mut self) {
        self.duties.clear();
    }
}
