//! The broadcaster behind a relay, without a network: what viewers get of real encoders' streams.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

#[path = "../packager/support.rs"]
mod encoder;
mod first_objects;
#[path = "../moqt/net.rs"]
#[allow(dead_code, reason = "shared with the tests of moqt")]
mod net;
mod switching;
mod viewers;
mod world;
