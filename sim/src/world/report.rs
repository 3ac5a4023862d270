//! [`Report`]: what a run came to.

use crate::check::{Finding, Seen};
use crate::links::Counters;
use mainstem_core::moqt::relay;

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that nodes sent.
    pub packets: u64,
    /// Objects that origins published.
    pub published: u64,
    /// Payload bytes of those.
    pub published_bytes: u64,
    /// Objects that viewers got by subscription.
    pub delivered: u64,
    /// Objects that viewers got by fetch or fill.
    pub delivered_past: u64,
    /// Payload bytes of both.
    pub delivered_bytes: u64,
    /// Subscriptions that viewers asked for.
    pub asked: u64,
    /// Those that were accepted.
    pub accepted: u64,
    /// Those that were refused.
    pub rejected: u64,
    /// Sessions of viewers, origins and hostile peers that ended.
    pub closed: u64,
    /// GOAWAYs that reached viewers and origins.
    pub goaways: u64,
    /// Sessions that relays denied.
    pub denied: u64,
    /// Nodes that were started again.
    pub restarts: u64,
}

impl Tally {
    pub(super) fn count(&mut self, seen: &Seen) {
        let bytes = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        match seen {
            Seen::Published { bytes: length, .. } => {
                self.published += 1;
                self.published_bytes += bytes(*length);
            }
            Seen::Delivered {
                object, is_past, ..
            } => {
                if *is_past {
                    self.delivered_past += 1;
                } else {
                    self.delivered += 1;
                }
                self.delivered_bytes += bytes(object.payload.len());
            }
            Seen::Asked { .. } => self.asked += 1,
            Seen::Accepted { .. } => self.accepted += 1,
            Seen::Rejected { .. } => self.rejected += 1,
            Seen::Closed { .. } => self.closed += 1,
            Seen::Goaway { .. } => self.goaways += 1,
            Seen::Relay(event) if matches!(**event, relay::Event::Denied { .. }) => {
                self.denied += 1;
            }
            _ => {}
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The plan's seed.
    pub seed: u64,
    /// The hash of all that happened, in its order.
    pub trace_hash: u64,
    /// How much happened.
    pub events: u64,
    /// Virtual time that passed.
    pub virtual_ms: u64,
    /// Virtual time until everybody left: what is left is waiting for lingering to end.
    pub busy_ms: u64,
    /// How long after the faults everybody was where they should be; `None` when the run ended
    /// before.
    pub healed_in_ms: Option<u64>,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// What the network did.
    pub network: Counters,
    /// What nodes did.
    pub tally: Tally,
    /// Lines for people, where they were asked for.
    pub transcript: Vec<String>,
    /// The trace after each event, where it was asked for.
    pub digests: Vec<u64>,
}
