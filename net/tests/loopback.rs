//! Two shards on the loopback interface: real sockets, real time. Timings are printed, not judged.

use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Closed, Direction, Input, Origin, Output, SessionId, StreamEvent,
    StreamId, Target,
};
use mainstem_net::{Clock, PacketIo, Portable, Shard, ShardConfig, SocketOptions, host_config};
use mainstem_quic::rustls::pki_types::PrivatePkcs8KeyDer;
use mainstem_quic::{Certificates, ConnectRequest, Server, TlsTrust};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);
const CARRIERS: [Carrier; 2] = [Carrier::Quic, Carrier::WebTransport];

/// Sends every byte of a bidirectional stream back, and reports what ends.
#[derive(Default)]
struct Echo {
    actions: VecDeque<Action<News>>,
    received: BTreeMap<SessionId, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Opened(SessionId),
    /// A stream of ours ended after this many bytes.
    Back(SessionId, u64),
    Closed(SessionId, Closed),
}

impl Echo {
    /// Opens a stream and sends `payload` on it.
    fn send(&mut self, session: SessionId, payload: Payload) {
        let stream = StreamId::new(Origin::Local, Direction::Bidirectional, 0);
        self.actions.push_back(Action::Transport(Output::Open {
            session,
            stream,
            priority: 0,
        }));
        self.actions.push_back(Action::Transport(Output::Write {
            session,
            stream,
            head: Bytes::new(),
            body: payload,
            fin: true,
            notify: false,
        }));
    }
}

impl App for Echo {
    type Event = News;

