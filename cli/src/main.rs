//! The `mainstem` command.
//!
//! | command | what it does |
//! |---|---|
//! | `up` | runs every role in one process |
//! | `relay` | runs a relay alone |
//! | `publish` | publishes a file or a pipe |
//! | `watch` | watches a stream, measures it, writes it to a file |
//! | `demo` | all of it at once, on a clip that comes along |
//! | `interop` | tests a relay, case by case |
//! | `moq-test` | publishes and verifies test tracks |
//! | `sim` | runs simulated worlds |
//!
//! Exit codes: 0 done, 1 failed, 2 the command line makes no sense, 3 permission was refused
//! (`auth_failed`), 127 no such case (`interop`). Results go to standard output, everything else to standard error.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks by printing"
)]

mod bounds;
mod certificate;
mod connect;
mod demo;
mod failure;
mod interop;
mod mesh;
mod moq_test;
mod publish;
mod relay;
mod serving;
mod sim;
mod up;
mod watch;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Connections make and drop many small things for each object; the system's allocator takes longer over
/// them than over anything else that is ours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Live streaming: push once, watch everywhere, under a second.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in one process: control plane, engine and relay
    Up(Box<up::Arguments>),
    /// Run a relay alone, as meshes are made of
    Relay(Box<relay::Arguments>),
    /// Publish a file, or fragmented MP4 from standard input
    Publish(publish::Arguments),
    /// Watch a stream, measure it, write it to a file
    Watch(watch::Arguments),
    /// Run everything on a clip that comes along, and watch it
    Demo(demo::Arguments),
    /// Test a relay, case by case, with a report in TAP
    Interop(interop::Arguments),
    /// Publish test tracks through a relay, or verify them
    MoqTest(moq_test::Arguments),
    /// Run simulated worlds: by seed, by plan, or many of them
    Sim(sim::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments.command);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mainstem: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match arguments.command {
            Command::Up(arguments) => up::run(*arguments).await,
            Command::Relay(arguments) => relay::run(*arguments).await,
            Command::Publish(arguments) => publish::run(arguments).await,
            Command::Watch(arguments) => watch::run(arguments).await,
            Command::Demo(arguments) => demo::run(arguments).await,
            Command::Interop(arguments) => interop::run(arguments).await,
            Command::MoqTest(arguments) => moq_test::run(arguments).await,
            Command::Sim(arguments) => sim::run(&arguments),
        }
    });
    // Blocking tasks that hang on a peer do not keep a finished command from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mainstem: {failure}");
            failure.exit_code()
        }
    }
}

/// `RUST_LOG` says how much; `MAINSTEM_LOG=json` makes lines for machines. A command whose result is
/// what counts only speaks up when something is wrong.
fn start_log(command: &Command) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let level = match command {
        Command::Up(_) | Command::Relay(_) => "info",
        Command::Publish(_)
        | Command::Watch(_)
        | Command::Demo(_)
        | Command::Interop(_)
        | Command::MoqTest(_)
        | Command::Sim(_) => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if std::env::var("MAINSTEM_LOG").is_ok_and(|form| form == "json") {
        log.json().init();
    } else {
        log.init();
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
