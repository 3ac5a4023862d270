//! Hosts of either kind, links that lose and reorder, and virtual time.

use bytes::{Bytes, BytesMut};
use mainstem_core::payload::Payload;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{
    Action, App, Carrier, Closed, Direction, Input, Origin, Output, SessionId, StreamEvent,
    StreamId, Target,
};
use mainstem_quic::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use mainstem_quic::{
    Certificates, Config, ConnectRequest, Counters, Datagram, Entropy, Host, Limits, Server,
    TlsTrust,
};
use mainstem_sim::model::{ModelConfig, ModelHost, ModelPacket, ModelServer};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(crate) const UNI: Direction = Direction::Unidirectional;
pub(crate) const BIDI: Direction = Direction::Bidirectional;
pub(crate) const CARRIERS: [Carrier; 2] = [Carrier::Quic, Carrier::WebTransport];
pub(crate) const KINDS: [Kind; 2] = [Kind::Quic, Kind::Model];
const CLOCK: UnixTime = UnixTime::from_secs(1_800_000_000);

/// What carries the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Quic,
    Model,
}

#[derive(Clone)]
enum Packet {
    Quic(BytesMut),
    Model(ModelPacket),
}

/// A machine that writes down what it was told.
pub(crate) struct Tap<A: App> {
    pub(crate) app: A,
    pub(crate) log: Vec<Input>,
}

impl<A: App> App for Tap<A> {
    type Event = A::Event;
    fn handle(&mut self, now: Instant, input: Input) {
        self.log.push(input.clone());
        self.app.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.app.handle_timeout(now);
    }
    fn poll(&mut self) -> Option<Action<A::Event>> {
        self.app.poll()
    }
    fn next_timeout(&self) -> Option<Instant> {
        self.app.next_timeout()
    }
}

/// An application that does what the test says.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) todo: VecDeque<Output>,
    /// Answers each `Writable` with this many bytes, so often.
    pub(crate) flood: Option<(usize, usize)>,
    /// Sends every byte of a stream of the peer back on it.
    pub(crate) echo: bool,
}

