//! [`Plan`]: everything that a world is, as a value.
//!
//! A run is a pure function of its plan. Plans are JSON; a plan that was saved stays what it is when
//! the generator changes ([`Plan::generate`] draws one from a seed). Unknown fields and values out of bounds
//! are refused with the field's name ([`PlanError`]).
//!
//! Units stand in the names: times in milliseconds from the world's beginning, sizes in bytes, rates
//! in millionths (`ppm`).
//!
//! | phase | lasts | faults |
//! |---|---|---|
//! | safety | `duration_ms` | as planned |
//! | liveness | until every live viewer is at the live edge, at most `heal_ms` | none; crashed nodes are restarted |
//! | closing | until nobody has anything left to do | none |

mod fault;
mod generate;
mod node;
mod validate;

pub use fault::{Fault, FaultKind, Target};
pub use node::{
    Access, Behaviour, CarrierPlan, ClockPlan, HostilePlan, NodeLimits, NodePlan, OriginPlan,
    RelayPlan, Role, Stall, TokenPlan, ViewerPlan,
};
pub use validate::PlanError;

use crate::nodes::catalogs::CATALOG_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The protocol name of a draft.
pub(crate) fn protocol(number: u8) -> Option<String> {
    node::draft_of(number).map(|draft| draft.protocol().to_owned())
}

/// The version of the form below.
pub const VERSION: u32 = 1;

/// A node's number: its place in [`Plan::nodes`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Stands for the world itself, where no node is meant.
    pub const WORLD: Self = Self(u16::MAX);

    /// Its place in a list of nodes.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::WORLD {
            f.write_str("world")
        } else {
            write!(f, "n{}", self.0)
        }
    }
}

/// What kind of world a seed becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A few nodes for a few seconds, with a fault or two: for each change.
    #[default]
    Smoke,
    /// Viewers behind bad access networks.
    LossyLastMile,
    /// Relays that are each other's upstreams, and crash.
    Mesh,
    /// Peers that break the rules.
    Hostile,
    /// Viewers that come, go, move and stall.
    Churn,
    /// No faults, large objects: for measuring.
    Perf,
    /// Any of the others.
    Swarm,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 7] = [
        Self::Smoke,
        Self::LossyLastMile,
        Self::Mesh,
        Self::Hostile,
        Self::Churn,
        Self::Perf,
        Self::Swarm,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::LossyLastMile => "lossy-last-mile",
            Self::Mesh => "mesh",
            Self::Hostile => "hostile",
            Self::Churn => "churn",
            Self::Perf => "perf",
            Self::Swarm => "swarm",
        }
    }

    /// The profile of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == name)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What carries the nodes' sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// Real QUIC and TLS, seeded.
    #[default]
    Quic,
    /// Streams and datagrams without QUIC.
    Model,
}

/// One direction between two nodes when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// Time under way, in microseconds.
    pub delay_us: u64,
    /// Bytes per second; 0 for no bound.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// Bytes that wait for the link; what comes beyond is dropped. Counts with a rate only.
    #[serde(default)]
    pub queue_bytes: u64,
}

impl Default for LinkPlan {
    fn default() -> Self {
        Self {
            delay_us: 5_000,
            bytes_per_second: 0,
            queue_bytes: 0,
        }
    }
}

/// A link that is not like the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBetween {
    /// One end.
    pub from: NodeId,
    /// The other end.
    pub to: NodeId,
    /// Both directions of it.
    pub link: LinkPlan,
}

/// A track that an origin publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackPlan {
    /// Who publishes it.
    pub origin: NodeId,
    /// Its name.
    pub name: String,
    /// Time between two objects.
    pub interval_ms: u64,
    /// Objects of a group.
    pub group_objects: u64,
    /// Subgroups of a group: objects go to them in turn.
    pub subgroups: u64,
    /// Least payload bytes of an object.
    pub object_bytes_min: usize,
    /// Most payload bytes of an object.
    pub object_bytes_max: usize,
    /// Publisher priority.
    pub priority: u8,
    /// Groups after which the track ends; `None` for never.
    #[serde(default)]
    pub groups: Option<u64>,
    /// Whether its objects are catalogs and their updates: their sizes are their own then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_catalog: bool,
}

impl TrackPlan {
    /// Most payload bytes of one of its objects.
    pub fn object_bytes_most(&self) -> usize {
        let of_catalogs = if self.is_catalog {
            CATALOG_BYTES_MAX
        } else {
            0
        };
        self.object_bytes_max.max(of_catalogs)
    }
}

/// A world. See the module's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// What it shows; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// All chance of the run.
    pub seed: u64,
    /// What it was drawn as.
    pub profile: Profile,
    /// What carries sessions.
    pub transport: TransportKind,
    /// How long the safety phase lasts.
    pub duration_ms: u64,
    /// How long the liveness phase may last.
    pub heal_ms: u64,
    /// Every link that is not in `links`.
    pub link: LinkPlan,
    /// Links that are not like the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkBetween>,
    /// Who there is.
    pub nodes: Vec<NodePlan>,
    /// What is published.
    pub tracks: Vec<TrackPlan>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Plan {
    /// Reads and checks a plan.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The plan as it is saved: one field a line.
    pub fn to_json(&self) -> String {
        // A plan is numbers, texts and lists: nothing in it fails to be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A node's plan.
    pub fn node(&self, id: NodeId) -> Option<&NodePlan> {
        self.nodes.get(id.index())
    }

    /// All nodes by number.
    pub fn node_ids(&self) -> impl Iterator<Item = (NodeId, &NodePlan)> {
        (0..).map(NodeId).zip(&self.nodes)
    }
}
