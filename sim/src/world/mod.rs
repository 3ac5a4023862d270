//! [`World`]: one thread, one heap of events, virtual time.
//!
//! | phase | begins | ends |
//! |---|---|---|
//! | safety | at zero | at `duration_ms` |
//! | liveness | faults are over, crashed nodes are restarted, hostile peers leave | every checker is content, or `heal_ms` later |
//! | closing | viewers and origins leave, relays a moment later | nothing is left to happen, or [`QUIET_WITHIN`] later |
//!
//! Events are ordered by time and then by the order in which they came to be. Time jumps from event to event:
//! there are no ticks. After each event the node that it was for is drained: its packets go to the
//! [`Network`], what it saw goes to the [`Checker`]s, and its next deadline into the heap.
//!
//! Limits: [`FINDINGS_MAX`] findings, [`SOCKET_BYTES_MAX`] for a paused node, and [`EVENTS_AT_ONCE_MAX`]
//! events without time passing, which is a finding as well.

mod caught;
mod compare;
mod faults;
mod queue;
mod report;
mod slot;

pub use caught::{PANIC, run_plan};
pub use compare::{Difference, compare};
pub use report::{Report, Tally};

use crate::check::{self, Checker, Finding, Observation, Seen, micros};
use crate::links::Network;
use crate::nodes::{BuildError, Setting};
use crate::plan::{NodeId, Plan, PlanError, Role};
use crate::trace::{Line, Recording, Trace};
use mainstem_core::time::Instant;
use queue::{Event, Queue};
use slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long everybody may take to be quiet after they left.
pub const QUIET_WITHIN: Duration = Duration::from_mins(2);
/// How much later than viewers and origins relays leave.
const RELAYS_LEAVE_AFTER: Duration = Duration::from_secs(2);
/// Findings after which a run ends.
pub const FINDINGS_MAX: usize = 8;
/// Bytes that wait for a node that does not read: what a socket's buffer holds.
pub const SOCKET_BYTES_MAX: usize = 1 << 20;
/// Events without time passing.
pub const EVENTS_AT_ONCE_MAX: u64 = 500_000;
/// How often relays are asked how they stand, at most.
const METRICS_EVERY: Duration = Duration::from_millis(100);
/// Who finds what no checker looks for.
const NAME: &str = "world";

/// Why a world could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A node of it.
    #[error(transparent)]
    Build(#[from] BuildError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Safety,
    Liveness,
    Closing,
}

/// See the module's description.
pub struct World {
    setting: Rc<Setting>,
    now: Instant,
    phase: Phase,
    queue: Queue,
    slots: Vec<Slot>,
    addresses: BTreeMap<SocketAddr, NodeId>,
    network: Network,
    checkers: Vec<Box<dyn Checker>>,
    findings: Vec<Finding>,
    trace: Trace,
    tally: Tally,
    /// Faults that are on.
    active: BTreeSet<usize>,
    events_at_once: u64,
    healed_at: Option<Instant>,
    closed_at: Option<Instant>,
}

impl World {
    /// The world of a plan.
    pub fn new(plan: &Plan) -> Result<Self, WorldError> {
        Self::with(plan, Recording::Nothing)
    }

    /// The world of a plan, with more of it kept.
    pub fn with(plan: &Plan, recording: Recording) -> Result<Self, WorldError> {
        plan.validate()?;
        Self::build(Setting::new(plan.clone())?, recording)
    }

    /// The world of a plan, with another reading of the platform's clock at its beginning.
    pub fn at(
        plan: &Plan,
        recording: Recording,
        epoch: std::time::Instant,
    ) -> Result<Self, WorldError> {
        plan.validate()?;
        Self::build(Setting::at(plan.clone(), epoch)?, recording)
    }

    fn build(setting: Setting, recording: Recording) -> Result<Self, WorldError> {
        let setting = Rc::new(setting);
        let plan = &setting.plan;
        let slots: Vec<Slot> = plan
            .node_ids()
            .map(|(id, node)| Slot::new(id, node))
            .collect();
        let addresses = slots.iter().map(|slot| (slot.address(), slot.id)).collect();
        let mut world = Self {
            now: Instant::ZERO,
            phase: Phase::Safety,
            queue: Queue::new(),
            slots,
            addresses,
            network: Network::new(plan),
            checkers: check::all(plan),
            findings: Vec::new(),
            trace: Trace::new(recording),
            tally: Tally::default(),
            active: BTreeSet::new(),
            events_at_once: 0,
            healed_at: None,
            closed_at: None,
            setting,
        };
        world.plan_faults();
        for index in 0..world.slots.len() {
            if let Some(slot) = world.slots.get_mut(index) {
                slot.begin(&world.setting, Instant::ZERO)?;
            }
        }
        Ok(world)
    }

