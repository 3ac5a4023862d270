//! All model connections of a host: names, timers, who may come in.
//!
//! As in `mainstem_quic`, only connections with something to do are touched, and a new client meets the
//! same bounds: refused when the host or its address is full, dropped when too many handshakes are in
//! progress, asked to prove its address before that.
//!
//! Inputs: packets, time, outputs of the application. Outputs: [`Input`]s, packets. Limits:
//! `mainstem_quic::Limits`.

use super::connection::{Begin, Connection, Context, Sessions};
use super::packet::{Ack, Body, Carried, Connect, ConnectionId, Frame, Hello, ModelPacket, Terms};
use super::{ModelConfig, ModelTransmit};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Carrier, Closed, Input, Output, SessionId, Side, StreamEvent, StreamId,
};
use mainstem_quic::{ConnectError, ConnectRequest, Counters, Liveness, Refusal};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// All connections of a host.
#[derive(Debug)]
pub(super) struct Connections {
    config: ModelConfig,
    is_accepting: bool,
    by_index: BTreeMap<u64, Connection>,
    /// Server connections by their clients' names.
    by_client: BTreeMap<ConnectionId, u64>,
    by_address: BTreeMap<IpAddr, usize>,
    next: u64,
    handshaking: usize,
    sessions: Sessions,
    inputs: VecDeque<Input>,
    timers: BTreeSet<(Instant, u64)>,
    sending: VecDeque<u64>,
    responses: VecDeque<ModelTransmit>,
    /// Accepts that may still come before more time has passed, and when it was counted.
    accepts: u32,
    accepts_at: Instant,
    now: Instant,
    pub(super) counters: Counters,
    pub(super) refusals: VecDeque<Refusal>,
}

impl Connections {
    pub(super) fn new(config: ModelConfig) -> Self {
        Self {
            is_accepting: config.server.is_some(),
            accepts: config.limits.accepts_per_second_max,
            config,
            by_index: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_address: BTreeMap::new(),
            next: 0,
            handshaking: 0,
            sessions: Sessions::default(),
            inputs: VecDeque::new(),
            timers: BTreeSet::new(),
            sending: VecDeque::new(),
            responses: VecDeque::new(),
            accepts_at: Instant::ZERO,
            now: Instant::ZERO,
            counters: Counters::default(),
            refusals: VecDeque::new(),
        }
    }

