//! Fuzz targets: plain functions over bytes, each with laws beside "no panic".
//!
//! | who calls them | how |
//! |---|---|
//! | the fuzzer | `fuzz_targets/NAME.rs`, built by cargo-fuzz with coverage; `cargo xtask fuzz` runs all |
//! | `cargo test` | `tests/replay.rs` runs every seed, corpus entry and past crash, on stable |
//!
//! A target is a row of [`TARGETS`]. Its corpus is `corpus/NAME/`, found by fuzzing and minimised; its
//! past crashes are `crashes/NAME/`, one file for each fault that was fixed, named after what it was
//! about. Seeds are made by code ([`Target::seeds`]) and stand in no file. Memory is a law too: no
//! input may take more than [`Target::memory_max`] bytes at any one time, so a run is single-threaded.

use peak_alloc::PeakAlloc;

#[allow(
    dead_code,
    reason = "shared with core's tests, of which this takes a part"
)]
#[path = "../../core/tests/moqt/arbitrary.rs"]
mod arbitrary;
#[allow(
    dead_code,
    reason = "shared with core's tests, of which this takes a part"
)]
#[path = "../../core/tests/moqt_mutations/captures.rs"]
mod captures;
pub mod catalog;
#[path = "../../core/tests/moqt_mutations/fetcher.rs"]
mod fetcher;
#[allow(dead_code, reason = "the room uses more of it than a target does")]
#[path = "../../quic/src/http3/mod.rs"]
mod http3;
pub mod input;
pub mod laws;
#[path = "../../core/tests/moqt_mutations/legacy.rs"]
mod legacy;
pub mod media;
pub mod moqt;
#[allow(
    dead_code,
    reason = "shared with core's tests, of which this takes a part"
)]
#[path = "../../core/tests/moqt/net.rs"]
mod net;
pub mod plan;
pub mod scene;
pub mod seeds;
pub mod targets;
pub mod token;
pub mod web;
#[allow(dead_code, reason = "the room uses more of it than a target does")]
#[path = "../../quic/src/wire_id.rs"]
mod wire_id;

pub use targets::{TARGETS, Target};

/// Counts what the targets allocate.
#[global_allocator]
pub(crate) static MEMORY: PeakAlloc = PeakAlloc;

/// Runs the target of this name over one input: what the wrappers in `fuzz_targets/` call.
pub fn check(name: &str, data: &[u8]) {
    let target = Target::named(name).expect("a target of that name");
    target.check(data);
}
