//! [`Link`]: one direction between two nodes, with its memory.

use crate::random::Random;
use mainstem_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The queue of the link itself, among those of faults.
pub(super) const BASE: usize = usize::MAX;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Link {
    random: Random,
    /// The last arrival that later packets do not overtake.
    last: Instant,
    /// When each queue is empty, by the fault that it belongs to.
    busy_until: BTreeMap<usize, Instant>,
    /// Burst losses that are in their bad state, by their fault.
    bad: BTreeSet<usize>,
}

impl Link {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            last: Instant::ZERO,
            busy_until: BTreeMap::new(),
            bad: BTreeSet::new(),
        }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// A time from nothing to `most`.
    pub(super) fn random_up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.between(0, nanos))
    }

    /// No earlier than what was sent before.
    pub(super) fn in_order(&mut self, at: Instant) -> Instant {
        self.last = self.last.max(at);
        self.last
    }

    /// One step of a Gilbert-Elliott channel.
    pub(super) fn is_lost_in_burst(
        &mut self,
        index: usize,
        enter_ppm: u32,
        leave_ppm: u32,
        loss_ppm: u32,
    ) -> bool {
        if self.bad.contains(&index) {
            if self.random.chance(leave_ppm) {
                self.bad.remove(&index);
            }
        } else if self.random.chance(enter_ppm) {
            self.bad.insert(index);
        }
        let is_lost = self.random.chance(loss_ppm);
        self.bad.contains(&index) && is_lost
    }

    /// When a packet leaves a queue of that rate; `None` when the queue has no room for it.
    pub(super) fn queue(
        &mut self,
        index: usize,
        now: Instant,
        bytes: u64,
        bytes_per_second: u64,
        queue_bytes: u64,
    ) -> Option<Instant> {
        let rate = u128::from(bytes_per_second.max(1));
        let busy_until = self.busy_until.entry(index).or_insert(now);
        let waiting = busy_until.saturating_since(now).as_nanos() * rate / NANOS_PER_SECOND;
        if waiting > u128::from(queue_bytes) {
            return None;
        }
        let nanos = u128::from(bytes) * NANOS_PER_SECOND / rate;
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        *busy_until = (*busy_until).max(now) + takes;
        Some(*busy_until)
    }
}
