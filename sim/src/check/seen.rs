//! What the world tells checkers.

use crate::plan::NodeId;
use crate::trace::Fold;
use mainstem_core::moqt::error::RequestCode;
use mainstem_core::moqt::message::RequestError;
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::relay;
use mainstem_core::moqt::session::StreamEnd;
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::UnixTime;
use mainstem_core::transport::{Closed, SessionId};
use mainstem_quic::{Counters, Figures};

/// Where an object is: the track by its place in the plan, group and object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the plan's tracks.
    pub track: u16,
    /// Group.
    pub group: u64,
    /// Object.
    pub object: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t{} {}/{}", self.track, self.group, self.object)
    }
}

/// What a viewer's request is to come to, as the plan has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It is permitted.
    Permitted,
    /// It is permitted from one time of the right clock to another, by the relay's clock.
    PermittedWhile {
        /// From this time on.
        from: UnixTime,
        /// Until this time.
        until: UnixTime,
    },
    /// It is not.
    Refused,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The faults are over.
    Healed,
    /// Everybody is told to leave.
    Closing,
    /// A node began a life.
    Started,
    /// A node's process died, or was told to.
    Died,
    /// A fault began.
    FaultBegan {
        /// Its place in the plan.
        index: usize,
    },
    /// A fault is over.
    FaultEnded {
        /// Its place in the plan.
        index: usize,
    },
    /// An origin published an object.
    Published {
        /// Which.
        place: Place,
        /// Its subgroup.
        subgroup: u64,
        /// Whether its group is over with it.
        ends_group: bool,
        /// Payload bytes.
        bytes: usize,
    },
    /// An origin ended a track; this is the last group.
    TrackEnded {
        /// Which of the plan's tracks.
        track: u16,
        /// One past the last group.
        groups: u64,
    },
    /// A session is ready for requests.
    Ready {
        /// The session.
        session: SessionId,
    },
    /// A viewer asked for a track.
    Asked {
        /// The request.
        key: Key,
        /// Which of the plan's tracks.
        track: u16,
        /// What the plan says about it.
        expected: Expectation,
    },
    /// A viewer asked for the past of a track.
    AskedPast {
        /// The request that the objects come under.
        key: Key,
        /// Which of the plan's tracks.
        track: u16,
    },
    /// A request was accepted.
    Accepted {
        /// The request.
        key: Key,
        /// The largest location then.
        largest: Option<Location>,
    },
    /// A request was refused.
    Rejected {
        /// The request.
        key: Key,
        /// Why.
        code: RequestCode,
        /// In words.
        reason: String,
    },
    /// A viewer gave a request up.
    GaveUp {
        /// The request.
        key: Key,
    },
    /// A viewer got an object.
    Delivered {
        /// The request.
        key: Key,
        /// Where it is; its track by the request.
        place: Place,
        /// The object.
        object: Box<Object>,
        /// Whether it came by fetch or fill.
        is_past: bool,
    },
    /// A subgroup's stream ended at a viewer.
    SubgroupEnded {
        /// The request.
        key: Key,
        /// The group.
        group: u64,
        /// How.
        end: StreamEnd,
    },
    /// A viewer heard that its subscription is to be filled.
    FillAccepted {
        /// The request.
        key: Key,
    },
    /// The stream of a fetch or fill ended at a viewer.
    PastEnded {
        /// The request.
        key: Key,
        /// How.
        end: StreamEnd,
    },
    /// A subscription ended at a viewer.
    Ended {
        /// The request.
        key: Key,
        /// Which of the plan's tracks.
        track: u16,
        /// Why, in words.
        reason: String,
    },
    /// A relay told a viewer or an origin to go.
    Goaway {
        /// The session.
        session: SessionId,
        /// Where to.
        uri: String,
    },
    /// A session is over.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        closed: Closed,
    },
    /// A relay refused an origin's namespace.
    NamespaceRefused {
        /// The session.
        session: SessionId,
        /// Why.
        error: RequestError,
    },
    /// A relay's own log.
    Relay(Box<relay::Event>),
    /// A relay was told the wall clock.
    Clock {
        /// Its clock's time.
        unix: UnixTime,
    },
    /// What an origin serves of a track.
    Serving {
        /// Which of the plan's tracks.
        track: u16,
        /// Subscriptions to it.
        subscriptions: usize,
        /// Sessions that it has.
        sessions: usize,
    },
    /// How a relay stands.
    Metrics {
        /// The machine.
        relay: Box<relay::Metrics>,
        /// The host's buffers; nothing over the model transport.
        host: Option<Box<Figures>>,
        /// The host's counters; nothing over the model transport.
        counters: Option<Box<Counters>>,
    },
    /// A node that was told to leave still wants something, long after.
    Residue {
        /// Which.
        node: NodeId,
        /// What is left.
        what: &'static str,
    },
}

