//! `mainstem moq-test`: publishes test tracks through a relay, and verifies what arrives of them.
//!
//! `publish` serves every test track that is asked for below its namespace; `verify` asks for some
//! and compares object by object. Either end may be a program of others that follows
//! draft-afrind-moq-test. Exit code 0 when everything arrived as it should, 1 otherwise.

use crate::connect::Manners;
use crate::failure::Failure;
use crate::interop;
use crate::interop::party::Party;
use anyhow::Context;
use clap::Subcommand;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::filter::{Filter, LocationRange};
use mainstem_core::moqt::moqtest::{
    Event, Forwarding, Limits, Origin, Report, Scoreboard, TestTrack,
};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{self, Event as SessionEvent, StreamEnd};
use mainstem_core::moqt::{FullTrackName, TrackNamespace};
use mainstem_net::{Client, ClientConfig, Clock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Pause before the next attempt when the session is lost.
const RETRY: Duration = Duration::from_millis(500);

/// Publish or verify test tracks.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Announce a namespace and serve every test track below it
    Publish(Connection),
    /// Subscribe to test tracks and check every object
    Verify(Verify),
}

#[derive(Clone, Debug, clap::Args)]
struct Connection {
    /// The relay: `moqt://host:port` for raw QUIC, `https://host:port/path` for WebTransport
    url: String,
    /// Namespace in front of the test track's own fields
    #[arg(long, default_value = "", value_name = "PATH")]
    prefix: String,
    /// The one draft to speak; without it, the newest that the relay speaks
    #[arg(long, value_name = "N")]
    draft: Option<u8>,
    /// Trust any certificate
    #[arg(long)]
    tls_disable_verify: bool,
    /// SHA-256 of the relay's certificate, in hex: trust this one and no other
    #[arg(long, value_name = "HEX")]
    cert_sha256: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct Verify {
    #[command(flatten)]
    connection: Connection,
    /// Test tracks, sixteen fields with slashes: `moq-test-00/0/0/0/2/4/5/64/32/2/1/1/0/-1/-1/0`
    #[arg(required = true, value_name = "TUPLE")]
    tuples: Vec<String>,
    /// Name of the track
    #[arg(long, default_value = "track", value_name = "NAME")]
    track: String,
    /// Wait so long for a publisher to appear
    #[arg(long, default_value_t = 0, value_name = "MS")]
    rendezvous: u64,
    /// First group of the subscription
    #[arg(long, value_name = "GROUP")]
    from: Option<u64>,
    /// Last group of the subscription
    #[arg(long, value_name = "GROUP", requires = "from")]
    to: Option<u64>,
    /// Give up after this many seconds without an object
    #[arg(long, default_value_t = 10, value_name = "N")]
    patience: u64,
    /// Forgive datagrams that do not come
    #[arg(long)]
    lossy: bool,
}

impl Connection {
    fn config(&self) -> anyhow::Result<ClientConfig> {
        interop::client(
            &self.url,
            self.draft,
            self.tls_disable_verify,
            &self.cert_sha256,
        )
    }

    fn prefix(&self) -> anyhow::Result<TrackNamespace> {
        TrackNamespace::from_path(&self.prefix).context("--prefix")
    }
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Publish(connection) => publish(connection).await,
        Command::Verify(verify) => {
            let work = move || {
                let mut failed = 0;
                for tuple in &verify.tuples {
                    failed += usize::from(!verify_one(&verify, tuple)?);
                }
                Ok(failed)
            };
            match tokio::task::spawn_blocking(work).await? {
                Ok(0) => Ok(()),
                Ok(failed) => Err(Failure::Code(
                    1,
                    format!("{failed} tracks did not arrive whole"),
                )),
                Err(failure) => Err(failure),
            }
        }
    }
}

