//! The commands of the workspace: `cargo xtask <command>`.
//!
//! | command | what it does |
//! |---|---|
//! | `demo` | builds `mainstem` and shows one live stream from encoder to viewer |
//! | `coverage` | says which normative row of `spec/` is proved by which test |
//! | `test` | everything that has to be green, with a summary at the end |
//! | `bench` | measures the fan-out, beside other relays that are installed |
//! | `canaries` | puts faults into the machines and has the simulator's checkers find them |
//! | `experiments` | measures viewers in simulated worlds, and draws what came of it |
//! | `fuzz` | runs the fuzz targets in turn, with coverage |
//! | `interop` | runs relays and clients of others and ours against each other |
//! | `miri` | runs core's tests under Miri, as far as it can |
//! | `reference` | writes the reference of each SDK from its comments |
//! | `setup` | installs what `test` needs and the toolchain does not bring |
//!
//! Each is safe to repeat. Errors say which command failed and what to do; the exit code is 1.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program speaks on its standard streams"
)]

mod bench;
mod canaries;
mod coverage;
mod demo;
mod experiments;
mod fuzz;
mod house;
mod interop;
mod miri;
mod reference;
mod run;
mod setup;
mod suites;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Commands of the Mainstem workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write `spec/COVERAGE.md` from what the last run of the tests proved.
    Coverage(coverage::Arguments),
    /// Show one live stream, from an encoder through a relay to a viewer.
    Demo(demo::Arguments),
    /// Run everything that has to be green.
    Test(test::Arguments),
    /// Measure what one stream to many viewers costs, beside other relays.
    Bench(bench::Arguments),
    /// Put faults into the machines, one after the other, and have the simulator's checkers find them.
    Canaries(canaries::Arguments),
    /// Measure viewers in simulated worlds, and write the tables and pictures of `docs/SIMULATION.md`.
    Experiments(experiments::Arguments),
    /// Run the fuzz targets in turn, and say what each has covered.
    Fuzz(fuzz::Arguments),
    /// Run every relay at hand against every client at hand, and write `docs/INTEROP.md`.
    Interop(interop::Arguments),
    /// Run core's tests under Miri, as far as it can.
    Miri(miri::Arguments),
    /// Write `docs/api`, the reference of each SDK, from the comments beside its declarations.
    Reference(reference::Arguments),
    /// Install what `test` needs: ffmpeg, a Python environment with MoQT peers, a test clip.
    Setup(setup::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Canaries(arguments) => canaries::run(&arguments),
        Command::Experiments(arguments) => experiments::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Interop(arguments) => interop::run(&arguments),
        Command::Miri(arguments) => miri::run(&arguments),
        Command::Reference(arguments) => reference::run(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    /// Commands in the documents are copied by people; a command that is gone must not stand there.
    #[test]
    fn every_xtask_command_in_the_documents_exists() {
        let command = Arguments::command();
        let mut seen = 0;
        for page in [
            "README.md",
            "CONTRIBUTING.md",
            "ARCHITECTURE.md",
            "SECURITY.md",
        ] {
            let text = std::fs::read_to_string(house::root().join(page)).unwrap();
            for line in text.lines() {
                let Some((_, rest)) = line.split_once("cargo xtask ") else {
                    continue;
                };
                let rest = rest.split(['`', '#', '|', ')', ',', ';']).next().unwrap();
                let mut words = rest.split_whitespace();
                let name = words.next().unwrap_or_default();
                let found = command.find_subcommand(name);
                let found = found.unwrap_or_else(|| panic!("{page}: no such command: {line}"));
                for flag in words.filter_map(|word| word.strip_prefix("--")) {
                    let known = found
                        .get_arguments()
                        .any(|each| each.get_long() == Some(flag));
                    assert!(known, "{page}: `{name}` has no --{flag}: {line}");
                }
                seen += 1;
            }
        }
        assert!(seen >= 2, "the documents name no xtask command");
    }
}
