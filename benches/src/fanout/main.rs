//! Fan-out: what a relay costs to carry one stream to many viewers.
//!
//! One publisher sends 30 objects of 10,417 bytes a second (2.5 Mbit/s), a group a second. N viewers,
//! each with a QUIC connection of its own, subscribe. After a warm-up the generator counts what
//! arrives and how old it is, and reads from `/proc` what the relay used meanwhile.
//!
//! The generator and the relay should not share a core: `taskset -c 0 relay ..`,
//! `taskset -c 1 fanout ..`. Any relay that serves a namespace without a token will do; give its URL
//! and its process id.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the result is what this program is for"
)]

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::{self, Publisher};
use mainstem_core::moqt::session;
use mainstem_core::moqt::subscriber::{Event, Subscriber};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_net::{Client, ClientConfig, Clock};
use mainstem_quic::TlsTrust;
use serde_json::json;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const OBJECT_BYTES: usize = 10_417;
const OBJECTS_PER_SECOND: u64 = 30;
/// Clock ticks a second in `/proc/<pid>/stat`, on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
const INFO: SubgroupInfo = SubgroupInfo {
    priority: None,
    has_properties: false,
    end_of_group: true,
    first_object: true,
};

/// Measure a relay's fan-out.
#[derive(Debug, Parser)]
struct Arguments {
    /// The relay, `moqt://host:port/path` or `https://..`; any certificate is taken
    url: String,
    /// The relay's process id
    #[arg(long)]
    pid: u32,
    /// Viewers; several numbers measure one after the other
    #[arg(long, value_delimiter = ',', default_value = "10,50,100,200")]
    viewers: Vec<usize>,
    /// Seconds of each measurement, after the warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before it
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// MoQT version to offer
    #[arg(long, default_value = "moqt-18")]
    protocol: String,
    /// Print one JSON object a measurement instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.json {
        println!(
            "viewers  delivered   Mbit/s   CPU s/Gbit  CPU %   p50 ms   p99 ms   max ms  RSS MB"
        );
    }
    for (round, viewers) in arguments.viewers.iter().enumerate() {
        let result = measure(&arguments, *viewers, round)?;
        result.print(*viewers, arguments.json);
    }
    Ok(())
}

struct Outcome {
    delivered: f64,
    mbit_per_second: f64,
    cpu_seconds_per_gbit: f64,
    cpu_percent: f64,
    delays_ms: [f64; 3],
    rss_mb: f64,
}

impl Outcome {
    fn print(&self, viewers: usize, as_json: bool) {
        let [p50, p99, max] = self.delays_ms;
        if as_json {
            println!(
                "{}",
                json!({
                    "viewers": viewers,
                    "delivered": self.delivered,
                    "mbit_per_second": self.mbit_per_second,
                    "cpu_seconds_per_gbit": self.cpu_seconds_per_gbit,
                    "cpu_percent": self.cpu_percent,
                    "delay_ms": { "p50": p50, "p99": p99, "max": max },
                    "rss_mb": self.rss_mb,
                })
            );
        } else {
            println!(
                "{viewers:>7}  {:>8.2}%  {:>7.1}   {:>10.3}  {:>5.1}  {p50:>7.2}  {p99:>7.2}  {max:>7.2}  {:>6.1}",
                self.delivered * 100.0,
                self.mbit_per_second,
                self.cpu_seconds_per_gbit,
                self.cpu_percent,
                self.rss_mb
            );
        }
    }
}

/// One arrived object: when, after the clock's start, and how old.
struct Arrival {
    at: Duration,
    age: Duration,
}

