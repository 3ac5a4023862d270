//! One engine, one control plane and some encoders, each a host of its own.
//!
//! The engine is the one that ships, over the simulation's TCP. Its uplink is a thread with a real
//! socket, and the relay that it looks for never answers: what the engine does for encoders must
//! not depend on that. While bytes arrive, the engine's time stands still every few
//! virtual milliseconds until the thread has done what it was told, so that no real time passes for any virtual time.

use mainstem_core::resolve::{
    IngestKind, Policy, Refusal, RefusalCode, ResolveReply, ResolveRequest, Secret,
};
use mainstem_engine::tcp::{Accept, Dial, Dialling, Stream};
use mainstem_engine::uplink::Trust;
use mainstem_engine::{Config, ControlClient, Engine, Metrics, RelayConfig, Running};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

/// Everything that ffmpeg 5.1 sent: 30 pictures in three groups, and 53 frames of AAC, to input
/// `lv_1` with key `sk_test`.
pub(crate) const CAPTURE: &[u8] =
    include_bytes!("../../../core/tests/fixtures/rtmp-publish-ffmpeg5.bin");
/// After this many bytes the tracks are known and the first group is under way.
pub(crate) const HEAD: usize = 9000;
/// After this many the stream is not yet over.
pub(crate) const NEARLY_ALL: usize = CAPTURE.len() - 200;
/// What either side sends until its handshake is done.
pub(crate) const HANDSHAKE: usize = 1 + 1536 + 1536;
/// In virtual time.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const RTMP: u16 = 1935;
const HTTP: u16 = 80;
const SECRET: &str = "a secret of programs";
const SEEDS: u64 = 6;
/// How often messages are delivered.
const TICK: Duration = Duration::from_millis(5);
/// Turns of the engine after bytes arrived in which its thread may still be told something.
const BUSY_TURNS: u32 = 4;

/// What the hosts of one world share with its test.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) metrics: OnceCell<Arc<Metrics>>,
    running: RefCell<Option<Running>>,
    /// How long the control plane thinks about an answer.
    pub(crate) thinking: Cell<Duration>,
    /// Questions that reached it.
    pub(crate) asked: Cell<usize>,
    /// Set when the engine is to stop, and how long it may take.
    pub(crate) stop: Cell<Option<Duration>>,
    /// How long stopping took.
    pub(crate) stopped: Cell<Option<Duration>>,
}

