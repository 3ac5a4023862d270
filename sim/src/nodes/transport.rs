//! [`Transport`]: what carries a node's machine. One face, whatever is below.

use super::meddle::{Meddled, Meddling};
use super::setting::{BuildError, Context};
use crate::model::{ModelConfig, ModelHost, ModelServer};
use crate::packet::{Outgoing, Packet};
use crate::plan::{NodeLimits, TransportKind};
use crate::quic::deterministic::{Lease, host_config};
use crate::random::Purpose;
use bytes::BytesMut;
use mainstem_core::moqt::Draft;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{App, SessionId};
use mainstem_quic::{
    ConnectError, ConnectRequest, Counters, Datagram, Figures, Host, Limits, Liveness, Server,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Packets that a host may write in one go, as a socket with segmentation offload takes them.
const SEGMENTS_MAX: usize = 10;
/// How soon relays notice that another one fell silent: what the relay program says.
const RELAY_LIVENESS: Liveness = Liveness {
    idle_timeout: Duration::from_secs(4),
    keep_alive: Duration::from_millis(750),
};
/// Requests that a relay's peers may have open: what the relay program says.
const RELAY_BIDI_STREAMS: u32 = 1024;
/// What clients say.
const CLIENT_IDLE: Duration = Duration::from_secs(6);
const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A machine and what carries it.
pub(crate) enum Transport<A: App> {
    /// Real QUIC.
    Quic(Box<Quic<A>>),
    /// Streams and datagrams without QUIC.
    Model(Box<ModelHost<Meddled<A>>>),
}

/// Real QUIC, seeded.
pub(crate) struct Quic<A: App> {
    host: Host<Meddled<A>>,
    /// Segments of the last transmit that were not handed on yet.
    segments: VecDeque<Outgoing>,
    buffer: Vec<u8>,
    /// Held as long as the host draws from it.
    _lease: Lease,
}

impl<A: App> Transport<A> {
    /// For a node that serves.
    pub(crate) fn serving(context: &Context, app: A, unix: UnixTime) -> Result<Self, BuildError> {
        let mut limits = Limits {
            client_liveness: Some(RELAY_LIVENESS),
            peer_bidi_streams_max: RELAY_BIDI_STREAMS,
            ..Limits::default()
        };
        apply(&mut limits, &context.limits);
        let protocols = Draft::ALL.iter().map(|draft| draft.protocol().to_owned());
        let (protocols, web_transport) = (protocols.collect(), true);
        if context.setting.plan.transport == TransportKind::Model {
            let server = ModelServer {
                protocols,
                web_transport,
            };
            return Ok(Self::model(context, app, limits, Some(server)));
        }
        let (mut config, lease) = config(context, unix);
        config.limits = limits;
        config.server = Some(Server {
            protocols,
            web_transport,
            certificates: context.setting.identity.certificates.clone(),
        });
        Self::quic(config, meddled(context, app), lease)
    }

    /// For a node that only dials.
    pub(crate) fn dialling(context: &Context, app: A, unix: UnixTime) -> Result<Self, BuildError> {
        let mut limits = Limits {
            idle_timeout: CLIENT_IDLE,
            keep_alive: Some(CLIENT_KEEP_ALIVE),
            ..Limits::default()
        };
        apply(&mut limits, &context.limits);
        if context.setting.plan.transport == TransportKind::Model {
            return Ok(Self::model(context, app, limits, None));
        }
        let (mut config, lease) = config(context, unix);
        config.limits = limits;
        Self::quic(config, meddled(context, app), lease)
    }

    fn model(context: &Context, app: A, limits: Limits, server: Option<ModelServer>) -> Self {
        // Every life of every node names its connections otherwise.
        let identity = u64::from(context.id.0) << 16 | u64::from(context.life);
        let mut config = ModelConfig::new(identity);
        config.limits = limits;
        config.server = server;
        let app = meddled(context, app);
        Self::Model(Box::new(ModelHost::new(config, app)))
    }

    fn quic(
        config: mainstem_quic::Config,
        app: Meddled<A>,
        lease: Lease,
    ) -> Result<Self, BuildError> {
        Ok(Self::Quic(Box::new(Quic {
            host: Host::new(config, app)?,
            segments: VecDeque::new(),
            buffer: Vec::new(),
            _lease: lease,
        })))
    }

    pub(crate) fn handle_packet(&mut self, now: Instant, from: SocketAddr, packet: Packet) {
        self.meddled().now = now;
        match (self, packet) {
            (Self::Quic(quic), Packet::Datagram(bytes, ecn)) => {
                let datagram = Datagram {
                    remote: from,
                    local_ip: None,
                    ecn,
                    data: BytesMut::from(bytes.as_slice()),
                };
                quic.host.handle_datagram(now, datagram);
            }
            (Self::Model(host), Packet::Model(packet)) => host.handle_packet(now, from, &packet),
            // All nodes of a world have the same transport.
            (Self::Quic(_), Packet::Model(_)) | (Self::Model(_), Packet::Datagram(..)) => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.meddled().now = now;
        match self {
            Self::Quic(quic) => quic.host.handle_timeout(now),
            Self::Model(host) => host.handle_timeout(now),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Quic(quic) => quic.host.next_timeout(),
            Self::Model(host) => host.next_timeout(),
        }
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        match self {
            Self::Quic(quic) => quic.poll_transmit(now),
            Self::Model(host) => host.poll_transmit(now).map(|transmit| Outgoing {
                to: transmit.destination,
                packet: Packet::Model(transmit.packet),
            }),
        }
    }

    pub(crate) fn connect(
        &mut self,
        now: Instant,
        request: ConnectRequest,
    ) -> Result<SessionId, ConnectError> {
        self.meddled().now = now;
        match self {
            Self::Quic(quic) => quic.host.connect(now, request),
            Self::Model(host) => host.connect(now, request),
        }
    }

    pub(crate) fn app(&self) -> &A {
        match self {
            Self::Quic(quic) => &quic.host.app().app,
            Self::Model(host) => &host.app().app,
        }
    }

    /// The machine, for commands; [`Transport::drive`] comes after them.
    pub(crate) fn app_mut(&mut self) -> &mut A {
        &mut self.meddled().app
    }

    /// How often streams end in the middle from now on.
    pub(crate) fn meddle(&mut self, meddling: Meddling) {
        self.meddled().meddling = meddling;
    }

    fn meddled(&mut self) -> &mut Meddled<A> {
        match self {
            Self::Quic(quic) => quic.host.app_mut(),
            Self::Model(host) => host.app_mut(),
        }
    }

    pub(crate) fn drive(&mut self, now: Instant) {
        self.meddled().now = now;
        match self {
            Self::Quic(quic) => quic.host.drive(now),
            Self::Model(host) => host.drive(now),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<A::Event> {
        match self {
            Self::Quic(quic) => quic.host.poll_event(),
            Self::Model(host) => host.poll_event(),
        }
    }

    pub(crate) fn close_all(&mut self, now: Instant, code: u64, reason: &str) {
        self.meddled().now = now;
        match self {
            Self::Quic(quic) => quic.host.close_all(now, code, reason),
            Self::Model(host) => host.close_all(now, code, reason),
        }
    }

    pub(crate) fn stop_accepting(&mut self) {
        match self {
            Self::Quic(quic) => quic.host.stop_accepting(),
            Self::Model(host) => host.stop_accepting(),
        }
    }

    pub(crate) fn adjust_wall_clock(&mut self, now: Instant, unix: UnixTime) {
        match self {
            Self::Quic(quic) => quic.host.adjust_wall_clock(now, unix),
            // It has no certificates that a clock could find too old.
            Self::Model(_) => {}
        }
    }

    /// Whether no connection is left, not even a closing one.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.host.is_idle(),
            Self::Model(host) => host.is_idle(),
        }
    }

    pub(crate) fn figures(&self) -> Option<Figures> {
        match self {
            Self::Quic(quic) => Some(quic.host.figures()),
            Self::Model(_) => None,
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        match self {
            Self::Quic(quic) => quic.host.counters(),
            Self::Model(host) => host.counters(),
        }
    }
}

impl<A: App> Quic<A> {
    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(segment) = self.segments.pop_front() {
            return Some(segment);
        }
        let transmit = self
            .host
            .poll_transmit(now, SEGMENTS_MAX, &mut self.buffer)?;
        let bytes = self.buffer.get(..transmit.size).unwrap_or_default();
        let size = transmit.segment_size.unwrap_or(transmit.size).max(1);
        self.segments
            .extend(bytes.chunks(size).map(|segment| Outgoing {
                to: transmit.destination,
                packet: Packet::Datagram(segment.to_vec(), transmit.ecn),
            }));
        self.segments.pop_front()
    }
}

fn meddled<A: App>(context: &Context, app: A) -> Meddled<A> {
    let (node, life) = (context.id.0, context.life);
    let purpose = Purpose::Meddle { node, life };
    Meddled::new(app, context.setting.streams.stream(purpose))
}

fn config(context: &Context, unix: UnixTime) -> (mainstem_quic::Config, Lease) {
    let streams = context.setting.streams;
    let (node, life) = (context.id.0, context.life);
    let lease = Lease::take(streams.stream(Purpose::Tls { node, life }));
    let epoch = context.setting.epoch;
    let config = host_config(streams, node, life, &lease, epoch, unix);
    (config, lease)
}

/// The plan's bounds over the usual ones.
fn apply(limits: &mut Limits, plan: &NodeLimits) {
    let set = |to: &mut u32, from: Option<u32>| *to = from.unwrap_or(*to);
    set(
        &mut limits.stream_receive_window,
        plan.stream_receive_window,
    );
    set(&mut limits.receive_window, plan.receive_window);
    set(&mut limits.peer_uni_streams_max, plan.peer_uni_streams);
    set(&mut limits.peer_bidi_streams_max, plan.peer_bidi_streams);
    limits.send_window = plan.send_window.unwrap_or(limits.send_window);
    limits.connections_max = plan.connections.unwrap_or(limits.connections_max);
    if let Some(ms) = plan.idle_ms {
        limits.idle_timeout = Duration::from_millis(ms);
    }
    if let Some(ms) = plan.keep_alive_ms {
        limits.keep_alive = Some(Duration::from_millis(ms));
    }
}
