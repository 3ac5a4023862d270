//! The stream model against real QUIC: what an application can notice is the same.
//!
//! `contract` states it for a scripted application, over both transports; `machines` runs the publisher, the
//! relay and the viewer over both and compares every input that each of them got.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is how tests speak"
)]

mod contract;
mod loss;
mod machines;
#[path = "../world/plans.rs"]
mod plans;
mod world;
mod worlds;
