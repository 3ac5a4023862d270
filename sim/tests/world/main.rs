//! Worlds over real QUIC: everything is delivered, every fault bites, every run repeats.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is how tests speak"
)]

mod delivery;
mod determinism;
mod faults;
mod plans;
mod regressions;
mod shrinking;
mod smoke;
