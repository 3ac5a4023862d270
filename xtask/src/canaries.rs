//! `cargo xtask canaries`: proof that the simulator's checkers look.
//!
//! Builds the simulator with the core's deliberate faults, in a folder of its own so that no other build
//! meets them, and has each fault hunted: it must be found by the checker that is for it, and the same
//! world without it must be clean. `--write` puts the table into `docs/SIMULATION.md`, between markers.

use crate::{house, run};
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

const PAGE: &str = "docs/SIMULATION.md";
const BEGIN: &str = "<!-- canaries: written by `cargo xtask canaries --write` -->";
const END: &str = "<!-- canaries end -->";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the table into `docs/SIMULATION.md`.
    #[arg(long)]
    write: bool,
    /// Faults to hunt; all without.
    names: Vec<String>,
}

/// What came of one hunt: a line of the example's output.
#[derive(Deserialize)]
struct Hunt {
    canary: String,
    breaks: String,
    checker: String,
    worlds: String,
    seeds: Option<u64>,
    said: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = house::target_dir().join("canaries");
    run::run(
        Command::new(house::cargo())
            .current_dir(house::root())
            .args(["build", "--package=mainstem-sim", "--features=canaries"])
            .args(["--example=canaries", "--target-dir"])
            .arg(&folder),
    )?;
    let said = Command::new(folder.join("debug/examples/canaries"))
        .args(&arguments.names)
        .output()
        .context("cannot run the hunts")?;
    let hunts: Vec<Hunt> = String::from_utf8_lossy(&said.stdout)
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("lines of another form came")?;
    for hunt in &hunts {
        let seeds = hunt.seeds.map_or_else(
            || "NOT CAUGHT".to_owned(),
            |seeds| format!("caught after {seeds}"),
        );
        println!("{:26} {seeds:16} {}", hunt.canary, hunt.said);
    }
    let caught = hunts.iter().filter(|hunt| hunt.seeds.is_some()).count();
    println!(
        "{caught} of {} faults caught by their checkers",
        hunts.len()
    );
    if arguments.write && arguments.names.is_empty() {
        write_page(&table(&hunts))?;
    }
    let is_good = said.status.success() && caught == hunts.len() && caught > 0;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn table(hunts: &[Hunt]) -> String {
    let mut text = String::from(
        "\n| fault | what it breaks | found by | in worlds | seeds |\n|---|---|---|---|---|\n",
    );
    for hunt in hunts {
        let seeds = hunt
            .seeds
            .map_or_else(|| "not found".to_owned(), |seeds| seeds.to_string());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {seeds} |",
            hunt.canary, hunt.breaks, hunt.checker, hunt.worlds
        );
    }
    text.push('\n');
    text
}

/// Replaces what stands between the markers.
fn write_page(section: &str) -> Result<()> {
    let path = house::root().join(PAGE);
    let page = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let place = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) =
        place.with_context(|| format!("{PAGE} lacks the lines {BEGIN} and {END}"))?;
    house::write(&path, &format!("{before}{BEGIN}\n{section}{END}{after}"))
}
