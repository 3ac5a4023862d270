//! Everything around an engine.

use bytes::Bytes;
use mainstem_core::catalog::Catalog;
use mainstem_core::cmaf::{self, Fragment};
use mainstem_core::jwt::KeySet;
use mainstem_core::moqt::relay::{self, Policy, Relay};
use mainstem_core::moqt::{Draft, TrackNamespace, session};
use mainstem_core::resolve::{
    IngestKind, Policy as Treatment, Refusal, RefusalCode, ResolveReply, ResolveRequest, Secret,
};
use mainstem_core::viewer::{Chunk, Event, Selection, Viewer as Machine};
use mainstem_engine::uplink::Trust;
use mainstem_engine::{Config, ControlClient, Engine, RelayConfig, Running};
use mainstem_net::{Client, ClientConfig, Clock, Shard, ShardConfig, SocketOptions};
use mainstem_quic::rustls::pki_types::PrivatePkcs8KeyDer;
use mainstem_quic::{Certificates, Server, TlsTrust};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Everything that ffmpeg 5.1 sent: 30 pictures in three groups, and 53 frames of AAC, to input
/// `lv_1` with key `sk_test`.
pub(crate) const CAPTURE: &[u8] =
    include_bytes!("../../../core/tests/fixtures/rtmp-publish-ffmpeg5.bin");
/// Generous: a loaded machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const NAMESPACE: &str = "stream/org_1/lv_1";
const SECRET: &str = "a secret of programs";

/// Where the capture's pictures begin: after this many bytes the tracks are known and the first
/// group is under way.
pub(crate) const HEAD: usize = 9000;

pub(crate) struct TestRelay {
    shard: Shard<Relay>,
    certificates: Certificates,
}

/// How the relay answers to stream keys.
#[derive(Clone, Copy)]
pub(crate) enum Door {
    Open,
    Closed,
}

impl TestRelay {
    pub(crate) fn start(door: Door) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let certificates = Certificates::new(vec![certificate.der().clone()], key).unwrap();
        Self::start_at("127.0.0.1:0".parse().unwrap(), certificates, door)
    }

    fn start_at(listen: SocketAddr, certificates: Certificates, door: Door) -> Self {
        let clock = Clock::start();
        let mut host = mainstem_net::host_config(&clock).unwrap();
        host.server = Some(Server {
            protocols: protocols(),
            web_transport: true,
            certificates: certificates.clone(),
        });
        let policy = match door {
            Door::Open => Policy::Open,
            Door::Closed => Policy::Tokens {
                keys: KeySet::new(),
                skew: Duration::ZERO,
            },
        };
        let (asked, questions) = std::sync::mpsc::channel();
        let shard = Shard::spawn(
            ShardConfig {
                name: "relay".to_owned(),
                socket: SocketOptions::new(listen),
                host,
                clock,
            },
            Relay::new(relay::Config::default(), policy),
            move |event| {
                if let relay::Event::Resolve { op, .. } = event {
                    asked.send(op).unwrap();
                }
            },
        );
        let shard = shard.unwrap();
        let handle = shard.handle();
        std::thread::spawn(move || {
            for op in questions {
                let refusal = refusal(RefusalCode::WrongStreamKey, "the stream key was replaced");
                let _ = handle.call(move |host, now| {
                    host.app_mut().resolved(now, op, Err(refusal));
                });
            }
        });
        Self {
            shard,
            certificates,
        }
    }

    /// Another relay at the same address.
    pub(crate) fn restart(self) -> Self {
        let (address, certificates) = (self.shard.local_addr(), self.certificates);
        self.shard.stop(0, "restart", Duration::from_millis(200));
        Self::start_at(address, certificates, Door::Open)
    }

    pub(crate) fn url(&self) -> String {
        format!("moqt://{}", self.shard.local_addr())
    }

    pub(crate) fn pin(&self) -> [u8; 32] {
        self.certificates.sha256()
    }

    pub(crate) fn metrics(&self) -> relay::Metrics {
        self.shard
            .handle()
            .ask(|host, _| host.app().metrics())
            .unwrap()
    }
}

fn protocols() -> Vec<String> {
    let drafts = Draft::ALL.iter();
    drafts.map(|draft| draft.protocol().to_owned()).collect()
}

fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal {
        code,
        message: message.to_owned(),
    }
}

/// Answers `POST /streams/resolve` as the control plane does.
pub(crate) async fn control() -> ControlClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    ControlClient::new(&url, Secret::new(SECRET)).unwrap()
}

async fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            return;
        }
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if body.len() < length.unwrap() {
            continue;
        }
        assert!(head.starts_with("POST /streams/resolve "), "{head}");
        assert!(head.contains(&format!("Bearer {SECRET}")), "{head}");
        let question: ResolveRequest = serde_json::from_str(body).unwrap();
        let (status, answer) = decide(&question);
        let reply = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(reply.as_bytes()).await.unwrap();
        request.clear();
    }
}

