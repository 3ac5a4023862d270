//! The relay: one upload in, any number of viewers out.
//!
//! [`Relay`] is an [`App`] over all sessions of a host. It keeps a registry of namespaces and
//! tracks, subscribes upstream once per track however many viewers there are, retains recent
//! groups, and serves each viewer from them at its own pace.
//!
//! | a track's upstream | means | viewers |
//! |---|---|---|
//! | pending | SUBSCRIBE is sent upstream | wait |
//! | established | objects flow | are served |
//! | lost | the publisher went; it may come back | keep their subscription for `publisher_linger` |
//! | ended | the publisher said so, or the linger is over | get PUBLISH_DONE |
//!
//! What it asks of its owner are [`Event`]s: to have a stream key resolved. What the owner tells it
//! are commands: the answer, new keys, a revocation, the wall clock.
//!
//! Limits: [`Config`]. Source: draft-ietf-moq-transport-18 section 8 (relays); CONTRACTS A1 and
//! seed document 003 for names and tokens.

mod access;
mod admission;
mod ahead;
mod budget;
mod config;
mod drain;
mod expiry;
pub mod fetch;
mod figures;
pub mod mesh;
mod namespaces;
mod objects;
mod prefixes;
mod requests;
pub mod sdk;
mod tracks;
mod unknown_key;
mod updates;
mod visibility;

use crate::canary::{self, Canary};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::SessionCode;
use crate::moqt::message::Message;
use crate::moqt::name::{FullTrackName, RequestId, TrackNamespace};
use crate::moqt::session::{self, Event as SessionEvent, Record, Sessions};
use crate::moqt::track::SubscriberKey;
use crate::resolve::{Grace, Refusal, ResolveReply, ResolveRequest};
use crate::time::{Instant, UnixTime};
use crate::transport::{Action, App, Carrier, Closed, Input, SessionId};
use access::Grant;
use budget::Ages;
use prefixes::Prefixes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tracks::{Entry, Offers, Questions};

pub use access::Policy;
pub use config::Config;
pub use figures::Metrics;
pub use visibility::{Denials, SessionSummary};

/// What the relay asks of its owner, or tells it.
#[derive(Clone, Debug)]
pub enum Event {
    /// Ask the control plane and answer with [`Relay::resolved`].
    Resolve {
        /// Names the answer.
        op: OpId,
        /// The question. Holds a secret.
        request: ResolveRequest,
    },
    /// A token names a signing key that is not known: fetch the keys and tell them by
    /// [`Relay::set_policy`]. The request waits for a moment.
    UnknownKey,
    /// A session was ended for want of permission: for the log. Holds no secret.
    Denied {
        /// The session.
        session: SessionId,
        /// Its peer.
        remote: SocketAddr,
        /// Why.
        reason: String,
    },
    /// A session began: for the log.
    Opened {
        /// What is known about it.
        summary: Box<SessionSummary>,
    },
    /// A session is over: for the log.
    Closed {
        /// What is known about it.
        summary: Box<SessionSummary>,
        /// Why.
        closed: Closed,
    },
    /// An entry of a session's event log, which was asked for by [`Relay::log_all`] or
    /// [`Relay::log_session`]. Holds no secret.
    Logged {
        /// The session.
        session: SessionId,
        /// The entry.
        record: Box<Record>,
    },
    /// A publisher's request was ended because of what it sent: for the log.
    Malformed {
        /// The session, which goes on.
        session: SessionId,
        /// Its peer.
        remote: SocketAddr,
        /// What was expected and what came.
        reason: String,
    },
    /// Connect to an upstream and answer with [`Relay::dialled`].
    Dial {
        /// Names the answer.
        upstream: mesh::UpstreamId,
        /// Where it is. May hold a token in its query.
        url: String,
    },
    /// News of the mesh: for the log.
    Mesh(mesh::News),
    /// A drain is over: every session is closed.
    Drained {
        /// Sessions that had not left in time.
        late: usize,
    },
}

/// Names a question to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What the relay knows of a session beside its MoQT state.
#[derive(Debug)]
struct Peer {
    remote: SocketAddr,
    protocol: String,
    carrier: Carrier,
    opened: Instant,
    grant: Grant,
    /// When the session ends by its credential.
    expires: Option<UnixTime>,
    /// Signing keys that its subscriptions rest on.
    kids: BTreeSet<String>,
    /// Requests, and objects of theirs, that wait for the control plane.
    held: Vec<SessionEvent>,
    held_bytes: usize,
}

