//! One control plane and some clients, each a host of its own.
//!
//! The control plane is the one that ships, over the simulation's TCP, with a real SQLite in a
//! folder of its own. SQLite works on threads, in real time. So that no virtual time passes for it,
//! the host's clock stands still while the database is at work: tokio does not advance a paused
//! clock while a blocking task runs, and one runs for as long. Worlds that want requests to be cut
//! off in the middle of a write let the clock run ([`World::is_free`]).

use mainstem_control::{Config, Control, Limits, Running, Secret};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

pub(crate) const RELAY_SECRET: &str = "relay-secret-of-the-tests";
/// In virtual time.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How often messages are delivered.
pub(crate) const TICK: Duration = Duration::from_millis(5);

const HTTP: u16 = 80;
/// How often the database is looked after, in real time, while the virtual time stands still.
const LOOK: Duration = Duration::from_micros(100);
const SEEDS: u64 = 4;

/// What the hosts of one world share with its test.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) dir: TempDir,
    limits: Limits,
    /// The first organisation and its key.
    account: RefCell<Option<(String, String)>>,
    /// Whether the server listens.
    is_up: Cell<bool>,
    /// Whether time passes while the database works.
    pub(crate) is_free: Cell<bool>,
    /// Connections to the database in use.
    pub(crate) queries: Cell<usize>,
    /// Ends the server as a kill does, and begins it anew.
    pub(crate) kill: Cell<bool>,
    /// Stops the server as an operator does.
    pub(crate) stop: Cell<bool>,
    /// How long stopping took.
    pub(crate) stopped: Cell<Option<Duration>>,
    drawn: Cell<u64>,
}

/// What a client's host does; begins when the server listens.
pub(crate) type Script = fn(Rc<World>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs a world for each seed. `clients` are the scripts of hosts by their name.
pub(crate) fn worlds(change: fn(&mut Limits), clients: &[(&'static str, Script)]) {
    for seed in 0..SEEDS {
        let mut limits = Limits::default();
        change(&mut limits);
        run(seed, limits, clients);
    }
}

/// In memory where the system has files there: a loaded disk takes its time for every commit.
fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn run(seed: u64, limits: Limits, clients: &[(&'static str, Script)]) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_mins(10))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .build();
    let world = Rc::new(World {
        seed,
        dir: folder(),
        limits,
        account: RefCell::new(None),
        is_up: Cell::new(false),
        is_free: Cell::new(false),
        queries: Cell::new(0),
        kill: Cell::new(false),
        stop: Cell::new(false),
        stopped: Cell::new(None),
        drawn: Cell::new(seed),
    });
    let of_server = Rc::clone(&world);
    sim.host("control", move || serve(Rc::clone(&of_server)));
    for (name, script) in clients {
        let (world, script) = (Rc::clone(&world), *script);
        sim.client(*name, async move {
            world.up().await;
            script(world).await;
            Ok(())
        });
    }
    loop {
        match sim.step() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        if world.kill.take() {
            world.is_up.set(false);
            sim.crash("control");
            sim.bounce("control");
        }
    }
}

struct Listener(TcpListener);

impl mainstem_control::Accept for Listener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn serve(world: Rc<World>) -> turmoil::Result {
    let listener = Listener(TcpListener::bind((Ipv4Addr::UNSPECIFIED, HTTP)).await?);
    let mut config = Config::new((Ipv4Addr::UNSPECIFIED, 0).into(), world.dir.path());
    config.relay_secret = Some(Secret::new(RELAY_SECRET));
    config.limits = world.limits;
    let running = timeless(Control::start_on(config, listener)).await?;
    if let Some(first) = &running.bootstrap {
        let account = (first.org.clone(), first.api_key.expose().to_owned());
        world.account.replace(Some(account));
    }
    world.is_up.set(true);
    let (probe, mut running) = (running.probe(), Some(running));
    loop {
        if world.stop.take()
            && let Some(running) = running.take()
        {
            let world = Rc::clone(&world);
            tokio::task::spawn_local(shut(running, world));
        }
        loop {
            world.queries.set(probe.queries());
            if world.is_free.get() || world.queries.get() == 0 {
                break;
            }
            spawn_blocking(|| std::thread::park_timeout(LOOK)).await?;
        }
        sleep(TICK).await;
    }
}

async fn shut(running: Running, world: Rc<World>) {
    let began = Instant::now();
    running.shutdown().await;
    world.stopped.set(Some(began.elapsed()));
}

/// Does something of the machine's own while the virtual time stands still.
async fn timeless<T>(work: impl Future<Output = T>) -> T {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let still = spawn_blocking(move || is_done.recv().is_err());
    let result = work.await;
    drop(done);
    assert!(still.await.unwrap(), "nothing is sent");
    result
}

impl World {
    pub(crate) async fn up(&self) {
        while !self.is_up.get() {
            sleep(TICK).await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                sleep(TICK).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "seed {}, not in time: {what}", self.seed);
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

    /// A call of a procedure, as bytes.
    pub(crate) fn call(&self, procedure: &str, mut input: Value) -> String {
        let (org, key) = self.account.borrow().clone().unwrap();
        input["orgId"] = json!(org);
        post(&format!("/api/trpc/{procedure}"), &key, &input.to_string())
    }

    /// The data of a procedure's good answer.
    pub(crate) async fn called(&self, procedure: &str, input: Value) -> Value {
        let call = self.call(procedure, input);
        let answer = timeout(PATIENCE, ask(&call)).await.expect("an answer");
        let (status, mut body) = answer.expect("an answer");
        assert_eq!(status, 200, "{body}");
        body["result"]["data"].take()
    }

    /// Pages of all inputs.
    pub(crate) async fn inputs(&self) -> Vec<Value> {
        let (org, key) = self.account.borrow().clone().unwrap();
        let input = json!({ "orgId": org, "perPage": 100 }).to_string();
        let encode = |all: String, byte| all + &format!("%{byte:02X}");
        let input = input.bytes().fold(String::new(), encode);
        let path = format!("/api/trpc/streams.liveInputs.list?input={input}");
        let question = format!(
            "GET {path} HTTP/1.1\r\nhost: control\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\n\r\n"
        );
        let (status, mut body) = ask(&question).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        let Value::Array(inputs) = body["result"]["data"].take() else {
            panic!("expected a list: {body}");
        };
        inputs
    }
}

/// A request with a JSON body, after which the connection closes.
pub(crate) fn post(path: &str, bearer: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: control\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

pub(crate) const HEALTH: &str =
    "GET /healthz HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";

pub(crate) async fn connect() -> TcpStream {
    TcpStream::connect(("control", HTTP)).await.unwrap()
}

/// Asks over a connection of its own; the status and the body of the answer, if one came.
pub(crate) async fn ask(question: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(("control", HTTP)).await.ok()?;
    stream.write_all(question.as_bytes()).await.ok()?;
    answer(&mut stream).await
}

/// Reads until the server closes; the status and the body of the answer, if one came.
pub(crate) async fn answer(stream: &mut TcpStream) -> Option<(u16, Value)> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}
