//! Debian packages, as root or through sudo, with one more try when the network hiccups.

use crate::run;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs packages.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !run::is_on_path("apt-get") {
        bail!(
            "{} must be installed: only Debian's apt is known here",
            packages.join(", ")
        );
    }
    let once = || {
        run::run(as_root()?.args(["apt-get", "-qq", "update"]))?;
        // What is there already stays as it is.
        let install = ["apt-get", "-qq", "install", "--yes", "--no-upgrade"];
        run::run(
            as_root()?
                .args(install)
                .arg("--no-install-recommends")
                .args(packages),
        )
    };
    once().or_else(|error| {
        println!("apt failed ({error:#}); trying once more");
        std::thread::sleep(std::time::Duration::from_secs(5));
        once()
    })
}

/// Whether apt, as configured, offers the package.
pub(crate) fn offers(package: &str) -> bool {
    let policy = run::ask(Command::new("apt-cache").args(["policy", package]));
    let policy = policy.unwrap_or_default();
    let mut candidates = policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"));
    candidates.any(|version| version.trim() != "(none)")
}

/// Fetches the source package of `name` in another Debian suite, and unpacks nothing.
///
/// The archive is the one that this machine already uses; the suite's index goes into a directory
/// of our own, so that the system's package lists stay as they are. Signatures are checked by apt.
/// Returns the upstream archive.
pub(crate) fn fetch_source(name: &str, suite: &str, directory: &Path) -> Result<PathBuf> {
    let parts = directory.join("sources.list.d");
    for each in [
        parts.clone(),
        directory.join("lists/partial"),
        directory.join("archives"),
    ] {
        std::fs::create_dir_all(&each)
            .with_context(|| format!("cannot make {}", each.display()))?;
    }
    let archive = archive().context("apt names no Debian archive to take a source package from")?;
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!(
        "Types: deb-src\nURIs: {archive}\nSuites: {suite}\nComponents: main\nSigned-By: {keys}\n"
    );
    crate::house::write(&parts.join("source.sources"), &source)?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(directory).arg("-qq");
        for (option, path) in [
            ("Dir::Etc::SourceList", Path::new("/dev/null")),
            ("Dir::Etc::SourceParts", &parts),
            ("Dir::State::Lists", &directory.join("lists")),
            ("Dir::Cache", directory),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", path.display()));
        }
        run::run(command.args(arguments))
    };
    apt(&["update"]).or_else(|_| apt(&["update"]))?;
    apt(&["source", "--download-only", "--only-source", name])?;
    let entries = std::fs::read_dir(directory)?.flatten();
    let mut archives = entries.map(|entry| entry.path()).filter(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(name) && file.ends_with(".orig.tar.xz")
    });
    archives
        .next()
        .with_context(|| format!("apt fetched no upstream archive of {name}"))
}

/// The address of the Debian archive that this machine uses.
fn archive() -> Option<String> {
    let format = "$(REPO_URI) $(LABEL) $(CODENAME)";
    let targets = run::ask(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))?;
    let main = targets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1) == Some(&"Debian"))?;
    main.first().map(|address| (*address).to_owned())
}

fn as_root() -> Result<Command> {
    let is_root = run::ask(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    let mut command = if is_root {
        Command::new("env")
    } else if run::is_on_path("sudo") {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    } else {
        bail!("installing packages needs root: run `cargo xtask setup` as root, or install sudo")
    };
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}
