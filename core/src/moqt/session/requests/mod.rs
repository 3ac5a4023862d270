//! The request table: what is open between the two ends, and how it stands. The commands that ask
//! and answer are in `commands`, what the peer asks in `peer` and what it answers in `answers`.
//!
//! | phase | means | left by |
//! |---|---|---|
//! | `Pending` | asked, not answered | an answer by the side that was asked, or a cancel |
//! | `Established` | agreed | PUBLISH_DONE, a cancel |
//! | `Ending` | PUBLISH_DONE came, its last data streams have not | the streams, or a time-out |
//!
//! Source: draft-ietf-moq-transport-18 sections 3.3.2, 5.1, 6, 9.3 to 9.22.

mod answers;
mod commands;
mod discovery;
mod peer;

use super::fetch::FetchState;
use super::tokens::Used;
use super::{Instant, Origin, PublishDoneCode, RequestId, StreamId, TrackAlias, TrackNamespace};
use crate::map::BTreeSet;
use crate::moqt::filter::sets::{FilterSets, ObjectFilter};
use crate::moqt::filter::{Filter, GroupOrder, LocationRange, RangeFilter};
use crate::moqt::message::RequestKind as Kind;
use crate::moqt::name::FullTrackName;
use crate::moqt::property::{DEFAULT_PRIORITY, Properties};
use std::collections::VecDeque;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::moqt::session) enum Phase {
    Pending,
    Established,
    Ending {
        code: PublishDoneCode,
        reason: String,
        streams: u64,
        deadline: Instant,
    },
}

/// An update of ours that awaits its answer.
#[derive(Clone, Debug)]
struct UpdateSent {
    tokens: Used,
    filter: Option<Filter>,
    range_filters: Vec<RangeFilter>,
}

/// An open request of either end.
#[derive(Clone, Debug)]
pub struct Request {
    pub(in crate::moqt::session) stream: StreamId,
    pub(in crate::moqt::session) kind: Kind,
    pub(in crate::moqt::session) phase: Phase,
    pub(in crate::moqt::session) track: Option<FullTrackName>,
    /// The alias of its data streams, once there is one.
    pub(in crate::moqt::session) alias: Option<TrackAlias>,
    /// Data streams that we opened for it.
    pub(in crate::moqt::session) streams_opened: u64,
    /// Data streams of the peer that are over.
    pub(in crate::moqt::session) streams_ended: u64,
    /// Of a FETCH: its range and its stream.
    pub(in crate::moqt::session) fetch: Option<FetchState>,
    /// Streams of the peer that answer this FETCH or fill this subscription, still open.
    pub(in crate::moqt::session) fetch_streams: Vec<StreamId>,
    /// Ids under which fills of this subscription are expected.
    pub(in crate::moqt::session) fills: VecDeque<RequestId>,
    /// GROUP_ORDER, where the subscriber stated one.
    pub(in crate::moqt::session) group_order: Option<GroupOrder>,
    /// FORWARD, as last stated by the subscriber.
    pub(in crate::moqt::session) forward: bool,
    /// Priority of objects that state none, as the answer's properties told.
    pub(in crate::moqt::session) default_priority: u8,
    /// Aliases of tokens in our first message, until its answer.
    tokens_used: Used,
    /// Updates of ours that await their answer: the aliases of tokens in them, and new filters.
    updates_sent: VecDeque<UpdateSent>,
    /// The prefix that we asked about.
    pub(in crate::moqt::session) prefix: Option<TrackNamespace>,
    /// Whether the track's publisher declared that it begins groups when asked.
    pub(in crate::moqt::session) dynamic_groups: bool,
    /// The location filter that we asked for.
    filter: Option<Filter>,
    /// The range filters that we asked for, as the publisher has agreed to them.
    range_filters: Vec<RangeFilter>,
    /// What they ask of objects.
    pub(in crate::moqt::session) object_filter: Option<Box<ObjectFilter>>,
    /// What it means, once the answer told the largest location; `None` lets everything pass.
    pub(in crate::moqt::session) window: Option<LocationRange>,
    /// Updates of the peer that await ours.
    updates_received: usize,
    /// Suffixes announced on a SUBSCRIBE_NAMESPACE and not withdrawn.
    announced: BTreeSet<TrackNamespace>,
    /// Whether the peer sent GOAWAY for this request.
    goaway_received: bool,
    /// Whether we did.
    goaway_sent: bool,
    /// When it ends by our GOAWAY.
    pub(in crate::moqt::session) goaway_deadline: Option<Instant>,
    /// Its place among the session's deadlines.
    pub(in crate::moqt::session) armed: Option<Instant>,
}

impl Request {
    fn new(stream: StreamId, kind: Kind, track: Option<FullTrackName>) -> Self {
        Self {
            stream,
            kind,
            phase: Phase::Pending,
            track,
            alias: None,
            streams_opened: 0,
            streams_ended: 0,
            fetch: None,
            fetch_streams: Vec::new(),
            fills: VecDeque::new(),
            group_order: None,
            forward: true,
            default_priority: DEFAULT_PRIORITY,
            tokens_used: Used::new(),
            updates_sent: VecDeque::new(),
            prefix: None,
            dynamic_groups: false,
            filter: None,
            range_filters: Vec::new(),
            object_filter: None,
            window: None,
            updates_received: 0,
            announced: BTreeSet::new(),
            goaway_received: false,
            goaway_sent: false,
            goaway_deadline: None,
            armed: None,
        }
    }

    /// Takes range filters of ours that the publisher agreed to. Faulty ones let everything pass: it
    /// is the publisher that refuses them.
    fn set_range_filters(&mut self, filters: Vec<RangeFilter>) {
        let sets = FilterSets::parse_for_objects(&filters, usize::MAX);
        self.object_filter = sets
            .ok()
            .and_then(|sets| sets.for_track(&Properties::default()));
        self.range_filters = filters;
    }

    /// Which end asked.
    pub fn origin(&self) -> Origin {
        self.stream.origin()
    }

    /// What was asked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The track that it is about, as the peer calls it.
    pub fn track(&self) -> Option<&FullTrackName> {
        self.track.as_ref()
    }

    /// Whether it was agreed to.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Whether this end sends the objects.
    pub(in crate::moqt::session) fn is_publisher(&self) -> bool {
        matches!(
            (self.kind, self.origin()),
            (Kind::Subscribe, Origin::Peer) | (Kind::Publish, Origin::Local)
        )
    }

    pub(in crate::moqt::session) fn is_subscriber(&self) -> bool {
        matches!(
            (self.kind, self.origin()),
            (Kind::Subscribe, Origin::Local) | (Kind::Publish, Origin::Peer)
        )
    }

    pub(in crate::moqt::session) fn ending_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ending { deadline, .. } => Some(deadline),
            Phase::Pending | Phase::Established => None,
        }
    }

    /// When the stream that answers it has to have begun.
    pub(in crate::moqt::session) fn fetch_deadline(&self) -> Option<Instant> {
        self.fetch.and_then(FetchState::deadline)
    }

    /// The earliest of its deadlines.
    pub(in crate::moqt::session) fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.ending_deadline(),
            self.goaway_deadline,
            self.fetch_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }
}
