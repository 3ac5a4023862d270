//! Which inputs are live, as relays and engines say it. Kept in memory: after a restart every one
//! of them speaks again within seconds.

use mainstem_core::resolve::PRESENCE_TTL_SECS;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(PRESENCE_TTL_SECS);

/// What each program last said.
pub(super) struct LiveInputs {
    programs: BTreeMap<String, Said>,
    programs_max: usize,
}

struct Said {
    until: Instant,
    inputs: BTreeSet<String>,
}

impl LiveInputs {
    pub(super) const fn new(programs_max: usize) -> Self {
        Self {
            programs: BTreeMap::new(),
            programs_max,
        }
    }

    /// Hears a program; `false` when there are too many of them.
    pub(super) fn hear(&mut self, program: String, inputs: Vec<String>, now: Instant) -> bool {
        self.programs.retain(|_, said| said.until > now);
        if self.programs.len() >= self.programs_max && !self.programs.contains_key(&program) {
            return false;
        }
        let inputs = inputs.into_iter().collect();
        self.programs.insert(
            program,
            Said {
                until: now + TTL,
                inputs,
            },
        );
        true
    }

    /// Whether some program receives the input.
    pub(super) fn is_live(&self, input: &str, now: Instant) -> bool {
        let mut fresh = self.programs.values().filter(|said| said.until > now);
        fresh.any(|said| said.inputs.contains(input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_live_while_some_program_says_so() {
        let (mut live, start) = (LiveInputs::new(2), Instant::now());
        let say = |inputs: &[&str]| inputs.iter().map(|id| (*id).to_owned()).collect();
        assert!(live.hear("a".into(), say(&["x", "y"]), start));
        assert!(live.hear("b".into(), say(&["y"]), start + TTL / 2));
        assert!(!live.hear("c".into(), say(&[]), start + TTL / 2));
        assert!(live.is_live("x", start + TTL / 2) && !live.is_live("z", start));
        assert!(!live.is_live("x", start + TTL) && live.is_live("y", start + TTL));
        assert!(live.hear("b".into(), say(&[]), start + TTL));
        assert!(!live.is_live("y", start + TTL));
        assert!(live.hear("c".into(), say(&[]), start + TTL));
    }
}
