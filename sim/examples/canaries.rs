//! Hunts every deliberate fault and prints what came of each, one line of JSON per fault.
//!
//! `cargo xtask canaries` runs it. Arguments: names of faults, or none for all. The exit code is 1 when one
//! was not caught by its checker.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use mainstem_sim::canaries::{Outcome, SEEDS_MAX, hunts};
use serde_json::json;
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let (mut are_all_caught, mut hunted) = (true, 0);
    for hunt in hunts() {
        let name = hunt.canary.name();
        if !wanted.is_empty() && !wanted.iter().any(|it| it == name) {
            continue;
        }
        hunted += 1;
        let (seeds, said) = match hunt.run(SEEDS_MAX) {
            Ok(Outcome::Caught { seeds, finding }) => (Some(seeds), finding.to_string()),
            Ok(Outcome::Missed) => (None, "nobody found it".to_owned()),
            Ok(Outcome::Other { findings }) => {
                let all: Vec<String> = findings.iter().take(5).map(ToString::to_string).collect();
                (None, format!("others found it: {}", all.join("; ")))
            }
            Ok(Outcome::FalseAlarm { seed, findings }) => {
                let all: Vec<String> = findings.iter().take(5).map(ToString::to_string).collect();
                let all = all.join("; ");
                (None, format!("seed {seed} has findings without it: {all}"))
            }
            Err(error) => (None, error.to_string()),
        };
        are_all_caught &= seeds.is_some();
        let line = json!({
            "canary": name,
            "breaks": hunt.breaks,
            "checker": format!("{}/{}", hunt.checker, hunt.class),
            "worlds": hunt.worlds,
            "seeds": seeds,
            "said": said,
        });
        println!("{line}");
    }
    let is_good = are_all_caught && hunted > 0;
    ExitCode::from(u8::from(!is_good))
}
