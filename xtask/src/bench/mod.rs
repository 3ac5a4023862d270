//! `cargo xtask bench`: what one stream to many viewers costs, here and in other relays.
//!
//! For each number of viewers every relay is measured in turn, by the same generator
//! (`benches/src/fanout.rs`) and within one run, the relay alone on one core and the generator on
//! another. Single measurements differ by a tenth and more on a machine that is not alone, so there
//! are rounds, and the median of them counts. Only the ratios carry over to other machines.
//!
//! Relays that are not installed are named and left out; `--peers` says where they are.

mod relays;
mod report;

use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use relays::Relay;
use report::{Measurement, Report};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Viewers; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "10,50,100,200,400,800")]
    viewers: Vec<usize>,
    /// Seconds of each measurement, after the warm-up.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Times that each is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Relays to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "mainstem,moq-relay-ietf,moq-relay"
    )]
    relays: Vec<Relay>,
    /// Most viewers that the other relays are given: beyond what they can carry, the generator
    /// only waits.
    #[arg(long, default_value_t = 400)]
    rival_viewers_max: usize,
    /// Where the other relays' programs are.
    #[arg(long, value_name = "DIRECTORY", env = "MAINSTEM_PEERS")]
    peers: Option<PathBuf>,
    /// Measure the programs as they were built last.
    #[arg(long)]
    built: bool,
    /// Core of the relay.
    #[arg(long, default_value_t = 0)]
    relay_core: usize,
    /// Core of the generator.
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Write the figures as JSON as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the page that the documents show.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.built {
        build()?;
    }
    let peers = arguments
        .peers
        .clone()
        .unwrap_or_else(|| house::cache_dir().join("peers/bin"));
    let mut found = Vec::new();
    for relay in &arguments.relays {
        match relay.program(&peers) {
            Some(program) => found.push((*relay, program)),
            None => println!("{}: not in {}, left out", relay.name(), peers.display()),
        }
    }
    if found.is_empty() {
        bail!("no relay to measure");
    }
    let versions = found.iter().map(|(relay, program)| relay.version(program));
    let mut report = Report::new(versions.collect(), arguments.seconds, arguments.rounds);
    println!("{}", report::HEAD);
    for viewers in &arguments.viewers {
        for _ in 0..arguments.rounds {
            for (relay, program) in &found {
                one(arguments, *relay, program, *viewers, &mut report)?;
            }
        }
    }
    println!("{}", report.ratios());
    if let Some(path) = &arguments.json {
        house::write(path, &report.json()?)?;
    }
    if let Some(path) = &arguments.page {
        house::write(path, &report.page())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures one relay once and puts what came into the report.
fn one(
    arguments: &Arguments,
    relay: Relay,
    program: &Path,
    viewers: usize,
    report: &mut Report,
) -> Result<()> {
    if relay != Relay::Mainstem && viewers > arguments.rival_viewers_max {
        return Ok(());
    }
    match measure(arguments, relay, program, viewers) {
        Ok(measurement) => {
            println!("{}", measurement.row());
            report.add(measurement);
        }
        // A rival that breaks down is a result; ours must not.
        Err(error) if relay != Relay::Mainstem => {
            println!("{} {viewers}: {error:#}", relay.name());
            report.add_failure(relay.name(), viewers, &format!("{error:#}"));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn build() -> Result<()> {
    let mut build = Command::new(house::cargo());
    build.current_dir(house::root()).args([
        "build",
        "--release",
        "--package=mainstem-cli",
        "--package=mainstem-benches",
    ]);
    run::run(&mut build)
}

fn measure(
    arguments: &Arguments,
    relay: Relay,
    program: &Path,
    viewers: usize,
) -> Result<Measurement> {
    let directory = house::target_dir()
        .join("mainstem-bench")
        .join(relay.name());
    // What an earlier run left behind may be in another form.
    std::fs::remove_dir_all(&directory).ok();
    let running = relay.start(program, arguments.relay_core, &directory)?;
    let mut generator = Command::new("taskset");
    generator
        .args(["-c", &arguments.generator_core.to_string()])
        .arg(house::target_dir().join("release/fanout"))
        .args([&running.url, "--json", "--protocol", "moqt-18"])
        .args(["--pid", &running.pid().to_string()])
        .args(["--viewers", &viewers.to_string()])
        .args(["--seconds", &arguments.seconds.to_string()]);
    let said = run::ask(&mut generator).context("the generator failed")?;
    let line = said
        .lines()
        .next_back()
        .context("the generator said nothing")?;
    Measurement::new(relay.name(), serde_json::from_str(line)?)
}
