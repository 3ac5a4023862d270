//! Faults of a generated plan: each kind by a coin of its own, with rates drawn anew.

use super::super::fault::{Fault, FaultKind, Target};
use super::{Draw, NodeId, Profile, Role};

/// Faults of one kind at most.
const OF_A_KIND_MAX: usize = 2;

/// A kind of fault before its values are drawn.
#[derive(Clone, Copy)]
enum Sort {
    Loss,
    BurstLoss,
    Delay,
    Jitter,
    Reorder,
    Duplicate,
    Corrupt,
    Truncate,
    MtuDrop,
    RateLimit,
    Partition,
    AddressChange,
    ClockStep,
    ClockDrift,
    Crash,
    Pause,
    Drain,
    ResetStreams,
    StopStreams,
}

const SORTS: [Sort; 19] = [
    Sort::Loss,
    Sort::BurstLoss,
    Sort::Delay,
    Sort::Jitter,
    Sort::Reorder,
    Sort::Duplicate,
    Sort::Corrupt,
    Sort::Truncate,
    Sort::MtuDrop,
    Sort::RateLimit,
    Sort::Partition,
    Sort::AddressChange,
    Sort::ClockStep,
    Sort::ClockDrift,
    Sort::Crash,
    Sort::Pause,
    Sort::Drain,
    Sort::ResetStreams,
    Sort::StopStreams,
];

/// The least time between SIGTERM and the end of a process.
const DRAIN_MS_MIN: u64 = 100;

impl Draw {
    pub(super) fn faults(&mut self) {
        if self.profile == Profile::Perf {
            return;
        }
        for sort in SORTS {
            let percent = self.likelihood(sort);
            for _ in 0..OF_A_KIND_MAX {
                if !self.percent(percent) {
                    break;
                }
                if let Some(fault) = self.fault(sort) {
                    self.plan.faults.push(fault);
                }
            }
        }
    }

    fn likelihood(&self, sort: Sort) -> u32 {
        let is_of_path = matches!(
            sort,
            Sort::Loss
                | Sort::BurstLoss
                | Sort::Delay
                | Sort::Jitter
                | Sort::Reorder
                | Sort::RateLimit
                | Sort::MtuDrop
        );
        let is_of_relays = matches!(
            sort,
            Sort::Crash | Sort::Drain | Sort::Partition | Sort::Pause
        );
        match self.profile {
            Profile::LossyLastMile if is_of_path => 35,
            Profile::Mesh if is_of_relays => 35,
            Profile::Churn if matches!(sort, Sort::AddressChange) => 50,
            _ => 12,
        }
    }

    /// Paths that mark packets, or lose their marks.
    pub(super) fn marks(&mut self) {
        for is_loss in [false, true] {
            let is_there = self.percent(8);
            let ppm = self.ppm(5_000, 7);
            let kind = if is_loss {
                FaultKind::MarkLoss { ppm }
            } else {
                FaultKind::CongestionMark { ppm }
            };
            let duration = self.plan.duration_ms;
            let start_ms = self.random.between(0, duration * 4 / 5);
            let stop_ms = self.random.between(start_ms, duration);
            let target = self.target();
            if is_there {
                self.plan.faults.push(Fault {
                    start_ms,
                    stop_ms,
                    target,
                    kind,
                });
            }
        }
    }

    fn fault(&mut self, sort: Sort) -> Option<Fault> {
        let duration = self.plan.duration_ms;
        let start_ms = self.random.between(0, duration * 4 / 5);
        let stop_ms = self.random.between(start_ms, duration);
        let kind = match self.of_path(sort) {
            Some(kind) => kind,
            None => self.of_node(sort)?,
        };
        let target = if kind.is_of_node() {
            Target::Node(self.victim(kind)?)
        } else {
            self.target()
        };
        let kind = match kind {
            FaultKind::Drain { to } => FaultKind::Drain {
                to: to.filter(|to| self.may_take_over(*to, target)),
            },
            kind => kind,
        };
        // A process that ends where it is told to end has not drained: nobody can have heard.
        let stop_ms = match kind {
            FaultKind::Drain { .. } => stop_ms.max(start_ms + DRAIN_MS_MIN),
            _ => stop_ms,
        };
        Some(Fault {
            start_ms,
            stop_ms,
            target,
            kind,
        })
    }

    /// A rate between two, evenly over its orders of magnitude.
    fn ppm(&mut self, least: u32, doublings: u64) -> u32 {
        let doubled = u32::try_from(self.random.below(doublings + 1)).unwrap_or_default();
        least.saturating_mul(1 << doubled.min(20))
    }

