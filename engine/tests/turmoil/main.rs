//! The engine's RTMP glue on a network that fails: what encoders, the input and the figures are
//! left with.
//!
//! Hosts of [`turmoil`] share one thread and a virtual time; seeds draw the delays of each segment
//! and where connections are cut. The ports are the simulation's own. What is checked is what must
//! be so whatever the delays were.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

mod control;
mod encoders;
mod floods;
mod stops;
mod world;
