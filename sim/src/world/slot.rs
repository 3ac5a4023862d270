//! [`Slot`]: a node's place in the world, over all of its lives.
//!
//! | state | entered by | packets | timers |
//! |---|---|---|---|
//! | up | begin, resume | taken | run |
//! | paused | pause, a viewer's stall | wait, as far as a socket's buffer goes | wait |
//! | down | crash | dropped | none |

use super::SOCKET_BYTES_MAX;
use crate::check::Seen;
use crate::links::Counters;
use crate::nodes::{self, BuildError, Meddling, Node, Setting, WallClock, addressed};
use crate::packet::{Outgoing, Packet};
use crate::plan::{NodeId, NodePlan, Role};
use mainstem_core::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// See the module's description.
pub(super) struct Slot {
    pub(super) id: NodeId,
    /// How often it was started before.
    pub(super) life: u16,
    pub(super) clock: WallClock,
    is_relay: bool,
    /// How often its address changed.
    address_changes: u16,
    node: Option<Box<dyn Node>>,
    /// The earliest deadline that stands in the heap.
    armed: Option<Instant>,
    /// How many causes pause it.
    pauses: u32,
    waiting: VecDeque<(SocketAddr, Packet)>,
    waiting_bytes: usize,
    metrics_at: Instant,
    pub(super) meddling: Meddling,
    /// It is to go away, to there and by then, as soon as it does anything again.
    drain: Option<(Option<NodeId>, Instant)>,
    has_left: bool,
}

impl Slot {
    pub(super) fn new(id: NodeId, plan: &NodePlan) -> Self {
        Self {
            id,
            life: 0,
            clock: WallClock::new(plan.clock.ahead_ms, plan.clock.drift_ppm),
            is_relay: matches!(plan.role, Role::Relay(_)),
            address_changes: 0,
            node: None,
            armed: None,
            pauses: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            metrics_at: Instant::ZERO,
            meddling: Meddling::default(),
            drain: None,
            has_left: false,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        addressed(self.id, self.is_relay, self.address_changes)
    }

    /// Begins its first life, or the next one.
    pub(super) fn begin(&mut self, setting: &Rc<Setting>, now: Instant) -> Result<(), BuildError> {
        let node = nodes::build(setting, self.id, self.life, now, self.clock)?;
        self.node = Some(node);
        self.armed = None;
        // Who was told to end was the one before.
        self.drain = None;
        self.meddle();
        if self.has_left {
            self.leave(now);
        }
        Ok(())
    }

    /// Ends its life without a word.
    pub(super) fn crash(&mut self) {
        self.node = None;
        self.drain = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.life = self.life.saturating_add(1);
    }

    pub(super) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    pub(super) fn change_address(&mut self) {
        self.address_changes = self.address_changes.saturating_add(1);
    }

    /// One more cause to pause, or one less.
    pub(super) fn pause(&mut self, is_paused: bool) {
        self.pauses = if is_paused {
            self.pauses.saturating_add(1)
        } else {
            self.pauses.saturating_sub(1)
        };
    }

    /// No cause is left.
    pub(super) fn resume_for_good(&mut self) {
        self.pauses = 0;
    }

    /// Takes what waited, if it may.
    pub(super) fn take_waiting(&mut self, now: Instant) {
        if self.pauses > 0 {
            return;
        }
        self.waiting_bytes = 0;
        if let Some(node) = &mut self.node {
            for (from, packet) in self.waiting.drain(..) {
                node.handle_packet(now, from, packet);
            }
        }
        self.take_drain(now);
    }

    pub(super) fn take_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: Packet,
        counters: &mut Counters,
    ) {
        let Some(node) = &mut self.node else {
            counters.undeliverable += 1;
            return;
        };
        if self.pauses == 0 {
            node.handle_packet(now, from, packet);
        } else if self.waiting_bytes + packet.len() <= SOCKET_BYTES_MAX {
            self.waiting_bytes += packet.len();
            self.waiting.push_back((from, packet));
        } else {
            counters.dropped_by_receiver += 1;
        }
    }

    /// A deadline in the heap has come; false when the node's own is later.
    pub(super) fn take_timer(&mut self, now: Instant) -> bool {
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
        }
        if self.pauses > 0 {
            return false;
        }
        let Some(node) = &mut self.node else {
            return false;
        };
        let is_due = node.next_timeout().is_some_and(|at| at <= now);
        if is_due {
            node.handle_timeout(now);
        }
        is_due
    }

    /// A deadline to put into the heap: the node's own, where none that is as early stands there.
    pub(super) fn arm(&mut self) -> Option<Instant> {
        if self.pauses > 0 {
            return None;
        }
        let at = self.node.as_ref()?.next_timeout()?;
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.armed = Some(at);
        Some(at)
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if self.pauses > 0 {
            return None;
        }
        self.node.as_mut()?.poll_transmit(now)
    }

    pub(super) fn poll_seen(&mut self) -> Option<Seen> {
        self.node.as_mut()?.poll_seen()
    }

    /// How a relay stands, if it was not asked for a while.
    pub(super) fn metrics_if_due(&mut self, now: Instant, every: Duration) -> Option<Seen> {
        if !self.is_relay || now < self.metrics_at {
            return None;
        }
        self.metrics_at = now + every;
        self.node.as_ref()?.metrics()
    }

    /// Its streams end in the middle as often as they are to.
    pub(super) fn meddle(&mut self) {
        if let Some(node) = &mut self.node {
            node.meddle(self.meddling);
        }
    }

    pub(super) fn set_clock(&mut self, now: Instant) {
        if let Some(node) = &mut self.node {
            node.set_clock(now, self.clock);
        }
    }

    /// It goes away in order, and is replaced at `until`.
    pub(super) fn drain(&mut self, now: Instant, to: Option<NodeId>, until: Instant) {
        self.drain = Some((to, until));
        if self.pauses == 0 {
            self.take_drain(now);
        }
    }

    fn take_drain(&mut self, now: Instant) {
        if let Some((to, until)) = self.drain.take()
            && let Some(node) = &mut self.node
        {
            // Its end is to be seen before the process is replaced.
            let timeout = until.saturating_since(now) * 3 / 4;
            node.drain(now, to, timeout);
        }
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.has_left = true;
        if let Some(node) = &mut self.node {
            node.leave(now);
        }
    }

    pub(super) fn residue(&self) -> Option<&'static str> {
        self.node.as_ref()?.residue()
    }
}
