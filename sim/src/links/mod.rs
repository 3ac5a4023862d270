//! The network: what becomes of a packet between two nodes.
//!
//! Each direction between two nodes is a link with chance of its own ([`Purpose::Link`]). A packet
//! goes, in this order, through partition, MTU, loss, burst loss, the link's rates and queues, its
//! delay, truncation and corruption, ECN marks, reordering and duplication. Packets of one link stay in order
//! unless reordering says otherwise. Every loss is counted by its cause ([`Counters`]).
//!
//! No time passes here: [`Network::send`] answers with the times of arrival.

mod link;

use crate::packet::Packet;
use crate::plan::{Fault, FaultKind, LinkPlan, NodeId, Plan};
use crate::random::{Purpose, Streams};
use link::Link;
use mainstem_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the network did to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets handed to the network.
    pub sent: u64,
    /// Copies of them under way to their receiver.
    pub forwarded: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Lost, each by itself.
    pub lost: u64,
    /// Lost in a burst.
    pub lost_in_burst: u64,
    /// Dropped at a queue's tail.
    pub dropped_by_queue: u64,
    /// Longer than the path takes.
    pub dropped_by_mtu: u64,
    /// Not let through.
    pub partitioned: u64,
    /// Delayed by a fault.
    pub delayed: u64,
    /// Overtaken.
    pub reordered: u64,
    /// Sent on twice.
    pub duplicated: u64,
    /// With a wrong bit.
    pub corrupted: u64,
    /// Without their end.
    pub truncated: u64,
    /// Marked as having met congestion.
    pub congestion_marked: u64,
    /// Without their ECN mark.
    pub unmarked: u64,
    /// For an address that nobody has, or for a node that is down.
    pub undeliverable: u64,
    /// Dropped because the receiver's buffer was full.
    pub dropped_by_receiver: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Network {
    streams: Streams,
    usual: LinkPlan,
    between: BTreeMap<(NodeId, NodeId), LinkPlan>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// Faults of packets that are on, by their place in the plan.
    active: BTreeMap<usize, Fault>,
    counters: Counters,
}

/// A copy of a packet on its way.
pub type Arrival = (Instant, Packet);

