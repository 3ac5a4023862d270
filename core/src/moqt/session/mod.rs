//! One MoQT session: the control streams, the request streams and the data streams of one peer.
//!
//! The machine is symmetric: both ends publish and subscribe. It knows what the specification says
//! about one session and nothing of tracks kept, routes or permission: its owner (a relay, a
//! publisher, a subscriber) decides those, by commands.
//!
//! | state | means | leaves by |
//! |---|---|---|
//! | `Setup` | our SETUP is sent, the peer's awaited; its other streams are held back | peer's SETUP, or time-out |
//! | `Ready` | requests and objects flow | a close by either end |
//! | `Closed` | nothing more comes out | - |
//!
//! Inputs: stream events, datagrams and the close of one transport session. Outputs: transport work
//! and [`Event`]s, in one queue, so that their order is kept. A peer's fault closes the session with
//! the code that the specification names; it is never an `Err`. `Err` is for the owner's own faults.
//!
//! Limits: [`Limits`]. Source: draft-ietf-moq-transport-18 sections 3 (sessions), 5 (requests),
//! 9 (control messages), 10 (data streams), and drafts 20 to 22 by [`Draft::profile`].

mod checks;
mod data;
mod deadlines;
mod duties;
mod event;
mod fetch;
mod incoming;
mod legacy;
pub mod record;
mod request_ids;
mod requests;
mod sessions;
pub mod tally;
mod timeouts;
mod tokens;
mod watch;

use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::draft::Draft;
use crate::moqt::error::{ProtocolError, PublishDoneCode, RequestCode, SessionCode, StreamCode};
use crate::moqt::legacy::Adapter;
use crate::moqt::message::{Message, RequestError, RequestKind, RequestOk, Setup, SubscribeOk};
use crate::moqt::name::{FullTrackName, RequestId, TrackAlias, TrackNamespace};
use crate::moqt::object;
use crate::moqt::parameter::{AuthorizationToken, Parameters};
use crate::payload::Payload;
use crate::time::Instant;
use crate::transport::{
    Action, Carrier, Closed, Direction, Opened, Origin, Output, SessionId, Side, StreamEvent,
    StreamId, Target,
};
use bytes::{Bytes, BytesMut};
use deadlines::Deadlines;
use std::collections::VecDeque;
use std::time::Duration;

pub use data::DataStream;
pub use event::{Accepted, CommandError, Event, Ready, StreamEnd};
pub use record::Record;
pub use requests::Request;
pub use sessions::{Config, Sessions};
pub use tally::Tally;

/// Priority of control streams: before everything else.
pub const CONTROL_PRIORITY: i32 = i32::MAX;
/// Priority of request streams: after the control stream, before all objects.
pub const REQUEST_PRIORITY: i32 = crate::transport::ANSWER_PRIORITY;

/// Bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the peer's SETUP may take.
    pub setup_timeout: Duration,
    /// How long a data stream may wait for the message that establishes its track alias.
    pub alias_timeout: Duration,
    /// How long after PUBLISH_DONE late data streams are awaited.
    pub publish_done_timeout: Duration,
    /// How long the stream of a fetch that was agreed to may take to begin. It may wait behind
    /// everything that goes before it.
    pub fetch_stream_timeout: Duration,
    /// How long the header of a data stream may take once the stream has begun.
    pub stream_header_timeout: Duration,
    /// Open requests, of both ends together.
    pub requests_max: usize,
    /// Request IDs that may be skipped, and REQUEST_UPDATEs of ours that may await their answer.
    pub request_gaps_max: usize,
    /// REQUEST_UPDATEs of the peer on one request that may await their answer; offered in SETUP.
    pub request_updates_max: usize,
    /// Bytes of registered tokens that are kept for the peer, as it counts them: 16 and the value
    /// for each. Offered in SETUP; 0 keeps none.
    pub token_cache_bytes_max: u32,
    /// Namespaces that the peer may announce on one SUBSCRIBE_NAMESPACE; passing it costs the request.
    pub namespaces_max: usize,
    /// Fills of one subscription that are asked for and have not begun; the oldest is forgotten.
    pub fills_max: usize,
    /// The peer's open streams.
    pub incoming_streams_max: usize,
    /// Bytes of streams held back, for SETUP or for a track alias.
    pub held_bytes_max: usize,
    /// Bytes of objects and messages that have begun to arrive, over all streams. Passing it costs a
    /// subgroup its stream, and a peer with so many unfinished messages its session.
    pub unfinished_bytes_max: usize,
    /// Bounds of one object.
    pub object: object::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            setup_timeout: Duration::from_secs(10),
            alias_timeout: Duration::from_secs(2),
            publish_done_timeout: Duration::from_secs(3),
            fetch_stream_timeout: Duration::from_secs(30),
            stream_header_timeout: Duration::from_secs(30),
            requests_max: 1024,
            request_gaps_max: 1024,
            request_updates_max: 64,
            token_cache_bytes_max: 0,
            namespaces_max: 65_536,
            fills_max: 16,
            incoming_streams_max: 2048,
            held_bytes_max: 4 << 20,
            unfinished_bytes_max: 64 << 20,
            object: object::Limits::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Setup { deadline: Instant },
    Ready,
    Closed,
}

