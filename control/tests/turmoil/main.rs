//! The control plane's HTTP glue on a network that fails: what clients, the database and the
//! connections are left with.
//!
//! Hosts of [`turmoil`] share one thread and a virtual time; seeds draw the delays of each segment
//! and where requests are cut. The ports are the simulation's own. What is checked is what must be
//! so whatever the delays were.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

mod cut;
mod slow;
mod stops;
mod world;
