//! `mainstem sim experiments`: what loss, distance, a narrow link, hops and priorities do to viewers.

use crate::failure::Failure;
use mainstem_sim::experiment::{self, Figure};
use std::io::{IsTerminal, Write};

/// Measure what viewers get in worlds that differ in one thing.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the experiment of this name
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Runs for each point, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Print the figures as one JSON array
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut experiments = experiment::all(arguments.seeds);
    if let Some(name) = &arguments.only {
        let names: Vec<&str> = experiments.iter().map(|each| each.name).collect();
        let names = names.join(", ");
        experiments.retain(|each| each.name == name);
        if experiments.is_empty() {
            return Err(anyhow::anyhow!("expected one of {names}, not {name:?}").into());
        }
    }
    let runs: usize = experiments.iter().map(experiment::Experiment::runs).sum();
    let mut done = 0;
    let mut figures = Vec::new();
    for experiment in &experiments {
        let measured = experiment.run(|| {
            done += 1;
            progress(done, runs);
        })?;
        figures.extend(measured);
    }
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string(&figures).map_err(anyhow::Error::from)?
        );
    } else {
        figures.iter().for_each(print);
    }
    Ok(())
}

fn progress(done: usize, runs: usize) {
    let mut terminal = std::io::stderr().lock();
    if terminal.is_terminal() {
        let end = if done == runs { "\n" } else { "" };
        // Nothing is lost when nobody sees it.
        let _ = write!(terminal, "\r{done} of {runs} worlds{end}");
    }
}

fn print(figure: &Figure) {
    println!("{}: {}", figure.title, figure.y);
    let Some(first) = figure.series.first() else {
        return;
    };
    print!("  {:<20}", figure.x);
    for (x, _) in &first.points {
        print!("{x:>9}");
    }
    println!();
    for series in &figure.series {
        print!("  {:<20}", series.name);
        for (_, y) in &series.points {
            match y {
                Some(y) => print!("{y:>9.1}"),
                None => print!("{:>9}", "-"),
            }
        }
        println!();
    }
    println!();
}