/// Runs a world for each seed. `encoders` are the scripts of hosts by their name.
pub(crate) fn worlds(change: fn(&mut Config), encoders: &[(&'static str, Script)]) {
    for seed in 0..SEEDS {
        run(seed, change, encoders);
    }
}

/// What an encoder's host does; begins when the engine listens.
pub(crate) type Script = fn(Rc<World>) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn run(seed: u64, change: fn(&mut Config), encoders: &[(&'static str, Script)]) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_mins(10))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .build();
    let world = Rc::new(World {
        seed,
        metrics: OnceCell::new(),
        running: RefCell::new(None),
        thinking: Cell::new(Duration::ZERO),
        asked: Cell::new(0),
        stop: Cell::new(None),
        stopped: Cell::new(None),
    });
    let of_control = Rc::clone(&world);
    sim.host("control", move || answer_all(Rc::clone(&of_control)));
    let of_engine = Rc::clone(&world);
    sim.host("engine", move || serve(Rc::clone(&of_engine), change));
    for (name, script) in encoders {
        let (world, script) = (Rc::clone(&world), *script);
        sim.client(*name, async move {
            while world.metrics.get().is_none() {
                sleep(Duration::from_millis(1)).await;
            }
            script(world).await;
            Ok(())
        });
    }
    if let Err(error) = sim.run() {
        panic!("seed {seed}: {error}");
    }
}

struct Listener(TcpListener);

impl Accept for Listener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Virtual;

impl Dial for Virtual {
    fn dial<'a>(&'a self, authority: &'a str) -> Dialling<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(authority).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

async fn serve(world: Rc<World>, change: fn(&mut Config)) -> turmoil::Result {
    // A relay that is there but says nothing.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let base = format!("http://control:{HTTP}");
    let mut config = Config::new(
        (Ipv4Addr::UNSPECIFIED, 0).into(),
        ControlClient::over(Virtual, &base, Secret::new(SECRET))?,
        RelayConfig {
            url: format!("moqt://{}", silent.local_addr()?),
            trust: Trust::Pinned(vec![[7; 32]]),
        },
    );
    change(&mut config);
    let listener = Listener(TcpListener::bind((Ipv4Addr::UNSPECIFIED, RTMP)).await?);
    let running = Engine::start_on(config, listener)?;
    let _ = world.metrics.set(Arc::clone(&running.metrics));
    world.running.replace(Some(running));
    let probe = world.running.borrow().as_ref().unwrap().probe();
    let (mut seen, mut busy) = (0, 0_u32);
    loop {
        if let Some(patience) = world.stop.take() {
            tokio::task::spawn_local(stop(Rc::clone(&world), patience));
            // It ends broadcasts, which no bytes tell of.
            busy = u32::MAX;
        }
        let now = world.figure(|all| &all.received_bytes_total) + world.connections();
        if now != seen {
            busy = busy.max(BUSY_TURNS);
        }
        seen = now;
        if busy > 0 {
            busy -= 1;
            // One that has stopped answers no more.
            let probe = probe.clone();
            tokio::task::spawn_blocking(move || probe.is_responsive()).await?;
        }
        sleep(TICK).await;
    }
}

async fn stop(world: Rc<World>, patience: Duration) {
    let (running, began) = (world.running.take().unwrap(), Instant::now());
    running.stop(patience).await;
    world.stopped.set(Some(began.elapsed()));
}

/// Answers `POST /streams/resolve` as the control plane does.
async fn answer_all(world: Rc<World>) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(answer(stream, Rc::clone(&world)));
    }
}

async fn answer(mut stream: TcpStream, world: Rc<World>) {
    let mut request = Vec::new();
    let question: ResolveRequest = loop {
        // Whoever hangs up has no question.
        let Ok(1..) = stream.read_buf(&mut request).await else {
            return;
        };
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if body.len() < length.parse().unwrap() {
            continue;
        }
        assert!(head.starts_with("POST /streams/resolve "), "{head}");
        assert!(head.contains(&format!("Bearer {SECRET}")), "{head}");
        break serde_json::from_str(body).unwrap();
    };
    world.asked.set(world.asked.get() + 1);
    sleep(world.thinking.get()).await;
    let (status, answer) = decide(&question);
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}",
        answer.len()
    );
    let _ = stream.write_all(reply.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn decide(question: &ResolveRequest) -> (&'static str, String) {
    if question.sk.as_ref().unwrap().expose() != "sk_test" {
        let refusal = Refusal {
            code: RefusalCode::WrongStreamKey,
            message: "the stream key is wrong".to_owned(),
        };
        return ("403 Forbidden", serde_json::to_string(&refusal).unwrap());
    }
    let reply = ResolveReply {
        namespace: format!("stream/org_1/{}", question.id),
        org: "org_1".to_owned(),
        input: question.id.clone(),
        expires_at: None,
        credential: "1".to_owned(),
        policy: Policy {
            ingest: IngestKind::Rtmp,
            recheck_secs: 60,
        },
    };
    ("200 OK", serde_json::to_string(&reply).unwrap())
}

impl World {
    pub(crate) fn figure(&self, of: fn(&Metrics) -> &std::sync::atomic::AtomicU64) -> u64 {
        of(self.metrics.get().unwrap()).load(Relaxed)
    }

    pub(crate) fn encoders(&self) -> u64 {
        self.figure(|metrics| &metrics.encoders)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.figure(|metrics| &metrics.connections)
    }

    pub(crate) fn chunks(&self) -> u64 {
        self.figure(|metrics| &metrics.chunks_total)
    }

    pub(crate) fn inputs(&self) -> usize {
        self.running.borrow().as_ref().unwrap().inputs()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "seed {}, not in time: {what}, with {:?}",
            self.seed,
            self.metrics
        );
    }

    /// A place in the capture between `from` and its end, drawn from the seed.
    pub(crate) fn cut(&self, from: usize) -> usize {
        let drawn = (self.seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        from + usize::try_from(drawn).unwrap() % (NEARLY_ALL - from)
    }
}

/// A TCP connection to the engine; what it answers is gathered.
pub(crate) struct Encoder {
    writer: turmoil::net::tcp::OwnedWriteHalf,
    answers: tokio::task::JoinHandle<Vec<u8>>,
}

/// A TCP connection to the engine's port.
pub(crate) async fn connect() -> TcpStream {
    TcpStream::connect(("engine", RTMP)).await.unwrap()
}

impl Encoder {
    pub(crate) async fn connect() -> Self {
        let (mut reader, writer) = connect().await.into_split();
        let answers = tokio::task::spawn_local(async move {
            let mut all = Vec::new();
            // A reset ends it as well.
            let _ = reader.read_to_end(&mut all).await;
            all
        });
        Self { writer, answers }
    }

    pub(crate) async fn with(bytes: &[u8]) -> Self {
        let mut encoder = Self::connect().await;
        encoder.send(bytes).await;
        encoder
    }

    /// An engine that has closed the connection is what some tests are about.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(700) {
            let _ = self.writer.write_all(piece).await;
        }
    }

    /// Waits until the engine has closed the connection; everything it said.
    pub(crate) async fn told(self) -> String {
        // No bytes arrive any more, and nothing else gives the engine's thread real time to say its last.
        let waiting = async {
            while !self.answers.is_finished() {
                sleep(Duration::from_millis(10)).await;
                std::thread::sleep(Duration::from_micros(100));
            }
            self.answers.await
        };
        let answers = timeout(PATIENCE, waiting).await;
        drop(self.writer);
        let answers = answers.expect("the engine closes").unwrap();
        // The rest is its handshake, and numbers.
        let words = answers.into_iter().skip(HANDSHAKE).map(char::from);
        words.filter(|c| (' '..='~').contains(c)).collect()
    }

    /// Hangs up without a word of RTMP.
    pub(crate) fn hang_up(self) {
        self.answers.abort();
    }
}

/// The capture with the input or the key replaced by another of the same length.
pub(crate) fn capture_with(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = CAPTURE.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}