    /// Adds a checker of the caller's own.
    pub fn add_checker(&mut self, checker: Box<dyn Checker>) {
        self.checkers.push(checker);
    }

    /// Runs to the end.
    pub fn run(mut self) -> Report {
        for index in 0..self.slots.len() {
            let id = NodeId(u16::try_from(index).unwrap_or(u16::MAX));
            self.observe(id, Seen::Started);
            self.settle(id);
        }
        while self.step() {}
        self.finish()
    }

    /// The next event, or the next phase; false when the run is over.
    fn step(&mut self) -> bool {
        if self.findings.len() >= FINDINGS_MAX {
            return false;
        }
        let plan = &self.setting.plan;
        let ms = |ms| Instant::ZERO + Duration::from_millis(ms);
        let phase_ends = match self.phase {
            Phase::Safety => ms(plan.duration_ms),
            Phase::Liveness => ms(plan.duration_ms.saturating_add(plan.heal_ms)),
            Phase::Closing => self.closed_at.unwrap_or(self.now) + QUIET_WITHIN,
        };
        let is_content =
            self.phase == Phase::Liveness && self.checkers.iter().all(|each| each.is_content());
        if let Some(at) = self.queue.next_at()
            && at <= phase_ends
            && !is_content
        {
            self.pass(at);
            if let Some(event) = self.queue.pop() {
                self.perform(event);
            }
            return true;
        }
        match self.phase {
            Phase::Safety => {
                self.pass(phase_ends);
                self.heal();
                true
            }
            Phase::Liveness => {
                if !is_content {
                    self.pass(phase_ends);
                }
                self.close();
                true
            }
            // Nothing is left to happen, or it takes too long.
            Phase::Closing => false,
        }
    }

