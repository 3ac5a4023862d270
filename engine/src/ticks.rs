//! [`Ticks`]: the time of the connections, from tokio's timer.
//!
//! Deadlines of the machines are waited for with that timer, so it is also what tells them the
//! time: a runtime whose time stands still shows them nothing else. Units: nanoseconds since the
//! engine began.

use mainstem_core::time::Instant;
use std::future::pending;
use std::time::Duration;

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    epoch: tokio::time::Instant,
}

impl Ticks {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        Self {
            epoch: tokio::time::Instant::now(),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Instant {
        let nanos = self.epoch.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Waits for a deadline; for ever when there is none.
    pub(crate) async fn sleep_until(&self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return pending().await;
        };
        let until = Duration::from_nanos(deadline.as_nanos());
        match self.epoch.checked_add(until) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => pending().await,
        }
    }
}
