//! What the load generators share: a relay to measure, a publisher, what a process uses, and who
//! judges what a viewer got.
//!
//! | part | what it does |
//! |---|---|
//! | [`target`] | the relay that is measured: one that runs, or one that is started for the run |
//! | [`feed`] | one publisher of one track, its objects stamped with their time |
//! | [`usage`] | memory, threads, descriptors and processor time of a process; their growth |
//! | [`judge`] | whether a viewer got every object in order and once |
//! | [`histogram`] | delays, in buckets |
//! | [`random`] | seeded chance |

#![forbid(unsafe_code)]

pub mod feed;
pub mod histogram;
pub mod judge;
pub mod random;
pub mod target;
pub mod usage;

use mainstem_core::moqt::session;

/// Sessions of a generator are bounded by its arguments only.
pub fn session_config() -> session::Config {
    session::Config {
        sessions_max: 100_000,
        ..session::Config::default()
    }
}

/// A count as a number to divide.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a measurement are far below 2^52"
)]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}
