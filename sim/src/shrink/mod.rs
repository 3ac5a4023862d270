//! Cuts a failing plan down: fewer nodes, faults, tracks and objects, less time, and the same failure.
//!
//! [`shrink`] tries smaller plans, keeps each that still fails in the same way ([`Failure`]: checker and
//! class), and goes on until nothing smaller fails or the runs are used up. What "still fails" means
//! is the caller's: it runs the plan.
//!
//! | round | tries | where |
//! |---|---|---|
//! | time | ends soon after the failure, then at halves | [`time`] |
//! | faults | without halves, quarters ... single faults | [`lists`] |
//! | nodes | without halves ... single nodes, what hung on them gone or moved on | [`nodes`] |
//! | tracks | without halves ... single tracks | [`nodes`] |
//! | plainness | usual limits, right clocks, one subgroup, small objects, plain QUIC | [`plainness`] |
//!
//! Rounds are repeated until one whole pass changes nothing. Removing a node moves the numbers of those
//! behind it, and with them their chance; so each cut is tried with a few seeds.
//!
//! Limits: [`Limits`]. Every plan that is tried is valid ([`Plan::validate`]).

mod lists;
mod nodes;
mod plainness;
mod time;

use crate::plan::Plan;

/// What kind of failure a plan shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The checker that found it.
    pub checker: String,
    /// Its word for it.
    pub class: String,
    /// When, in milliseconds of virtual time.
    pub at_ms: u64,
}

impl Failure {
    /// Whether another failure is of the same kind, whenever it came.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.checker, &self.class) == (&other.checker, &other.class)
    }
}

/// How long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs of plans altogether.
    pub runs_max: u32,
    /// Seeds that each cut is tried with, the plan's own among them.
    pub seeds_per_cut: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs_max: 600,
            seeds_per_cut: 2,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that still fails.
    pub plan: Plan,
    /// How that one fails.
    pub failure: Failure,
    /// Plans that were run.
    pub runs: u32,
    /// Whether nothing smaller fails, or the runs were used up.
    pub is_smallest: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Plans that were run.
    pub runs: u32,
    /// Nodes, faults and tracks that are left.
    pub nodes: usize,
    /// Faults that are left.
    pub faults: usize,
    /// Tracks that are left.
    pub tracks: usize,
    /// How long the safety phase is.
    pub duration_ms: u64,
}

/// Cuts `plan` down, which fails with `failure`. `run` runs a plan and says how it fails, if it does;
/// `progress` is told after each cut that held.
pub fn shrink(
    plan: &Plan,
    failure: &Failure,
    limits: Limits,
    run: impl FnMut(&Plan) -> Option<Failure>,
    progress: impl FnMut(Progress),
) -> Shrunk {
    let mut search = Search {
        plan: plan.clone(),
        failure: failure.clone(),
        limits,
        runs: 0,
        run,
        progress,
    };
    let mut is_smallest = false;
    while !is_smallest && !search.is_spent() {
        let before = search.plan.clone();
        time::cut(&mut search);
        lists::cut_faults(&mut search);
        nodes::cut_nodes(&mut search);
        nodes::cut_tracks(&mut search);
        lists::cut_links(&mut search);
        plainness::cut(&mut search);
        is_smallest = search.plan == before && !search.is_spent();
    }
    let mut plan = search.plan;
    if plan.about.is_empty() {
        plan.about = format!("{}: {}", search.failure.checker, search.failure.class);
    }
    Shrunk {
        plan,
        failure: search.failure,
        runs: search.runs,
        is_smallest,
    }
}

/// The smallest failing plan so far, and how to try smaller ones.
struct Search<R, P> {
    plan: Plan,
    failure: Failure,
    limits: Limits,
    runs: u32,
    run: R,
    progress: P,
}

/// What the rounds need of a [`Search`].
trait Cuts {
    /// The smallest failing plan so far.
    fn plan(&self) -> &Plan;
    /// How it fails.
    fn failure(&self) -> &Failure;
    /// Whether the runs are used up.
    fn is_spent(&self) -> bool;
    /// Takes `candidate` when it fails in the same way.
    fn attempt(&mut self, candidate: Plan) -> bool;
}

impl<R, P> Cuts for Search<R, P>
where
    R: FnMut(&Plan) -> Option<Failure>,
    P: FnMut(Progress),
{
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn failure(&self) -> &Failure {
        &self.failure
    }

    fn is_spent(&self) -> bool {
        self.runs >= self.limits.runs_max
    }

    fn attempt(&mut self, mut candidate: Plan) -> bool {
        if candidate == self.plan || candidate.validate().is_err() {
            return false;
        }
        for _ in 0..self.limits.seeds_per_cut.max(1) {
            if self.is_spent() {
                return false;
            }
            self.runs += 1;
            match (self.run)(&candidate) {
                Some(failure) if failure.is_like(&self.failure) => {
                    self.plan = candidate;
                    self.failure = failure;
                    (self.progress)(Progress {
                        runs: self.runs,
                        nodes: self.plan.nodes.len(),
                        faults: self.plan.faults.len(),
                        tracks: self.plan.tracks.len(),
                        duration_ms: self.plan.duration_ms,
                    });
                    return true;
                }
                _ => candidate.seed = candidate.seed.wrapping_add(1),
            }
        }
        false
    }
}

/// Tries to do without parts of a list of `length`: halves first, then ever smaller runs of it.
/// `without` makes the candidate that lacks the given range of places.
fn cut_ranges(
    search: &mut impl Cuts,
    length: impl Fn(&Plan) -> usize,
    without: impl Fn(&Plan, std::ops::Range<usize>) -> Option<Plan>,
) {
    let mut size = length(search.plan());
    while size > 0 && !search.is_spent() {
        let mut end = length(search.plan());
        while end > 0 && !search.is_spent() {
            let start = end.saturating_sub(size);
            if let Some(candidate) = without(search.plan(), start..end) {
                search.attempt(candidate);
            }
            // Either the range is gone, or it is needed: go on before it.
            end = start.min(length(search.plan()));
        }
        size /= 2;
    }
}

#[cfg(test)]
mod tests;
