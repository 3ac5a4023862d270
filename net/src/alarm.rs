//! [`Alarm`]: wakes a sleeping thread once for any number of commands.
//!
//! | state | means | left by |
//! |---|---|---|
//! | silent | the next command wakes the thread | [`Alarm::ring`] |
//! | rung | the thread is awake, or on its way: commands need no further wake | [`Alarm::reset`] |
//!
//! Whoever commands puts the command into the queue and then rings. Whoever works resets, then takes
//! everything out of the queue, then sleeps until it is woken. Two things follow, whatever way the
//! threads' steps are interleaved and however weakly the machine orders memory, and
//! `tests/loom_alarm.rs` goes through all of that with this very file:
//!
//! - no command waits in the queue of a thread that sleeps and is not going to be woken;
//! - between two resets the thread is woken at most once.
//!
//! Why: `ring` and `reset` are both swaps of one atomic, so they have an order. A command whose ring
//! comes before a reset was in the queue before it, and the swaps make that visible to what is taken
//! out after the reset; one whose ring comes after it either wakes the thread or comes after another
//! ring that does. A reset must therefore read as well as write: a plain store would not see what was
//! put into the queue before a ring that found the alarm rung.
//!
//! The waker must remember a wake that comes before the sleep, as an event file descriptor does.

use crate::atomic::{AtomicBool, Ordering};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Alarm<W> {
    waker: W,
    is_rung: AtomicBool,
}

impl<W: Fn()> Alarm<W> {
    /// Silent. `waker` wakes the thread, from any other.
    pub(crate) fn new(waker: W) -> Self {
        Self {
            waker,
            is_rung: AtomicBool::new(false),
        }
    }

    /// After a command was queued: wakes the thread unless it is being woken already.
    pub(crate) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            (self.waker)();
        }
    }

    /// Before the queue is looked at, by the thread itself.
    pub(crate) fn reset(&self) {
        self.is_rung.swap(false, Ordering::AcqRel);
    }
}