    /// Time goes on.
    fn pass(&mut self, at: Instant) {
        if at > self.now {
            self.now = at;
            self.events_at_once = 0;
            return;
        }
        self.events_at_once += 1;
        if self.events_at_once == EVENTS_AT_ONCE_MAX {
            let message =
                format!("expected time to pass, {EVENTS_AT_ONCE_MAX} events came at once");
            self.find(NodeId::WORLD, "livelock", message);
            self.findings.resize_with(FINDINGS_MAX, || Finding {
                checker: NAME,
                class: "livelock",
                at_us: micros(at),
                node: NodeId::WORLD,
                message: "the run was ended".to_owned(),
            });
        }
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Packet {
                from,
                to,
                receiver,
                packet,
            } => {
                self.trace
                    .event(self.now, receiver, Line::Detail(&"packet"), |fold| {
                        fold.number(1);
                        packet.fold_into(fold);
                    });
                if self.addresses.get(&to) != Some(&receiver) {
                    self.network.counters_mut().undeliverable += 1;
                    return;
                }
                let counters = self.network.counters_mut();
                if let Some(slot) = self.slots.get_mut(receiver.index()) {
                    slot.take_packet(self.now, from, packet, counters);
                }
                self.settle(receiver);
            }
            Event::Timer { node } => {
                let now = self.now;
                let is_due = self
                    .slots
                    .get_mut(node.index())
                    .is_some_and(|slot| slot.take_timer(now));
                if is_due {
                    self.trace
                        .event(now, node, Line::Detail(&"timer"), |fold| fold.number(2));
                }
                self.settle(node);
            }
            Event::FaultStart { index } => self.start_fault(index),
            Event::FaultStop { index } => self.stop_fault(index),
            Event::Stall { node, is_over } => {
                if self.phase == Phase::Safety {
                    self.pause(node, !is_over);
                }
            }
            Event::Leave { node } => self.leave(node),
        }
    }

    /// Drains a node: packets to the network, observations to the checkers, its deadline to the
    /// heap.
    fn settle(&mut self, id: NodeId) {
        let now = self.now;
        let mut arrivals = Vec::new();
        loop {
            let Some(slot) = self.slots.get_mut(id.index()) else {
                return;
            };
            let from = slot.address();
            let Some(outgoing) = slot.poll_transmit(now) else {
                break;
            };
            self.tally.packets += 1;
            let Some(receiver) = self.addresses.get(&outgoing.to).copied() else {
                self.network.counters_mut().undeliverable += 1;
                continue;
            };
            let to = outgoing.to;
            self.network
                .send(now, id, receiver, outgoing.packet, &mut arrivals);
            for (at, packet) in arrivals.drain(..) {
                let event = Event::Packet {
                    from,
                    to,
                    receiver,
                    packet,
                };
                self.queue.push(at, event);
            }
        }
        while let Some(seen) = self.slots.get_mut(id.index()).and_then(Slot::poll_seen) {
            self.observe(id, seen);
        }
        if let Some(slot) = self.slots.get_mut(id.index()) {
            let metrics = slot.metrics_if_due(now, METRICS_EVERY);
            if let Some(at) = slot.arm() {
                self.queue.push(at, Event::Timer { node: id });
            }
            if let Some(metrics) = metrics {
                self.observe(id, metrics);
            }
        }
    }

    /// Tells the trace and every checker what was seen.
    fn observe(&mut self, node: NodeId, seen: Seen) {
        self.tally.count(&seen);
        let line = if seen.is_told() {
            Line::Told(&seen)
        } else {
            Line::Detail(&seen)
        };
        self.trace.event(self.now, node, line, |fold| {
            fold.number(3);
            seen.fold_into(fold);
        });
        let observation = Observation {
            at: self.now,
            node,
            life: self.slots.get(node.index()).map_or(0, |slot| slot.life),
            seen,
        };
        for checker in &mut self.checkers {
            if let Err(finding) = checker.observe(&observation)
                && self.findings.len() < FINDINGS_MAX
            {
                self.findings.push(finding);
            }
        }
    }

    fn find(&mut self, node: NodeId, class: &'static str, message: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                checker: NAME,
                class,
                at_us: micros(self.now),
                node,
                message,
            });
        }
    }

    /// The faults are over.
    fn heal(&mut self) {
        self.phase = Phase::Liveness;
        self.healed_at = Some(self.now);
        for index in self.active.clone() {
            self.stop_fault(index);
        }
        self.network.heal();
        let ids: Vec<(NodeId, bool)> = self
            .setting
            .plan
            .node_ids()
            .map(|(id, node)| (id, matches!(node.role, Role::Hostile(_))))
            .collect();
        for (id, is_hostile) in ids {
            self.resume_for_good(id);
            if is_hostile {
                self.leave(id);
            }
        }
        self.observe(NodeId::WORLD, Seen::Healed);
    }

    /// Everybody leaves.
    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.closed_at = Some(self.now);
        self.observe(NodeId::WORLD, Seen::Closing);
        let relays_at = self.now + RELAYS_LEAVE_AFTER;
        let ids: Vec<(NodeId, bool)> = self
            .setting
            .plan
            .node_ids()
            .map(|(id, node)| (id, matches!(node.role, Role::Relay(_))))
            .collect();
        for (id, is_relay) in ids {
            if is_relay {
                self.queue.push(relays_at, Event::Leave { node: id });
            } else {
                self.leave(id);
            }
        }
    }

    fn leave(&mut self, id: NodeId) {
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(id.index()) {
            slot.leave(now);
        }
        self.settle(id);
    }

    fn finish(mut self) -> Report {
        let is_whole = self.findings.len() < FINDINGS_MAX;
        if is_whole {
            for index in 0..self.slots.len() {
                let residue = self.slots.get(index).and_then(Slot::residue);
                if let Some(what) = residue {
                    let node = NodeId(u16::try_from(index).unwrap_or(u16::MAX));
                    self.observe(NodeId::WORLD, Seen::Residue { node, what });
                }
            }
            let now = self.now;
            for checker in &mut self.checkers {
                self.findings.extend(checker.at_end(now));
            }
        }
        let ms = |at: Instant| micros(at) / 1_000;
        let healed_ms = self.healed_at.map_or(0, ms);
        Report {
            seed: self.setting.plan.seed,
            trace_hash: self.trace.hash(),
            events: self.trace.events(),
            virtual_ms: ms(self.now),
            busy_ms: ms(self.closed_at.unwrap_or(self.now)),
            healed_in_ms: self.closed_at.map(|at| ms(at).saturating_sub(healed_ms)),
            findings: self.findings,
            network: self.network.counters(),
            tally: self.tally,
            transcript: self.trace.lines().to_vec(),
            digests: self.trace.digests().to_vec(),
        }
    }
}
