//! Faults begin and end.
//!
//! Those of packets go to the network. Those of a node change its slot: its process, its address, its wall
//! clock, whether it reads.

use super::queue::Event;
use super::{Seen, World};
use crate::nodes::Meddling;
use crate::plan::{Fault, FaultKind, NodeId, Role};
use mainstem_core::time::Instant;
use std::time::Duration;

impl World {
    /// Puts the faults and stalls of the plan into the heap.
    pub(super) fn plan_faults(&mut self) {
        let plan = &self.setting.plan;
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        for (index, fault) in plan.faults.iter().enumerate() {
            if fault.start_ms >= plan.duration_ms {
                continue;
            }
            self.queue
                .push(at(fault.start_ms), Event::FaultStart { index });
            if fault.stop_ms < plan.duration_ms {
                self.queue
                    .push(at(fault.stop_ms), Event::FaultStop { index });
            }
        }
        for (node, each) in plan.node_ids() {
            let Role::Viewer(viewer) = &each.role else {
                continue;
            };
            for stall in &viewer.stalls {
                let ends = at(stall.at_ms.saturating_add(stall.for_ms));
                for (at, is_over) in [(at(stall.at_ms), false), (ends, true)] {
                    self.queue.push(at, Event::Stall { node, is_over });
                }
            }
        }
    }

    pub(super) fn start_fault(&mut self, index: usize) {
        let Some(fault) = self.setting.plan.faults.get(index).copied() else {
            return;
        };
        self.active.insert(index);
        self.observe(NodeId::WORLD, Seen::FaultBegan { index });
        match fault.target.node() {
            Some(node) if fault.kind.is_of_node() => self.start_in_node(node, fault),
            _ => self.network.start(index, fault),
        }
    }

    pub(super) fn stop_fault(&mut self, index: usize) {
        if !self.active.remove(&index) {
            return;
        }
        let Some(fault) = self.setting.plan.faults.get(index).copied() else {
            return;
        };
        self.observe(NodeId::WORLD, Seen::FaultEnded { index });
        match fault.target.node() {
            Some(node) if fault.kind.is_of_node() => self.stop_in_node(node, fault),
            _ => self.network.stop(index),
        }
    }

    fn start_in_node(&mut self, node: NodeId, fault: Fault) {
        let now = self.now;
        match fault.kind {
            FaultKind::AddressChange => {
                if let Some(slot) = self.slots.get_mut(node.index()) {
                    self.addresses.remove(&slot.address());
                    slot.change_address();
                    self.addresses.insert(slot.address(), node);
                }
            }
            FaultKind::ClockStep { ms } => self.change_clock(node, ms, 0),
            FaultKind::ClockDrift { ppm } => self.change_clock(node, 0, ppm),
            FaultKind::Crash => self.crash(node),
            FaultKind::Pause => self.pause(node, true),
            FaultKind::ResetStreams { ppm } => self.meddle(node, |each| each.resets_ppm = ppm),
            FaultKind::StopStreams { ppm } => self.meddle(node, |each| each.stops_ppm = ppm),
            FaultKind::Drain { to } => {
                let until = Instant::ZERO + Duration::from_millis(fault.stop_ms);
                if let Some(slot) = self.slots.get_mut(node.index()) {
                    slot.drain(now, to, until);
                }
            }
            _ => {}
        }
        self.settle(node);
    }

    fn stop_in_node(&mut self, node: NodeId, fault: Fault) {
        match fault.kind {
            FaultKind::ClockStep { ms } => self.change_clock(node, ms.saturating_neg(), 0),
            FaultKind::ClockDrift { ppm } => self.change_clock(node, 0, ppm.saturating_neg()),
            FaultKind::Crash => self.restart(node),
            FaultKind::Pause => self.pause(node, false),
            FaultKind::ResetStreams { .. } => self.meddle(node, |each| each.resets_ppm = 0),
            FaultKind::StopStreams { .. } => self.meddle(node, |each| each.stops_ppm = 0),
            FaultKind::Drain { .. } => {
                self.crash(node);
                self.restart(node);
            }
            _ => {}
        }
        self.settle(node);
    }

    fn meddle(&mut self, node: NodeId, change: impl FnOnce(&mut Meddling)) {
        if let Some(slot) = self.slots.get_mut(node.index()) {
            change(&mut slot.meddling);
            slot.meddle();
        }
    }

    fn change_clock(&mut self, node: NodeId, step_ms: i64, drift_ppm: i64) {
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(node.index()) {
            slot.clock.change(now, step_ms, drift_ppm);
            slot.set_clock(now);
        }
    }

    fn crash(&mut self, node: NodeId) {
        let is_up = self.slots.get(node.index()).is_some_and(super::Slot::is_up);
        if !is_up {
            return;
        }
        self.observe(node, Seen::Died);
        if let Some(slot) = self.slots.get_mut(node.index()) {
            slot.crash();
        }
    }

    fn restart(&mut self, node: NodeId) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(node.index()) else {
            return;
        };
        if slot.is_up() {
            return;
        }
        match slot.begin(&self.setting, now) {
            Ok(()) => {
                self.tally.restarts += 1;
                self.observe(node, Seen::Started);
            }
            Err(error) => self.find(node, "restart", error.to_string()),
        }
    }

    /// A node stops reading, or has one cause less for it.
    pub(super) fn pause(&mut self, node: NodeId, is_paused: bool) {
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(node.index()) {
            slot.pause(is_paused);
            slot.take_waiting(now);
        }
        self.settle(node);
    }

    /// A node reads from now on.
    pub(super) fn resume_for_good(&mut self, node: NodeId) {
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(node.index()) {
            slot.resume_for_good();
            slot.take_waiting(now);
        }
        self.settle(node);
    }
}
