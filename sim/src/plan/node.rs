//! Who there is in a world: origins, relays, viewers, and peers that mean no good.

use super::NodeId;
use mainstem_core::moqt::Draft;
use mainstem_core::transport::Carrier;
use serde::{Deserialize, Serialize};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// What it does.
    pub role: Role,
    /// Bounds that are not the usual ones.
    #[serde(default, skip_serializing_if = "NodeLimits::is_usual")]
    pub limits: NodeLimits,
    /// Its wall clock.
    #[serde(default, skip_serializing_if = "ClockPlan::is_right")]
    pub clock: ClockPlan,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Publishes the tracks that name it.
    Origin(OriginPlan),
    /// Relays.
    Relay(RelayPlan),
    /// Watches.
    Viewer(ViewerPlan),
    /// Breaks the rules.
    Hostile(HostilePlan),
}

/// How sessions are carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierPlan {
    /// A QUIC connection of its own.
    #[default]
    Quic,
    /// WebTransport over HTTP/3.
    WebTransport,
}

impl From<CarrierPlan> for Carrier {
    fn from(carrier: CarrierPlan) -> Self {
        match carrier {
            CarrierPlan::Quic => Self::Quic,
            CarrierPlan::WebTransport => Self::WebTransport,
        }
    }
}

/// The draft of that number.
pub(crate) fn draft_of(number: u8) -> Option<Draft> {
    Draft::ALL
        .into_iter()
        .find(|draft| draft.number() == number)
}

/// An original publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginPlan {
    /// Where it publishes.
    pub relay: NodeId,
    /// How.
    #[serde(default)]
    pub carrier: CarrierPlan,
    /// The draft that it speaks.
    pub draft: u8,
    /// When it begins.
    #[serde(default)]
    pub start_ms: u64,
    /// When it ends its tracks; `None` for never.
    #[serde(default)]
    pub stop_ms: Option<u64>,
    /// Whether its stream key is not the input's.
    #[serde(default)]
    pub has_wrong_key: bool,
}

/// Who may use a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Publishers with a stream key, viewers with a token.
    Tokens,
}

/// A relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayPlan {
    /// The relays that it dials, as a member of their mesh.
    #[serde(default)]
    pub upstreams: Vec<NodeId>,
    /// Who may use it.
    #[serde(default)]
    pub access: Access,
    /// How long the control plane takes to resolve a stream key.
    #[serde(default)]
    pub resolve_ms: u64,
    /// Forgiven difference between clocks.
    #[serde(default)]
    pub skew_ms: u64,
}

/// A time in which a viewer does not read its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// When.
    pub at_ms: u64,
    /// How long.
    pub for_ms: u64,
}

/// What a viewer shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPlan {
    /// Nothing.
    #[default]
    None,
    /// A token for its input that holds longer than the run.
    Good,
    /// A token for its input that ends at this time of the right clock, in whole seconds.
    Until {
        /// Seconds from the beginning.
        seconds: u64,
    },
    /// A token for its input that holds from this time of the right clock on, in whole seconds.
    From {
        /// Seconds from the beginning.
        seconds: u64,
    },
    /// A token for another input.
    WrongInput,
}

/// A viewer. It joins, watches, and comes back when its session is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewerPlan {
    /// Where it watches.
    pub relay: NodeId,
    /// How.
    #[serde(default)]
    pub carrier: CarrierPlan,
    /// The draft that it speaks.
    pub draft: u8,
    /// What it watches: places in the plan's tracks, all of one origin.
    pub tracks: Vec<u16>,
    /// When it joins.
    #[serde(default)]
    pub join_ms: u64,
    /// When it leaves, before the safety phase ends; `None` to stay.
    #[serde(default)]
    pub leave_ms: Option<u64>,
    /// When it does not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalls: Vec<Stall>,
    /// What it shows.
    #[serde(default)]
    pub token: TokenPlan,
    /// Groups before the current one that it asks for when it joins.
    #[serde(default)]
    pub past_groups: Option<u64>,
    /// The object delivery time-out that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_timeout_ms: Option<u64>,
    /// The subgroup delivery time-out that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup_timeout_ms: Option<u64>,
}

/// How a hostile peer breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Random bytes on streams of all kinds.
    Garbage,
    /// Messages before SETUP, and SETUP twice.
    WrongOrder,
    /// Unknown stream and message types.
    UnknownTypes,
    /// Lengths far beyond what follows.
    HugeLengths,
    /// One request id for many requests.
    DuplicateIds,
    /// Subscribes and never reads.
    NeverReads,
    /// Requests as fast as streams allow.
    FloodsRequests,
    /// Resets its streams in the middle of messages.
    ResetsStreams,
}

impl Behaviour {
    /// Every behaviour.
    pub const ALL: [Self; 8] = [
        Self::Garbage,
        Self::WrongOrder,
        Self::UnknownTypes,
        Self::HugeLengths,
        Self::DuplicateIds,
        Self::NeverReads,
        Self::FloodsRequests,
        Self::ResetsStreams,
    ];
}

/// A peer that breaks the rules until the safety phase ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostilePlan {
    /// Whom it visits.
    pub relay: NodeId,
    /// How.
    #[serde(default)]
    pub carrier: CarrierPlan,
    /// The draft that it pretends to speak.
    pub draft: u8,
    /// What it does.
    pub behaviour: Behaviour,
    /// When it begins.
    #[serde(default)]
    pub start_ms: u64,
    /// Time between two misdeeds.
    pub interval_ms: u64,
}

/// Bounds of a node that are not the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeLimits {
    /// Bytes of all retained groups of a relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<usize>,
    /// Bytes of all retained groups of a relay, the newest of each track included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes_hard: Option<usize>,
    /// Groups of each track that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Unacknowledged bytes of one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_window: Option<u64>,
    /// Unread bytes of one stream that a peer may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_receive_window: Option<u32>,
    /// Unread bytes of one connection that a peer may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_window: Option<u32>,
    /// Unidirectional streams that a peer may have open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_uni_streams: Option<u32>,
    /// Bidirectional streams that a peer may have open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_bidi_streams: Option<u32>,
    /// Silence after which a connection is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// Interval of keep-alive packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_ms: Option<u64>,
    /// How long a relay's viewers keep their subscription when the publisher is lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_linger_ms: Option<u64>,
    /// How long a relay's upstream subscription outlives its last viewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_linger_ms: Option<u64>,
    /// Connections at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
}

impl NodeLimits {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A wall clock that is not right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockPlan {
    /// How far it is ahead from the beginning.
    pub ahead_ms: i64,
    /// How much faster it runs.
    pub drift_ppm: i64,
}

impl ClockPlan {
    fn is_right(&self) -> bool {
        *self == Self::default()
    }
}
