//! What goes wrong in a world, from when to when, and where.
//!
//! | target | packets that are touched |
//! |---|---|
//! | `all` | every one |
//! | `node` | to and from one node |
//! | `one_way` | from one node to another |
//! | `between` | both ways between two nodes |
//!
//! Faults of a node itself (its clock, its process, its address) name it with `node`.

use super::NodeId;
use serde::{Deserialize, Serialize};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub start_ms: u64,
    /// When it is over; at the end of the safety phase in any case.
    pub stop_ms: u64,
    /// Where.
    pub target: Target,
    /// What.
    pub kind: FaultKind,
}

/// Where something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everywhere.
    All,
    /// To and from one node, or in it.
    Node(NodeId),
    /// From one node to another.
    OneWay {
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
    },
    /// Both ways between two nodes.
    Between {
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
}

impl Target {
    /// Whether a packet from one node to another is touched.
    pub fn touches(self, sender: NodeId, receiver: NodeId) -> bool {
        match self {
            Self::All => true,
            Self::Node(node) => node == sender || node == receiver,
            Self::OneWay { from, to } => (from, to) == (sender, receiver),
            Self::Between { one, other } => {
                (one, other) == (sender, receiver) || (other, one) == (sender, receiver)
            }
        }
    }

    /// The one node, if it is one.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::All | Self::OneWay { .. } | Self::Between { .. } => None,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Packets are lost, each by itself.
    Loss {
        /// How many of a million.
        ppm: u32,
    },
    /// Packets are lost in bursts (Gilbert-Elliott).
    BurstLoss {
        /// A good link becomes bad at a packet, of a million.
        enter_ppm: u32,
        /// A bad link becomes good at a packet, of a million.
        leave_ppm: u32,
        /// Loss on a bad link, of a million.
        loss_ppm: u32,
    },
    /// Packets take longer, all the same.
    Delay {
        /// How much.
        ms: u64,
    },
    /// Packets take longer, each differently, in order.
    Jitter {
        /// At most so much.
        ms: u64,
    },
    /// Some packets are overtaken.
    Reorder {
        /// How many of a million.
        ppm: u32,
        /// They come later by at most so much.
        ms: u64,
    },
    /// Some packets come twice.
    Duplicate {
        /// How many of a million.
        ppm: u32,
    },
    /// Some packets have a wrong bit.
    Corrupt {
        /// How many of a million.
        ppm: u32,
    },
    /// Some packets lack their end.
    Truncate {
        /// How many of a million.
        ppm: u32,
    },
    /// Some packets are marked as having met congestion (ECN), where they can be.
    CongestionMark {
        /// How many of a million.
        ppm: u32,
    },
    /// Some packets lose their ECN mark.
    MarkLoss {
        /// How many of a million.
        ppm: u32,
    },
    /// Packets longer than this are lost without a word.
    MtuDrop {
        /// UDP payload bytes.
        bytes: usize,
    },
    /// The link has a rate, and a queue that drops at its tail: long queues are bufferbloat.
    RateLimit {
        /// Bytes per second.
        bytes_per_second: u64,
        /// Bytes that wait.
        queue_bytes: u64,
    },
    /// A client's address is another one from the start on. It has no stop.
    AddressChange,
    /// Nothing gets through.
    Partition,
    /// A node's wall clock steps by this at the start, and back at the stop.
    ClockStep {
        /// Forward, or back when negative.
        ms: i64,
    },
    /// A node's wall clock runs faster.
    ClockDrift {
        /// By how much, or slower when negative.
        ppm: i64,
    },
    /// A node's process dies at the start without a word, and is there again from the stop on.
    Crash,
    /// A node abandons data streams, in place of a write on them.
    ResetStreams {
        /// How many writes of a million.
        ppm: u32,
    },
    /// A node wants no more of data streams, in place of what arrived on them.
    StopStreams {
        /// How many pieces of a million.
        ppm: u32,
    },
    /// A node does nothing; its packets wait as far as a socket's buffer goes.
    Pause,
    /// A relay goes away in order at the start, and is there again from the stop on.
    Drain {
        /// Where it sends everybody; nowhere else without it.
        #[serde(default)]
        to: Option<NodeId>,
    },
}

impl FaultKind {
    /// Its name, without its values.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss { .. } => "loss",
            Self::BurstLoss { .. } => "burst_loss",
            Self::Delay { .. } => "delay",
            Self::Jitter { .. } => "jitter",
            Self::Reorder { .. } => "reorder",
            Self::Duplicate { .. } => "duplicate",
            Self::Corrupt { .. } => "corrupt",
            Self::Truncate { .. } => "truncate",
            Self::CongestionMark { .. } => "congestion_mark",
            Self::MarkLoss { .. } => "mark_loss",
            Self::MtuDrop { .. } => "mtu_drop",
            Self::RateLimit { .. } => "rate_limit",
            Self::AddressChange => "address_change",
            Self::Partition => "partition",
            Self::ClockStep { .. } => "clock_step",
            Self::ClockDrift { .. } => "clock_drift",
            Self::Crash => "crash",
            Self::ResetStreams { .. } => "reset_streams",
            Self::StopStreams { .. } => "stop_streams",
            Self::Pause => "pause",
            Self::Drain { .. } => "drain",
        }
    }

    /// Whether it is about a node itself and not about its packets.
    pub const fn is_of_node(self) -> bool {
        matches!(
            self,
            Self::AddressChange
                | Self::ClockStep { .. }
                | Self::ClockDrift { .. }
                | Self::Crash
                | Self::ResetStreams { .. }
                | Self::StopStreams { .. }
                | Self::Pause
                | Self::Drain { .. }
        )
    }
}
