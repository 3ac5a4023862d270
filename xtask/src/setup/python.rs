//! The Python environment with aiomoqt and moq-rs, two independent MoQT implementations.
//!
//! aiomoqt's native part ships wheels for CPython 3.12 to 3.14. Debian 13 has 3.13; Debian 12 has
//! only 3.11, and no registry ships a newer CPython ready to run there. So, in this order:
//!
//! 1. `MAINSTEM_PYTHON`, when set;
//! 2. `python3.12` ... `python3.14` and `python3` on `PATH`, and those that pyenv keeps;
//! 3. Debian's package, when apt offers one that is new enough;
//! 4. CPython 3.13 built from Debian's own source package (about two minutes, kept in the cache).
//!
//! A candidate counts when it runs, has a supported version, and brings `venv` and `ssl`.

use super::apt;
use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is installed into the environment.
const REQUIREMENTS: [&str; 3] = ["aiomoqt==0.13.3", "aiopquic==0.6.1", "moq-rs==0.5.1"];

/// Minor versions of Python 3 that aiopquic has wheels for; the first is preferred.
const MINORS: [&str; 3] = ["3.12", "3.13", "3.14"];

/// The Debian suite whose Python is built when nothing else is there.
const SOURCE_SUITE: &str = "trixie";

/// The environment of the peers, made when it is missing: its `python`.
pub(crate) fn environment(build: bool) -> Result<PathBuf> {
    prepare(&house::cache_dir().join("python"), &REQUIREMENTS, build)
}

/// Another environment, with these requirements.
pub(super) fn plain(directory: &Path, requirements: &[&str]) -> Result<PathBuf> {
    prepare(directory, requirements, false)
}

fn prepare(directory: &Path, requirements: &[&str], build: bool) -> Result<PathBuf> {
    let python = directory.join("bin/python");
    let marker = directory.join("mainstem-requirements.txt");
    let wanted = requirements.join("\n");
    let is_ready = std::fs::read_to_string(&marker).is_ok_and(|text| text == wanted);
    if is_ready && is_usable(&python) && !build {
        return Ok(python);
    }
    let base = if build {
        build_from_source()?
    } else {
        find_or_install()?
    };
    println!("python: {}", base.display());
    run::run(
        Command::new(&base)
            .args(["-m", "venv", "--clear"])
            .arg(directory),
    )?;
    let install = || {
        let mut pip = pip(&python);
        run::run(
            pip.args(["install", "--only-binary", ":all:"])
                .args(requirements),
        )
    };
    install().or_else(|_| install())?;
    house::write(&marker, &wanted)?;
    Ok(python)
}

/// aiomoqt's interoperability client.
pub(crate) fn aiomoqt() -> Result<PathBuf> {
    let client = environment(false)?.with_file_name("moq-interop-client");
    if !run::is_program(&client) {
        bail!("aiomoqt came without {}", client.display());
    }
    Ok(client)
}

/// `pip` of an environment, quiet.
pub(crate) fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    command
}

fn find_or_install() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("MAINSTEM_PYTHON").map(PathBuf::from) {
        if is_usable(&named) {
            return Ok(named);
        }
        bail!(
            "MAINSTEM_PYTHON={} is not a Python {} with venv and ssl",
            named.display(),
            MINORS.join(", ")
        );
    }
    let find = || candidates().into_iter().find(|path| is_usable(path));
    if let Some(found) = find() {
        return Ok(found);
    }
    for minor in MINORS {
        if apt::offers(&format!("python{minor}")) {
            apt::install(&[&format!("python{minor}"), &format!("python{minor}-venv")])?;
            if let Some(found) = find() {
                return Ok(found);
            }
        }
    }
    build_from_source()
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for minor in MINORS {
        let name = format!("python{minor}");
        found.extend(std::env::split_paths(&path).map(|directory| directory.join(&name)));
        // pyenv's shims refuse a version that is not selected; the versions themselves do not.
        let home = std::env::home_dir().unwrap_or_default();
        let versions = std::fs::read_dir(home.join(".pyenv/versions"));
        let versions = versions.into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(minor))
            .map(|entry| entry.path().join("bin/python"))
            .collect();
        versions.sort();
        found.append(&mut versions);
    }
    found.extend(std::env::split_paths(&path).map(|directory| directory.join("python3")));
    found.push(built_python());
    found.retain(|each| each.exists());
    found
}

fn is_usable(python: &Path) -> bool {
    let question = "import sys, ssl, venv, ensurepip; print('%d.%d' % sys.version_info[:2])";
    run::ask(Command::new(python).args(["-c", question]))
        .is_some_and(|version| MINORS.contains(&version.trim()))
}

fn built_python() -> PathBuf {
    house::cache_dir().join("cpython/bin/python3.13")
}

fn build_from_source() -> Result<PathBuf> {
    let built = built_python();
    if is_usable(&built) {
        return Ok(built);
    }
    println!(
        "no Python {} here: building one from Debian's source",
        MINORS.join(", ")
    );
    apt::install(&[
        "dpkg-dev",
        "gcc",
        "libc6-dev",
        "libffi-dev",
        "libssl-dev",
        "make",
        "xz-utils",
        "zlib1g-dev",
    ])?;
    let directory = house::cache_dir().join("cpython-source");
    let archive = apt::fetch_source("python3.13", SOURCE_SUITE, &directory)?;
    let tree = directory.join("tree");
    std::fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    let unpack = ["--strip-components=1", "--extract", "--file"];
    run::run(
        Command::new("tar")
            .current_dir(&tree)
            .args(unpack)
            .arg(&archive),
    )?;
    let prefix = house::cache_dir().join("cpython");
    let step = |program: &str, arguments: &[&str]| {
        // Thousands of lines that nobody reads; on failure they are in the log.
        let log = directory.join("build.log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut command = Command::new(program);
        command.current_dir(&tree).args(arguments);
        command.stdout(file.try_clone()?).stderr(file);
        run::run(&mut command).with_context(|| format!("see {}", log.display()))
    };
    let prefix = format!("--prefix={}", prefix.display());
    let configure = [&prefix, "--disable-test-modules", "--without-doc-strings"];
    step("./configure", &configure)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    step("make", &[&format!("-j{jobs}")])?;
    step("make", &["install"])?;
    if !is_usable(&built) {
        bail!(
            "the Python that was built does not run: {}",
            built.display()
        );
    }
    std::fs::remove_dir_all(&directory).ok();
    Ok(built)
}
