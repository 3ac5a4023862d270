//! Which group a chunk belongs to.

use crate::packager::Chunk;
use crate::time::MediaTime;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// Beginnings of groups that are remembered: sound may be that far behind the picture.
const BOUNDARIES_MAX: usize = 32;

/// Hands out group ids and remembers where groups begin.
#[derive(Debug)]
pub(super) struct Groups {
    next: u64,
    /// Ids and presentation times of the newest groups, in order of ids.
    boundaries: VecDeque<(u64, MediaTime)>,
}

impl Groups {
    pub(super) fn new(first: u64) -> Self {
        Self {
            next: first,
            boundaries: VecDeque::new(),
        }
    }

    /// Begins a group at `time`.
    pub(super) fn begin(&mut self, time: MediaTime) -> u64 {
        let id = self.next;
        self.next = self.next.saturating_add(1);
        if self.boundaries.len() >= BOUNDARIES_MAX {
            self.boundaries.pop_front();
        }
        self.boundaries.push_back((id, time));
        id
    }

    /// The newest group that `chunk` is not before, or the oldest that is remembered; `None` before
    /// the first.
    pub(super) fn at(&self, chunk: &Chunk) -> Option<u64> {
        let is_begun = |(_, time): &&(u64, MediaTime)| {
            compare(*time, chunk.presentation_time) != Ordering::Greater
        };
        let begun = self.boundaries.iter().rev().find(is_begun);
        begun.or(self.boundaries.front()).map(|(id, _)| *id)
    }

    /// Forgets where groups began: what comes next is not beside what was.
    pub(super) fn forget(&mut self) {
        self.boundaries.clear();
    }
}

/// Compares times of different timescales exactly.
fn compare(a: MediaTime, b: MediaTime) -> Ordering {
    let scaled = |time: MediaTime, other: MediaTime| {
        i128::from(time.ticks()) * i128::from(other.timescale().get())
    };
    scaled(a, b).cmp(&scaled(b, a))
}

/// Whether `later` is at least `micros` after `earlier`.
pub(super) fn is_after(later: MediaTime, earlier: MediaTime, micros: i64) -> bool {
    later.as_micros().saturating_sub(earlier.as_micros()) >= micros
}
