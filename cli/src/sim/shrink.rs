//! Cuts the plan of a world with a finding down to what the finding needs, and saves it.

use super::Arguments;
use crate::failure::Failure;
use anyhow::Context;
use mainstem_sim::shrink::{self, Failure as Kind, Limits, Progress};
use mainstem_sim::trace::Recording;
use mainstem_sim::world::run_plan;
use mainstem_sim::{Finding, Plan};
use std::io::Write;
use std::path::PathBuf;

/// Cuts `plan` down, whose run had `finding`; says where the result is, with its transcript beside it.
pub(super) fn run(
    arguments: &Arguments,
    plan: &Plan,
    finding: &Finding,
) -> Result<PathBuf, Failure> {
    let shrunk = shrink::shrink(plan, &kind(finding), Limits::default(), first, tell);
    let name = format!("{}-{}-seed-{}", finding.checker, finding.class, plan.seed);
    std::fs::create_dir_all(&arguments.save)
        .with_context(|| format!("cannot make {}", arguments.save.display()))?;
    let path = arguments.save.join(format!("{name}.json"));
    std::fs::write(&path, shrunk.plan.to_json() + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    let told = run_plan(&shrunk.plan, Recording::Transcript)?;
    let transcript = path.with_extension("txt");
    std::fs::write(&transcript, told.transcript.join("\n") + "\n")
        .with_context(|| format!("cannot write {}", transcript.display()))?;
    let smallest = if shrunk.is_smallest {
        "nothing smaller fails"
    } else {
        "its runs were used up"
    };
    eprintln!(
        "shrunk: {} nodes, {} faults and {} tracks are left of {}, {} and {}, after {} runs; {smallest}",
        shrunk.plan.nodes.len(),
        shrunk.plan.faults.len(),
        shrunk.plan.tracks.len(),
        plan.nodes.len(),
        plan.faults.len(),
        plan.tracks.len(),
        shrunk.runs,
    );
    Ok(path)
}

/// How a plan fails: its first finding. A plan that cannot be run does not fail.
fn first(plan: &Plan) -> Option<Kind> {
    let report = run_plan(plan, Recording::Nothing).ok()?;
    report.findings.first().map(kind)
}

fn kind(finding: &Finding) -> Kind {
    Kind {
        checker: finding.checker.to_owned(),
        class: finding.class.to_owned(),
        at_ms: finding.at_us / 1_000,
    }
}

fn tell(progress: Progress) {
    // Nothing is lost when nobody sees it.
    let _ = writeln!(
        std::io::stderr().lock(),
        "run {}: {} nodes, {} faults, {} tracks, {} ms",
        progress.runs,
        progress.nodes,
        progress.faults,
        progress.tracks,
        progress.duration_ms,
    );
}
