//! `mainstem watch`: sees a stream as a player would, measures it and writes it to a file.

mod report;
mod tally;

use crate::connect::{Manners, Trust, client_config, namespace_of};
use crate::failure::Failure;
use anyhow::Context;
use mainstem_core::catalog::Catalog;
use mainstem_core::cmaf::{self, Event as BoxEvent, Init, Muxer, Reader};
use mainstem_core::moqt::session;
use mainstem_core::transport::Closed;
use mainstem_core::viewer::{Chunk, Event, Selection, Viewer};
use mainstem_net::{Client, Clock};
use mainstem_quic::SessionUrl;
use report::Close;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tally::Tally;
use tokio::sync::mpsc;

/// Pause before the first new attempt after a lost session; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Pause before a relay that goes away is followed again.
const MOVE_RETRY: Duration = Duration::from_millis(200);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Watch a stream.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Playback URL: `moqt://host:port/playback/<input>?tok=<token>`, or `https://..` for
    /// WebTransport
    pub url: String,
    /// Write what arrives to this MP4 file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// End after this many seconds; without it, at the end of the stream or on Ctrl-C
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Print one JSON object at the end instead of a table
    #[arg(long)]
    pub json: bool,
    /// Connect again when the session is lost or the stream is not there yet
    #[arg(long)]
    pub reconnect: bool,
    /// Subscribe to every rendition, not to one of each kind
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub manners: Manners,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let viewing = Viewing::new(&arguments)?;
    let outcome = viewing.run(&arguments).await?;
    if arguments.json {
        println!(
            "{}",
            report::to_json(&outcome.tally, outcome.watched, &outcome.close)
        );
    } else {
        println!(
            "{}",
            report::to_table(&outcome.tally, outcome.watched, &outcome.close)
        );
    }
    outcome.verdict()
}

/// What became of a viewing.
pub(crate) struct Outcome {
    tally: Tally,
    watched: Duration,
    close: Close,
}

impl Outcome {
    /// Frames seen of a kind, `video` or `audio`.
    pub(crate) fn frames_of(&self, kind: &str) -> u64 {
        let of_kind = self
            .tally
            .tracks()
            .values()
            .filter(|track| track.kind == kind);
        of_kind.map(|track| track.frames).sum()
    }

    /// Places where frames are missing.
    pub(crate) fn gaps(&self) -> u64 {
        self.tally.gaps()
    }

    /// A table for people.
    pub(crate) fn table(&self) -> String {
        report::to_table(&self.tally, self.watched, &self.close)
    }

    /// Whether it went well.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        match self.close.reason {
            "auth_failed" => Err(Failure::Auth(self.close.detail.clone())),
            "network" => Err(Failure::of_reason(
                &self.close.detail,
                "the session was lost",
            )),
            _ if self.tally.frames() == 0 => {
                Err(Failure::Other(anyhow::anyhow!("no frame arrived")))
            }
            _ => Ok(()),
        }
    }
}

/// An event with the wall clock at its arrival, in microseconds of Unix time.
type Arrival = (u64, Event);

/// A viewing under way.
pub(crate) struct Viewing {
    client: Client<Viewer>,
    /// Where the next attempt goes; a relay that goes away changes it.
    url: SessionUrl,
    moved_to: String,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    started: Instant,
    tally: Tally,
    readers: BTreeMap<String, Reader>,
    file: Option<Recording>,
    waits: Duration,
}

enum Step {
    GoOn,
    /// The relay goes away: connect where it says, after this pause, while the picture goes on.
    Move(Duration),
    /// The stream is not there, or not there any more.
    Gone(String),
    Ended(Close),
}

