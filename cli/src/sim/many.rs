//! Many worlds: seed after seed on all processors, until the time or the seeds are over.

use super::Arguments;
use crate::failure::Failure;
use anyhow::Context;
use mainstem_sim::trace::Recording;
use mainstem_sim::world::{WorldError, compare, run_plan};
use mainstem_sim::{Plan, Report};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Plans that are saved at most; a fault that everything meets would fill the disk.
const SAVED_MAX: usize = 100;
/// Seeds with findings after which no more are begun.
const FAILURES_MAX: u64 = 200;

/// What one seed came to.
struct Outcome {
    plan: Plan,
    report: Result<Report, WorldError>,
    difference: Option<String>,
}

#[derive(Default)]
struct Sum {
    worlds: u64,
    failed: u64,
    events: u64,
    virtual_ms: u64,
    busy_ms: u64,
    delivered: u64,
    packets: u64,
    saved: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let jobs = arguments.jobs.or_else(processors).unwrap_or(1).max(1);
    let began = Instant::now();
    let until = arguments
        .minutes
        .map(|minutes| began + Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let first = arguments.seed.unwrap_or(0);
    let end = arguments.seeds.map(|seeds| first.saturating_add(seeds));
    let next = AtomicU64::new(first);
    let is_over = AtomicBool::new(false);
    let (sender, outcomes) = channel();
    let sum = std::thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if end.is_some_and(|end| seed >= end)
                        || until.is_some_and(|until| Instant::now() >= until)
                    {
                        break;
                    }
                    // The receiver outlives this thread unless it failed, and then nobody asks.
                    let _ = sender.send(outcome(arguments, seed));
                }
            });
        }
        drop(sender);
        let sum = gather(arguments, began, &outcomes, &is_over);
        is_over.store(true, Ordering::Relaxed);
        sum
    })?;
    tell(arguments, &sum, began.elapsed());
    if sum.worlds == 0 {
        return Err(anyhow::anyhow!("no world was run").into());
    }
    if sum.failed == 0 {
        return Ok(());
    }
    let of = sum.worlds;
    let words = format!("{} of {of} worlds have findings", sum.failed);
    Err(Failure::Code(1, words))
}

fn processors() -> Option<usize> {
    std::thread::available_parallelism().ok().map(usize::from)
}

fn outcome(arguments: &Arguments, seed: u64) -> Outcome {
    let plan = arguments.plan_of(seed);
    let report = run_plan(&plan, Recording::Nothing);
    let mut difference = None;
    if arguments.twice
        && let (Ok(one), Ok(other)) = (&report, run_plan(&plan, Recording::Nothing))
        && one.trace_hash != other.trace_hash
    {
        difference = compare(&plan).ok().flatten().map_or_else(
            || Some("two runs differ, and no longer do when they are looked at".to_owned()),
            |difference| Some(difference.to_string()),
        );
    }
    Outcome {
        plan,
        report,
        difference,
    }
}

fn gather(
    arguments: &Arguments,
    began: Instant,
    outcomes: &Receiver<Outcome>,
    is_over: &AtomicBool,
) -> Result<Sum, Failure> {
    let mut sum = Sum::default();
    let shows = !arguments.json && std::io::stderr().is_terminal();
    let mut shown = Instant::now();
    loop {
        match outcomes.recv_timeout(Duration::from_millis(500)) {
            Ok(outcome) => take(arguments, &mut sum, outcome)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if sum.failed >= FAILURES_MAX {
            is_over.store(true, Ordering::Relaxed);
        }
        if shows && shown.elapsed() > Duration::from_millis(500) {
            shown = Instant::now();
            eprint!("\r{}   ", words(&sum, began.elapsed()));
        }
    }
    if shows {
        eprintln!();
    }
    Ok(sum)
}

fn take(arguments: &Arguments, sum: &mut Sum, outcome: Outcome) -> Result<(), Failure> {
    let report = outcome.report?;
    let seed = outcome.plan.seed;
    sum.worlds += 1;
    sum.events += report.events;
    sum.virtual_ms += report.virtual_ms;
    sum.busy_ms += report.busy_ms;
    sum.delivered += report.tally.delivered + report.tally.delivered_past;
    sum.packets += report.tally.packets;
    if arguments.trace_hash {
        println!("{seed} {:016x}", report.trace_hash);
    }
    if report.findings.is_empty() && outcome.difference.is_none() {
        return Ok(());
    }
    sum.failed += 1;
    for finding in &report.findings {
        println!("seed {seed}: {finding}");
    }
    if let Some(difference) = &outcome.difference {
        println!("seed {seed}: {difference}");
    }
    println!("again with: {}", arguments.replay(seed));
    let class = report.findings.first().map_or_else(
        || "not-deterministic".to_owned(),
        |finding| format!("{}-{}", finding.checker, finding.class),
    );
    save(arguments, sum, &class, &outcome.plan)
}

fn save(arguments: &Arguments, sum: &mut Sum, class: &str, plan: &Plan) -> Result<(), Failure> {
    if sum.saved >= SAVED_MAX {
        return Ok(());
    }
    sum.saved += 1;
    let folder = &arguments.save;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(format!("{class}-{}-{}.json", plan.profile, plan.seed));
    std::fs::write(&file, plan.to_json())
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("its plan is {}", file.display());
    std::io::stdout().flush()?;
    Ok(())
}

fn words(sum: &Sum, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    format!(
        "{} worlds, {} with findings, {:.1} virtual minutes ({:.1} busy) in {:.1} s: {:.0} times real time",
        sum.worlds,
        sum.failed,
        seconds_of(sum.virtual_ms) / 60.0,
        seconds_of(sum.busy_ms) / 60.0,
        seconds,
        seconds_of(sum.virtual_ms) / seconds,
    )
}

/// Milliseconds in seconds.
fn seconds_of(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

fn tell(arguments: &Arguments, sum: &Sum, took: Duration) {
    if arguments.json {
        let value = serde_json::json!({
            "profile": arguments.profile,
            "worlds": sum.worlds,
            "failed": sum.failed,
            "events": sum.events,
            "packets": sum.packets,
            "delivered": sum.delivered,
            "virtual_minutes": seconds_of(sum.virtual_ms) / 60.0,
            "busy_minutes": seconds_of(sum.busy_ms) / 60.0,
            "seconds": took.as_secs_f64(),
        });
        println!("{value}");
    } else {
        println!("{}", words(sum, took));
    }
}
