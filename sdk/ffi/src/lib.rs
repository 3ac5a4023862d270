//! The C interface of the client library, as `include/clutch_moqt.h` describes it.
//!
//! | file | what |
//! |---|---|
//! | `abi.rs` | the exported functions, and all that is unsafe: each reads what C gave, and calls `tracks` |
//! | `handles.rs` | handles: names that are looked up, so that a wrong one is refused |
//! | `tracks.rs` | what the functions do, in safe Rust |
//!
//! No panic crosses the boundary: each function catches it and returns as for a wrong handle. Source:
//! CONTRACTS A1 (C FFI symbols).

mod abi;
mod handles;
mod tracks;

pub use abi::*;
