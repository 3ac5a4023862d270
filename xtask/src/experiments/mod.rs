//! `cargo xtask experiments`: what loss, distance, a narrow link, hops and priorities do to viewers.
//!
//! `mainstem sim experiments` runs the worlds; here their figures become pictures under `docs/simulation/` and
//! tables in `docs/SIMULATION.md`, between markers, beside what people wrote there. Virtual time: every machine
//! writes the same page.

mod plot;

use crate::{house, run};
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

const PAGE: &str = "docs/SIMULATION.md";
const PICTURES: &str = "docs/simulation";
const BEGIN: &str = "<!-- experiments: written by `cargo xtask experiments` -->";
const END: &str = "<!-- experiments end -->";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs for each point, each with a seed of its own.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Use the program as it was built last.
    #[arg(long)]
    built: bool,
}

/// One picture and table: the form of `mainstem sim experiments --json`.
#[derive(Deserialize)]
struct Figure {
    name: String,
    title: String,
    x: String,
    y: String,
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    name: String,
    points: Vec<(f64, Option<f64>)>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.built {
        run::run(
            Command::new(house::cargo())
                .current_dir(house::root())
                .args(["build", "--release", "--package=mainstem-cli"]),
        )?;
    }
    let seeds = arguments.seeds.to_string();
    let said = run::ask(
        Command::new(house::target_dir().join("release/mainstem")).args([
            "sim",
            "experiments",
            "--json",
            "--seeds",
            &seeds,
        ]),
    )
    .context("`mainstem sim experiments` failed")?;
    let figures: Vec<Figure> =
        serde_json::from_str(&said).context("figures of another form came")?;
    let root = house::root();
    for figure in &figures {
        let path = root.join(PICTURES).join(format!("{}.svg", figure.name));
        house::write(&path, &plot::svg(figure)?)?;
    }
    write_page(&root.join(PAGE), &section(&figures))?;
    println!("{} figures in {PAGE}", figures.len());
    Ok(ExitCode::SUCCESS)
}

/// Replaces what stands between the markers.
fn write_page(path: &Path, section: &str) -> Result<()> {
    let page =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let place = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) =
        place.with_context(|| format!("{} lacks the lines {BEGIN} and {END}", path.display()))?;
    house::write(path, &format!("{before}{BEGIN}\n{section}{END}{after}"))
}

/// Pictures side by side and tables below, by experiment.
fn section(figures: &[Figure]) -> String {
    let mut text = String::new();
    let mut rest = figures;
    while let Some(first) = rest.first() {
        let same = rest
            .iter()
            .take_while(|figure| figure.title == first.title)
            .count();
        let (group, others) = rest.split_at(same);
        rest = others;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n### {}\n", first.title);
        for figure in group {
            let _ = writeln!(
                text,
                "![{}: {}](simulation/{}.svg)",
                figure.title, figure.y, figure.name
            );
        }
        for figure in group {
            table(&mut text, figure);
        }
    }
    text.push('\n');
    text
}

fn table(text: &mut String, figure: &Figure) {
    let Some(first) = figure.series.first() else {
        return;
    };
    let _ = write!(text, "\n| {}; along: {} |", figure.y, figure.x);
    for (x, _) in &first.points {
        let _ = write!(text, " {x} |");
    }
    let _ = write!(text, "\n|---|{}\n", "---|".repeat(first.points.len()));
    for series in &figure.series {
        let _ = write!(text, "| {} |", series.name);
        for (_, y) in &series.points {
            match y {
                Some(y) => write!(text, " {y:.1} |"),
                None => write!(text, " - |"),
            }
            .unwrap_or_default();
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            name: "loss-1".to_owned(),
            title: "Loss".to_owned(),
            x: "loss, %".to_owned(),
            y: "delay, ms".to_owned(),
            series: vec![
                Series {
                    name: "group 1 s".to_owned(),
                    points: vec![(0.0, Some(25.0)), (10.0, None)],
                },
                Series {
                    name: "group 2 s".to_owned(),
                    points: vec![(0.0, Some(30.5)), (10.0, Some(400.0))],
                },
            ],
        }
    }

    #[test]
    fn a_figure_becomes_a_picture_with_every_line_named() {
        let svg = plot::svg(&figure()).unwrap();
        for text in ["<svg", "group 1 s", "group 2 s", "loss, %", "delay, ms"] {
            assert!(svg.contains(text), "no {text:?}");
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_line_and_a_dash_for_nothing() {
        let text = section(&[figure()]);
        assert!(text.contains("| group 1 s | 25.0 | - |"), "{text}");
        assert!(text.contains("| group 2 s | 30.5 | 400.0 |"), "{text}");
    }

    #[test]
    fn the_page_has_a_place_for_them() {
        let page = std::fs::read_to_string(house::root().join(PAGE)).unwrap();
        let (_, rest) = page.split_once(BEGIN).expect("the beginning is marked");
        assert!(rest.contains(END), "the end is marked");
    }
}
