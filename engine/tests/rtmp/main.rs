//! The engine with a real relay machine on a real socket, a stand-in for the control plane, and
//! encoders that send what ffmpeg sent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

#[cfg(feature = "external-tools")]
mod ffmpeg;
mod refusals;
mod streams;
mod world;