impl App for Script {
    type Event = ();
    fn handle(&mut self, _now: Instant, input: Input) {
        let Input::Stream {
            session,
            stream,
            event,
        } = input
        else {
            return;
        };
        match event {
            StreamEvent::Writable => {
                if let Some((bytes, left)) = &mut self.flood
                    && *left > 0
                {
                    *left -= 1;
                    let data = vec![7; *bytes];
                    self.todo
                        .push_back(write(session, stream, data, *left == 0, true));
                }
            }
            StreamEvent::Data(data) if self.echo => {
                self.todo
                    .push_back(write(session, stream, data, false, false));
            }
            StreamEvent::Finished if self.echo => {
                self.todo
                    .push_back(write(session, stream, Bytes::new(), true, false));
            }
            _ => {}
        }
    }
    fn handle_timeout(&mut self, _now: Instant) {}
    fn poll(&mut self) -> Option<Action<()>> {
        self.todo.pop_front().map(Action::Transport)
    }
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A host of either kind.
pub(crate) enum Hosted<A: App> {
    Quic(Box<Host<Tap<A>>>),
    Model(Box<ModelHost<Tap<A>>>),
}

macro_rules! on {
    ($self:expr, $host:ident => $act:expr) => {
        match $self {
            Hosted::Quic($host) => $act,
            Hosted::Model($host) => $act,
        }
    };
}

impl<A: App> Hosted<A> {
    pub(crate) fn app(&mut self) -> &mut A {
        on!(self, host => &mut host.app_mut().app)
    }
    pub(crate) fn log(&self) -> &[Input] {
        on!(self, host => &host.app().log)
    }
    pub(crate) fn drive(&mut self, now: Instant) {
        on!(self, host => host.drive(now));
    }
    pub(crate) fn connect(&mut self, now: Instant, request: ConnectRequest) -> SessionId {
        on!(self, host => host.connect(now, request).unwrap())
    }
    pub(crate) fn pause(&mut self, now: Instant, session: SessionId, is_paused: bool) {
        on!(self, host => host.pause(now, session, is_paused));
    }
    pub(crate) fn close_all(&mut self, now: Instant, code: u64, reason: &str) {
        on!(self, host => host.close_all(now, code, reason));
    }
    pub(crate) fn is_idle(&self) -> bool {
        on!(self, host => host.is_idle())
    }
    pub(crate) fn counters(&self) -> Counters {
        on!(self, host => host.counters())
    }
    pub(crate) fn events(&mut self) -> Vec<A::Event> {
        on!(self, host => std::iter::from_fn(|| host.poll_event()).collect())
    }
}

trait AnyHost {
    fn handle(&self, now: Instant, remote: SocketAddr, packet: Packet);
    fn handle_timeout(&self, now: Instant);
    fn next_timeout(&self) -> Option<Instant>;
    fn transmit(&self, now: Instant) -> Vec<(SocketAddr, Packet)>;
}

impl<A: App> AnyHost for Rc<RefCell<Hosted<A>>> {
    fn handle(&self, now: Instant, remote: SocketAddr, packet: Packet) {
        match (&mut *self.borrow_mut(), packet) {
            (Hosted::Quic(host), Packet::Quic(data)) => {
                let (local_ip, ecn) = (None, None);
                let datagram = Datagram {
                    remote,
                    local_ip,
                    ecn,
                    data,
                };
                host.handle_datagram(now, datagram);
            }
            (Hosted::Model(host), Packet::Model(packet)) => {
                host.handle_packet(now, remote, &packet);
            }
            _ => unreachable!("all hosts of a world are of one kind"),
        }
    }
    fn handle_timeout(&self, now: Instant) {
        on!(&mut *self.borrow_mut(), host => {
            if host.next_timeout().is_some_and(|at| at <= now) {
                host.handle_timeout(now);
            }
        });
    }
    fn next_timeout(&self) -> Option<Instant> {
        on!(&*self.borrow(), host => host.next_timeout())
    }
    fn transmit(&self, now: Instant) -> Vec<(SocketAddr, Packet)> {
        let mut out = Vec::new();
        match &mut *self.borrow_mut() {
            Hosted::Quic(host) => {
                let mut buffer = Vec::new();
                while let Some(transmit) = host.poll_transmit(now, 10, &mut buffer) {
                    let size = transmit.segment_size.unwrap_or(transmit.size);
                    for packet in buffer[..transmit.size].chunks(size) {
                        let packet = Packet::Quic(BytesMut::from(packet));
                        out.push((transmit.destination, packet));
                    }
                }
            }
            Hosted::Model(host) => {
                while let Some(transmit) = host.poll_transmit(now) {
                    out.push((transmit.destination, Packet::Model(transmit.packet)));
                }
            }
        }
        out
    }
}

/// How links treat packets.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_per_mille: u64,
    pub(crate) duplicates_per_mille: u64,
}

pub(crate) const GOOD: Link = Link {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss_per_mille: 0,
    duplicates_per_mille: 0,
};

pub(crate) const BAD: Link = Link {
    delay: Duration::from_millis(10),
    jitter: Duration::from_millis(8),
    loss_per_mille: 50,
    duplicates_per_mille: 30,
};

pub(crate) struct World {
    kind: Kind,
    hosts: Vec<Box<dyn AnyHost>>,
    pub(crate) now: Instant,
    pub(crate) link: Link,
    packets: BTreeMap<(Instant, u64), (usize, usize, Packet)>,
    pub(crate) packets_sent: u64,
    dice: u64,
    certificates: Certificates,
    pins: Vec<[u8; 32]>,
}

