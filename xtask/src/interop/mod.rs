//! `cargo xtask interop`: every relay at hand against every client at hand, and a page about it.
//!
//! Each cell is one relay, one client, one draft and one carrier; a relay is started anew for each.
//! What fails and is known stands with its reason in [`known`]; what fails and is not known is a
//! failure of the command when the relay is ours. The page is `docs/INTEROP.md`, beside it
//! `docs/interop.json`.
//!
//! Cells that a run leaves out are kept from the page's data. Python peers come from `setup`.
//! Compiled ones are taken from `--peers`, or installed there by `--compiled`; one that is not there
//! is named and left out.

mod child;
mod clients;
mod known;
mod page;
mod relays;
mod tap;

use crate::setup::{self, Need};
use crate::{house, run};
use anyhow::{Result, bail};
use clients::Client;
use relays::Relay;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Compiled peers, by the version that was read.
const COMPILED: [(&str, &str, &[&str]); 5] = [
    ("moq-test-client", "0.2.0", &[]),
    ("moq-pub", "0.10.0", &[]),
    ("moq-sub", "0.5.0", &[]),
    ("moq-relay-ietf", "0.8.0", &[]),
    (
        "moq-relay",
        "0.17.10",
        &["--no-default-features", "--features", "noq,websocket"],
    ),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Drafts to run.
    #[arg(long, value_delimiter = ',', default_value = "22,21,20,18,16")]
    drafts: Vec<u8>,
    /// Relays to run.
    #[arg(long, value_delimiter = ',', default_values_t = Relay::ALL.map(|relay| relay.name().to_owned()))]
    relays: Vec<String>,
    /// Clients to run.
    #[arg(long, value_delimiter = ',', default_values_t = Client::ALL.map(|client| client.name().to_owned()))]
    clients: Vec<String>,
    /// Where the compiled peers are.
    #[arg(long, value_name = "DIRECTORY", env = "MAINSTEM_PEERS")]
    peers: Option<PathBuf>,
    /// Compile the peers that are missing; this takes an hour and is kept.
    #[arg(long)]
    compiled: bool,
    /// Cells to run at once; some cases look at how long something takes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Only show the outcome, and leave the page as it is.
    #[arg(long)]
    dry: bool,
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    Quic,
    WebTransport,
}

impl Carrier {
    const ALL: [Self; 2] = [Self::Quic, Self::WebTransport];

    fn scheme(self) -> &'static str {
        match self {
            Self::Quic => "moqt",
            Self::WebTransport => "https",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::WebTransport => "WebTransport",
        }
    }
}

/// Where the programs are.
pub(crate) struct Tools {
    /// Ours: `MAINSTEM_BIN`, or built.
    mainstem: PathBuf,
    /// The environment's Python.
    python: PathBuf,
    /// Directory of the compiled peers.
    peers: PathBuf,
    /// A short clip.
    clip: PathBuf,
}

/// A cell to run.
type Wanted = (Relay, Client, u8, Carrier);

/// What became of one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Passed,
    Skipped,
    Failed,
}

/// One case of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) case: String,
    pub(crate) status: Status,
    pub(crate) detail: String,
}

/// One relay, client, draft and carrier.
pub(crate) struct Cell {
    pub(crate) relay: Relay,
    pub(crate) client: Client,
    pub(crate) draft: u8,
    pub(crate) carrier: Carrier,
    pub(crate) points: Vec<Point>,
}

impl Cell {
    fn count(&self, status: Status) -> usize {
        let same = self.points.iter().filter(|point| point.status == status);
        same.count()
    }

    /// Where it stands among the others: newest draft first.
    fn key(&self) -> (Relay, Client, std::cmp::Reverse<u8>, Carrier) {
        let draft = std::cmp::Reverse(self.draft);
        (self.relay, self.client, draft, self.carrier)
    }

    fn known(&self, point: &Point) -> Option<&'static known::Known> {
        known::find(
            self.relay.name(),
            self.client.name(),
            self.draft,
            &point.case,
        )
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let tools = tools(arguments)?;
    let relays = chosen(&Relay::ALL, &arguments.relays, Relay::name)?;
    let clients = chosen(&Client::ALL, &arguments.clients, Client::name)?;
    let mut versions = Vec::new();
    for relay in &Relay::ALL {
        versions.push((relay.name(), relay.version(&tools)));
    }
    for client in &Client::ALL {
        versions.push((client.name(), client.version(&tools)));
    }
    versions.sort();
    versions.dedup();
    let mut wanted = VecDeque::new();
    for &client in &clients {
        for &draft in &arguments.drafts {
            for &relay in &relays {
                wanted.extend(Carrier::ALL.map(|carrier| (relay, client, draft, carrier)));
            }
        }
    }
    let mut cells = run_all(&tools, wanted, arguments.jobs.max(1))?;
    cells.sort_by_key(Cell::key);
    if cells.is_empty() {
        bail!("nothing ran: no relay and client have a draft in common");
    }
    let verdict = verdict(&cells);
    if !arguments.dry {
        let docs = house::root().join("docs");
        let earlier = std::fs::read_to_string(docs.join("interop.json")).unwrap_or_default();
        let cells = with_earlier(cells, page::read(&earlier));
        house::write(&docs.join("INTEROP.md"), &page::page(&cells, &versions))?;
        house::write(&docs.join("interop.json"), &page::json(&cells, &versions)?)?;
    }
    Ok(verdict)
}

