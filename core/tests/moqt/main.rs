//! MoQT machines joined in memory: publisher, relay, subscriber.
#![expect(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test's way of speaking"
)]

mod house;
mod net;
mod relay;
mod tokens;