/// A namespace that a publisher announced, or a prefix that a viewer asked about.
#[derive(Clone, Debug)]
struct Announced {
    /// What the relay calls it.
    namespace: TrackNamespace,
    /// What the peer calls it, and has to be told.
    spelling: TrackNamespace,
}

/// A revocation that an answer of the control plane may have crossed.
#[derive(Debug)]
struct Revoked {
    at: Instant,
    valid: Vec<String>,
    /// The replaced credential that is still valid, and until when.
    grace: Option<Grace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TrackId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    SessionExpiry(SessionId),
    SubscriptionExpiry(SubscriberKey),
    Resolve(OpId),
    Track(TrackId),
    Fetch(fetch::FetchId),
    FetchedTrack(TrackId),
    UnknownKey(RequestKey),
    Upload(RequestKey),
    Mesh(mesh::MeshTimer),
    Drain,
}

/// A request of some session.
type RequestKey = (SessionId, RequestId);

/// The relay machine. See the module's description.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    policy: Policy,
    sessions: Sessions,
    /// Who asked for the tracks below a prefix.
    offers: Offers,
    /// Who waits to be told by a publisher how a track stands.
    questions: Questions,
    peers: BTreeMap<SessionId, Peer>,
    /// Who publishes an input, by its id.
    inputs: BTreeMap<String, BTreeSet<SessionId>>,

    entries: BTreeMap<TrackId, Entry>,
    names: BTreeMap<FullTrackName, TrackId>,
    /// Those of them that somebody watches or waits for: what a new publisher may be asked for.
    viewed: BTreeMap<FullTrackName, TrackId>,
    next_track: u64,
    /// Which track a request of ours to a publisher, or its PUBLISH, feeds.
    upstreams: BTreeMap<RequestKey, TrackId>,
    /// Which track a viewer's SUBSCRIBE is for.
    downstreams: BTreeMap<RequestKey, TrackId>,
    fetches: fetch::Fetches,
    /// What SDKs upload, by the request that brings it.
    uploads: BTreeMap<RequestKey, sdk::Upload>,
    subscription_expiry: BTreeMap<SubscriberKey, UnixTime>,
    /// Retained groups by age, for eviction.
    ages: Ages,
    cache_bytes: usize,

    publishers: Prefixes<RequestKey>,
    announced: BTreeMap<RequestKey, Announced>,
    watchers: Prefixes<RequestKey>,
    watched: BTreeMap<RequestKey, TrackNamespace>,

    /// Requests whose token names an unknown key.
    keyless: BTreeMap<RequestKey, Message>,
    ops: BTreeMap<OpId, SessionId>,
    /// By input; kept as long as a question may take.
    revoked: BTreeMap<String, Revoked>,
    next_op: u64,
    mesh: mesh::Mesh,
    drain: Option<drain::Drain>,
    timers: BTreeSet<(Instant, Timer)>,
    /// When those of them that wait for a token's end are due: they go with what they end.
    armed: BTreeMap<Timer, Instant>,
    /// One moment on both clocks.
    clock: Option<(Instant, UnixTime)>,
    /// The one by which the deadlines of tokens were armed.
    armed_by: Option<(Instant, UnixTime)>,
    metrics: Metrics,
    denials: Denials,
    events: VecDeque<Event>,
}

impl Relay {
    /// A relay without sessions.
    pub fn new(config: Config, policy: Policy) -> Self {
        Self {
            sessions: Sessions::new(config.sessions.clone()),
            mesh: mesh::Mesh::new(config.mesh.clone()),
            drain: None,
            config,
            policy,
            offers: Offers::default(),
            questions: Questions::default(),
            peers: BTreeMap::new(),
            inputs: BTreeMap::new(),
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            viewed: BTreeMap::new(),
            next_track: 0,
            upstreams: BTreeMap::new(),
            downstreams: BTreeMap::new(),
            fetches: fetch::Fetches::default(),
            uploads: BTreeMap::new(),
            subscription_expiry: BTreeMap::new(),
            ages: Ages::default(),
            cache_bytes: 0,
            publishers: Prefixes::default(),
            announced: BTreeMap::new(),
            watchers: Prefixes::default(),
            watched: BTreeMap::new(),
            keyless: BTreeMap::new(),
            ops: BTreeMap::new(),
            revoked: BTreeMap::new(),
            next_op: 0,
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            clock: None,
            armed_by: None,
            metrics: Metrics::default(),
            denials: Denials::new(),
            events: VecDeque::new(),
        }
    }

