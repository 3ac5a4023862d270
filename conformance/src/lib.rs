//! Tests of the house itself, and end-to-end suites against programs that others wrote.
//!
//! | part | what it holds | runs in |
//! |---|---|---|
//! | [`house`] | what the workspace is made of: rooms, imports, source files | `cargo test` |
//! | [`wasm`] | a bounded reader of a WebAssembly module's import section | `cargo test` |
//! | [`tap`] | a reader of the Test Anything Protocol, which peers' clients speak | `cargo test` |
//! | `harness` | starts `mainstem`, encoders and foreign peers as a person would | `cargo xtask test` |
//!
//! The suites are in `tests/`. `arrows`, `tidy` and `wasm_proof` turn ARCHITECTURE.md into tests and
//! need nothing but the toolchain. The others sit behind the feature `external-tools`.

pub mod house;
pub mod tap;
pub mod wasm;

#[cfg(feature = "external-tools")]
pub mod harness;
