//! [`Meter`]: what viewers get out of a run, as numbers.
//!
//! It listens as a checker does and finds nothing wrong. Figures count from a viewer's beginning to the end of the
//! safety phase:
//!
//! | figure | is |
//! |---|---|
//! | join time | from the first packet to the first object: connecting, SETUP and SUBSCRIBE |
//! | delay | from an object's publication to its arrival, of those published after the request |
//! | delivered | objects that arrived, of those published from the first one that did |
//! | stalled | time in which a player has nothing to show, of the time that it plays |
//!
//! The player holds [`Meter::new`]'s `buffer` of media before it begins, shows each object for its track's interval,
//! waits when the next one is not there, and skips what a later object overtook.

use crate::check::{Checker, Finding, Observation, Place, Seen};
use crate::plan::{NodeId, Plan, Role};
use mainstem_core::moqt::subscriber::Key;
use mainstem_core::time::Instant;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Time before the end of a run in which objects need not arrive any more.
const GRACE: Duration = Duration::from_secs(1);

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Join times, one a viewer and track that got anything.
    pub joins: Vec<Duration>,
    /// Viewers' tracks that never got anything.
    pub joinless: usize,
    /// Delays of objects, by track.
    pub delays: BTreeMap<u16, Vec<Duration>>,
    /// Objects that were due, by track.
    pub due: BTreeMap<u16, u64>,
    /// Objects that arrived, by track.
    pub arrived: BTreeMap<u16, u64>,
    /// Time that players played or stalled.
    pub watched: Duration,
    /// Time that players stalled.
    pub stalled: Duration,
}

impl Figures {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.joins.extend(other.joins);
        self.joinless += other.joinless;
        for (track, delays) in other.delays {
            self.delays.entry(track).or_default().extend(delays);
        }
        for (track, due) in other.due {
            *self.due.entry(track).or_default() += due;
        }
        for (track, arrived) in other.arrived {
            *self.arrived.entry(track).or_default() += arrived;
        }
        self.watched += other.watched;
        self.stalled += other.stalled;
    }

    /// A percentile of the join times, in milliseconds; none when nobody joined.
    pub fn join_ms(&self, percent: usize) -> Option<f64> {
        percentile(self.joins.clone(), percent)
    }

    /// A percentile of the delays of a track's objects, in milliseconds.
    pub fn delay_ms(&self, track: u16, percent: usize) -> Option<f64> {
        percentile(self.delays.get(&track)?.clone(), percent)
    }

    /// Percent of a track's objects that arrived.
    pub fn delivered_percent(&self, track: u16) -> Option<f64> {
        let due = *self.due.get(&track)?;
        let arrived = self.arrived.get(&track).copied().unwrap_or_default();
        (due > 0).then(|| 100.0 * as_float(arrived) / as_float(due))
    }

    /// Percent of the watched time that was a stall.
    pub fn stalled_percent(&self) -> Option<f64> {
        let watched = self.watched.as_secs_f64();
        (watched > 0.0).then(|| 100.0 * self.stalled.as_secs_f64() / watched)
    }
}