impl Viewing {
    /// Opens the socket and the file.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let config = session::Config {
            sessions_max: 4,
            implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
            grease: arguments.manners.grease(),
            ..session::Config::default()
        };
        let selection = if arguments.all {
            Selection::All
        } else {
            Selection::OneOfEach
        };
        let machine = Viewer::new(config, namespace_of(&arguments.url)?, selection);
        // Bounded by what the transport's windows let through while this end is busy.
        let (sender, arrivals) = mpsc::unbounded_channel();
        let config = client_config(&arguments.url, &arguments.trust)?;
        let client = Client::open(config, Clock::start(), machine, move |event| {
            // The receiver is gone only when the command ends.
            let _ = sender.send((unix_now_us(), event));
        })?;
        let url = client.url().clone();
        let file = arguments
            .output
            .as_ref()
            .map(|path| Recording::create(path))
            .transpose()?;
        Ok(Self {
            client,
            url,
            moved_to: String::new(),
            arrivals,
            started: Instant::now(),
            tally: Tally::default(),
            readers: BTreeMap::new(),
            file,
            waits: RETRY_MIN,
        })
    }

    /// Watches until the time is up or the stream is over.
    pub(crate) async fn run(mut self, arguments: &Arguments) -> Result<Outcome, Failure> {
        let time_is_up = async {
            match arguments.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(time_is_up);
        self.started = Instant::now();
        self.client.connect()?;
        let mut progress = Progress::new(arguments.json);
        let close = loop {
            let arrival = tokio::select! {
                biased;
                () = &mut time_is_up => break closed_by_caller(),
                _ = tokio::signal::ctrl_c() => break closed_by_caller(),
                arrival = self.arrivals.recv() => arrival,
            };
            let Some((at_us, event)) = arrival else {
                break Close {
                    reason: "network",
                    detail: "the client stopped".to_owned(),
                };
            };
            match self.take(at_us, event)? {
                Step::GoOn => progress.show(&self.tally),
                Step::Ended(close) => break close,
                Step::Move(pause) => {
                    tokio::time::sleep(pause).await;
                    self.follow_relay();
                }
                Step::Gone(reason) if !arguments.reconnect => {
                    break Close {
                        reason: "network",
                        detail: reason,
                    };
                }
                Step::Gone(reason) => {
                    tracing::info!(%reason, "trying again");
                    let wait = self.waits;
                    self.waits = (wait * 2).min(RETRY_MAX);
                    tokio::select! {
                        () = &mut time_is_up => break closed_by_caller(),
                        () = tokio::time::sleep(wait) => {}
                    }
                    self.tally.reconnects += 1;
                    // The relay that was asked for and the one that it named, in turn.
                    let url = if self.tally.reconnects.is_multiple_of(2) {
                        self.client.url()
                    } else {
                        &self.url
                    };
                    self.client.connect_to(url)?;
                }
            }
        };
        progress.end();
        if let Some(file) = self.file {
            file.finish()?;
        }
        let (client, watched) = (self.client, self.started.elapsed());
        // A failed join means that the shard panicked, which its thread has reported.
        let _ = tokio::task::spawn_blocking(move || client.stop()).await;
        Ok(Outcome {
            tally: self.tally,
            watched,
            close,
        })
    }

    fn take(&mut self, at_us: u64, event: Event) -> Result<Step, Failure> {
        match event {
            Event::Catalog(catalog) => {
                self.take_catalog(at_us, &catalog)?;
                Ok(Step::GoOn)
            }
            Event::Chunk(chunk) => {
                self.take_chunk(at_us, &chunk)?;
                Ok(Step::GoOn)
            }
            Event::Gap { track } => {
                self.tally.add_gap(&track);
                Ok(Step::GoOn)
            }
            Event::TrackEnded { track, reason } => {
                self.readers.remove(&track);
                if reason.starts_with("auth_failed") {
                    return Ok(Step::Ended(Close {
                        reason: "auth_failed",
                        detail: reason,
                    }));
                }
                if !self.readers.is_empty() {
                    return Ok(Step::GoOn);
                }
                Ok(self.gone_or_over(reason))
            }
            Event::Unavailable { reason } => Ok(self.gone_or_over(reason)),
            Event::Goaway { uri } => {
                self.moved_to = uri;
                Ok(Step::Move(Duration::ZERO))
            }
            Event::MoveFailed { reason } => {
                tracing::info!(%reason, "cannot follow the relay yet");
                Ok(Step::Move(MOVE_RETRY))
            }
            Event::Moved => {
                self.tally.moves += 1;
                Ok(Step::GoOn)
            }
            // Nobody asks for another rendition here.
            Event::Switched { .. } | Event::SwitchFailed { .. } => Ok(Step::GoOn),
            Event::Closed(closed) => Ok(Self::closed(closed)),
        }
    }

    /// Begins a session where the relay says. What comes of it is the machine's news.
    fn follow_relay(&mut self) {
        let begun = self
            .url
            .moved_to(&self.moved_to)
            .map_err(anyhow::Error::from);
        let begun = begun.and_then(|url| {
            self.client.connect_to(&url)?;
            Ok(url)
        });
        match begun {
            Ok(url) => self.url = url,
            // The old session lasts a while; when it ends, the usual way back is taken.
            Err(error) => tracing::warn!(%error, "cannot follow the relay"),
        }
    }

    /// The stream ended: completely, or it never was there.
    fn gone_or_over(&mut self, reason: String) -> Step {
        if reason.starts_with("auth_failed") {
            Step::Ended(Close {
                reason: "auth_failed",
                detail: reason,
            })
        } else if self.tally.frames() > 0 && reason.contains("ended") {
            Step::Ended(Close {
                reason: "complete",
                detail: reason,
            })
        } else {
            // The session stays useless without the stream: a new attempt begins with a new one.
            let end =
                |host: &mut mainstem_quic::Host<Viewer>| host.app_mut().close("not available");
            // A stopped shard has no session left to end.
            let _ = self.client.handle().call(move |host, _| end(host));
            Step::Gone(reason)
        }
    }

    fn closed(closed: Closed) -> Step {
        match closed {
            Closed::Application { reason, .. } if reason.starts_with("auth_failed") => {
                Step::Ended(Close {
                    reason: "auth_failed",
                    detail: reason,
                })
            }
            // The end of this side's own making; the next attempt is under way.
            Closed::Application {
                by: mainstem_core::transport::Origin::Local,
                ..
            } => Step::GoOn,
            Closed::Application { reason, code, .. } => Step::Gone(format!(
                "the relay closed the session: {reason} (code {code})"
            )),
            Closed::Transport { reason } => Step::Gone(reason),
        }
    }

    fn take_catalog(&mut self, at_us: u64, catalog: &Catalog) -> Result<(), Failure> {
        self.tally.asked(at_us);
        self.waits = RETRY_MIN;
        let mut inits = Vec::new();
        for track in &catalog.tracks {
            let Some(raw) = &track.init else { continue };
            let init = Init::parse(raw.clone(), &cmaf::Limits::default())
                .with_context(|| format!("the init segment of track {}", track.name))?;
            let init = Arc::new(init);
            self.tally
                .add_track(&track.name, track.kind.as_str(), &track.codec);
            let reader = Reader::with_init(Arc::clone(&init), cmaf::Limits::default());
            self.readers.insert(track.name.clone(), reader);
            inits.push((track.name.clone(), init));
        }
        if let Some(file) = &mut self.file {
            file.begin(inits)?;
        }
        Ok(())
    }

    fn take_chunk(&mut self, at_us: u64, chunk: &Chunk) -> Result<(), Failure> {
        if self.tally.join.is_none() {
            self.tally.join = Some(self.started.elapsed());
        }
        let Some(reader) = self.readers.get_mut(&chunk.track) else {
            return Ok(());
        };
        let mut fragments = Vec::new();
        reader
            .push_payload(&chunk.payload)
            .with_context(|| format!("track {}", chunk.track))?;
        while let Some(event) = reader
            .poll()
            .with_context(|| format!("track {}", chunk.track))?
        {
            if let BoxEvent::Fragment(fragment) = event {
                fragments.push(fragment);
            }
        }
        let place = (chunk.group, chunk.object);
        self.tally
            .add_object(&chunk.track, place, chunk.payload.len(), &fragments, at_us);
        if let Some(file) = &mut self.file {
            file.write(chunk)?;
        }
        Ok(())
    }
}