    /// Time never goes back, whatever the driver says.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    pub(super) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.ids()
    }

    pub(super) fn stop_accepting(&mut self) {
        self.is_accepting = false;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.by_index.values().all(Connection::is_closed)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.by_index.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn handle_packet(&mut self, remote: SocketAddr, packet: &ModelPacket) {
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += to_u64(packet.size());
        let index = match packet.to {
            Some(to) if to.identity == self.config.identity => Some(to.index),
            Some(_) => None,
            None => self.by_client.get(&packet.from).copied(),
        };
        let index = index.filter(|index| self.is_between(*index, packet));
        match (&packet.body, index) {
            (
                Body::Frames {
                    number,
                    ack,
                    frames,
                },
                Some(index),
            ) => self.frames(index, remote, packet.from, (*number, ack.as_ref(), frames)),
            (Body::Frames { frames, .. }, None) => match frames.first() {
                Some(Frame::Hello(hello)) if packet.to.is_none() => {
                    self.incoming(remote, packet, hello);
                }
                _ => self.answer(remote, packet, Body::Reset),
            },
            (Body::Reset, Some(index)) => self.with(index, Connection::was_forgotten),
            (Body::Refused(reason), Some(index)) => {
                self.with(index, |connection, cx| connection.was_refused(reason, cx));
            }
            (Body::Retry, Some(index)) => self.with(index, |connection, _| connection.prove()),
            (_, None) => {}
        }
    }

    /// Handles what is due.
    pub(super) fn handle_timeout(&mut self) {
        let mut due = BTreeSet::new();
        while let Some((at, index)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            due.insert(index);
        }
        for index in due {
            let mut is_over = false;
            self.with(index, |connection, cx| {
                connection.timer = None;
                is_over = connection.handle_timeout(cx);
            });
            if is_over {
                self.remove(index);
            }
        }
    }

    pub(super) fn connect(&mut self, request: ConnectRequest) -> Result<SessionId, ConnectError> {
        let limits = &self.config.limits;
        if self.by_index.len() >= limits.connections_max {
            return Err(ConnectError::TooManyConnections(limits.connections_max));
        }
        if request.protocols.is_empty() {
            return Err(ConnectError::NoProtocol);
        }
        if request.remote.port() == 0 || request.remote.ip().is_unspecified() {
            return Err(ConnectError::Address(request.remote));
        }
        let liveness = limits.client_liveness;
        let terms = self.terms(liveness);
        let keep_alive = liveness.map_or(limits.keep_alive, |it| Some(it.keep_alive));
        let carried = Carried::from(request.carrier);
        let hello = Hello {
            carrier: carried,
            offered: match request.carrier {
                Carrier::Quic => request.protocols.clone(),
                Carrier::WebTransport => Vec::new(),
            },
            terms: terms.clone(),
            proven: false,
        };
        let begin = Begin {
            id: self.next_id(),
            peer: None,
            remote: request.remote,
            side: Side::Client,
            carried,
            terms,
            keep_alive,
            packet_bytes: self.config.packet_bytes,
        };
        let index = self.insert(begin);
        let session = self.sessions.add(index);
        let intent = Connect {
            target: request.target,
            offered: request.protocols,
        };
        self.with(index, |connection, _| {
            connection.ask(session, hello, intent);
        });
        Ok(session)
    }

    /// Does one output; for a session that is gone, nothing.
    pub(super) fn perform(&mut self, output: Output) {
        if let Output::Stop {
            session, stream, ..
        } = output
        {
            self.inputs
                .retain(|input| !is_received_on(input, session, stream));
        }
        if let Some(index) = self.sessions.connection_of(session_of(&output)) {
            self.with(index, |connection, cx| connection.perform(output, cx));
        }
    }

    pub(super) fn pause(&mut self, session: SessionId, is_paused: bool) {
        if let Some(index) = self.sessions.connection_of(session) {
            self.with(index, |connection, cx| connection.pause(is_paused, cx));
        }
    }

    pub(super) fn abandon(&mut self, session: SessionId) {
        let Some(index) = self.sessions.connection_of(session) else {
            return;
        };
        self.with(index, |connection, cx| {
            let reason = "abandoned by this end".to_owned();
            connection.end_session(Closed::Transport { reason }, cx);
        });
        self.remove(index);
    }

    /// The next packet of one connection, or an answer of no connection.
    pub(super) fn poll_transmit(&mut self) -> Option<ModelTransmit> {
        if let Some(transmit) = self.responses.pop_front() {
            return Some(self.sent(transmit));
        }
        while let Some(index) = self.sending.pop_front() {
            let Some(connection) = self.by_index.get_mut(&index) else {
                continue;
            };
            let (packet, dropped) = connection.poll_transmit(self.now);
            self.counters.datagrams_dropped += dropped;
            let destination = connection.remote;
            if let Some(packet) = packet {
                // At the back of the queue: connections take turns.
                self.sending.push_back(index);
                return Some(self.sent(ModelTransmit {
                    destination,
                    packet,
                }));
            }
            connection.is_queued = false;
            self.update_timer(index);
        }
        None
    }

    fn sent(&mut self, transmit: ModelTransmit) -> ModelTransmit {
        self.counters.datagrams_sent += 1;
        self.counters.bytes_sent += to_u64(transmit.packet.size());
        transmit
    }

    /// Whether a packet is of the connection that bears the name: another may have borne it before.
    fn is_between(&self, index: u64, packet: &ModelPacket) -> bool {
        self.by_index
            .get(&index)
            .is_some_and(|it| it.peer.is_none_or(|peer| peer == packet.from))
    }

    fn frames(
        &mut self,
        index: u64,
        remote: SocketAddr,
        from: ConnectionId,
        (number, ack, frames): (u64, Option<&Ack>, &[Frame]),
    ) {
        self.with(index, |connection, cx| {
            // A client talks to whom it dialled; a server's client may move.
            if connection.side == Side::Client && connection.remote != remote {
                return;
            }
            let is_welcome = frames.iter().any(|it| matches!(it, Frame::Welcome { .. }));
            if connection.peer.is_none() {
                if !is_welcome && !frames.is_empty() {
                    return;
                }
                connection.peer = is_welcome.then_some(from);
            }
            connection.handle(remote, number, ack, frames, cx);
        });
    }

    fn incoming(&mut self, remote: SocketAddr, packet: &ModelPacket, hello: &Hello) {
        let Some(server) = self.config.server.as_ref().filter(|_| self.is_accepting) else {
            return;
        };
        let limits = &self.config.limits;
        let protocol = match hello.carrier {
            Carried::Quic => server
                .protocols
                .iter()
                .find(|it| hello.offered.contains(it))
                .cloned(),
            Carried::WebTransport => server.web_transport.then(String::new),
        };
        let per_address = limits.connections_per_address_max;
        let of_address = self.by_address.get(&remote.ip().to_canonical());
        if self.by_index.len() >= limits.connections_max {
            self.counters.connections_refused += 1;
            let reason = "the server refused the connection: it is full";
            return self.answer(remote, packet, Body::Refused(reason));
        }
        if per_address > 0 && of_address.is_some_and(|count| *count >= per_address) {
            self.counters.connections_refused_address += 1;
            let reason = "the server refused the connection: its address has too many";
            return self.answer(remote, packet, Body::Refused(reason));
        }
        let may_retry = self.handshaking >= limits.handshakes_before_retry;
        if self.handshaking >= limits.handshakes_max || !self.take_accept() {
            self.counters.connections_dropped += 1;
            return;
        }
        if may_retry && !hello.proven {
            self.counters.retries += 1;
            return self.answer(remote, packet, Body::Retry);
        }
        let Some(protocol) = protocol else {
            let reason = "the peer supports no application protocol that was offered";
            return self.answer(remote, packet, Body::Refused(reason));
        };
        self.accept(remote, packet, hello, protocol);
    }

    fn accept(
        &mut self,
        remote: SocketAddr,
        packet: &ModelPacket,
        hello: &Hello,
        protocol: String,
    ) {
        let terms = self.terms(None);
        let begin = Begin {
            id: self.next_id(),
            peer: Some(packet.from),
            remote,
            side: Side::Server,
            carried: hello.carrier,
            terms: terms.clone(),
            keep_alive: self.config.limits.keep_alive,
            packet_bytes: self.config.packet_bytes,
        };
        let index = self.insert(begin);
        self.by_client.insert(packet.from, index);
        self.with(index, |connection, _| {
            connection.welcome(hello, protocol, terms);
        });
        if let Body::Frames {
            number,
            ack,
            frames,
        } = &packet.body
        {
            self.frames(index, remote, packet.from, (*number, ack.as_ref(), frames));
        }
    }

    fn terms(&self, liveness: Option<Liveness>) -> Terms {
        let limits = &self.config.limits;
        Terms {
            bidi_streams: limits.peer_bidi_streams_max.into(),
            uni_streams: limits.peer_uni_streams_max.into(),
            stream_window: limits.stream_receive_window.into(),
            window: limits.receive_window.into(),
            idle_timeout: liveness.map_or(limits.idle_timeout, |it| it.idle_timeout),
        }
    }

    fn next_id(&mut self) -> ConnectionId {
        let index = self.next;
        self.next += 1;
        ConnectionId {
            identity: self.config.identity,
            index,
        }
    }

    fn insert(&mut self, begin: Begin) -> u64 {
        let index = begin.id.index;
        if self.config.limits.connections_per_address_max > 0 {
            let address = begin.remote.ip().to_canonical();
            *self.by_address.entry(address).or_insert(0) += 1;
        }
        let connection = Connection::new(begin, self.now, &self.config.limits);
        self.by_index.insert(index, connection);
        self.handshaking += 1;
        self.counters.connections_open = to_u64(self.by_index.len());
        self.counters.connections_opened += 1;
        index
    }

    fn remove(&mut self, index: u64) {
        let Some(connection) = self.by_index.remove(&index) else {
            return;
        };
        if let Some(peer) = connection.peer
            && connection.side == Side::Server
        {
            self.by_client.remove(&peer);
        }
        let address = connection.came_from.to_canonical();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        if let Some(at) = connection.timer {
            self.timers.remove(&(at, index));
        }
        if connection.is_counted {
            self.handshaking = self.handshaking.saturating_sub(1);
        }
        self.counters.connections_open = to_u64(self.by_index.len());
    }

    /// Lends a connection what it needs of the host, and brings the queues up to date after it.
    fn with(&mut self, index: u64, step: impl FnOnce(&mut Connection, &mut Context<'_>)) {
        let Some(connection) = self.by_index.get_mut(&index) else {
            return;
        };
        let was_counted = connection.is_counted;
        let mut cx = Context {
            now: self.now,
            index,
            limits: &self.config.limits,
            server: self.config.server.as_ref(),
            inputs: &mut self.inputs,
            sessions: &mut self.sessions,
            counters: &mut self.counters,
            refusals: &mut self.refusals,
        };
        step(connection, &mut cx);
        if was_counted && !connection.is_counted {
            self.handshaking = self.handshaking.saturating_sub(1);
        }
        if !connection.is_queued {
            connection.is_queued = true;
            self.sending.push_back(index);
        }
        self.update_timer(index);
    }

    fn update_timer(&mut self, index: u64) {
        let Some(connection) = self.by_index.get_mut(&index) else {
            return;
        };
        let at = connection.next_timeout();
        if at == connection.timer {
            return;
        }
        if let Some(old) = connection.timer {
            self.timers.remove(&(old, index));
        }
        if let Some(at) = at {
            self.timers.insert((at, index));
        }
        connection.timer = at;
    }

    fn answer(&mut self, remote: SocketAddr, packet: &ModelPacket, body: Body) {
        if self.responses.len() >= self.config.limits.responses_max {
            return;
        }
        let nobody = ConnectionId {
            identity: self.config.identity,
            index: u64::MAX,
        };
        self.responses.push_back(ModelTransmit {
            destination: remote,
            packet: ModelPacket {
                to: Some(packet.from),
                from: packet.to.unwrap_or(nobody),
                body,
            },
        });
    }

    /// One of a second's worth of accepts.
    fn take_accept(&mut self) -> bool {
        let per_second = self.config.limits.accepts_per_second_max;
        if per_second == 0 {
            return true;
        }
        let each = (Duration::from_secs(1) / per_second).as_nanos().max(1);
        let new = self.now.saturating_since(self.accepts_at).as_nanos() / each;
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if new > 0 {
            self.accepts = self.accepts.saturating_add(new).min(per_second);
            self.accepts_at = self.now;
        }
        let left = self.accepts.checked_sub(1);
        self.accepts = left.unwrap_or(0);
        left.is_some()
    }
}

/// Whether it brings something of the peer's direction of a stream.
fn is_received_on(input: &Input, of: SessionId, on: StreamId) -> bool {
    use StreamEvent::{Data, Finished, Reset};
    matches!(
        input,
        Input::Stream {
            session,
            stream,
            event: Data(_) | Finished | Reset(_),
        } if (*session, *stream) == (of, on)
    )
}

fn session_of(output: &Output) -> SessionId {
    match output {
        Output::Open { session, .. }
        | Output::Write { session, .. }
        | Output::SetPriority { session, .. }
        | Output::Reset { session, .. }
        | Output::Stop { session, .. }
        | Output::Datagram { session, .. }
        | Output::Allow { session, .. }
        | Output::Close { session, .. } => *session,
    }
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
