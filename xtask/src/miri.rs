//! `cargo xtask miri`: core's tests under Miri, which sees undefined behaviour that a run does not.
//!
//! Core forbids unsafe code, so what is watched is how it uses the libraries below: bytes, shared
//! slices, boxed futures of nobody. Without the features that bring ring, whose assembly Miri does not
//! run; tests that draw values draw few, because Miri is some hundred times slower. What needs files,
//! processes or minutes is left out by name ([`LEFT_OUT`]).
//!
//! Not in the gate: it takes minutes, and nightly Rust changes under it.

use crate::fuzz::ensure_nightly;
use crate::{house, run};
use anyhow::Result;
use std::process::{Command, ExitCode};

/// Tests of core's library that are not for Miri: they draw or walk more than it can in a minute.
const LEFT_OUT: [&str; 4] = ["mutat", "damaged", "proptest", "captures"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only tests whose name holds this.
    filter: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    ensure_nightly(&["miri", "rust-src"])?;
    let mut miri = Command::new("cargo");
    miri.current_dir(house::root())
        .env("CARGO_TARGET_DIR", house::target_dir().join("miri"))
        // What is drawn may be asked of the environment.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "3")
        .env("QUICKCHECK_TESTS", "3")
        .args(["+nightly", "miri", "test", "--package=mainstem-core"])
        .args(["--no-default-features", "--lib", "--"])
        .args(arguments.filter.as_ref());
    for name in LEFT_OUT {
        miri.arg("--skip").arg(name);
    }
    let mut passed = 0_u32;
    run::run_seeing(&mut miri, |line| {
        passed += u32::from(line.starts_with("test ") && line.ends_with(" ok"));
    })?;
    println!("{passed} tests of core under Miri, and it saw nothing");
    Ok(ExitCode::SUCCESS)
}
