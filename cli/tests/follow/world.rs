//! A control plane, three relays' followers and an operator, each a host of its own.
//!
//! SQLite works on threads, in real time: the control plane's clock stands still while its database
//! is at work, so that no virtual time passes for it. Tokio does not advance a paused clock while a
//! blocking task runs, and one runs for as long.

use mainstem_control::{Config, Control};
use mainstem_core::jwt::KeySet;
use mainstem_core::resolve::Secret;
use mainstem_relay::ControlClient;
use mainstem_relay::follow::{Follower, Listener, News};
use mainstem_relay::tcp::{Dial, Dialling, Stream};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

const SECRET: &str = "relay-secret-of-the-tests";
const HTTP: u16 = 80;
const TICK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(1);
/// How often the database is looked after, in real time, while the virtual time stands still.
const LOOK: Duration = Duration::from_micros(100);
const SEEDS: u64 = 3;
const RELAYS: [&str; 3] = ["relay-a", "relay-b", "relay-c"];

/// What the hosts of one world share with its test.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) relays: Vec<Relay>,
    dir: TempDir,
    account: RefCell<Option<(String, String)>>,
    is_up: Cell<bool>,
    /// For how long the server is to be away.
    kill: Cell<Option<Duration>>,
    /// The folder of the database.
    folder: Cell<&'static str>,
    drawn: Cell<u64>,
}

/// What one relay's machine was told.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) name: &'static str,
    news: Arc<Mutex<Vec<News>>>,
    dials: Arc<AtomicUsize>,
    is_informed: watch::Receiver<bool>,
}

/// An input, its valid credential, and the one in grace.
pub(crate) type Told = (String, Option<String>, Option<String>);

pub(crate) type Script = fn(Rc<World>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs a world for each seed; the script is the operator's.
pub(crate) fn worlds(script: Script) {
    for seed in 0..SEEDS {
        run(seed, script);
    }
}

/// In memory where the system has files there: a loaded disk takes its time for every commit.
fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn run(seed: u64, script: Script) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_mins(20))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(40))
        .build();
    let (informed, relays): (Vec<_>, Vec<_>) = RELAYS.map(relay).into_iter().unzip();
    let world = Rc::new(World {
        seed,
        relays,
        dir: folder(),
        account: RefCell::new(None),
        is_up: Cell::new(false),
        kill: Cell::new(None),
        folder: Cell::new("first"),
        drawn: Cell::new(seed),
    });
    let of_server = Rc::clone(&world);
    sim.host("control", move || serve(Rc::clone(&of_server)));
    for (relay, informed) in world.relays.iter().zip(informed) {
        let (relay, seed) = (relay.clone(), world.draw(u64::MAX));
        sim.host(relay.name, move || {
            follow(relay.clone(), informed.clone(), seed)
        });
    }
    let of_operator = Rc::clone(&world);
    sim.client("operator", async move {
        of_operator.up().await;
        script(of_operator).await;
        Ok(())
    });
    let mut back_at = None;
    loop {
        match sim.step() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        if let Some(away) = world.kill.take() {
            world.is_up.set(false);
            sim.crash("control");
            back_at = Some(sim.elapsed() + away);
        }
        if back_at.is_some_and(|at| at <= sim.elapsed()) {
            back_at = None;
            sim.bounce("control");
        }
    }
}

fn relay(name: &'static str) -> (watch::Sender<bool>, Relay) {
    let (informed, is_informed) = watch::channel(false);
    let relay = Relay {
        name,
        news: Arc::default(),
        dials: Arc::default(),
        is_informed,
    };
    (informed, relay)
}

async fn follow(relay: Relay, informed: watch::Sender<bool>, seed: u64) -> turmoil::Result {
    let control = client(Arc::clone(&relay.dials));
    Follower::new(relay, control, seed).run(informed).await;
    Ok(())
}

/// Asks as a relay does, from the host that it is made on.
pub(crate) fn client(dials: Arc<AtomicUsize>) -> ControlClient {
    let base = format!("http://control:{HTTP}");
    ControlClient::over(Virtual(dials), &base, Secret::new(SECRET)).unwrap()
}

impl Listener for Relay {
    async fn tell(&self, news: News) {
        self.news.lock().unwrap().push(news);
    }
}

/// Counts how often it is asked.
struct Virtual(Arc<AtomicUsize>);

