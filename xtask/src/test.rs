//! `cargo xtask test`: the suites in order, each timed, and a table at the end.
//!
//! A suite that fails does not stop the others, unless it is the build that fails: one run shows
//! everything that is wrong. Nothing is skipped in silence: what was not asked for stands in the
//! table as not run, and the exit code is 0 only when every suite that ran has passed.

use crate::suites::{SUITES, Suite, Work};
use crate::{house, run};
use anyhow::{Result, bail};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this suite; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the suites and stop.
    #[arg(long)]
    list: bool,
    /// Stop at the first suite that fails.
    #[arg(long)]
    fail_fast: bool,
}

enum Outcome {
    Passed { tests: Option<u32> },
    Failed(String),
    NotRun(&'static str),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for suite in SUITES {
            println!("{:16} {}", suite.name, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.only {
        if !SUITES.iter().any(|suite| suite.name == name) {
            bail!("no suite is named {name:?}; `cargo xtask test --list` names them");
        }
    }
    // What an earlier run recorded would hide a row that is no longer proved.
    if arguments.only.is_empty() {
        house::clear(&house::covers_dir())?;
    }
    let started = Instant::now();
    let mut rows = Vec::new();
    let mut failed = 0_u32;
    let mut has_programs = None;
    for suite in SUITES {
        let is_wanted =
            arguments.only.is_empty() || arguments.only.iter().any(|name| name == suite.name);
        let begun = Instant::now();
        let outcome = if !is_wanted {
            Outcome::NotRun("not asked for")
        } else if failed > 0 && (arguments.fail_fast || matches!(suite.work, Work::Coverage)) {
            Outcome::NotRun("an earlier suite failed")
        } else {
            println!("\n==> {}: {}", suite.name, suite.about);
            outcome(suite, &mut has_programs)
        };
        if let Outcome::Failed(reason) = &outcome {
            failed += 1;
            println!("==> {} FAILED: {reason}", suite.name);
        }
        rows.push((suite, outcome, begun.elapsed()));
    }
    print_summary(&rows, started.elapsed());
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn outcome(suite: &Suite, has_programs: &mut Option<bool>) -> Outcome {
    if matches!(suite.work, Work::EndToEnd(_)) && !*has_programs.get_or_insert_with(build_programs)
    {
        return Outcome::Failed("the programs do not build".to_owned());
    }
    match run_suite(suite) {
        Ok(0) if suite.counts_tests() => Outcome::Failed("no test ran".to_owned()),
        Ok(tests) => Outcome::Passed {
            tests: suite.counts_tests().then_some(tests),
        },
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// Builds `mainstem` and the C interface once for all suites that drive them.
fn build_programs() -> bool {
    let mut build = Command::new(house::cargo());
    build
        .current_dir(house::root())
        .args(["build", "--workspace", "--bins", "--lib"]);
    build.env("CARGO_TARGET_DIR", house::target_dir());
    let built = run::run(&mut build);
    if let Err(error) = &built {
        println!("{error:#}");
    }
    built.is_ok()
}

/// Runs a suite; says how many tests passed.
fn run_suite(suite: &Suite) -> Result<u32> {
    let mut command = suite.command()?;
    let mut passed = 0;
    run::run_seeing(&mut command, |line| passed += passed_tests(line))?;
    Ok(passed)
}

/// Reads `test result: ok. 12 passed; 0 failed; ...`.
fn passed_tests(line: &str) -> u32 {
    let counts = line.strip_prefix("test result: ").unwrap_or_default();
    let words: Vec<&str> = counts.split([' ', ';']).collect();
    words
        .windows(2)
        .find(|pair| pair.get(1) == Some(&"passed"))
        .and_then(|pair| pair.first()?.parse().ok())
        .unwrap_or(0)
}

fn print_summary(rows: &[(&Suite, Outcome, Duration)], total: Duration) {
    println!("\n{:16} {:>8} {:>7}  outcome", "suite", "seconds", "tests");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (suite, outcome, took) in rows {
        let (tests, words) = match outcome {
            Outcome::Passed { tests } => {
                passed += 1;
                (
                    tests.map_or_else(String::new, |tests| tests.to_string()),
                    "passed".to_owned(),
                )
            }
            Outcome::Failed(reason) => {
                failed += 1;
                (String::new(), format!("FAILED: {reason}"))
            }
            Outcome::NotRun(reason) => {
                skipped += 1;
                (String::new(), format!("not run: {reason}"))
            }
        };
        println!(
            "{:16} {:>8.1} {tests:>7}  {words}",
            suite.name,
            took.as_secs_f64()
        );
    }
    println!("{:16} {:>8.1}", "total", total.as_secs_f64());
    println!("suites: {passed} passed, {failed} failed, {skipped} skipped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_from_the_result_line_alone() {
        assert_eq!(
            passed_tests("test result: ok. 12 passed; 0 failed; 1 ignored"),
            12
        );
        assert_eq!(passed_tests("test a::b ... ok"), 0);
        assert_eq!(passed_tests("12 passed"), 0);
    }
}