impl World {
    pub(crate) fn new(kind: Kind, link: Link) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let certificates = Certificates::new(vec![certificate.der().clone()], key).unwrap();
        Self {
            kind,
            hosts: Vec::new(),
            now: Instant::ZERO,
            link,
            packets: BTreeMap::new(),
            packets_sent: 0,
            dice: 0x9e37_79b9_7f4a_7c15,
            pins: vec![certificates.sha256()],
            certificates,
        }
    }

    pub(crate) fn reseed(&mut self, seed: u64) {
        self.dice = seed;
    }

    /// Adds a host, which serves when `is_server`; its number and itself.
    pub(crate) fn add<A: App + 'static>(
        &mut self,
        is_server: bool,
        limits: Limits,
        app: A,
    ) -> (usize, Rc<RefCell<Hosted<A>>>) {
        let hosted = self.make(self.hosts.len() as u64, is_server, limits, app);
        let host = Rc::new(RefCell::new(hosted));
        self.hosts.push(Box::new(Rc::clone(&host)));
        (self.hosts.len() - 1, host)
    }

    fn make<A: App>(&self, id: u64, is_server: bool, limits: Limits, app: A) -> Hosted<A> {
        let protocols: Vec<String> = ["moqt-22", "moqt-20", "moqt-18"]
            .map(str::to_owned)
            .to_vec();
        let log = Vec::new();
        let tap = Tap { app, log };
        match self.kind {
            Kind::Quic => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "an Instant cannot be made otherwise"
                )]
                let epoch = std::time::Instant::now();
                let seed = [u8::try_from(id).unwrap() + 1; 32];
                let mut config = Config::new(Entropy::from_seed(seed), epoch, CLOCK);
                config.limits = limits;
                config.server = is_server.then(|| Server {
                    protocols,
                    web_transport: true,
                    certificates: self.certificates.clone(),
                });
                Hosted::Quic(Box::new(Host::new(config, tap).unwrap()))
            }
            Kind::Model => {
                let mut config = ModelConfig::new(id);
                config.limits = limits;
                config.server = is_server.then_some(ModelServer {
                    protocols,
                    web_transport: true,
                });
                Hosted::Model(Box::new(ModelHost::new(config, tap)))
            }
        }
    }

    /// A host dies without a word and another stands in its place.
    pub(crate) fn restart<A: App>(
        &mut self,
        host: &Rc<RefCell<Hosted<A>>>,
        is_server: bool,
        app: A,
    ) {
        let hosted = self.make(77, is_server, Limits::default(), app);
        *host.borrow_mut() = hosted;
    }

    pub(crate) fn request(&self, to: usize, carrier: Carrier, path: &str) -> ConnectRequest {
        ConnectRequest {
            remote: address(to),
            server_name: "localhost".into(),
            carrier,
            protocols: vec!["moqt-18".into(), "moqt-22".into()],
            target: Target {
                authority: "localhost:4433".into(),
                path: path.into(),
            },
            trust: TlsTrust::Pinned(self.pins.clone()),
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Does what is due next; false when nothing happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        for from in 0..self.hosts.len() {
            for (to, packet) in self.hosts[from].transmit(self.now) {
                self.send(from, to, &packet);
            }
        }
        let packet = self.packets.first_key_value().map(|(key, _)| key.0);
        let timers = self.hosts.iter().filter_map(|host| host.next_timeout());
        let Some(next) = packet.into_iter().chain(timers).min() else {
            return false;
        };
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        while let Some(entry) = self.packets.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (from, to, packet) = entry.remove();
            self.hosts[to].handle(self.now, address(from), packet);
        }
        for host in &self.hosts {
            host.handle_timeout(self.now);
        }
        true
    }

    fn send(&mut self, from: usize, to: SocketAddr, packet: &Packet) {
        let to = usize::from(to.port() - 4000);
        self.packets_sent += 1;
        if self.roll() % 1000 < self.link.loss_per_mille {
            return;
        }
        let twice = self.roll() % 1000 < self.link.duplicates_per_mille;
        for _ in 0..=usize::from(twice) {
            let jitter = u64::try_from(self.link.jitter.as_nanos()).unwrap();
            let jitter = Duration::from_nanos(self.roll() % (jitter + 1));
            let at = self.now + self.link.delay + jitter;
            let number = self.roll();
            let number = if jitter.is_zero() {
                self.packets_sent
            } else {
                number
            };
            self.packets
                .insert((at, number), (from, to, packet.clone()));
        }
    }

    fn roll(&mut self) -> u64 {
        // splitmix64
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A client and a server that do what the test says, with a session between them.
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) ends: [Rc<RefCell<Hosted<Script>>>; 2],
    pub(crate) sessions: [SessionId; 2],
}

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

