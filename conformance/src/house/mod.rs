//! What the workspace is made of, for the tests that hold its plan.
//!
//! Input: `cargo metadata` and the files below the workspace's root. Nothing is cached and nothing
//! is written. A failure to read is a panic with the path in it: these are tests of a checkout.

mod code;
mod packages;
mod sources;

pub use code::{blank_comments_and_strings, words};
pub use packages::{Package, packages, tree};
pub use sources::{Source, rust_sources, texts};

use std::path::{Path, PathBuf};

/// The workspace's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
        .to_path_buf()
}

/// The `cargo` that runs this test, or the one on `PATH`.
pub fn cargo() -> std::process::Command {
    let mut command =
        std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The build directory that this test was built into, whatever `CARGO_TARGET_DIR` said then.
///
/// A test program sits in `<target>/<profile>/deps/`.
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .nth(3)
        .map_or_else(|| root().join("target"), Path::to_path_buf)
}
