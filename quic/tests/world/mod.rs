//! Two hosts, a link between them and virtual time: no sockets, no clock.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is how tests speak"
)]

use bytes::{Bytes, BytesMut};
use mainstem_core::payload::Payload;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{
    Action, App, Carrier, Closed, Direction, Input, Opened, Origin, Output, SessionId, StreamEvent,
    StreamId, Target,
};
use mainstem_quic::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use mainstem_quic::{
    Certificates, Config, ConnectRequest, Datagram, Entropy, Host, Limits, Server, TlsTrust,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) type Reaction = Box<dyn FnMut(Instant, &Input, &mut Vec<Output>)>;

/// An application that remembers what it was told and does what the test says.
pub(crate) struct Probe {
    pub(crate) log: Vec<Input>,
    pub(crate) todo: VecDeque<Output>,
    pub(crate) reaction: Option<Reaction>,
    /// Keep the log small: drop data events.
    pub(crate) forget_data: bool,
    pub(crate) received: u64,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self {
            log: Vec::new(),
            todo: VecDeque::new(),
            reaction: None,
            forget_data: false,
            received: 0,
        }
    }

    /// Sends every stream's bytes back: on itself, or for a unidirectional one on a new stream.
    pub(crate) fn echo() -> Self {
        let mut probe = Self::new();
        let mut back: BTreeMap<(SessionId, StreamId), StreamId> = BTreeMap::new();
        let mut next: BTreeMap<SessionId, u64> = BTreeMap::new();
        probe.reaction = Some(Box::new(move |_, input, out| {
            let (session, stream, event) = match input {
                Input::Stream {
                    session,
                    stream,
                    event,
                } => (*session, *stream, event),
                Input::Datagram { session, data } => {
                    out.push(Output::Datagram {
                        session: *session,
                        data: data.clone(),
                        until: None,
                    });
                    return;
                }
                _ => return,
            };
            let (data, fin) = match event {
                StreamEvent::Data(data) => (data.clone(), false),
                StreamEvent::Finished => (Bytes::new(), true),
                _ => return,
            };
            let target = if stream.direction() == Direction::Bidirectional {
                stream
            } else {
                *back.entry((session, stream)).or_insert_with(|| {
                    let index = next.entry(session).or_default();
                    let stream = StreamId::new(Origin::Local, Direction::Unidirectional, *index);
                    *index += 1;
                    out.push(Output::Open {
                        session,
                        stream,
                        priority: 0,
                    });
                    stream
                })
            };
            out.push(write(session, target, data, fin, false));
        }));
        probe
    }

    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.log.iter().find_map(|input| match input {
            Input::Opened { opened, .. } => Some(opened),
            _ => None,
        })
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.log.iter().find_map(|input| match input {
            Input::Opened { session, .. } => Some(*session),
            _ => None,
        })
    }

    pub(crate) fn closed(&self, of: SessionId) -> Option<&Closed> {
        self.log.iter().find_map(|input| match input {
            Input::Closed { session, closed } if *session == of => Some(closed),
            _ => None,
        })
    }

    /// Everything that was said about a stream, with its data joined.
    pub(crate) fn stream(&self, of: StreamId) -> (Vec<u8>, Vec<StreamEvent>) {
        let mut data = Vec::new();
        let mut other = Vec::new();
        for input in &self.log {
            if let Input::Stream { stream, event, .. } = input
                && *stream == of
            {
                match event {
                    StreamEvent::Data(bytes) => data.extend_from_slice(bytes),
                    event => other.push(event.clone()),
                }
            }
        }
        (data, other)
    }

    pub(crate) fn datagrams(&self) -> Vec<&Bytes> {
        self.log
            .iter()
            .filter_map(|input| match input {
                Input::Datagram { data, .. } => Some(data),
                _ => None,
            })
            .collect()
    }
}

impl App for Probe {
    type Event = ();

