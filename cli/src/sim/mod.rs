//! `mainstem sim`: worlds in a box, from the command line.
//!
//! | asked for | runs |
//! |---|---|
//! | `--plan FILE` or `--seed N` | one world, and tells what it came to |
//! | `--minutes M` or `--seeds N` | many worlds on all processors, from `--seed` on |
//! | `experiments` | worlds that differ in one thing, and what viewers get in them |
//!
//! Exit code 1 on a finding. The plan of each world with one is saved, and the line that replays it is
//! printed. The worlds themselves know no clock and no thread; both belong to this command.

mod experiments;
mod many;
mod one;
mod shrink;

use crate::failure::Failure;
use anyhow::Context;
use mainstem_sim::plan::TransportKind;
use mainstem_sim::{Plan, Profile};
use std::path::PathBuf;

/// Run simulated worlds.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The world of this seed; with --minutes or --seeds, the first one
    #[arg(long, value_name = "N", conflicts_with = "plan")]
    pub seed: Option<u64>,
    /// The world of this plan, a JSON file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "seeds"])]
    pub plan: Option<PathBuf>,
    /// What kind of worlds: smoke, lossy-last-mile, mesh, hostile, churn, perf, or swarm for any
    #[arg(long, value_name = "NAME", default_value = "smoke", value_parser = profile)]
    pub profile: Profile,
    /// What carries sessions: quic, or model for streams and datagrams without QUIC
    #[arg(long, value_name = "KIND", value_parser = transport)]
    pub transport: Option<TransportKind>,
    /// Run worlds for so many minutes of real time
    #[arg(long, value_name = "M", conflicts_with = "seeds")]
    pub minutes: Option<f64>,
    /// Run so many worlds
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Worlds at a time; without it, one per processor
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Run each world twice and compare; the first event that differs is a failure
    #[arg(long)]
    pub twice: bool,
    /// Print the hash of each run's trace
    #[arg(long)]
    pub trace_hash: bool,
    /// Write what happened, line by line, to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "seeds"])]
    pub transcript: Option<PathBuf>,
    /// Print the plan and run nothing
    #[arg(long, conflicts_with_all = ["minutes", "seeds"])]
    pub print_plan: bool,
    /// Cut the plan of a world with a finding down to what the finding needs, and save it
    #[arg(long, conflicts_with_all = ["minutes", "seeds", "print_plan"])]
    pub shrink: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
    /// Where plans of worlds with findings are saved
    #[arg(long, value_name = "DIR", default_value = "sim-findings")]
    pub save: PathBuf,
}

/// Something else than worlds and their findings.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Measure what viewers get in worlds that differ in one thing
    Experiments(experiments::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(Action::Experiments(arguments)) = &arguments.action {
        return experiments::run(arguments);
    }
    if arguments.minutes.is_some() || arguments.seeds.is_some() {
        return many::run(arguments);
    }
    let plan = match &arguments.plan {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let plan = Plan::from_json(&text).with_context(|| format!("in {}", file.display()))?;
            over(plan, arguments.transport)
        }
        None => arguments.plan_of(arguments.seed.unwrap_or(0)),
    };
    one::run(arguments, &plan)
}

impl Arguments {
    /// The plan of a seed, as asked for.
    fn plan_of(&self, seed: u64) -> Plan {
        over(Plan::generate(seed, self.profile), self.transport)
    }

    /// The line that runs a seed again.
    fn replay(&self, seed: u64) -> String {
        let transport = match self.transport {
            None | Some(TransportKind::Quic) => "",
            Some(TransportKind::Model) => " --transport model",
        };
        format!(
            "mainstem sim --seed {seed} --profile {}{transport}",
            self.profile
        )
    }
}

fn over(plan: Plan, transport: Option<TransportKind>) -> Plan {
    Plan {
        transport: transport.unwrap_or(plan.transport),
        ..plan
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|each| each.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn transport(name: &str) -> Result<TransportKind, String> {
    match name {
        "quic" => Ok(TransportKind::Quic),
        "model" => Ok(TransportKind::Model),
        _ => Err("expected quic or model".to_owned()),
    }
}