fn measure(arguments: &Arguments, viewers: usize, round: usize) -> anyhow::Result<Outcome> {
    let clock = Clock::start();
    let namespace =
        TrackNamespace::from_path(&format!("bench/fanout-{}-{round}", std::process::id()))?;
    let track = FullTrackName::new(namespace, TrackName(Bytes::from_static(b"video")))?;
    let publishing = Publishing::start(arguments, clock, &track)?;
    let watching = Watching::start(arguments, clock, &track, viewers)?;

    let warm_up = Duration::from_secs(arguments.warm_up);
    let mut usage_before = None;
    let mut sent_measured = 0;
    let total = (arguments.warm_up + arguments.seconds) * OBJECTS_PER_SECOND;
    let start = Instant::now();
    for number in 0..total {
        let due = start
            + Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(OBJECTS_PER_SECOND)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if usage_before.is_none() && start.elapsed() >= warm_up {
            usage_before = Some((Usage::of(arguments.pid)?, clock.now().as_nanos()));
        }
        sent_measured += usize::from(usage_before.is_some());
        publishing.publish(clock, &track, number)?;
    }
    let usage = Usage::of(arguments.pid)?;
    let (before, from) = usage_before.context("the warm-up is longer than the run")?;
    let seconds = Duration::from_nanos(clock.now().as_nanos() - from).as_secs_f64();
    // What is under way may still arrive.
    std::thread::sleep(Duration::from_secs(1));
    let arrivals = watching.finish();
    publishing.client.stop();

    let from = Duration::from_nanos(from);
    let mut ages: Vec<Duration> = arrivals
        .iter()
        .filter(|arrival| arrival.at.saturating_sub(arrival.age) >= from)
        .map(|arrival| arrival.age)
        .collect();
    ages.sort_unstable();
    let expected = sent_measured * viewers;
    let gbit = as_f64(ages.len() * OBJECT_BYTES * 8) / 1e9;
    let cpu = usage.cpu_seconds - before.cpu_seconds;
    let percentile = |percent: usize| {
        let index = ages.len().saturating_sub(1) * percent / 100;
        ages.get(index)
            .map_or(f64::NAN, |age| age.as_secs_f64() * 1000.0)
    };
    Ok(Outcome {
        delivered: as_f64(ages.len()) / as_f64(expected),
        mbit_per_second: gbit * 1000.0 / seconds,
        cpu_seconds_per_gbit: cpu / gbit,
        cpu_percent: cpu / seconds * 100.0,
        delays_ms: [percentile(50), percentile(99), percentile(100)],
        rss_mb: usage.rss_mb,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a measurement are far below 2^52"
)]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn session_config() -> session::Config {
    session::Config {
        sessions_max: 10_000,
        ..session::Config::default()
    }
}

fn client_config(arguments: &Arguments) -> ClientConfig {
    ClientConfig {
        url: arguments.url.clone(),
        trust: TlsTrust::Insecure,
        protocols: vec![arguments.protocol.clone()],
    }
}

struct Publishing {
    client: Client<Publisher>,
}

impl Publishing {
    fn start(arguments: &Arguments, clock: Clock, track: &FullTrackName) -> anyhow::Result<Self> {
        let mut machine = Publisher::new(session_config(), track::Limits::default());
        machine.announce(clock.now(), track.namespace.clone());
        machine.create_track(track.clone(), Properties::default());
        let (sender, events) = channel();
        let client = Client::open(client_config(arguments), clock, machine, move |event| {
            // The receiver is gone once the namespace is announced.
            let _ = sender.send(event);
        })?;
        client.connect()?;
        match events.recv_timeout(Duration::from_secs(10)) {
            Ok(publisher::Event::Announced { .. }) => Ok(Self { client }),
            other => anyhow::bail!("the relay does not take the namespace: {other:?}"),
        }
    }

    fn publish(&self, clock: Clock, track: &FullTrackName, number: u64) -> anyhow::Result<()> {
        let (group, object) = (number / OBJECTS_PER_SECOND, number % OBJECTS_PER_SECOND);
        let mut payload = BytesMut::zeroed(OBJECT_BYTES);
        if let Some(mut head) = payload.get_mut(..8) {
            head.put_u64(clock.now().as_nanos());
        }
        let payload = payload.freeze().into();
        let subgroup = Some(0);
        let object = Object {
            group,
            object,
            subgroup,
            payload,
            ..Object::default()
        };
        let is_last = number % OBJECTS_PER_SECOND == OBJECTS_PER_SECOND - 1;
        let track = track.clone();
        self.client.handle().call(move |host, now| {
            host.app_mut().publish(now, &track, INFO, object);
            if is_last {
                host.app_mut().end_subgroup(now, &track, group, 0);
            }
        })?;
        Ok(())
    }
}

struct Watching {
    client: Client<Subscriber>,
    arrivals: Receiver<Arrival>,
}

impl Watching {
    fn start(
        arguments: &Arguments,
        clock: Clock,
        track: &FullTrackName,
        viewers: usize,
    ) -> anyhow::Result<Self> {
        let (sender, arrivals) = channel();
        let (ready_sender, ready) = channel();
        let machine = Subscriber::new(session_config());
        let client = Client::open(client_config(arguments), clock, machine, move |event| {
            match event {
                Event::Object { object, .. } => {
                    let head = object.payload.to_bytes();
                    let sent = head
                        .first_chunk::<8>()
                        .map(|sent| u64::from_be_bytes(*sent));
                    let at = clock.now().as_nanos();
                    let age = at.saturating_sub(sent.unwrap_or(at));
                    let (at, age) = (Duration::from_nanos(at), Duration::from_nanos(age));
                    // The receiver is gone only when the run is over.
                    let _ = sender.send(Arrival { at, age });
                }
                event => {
                    let _ = ready_sender.send(event);
                }
            }
        })?;
        for _ in 0..viewers {
            client.connect()?;
        }
        let mut accepted = 0;
        while accepted < viewers {
            match ready.recv_timeout(Duration::from_secs(30)) {
                Ok(Event::Ready { session }) => {
                    let track = track.clone();
                    client.handle().ask(move |host, _| {
                        host.app_mut()
                            .subscribe(session, track, Parameters::default())
                    })??;
                }
                Ok(Event::Accepted { .. }) => accepted += 1,
                other => anyhow::bail!("{accepted} of {viewers} viewers came in, then: {other:?}"),
            }
        }
        Ok(Self { client, arrivals })
    }

    fn finish(self) -> Vec<Arrival> {
        self.client.stop();
        self.arrivals.try_iter().collect()
    }
}

/// What a process has used so far.
struct Usage {
    cpu_seconds: f64,
    rss_mb: f64,
}

impl Usage {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(folder.join("stat")).context("no such relay process")?;
        // The name in parentheses may hold spaces; what follows it does not.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        let (user, system) = (ticks(12), ticks(13));
        let cpu = user
            .zip(system)
            .map(|(user, system)| (user + system) / TICKS_PER_SECOND);
        let status = std::fs::read_to_string(folder.join("status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = rss.and_then(|rss| rss.trim().split(' ').next()?.parse::<f64>().ok());
        Ok(Self {
            cpu_seconds: cpu.context("unreadable /proc/<pid>/stat")?,
            rss_mb: kb.unwrap_or(f64::NAN) / 1024.0,
        })
    }
}