    fn handle(&mut self, now: Instant, input: Input) {
        if let Some(reaction) = &mut self.reaction {
            let mut out = Vec::new();
            reaction(now, &input, &mut out);
            self.todo.extend(out);
        }
        if let Input::Stream {
            event: StreamEvent::Data(data),
            ..
        } = &input
        {
            self.received += data.len() as u64;
            if self.forget_data {
                return;
            }
        }
        self.log.push(input);
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll(&mut self) -> Option<Action<()>> {
        self.todo.pop_front().map(Action::Transport)
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// How the link treats packets.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_per_mille: u64,
}

pub(crate) const GOOD: Link = Link {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss_per_mille: 0,
};

/// Loses and reorders.
pub(crate) const BAD: Link = Link {
    delay: Duration::from_millis(10),
    jitter: Duration::from_millis(8),
    loss_per_mille: 30,
};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

pub(crate) struct World {
    pub(crate) hosts: [Host<Probe>; 2],
    pub(crate) now: Instant,
    pub(crate) link: Link,
    packets: BTreeMap<(Instant, u64), (usize, SocketAddr, BytesMut)>,
    count: u64,
    dice: u64,
    /// Packets to neither host, with their destination.
    pub(crate) stray: Vec<(SocketAddr, Vec<u8>)>,
    /// What an observer of the link sees of each packet.
    pub(crate) seen: Vec<(Instant, usize, Vec<u8>)>,
    pub(crate) pins: Vec<[u8; 32]>,
    pub(crate) certificates: Certificates,
}

impl World {
    pub(crate) fn new(link: Link, limits: [Limits; 2], client: Probe, server: Probe) -> Self {
        let certificates = certificates("localhost");
        let config = |seed: u8, limits| {
            // The epoch only has to be the same within a host.
            #[allow(
                clippy::disallowed_methods,
                reason = "an Instant cannot be made otherwise"
            )]
            let epoch = std::time::Instant::now();
            let mut config = Config::new(
                Entropy::from_seed([seed; 32]),
                epoch,
                UnixTime::from_secs(1_800_000_000),
            );
            config.limits = limits;
            config
        };
        let [client_limits, server_limits] = limits;
        let mut serving = config(2, server_limits);
        serving.server = Some(Server {
            protocols: protocols(&["moqt-22", "moqt-20", "moqt-18"]),
            web_transport: true,
            certificates: certificates.clone(),
        });
        Self {
            hosts: [
                Host::new(config(1, client_limits), client).unwrap(),
                Host::new(serving, server).unwrap(),
            ],
            now: Instant::ZERO,
            link,
            packets: BTreeMap::new(),
            count: 0,
            dice: 0x9e37_79b9_7f4a_7c15,
            stray: Vec::new(),
            seen: Vec::new(),
            pins: vec![certificates.sha256()],
            certificates,
        }
    }

    pub(crate) fn simple() -> Self {
        Self::new(GOOD, Default::default(), Probe::new(), Probe::new())
    }

    pub(crate) fn request(&self, carrier: Carrier, offered: &[&str]) -> ConnectRequest {
        ConnectRequest {
            remote: address(SERVER),
            server_name: "localhost".into(),
            carrier,
            protocols: protocols(offered),
            target: Target {
                authority: "localhost:4433".into(),
                path: "/live?jwt=secret".into(),
            },
            trust: TlsTrust::Pinned(self.pins.clone()),
        }
    }

    /// Connects and runs until both ends have a session: the client's and the server's name of it.
    pub(crate) fn open(&mut self, carrier: Carrier) -> (SessionId, SessionId) {
        let before = self.hosts[SERVER].counters().sessions_opened;
        let request = self.request(carrier, &["moqt-22"]);
        let client = self.hosts[CLIENT].connect(self.now, request).unwrap();
        self.run_until(Duration::from_secs(10), |world| {
            world.hosts[SERVER].counters().sessions_opened > before
        });
        self.run_for(Duration::from_millis(200));
        let server = self.hosts[SERVER]
            .app()
            .log
            .iter()
            .rev()
            .find_map(|i| match i {
                Input::Opened { session, .. } => Some(*session),
                _ => None,
            });
        (client, server.expect("the server has a session"))
    }