/// Runs every cell, some at once.
fn run_all(tools: &Tools, wanted: VecDeque<Wanted>, jobs: usize) -> Result<Vec<Cell>> {
    let (wanted, cells) = (Mutex::new(wanted), Mutex::new(Vec::new()));
    let next = || lock(&wanted).pop_front();
    let work = || -> Result<()> {
        while let Some((relay, client, draft, carrier)) = next() {
            let cell = one(tools, relay, client, draft, carrier)?;
            lock(&cells).extend(cell);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a worker has panicked"),
        });
        // All of them, and then the first error.
        ended
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<()>>()
    })?;
    Ok(std::mem::take(&mut *lock(&cells)))
}

/// What a worker that panicked has left is whole: nothing is half done under a lock.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cells of an earlier run that this one did not run, in the order of the lists.
fn with_earlier(mut cells: Vec<Cell>, earlier: Vec<Cell>) -> Vec<Cell> {
    for old in earlier {
        if !cells.iter().any(|cell| cell.key() == old.key()) {
            cells.push(old);
        }
    }
    cells.sort_by_key(Cell::key);
    cells
}

/// Runs one cell, when all of its parts are there and speak the draft.
fn one(
    tools: &Tools,
    relay: Relay,
    client: Client,
    draft: u8,
    carrier: Carrier,
) -> Result<Option<Cell>> {
    let is_possible = relay.speaks(draft) && client.speaks(draft);
    if !is_possible || !relay.is_there(tools) || !client.is_there(tools) {
        return Ok(None);
    }
    let name = format!(
        "{}-{}-{draft}-{}",
        relay.name(),
        client.name().replace('/', "-"),
        carrier.name()
    );
    let directory = house::target_dir().join("mainstem-interop").join(name);
    std::fs::remove_dir_all(&directory).ok();
    std::fs::create_dir_all(&directory)?;
    let running = relay.start(tools, &directory)?;
    let url = format!("{}://{}/", carrier.scheme(), running.authority);
    let points = client.run(tools, &url, draft, &directory)?;
    let cell = Cell {
        relay,
        client,
        draft,
        carrier,
        points,
    };
    print!("{}", shown(&cell));
    Ok(Some(cell))
}

/// A cell for the terminal, in one piece.
fn shown(cell: &Cell) -> String {
    let mut text = format!(
        "{:16} {:16} {} {:12} {} passed, {} failed, {} skipped\n",
        cell.relay.name(),
        cell.client.name(),
        cell.draft,
        cell.carrier.name(),
        cell.count(Status::Passed),
        cell.count(Status::Failed),
        cell.count(Status::Skipped)
    );
    for point in &cell.points {
        if point.status == Status::Failed {
            let known = cell.known(point).map_or("?", |known| known.whose);
            let _ = writeln!(text, "    {} ({known}): {}", point.case, point.detail);
        }
    }
    text
}

/// Fails when something with our relay fails and nobody has said why.
fn verdict(cells: &[Cell]) -> ExitCode {
    let mut unexplained = 0;
    for cell in cells.iter().filter(|cell| cell.relay == Relay::Mainstem) {
        for point in &cell.points {
            if point.status == Status::Failed && cell.known(point).is_none() {
                unexplained += 1;
            }
        }
    }
    if unexplained == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{unexplained} failures with our relay have no written reason");
    ExitCode::FAILURE
}

fn tools(arguments: &Arguments) -> Result<Tools> {
    let mainstem = std::env::var_os("MAINSTEM_BIN").map(PathBuf::from);
    if mainstem.is_none() {
        run::run(
            Command::new(house::cargo())
                .current_dir(house::root())
                .args(["build", "--quiet", "--package=mainstem-cli"]),
        )?;
    }
    let python = setup::ensure(Need::Aiomoqt)?.with_file_name("python");
    setup::ensure(Need::Ffmpeg)?;
    let clip = setup::ensure(Need::Clip)?;
    let peers = match &arguments.peers {
        Some(directory) => directory.clone(),
        None => house::cache_dir().join("peers/bin"),
    };
    if arguments.compiled {
        compile(&peers)?;
    }
    for (name, ..) in COMPILED {
        if !run::is_program(&peers.join(name)) {
            println!("{name}: not in {}, left out", peers.display());
        }
    }
    Ok(Tools {
        mainstem: mainstem.unwrap_or_else(house::mainstem),
        python,
        peers,
        clip,
    })
}

/// Installs the compiled peers that are missing.
fn compile(peers: &Path) -> Result<()> {
    let root = peers.parent().unwrap_or(peers);
    for (name, version, features) in COMPILED {
        if run::is_program(&peers.join(name)) {
            continue;
        }
        let mut install = Command::new(house::cargo());
        install
            .args(["install", name, "--version", version])
            .args(features)
            .arg("--root")
            .arg(root)
            .env("CARGO_TARGET_DIR", root.join("build"));
        run::run(&mut install)?;
    }
    Ok(())
}

fn chosen<T: Copy>(all: &[T], wanted: &[String], name: fn(T) -> &'static str) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for wanted in wanted {
        let Some(each) = all.iter().find(|each| name(**each) == wanted) else {
            let names: Vec<_> = all.iter().map(|each| name(*each)).collect();
            bail!("no {wanted:?}: expected one of {}", names.join(", "));
        };
        found.push(*each);
    }
    Ok(found)
}