    fn of_path(&mut self, sort: Sort) -> Option<FaultKind> {
        Some(match sort {
            Sort::Loss => FaultKind::Loss {
                ppm: self.ppm(1_000, 8),
            },
            Sort::BurstLoss => FaultKind::BurstLoss {
                enter_ppm: self.ppm(1_000, 5),
                leave_ppm: self.ppm(50_000, 3),
                loss_ppm: self.ppm(250_000, 2),
            },
            Sort::Delay => FaultKind::Delay {
                ms: self.random.between(10, 400),
            },
            Sort::Jitter => FaultKind::Jitter {
                ms: self.random.between(1, 200),
            },
            Sort::Reorder => FaultKind::Reorder {
                ppm: self.ppm(5_000, 6),
                ms: self.random.between(1, 100),
            },
            Sort::Duplicate => FaultKind::Duplicate {
                ppm: self.ppm(5_000, 6),
            },
            Sort::Corrupt => FaultKind::Corrupt {
                ppm: self.ppm(1_000, 6),
            },
            Sort::Truncate => FaultKind::Truncate {
                ppm: self.ppm(1_000, 6),
            },
            Sort::MtuDrop => FaultKind::MtuDrop {
                bytes: usize::try_from(self.random.between(1_200, 1_452)).unwrap_or(1_200),
            },
            Sort::RateLimit => {
                let bytes_per_second = 4_000 << self.random.below(6);
                let queue_ms = 20 << self.random.below(7);
                FaultKind::RateLimit {
                    bytes_per_second,
                    queue_bytes: (bytes_per_second * queue_ms / 1_000).max(3_000),
                }
            }
            Sort::Partition => FaultKind::Partition,
            _ => return None,
        })
    }

    fn of_node(&mut self, sort: Sort) -> Option<FaultKind> {
        Some(match sort {
            Sort::AddressChange => FaultKind::AddressChange,
            Sort::ClockStep => FaultKind::ClockStep {
                ms: *self
                    .random
                    .pick(&[-3_600_000, -5_000, -100, 100, 5_000, 3_600_000])?,
            },
            Sort::ClockDrift => FaultKind::ClockDrift {
                ppm: *self.random.pick(&[-500_000, -1_000, 1_000, 500_000])?,
            },
            Sort::Crash => FaultKind::Crash,
            Sort::Pause => FaultKind::Pause,
            Sort::ResetStreams => FaultKind::ResetStreams {
                ppm: self.ppm(5_000, 6),
            },
            Sort::StopStreams => FaultKind::StopStreams {
                ppm: self.ppm(5_000, 6),
            },
            Sort::Drain => {
                let relays = self.relay_ids();
                let is_sent_on = self.percent(70);
                let to = self.random.pick(&relays).copied();
                FaultKind::Drain {
                    to: to.filter(|_| is_sent_on && relays.len() > 1),
                }
            }
            _ => return None,
        })
    }

    /// Whether a relay may be where a drained one sends everybody. Not itself; and not where relays dial
    /// the drained one: they would stay with the other, and it would come back to a mesh without it.
    fn may_take_over(&self, to: NodeId, drained: Target) -> bool {
        let Some(drained) = drained.node() else {
            return false;
        };
        let dials = |role: &Role| match role {
            Role::Relay(relay) => relay.upstreams.contains(&drained),
            _ => false,
        };
        to != drained && !self.plan.nodes.iter().any(|node| dials(&node.role))
    }

    fn relay_ids(&self) -> Vec<NodeId> {
        let relays = self.plan.node_ids();
        let relays = relays.filter(|(_, node)| matches!(node.role, Role::Relay(_)));
        relays.map(|(id, _)| id).collect()
    }

    /// A node that this may happen to.
    fn victim(&mut self, kind: FaultKind) -> Option<NodeId> {
        let may = |role: &Role| match kind {
            FaultKind::AddressChange => !matches!(role, Role::Relay(_)),
            FaultKind::Drain { .. }
            | FaultKind::ClockStep { .. }
            | FaultKind::ClockDrift { .. } => {
                matches!(role, Role::Relay(_))
            }
            _ => !matches!(role, Role::Hostile(_)),
        };
        let nodes = self.plan.node_ids();
        let nodes: Vec<NodeId> = nodes
            .filter(|(_, node)| may(&node.role))
            .map(|(id, _)| id)
            .collect();
        self.random.pick(&nodes).copied()
    }

    fn target(&mut self) -> Target {
        let all: Vec<NodeId> = self.plan.node_ids().map(|(id, _)| id).collect();
        let (Some(one), Some(other)) = (
            self.random.pick(&all).copied(),
            self.random.pick(&all).copied(),
        ) else {
            return Target::All;
        };
        match self.random.below(10) {
            0..3 => Target::All,
            3..7 => Target::Node(one),
            7..9 => Target::OneWay {
                from: one,
                to: other,
            },
            _ => Target::Between { one, other },
        }
    }
}
