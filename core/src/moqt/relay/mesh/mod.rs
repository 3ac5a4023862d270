//! The mesh: relays that are each other's upstreams.
//!
//! A relay dials the upstreams that its owner names, and tells each what it can serve. Members of
//! one mesh know each other by a shared secret ([`credential`]) and announce namespaces with the list
//! of relays that the announcement came through ([`hops`]): what is published at one relay, or was
//! learned from others, can be watched at every relay. An upstream that is no member (a relay of
//! another make) is asked for what nobody else has, and is told our namespaces without a hop list.
//!
//! | a session is | by | announces to us | is announced to |
//! |---|---|---|---|
//! | a client | anybody's SETUP | as an original publisher | no |
//! | a member | the mesh secret, or we dialled it as one and it says its relay id | routes, with hops | the route in use, unless it leads through it |
//! | a plain upstream | we dialled it | as an original publisher | every namespace |
//!
//! A route is used where no publisher is at hand: the longest prefix, then the fewest hops. A route
//! that leads back to who asks is never taken, and an announcement whose list holds its receiver is
//! refused, so that neither announcements nor subscriptions go round. Routes that are not in use are
//! kept: when one dies its tracks move to another, and their viewers stay ([`moves`], [`holes`]).
//!
//! Bounds: [`Limits`]. Source: draft-ietf-moq-transport-18 sections 8 (relays), 8.4 and 8.5.3
//! (switch-over), 10.4 (GOAWAY). The hop list is our own.

mod announce;
pub mod credential;
mod holes;
mod hops;
mod moves;
mod routes;
mod upstreams;

use super::RequestKey;
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::RequestCode;
use crate::moqt::name::{RequestId, TrackNamespace};
use crate::resolve::Secret;
use crate::time::Instant;
use crate::transport::SessionId;
use std::fmt;
use std::time::Duration;
use upstreams::Slot;

pub(super) use routes::Offer;
pub use upstreams::{Upstream, UpstreamId};

/// Bytes of a relay's id.
pub const RELAY_ID_BYTES: usize = 16;

/// A relay's name in its mesh: drawn at random when the relay starts, or kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub [u8; RELAY_ID_BYTES]);

impl fmt::Display for RelayId {
    /// The first bytes, in hex: enough to tell relays apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayId({self})")
    }
}

/// Who this relay is in the mesh.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Its id; no other relay of the mesh may have it.
    pub relay_id: RelayId,
    /// What members show each other. Without it nobody is a member.
    pub secret: Option<Secret>,
    /// Seeds the spread of pauses between attempts to connect.
    pub seed: u64,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of the mesh.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Relays that an announcement may come through.
    pub hops_max: usize,
    /// Members at a time.
    pub members_max: usize,
    /// Upstreams at a time.
    pub upstreams_max: usize,
    /// Namespaces that one member is told, and routes that one member may tell us.
    pub announcements_max: usize,
    /// Namespaces that one plain upstream is told. Each takes one of the requests that it lets us
    /// have open, which are a hundred with some, and what is left is for subscriptions.
    pub plain_announcements_max: usize,
    /// Announcements to one relay that may await their answer; the others wait for theirs.
    pub announcements_in_flight_max: usize,
    /// Pause after the first lost session; doubled each time, up to `backoff_max`.
    pub backoff_first: Duration,
    /// Longest pause between attempts to connect.
    pub backoff_max: Duration,
    /// How long an attempt may take.
    pub dial_timeout: Duration,
    /// How long a route may take to answer a SUBSCRIBE before another is tried.
    pub answer_timeout: Duration,
    /// How long subgroups that were open when a route died wait for another to go on with them.
    pub takeover_timeout: Duration,
    /// How long the next route has to bring what it retains before what is missing is fetched.
    pub hole_delay: Duration,
    /// Objects of one track that may wait for those in front of them, which another publisher brings.
    pub ahead_objects_max: usize,
    /// Payload bytes of those.
    pub ahead_bytes_max: usize,
    /// Requests of one member, of both ends together.
    pub requests_max: usize,
    /// Requests that one member may open here, as streams of the transport.
    pub member_requests_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hops_max: 8,
            members_max: 64,
            upstreams_max: 32,
            announcements_max: 16_384,
            plain_announcements_max: 64,
            announcements_in_flight_max: 256,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(12),
            answer_timeout: Duration::from_secs(5),
            takeover_timeout: Duration::from_secs(2),
            hole_delay: Duration::from_millis(250),
            ahead_objects_max: 256,
            ahead_bytes_max: 4 << 20,
            requests_max: 65_536,
            member_requests_max: 32_768,
        }
    }
}

/// What the mesh is and does, counted since the relay began where it is not what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Sessions with members, of both directions.
    pub members: usize,
    /// Sessions with upstreams that are no members.
    pub plain: usize,
    /// Upstreams that there shall be.
    pub upstreams: usize,
    /// Announcements of members that are accepted here.
    pub routes: usize,
    /// Announcements to other relays that stand.
    pub announcements: usize,
    /// Announcements to other relays that wait for room.
    pub announcements_waiting: usize,
    /// Announcements of ours that were refused.
    pub announcements_refused: u64,
    /// Announcements of members that were refused here.
    pub routes_refused: u64,
}