fn decide(question: &ResolveRequest) -> (&'static str, String) {
    if question.id != "lv_1" {
        let refusal = refusal(RefusalCode::UnknownInput, "there is no such input");
        return ("404 Not Found", serde_json::to_string(&refusal).unwrap());
    }
    if question.sk.as_ref().unwrap().expose() != "sk_test" {
        let refusal = refusal(RefusalCode::WrongStreamKey, "the stream key is wrong");
        return ("403 Forbidden", serde_json::to_string(&refusal).unwrap());
    }
    let reply = ResolveReply {
        namespace: NAMESPACE.to_owned(),
        org: "org_1".to_owned(),
        input: "lv_1".to_owned(),
        expires_at: None,
        credential: "1".to_owned(),
        policy: Treatment {
            ingest: IngestKind::Rtmp,
            recheck_secs: 60,
        },
    };
    ("200 OK", serde_json::to_string(&reply).unwrap())
}

pub(crate) async fn engine(relay: &TestRelay) -> Running {
    Engine::start(config(relay).await).await.unwrap()
}

pub(crate) async fn config(relay: &TestRelay) -> Config {
    let relay = RelayConfig {
        url: relay.url(),
        trust: Trust::Pinned(vec![relay.pin()]),
    };
    Config::new("127.0.0.1:0".parse().unwrap(), control().await, relay)
}

/// A TCP connection to the engine; what it answers is gathered.
pub(crate) struct Encoder {
    writer: tokio::net::tcp::OwnedWriteHalf,
    answers: tokio::task::JoinHandle<Vec<u8>>,
}

impl Encoder {
    pub(crate) async fn connect(engine: &Running) -> Self {
        let stream = TcpStream::connect(engine.rtmp_addr).await.unwrap();
        let (mut reader, writer) = stream.into_split();
        let answers = tokio::spawn(async move {
            let mut all = Vec::new();
            // A reset ends it as well.
            let _ = reader.read_to_end(&mut all).await;
            all
        });
        Self { writer, answers }
    }

    /// An encoder that has sent the tracks and the first pictures.
    pub(crate) async fn begun(engine: &Running) -> Self {
        let mut encoder = Self::connect(engine).await;
        encoder.send(&CAPTURE[..HEAD]).await;
        encoder
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // An engine that has closed the connection is what some tests are about.
        let _ = self.writer.write_all(bytes).await;
    }

    /// Waits until the engine has closed the connection; everything it said.
    pub(crate) async fn told(self) -> String {
        let answers = tokio::time::timeout(PATIENCE, self.answers).await;
        drop(self.writer);
        String::from_utf8_lossy(&answers.expect("the engine closes").unwrap()).into_owned()
    }

    /// Vanishes without a word.
    pub(crate) fn vanish(self) {
        self.answers.abort();
    }
}

/// The capture with another key of the same length.
pub(crate) fn capture_with_key(key: &str) -> Vec<u8> {
    let (from, to) = (b"sk_test", key.as_bytes());
    assert_eq!(from.len(), to.len());
    let mut bytes = CAPTURE.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|window| window == from)
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

pub(crate) struct Viewer {
    events: mpsc::UnboundedReceiver<Event>,
    // Keeps the session open.
    _client: Client<Machine>,
}

impl Viewer {
    pub(crate) fn watch(relay: &TestRelay) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let config = ClientConfig {
            url: format!("{}/playback/lv_1", relay.url()),
            trust: TlsTrust::Pinned(vec![relay.pin()]),
            protocols: protocols(),
        };
        let sessions = session::Config {
            sessions_max: 1,
            ..session::Config::default()
        };
        let namespace = TrackNamespace::from_path(NAMESPACE).unwrap();
        let machine = Machine::new(sessions, namespace, Selection::OneOfEach);
        let client = Client::open(config, Clock::start(), machine, move |event| {
            let _ = sender.send(event);
        });
        let client = client.unwrap();
        client.connect().unwrap();
        Self {
            events,
            _client: client,
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("the viewer hears something").unwrap()
    }

    pub(crate) async fn catalog(&mut self) -> Catalog {
        loop {
            if let Event::Catalog(catalog) = self.next().await {
                return catalog;
            }
        }
    }

    /// Chunks until the track has given `count` of them.
    pub(crate) async fn chunks_until(&mut self, track: &str, count: usize) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        while chunks.iter().filter(|chunk| chunk.track == track).count() < count {
            match self.next().await {
                Event::Chunk(chunk) => chunks.push(chunk),
                Event::Catalog(_) => {}
                other => panic!("expected a chunk, got {other:?}"),
            }
        }
        chunks
    }
}

/// The fragments of one track's chunks.
pub(crate) fn fragments(catalog: &Catalog, track: &str, chunks: &[Chunk]) -> Vec<Fragment> {
    let init: Bytes = catalog.track(track).unwrap().init.clone().unwrap();
    let init = Arc::new(cmaf::Init::parse(init, &cmaf::Limits::default()).unwrap());
    let mut reader = cmaf::Reader::with_init(init, cmaf::Limits::default());
    let mut fragments = Vec::new();
    for chunk in chunks.iter().filter(|chunk| chunk.track == track) {
        reader.push_payload(&chunk.payload).unwrap();
        while let Some(cmaf::Event::Fragment(fragment)) = reader.poll().unwrap() {
            fragments.push(fragment);
        }
    }
    fragments
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "not in time: {what}");
}
