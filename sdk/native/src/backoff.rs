//! Pauses between attempts to connect: doubled each time, capped, and spread.
//!
//! The first attempt after a session that worked comes soon: a relay that restarts is back in a
//! moment. The spread keeps the clients of a lost relay from coming back all at once.

use std::time::Duration;

/// The first pause.
pub(crate) const MIN: Duration = Duration::from_millis(200);
/// The longest pause.
pub(crate) const MAX: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next: MIN,
            random: seed | 1,
        }
    }

    /// A session works: the next loss is the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = MIN;
    }

    /// How long to wait now: between three quarters and all of the pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(MAX);
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let spread = u32::try_from(self.random % 64).unwrap_or(0);
        whole.saturating_sub(whole / 256 * spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(7);
        let mut whole = MIN;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(pause <= whole && pause >= whole * 3 / 4, "{pause:?}");
            whole = (whole * 2).min(MAX);
        }
        assert_eq!(whole, MAX);
        backoff.reset();
        assert!(backoff.pause() <= MIN);
    }
}