    /// Tells the wall clock. To be called at start and now and then; without it no token holds.
    pub fn set_clock(&mut self, now: Instant, unix: UnixTime) {
        self.clock = Some((now, unix));
        self.keep_expiries(now, unix);
    }

    /// The control plane's answer to [`Event::Resolve`].
    pub fn resolved(&mut self, now: Instant, op: OpId, answer: Result<ResolveReply, Refusal>) {
        self.take_resolution(now, op, answer);
        self.process(now);
    }

    /// Replaces the policy. Sessions that rest on a signing key which is no longer in force end.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.policy = policy;
        self.end_inactive_keys(now);
        self.judge_keyless(now);
        self.process(now);
    }

    /// Ends the publishers of an input whose credential is none of `valid`; with `valid` empty, the
    /// input is gone and its viewers end as well.
    pub fn revoke_input(&mut self, now: Instant, org: &str, input: &str, valid: &[String]) {
        self.end_revoked(now, org, input, valid);
        self.process(now);
    }

    /// The inputs that are being published now, by their id.
    pub fn live_inputs(&self) -> BTreeSet<String> {
        let publishes = |session: &SessionId| {
            let of_session = (*session, RequestId(0))..=(*session, RequestId(u64::MAX));
            self.announced.range(of_session.clone()).next().is_some()
                || self.upstreams.range(of_session).next().is_some()
        };
        let of_inputs = self.inputs.iter();
        of_inputs
            .filter(|(_, sessions)| sessions.iter().any(publishes))
            .map(|(input, _)| input.clone())
            .collect()
    }

    /// What the relay does and has done. Adds up all tracks: for a scrape, not for each turn.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        for entry in self.entries.values() {
            let counters = entry.track.counters();
            metrics.objects_sent += counters.objects_sent;
            metrics.bytes_sent += counters.bytes_sent;
            metrics.groups_dropped += counters.groups_dropped;
            metrics.groups_cut += counters.groups_cut;
            metrics.groups_expired += counters.groups_expired;
            metrics.groups_stopped += counters.groups_stopped;
            metrics.delays.merge(&counters.delays);
        }
        Metrics {
            sessions: self.sessions.len(),
            tracks: self.entries.len(),
            namespaces: self.announced.len(),
            upstream_subscriptions: self.upstreams.len(),
            downstream_subscriptions: self.downstreams.len(),
            fetches: self.fetches.len(),
            fetches_accepted: self.fetches.accepted(),
            fetches_upstream: self.fetches.asked_upstream(),
            cache_bytes: self.cache_bytes,
            groups_evictable: self.ages.len(),
            mesh: self.mesh.metrics(),
            ..metrics
        }
    }

    /// Ends every session, for a shutdown.
    pub fn close_all(&mut self, reason: &str) {
        let ids: Vec<SessionId> = self.sessions.ids().collect();
        for id in ids {
            self.sessions.close(id, SessionCode::NO_ERROR, reason);
        }
    }

    fn unix_now(&self, now: Instant) -> Option<UnixTime> {
        let (at, unix) = self.clock?;
        Some(unix + now.saturating_since(at))
    }

    /// Works off what the sessions have to tell.
    fn process(&mut self, now: Instant) {
        while let Some((session, event)) = self.sessions.poll_event() {
            self.take_session_event(now, session, event);
        }
        self.step_drain(now);
    }

    fn take_session_event(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        let Some(event) = self.hold(session, event) else {
            return;
        };
        match event {
            SessionEvent::Ready(ready) => self.admit(now, session, ready),
            SessionEvent::Request { request, message } => {
                self.take_request(now, (session, request), message);
            }
            SessionEvent::Accepted { request, accepted } => {
                self.take_accepted(now, (session, request), accepted);
            }
            SessionEvent::Rejected { request, error } => {
                let key = (session, request);
                self.hole_ended(now, key, false);
                if !self.fetch_upstream_refused(now, key, &error) {
                    self.announcement_refused(key, error.code);
                    self.upstream_refused(now, key, &error);
                    // Or the peer does not want a track that it was offered.
                    self.leave_track(now, key);
                }
            }
            SessionEvent::Update {
                request,
                update,
                parameters,
            } => self.take_update(now, (session, request), update, &parameters),
            SessionEvent::PublishDone { request, code, .. } => {
                self.upstream_done(now, (session, request), code);
            }
            SessionEvent::Cancelled { request, code } => {
                self.announcement_over((session, request));
                self.hole_ended(now, (session, request), false);
                self.end_if_malformed(now, (session, request), code);
                self.request_over(now, (session, request));
            }
            // A publisher that goes away is served until it closes.
            SessionEvent::Goaway(goaway) => self.take_goaway(now, session, &goaway),
            SessionEvent::Updated { request, .. } => self.upstream_updated((session, request)),
            // The relay does not ask for namespaces.
            SessionEvent::StateNotified {
                request,
                parameters,
            } => self.upstream_notified((session, request), &parameters),
            SessionEvent::RequestGoaway { .. }
            | SessionEvent::Namespace { .. }
            | SessionEvent::NamespaceDone { .. }
            | SessionEvent::PublishSkipped { .. } => {}
            SessionEvent::Closed(closed) => {
                self.mesh_session_over(now, session, &closed);
                self.session_over(now, session);
            }
            event => self.take_data_event(now, session, event),
        }
    }

    /// What happens on data streams.
    fn take_data_event(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Object {
                request,
                stream,
                header,
                object,
                began,
                ..
            } => {
                self.take_object(now, began, (session, request), stream, header, object);
            }
            SessionEvent::SubgroupEnded {
                request,
                group,
                subgroup,
                end,
                ..
            } => {
                self.take_subgroup_end(now, (session, request), group, subgroup, end);
            }
            SessionEvent::Datagram { request, object } => {
                self.take_datagram(now, (session, request), object);
            }
            SessionEvent::FetchObject {
                request,
                stream,
                object,
            } => {
                let key = (session, request);
                if let Some(object) = self.take_hole_object(now, key, stream, object) {
                    self.take_fetched(now, key, object);
                }
            }
            SessionEvent::FetchGap {
                request, kind, end, ..
            } => {
                self.take_hole_gap((session, request), kind, end);
                self.take_fetched_gap(now, (session, request), kind, end);
            }
            SessionEvent::FetchEnded { request, end, .. } => {
                let is_whole = end == session::StreamEnd::Finished;
                self.hole_ended(now, (session, request), is_whole);
                self.take_fetch_end(now, (session, request), end);
            }
            SessionEvent::Writable { request, stream } => {
                match self.fetches.of_stream(session, stream) {
                    Some(fetch) => self.fetch_writable(now, fetch),
                    None => self.on_track((session, request), |track, sessions, key| {
                        track.handle_writable(now, sessions, key, stream);
                    }),
                }
            }
            SessionEvent::Stopped {
                request, stream, ..
            } => match self.fetches.of_stream(session, stream) {
                Some(fetch) => self.fetch_stopped(now, fetch),
                None => self.on_track((session, request), |track, _, key| {
                    track.handle_stopped(key, stream);
                }),
            },
            // The others are taken before.
            _ => {}
        }
    }
}

