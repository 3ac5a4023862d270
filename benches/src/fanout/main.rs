//! Fan-out: what a relay costs to carry one stream to many viewers.
//!
//! One publisher sends 30 objects of 10,417 bytes a second (2.5 Mbit/s), a group a second. N viewers,
//! each with a QUIC connection of its own, subscribe. After a warm-up the generator counts what
//! arrives and how old it is, and reads from `/proc` what the relay used meanwhile.
//!
//! With `--stalled K`, K of the viewers stop reading after the warm-up and do not go on: they count
//! for nothing but the relay's memory, which is sampled every few seconds. Its growth is reported,
//! and `--rss-growth-max-mb` makes it a failure.
//!
//! The generator and the relay should not share a core: `taskset -c 0 relay ..`,
//! `taskset -c 1 fanout ..`. Any relay that serves a namespace without a token will do; give its URL
//! and its process id, or `--spawn` ours.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the result is what this program is for"
)]

mod watching;

use anyhow::Context;
use clap::Parser;
use mainstem_benches::as_f64;
use mainstem_benches::feed::{Feed, Shape};
use mainstem_benches::target::{Target, TargetArguments};
use mainstem_benches::usage::{Growth, Usage};
use mainstem_net::{ClientConfig, Clock};
use mainstem_quic::TlsTrust;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use watching::Watching;

const SHAPE: Shape = Shape {
    rate: 30,
    object_bytes: 10_417,
    group_objects: 30,
};
/// Between two looks at the relay's memory.
const SAMPLE: Duration = Duration::from_secs(5);