    fn handle(&mut self, _now: Instant, input: Input) {
        let (session, stream, event) = match input {
            Input::Opened { session, .. } => {
                self.actions.push_back(Action::Event(News::Opened(session)));
                return;
            }
            Input::Closed { session, closed } => {
                let news = News::Closed(session, closed);
                self.actions.push_back(Action::Event(news));
                return;
            }
            Input::Datagram { .. } => return,
            Input::Stream {
                session,
                stream,
                event,
            } => (session, stream, event),
        };
        let (data, fin) = match event {
            StreamEvent::Data(data) => (data, false),
            StreamEvent::Finished => (Bytes::new(), true),
            _ => return,
        };
        if stream.origin() == Origin::Local {
            let received = self.received.entry(session).or_default();
            *received += data.len() as u64;
            if fin {
                let news = News::Back(session, *received);
                self.actions.push_back(Action::Event(news));
            }
        } else {
            self.actions.push_back(Action::Transport(Output::Write {
                session,
                stream,
                head: data,
                body: Payload::default(),
                fin,
                notify: false,
            }));
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll(&mut self) -> Option<Action<News>> {
        self.actions.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

struct Pair {
    client: Shard<Echo>,
    server: Shard<Echo>,
    news: Receiver<News>,
    pin: [u8; 32],
}

impl Pair {
    fn new(bind: &str) -> Self {
        let clock = Clock::start();
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let certificates =
            Certificates::new(vec![certificate.der().clone()], key).expect("certificates");
        let pin = certificates.sha256();
        let config = |name: &str, server| {
            let mut host = host_config(&clock).expect("entropy");
            host.server = server;
            // The echo application does not wait for room, so the host must have it.
            host.limits.unsent_bytes_max = 64 << 20;
            ShardConfig {
                name: name.into(),
                socket: SocketOptions::new(bind.parse().expect("an address")),
                host,
                clock,
            }
        };
        let serving = Server {
            protocols: vec!["echo".into()],
            web_transport: true,
            certificates,
        };
        let server = Shard::spawn(config("server", Some(serving)), Echo::default(), |_| {});
        let (sender, news) = channel();
        let client = Shard::spawn(config("client", None), Echo::default(), move |event| {
            // The test may be over.
            let _ = sender.send(event);
        });
        Self {
            client: client.expect("a client shard"),
            server: server.expect("a server shard"),
            news,
            pin,
        }
    }

    fn connect(&self, carrier: Carrier) -> SessionId {
        let port = self.server.local_addr().port();
        let remote = if self.server.local_addr().is_ipv4() {
            SocketAddr::from(([127, 0, 0, 1], port))
        } else {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))
        };
        self.connect_to(remote, carrier)
    }

    fn connect_to(&self, remote: SocketAddr, carrier: Carrier) -> SessionId {
        let request = ConnectRequest {
            remote,
            server_name: "localhost".into(),
            carrier,
            protocols: vec!["echo".into()],
            target: Target {
                authority: "localhost".into(),
                path: "/".into(),
            },
            trust: TlsTrust::Pinned(vec![self.pin]),
        };
        let handle = self.client.handle();
        let session = handle.ask(move |host, now| host.connect(now, request));
        session.expect("a running shard").expect("a session")
    }

    fn next(&self) -> News {
        self.news.recv_timeout(PATIENCE).expect("news")
    }

    fn open(&self, carrier: Carrier) -> SessionId {
        let session = self.connect(carrier);
        assert_eq!(self.next(), News::Opened(session));
        session
    }

    fn send(&self, session: SessionId, payload: Payload) {
        self.client
            .handle()
            .call(move |host, _| host.app_mut().send(session, payload))
            .expect("a running shard");
    }
}

/// `len` bytes in pieces of 1200, as if they had come from a network.
fn payload(len: usize) -> Payload {
    let whole = Bytes::from(vec![7; len]);
    let pieces = (0..len).step_by(1200);
    Payload::from_pieces(
        pieces
            .map(|at| whole.slice(at..len.min(at + 1200)))
            .collect(),
    )
}

#[test]
fn ten_megabytes_go_there_and_back() {
    for carrier in CARRIERS {
        let pair = Pair::new("127.0.0.1:0");
        let session = pair.open(carrier);
        let start = Clock::start();
        pair.send(session, payload(10 << 20));
        assert_eq!(pair.next(), News::Back(session, 10 << 20));
        println!("{carrier:?}: 10 MiB there and back in {:?}", start.now());
        let stats = pair.client.stop(0, "done", PATIENCE).expect("no panic");
        println!("{stats:?}");
        assert_eq!(stats.sessions_open, 0);
        assert_eq!(stats.closed_by_us, 1);
    }
}

#[test]
fn fifty_sessions_share_a_shard() {
    for carrier in CARRIERS {
        let pair = Pair::new("127.0.0.1:0");
        let start = Clock::start();
        let sessions: Vec<_> = (0..50).map(|_| pair.connect(carrier)).collect();
        for _ in &sessions {
            assert!(matches!(pair.next(), News::Opened(_)));
        }
        println!("{carrier:?}: 50 sessions open after {:?}", start.now());
        for session in &sessions {
            pair.send(*session, payload(200 << 10));
        }
        for _ in &sessions {
            assert!(matches!(pair.next(), News::Back(_, bytes) if bytes == 200 << 10));
        }
        println!("{carrier:?}: 50 x 200 KiB after {:?}", start.now());
        // The server goes; every client hears why.
        let Pair { server, news, .. } = pair;
        server.stop(3, "restarting", PATIENCE).expect("no panic");
        for _ in &sessions {
            let Ok(News::Closed(_, closed)) = news.recv_timeout(PATIENCE) else {
                panic!("expected a close");
            };
            let want = Closed::Application {
                by: Origin::Peer,
                code: 3,
                reason: "restarting".into(),
            };
            assert_eq!(closed, want);
        }
    }
}

#[test]
fn dual_stack_sockets_speak_both_families() {
    let pair = Pair::new("[::]:0");
    for carrier in CARRIERS {
        pair.open(carrier);
        let remote = SocketAddr::from(([127, 0, 0, 1], pair.server.local_addr().port()));
        let session = pair.connect_to(remote, carrier);
        assert_eq!(pair.next(), News::Opened(session));
    }
}

#[test]
fn shards_can_share_an_address() {
    let socket = |port| {
        let mut options = SocketOptions::new(SocketAddr::from(([127, 0, 0, 1], port)));
        options.reuse_port = true;
        Portable::open(&options)
    };
    let first = socket(0).expect("a socket");
    let port = first.local_addr().expect("an address").port();
    let second = socket(port).expect("the same address");
    assert_eq!(second.local_addr().expect("an address").port(), port);
}

#[test]
fn a_stopped_shard_takes_no_commands() {
    let pair = Pair::new("127.0.0.1:0");
    let handle = pair.server.handle();
    pair.server.stop(0, "", PATIENCE).expect("no panic");
    assert!(handle.call(|_, _| {}).is_err());
    assert!(handle.ask(|_, _| {}).is_err());
}