impl Seen {
    /// Whether a transcript for people has it.
    pub fn is_told(&self) -> bool {
        !matches!(
            self,
            Self::Metrics { .. } | Self::Clock { .. } | Self::Serving { .. }
        )
    }
}

impl Seen {
    /// Puts what it is about into a hash. All of it came from packets and timers, which are hashed
    /// as a whole.
    pub(crate) fn fold_into(&self, fold: &mut Fold) {
        match self {
            Self::Published { place, .. } | Self::Delivered { place, .. } => {
                fold.number(u64::from(place.track));
                fold.number(place.group);
                fold.number(place.object);
            }
            Self::FaultBegan { index } | Self::FaultEnded { index } => {
                fold.number(u64::try_from(*index).unwrap_or(u64::MAX));
            }
            Self::Ready { session }
            | Self::Goaway { session, .. }
            | Self::NamespaceRefused { session, .. }
            | Self::Closed { session, .. } => fold.number(session.0),
            Self::Asked { key, .. }
            | Self::Accepted { key, .. }
            | Self::Rejected { key, .. }
            | Self::Ended { key, .. }
            | Self::SubgroupEnded { key, .. } => {
                fold.number(key.0.0);
                fold.number(key.1.0);
            }
            Self::Metrics { relay, .. } => {
                fold.number(relay.objects_sent);
                fold.number(relay.objects_received);
            }
            _ => fold.number(0),
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |key: &Key| format!("s{} r{}", key.0.0, key.1.0);
        match self {
            Self::Published {
                place,
                subgroup,
                bytes,
                ..
            } => write!(f, "published {place} subgroup {subgroup}, {bytes} bytes"),
            Self::TrackEnded { track, groups } => write!(f, "ended t{track} at group {groups}"),
            Self::Ready { session } => write!(f, "s{} ready", session.0),
            Self::Asked { key, track, .. } => write!(f, "{} subscribes to t{track}", name(key)),
            Self::AskedPast { key, track } => {
                write!(f, "{} wants the past of t{track}", name(key))
            }
            Self::Accepted { key, largest } => {
                write!(f, "{} accepted, largest {largest:?}", name(key))
            }
            Self::Rejected { key, code, reason } => {
                write!(f, "{} refused: {code:?} {reason}", name(key))
            }
            Self::GaveUp { key } => write!(f, "{} given up", name(key)),
            Self::Delivered {
                key,
                place,
                object,
                is_past,
            } => {
                let past = if *is_past { " of the past" } else { "" };
                let bytes = object.payload.len();
                write!(f, "{} got {place}{past}, {bytes} bytes", name(key))
            }
            Self::SubgroupEnded { key, group, end } => {
                write!(f, "{} group {group} {end:?}", name(key))
            }
            Self::FillAccepted { key } => write!(f, "{} past accepted", name(key)),
            Self::PastEnded { key, end } => write!(f, "{} past {end:?}", name(key)),
            Self::Ended { key, track, reason } => {
                write!(f, "{} t{track} over: {reason}", name(key))
            }
            Self::Goaway { session, uri } => write!(f, "s{} goaway {uri:?}", session.0),
            Self::Closed { session, closed } => write!(f, "s{} closed: {closed:?}", session.0),
            Self::NamespaceRefused { session, error } => {
                write!(f, "s{} namespace refused: {error:?}", session.0)
            }
            Self::Metrics { relay, .. } => write!(f, "{relay:?}"),
            Self::Residue { node, what } => write!(f, "{node} still has {what}"),
            other => write!(f, "{other:?}"),
        }
    }
}
