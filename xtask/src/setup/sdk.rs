//! The Python package, built from the checkout and installed into an environment of its own.
//!
//! The build's tool, maturin, comes from PyPI at a fixed version. The wheel is built anew each time, in
//! the development profile and in the build directory of the rooms, whose dependencies it shares, so that
//! an unchanged checkout costs seconds.

use super::python;
use crate::{house, run};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The build's tool, and a judge of the package's types.
const REQUIREMENTS: [&str; 2] = ["maturin==1.16.0", "mypy==1.18.2"];

/// The environment's `python`, with the package of this checkout in it.
pub(super) fn ensure() -> Result<PathBuf> {
    let directory = house::cache_dir().join("python-sdk");
    let python = python::plain(&directory, &REQUIREMENTS)?;
    let wheels = house::target_dir().join("python/wheels");
    if wheels.exists() {
        house::clear(&wheels)?;
    }
    let mut build = Command::new(&python);
    build.current_dir(house::root().join("sdk/python"));
    build.args(["-m", "maturin", "build", "--quiet", "--locked"]);
    build.arg("--interpreter").arg(&python);
    build.arg("--out").arg(&wheels);
    build.arg("--target-dir").arg(house::target_dir());
    run::run(&mut build)?;
    let wheel = wheel_in(&wheels)?;
    let mut pip = python::pip(&python);
    pip.args(["install", "--no-index", "--no-deps", "--force-reinstall"]);
    run::run(pip.arg(wheel))?;
    Ok(python)
}

fn wheel_in(folder: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut paths = files.flatten().map(|file| file.path());
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "whl");
    paths
        .find(is_wheel)
        .with_context(|| format!("maturin left no wheel in {}", folder.display()))
}
