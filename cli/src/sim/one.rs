//! One world: runs it and tells what it came to.

use super::Arguments;
use crate::failure::Failure;
use anyhow::Context;
use mainstem_sim::trace::Recording;
use mainstem_sim::world::{compare, run_plan};
use mainstem_sim::{Plan, Report};
use std::time::{Duration, Instant};

pub(super) fn run(arguments: &Arguments, plan: &Plan) -> Result<(), Failure> {
    if arguments.print_plan {
        println!("{}", plan.to_json());
        return Ok(());
    }
    let recording = if arguments.transcript.is_some() {
        Recording::Transcript
    } else {
        Recording::Nothing
    };
    let began = Instant::now();
    let report = run_plan(plan, recording)?;
    let took = began.elapsed();
    if let Some(file) = &arguments.transcript {
        let text = report.transcript.join("\n") + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if arguments.json {
        println!("{}", to_json(&report));
    } else if arguments.trace_hash {
        println!("{:016x}", report.trace_hash);
    } else {
        print(&report, took.as_secs_f64());
    }
    if arguments.twice
        && let Some(difference) = compare(plan)?
    {
        return Err(Failure::Code(1, difference.to_string()));
    }
    let Some(finding) = report.findings.first() else {
        return Ok(());
    };
    let smaller = arguments
        .shrink
        .then(|| super::shrink::run(arguments, plan, finding))
        .transpose()?;
    let again = match smaller.as_ref().or(arguments.plan.as_ref()) {
        Some(file) => format!("mainstem sim --plan {}", file.display()),
        None => arguments.replay(plan.seed),
    };
    let count = report.findings.len();
    Err(Failure::Code(
        1,
        format!("{count} findings; again with: {again}"),
    ))
}

fn print(report: &Report, seconds: f64) {
    for finding in &report.findings {
        println!("finding: {finding}");
    }
    let (tally, network) = (&report.tally, &report.network);
    println!("trace hash   {:016x}", report.trace_hash);
    println!(
        "time         {:.3} s virtual in {seconds:.3} s, {} events",
        Duration::from_millis(report.virtual_ms).as_secs_f64(),
        report.events
    );
    if let Some(ms) = report.healed_in_ms {
        println!("healed in    {ms} ms");
    }
    println!(
        "objects      {} published, {} delivered, {} of the past",
        tally.published, tally.delivered, tally.delivered_past
    );
    println!(
        "requests     {} asked, {} accepted, {} refused",
        tally.asked, tally.accepted, tally.rejected
    );
    println!(
        "sessions     {} closed, {} denied, {} told to go; {} restarts",
        tally.closed, tally.denied, tally.goaways, tally.restarts
    );
    println!("packets      {network:?}");
}

pub(super) fn to_json(report: &Report) -> String {
    let value = serde_json::json!({
        "seed": report.seed,
        "trace_hash": format!("{:016x}", report.trace_hash),
        "events": report.events,
        "virtual_ms": report.virtual_ms,
        "busy_ms": report.busy_ms,
        "healed_in_ms": report.healed_in_ms,
        "published": report.tally.published,
        "delivered": report.tally.delivered,
        "delivered_past": report.tally.delivered_past,
        "findings": report.findings,
    });
    value.to_string()
}
