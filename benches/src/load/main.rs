//! Mixed load: viewers of several drafts and carriers who come, go, stall, vanish and change tracks,
//! and a relay that must not grow by it.
//!
//! | a viewer | then | is held to |
//! |---|---|---|
//! | watches | for a random time | every object, in order, once |
//! | leaves | says goodbye; another comes | - |
//! | vanishes | without a word, and connects anew at once | - |
//! | moves | gives its subscription up and takes another track on the same session | as who watches |
//! | stalls | stops reading, and goes on later | objects again, in order, once; groups may be lost |
//!
//! Meanwhile the relay's memory, threads, descriptors and metrics are sampled. At the end all viewers
//! leave, and the relay must have forgotten them. The exit code is 1 when something grew beyond its
//! bound, an object came twice or out of order, too little was delivered, or a session failed.
//!
//! Seeded: the same `--seed` makes the same choices, as far as time allows.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result is what this program is for, progress goes beside it"
)]

mod crowd;
mod report;
mod shards;

use clap::Parser;
use crowd::Crowd;
use mainstem_benches::feed::{Feed, Shape};
use mainstem_benches::target::{Target, TargetArguments};
use mainstem_net::{ClientConfig, Clock};
use mainstem_quic::TlsTrust;
use report::{Report, Sample};
use shards::Shards;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Load a relay with viewers who come and go.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Seed of all choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Minutes of load, the warm-up included
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Seconds at the beginning that no growth is counted from
    #[arg(long, default_value_t = 30)]
    warm_up: u64,
    /// Viewers at a time
    #[arg(long, default_value_t = 60)]
    viewers: usize,
    /// Viewers that may come in a second
    #[arg(long, default_value_t = 20.0)]
    joins_per_second: f64,
    /// Publishers, of one track each
    #[arg(long, default_value_t = 3)]
    publishers: usize,
    /// MoQT versions, mixed evenly
    #[arg(long, value_delimiter = ',', default_value = "moqt-22,moqt-20,moqt-18")]
    drafts: Vec<String>,
    /// `quic`, `webtransport` or both
    #[arg(long, value_delimiter = ',', default_value = "quic,webtransport")]
    carriers: Vec<String>,
    /// Objects a second of each publisher
    #[arg(long, default_value_t = 30)]
    rate: u32,
    /// Bytes of an object
    #[arg(long, default_value_t = 4000)]
    object_bytes: usize,
    /// Objects of a group
    #[arg(long, default_value_t = 30)]
    group_objects: u64,
    /// Mean seconds until a viewer does something
    #[arg(long, default_value_t = 15.0)]
    stay: f64,
    /// Mean seconds that a viewer does not read for
    #[arg(long, default_value_t = 10.0)]
    stall: f64,
    /// Weights of what a viewer does: leave, vanish, move, stall
    #[arg(long, value_delimiter = ',', num_args = 4, default_value = "4,2,2,2")]
    weights: Vec<u32>,
    /// Seconds between samples
    #[arg(long, default_value_t = 3.0)]
    sample: f64,
    /// Seconds that the relay has to forget everybody at the end
    #[arg(long, default_value_t = 15)]
    settle: u64,
    /// Megabytes that memory may grow from the first to the last quarter
    #[arg(long, default_value_t = 16.0)]
    rss_growth_max_mb: f64,
    /// File descriptors that may be added
    #[arg(long, default_value_t = 8.0)]
    fds_growth_max: f64,
    /// Threads and tasks that may be added
    #[arg(long, default_value_t = 4.0)]
    tasks_growth_max: f64,
    /// Share of what was due to healthy viewers that has to arrive
    #[arg(long, default_value_t = 0.999)]
    delivered_min: f64,
    /// Print JSON only
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn shape(&self) -> Shape {
        Shape {
            rate: self.rate,
            object_bytes: self.object_bytes,
            group_objects: self.group_objects,
        }
    }

    fn client(url: &str, carrier: &str, draft: &str) -> anyhow::Result<ClientConfig> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let url = match carrier {
            "quic" => format!("moqt://{rest}"),
            "webtransport" => format!("https://{rest}"),
            other => anyhow::bail!("expected quic or webtransport, not {other}"),
        };
        Ok(ClientConfig {
            url,
            trust: TlsTrust::Insecure,
            protocols: vec![draft.to_owned()],
        })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let target = Target::new(&arguments.target)?;
    let clock = Clock::start();
    let mut feeds = Vec::new();
    for index in 0..arguments.publishers.max(1) {
        let draft = &arguments.drafts[index % arguments.drafts.len()];
        let carrier = &arguments.carriers[index % arguments.carriers.len()];
        let config = Arguments::client(&target.url, carrier, draft)?;
        let namespace = format!("load/{}-{index}", std::process::id());
        feeds.push(Feed::start(config, clock, &namespace, arguments.shape())?);
    }
    let shards = Shards::start(&arguments, &target.url, clock)?;
    let mut crowd = Crowd::new(&arguments, shards);
    let mut report = Report::default();
    run(&arguments, &target, &mut feeds, &mut crowd, &mut report)?;
    crowd.disperse(&feeds);
    settle(&arguments, &target, &mut feeds, &mut crowd, &mut report)?;
    for feed in feeds {
        feed.stop();
    }
    report.tally = crowd.stop();
    let faults = report.faults(&arguments);
    report.print(&arguments, &faults);
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The load itself.
fn run(
    arguments: &Arguments,
    target: &Target,
    feeds: &mut [Feed],
    crowd: &mut Crowd,
    report: &mut Report,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(arguments.minutes * 60.0);
    let every = Duration::from_secs_f64(arguments.sample);
    let mut sample_at = start + Duration::from_secs(arguments.warm_up);
    let mut shown = 0;
    while Instant::now() < end {
        let mut next = publish_due(feeds)?;
        crowd.act(feeds)?;
        if Instant::now() >= sample_at {
            sample_at += every;
            report.samples.push(Sample::take(start, target)?);
            let minute = start.elapsed().as_secs() / 60;
            if minute > shown && !arguments.json {
                shown = minute;
                eprintln!("{minute} min: {}", crowd.summary());
            }
        }
        next = next.min(sample_at).min(crowd.next_act()).min(end);
        crowd.listen(next, feeds);
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(())
}

/// Everybody has left: what is still there after a while?
fn settle(
    arguments: &Arguments,
    target: &Target,
    feeds: &mut [Feed],
    crowd: &mut Crowd,
    report: &mut Report,
) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(arguments.settle);
    while Instant::now() < end {
        let next = publish_due(feeds)?;
        crowd.listen(next.min(end), feeds);
        let metrics = target.scrape();
        let left = |name: &str, kept: usize| {
            let left = metrics.get(name).copied()?;
            Some(left - mainstem_benches::as_f64(u64::try_from(kept).ok()?))
        };
        report.sessions_left = left("mainstem_relay_sessions", feeds.len());
        report.subscriptions_left = left("mainstem_relay_downstream_subscriptions", 0);
        if report.sessions_left == Some(0.0) && report.subscriptions_left == Some(0.0) {
            break;
        }
        crowd.listen(Instant::now() + Duration::from_millis(20), feeds);
    }
    Ok(())
}

/// Publishes what is due; when the next object is.
fn publish_due(feeds: &mut [Feed]) -> anyhow::Result<Instant> {
    let mut next = Instant::now() + Duration::from_millis(100);
    for feed in feeds {
        while feed.due() <= Instant::now() {
            feed.publish()?;
        }
        next = next.min(feed.due());
    }
    Ok(next)
}
