//! Proof that the checkers look: each deliberate fault of `mainstem_core::canary`, and who catches it.
//!
//! A [`Hunt`] names the worlds in which the fault has something to spoil, the checker that is to find it,
//! and within how many seeds. The same worlds without the fault have to be clean, or the checker would
//! catch anything. `cargo xtask canaries` runs all hunts and writes the table of `docs/SIMULATION.md`.
//!
//! | outcome | means |
//! |---|---|
//! | [`Outcome::Caught`] | the named checker found it, after so many seeds |
//! | [`Outcome::Missed`] | nobody found it within the budget |
//! | [`Outcome::Other`] | others found it, the named checker did not |
//! | [`Outcome::FalseAlarm`] | there are findings without the fault |

mod plans;

use crate::check::Finding;
use crate::plan::Plan;
use crate::world::{World, WorldError};
use mainstem_core::canary::{self, Canary};

/// Seeds that each fault has at most.
pub const SEEDS_MAX: u64 = 20;

/// One fault, its worlds, and who has to find it. See the module's description.
#[derive(Clone, Copy)]
pub struct Hunt {
    /// The fault.
    pub canary: Canary,
    /// What it breaks, for people.
    pub breaks: &'static str,
    /// Who has to find it.
    pub checker: &'static str,
    /// The class of the finding.
    pub class: &'static str,
    /// The worlds, for people.
    pub worlds: &'static str,
    plan: fn(u64) -> Plan,
}

/// What came of a hunt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The named checker found it.
    Caught {
        /// Worlds that were run.
        seeds: u64,
        /// What it said.
        finding: Finding,
    },
    /// Nobody did.
    Missed,
    /// Others did.
    Other {
        /// What they said.
        findings: Vec<Finding>,
    },
    /// The same world has findings without the fault.
    FalseAlarm {
        /// Its seed.
        seed: u64,
        /// What was said.
        findings: Vec<Finding>,
    },
}

impl Hunt {
    /// Runs worlds until the named checker finds the fault.
    pub fn run(&self, seeds_max: u64) -> Result<Outcome, WorldError> {
        let mut others = Vec::new();
        for seed in 1..=seeds_max {
            let plan = (self.plan)(seed);
            let findings = Self::findings(&plan, Some(self.canary))?;
            let is_it = |it: &&Finding| (it.checker, it.class) == (self.checker, self.class);
            let caught = findings.iter().find(is_it);
            if let Some(finding) = caught.cloned() {
                let findings = Self::findings(&plan, None)?;
                return Ok(if findings.is_empty() {
                    Outcome::Caught {
                        seeds: seed,
                        finding,
                    }
                } else {
                    Outcome::FalseAlarm { seed, findings }
                });
            }
            others.extend(findings);
        }
        Ok(if others.is_empty() {
            Outcome::Missed
        } else {
            Outcome::Other { findings: others }
        })
    }

    fn findings(plan: &Plan, canary: Option<Canary>) -> Result<Vec<Finding>, WorldError> {
        let world = World::new(plan)?;
        canary::select(canary);
        let report = world.run();
        canary::select(None);
        Ok(report.findings)
    }
}

/// Every fault and its hunt, in the order of [`Canary::ALL`].
pub fn hunts() -> Vec<Hunt> {
    Canary::ALL.into_iter().map(hunt).collect()
}

#[expect(clippy::too_many_lines, reason = "a table: one row per fault")]
fn hunt(canary: Canary) -> Hunt {
    type Row = (&'static str, &'static str, &'static str, fn(u64) -> Plan);
    let smoke: (&str, fn(u64) -> Plan) = ("smoke", plans::smoke);
    let (breaks, checker, worlds, plan): Row = match canary {
        Canary::TokenExpiryIgnored => (
            "what a token allows ends with it",
            "permission/after-expiry",
            "smoke, tokens end at 2 s",
            plans::tokens_that_end,
        ),
        Canary::TokenScopeIgnored => (
            "a token is for its input alone",
            "permission/granted",
            "smoke, tokens of another input",
            plans::tokens_of_others,
        ),
        Canary::CloseWithWrongCode => (
            "a close carries the draft's code",
            "closes/blamed",
            "smoke, tokens end at 2 s",
            plans::tokens_that_end,
        ),
        Canary::PayloadCorrupted => (
            "payload is what was published",
            "payload/wrong-bytes",
            smoke.0,
            smoke.1,
        ),
        Canary::ObjectTwice => ("no object comes twice", "order/duplicate", smoke.0, smoke.1),
        Canary::ObjectsSwapped => (
            "objects of a subgroup come in order",
            "order/out-of-order",
            "smoke, real QUIC, late viewers",
            plans::late_viewers,
        ),
        Canary::ObjectLeftOut => (
            "no object is left out untold",
            "holes/untold",
            smoke.0,
            smoke.1,
        ),
        Canary::EndToldEarly => (
            "nothing follows the end of a group",
            "ends/after-end-of-group",
            smoke.0,
            smoke.1,
        ),
        Canary::FinLost => (
            "the end of a subgroup is told",
            "ends/cut",
            smoke.0,
            smoke.1,
        ),
        Canary::UpstreamLeaked => (
            "nobody watches, nobody is asked",
            "upstreams/leaked",
            "smoke, viewers leave at 1.5 s",
            plans::nobody_watches,
        ),
        Canary::UpstreamTwice => (
            "one upstream subscription for a track",
            "upstreams/second",
            smoke.0,
            smoke.1,
        ),
        Canary::ResubscribeForgotten => (
            "a publisher that comes back is asked again",
            "liveness/not-at-live-edge",
            "smoke, origins crash",
            plans::origins_that_die,
        ),
        Canary::TrackEndForgotten => (
            "viewers hear of a track's end",
            "conclusion/untold",
            "smoke, tracks end",
            plans::tracks_that_end,
        ),
        Canary::PriorityIgnored => (
            "what matters more goes first",
            "priority/inverted",
            "two tracks, a link for half of them",
            plans::a_link_that_is_too_narrow,
        ),
        Canary::CacheBoundPassed => (
            "retained groups stay within the budget",
            "bounds/cache",
            "smoke, caches of 30 kB",
            plans::small_caches,
        ),
        Canary::CacheBytesCountedTwice => (
            "the budget is accounted for",
            "liveness/not-at-live-edge",
            "smoke, caches of 30 kB",
            plans::small_caches,
        ),
        Canary::PastUnanswered => (
            "requests are answered",
            "answers/unanswered",
            "smoke, viewers want the past",
            plans::the_past,
        ),
        Canary::GoawayIgnored => (
            "whoever is told to go goes",
            "closes/no-goaway",
            "smoke, a relay drains",
            plans::drains,
        ),
        Canary::TimerForgotten => (
            "deadlines are met",
            "permission/after-expiry",
            "smoke, tokens end at 2 s",
            plans::tokens_that_end,
        ),
        Canary::DeliveryTimeoutIgnored => (
            "what comes too late does not come",
            "lateness/late",
            "two tracks, a link for half of them, 300 ms",
            plans::in_time_or_not_at_all,
        ),
        Canary::CatalogChangeLeftOut => (
            "an update says all that changed",
            "catalog/differs",
            "smoke, catalogs are watched",
            plans::catalogs,
        ),
        Canary::WritableLost => (
            "a stream goes on when it takes bytes again",
            "liveness/not-at-live-edge",
            "smoke, real QUIC",
            plans::over_quic,
        ),
    };
    let (checker, class) = checker.split_once('/').unwrap_or((checker, ""));
    Hunt {
        canary,
        breaks,
        checker,
        class,
        worlds,
        plan,
    }
}