/// One MoQT session. See the module's description.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    draft: Draft,
    side: Side,
    carrier: Carrier,
    limits: Limits,
    state: State,
    /// Where the client asked to go, when the transport told.
    target: Option<Target>,
    control_out: StreamId,
    control_in: Option<StreamId>,
    /// The peer reads our control stream no more; when the session ends for that.
    control_stopped: Option<Instant>,
    goaway_received: bool,
    goaway_sent: bool,
    /// When the session ends by our GOAWAY.
    goaway_deadline: Option<Instant>,

    incoming: BTreeMap<StreamId, incoming::Incoming>,
    /// Until when streams wait for their track alias.
    held: Deadlines<StreamId>,
    held_by_alias: BTreeSet<(TrackAlias, StreamId)>,
    /// Until when the headers of streams may come.
    headers: Deadlines<StreamId>,
    held_bytes: usize,
    unfinished_bytes: usize,

    own_ids: request_ids::RequestIds,
    peer_ids: request_ids::RequestIds,
    requests: BTreeMap<RequestId, Request>,
    /// Until when requests wait for something.
    waiting: Deadlines<RequestId>,
    /// How often the peer has a track open, in drafts where that is limited.
    peer_tracks: BTreeMap<(RequestKind, FullTrackName), usize>,
    /// Tracks that this end offers, where a draft has to know.
    own_publishes: BTreeSet<(FullTrackName, RequestId)>,
    request_streams: BTreeMap<StreamId, RequestId>,
    /// Fills that are asked for, by the id that their stream will name.
    fills: BTreeMap<RequestId, fetch::Fill>,
    /// The peer's aliases of the tracks that it publishes to us.
    aliases_in: BTreeMap<TrackAlias, incoming::AliasIn>,
    /// Aliases of subscriptions that ended lately: their late streams are discarded at once.
    retired_aliases: VecDeque<TrackAlias>,
    next_alias: u64,

    peer_tokens: tokens::PeerTokens,
    own_tokens: tokens::OwnTokens,
    /// Tokens of our SETUP, until the peer's tells which it keeps.
    setup_tokens: Vec<AuthorizationToken>,
    /// Unanswered updates that the peer allows on one request.
    peer_updates_max: usize,
    /// How many ranges the filters of a request of ours may have.
    peer_filter_ranges: u64,

    outgoing: BTreeMap<StreamId, DataStream>,
    outgoing_of: BTreeSet<(RequestId, StreamId)>,
    next_uni: u64,
    next_bidi: u64,

    /// Its entry in the deadlines of all sessions.
    armed: Option<Instant>,
    /// Whether it is among the sessions that something happened to.
    is_touched: bool,
    watch: watch::Watch,
    /// What stands between this session and a peer of draft 16.
    legacy: Option<Box<legacy::Legacy>>,

    out: VecDeque<Action<Event>>,
}

