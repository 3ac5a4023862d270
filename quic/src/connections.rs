//! All connections of a host: quinn's endpoint, timers, what wants to be sent, who may come in.
//!
//! Only connections that have something to do are touched: a datagram touches one, timers are
//! ordered by time, and connections with packets to send stand in a queue.
//!
//! Inputs: datagrams, time, outputs of the application. Outputs: [`Input`]s for the application,
//! packets. Limits: connections, handshakes, accepts per second, stateless answers waiting.
//!
//! | pressure | answer to a new client |
//! |---|---|
//! | `connections_max`, or `connections_per_address_max` of its address, reached | refused |
//! | `handshakes_max` or `accepts_per_second_max` reached | dropped; it tries again |
//! | `handshakes_before_retry` reached | Retry, unless its address is proven |

use crate::clock::{Epoch, WallClock};
use crate::config::{Config, Limits};
use crate::connection::{Connection, Context, Intent};
use crate::endpoint::Factory;
use crate::figures::Figures;
use crate::host::{ConnectError, ConnectRequest, Counters, Datagram, Ecn, Refusal, Transmit};
use crate::sessions::Sessions;
use crate::tls::{ALPN_H3, TlsError};
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{Carrier, Input, Output, SessionId};
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, Incoming};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

type StdInstant = std::time::Instant;

/// All connections of a host.
pub(crate) struct Connections {
    pub(crate) endpoint: Endpoint,
    factory: Factory,
    pub(crate) limits: Limits,
    protocols: Vec<String>,
    epoch: Epoch,
    wall: WallClock,
    /// By quinn's handle.
    pub(crate) slots: Vec<Option<Box<Connection>>>,
    /// What the paths of connections did that are over.
    pub(crate) retired: Figures,
    /// Connections of each address, when there is a limit to them.
    by_address: BTreeMap<IpAddr, usize>,
    count: usize,
    handshaking: usize,
    pub(crate) sessions: Sessions,
    inputs: VecDeque<Input>,
    /// Bytes of all sessions that wait to be handed to QUIC.
    pub(crate) unsent_total: usize,
    /// When to look at a connection's deadline, which may be later: see [`Self::update_timer`].
    timers: BTreeSet<(StdInstant, usize)>,
    /// Connections that may have packets to send.
    sending: VecDeque<usize>,
    /// Connections with unread bytes beyond their budget.
    unread: BTreeSet<usize>,
    /// Connections that outputs have touched since they were settled.
    pub(crate) touched: BTreeSet<usize>,
    responses: VecDeque<(Transmit, Vec<u8>)>,
    accepts: AcceptBucket,
    now: Instant,
    pub(crate) counters: Counters,
    pub(crate) refusals: VecDeque<Refusal>,
}

impl Connections {
    pub(crate) fn new(config: Config) -> Result<Self, TlsError> {
        let wall = WallClock::new(config.unix_time_at_epoch);
        let (factory, endpoint) = Factory::new(&config, &wall)?;
        Ok(Self {
            endpoint,
            factory,
            accepts: AcceptBucket::new(config.limits.accepts_per_second_max),
            limits: config.limits,
            protocols: config
                .server
                .map(|server| server.protocols)
                .unwrap_or_default(),
            epoch: Epoch::new(config.epoch),
            wall,
            slots: Vec::new(),
            retired: Figures::default(),
            by_address: BTreeMap::new(),
            count: 0,
            handshaking: 0,
            sessions: Sessions::default(),
            inputs: VecDeque::new(),
            unsent_total: 0,
            timers: BTreeSet::new(),
            sending: VecDeque::new(),
            unread: BTreeSet::new(),
            touched: BTreeSet::new(),
            responses: VecDeque::new(),
            now: Instant::ZERO,
            counters: Counters::default(),
            refusals: VecDeque::new(),
        })
    }