impl Pair {
    pub(crate) fn new(kind: Kind, carrier: Carrier) -> Self {
        Self::with(kind, carrier, GOOD, [Limits::default(), Limits::default()])
    }

    pub(crate) fn with(kind: Kind, carrier: Carrier, link: Link, limits: [Limits; 2]) -> Self {
        let mut world = World::new(kind, link);
        let [of_client, of_server] = limits;
        let (_, client) = world.add(false, of_client, Script::default());
        let (to, server) = world.add(true, of_server, Script::default());
        let request = world.request(to, carrier, "/live?jwt=secret");
        let ours = client.borrow_mut().connect(world.now, request);
        let mut pair = Self {
            world,
            ends: [client, server],
            sessions: [ours, SessionId(0)],
        };
        pair.world.run_for(Duration::from_secs(2));
        let theirs = pair.ends[SERVER]
            .borrow()
            .log()
            .iter()
            .find_map(|input| match input {
                Input::Opened { session, .. } => Some(*session),
                _ => None,
            });
        pair.sessions[SERVER] = theirs.unwrap_or(SessionId(0));
        pair
    }

    pub(crate) fn act(&mut self, end: usize, output: Output) {
        let mut host = self.ends[end].borrow_mut();
        host.app().todo.push_back(output);
        host.drive(self.world.now);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.world.run_for(time);
    }

    pub(crate) fn story(&self, end: usize) -> Story {
        story(self.ends[end].borrow().log())
    }

    pub(crate) fn closed(&self, end: usize) -> Option<Closed> {
        self.ends[end]
            .borrow()
            .log()
            .iter()
            .find_map(|input| match input {
                Input::Closed { closed, .. } => Some(closed.clone()),
                _ => None,
            })
    }
}

/// What was told of each stream, bytes joined; and of each session beside them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) streams: BTreeMap<(SessionId, StreamId), (Vec<u8>, Vec<StreamEvent>)>,
    pub(crate) sessions: BTreeMap<SessionId, Vec<String>>,
}

impl Story {
    pub(crate) fn of(&self, session: SessionId, stream: StreamId) -> (Vec<u8>, Vec<StreamEvent>) {
        self.streams
            .get(&(session, stream))
            .cloned()
            .unwrap_or_default()
    }
}

pub(crate) fn story(log: &[Input]) -> Story {
    let mut story = Story::default();
    for input in log {
        match input {
            Input::Stream {
                session,
                stream,
                event,
            } => {
                let of = story.streams.entry((*session, *stream)).or_default();
                match event {
                    StreamEvent::Data(data) => {
                        assert!(
                            of.1.iter().all(|it| *it == StreamEvent::Writable
                                || matches!(it, StreamEvent::Stopped(_))),
                            "bytes after the end"
                        );
                        of.0.extend_from_slice(data);
                    }
                    event => of.1.push(event.clone()),
                }
            }
            Input::Opened { session, opened } => {
                let words = format!("{opened:?}");
                story.sessions.entry(*session).or_default().push(words);
            }
            Input::Closed { session, closed } => {
                let words = match closed {
                    Closed::Application { .. } => format!("{closed:?}"),
                    Closed::Transport { .. } => "transport".to_owned(),
                };
                story.sessions.entry(*session).or_default().push(words);
            }
            Input::Datagram { session, data } => {
                let words = format!("{data:?}");
                story.sessions.entry(*session).or_default().push(words);
            }
        }
    }
    story
}

pub(crate) fn address(host: usize) -> SocketAddr {
    format!("192.0.2.1:{}", 4000 + host).parse().unwrap()
}

pub(crate) fn local(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Origin::Local, direction, index)
}

pub(crate) fn peer(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Origin::Peer, direction, index)
}

pub(crate) fn open(session: SessionId, stream: StreamId, priority: i32) -> Output {
    Output::Open {
        session,
        stream,
        priority,
    }
}

pub(crate) fn write(
    session: SessionId,
    stream: StreamId,
    data: impl Into<Bytes>,
    fin: bool,
    notify: bool,
) -> Output {
    Output::Write {
        session,
        stream,
        head: Bytes::new(),
        body: Payload::from(data.into()),
        fin,
        notify,
    }
}