impl Session {
    /// A session over a transport session that just opened; sends SETUP at once.
    ///
    /// `setup` holds what we tell the peer; the token cache and the limit of updates are those of
    /// `limits`. Path and authority belong in it on the client side of
    /// raw QUIC only.
    pub fn new(
        now: Instant,
        id: SessionId,
        draft: Draft,
        opened: &Opened,
        mut setup: Setup,
        limits: Limits,
    ) -> Self {
        let peer = match opened.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let control_out = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
        let mut session = Self {
            id,
            draft,
            side: opened.side,
            carrier: opened.carrier,
            limits,
            state: State::Setup {
                deadline: now + limits.setup_timeout,
            },
            target: opened.target.clone(),
            control_out,
            control_in: None,
            control_stopped: None,
            goaway_received: false,
            goaway_sent: false,
            goaway_deadline: None,
            incoming: BTreeMap::new(),
            held: Deadlines::default(),
            held_by_alias: BTreeSet::new(),
            headers: Deadlines::default(),
            held_bytes: 0,
            unfinished_bytes: 0,
            own_ids: request_ids::RequestIds::new(opened.side, 0),
            peer_ids: request_ids::RequestIds::new(peer, limits.request_gaps_max),
            requests: BTreeMap::new(),
            waiting: Deadlines::default(),
            peer_tracks: BTreeMap::new(),
            own_publishes: BTreeSet::new(),
            request_streams: BTreeMap::new(),
            fills: BTreeMap::new(),
            aliases_in: BTreeMap::new(),
            retired_aliases: VecDeque::new(),
            next_alias: 0,
            peer_tokens: tokens::PeerTokens::new(limits.token_cache_bytes_max.into()),
            own_tokens: tokens::OwnTokens::default(),
            setup_tokens: setup.authorization_tokens.clone(),
            peer_updates_max: limits.request_gaps_max,
            peer_filter_ranges: 0,
            outgoing: BTreeMap::new(),
            outgoing_of: BTreeSet::new(),
            next_uni: 1,
            next_bidi: 0,
            armed: None,
            is_touched: false,
            watch: watch::Watch::default(),
            legacy: (draft == Draft::D16)
                .then(|| legacy::Legacy::new(now, Adapter::new(id, opened.side, limits))),
            out: VecDeque::new(),
        };
        session.transport(Output::Open {
            session: id,
            stream: control_out,
            priority: CONTROL_PRIORITY,
        });
        session.own_tokens.note_setup(&setup.authorization_tokens);
        // What is offered is what is held to.
        setup.max_request_updates = Some(limits.request_updates_max.max(1) as u64);
        setup.max_auth_token_cache_size =
            Some(u64::from(limits.token_cache_bytes_max)).filter(|size| *size > 0);
        if session.send(control_out, &Message::Setup(setup)).is_err() {
            session.close(
                SessionCode::INTERNAL_ERROR,
                "setup options do not fit a message",
            );
        }
        session
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The negotiated draft.
    pub fn draft(&self) -> Draft {
        self.draft
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Allows this peer more, or less, than the others from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Lets the peer have this many requests in flight and open, as streams of the transport. What
    /// this session makes of them, [`Limits::requests_max`] says.
    pub fn allow_requests(&mut self, streams: u32) {
        let session = self.id;
        self.transport(Output::Allow {
            session,
            direction: Direction::Bidirectional,
            streams,
        });
    }

    /// Whether this end has said that it is going away.
    pub fn has_sent_goaway(&self) -> bool {
        self.goaway_sent
    }

    /// Whether the peer's SETUP has arrived and neither end has closed.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// An open request.
    pub fn request(&self, request: RequestId) -> Option<&Request> {
        self.requests.get(&request)
    }

    /// How many requests are open, ours and the peer's.
    pub fn requests_len(&self) -> usize {
        self.requests.len()
    }

    /// Something happened on a stream.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamId, event: StreamEvent) {
        if self.state == State::Closed {
            return;
        }
        if self.legacy.is_some() {
            return self.take_legacy_stream(now, stream, event);
        }
        if let Err(fault) = self.take_stream_event(now, stream, event) {
            self.fail(fault);
        }
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, _now: Instant, data: Bytes) {
        // Without an alias there is nothing to tie it to; datagrams may be lost anyway.
        if self.state != State::Ready {
            return;
        }
        if self.legacy.is_some() {
            return self.take_legacy_datagram(&data);
        }
        if let Err(fault) = self.take_datagram(&data) {
            self.fail(fault);
        }
    }

    /// The transport session is over.
    pub fn handle_closed(&mut self, closed: Closed) {
        self.state = State::Closed;
        self.incoming.clear();
        self.held.clear();
        self.held_by_alias.clear();
        self.headers.clear();
        self.held_bytes = 0;
        self.unfinished_bytes = 0;
        self.requests.clear();
        self.waiting.clear();
        self.peer_tracks.clear();
        self.own_publishes.clear();
        self.request_streams.clear();
        self.fills.clear();
        self.outgoing.clear();
        self.outgoing_of.clear();
        self.out.push_back(Action::Event(Event::Closed(closed)));
    }

    /// The next output, until `None`.
    pub fn poll(&mut self) -> Option<Action<Event>> {
        if self.legacy.is_some() {
            return self.poll_legacy();
        }
        self.out.pop_front()
    }

    /// Ends the session.
    pub fn close(&mut self, code: SessionCode, reason: &str) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        self.out.push_back(Action::Transport(Output::Close {
            session: self.id,
            code: code.0,
            reason: reason.to_owned(),
        }));
    }

    fn fail(&mut self, fault: ProtocolError) {
        self.close(fault.code, fault.reason);
    }

    /// Says something, unless the session is closed: its owner may still answer what came before.
    fn transport(&mut self, output: Output) {
        if self.state == State::Closed {
            return;
        }
        self.out.push_back(Action::Transport(output));
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Action::Event(event));
    }

    /// Writes a control message to a stream.
    fn send(&mut self, stream: StreamId, message: &Message) -> Result<(), CommandError> {
        let mut head = BytesMut::new();
        message.encode(self.draft, &mut head)?;
        self.note_message(Origin::Local, stream, message);
        self.write(stream, head.freeze(), false);
        Ok(())
    }

    fn write(&mut self, stream: StreamId, head: Bytes, fin: bool) {
        let session = self.id;
        let body = Payload::default();
        self.transport(Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            notify: false,
        });
    }

    fn reset(&mut self, stream: StreamId, code: StreamCode) {
        let session = self.id;
        self.transport(Output::Reset {
            session,
            stream,
            code: code.0,
        });
    }

    fn stop(&mut self, stream: StreamId, code: StreamCode) {
        self.forget_inward(stream);
        let session = self.id;
        self.transport(Output::Stop {
            session,
            stream,
            code: code.0,
        });
    }
}

/// The error that answers a request which this end cannot serve.
pub fn request_error(code: RequestCode, reason: &str) -> RequestError {
    RequestError::new(code, reason)
}