/// News of the mesh, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A member is there.
    MemberUp {
        /// Which.
        relay: RelayId,
        /// Whether this relay dialled it.
        is_upstream: bool,
    },
    /// A member's session is over.
    MemberDown {
        /// Which.
        relay: RelayId,
    },
    /// An upstream that is no member is there.
    PlainUp,
    /// An attempt to connect to an upstream failed, or its session is over; another follows.
    UpstreamLost {
        /// Which, without a query.
        url: String,
        /// Why.
        reason: String,
    },
    /// An upstream says that it goes away.
    UpstreamLeaving {
        /// Which, without a query.
        url: String,
    },
    /// Another relay is told as much as it may be told: the other namespaces wait until it is told
    /// of some no longer. Told again only when none has waited in between.
    AnnouncementsFull {
        /// Which member; `None` for a plain upstream.
        relay: Option<RelayId>,
        /// Namespaces that it is told.
        told: usize,
    },
    /// Another relay refused an announcement; of each relay the first one is told.
    AnnouncementRefused {
        /// Which member; `None` for a plain upstream.
        relay: Option<RelayId>,
        /// The code of its refusal.
        code: RequestCode,
    },
    /// A member announced something that is not accepted; of each member the first one is told.
    RouteRefused {
        /// Who.
        relay: RelayId,
        /// Why.
        reason: &'static str,
    },
}

/// The mesh as one relay sees it.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) config: Config,
    slots: BTreeMap<UpstreamId, Slot>,
    next_upstream: u64,
    /// Sessions that this relay began, from the moment that they have a name.
    dialled: BTreeMap<SessionId, UpstreamId>,
    links: BTreeMap<SessionId, Link>,
    /// Announcements of members, with the relays that they came through.
    routes: BTreeMap<RequestKey, Vec<RelayId>>,
    /// Who offers a namespace, by the number of hops; original publishers have none.
    origins: BTreeMap<TrackNamespace, BTreeSet<(usize, RequestKey)>>,
    /// Which namespace an announcement of ours is about.
    announcements: BTreeMap<RequestKey, TrackNamespace>,
    /// Announcements of ours that were refused.
    refused: u64,
    /// Announcements of members that were refused here.
    routes_refused: u64,
    /// Tracks that go on with another relay since a moment.
    resumed: BTreeMap<super::TrackId, holes::Resumed>,
    /// Our fetches of what is missing in between.
    holes: BTreeMap<RequestKey, holes::Hole>,
    random: u64,
}

/// A session with another relay.
#[derive(Debug)]
struct Link {
    kind: Kind,
    upstream: Option<UpstreamId>,
    /// It said GOAWAY.
    is_leaving: bool,
    /// What it was told.
    sent: BTreeMap<TrackNamespace, Sent>,
    /// Which of these announcements it has not answered.
    unanswered: BTreeSet<RequestId>,
    /// What it is still to be told.
    untold: BTreeSet<TrackNamespace>,
    /// What it was told and is to be told otherwise.
    changed: BTreeSet<TrackNamespace>,
    /// It is told as much as it may be, and that was news.
    was_full: bool,
    /// It refused an announcement, and that was news.
    has_refused: bool,
    /// Its announcements that are accepted here.
    routes: usize,
    /// One was refused here, and that was news.
    was_refused: bool,
}

impl Link {
    fn new(kind: Kind, upstream: Option<UpstreamId>) -> Self {
        Self {
            kind,
            upstream,
            is_leaving: false,
            sent: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            untold: BTreeSet::new(),
            changed: BTreeSet::new(),
            was_full: false,
            has_refused: false,
            routes: 0,
            was_refused: false,
        }
    }

    /// Who the other end is, if it is a member.
    fn member(&self) -> Option<RelayId> {
        match self.kind {
            Kind::Member(relay) => Some(relay),
            Kind::Plain => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Member(RelayId),
    Plain,
}

#[derive(Debug)]
struct Sent {
    request: RequestId,
    hops: Vec<RelayId>,
}

/// What time does to the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MeshTimer {
    /// An upstream is to be dialled, or its attempt has taken too long.
    Dial(UpstreamId),
    /// A route did not answer.
    Answer(RequestKey),
    /// What a dead route left open was not taken over.
    Takeover(super::TrackId),
    /// What the next route did not bring is to be fetched.
    Holes(super::TrackId),
    /// What is missing before objects that are here was not brought by another publisher.
    Ahead(super::TrackId),
}

impl Mesh {
    pub(super) fn new(config: Config) -> Self {
        Self {
            random: config.seed | 1,
            config,
            slots: BTreeMap::new(),
            next_upstream: 0,
            dialled: BTreeMap::new(),
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            origins: BTreeMap::new(),
            announcements: BTreeMap::new(),
            refused: 0,
            routes_refused: 0,
            resumed: BTreeMap::new(),
            holes: BTreeMap::new(),
        }
    }

    /// Whether the session is one with another relay, of either kind.
    pub(super) fn is_link(&self, session: SessionId) -> bool {
        self.links.contains_key(&session)
    }

    /// Whether an announcement is a member's, and not that of an original publisher.
    pub(super) fn is_route(&self, key: &RequestKey) -> bool {
        self.routes.contains_key(key)
    }

    fn is_leaving(&self, session: SessionId) -> bool {
        let link = self.links.get(&session);
        link.is_some_and(|link| link.is_leaving)
    }

    /// A number below `below`, from the seed.
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    /// What the mesh is and does.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics {
            upstreams: self.slots.len(),
            routes: self.routes.len(),
            announcements: self.announcements.len(),
            announcements_refused: self.refused,
            routes_refused: self.routes_refused,
            ..Metrics::default()
        };
        for link in self.links.values() {
            match link.kind {
                Kind::Member(_) => metrics.members += 1,
                Kind::Plain => metrics.plain += 1,
            }
            metrics.announcements_waiting += link.untold.len() + link.changed.len();
        }
        metrics
    }

    /// Sessions with other relays.
    pub(super) fn link_ids(&self) -> Vec<SessionId> {
        self.links.keys().copied().collect()
    }
}

/// The deadline of something that began now.
fn deadline(now: Instant, after: Duration) -> Instant {
    now + after
}
