//! Which packets arrived, which are lost, and how much may be in flight.
//!
//! | what | rule |
//! |---|---|
//! | acknowledgement | of every second packet at once, out of order at once, otherwise after 25 ms |
//! | loss | three later packets arrived, or no answer for the time-out; frames go out again |
//! | time-out | 1.5 round trips or the measured spread, whichever is longer, and doubled each time in a row |
//! | size of packets | the least after two time-outs in a row; grows back with success |
//! | window | doubles per round trip until the first loss, halves once per round trip that has one |
//!
//! Inputs: numbers of packets sent and received, time. Outputs: lost frames, a deadline. Limits: 64 ranges
//! of received numbers; what is older is taken for a duplicate and comes again under a new number.
//! Source: RFC 9000 section 13.2, RFC 9002 (simplified).

use super::packet::{Ack, Frame, PACKET_BYTES_LEAST};
use mainstem_core::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Ranges of received numbers that are remembered.
const RANGES_MAX: usize = 64;
/// How long an acknowledgement may wait for company.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// Later packets that must arrive until one counts as lost.
const REORDERED_MAX: u64 = 3;
/// Doublings of the time-out.
const BACKOFF_MAX: u32 = 6;
/// Packets that must arrive until they may be larger again.
const ARRIVALS_TO_GROW: u32 = 256;
/// A first window, as a multiple of the packet size, and the least.
const WINDOW_FIRST: usize = 10;
const WINDOW_LEAST: usize = 2;

/// A packet that is not acknowledged yet.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) frames: Arc<[Frame]>,
    at: Instant,
    size: usize,
}

/// Loss recovery of one connection.
#[derive(Debug)]
pub(super) struct Recovery {
    next: u64,
    sent: BTreeMap<u64, Sent>,
    in_flight: usize,
    window: usize,
    threshold: usize,
    /// A loss among packets before this number has been answered already.
    halved_until: u64,
    /// Bytes of a packet now and at most, and arrivals since that changed.
    packet_bytes: usize,
    packet_bytes_max: usize,
    arrivals: u32,
    rtt: Option<(Duration, Duration)>,
    rtt_initial: Duration,
    backoff: u32,
    /// Received numbers: first to last of each range.
    received: BTreeMap<u64, u64>,
    /// Whatever is below is taken for a duplicate.
    floor: u64,
    received_at: Instant,
    unacknowledged: u32,
    ack_at: Option<Instant>,
}

impl Recovery {
    pub(super) fn new(packet_bytes: usize, rtt_initial: Duration) -> Self {
        Self {
            next: 0,
            sent: BTreeMap::new(),
            in_flight: 0,
            window: packet_bytes.saturating_mul(WINDOW_FIRST),
            threshold: usize::MAX,
            halved_until: 0,
            packet_bytes,
            packet_bytes_max: packet_bytes,
            arrivals: 0,
            rtt: None,
            rtt_initial,
            backoff: 0,
            received: BTreeMap::new(),
            floor: 0,
            received_at: Instant::ZERO,
            unacknowledged: 0,
            ack_at: None,
        }
    }

    /// How much a packet may hold.
    pub(super) fn packet_bytes(&self) -> usize {
        self.packet_bytes
    }

    /// Whether the window has room for another packet.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    /// The number of a packet that is about to be sent. One without frames asks for no answer.
    pub(super) fn send(&mut self, now: Instant, frames: &Arc<[Frame]>, size: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        if !frames.is_empty() {
            self.in_flight = self.in_flight.saturating_add(size);
            let frames = Arc::clone(frames);
            let at = now;
            self.sent.insert(number, Sent { frames, at, size });
        }
        number
    }

    /// A packet arrived; false when it had already.
    pub(super) fn receive(&mut self, now: Instant, number: u64, wants_ack: bool) -> bool {
        if number < self.floor {
            return false;
        }
        let before = self.received.range(..=number).next_back();
        let (first, is_next) = match before {
            Some((_, last)) if *last >= number => return false,
            Some((first, last)) if last + 1 == number => (*first, true),
            _ => (number, number == 0),
        };
        let last = match self.received.remove(&(number + 1)) {
            Some(last) => last,
            None => number,
        };
        self.received.insert(first, last);
        if self.received.len() > RANGES_MAX
            && let Some((_, last)) = self.received.pop_first()
        {
            self.floor = last + 1;
        }
        self.received_at = now;
        if wants_ack {
            self.unacknowledged += 1;
            let at = if is_next && self.unacknowledged < 2 {
                now + ACK_DELAY
            } else {
                now
            };
            self.ack_at = Some(self.ack_at.map_or(at, |before| before.min(at)));
        }
        true
    }

    /// Whether a received number is the largest so far.
    pub(super) fn is_largest(&self, number: u64) -> bool {
        self.received
            .last_key_value()
            .is_some_and(|(_, last)| *last == number)
    }

