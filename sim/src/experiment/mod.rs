//! Experiments: numbers out of the box. What loss, distance, a narrow link and hops do to viewers, for
//! groups of different lengths; and what priorities are good for.
//!
//! An [`Experiment`] is a list of [`Cell`]s: plans that differ in one thing, run over real QUIC with a few
//! seeds each. [`Experiment::run`] measures them ([`measure`]) and makes [`Figure`]s and a table of them.
//! Virtual time: results depend on the plans alone, not on the machine.
//!
//! Units are in the names: percent, milliseconds.

mod cases;
pub mod measure;

pub use cases::all;

use crate::plan::Plan;
use crate::world::{World, WorldError};
use measure::{Figures, Meter};
use serde::Serialize;
use std::time::Duration;

/// What a player holds before it begins.
pub const BUFFER: Duration = Duration::from_millis(200);

/// One thing that is varied, and what is looked at.
pub struct Experiment {
    /// A short name, good for a file.
    pub name: &'static str,
    /// What is asked.
    pub title: &'static str,
    /// What varies along the axis.
    pub x: &'static str,
    /// What is looked at.
    pub figures: &'static [Aspect],
    /// The runs.
    pub cells: Vec<Cell>,
}

/// Runs that become one point of each figure.
pub struct Cell {
    /// Which line it belongs to.
    pub series: String,
    /// Where on the axis.
    pub x: f64,
    /// A plan for each seed.
    pub plans: Vec<Plan>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Median join time.
    Join,
    /// 99th percentile of the delay of a track's objects.
    Delay(u16),
    /// Objects of a track that arrived.
    Delivered(u16),
    /// Time without a picture.
    Stalled,
}

impl Aspect {
    /// Its name, with the unit.
    pub fn title(self) -> String {
        let of = |track: u16| if track == 0 { "" } else { ", second track" };
        match self {
            Self::Join => "join time, median, ms".to_owned(),
            Self::Delay(track) => format!("delay, p99{}, ms", of(track)),
            Self::Delivered(track) => format!("delivered{}, %", of(track)),
            Self::Stalled => "stalled, % of watched time".to_owned(),
        }
    }

    fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Join => figures.join_ms(50),
            Self::Delay(track) => figures.delay_ms(track, 99),
            Self::Delivered(track) => figures.delivered_percent(track),
            Self::Stalled => figures.stalled_percent(),
        }
    }
}

/// One aspect of an experiment, ready to be drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// A short name, good for a file.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The axis along.
    pub x: String,
    /// The axis up.
    pub y: String,
    /// Lines: a name, and points from left to right. A point without a value was not reached: nobody got
    /// anything.
    pub series: Vec<Series>,
}

/// A line of a figure.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, Option<f64>)>,
}

impl Experiment {
    /// How many runs it takes.
    pub fn runs(&self) -> usize {
        self.cells.iter().map(|cell| cell.plans.len()).sum()
    }

    /// Runs all of it; `progress` is told after each run.
    pub fn run(&self, mut progress: impl FnMut()) -> Result<Vec<Figure>, WorldError> {
        let mut figures: Vec<Figure> = self
            .figures
            .iter()
            .enumerate()
            .map(|(at, aspect)| Figure {
                name: format!("{}-{}", self.name, at + 1),
                title: self.title.to_owned(),
                x: self.x.to_owned(),
                y: aspect.title(),
                series: Vec::new(),
            })
            .collect();
        for cell in &self.cells {
            let mut measured = Figures::default();
            for plan in &cell.plans {
                measured.add(measure_run(plan)?);
                progress();
            }
            for (figure, aspect) in figures.iter_mut().zip(self.figures) {
                figure.add(&cell.series, cell.x, aspect.of(&measured));
            }
        }
        Ok(figures)
    }
}

impl Figure {
    fn add(&mut self, series: &str, x: f64, y: Option<f64>) {
        if let Some(line) = self.series.iter_mut().find(|line| line.name == series) {
            line.points.push((x, y));
        } else {
            self.series.push(Series {
                name: series.to_owned(),
                points: vec![(x, y)],
            });
        }
    }
}

/// Runs one plan and measures it.
pub fn measure_run(plan: &Plan) -> Result<Figures, WorldError> {
    let mut world = World::new(plan)?;
    let (meter, reading) = Meter::new(plan, BUFFER);
    world.add_checker(Box::new(meter));
    world.run();
    Ok(reading.figures())
}

#[cfg(test)]
mod tests;