/// Measure a relay's fan-out.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Viewers; several numbers measure one after the other
    #[arg(long, value_delimiter = ',', default_value = "10,50,100,200")]
    viewers: Vec<usize>,
    /// How many of them stop reading after the warm-up
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Seconds of each measurement, after the warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Minutes of each measurement, instead of seconds
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Seconds before it
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// MoQT version to offer
    #[arg(long, default_value = "moqt-18")]
    protocol: String,
    /// Megabytes that the relay's memory may grow between the first and the last quarter
    #[arg(long)]
    rss_growth_max_mb: Option<f64>,
    /// Print one JSON object a measurement instead of a table
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn client(&self, target: &Target) -> ClientConfig {
        ClientConfig {
            url: target.url.clone(),
            trust: TlsTrust::Insecure,
            protocols: vec![self.protocol.clone()],
        }
    }

    fn measured(&self) -> Duration {
        Duration::from_secs(self.minutes.map_or(self.seconds, |minutes| minutes * 60))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let target = Target::new(&arguments.target)?;
    if !arguments.json {
        println!(
            "viewers  delivered   Mbit/s   CPU s/Gbit  CPU %   p50 ms   p99 ms   max ms  RSS MB  RSS growth MB (MB/min)"
        );
    }
    let mut is_good = true;
    for (round, viewers) in arguments.viewers.iter().enumerate() {
        let outcome = measure(&arguments, &target, *viewers, round)?;
        outcome.print(*viewers, arguments.stalled, arguments.json);
        let growth = outcome.rss_growth.map_or(0.0, |growth| growth.amount());
        is_good &= arguments.rss_growth_max_mb.is_none_or(|max| growth <= max);
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Outcome {
    delivered: f64,
    mbit_per_second: f64,
    cpu_seconds_per_gbit: f64,
    cpu_percent: f64,
    delays_ms: [f64; 3],
    rss_mb: f64,
    rss_samples: Vec<(f64, f64)>,
    rss_growth: Option<Growth>,
}

impl Outcome {
    fn print(&self, viewers: usize, stalled: usize, as_json: bool) {
        let [p50, p99, max] = self.delays_ms;
        let growth = self.rss_growth.map(|g| (g.amount(), g.per_minute));
        if as_json {
            println!(
                "{}",
                json!({
                    "viewers": viewers,
                    "stalled": stalled,
                    "delivered": self.delivered,
                    "mbit_per_second": self.mbit_per_second,
                    "cpu_seconds_per_gbit": self.cpu_seconds_per_gbit,
                    "cpu_percent": self.cpu_percent,
                    "delay_ms": { "p50": p50, "p99": p99, "max": max },
                    "rss_mb": self.rss_mb,
                    "rss_growth_mb": growth.map(|(amount, _)| amount),
                    "rss_growth_mb_per_minute": growth.map(|(_, slope)| slope),
                    "rss_samples": self.rss_samples,
                })
            );
        } else {
            let (amount, slope) = growth.unwrap_or((f64::NAN, f64::NAN));
            println!(
                "{viewers:>7}  {:>8.2}%  {:>7.1}   {:>10.3}  {:>5.1}  {p50:>7.2}  {p99:>7.2}  {max:>7.2}  {:>6.1}  {amount:>+8.2} ({slope:+.2})",
                self.delivered * 100.0,
                self.mbit_per_second,
                self.cpu_seconds_per_gbit,
                self.cpu_percent,
                self.rss_mb
            );
        }
    }
}

/// What is known when the warm-up is over.
struct Begun {
    usage: Usage,
    at: Duration,
    sampled: Instant,
}

fn measure(
    arguments: &Arguments,
    target: &Target,
    viewers: usize,
    round: usize,
) -> anyhow::Result<Outcome> {
    let clock = Clock::start();
    let namespace = format!("bench/fanout-{}-{round}", std::process::id());
    let mut feed = Feed::start(arguments.client(target), clock, &namespace, SHAPE)?;
    let stalled = arguments.stalled.min(viewers);
    let watching = Watching::start(
        arguments.client(target),
        clock,
        feed.track(),
        viewers - stalled,
    )?;
    let stalling = Watching::start(arguments.client(target), clock, feed.track(), stalled)?;

    let warm_up = Duration::from_secs(arguments.warm_up);
    let mut begun: Option<Begun> = None;
    let mut sent_measured = 0;
    let mut rss_samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < warm_up + arguments.measured() {
        std::thread::sleep(feed.due().saturating_duration_since(Instant::now()));
        let at = Duration::from_nanos(clock.now().as_nanos());
        match &mut begun {
            None if start.elapsed() >= warm_up => {
                stalling.stall()?;
                watching.measure_from(at);
                begun = Some(Begun {
                    usage: target.usage()?,
                    at,
                    sampled: Instant::now(),
                });
            }
            Some(begun) if begun.sampled.elapsed() >= SAMPLE => {
                begun.sampled = Instant::now();
                let second = at.saturating_sub(begun.at).as_secs_f64();
                rss_samples.push((second, target.usage()?.rss_mb));
            }
            _ => {}
        }
        sent_measured += u64::from(begun.is_some());
        feed.publish()?;
    }
    let usage = target.usage()?;
    let begun = begun.context("the warm-up is longer than the run")?;
    let seconds = Duration::from_nanos(clock.now().as_nanos()).saturating_sub(begun.at);
    // What is under way may still arrive.
    std::thread::sleep(Duration::from_secs(1));
    let ages = watching.finish();
    stalling.finish();
    feed.stop();

    let expected = sent_measured * u64::try_from(viewers - stalled)?;
    let gbit = as_f64(ages.len()) * as_f64(u64::try_from(SHAPE.object_bytes)?) * 8.0 / 1e9;
    let cpu = usage.cpu_seconds - begun.usage.cpu_seconds;
    Ok(Outcome {
        delivered: as_f64(ages.len()) / as_f64(expected),
        mbit_per_second: gbit * 1000.0 / seconds.as_secs_f64(),
        cpu_seconds_per_gbit: cpu / gbit,
        cpu_percent: cpu / seconds.as_secs_f64() * 100.0,
        delays_ms: [0.5, 0.99, 1.0].map(|share| ages.quantile_ms(share)),
        rss_mb: usage.rss_mb,
        rss_growth: Growth::of(rss_samples.iter().copied()),
        rss_samples,
    })
}