impl Dial for Virtual {
    fn dial<'a>(&'a self, authority: &'a str) -> Dialling<'a> {
        self.0.fetch_add(1, Relaxed);
        Box::pin(async move {
            let stream = TcpStream::connect(authority).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

struct Accepting(TcpListener);

impl mainstem_control::Accept for Accepting {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn serve(world: Rc<World>) -> turmoil::Result {
    let listener = Accepting(TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).await?);
    let folder = world.dir.path().join(world.folder.get());
    let mut config = Config::new((Ipv4Addr::UNSPECIFIED, 0).into(), folder);
    config.relay_secret = Some(Secret::new(SECRET));
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let still = spawn_blocking(move || is_done.recv().is_err());
    let running = Control::start_on(config, listener).await?;
    drop(done);
    still.await?;
    if let Some(first) = &running.bootstrap {
        let account = (first.org.clone(), first.api_key.expose().to_owned());
        world.account.replace(Some(account));
    }
    world.is_up.set(true);
    let probe = running.probe();
    loop {
        while probe.queries() > 0 {
            spawn_blocking(|| std::thread::park_timeout(LOOK)).await?;
        }
        sleep(TICK).await;
    }
}

impl World {
    async fn up(&self) {
        while !self.is_up.get() {
            sleep(TICK).await;
        }
    }

    pub(crate) async fn all_informed(&self) {
        for relay in &self.relays {
            let mut is_informed = relay.is_informed.clone();
            let informed = is_informed.wait_for(|informed| *informed);
            timeout(PATIENCE, informed).await.unwrap().unwrap();
        }
    }

    /// Keeps a copy of the database as a backup does, while nothing is written.
    pub(crate) fn back_up(&self) {
        let (first, kept) = (self.dir.path().join("first"), self.dir.path().join("kept"));
        std::fs::create_dir_all(&kept).unwrap();
        for file in ["control.db", "control.db-wal", "master.key"] {
            std::fs::copy(first.join(file), kept.join(file)).unwrap();
        }
    }

    /// The next start is with the copy.
    pub(crate) fn put_back(&self) {
        self.folder.set("kept");
    }

    /// Kills the control plane; it is back after `away`.
    pub(crate) async fn kill(&self, away: Duration) {
        self.kill.set(Some(away));
        sleep(TICK * 2).await;
        self.up().await;
    }

    /// A number below `bound`, drawn from the seed.
    pub(crate) fn draw(&self, bound: u64) -> u64 {
        // SplitMix64.
        let mut z = self.drawn.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.drawn.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Calls a procedure; the data of its answer, if a good one came.
    pub(crate) async fn call(&self, procedure: &str, mut input: Value) -> Option<Value> {
        let (org, key) = self.account.borrow().clone().unwrap();
        input["orgId"] = json!(org);
        let body = input.to_string();
        let head = format!(
            "POST /api/trpc/{procedure} HTTP/1.1\r\nhost: control\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let asking = async {
            let mut stream = TcpStream::connect(("control", HTTP)).await.ok()?;
            stream.write_all((head + &body).as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            assert!(head.contains(" 200 "), "{answer}");
            let mut body: Value = serde_json::from_str(body).ok()?;
            Some(body["result"]["data"].take())
        };
        timeout(PATIENCE, asking).await.ok().flatten()
    }

    /// What the feed of changes says of credentials, from its begin.
    pub(crate) async fn feed(&self) -> Vec<Told> {
        let client = client(Arc::default());
        let mut feed = Vec::new();
        let mut cursor = 0;
        loop {
            let page = client.changes(cursor, Duration::ZERO).await.unwrap();
            if page.changes.is_empty() {
                return feed;
            }
            cursor = page.cursor;
            for change in page.changes {
                feed.extend(told_of(&serde_json::to_value(change).unwrap()));
            }
        }
    }
}

fn told_of(change: &Value) -> Option<Told> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (change["kind"] == "stream_key_rotated").then(|| {
        let input = text(&change["input"]).unwrap();
        let grace = text(&change["grace"]["credential"]);
        (input, text(&change["credential"]), grace)
    })
}

impl Relay {
    /// What its machine was told of credentials, oldest first.
    pub(crate) fn told(&self) -> Vec<Told> {
        let news = self.news.lock().unwrap();
        let told = news.iter().filter_map(|news| match news {
            News::Credentials {
                input,
                valid,
                grace,
                ..
            } => {
                let grace = grace.as_ref().map(|grace| grace.credential.clone());
                Some((input.clone(), valid.clone(), grace))
            }
            News::Keys(_) | News::Missed => None,
        });
        told.collect()
    }

    /// The keys that its machine was told last.
    pub(crate) fn keys(&self) -> KeySet {
        let news = self.news.lock().unwrap();
        let keys = news.iter().rev().find_map(|news| match news {
            News::Keys(keys) => Some(keys.clone()),
            News::Credentials { .. } | News::Missed => None,
        });
        keys.unwrap_or_default()
    }

    /// How often its machine was told that news were missed.
    pub(crate) fn missed(&self) -> usize {
        let news = self.news.lock().unwrap();
        news.iter()
            .filter(|news| matches!(news, News::Missed))
            .count()
    }

    /// Connections that it tried to make.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Relaxed)
    }
}