fn closed_by_caller() -> Close {
    Close {
        reason: "closed_by_caller",
        detail: String::new(),
    }
}

fn unix_now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// The MP4 file under way.
struct Recording {
    file: std::io::BufWriter<std::fs::File>,
    path: PathBuf,
    muxer: Option<Muxer>,
    inputs: Vec<String>,
}

impl Recording {
    fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file: std::io::BufWriter::new(file),
            path: path.to_owned(),
            muxer: None,
            inputs: Vec::new(),
        })
    }

    /// Takes the tracks of the first catalog; a later one adds nothing to a file that has begun.
    fn begin(&mut self, inits: Vec<(String, Arc<Init>)>) -> anyhow::Result<()> {
        if self.muxer.is_some() {
            return Ok(());
        }
        let (names, inits): (Vec<_>, Vec<_>) = inits.into_iter().unzip();
        self.muxer = Some(Muxer::new(&inits, cmaf::Limits::default())?);
        self.inputs = names;
        self.flush()
    }

    fn write(&mut self, chunk: &Chunk) -> anyhow::Result<()> {
        let input = self.inputs.iter().position(|name| *name == chunk.track);
        if let (Some(muxer), Some(input)) = (&mut self.muxer, input) {
            muxer.push(input, &chunk.payload)?;
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(payload) = self.muxer.as_mut().and_then(Muxer::poll) {
            for piece in payload.pieces() {
                self.file
                    .write_all(piece)
                    .with_context(|| format!("cannot write {}", self.path.display()))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if let Some(muxer) = &mut self.muxer {
            muxer.finish()?;
        }
        self.flush()?;
        self.file
            .flush()
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A line on a terminal that says how it goes.
struct Progress {
    is_shown: bool,
    shown_at: Option<Instant>,
}

impl Progress {
    fn new(is_for_machines: bool) -> Self {
        Self {
            is_shown: !is_for_machines && std::io::stderr().is_terminal(),
            shown_at: None,
        }
    }

    fn show(&mut self, tally: &Tally) {
        let is_due = self
            .shown_at
            .is_none_or(|at| at.elapsed() > Duration::from_millis(500));
        if self.is_shown && is_due {
            self.shown_at = Some(Instant::now());
            eprint!(
                "\r{} frames, {} bytes, {} gaps   ",
                tally.frames(),
                tally.bytes(),
                tally.gaps()
            );
        }
    }

    fn end(&self) {
        if self.shown_at.is_some() {
            eprintln!();
        }
    }
}