/// Nearest rank.
fn percentile(mut values: Vec<Duration>, percent: usize) -> Option<f64> {
    values.sort_unstable();
    let rank = (values.len() * percent.min(100)).div_ceil(100);
    let value = values.get(rank.saturating_sub(1))?;
    Some(value.as_secs_f64() * 1_000.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of objects are far below 2^52"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// See the module's description.
pub struct Meter {
    state: Rc<RefCell<State>>,
}

impl Meter {
    /// A meter, and where its figures will be: take them after the run.
    pub fn new(plan: &Plan, buffer: Duration) -> (Self, Reading) {
        let state = Rc::new(RefCell::new(State {
            intervals: plan
                .tracks
                .iter()
                .map(|track| Duration::from_millis(track.interval_ms))
                .collect(),
            group_objects: plan
                .tracks
                .iter()
                .map(|track| track.group_objects)
                .collect(),
            begins: plan
                .node_ids()
                .filter_map(|(id, node)| match &node.role {
                    Role::Viewer(viewer) => {
                        Some((id, Instant::ZERO + Duration::from_millis(viewer.join_ms)))
                    }
                    _ => None,
                })
                .collect(),
            buffer,
            is_over: false,
            ends: Instant::ZERO + Duration::from_millis(plan.duration_ms),
            published: BTreeMap::new(),
            watching: BTreeMap::new(),
            requests: BTreeMap::new(),
        }));
        let reading = Reading {
            state: Rc::clone(&state),
        };
        (Self { state }, reading)
    }
}

/// What a [`Meter`] measured.
pub struct Reading {
    state: Rc<RefCell<State>>,
}

impl Reading {
    /// The figures, once the run is over.
    pub fn figures(&self) -> Figures {
        self.state.borrow().figures()
    }
}

impl Checker for Meter {
    fn name(&self) -> &'static str {
        "meter"
    }

    fn observe(&mut self, observation: &Observation) -> Result<(), Finding> {
        self.state.borrow_mut().observe(observation);
        Ok(())
    }
}

/// A viewer's track.
#[derive(Debug, Default)]
struct Watching {
    asked: Option<Instant>,
    /// Arrivals in the order in which they came.
    arrivals: Vec<(Instant, Place)>,
}

struct State {
    intervals: Vec<Duration>,
    group_objects: Vec<u64>,
    begins: BTreeMap<NodeId, Instant>,
    buffer: Duration,
    is_over: bool,
    ends: Instant,
    published: BTreeMap<Place, Instant>,
    watching: BTreeMap<(NodeId, u16), Watching>,
    requests: BTreeMap<(NodeId, Key), u16>,
}

impl State {
    fn observe(&mut self, observation: &Observation) {
        if self.is_over {
            return;
        }
        let (at, node) = (observation.at, observation.node);
        match &observation.seen {
            Seen::Published { place, .. } => {
                self.published.insert(*place, at);
            }
            Seen::Asked { key, track, .. } => {
                self.requests.insert((node, *key), *track);
                let watching = self.watching.entry((node, *track)).or_default();
                watching.asked.get_or_insert(at);
            }
            Seen::Delivered { place, .. } => {
                let watching = self.watching.entry((node, place.track)).or_default();
                watching.arrivals.push((at, *place));
            }
            Seen::Healed => self.is_over = true,
            _ => {}
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for ((node, track), watching) in &self.watching {
            let begins = self.begins.get(node).copied().unwrap_or(Instant::ZERO);
            self.measure(*track, begins, watching, &mut figures);
        }
        figures
    }

    fn measure(&self, track: u16, begins: Instant, watching: &Watching, figures: &mut Figures) {
        let (Some(asked), Some((first, _))) = (watching.asked, watching.arrivals.first()) else {
            figures.joinless += 1;
            return;
        };
        figures.joins.push(first.saturating_since(begins));
        let mut arrived: BTreeMap<Place, Instant> = BTreeMap::new();
        for (at, place) in &watching.arrivals {
            arrived.entry(*place).or_insert(*at);
        }
        let Some(from) = arrived.keys().next().copied() else {
            return;
        };
        let delays = figures.delays.entry(track).or_default();
        for (place, at) in &arrived {
            // What was there before the request came late by the request's own choice.
            if let Some(published) = self.published.get(place).filter(|at| **at >= asked) {
                delays.push(at.saturating_since(*published));
            }
        }
        // What is published in the last moments need not be there when the run ends.
        let is_due = |published: Instant| published + GRACE <= self.ends;
        let to = Place {
            track: track.saturating_add(1),
            group: 0,
            object: 0,
        };
        for (place, published) in self.published.range(from..to) {
            if is_due(*published) {
                *figures.due.entry(track).or_default() += 1;
                *figures.arrived.entry(track).or_default() +=
                    u64::from(arrived.contains_key(place));
            }
        }
        let (watched, stalled) = self.play(track, &arrived, from);
        figures.watched += watched;
        figures.stalled += stalled;
    }

    /// Plays what arrived: how long that took, and how much of it was waiting.
    fn play(
        &self,
        track: u16,
        arrived: &BTreeMap<Place, Instant>,
        from: Place,
    ) -> (Duration, Duration) {
        let place = usize::from(track);
        let interval = self.intervals.get(place).copied().unwrap_or_default();
        let per_group = self.group_objects.get(place).copied().unwrap_or(1);
        let number = |place: &Place| place.group * per_group + place.object;
        let Some(first) = arrived.get(&from) else {
            return (Duration::ZERO, Duration::ZERO);
        };
        let began = *first + self.buffer;
        let mut stalled = Duration::ZERO;
        let mut shown_at = began;
        let mut shown = number(&from);
        for (place, at) in arrived.iter().skip(1) {
            let skipped = u32::try_from(number(place).saturating_sub(shown)).unwrap_or(u32::MAX);
            // A gap is shown as a still picture for as long as it is.
            let due = shown_at + interval.saturating_mul(skipped);
            let late = at.saturating_since(due);
            stalled += late;
            shown_at = due + late;
            shown = number(place);
        }
        // What did not come before the end is a stall up to the end.
        let end = self.ends.max(shown_at);
        let silent = end.saturating_since(shown_at + interval + self.buffer);
        (end.saturating_since(began), stalled + silent)
    }
}