/// Serves until Ctrl-C; a lost session is begun anew.
async fn publish(connection: Connection) -> Result<(), Failure> {
    let config = session::Config {
        sessions_max: 2,
        implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
        grease: mainstem_net::os_seed().ok(),
        ..session::Config::default()
    };
    let origin = Origin::new(config, connection.prefix()?, Limits::default());
    let (sender, mut events) = mpsc::unbounded_channel();
    let client = Client::open(connection.config()?, Clock::start(), origin, move |event| {
        // The command has ended.
        let _ = sender.send(event);
    })?;
    client.connect()?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = tokio::signal::ctrl_c() => break,
        };
        match event {
            Some(Event::Announced { .. }) => println!("announced"),
            Some(Event::Refused { error, .. }) => {
                let said = format!("{} {}", error.code, error.reason);
                return Err(Failure::of_reason(&said, "the relay refused"));
            }
            Some(Event::Playing { track, .. }) => println!("playing {}", track.fields().join("/")),
            Some(Event::Played { objects, .. }) => println!("played {objects} objects"),
            Some(Event::Closed { closed, .. }) => {
                eprintln!("{}; connecting again", interop::party::describe(&closed));
                tokio::time::sleep(RETRY).await;
                client.connect()?;
            }
            None => break,
        }
    }
    client.stop();
    Ok(())
}

/// Whether the track arrived as it should; says what did not.
fn verify_one(verify: &Verify, tuple: &str) -> Result<bool, Failure> {
    let track = TestTrack::from_text(tuple, &Limits::default())?;
    let namespace = track.namespace_below(&verify.connection.prefix()?)?;
    let name = FullTrackName::new(namespace, verify.track.clone().into())?;
    let filter = verify.from.map(|from| {
        let start = mainstem_core::moqt::Location::new(from, 0);
        match verify.to {
            Some(end_group) => Filter::AbsoluteRange {
                start,
                end_group,
                end_object: None,
            },
            None => Filter::Absolute { start },
        }
    });
    let range = filter.unwrap_or(Filter::None).resolve(None);
    let parameters = Parameters {
        rendezvous_timeout_ms: (verify.rendezvous > 0).then_some(verify.rendezvous),
        filter,
        ..Parameters::default()
    };
    let failed = |fault| Failure::Code(1, said(&fault));
    let manners = Manners::default();
    let mut party =
        Party::connect("verifier", verify.connection.config()?, false, manners).map_err(failed)?;
    let request = party
        .ask("SUBSCRIBE", move |session| {
            session.subscribe(name, parameters)
        })
        .map_err(failed)?;
    let wait = Duration::from_millis(verify.rendezvous) + Duration::from_secs(5);
    let answer = party
        .answer(request, "SUBSCRIBE_OK", wait)
        .map_err(failed)?;
    if let Err(error) = answer {
        println!("not ok {tuple}: {}", interop::party::said(&error));
        return Ok(false);
    }
    let (report, done) = watch(verify, &mut party, request, &track, range);
    let ended = match done {
        Some(code) => format!("PUBLISH_DONE {code}"),
        None => "no PUBLISH_DONE".to_owned(),
    };
    let is_ok = report.is_clean() && done.is_some();
    let verdict = if is_ok { "ok" } else { "not ok" };
    println!(
        "{verdict} {tuple}: {} objects, {} streams, {} missing, {ended}",
        report.objects, report.streams, report.missing
    );
    for problem in &report.problems {
        println!("  {problem}");
    }
    Ok(is_ok)
}

fn watch(
    verify: &Verify,
    party: &mut Party,
    request: mainstem_core::moqt::RequestId,
    track: &TestTrack,
    range: LocationRange,
) -> (Report, Option<PublishDoneCode>) {
    let mut board = Scoreboard::new(track.clone(), range, Limits::default());
    if verify.lossy && track.forwarding == Forwarding::Datagram {
        board = board.may_lose();
    }
    let patience = Duration::from_secs(verify.patience) + Duration::from_millis(track.interval_ms);
    while let Some(event) = party.next_event(Instant::now() + patience) {
        match event {
            SessionEvent::Object {
                request: of,
                stream,
                object,
                ..
            } if of == request => board.add(Some(stream), &object),
            SessionEvent::Datagram {
                request: of,
                object,
            } if of == request => board.add(None, &object),
            SessionEvent::SubgroupEnded {
                request: of,
                stream,
                end,
                ..
            } if of == request => board.end_stream(stream, end == StreamEnd::Finished),
            SessionEvent::PublishDone {
                request: of, code, ..
            } if of == request => return (board.finish(), Some(code)),
            SessionEvent::Closed(_) => break,
            _ => {}
        }
    }
    (board.finish(), None)
}

fn said(fault: &interop::Fault) -> String {
    match fault {
        interop::Fault::Failed(failed) => {
            let came = failed.received.as_deref().unwrap_or("nothing");
            format!("{}: {came}", failed.message)
        }
        interop::Fault::Skipped(reason) | interop::Fault::Unreachable(reason) => reason.clone(),
    }
}