impl App for Relay {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        if let Input::Opened { session, opened } = &input {
            let peer = Peer {
                remote: opened.remote,
                protocol: opened.protocol.clone(),
                carrier: opened.carrier,
                opened: now,
                grant: Grant::Tokens { tokens: Vec::new() },
                expires: None,
                kids: BTreeSet::new(),
                held: Vec::new(),
                held_bytes: 0,
            };
            self.peers.insert(*session, peer);
            self.prepare_mesh(*session, opened);
            self.tell_opened(now, *session);
        } else if let Input::Closed { session, closed } = &input {
            self.tell_closed(now, *session, closed);
        }
        self.sessions.handle(now, input);
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        // Before the sessions look at the time-outs of their GOAWAYs: what is served ends in words.
        self.step_drain(now);
        self.sessions.handle_timeout(now);
        self.process(now);
        while let Some((deadline, timer)) = self.timers.first().copied() {
            if deadline > now {
                break;
            }
            self.timers.pop_first();
            self.take_timer(now, timer);
        }
        self.process(now);
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.sessions.poll_output() {
            return Some(Action::Transport(output));
        }
        let event = self.events.pop_front().or_else(|| self.next_record());
        event.map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(deadline, _)| *deadline);
        let timer = timer.filter(|_| !canary::is_on(Canary::TimerForgotten));
        timer.into_iter().chain(self.sessions.next_timeout()).min()
    }
}
