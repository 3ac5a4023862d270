//! MoQT machines joined in memory: publisher, relay, subscriber.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test's way of speaking"
)]

mod house;
mod net;
mod payload;
mod relay;
mod tokens;
