//! [`compare`]: runs a plan twice and says in which event the runs differ first.

use super::{WorldError, caught::run_plan};
use crate::plan::Plan;
use crate::trace::{Recording, first_difference};

/// Events that are shown before the one that differs.
const CONTEXT: u64 = 5;

/// Where two runs of one plan went apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the first event that differs.
    pub event: u64,
    /// The last events of one run up to it.
    pub one: Vec<String>,
    /// Those of the other.
    pub other: Vec<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "two runs of one plan differ at event {}:", self.event)?;
        for (name, lines) in [("one", &self.one), ("other", &self.other)] {
            writeln!(f, "the {name} run:")?;
            for line in lines {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs a plan twice; `None` when the runs are the same.
pub fn compare(plan: &Plan) -> Result<Option<Difference>, WorldError> {
    let run = |recording| run_plan(plan, recording);
    let (one, other) = (run(Recording::Digests)?, run(Recording::Digests)?);
    let Some(event) = first_difference(&one.digests, &other.digests) else {
        return Ok(None);
    };
    let window = Recording::Window {
        from: event.saturating_sub(CONTEXT),
        until: event + 1,
    };
    Ok(Some(Difference {
        event,
        one: run(window)?.transcript,
        other: run(window)?.transcript,
    }))
}