impl Network {
    /// The network of a plan, with nothing wrong yet.
    pub fn new(plan: &Plan) -> Self {
        let mut between = BTreeMap::new();
        for each in &plan.links {
            between.insert((each.from, each.to), each.link);
            between.insert((each.to, each.from), each.link);
        }
        Self {
            streams: Streams::new(plan.seed),
            usual: plan.link,
            between,
            links: BTreeMap::new(),
            active: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// A fault begins.
    pub fn start(&mut self, index: usize, fault: Fault) {
        self.active.insert(index, fault);
    }

    /// A fault is over.
    pub fn stop(&mut self, index: usize) {
        self.active.remove(&index);
    }

    /// All faults are over.
    pub fn heal(&mut self) {
        self.active.clear();
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What happened so far, to be added to.
    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Sends a packet; what arrives of it and when goes to `arrivals`.
    pub fn send(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        packet: Packet,
        arrivals: &mut Vec<Arrival>,
    ) {
        self.counters.sent += 1;
        let plan = self.between.get(&(from, to)).copied();
        let plan = plan.unwrap_or(self.usual);
        let streams = self.streams;
        let link = self.links.entry((from, to)).or_insert_with(|| {
            let purpose = Purpose::Link {
                from: from.0,
                to: to.0,
            };
            Link::new(streams.stream(purpose))
        });
        let counters = &mut self.counters;
        let mut fate = Fate {
            leaves_at: now,
            extra: Duration::ZERO,
            jitter: Duration::ZERO,
            late: None,
            copies: 1,
            packet: Some(packet),
        };
        for (index, fault) in &self.active {
            if fault.target.touches(from, to) && !fate.meets(*index, fault.kind, link, counters) {
                return;
            }
        }
        let (rate, queue) = (plan.bytes_per_second, plan.queue_bytes);
        if rate > 0 && !fate.queues(link::BASE, rate, queue, link, counters) {
            return;
        }
        let Some(packet) = fate.packet else { return };
        let base = Duration::from_micros(plan.delay_us);
        let at = fate.leaves_at + base + fate.extra + fate.jitter;
        let at = match fate.late {
            Some(late) => at + late,
            None => link.in_order(at),
        };
        for _ in 1..fate.copies {
            let again = at + link.random_up_to(base);
            counters.forwarded += 1;
            arrivals.push((again, packet.clone()));
        }
        counters.forwarded += 1;
        counters.bytes += u64::try_from(packet.len()).unwrap_or(u64::MAX);
        arrivals.push((at, packet));
    }
}

/// What is known of a packet's way so far.
struct Fate {
    leaves_at: Instant,
    extra: Duration,
    jitter: Duration,
    /// It is overtaken by packets within this time.
    late: Option<Duration>,
    copies: u32,
    packet: Option<Packet>,
}

impl Fate {
    /// A fault has its way with the packet; false when nothing is left of it.
    fn meets(
        &mut self,
        index: usize,
        kind: FaultKind,
        link: &mut Link,
        counters: &mut Counters,
    ) -> bool {
        if let FaultKind::RateLimit {
            bytes_per_second,
            queue_bytes,
        } = kind
        {
            return self.queues(index, bytes_per_second, queue_bytes, link, counters);
        }
        if self.is_lost(index, kind, link, counters) {
            return false;
        }
        self.is_changed(kind, link, counters);
        self.packet.is_some()
    }

    fn is_lost(
        &self,
        index: usize,
        kind: FaultKind,
        link: &mut Link,
        counters: &mut Counters,
    ) -> bool {
        let (is_lost, count) = match kind {
            FaultKind::Partition => (true, &mut counters.partitioned),
            FaultKind::Loss { ppm } => (link.random().chance(ppm), &mut counters.lost),
            FaultKind::BurstLoss {
                enter_ppm,
                leave_ppm,
                loss_ppm,
            } => {
                let is_lost = link.is_lost_in_burst(index, enter_ppm, leave_ppm, loss_ppm);
                (is_lost, &mut counters.lost_in_burst)
            }
            FaultKind::MtuDrop { bytes } => {
                let largest = self.packet.as_ref().map_or(0, Packet::largest_datagram);
                (largest > bytes, &mut counters.dropped_by_mtu)
            }
            _ => return false,
        };
        *count += u64::from(is_lost);
        is_lost
    }

    fn is_changed(&mut self, kind: FaultKind, link: &mut Link, counters: &mut Counters) {
        match kind {
            FaultKind::Delay { ms } => {
                counters.delayed += 1;
                self.extra += Duration::from_millis(ms);
            }
            FaultKind::Jitter { ms } => {
                counters.delayed += 1;
                self.jitter += link.random_up_to(Duration::from_millis(ms));
            }
            FaultKind::Reorder { ppm, ms } => {
                let late = link.random_up_to(Duration::from_millis(ms));
                if link.random().chance(ppm) {
                    counters.reordered += 1;
                    self.late = Some(self.late.unwrap_or_default() + late);
                }
            }
            FaultKind::Duplicate { ppm } if link.random().chance(ppm) => {
                counters.duplicated += 1;
                self.copies += 1;
            }
            FaultKind::Corrupt { ppm } if link.random().chance(ppm) => {
                counters.corrupted += 1;
                let packet = self.packet.take();
                self.packet = packet.and_then(|packet| packet.corrupted(link.random()));
            }
            FaultKind::Truncate { ppm } if link.random().chance(ppm) => {
                counters.truncated += 1;
                let packet = self.packet.take();
                self.packet = packet.and_then(|packet| packet.truncated(link.random()));
            }
            FaultKind::CongestionMark { ppm } if link.random().chance(ppm) => {
                let is_marked = self.packet.as_mut().is_some_and(Packet::mark_congestion);
                counters.congestion_marked += u64::from(is_marked);
            }
            FaultKind::MarkLoss { ppm } if link.random().chance(ppm) => {
                let is_cleared = self.packet.as_mut().is_some_and(Packet::clear_mark);
                counters.unmarked += u64::from(is_cleared);
            }
            // The others lose packets, or are about a node and not about its packets.
            _ => {}
        }
    }

    fn len(&self) -> usize {
        self.packet.as_ref().map_or(0, Packet::len)
    }

    /// Waits in a queue; false when the queue is full.
    fn queues(
        &mut self,
        index: usize,
        bytes_per_second: u64,
        queue_bytes: u64,
        link: &mut Link,
        counters: &mut Counters,
    ) -> bool {
        let bytes = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let leaves_at = link.queue(index, self.leaves_at, bytes, bytes_per_second, queue_bytes);
        match leaves_at {
            Some(leaves_at) => self.leaves_at = leaves_at,
            None => counters.dropped_by_queue += 1,
        }
        leaves_at.is_some()
    }
}

#[cfg(test)]
mod tests;