    pub(crate) fn act(&mut self, host: usize, output: Output) {
        self.hosts[host].app_mut().todo.push_back(output);
        self.hosts[host].drive(self.now);
    }

    pub(crate) fn log(&self, host: usize) -> &[Input] {
        &self.hosts[host].app().log
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`; fails when that takes longer than `patience` of virtual time.
    pub(crate) fn run_until(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + patience;
        while !done(self) {
            assert!(self.step(end), "not done in {patience:?} of virtual time");
        }
    }

    /// Delivers what is due next; false when nothing happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.transmit();
        let packet = self.packets.first_key_value().map(|(key, _)| key.0);
        let timers = self.hosts.iter().filter_map(Host::next_timeout);
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
            let (to, remote, data) = entry.remove();
            self.hosts[to].handle_datagram(
                self.now,
                Datagram {
                    remote,
                    local_ip: None,
                    ecn: None,
                    data,
                },
            );
        }
        for host in &mut self.hosts {
            if host.next_timeout().is_some_and(|at| at <= self.now) {
                host.handle_timeout(self.now);
            }
        }
        true
    }

    fn transmit(&mut self) {
        let mut buffer = Vec::new();
        for from in [CLIENT, SERVER] {
            while let Some(transmit) = self.hosts[from].poll_transmit(self.now, 10, &mut buffer) {
                let segment = transmit.segment_size.unwrap_or(transmit.size);
                for packet in buffer[..transmit.size].chunks(segment) {
                    self.deliver(from, transmit.destination, packet);
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, to: SocketAddr, packet: &[u8]) {
        // Connection ids are in the clear: 8 bytes after the first, or both in a long header.
        let clear = if packet[0] & 0x80 == 0 { 9 } else { 24 };
        self.seen
            .push((self.now, packet.len(), packet[1..clear].to_vec()));
        if ![address(CLIENT), address(SERVER)].contains(&to) {
            self.stray.push((to, packet.to_vec()));
            return;
        }
        if self.roll() % 1000 < self.link.loss_per_mille {
            return;
        }
        let jitter = u64::try_from(self.link.jitter.as_nanos()).unwrap();
        let jitter = Duration::from_nanos(self.roll() % (jitter + 1));
        let at = self.now + self.link.delay + jitter;
        self.count += 1;
        let data = BytesMut::from(packet);
        self.packets
            .insert((at, self.count), (1 - from, address(from), data));
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

pub(crate) fn address(host: usize) -> SocketAddr {
    let address = ["[2001:db8::1]:5000", "[2001:db8::2]:4433"][host];
    address.parse().unwrap()
}

pub(crate) fn certificates(name: &str) -> Certificates {
    let (chain, key) = identity(name);
    Certificates::new(chain, key).unwrap()
}

pub(crate) type Identity = (
    Vec<mainstem_quic::rustls::pki_types::CertificateDer<'static>>,
    PrivateKeyDer<'static>,
);

pub(crate) fn identity(name: &str) -> Identity {
    // Ed25519: its signatures have one size, and no nonce.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    (vec![certificate.der().clone()], key)
}

pub(crate) fn protocols(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn local(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Origin::Local, direction, index)
}

pub(crate) fn peer(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Origin::Peer, direction, index)
}

pub(crate) fn open(session: SessionId, stream: StreamId) -> Output {
    Output::Open {
        session,
        stream,
        priority: 0,
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

pub(crate) const UNI: Direction = Direction::Unidirectional;
pub(crate) const BIDI: Direction = Direction::Bidirectional;
pub(crate) const CARRIERS: [Carrier; 2] = [Carrier::Quic, Carrier::WebTransport];
