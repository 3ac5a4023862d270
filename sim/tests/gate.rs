//! The determinism gate: generated worlds and kept plans run in two processes, and their traces are compared.
//!
//! | variable | what it does |
//! |---|---|
//! | `MAINSTEM_SIM_SEEDS` | smoke worlds that run, 12 without it, 300 in the gate |
//! | `MAINSTEM_SIM_CHILD` | set by the test for its own second process |
//!
//! The second process has another reading of the platform's clock, other addresses in memory and another
//! random state of the standard library: whatever of these reached a machine would show. When two runs differ,
//! the first event in which they do is printed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the gate is a driver: it reads its environment, starts a process and prints"
)]

use mainstem_sim::trace::{Recording, first_difference};
use mainstem_sim::world::run_plan;
use mainstem_sim::{Plan, Profile};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const CHILD: &str = "MAINSTEM_SIM_CHILD";
/// Begins the lines of the second process.
const MARK: &str = "trace:";
/// This test, for the second process.
const NAME: &str = "worlds_run_without_finding_and_alike_in_two_processes";
const SEEDS_DEFAULT: u64 = 12;

fn seeds() -> u64 {
    let asked = std::env::var("MAINSTEM_SIM_SEEDS").ok();
    asked.map_or(SEEDS_DEFAULT, |text| text.parse().unwrap())
}

/// Kept plans by their file's name, then generated ones by their seed.
fn plans() -> Vec<(String, Plan)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut plans: Vec<(String, Plan)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, Plan::from_json(&text).unwrap())
        })
        .collect();
    plans.sort_by(|one, other| one.0.cmp(&other.0));
    let generated = (0..seeds()).map(|seed| {
        let plan = Plan::generate(seed, Profile::Smoke);
        (format!("smoke-{seed}"), plan)
    });
    plans.extend(generated);
    plans
}

/// Runs them all on all processors: each one's trace hash, and its first finding.
fn run_all(plans: &[(String, Plan)]) -> Vec<(u64, Option<String>)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![(0, None); plans.len()]);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((_, plan)) = plans.get(at) else {
                        break;
                    };
                    let report = run_plan(plan, Recording::Nothing).unwrap();
                    let finding = report.findings.first().map(ToString::to_string);
                    done.lock().unwrap()[at] = (report.trace_hash, finding);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// The second process: prints what the first compares.
fn run_as_child(plans: &[(String, Plan)]) {
    if let Ok(one) = std::env::var("MAINSTEM_SIM_DIGESTS_OF") {
        let (_, plan) = plans.iter().find(|(name, _)| *name == one).unwrap();
        let report = run_plan(plan, Recording::Digests).unwrap();
        for digest in report.digests {
            println!("{MARK}{digest:016x}");
        }
        return;
    }
    for (hash, _) in run_all(plans) {
        println!("{MARK}{hash:016x}");
    }
}

/// What the second process printed.
fn ask_child(digests_of: Option<&str>) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([NAME, "--exact", "--nocapture", "--test-threads=1"]);
    child.env(CHILD, "1");
    if let Some(name) = digests_of {
        child.env("MAINSTEM_SIM_DIGESTS_OF", name);
    }
    let output = child.output().unwrap();
    assert!(
        output.status.success(),
        "the second process failed: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // The harness writes the test's name before the first of them, on the same line.
    let hashes = text.lines().filter_map(|line| line.split_once(MARK));
    hashes
        .map(|(_, hash)| u64::from_str_radix(hash, 16).unwrap())
        .collect()
}

/// The first event in which this process and the other one differ.
fn explain(name: &str, plan: &Plan) -> String {
    let ours = run_plan(plan, Recording::Digests).unwrap().digests;
    let Some(event) = first_difference(&ours, &ask_child(Some(name))) else {
        return "no event differs any more".to_owned();
    };
    let window = Recording::Window {
        from: event.saturating_sub(5),
        until: event + 1,
    };
    let lines = run_plan(plan, window).unwrap().transcript.join("\n  ");
    format!("first differing event {event}, here:\n  {lines}")
}

#[test]
fn worlds_run_without_finding_and_alike_in_two_processes() {
    let plans = plans();
    if std::env::var(CHILD).is_ok() {
        run_as_child(&plans);
        return;
    }
    let ours = run_all(&plans);
    let mut wrong = Vec::new();
    for ((name, _), (_, finding)) in plans.iter().zip(&ours) {
        if let Some(finding) = finding {
            wrong.push(format!("{name}: {finding}"));
        }
    }
    let theirs = ask_child(None);
    assert_eq!(theirs.len(), plans.len(), "the second process ran as many");
    for (((name, plan), (hash, _)), other) in plans.iter().zip(&ours).zip(&theirs) {
        if hash != other {
            wrong.push(format!("{name}: {}", explain(name, plan)));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