    /// Answers at once instead of after a while.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.unacknowledged > 0 {
            self.ack_at = Some(now);
        }
    }

    /// Whether an acknowledgement has waited long enough.
    pub(super) fn is_ack_due(&self, now: Instant) -> bool {
        self.ack_at.is_some_and(|at| at <= now)
    }

    /// The acknowledgement that goes with the next packet, when there is news.
    pub(super) fn take_ack(&mut self, now: Instant) -> Option<Ack> {
        if self.unacknowledged == 0 {
            return None;
        }
        self.unacknowledged = 0;
        self.ack_at = None;
        Some(Ack {
            ranges: self.received.iter().map(|(a, b)| (*a, *b)).collect(),
            delay: now.saturating_since(self.received_at),
        })
    }

    /// Works off an acknowledgement: the packets that arrived, and those that are lost.
    pub(super) fn acknowledged(&mut self, now: Instant, ack: &Ack) -> (Vec<Sent>, Vec<Sent>) {
        let mut arrived = Vec::new();
        let largest = ack.ranges.last().map_or(0, |(_, last)| *last);
        if let Some(sent) = self.sent.get(&largest) {
            let sample = now.saturating_since(sent.at).saturating_sub(ack.delay);
            self.sample(sample);
        }
        for (first, last) in &ack.ranges {
            while let Some(number) = self.sent.range(first..=last).next().map(|(n, _)| *n) {
                if let Some(sent) = self.sent.remove(&number) {
                    self.in_flight = self.in_flight.saturating_sub(sent.size);
                    self.grow(sent.size);
                    arrived.push(sent);
                }
            }
        }
        if !arrived.is_empty() {
            self.backoff = 0;
        }
        let before = largest.saturating_sub(REORDERED_MAX - 1);
        let numbers: Vec<u64> = self.sent.range(..before).map(|(n, _)| *n).collect();
        let lost = self.lose(&numbers);
        (arrived, lost)
    }

    /// What has waited longer than the time-out; it counts as lost.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Sent> {
        if self.loss_deadline().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let patience = self.patience();
        let overdue = |sent: &Sent| sent.at + patience <= now;
        let numbers: Vec<u64> = self
            .sent
            .iter()
            .filter(|(_, sent)| overdue(sent))
            .map(|(number, _)| *number)
            .collect();
        self.backoff = self.backoff.saturating_add(1).min(BACKOFF_MAX);
        let lost = self.lose(&numbers);
        if self.backoff > 1 {
            // Perhaps a queue on the way is too short for so much at once.
            self.packet_bytes = PACKET_BYTES_LEAST;
            self.arrivals = 0;
            self.window = self.packet_bytes.saturating_mul(WINDOW_LEAST);
        }
        lost
    }

    /// When a time-out or an acknowledgement is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match (self.loss_deadline(), self.ack_at) {
            (Some(loss), Some(ack)) => Some(loss.min(ack)),
            (loss, ack) => loss.or(ack),
        }
    }

    /// Three time-outs: how long what is still under way may take to come.
    pub(super) fn closing_period(&self) -> Duration {
        self.patience().saturating_mul(3)
    }

    /// The path is another one: what was measured no longer holds.
    pub(super) fn forget_path(&mut self) {
        self.rtt = None;
        self.window = self.packet_bytes.saturating_mul(WINDOW_FIRST);
        self.threshold = usize::MAX;
    }

    fn patience(&self) -> Duration {
        let (smooth, spread) = self.rtt.unwrap_or((self.rtt_initial, self.rtt_initial / 4));
        (smooth * 3 / 2).max(smooth + spread * 4) + ACK_DELAY
    }

    fn loss_deadline(&self) -> Option<Instant> {
        let (_, oldest) = self.sent.first_key_value()?;
        Some(oldest.at + self.patience() * (1 << self.backoff))
    }

    fn sample(&mut self, sample: Duration) {
        self.rtt = Some(match self.rtt {
            None => (sample, sample / 2),
            Some((smooth, spread)) => {
                let off = smooth.abs_diff(sample);
                ((smooth * 7 + sample) / 8, (spread * 3 + off) / 4)
            }
        });
    }

    fn grow(&mut self, arrived: usize) {
        if self.in_flight.saturating_add(arrived) < self.window / 2 {
            // Whoever does not use the window learns nothing about it.
            return;
        }
        self.arrivals += 1;
        if self.arrivals >= ARRIVALS_TO_GROW {
            self.arrivals = 0;
            self.packet_bytes = (self.packet_bytes * 2).min(self.packet_bytes_max);
        }
        let growth = if self.window < self.threshold {
            arrived
        } else {
            // One packet per window.
            self.packet_bytes.saturating_mul(arrived) / self.window.max(1)
        };
        self.window = self.window.saturating_add(growth);
    }

    fn lose(&mut self, numbers: &[u64]) -> Vec<Sent> {
        let mut lost = Vec::new();
        for number in numbers {
            if let Some(sent) = self.sent.remove(number) {
                self.in_flight = self.in_flight.saturating_sub(sent.size);
                lost.push(sent);
            }
        }
        if let Some(last) = numbers.last()
            && *last >= self.halved_until
        {
            self.halved_until = self.next;
            let least = self.packet_bytes.saturating_mul(WINDOW_LEAST);
            self.window = (self.window / 2).max(least);
            self.threshold = self.window;
        }
        lost
    }
}