    /// Time never goes back, whatever the driver says.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.wall.advance(self.now);
        self.now
    }

    pub(crate) fn adjust_wall_clock(&mut self, now: Instant, time: UnixTime) {
        let now = self.advance(now);
        self.wall.adjust(now, time);
    }

    pub(crate) fn poll_input(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    pub(crate) fn has_input(&self) -> bool {
        !self.inputs.is_empty()
    }

    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.ids()
    }

    /// The id that the first packet of a session's connection was sent to, if it is ours.
    pub(crate) fn first_id(&self, session: SessionId) -> Option<&[u8]> {
        let handle = self.sessions.connection_of(session)?;
        let connection = self.slots.get(handle)?.as_ref()?;
        connection.first_id.as_deref()
    }

    pub(crate) fn stop_accepting(&mut self) {
        self.endpoint.set_server_config(None);
    }

    pub(crate) fn is_closed(&self) -> bool {
        let mut connections = self.slots.iter().flatten();
        connections.all(|connection| connection.quic.is_closed())
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.count
    }

    pub(crate) fn handle_datagram(&mut self, datagram: Datagram) {
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += to_u64(datagram.data.len());
        let now = self.epoch.to_std(self.now);
        let mut buf = Vec::new();
        let event = self.endpoint.handle(
            now,
            datagram.remote,
            datagram.local_ip,
            datagram.ecn.map(Ecn::to_quinn),
            datagram.data,
            &mut buf,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(connection)) = self.slots.get_mut(handle.0) {
                    connection.quic.handle_event(event);
                    self.work(handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.incoming(incoming, now, buf),
            Some(DatagramEvent::Response(transmit)) => self.respond(&transmit, buf),
            None => {}
        }
    }

    /// Handles what is due, and reading that was left over.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.epoch.to_std(self.now);
        let mut due = std::mem::take(&mut self.unread);
        while let Some(&(at, handle)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(Some(connection)) = self.slots.get_mut(handle) else {
                continue;
            };
            connection.timer = None;
            if connection.next_timeout().is_some_and(|at| at <= now) {
                due.insert(handle);
            } else {
                self.update_timer(handle);
            }
        }
        for handle in due {
            if let Some(Some(connection)) = self.slots.get_mut(handle) {
                connection.quic.handle_timeout(now);
                if connection.deadline.is_some_and(|at| at <= now) {
                    self.with(handle, Connection::deadline_passed);
                }
                self.work(handle);
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(self.now);
        }
        let (at, _) = self.timers.first()?;
        Some(self.epoch.to_core(*at))
    }

    pub(crate) fn connect(&mut self, request: ConnectRequest) -> Result<SessionId, ConnectError> {
        if self.count >= self.limits.connections_max {
            return Err(ConnectError::TooManyConnections(
                self.limits.connections_max,
            ));
        }
        if request.protocols.is_empty() {
            return Err(ConnectError::NoProtocol);
        }
        let alpn = match request.carrier {
            Carrier::WebTransport => vec![ALPN_H3.to_vec()],
            Carrier::Quic => request
                .protocols
                .iter()
                .map(|protocol| protocol.clone().into_bytes())
                .collect(),
        };
        let (client, first_id) = self.factory.client(request.trust, alpn, &self.wall)?;
        let now = self.epoch.to_std(self.now);
        let (handle, quic) = self
            .endpoint
            .connect(now, client, request.remote, &request.server_name)
            .map_err(|error| connect_error(error, request.remote))?;
        self.insert(handle, quic);
        let session = self.sessions.add(handle.0);
        let intent = Intent {
            protocols: request.protocols,
            target: request.target,
        };
        if let Some(Some(connection)) = self.slots.get_mut(handle.0) {
            connection.intend(intent, session, first_id);
        }
        self.work(handle.0);
        Ok(session)
    }

    /// Does one output; for a session that is gone, nothing.
    pub(crate) fn perform(&mut self, output: Output) {
        let Some(handle) = self.sessions.connection_of(session_of(&output)) else {
            return;
        };
        // Bytes to send leave nothing else to do than sending them: the news of a connection come
        // from its peer and from time.
        let is_sending_only = matches!(output, Output::Write { .. } | Output::Open { .. });
        self.with(handle, |connection, cx| connection.perform(output, cx));
        if is_sending_only && !self.is_closing(handle) {
            self.enqueue(handle);
        } else {
            self.touched.insert(handle);
        }
        if self.unsent_total > self.limits.unsent_bytes_total_max {
            self.shed();
        }
    }

    fn is_closing(&self, handle: usize) -> bool {
        let connection = self.slots.get(handle).and_then(Option::as_ref);
        connection.is_none_or(|connection| connection.is_closing())
    }

    /// Has the connection asked for packets, and for its timer after them.
    fn enqueue(&mut self, handle: usize) {
        if let Some(Some(connection)) = self.slots.get_mut(handle)
            && !connection.queued
        {
            connection.queued = true;
            self.sending.push_back(handle);
        }
    }

    /// Brings timers and the sending queue up to date after outputs.
    pub(crate) fn settle(&mut self) {
        while let Some(handle) = self.touched.pop_first() {
            self.work(handle);
        }
    }

    /// The next packets of one connection, or a stateless answer.
    pub(crate) fn poll_transmit(
        &mut self,
        segments_max: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buf.clear();
        if let Some((transmit, bytes)) = self.responses.pop_front() {
            buf.extend_from_slice(&bytes);
            return Some(self.sent(transmit));
        }
        let now = self.epoch.to_std(self.now);
        while let Some(handle) = self.sending.pop_front() {
            let Some(Some(connection)) = self.slots.get_mut(handle) else {
                continue;
            };
            let dropped = connection.unsent.send(self.now, &mut connection.quic);
            self.counters.datagrams_dropped += dropped;
            let transmit = connection.quic.poll_transmit(now, segments_max.max(1), buf);
            if let Some(transmit) = transmit {
                let transmit = Transmit::from_quinn(&transmit);
                let is_last = transmit.packets() < segments_max && !connection.asked_again;
                connection.asked_again = is_last;
                if is_last {
                    // Most likely all that there is: ask again while the connection is at hand.
                    self.sending.push_front(handle);
                } else {
                    // At the back of the queue: connections take turns.
                    self.sending.push_back(handle);
                }
                return Some(self.sent(transmit));
            }
            buf.clear();
            connection.asked_again = false;
            if connection.has_left() {
                self.with(handle, Connection::leave);
                self.sending.push_front(handle);
                continue;
            }
            connection.queued = false;
            self.update_timer(handle);
        }
        None
    }

    fn sent(&mut self, transmit: Transmit) -> Transmit {
        self.counters.datagrams_sent += to_u64(transmit.packets());
        self.counters.bytes_sent += to_u64(transmit.size);
        transmit
    }

    /// Works off everything that a connection has to do except sending.
    pub(crate) fn work(&mut self, handle: usize) {
        loop {
            let mut more = false;
            let mut unread = false;
            self.with(handle, |connection, cx| unread = connection.process(cx));
            if unread {
                self.unread.insert(handle);
            }
            let Some(Some(connection)) = self.slots.get_mut(handle) else {
                return;
            };
            if connection.is_counted && !connection.is_handshaking() {
                connection.is_counted = false;
                self.handshaking = self.handshaking.saturating_sub(1);
            }
            while let Some(event) = connection.quic.poll_endpoint_events() {
                let is_drained = event.is_drained();
                let answer = self.endpoint.handle_event(ConnectionHandle(handle), event);
                if is_drained {
                    self.remove(handle);
                    return;
                }
                if let Some(event) = answer {
                    connection.quic.handle_event(event);
                    more = true;
                }
            }
            if !more {
                break;
            }
        }
        self.enqueue(handle);
    }

    /// Lends a connection what it needs of the host.
    pub(crate) fn with(
        &mut self,
        handle: usize,
        step: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        let Some(Some(connection)) = self.slots.get_mut(handle) else {
            return;
        };
        let mut cx = Context {
            handle,
            now: self.epoch.to_std(self.now),
            limits: &self.limits,
            protocols: &self.protocols,
            inputs: &mut self.inputs,
            sessions: &mut self.sessions,
            counters: &mut self.counters,
            refusals: &mut self.refusals,
        };
        let before = connection.streams.unsent();
        step(connection, &mut cx);
        let after = connection.streams.unsent();
        self.unsent_total = self
            .unsent_total
            .saturating_sub(before)
            .saturating_add(after);
    }

    /// Sees to it that a connection's deadline is not missed. An entry that has become too early stays:
    /// deadlines move with each packet, and when the entry's time comes, the deadline of then is
    /// looked up.
    fn update_timer(&mut self, handle: usize) {
        let Some(Some(connection)) = self.slots.get_mut(handle) else {
            return;
        };
        let at = connection.next_timeout();
        let is_early = at.is_some() && connection.timer.is_some() && connection.timer <= at;
        if at != connection.timer && !is_early {
            if let Some(old) = connection.timer {
                self.timers.remove(&(old, handle));
            }
            if let Some(at) = at {
                self.timers.insert((at, handle));
            }
            connection.timer = at;
        }
    }

    fn incoming(&mut self, incoming: Incoming, now: StdInstant, mut buf: Vec<u8>) {
        if self.count >= self.limits.connections_max {
            self.counters.connections_refused += 1;
            let transmit = self.endpoint.refuse(incoming, &mut buf);
            self.respond(&transmit, buf);
            return;
        }
        if self.has_too_many(incoming.remote_address().ip()) {
            self.counters.connections_refused_address += 1;
            let transmit = self.endpoint.refuse(incoming, &mut buf);
            self.respond(&transmit, buf);
            return;
        }
        let may_wait = self.handshaking >= self.limits.handshakes_max;
        if may_wait || !self.accepts.take(self.now) {
            self.counters.connections_dropped += 1;
            self.endpoint.ignore(incoming);
            return;
        }
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        if self.handshaking >= self.limits.handshakes_before_retry && !is_proven {
            self.counters.retries += 1;
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut buf) {
                self.respond(&transmit, buf);
            }
            return;
        }
        match self.endpoint.accept(incoming, now, &mut buf, None) {
            Ok((handle, quic)) => {
                self.insert(handle, quic);
                self.work(handle.0);
            }
            Err(error) => {
                self.counters.connections_refused += 1;
                if let Some(transmit) = error.response {
                    self.respond(&transmit, buf);
                }
            }
        }
    }

    fn has_too_many(&self, address: IpAddr) -> bool {
        let max = self.limits.connections_per_address_max;
        let count = self.by_address.get(&address.to_canonical());
        max > 0 && count.is_some_and(|count| *count >= max)
    }

    /// Counts a connection of an address, or that it is over.
    fn count_address(&mut self, address: IpAddr, is_over: bool) {
        if self.limits.connections_per_address_max == 0 {
            return;
        }
        let address = address.to_canonical();
        let count = self.by_address.entry(address).or_insert(0);
        *count = if is_over {
            count.saturating_sub(1)
        } else {
            *count + 1
        };
        if *count == 0 {
            self.by_address.remove(&address);
        }
    }

    fn respond(&mut self, transmit: &quinn_proto::Transmit, mut buf: Vec<u8>) {
        if self.responses.len() < self.limits.responses_max {
            buf.truncate(transmit.size);
            self.responses
                .push_back((Transmit::from_quinn(transmit), buf));
        }
    }

    fn insert(&mut self, handle: ConnectionHandle, quic: quinn_proto::Connection) {
        if self.slots.len() <= handle.0 {
            self.slots.resize_with(handle.0 + 1, || None);
        }
        let now = self.epoch.to_std(self.now);
        let deadline = now.checked_add(self.limits.open_timeout);
        self.count_address(quic.remote_address().ip(), false);
        if let Some(slot) = self.slots.get_mut(handle.0) {
            *slot = Some(Box::new(Connection::new(quic, deadline)));
            self.count += 1;
            self.handshaking += 1;
            self.counters.connections_open = to_u64(self.count);
            self.counters.connections_opened += 1;
        }
    }

    pub(crate) fn remove(&mut self, handle: usize) {
        let Some(connection) = self.slots.get_mut(handle).and_then(Option::take) else {
            return;
        };
        self.unsent_total = self
            .unsent_total
            .saturating_sub(connection.streams.unsent());
        self.retired.add(&connection.quic.stats());
        self.count_address(connection.came_from, true);
        if connection.is_counted {
            self.handshaking = self.handshaking.saturating_sub(1);
        }
        if let Some(at) = connection.timer {
            self.timers.remove(&(at, handle));
        }
        self.unread.remove(&handle);
        self.count = self.count.saturating_sub(1);
        self.counters.connections_open = to_u64(self.count);
    }
}

/// A token bucket of one second's worth of accepts.
struct AcceptBucket {
    per_second: u32,
    tokens: u32,
    filled_at: Instant,
}

impl AcceptBucket {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            tokens: per_second,
            filled_at: Instant::ZERO,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let each = Duration::from_secs(1) / self.per_second;
        let new = now.saturating_since(self.filled_at).as_nanos() / each.as_nanos().max(1);
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if new > 0 {
            self.tokens = self.tokens.saturating_add(new).min(self.per_second);
            self.filled_at = now;
        }
        let taken = self.tokens.checked_sub(1);
        self.tokens = taken.unwrap_or(0);
        taken.is_some()
    }
}

fn connect_error(error: quinn_proto::ConnectError, remote: SocketAddr) -> ConnectError {
    match error {
        quinn_proto::ConnectError::InvalidServerName(name) => ConnectError::ServerName(name),
        quinn_proto::ConnectError::InvalidRemoteAddress(remote) => ConnectError::Address(remote),
        quinn_proto::ConnectError::CidsExhausted => ConnectError::ConnectionIds,
        // Version, default configuration and stopping are not ours to get wrong here.
        _ => ConnectError::Address(remote),
    }
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
