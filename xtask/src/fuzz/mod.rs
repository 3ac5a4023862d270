//! `cargo xtask fuzz`: runs the fuzz targets in turn and says what each has covered.
//!
//! The targets and their laws are `fuzz/`'s; coverage is libFuzzer's, by cargo-fuzz on nightly Rust,
//! both of which are installed when they are missing. No sanitizer: our rooms forbid unsafe code, so
//! inputs per second count for more; `--sanitizer address` watches the libraries below.
//!
//! What is found stays in the build directory (`mainstem-fuzz/TARGET/corpus`) for the next run.
//! `--keep` puts the least part of it that covers the same into `fuzz/corpus/TARGET`, within
//! [`KEPT_BYTES_MAX`] and [`KEPT_FILES_MAX`], for the replay on stable. Inputs that break a law are
//! kept in `fuzz/artifacts/TARGET`, and the exit code is then 1.

mod report;

use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use report::Figures;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Bytes of one target's corpus in the checkout.
const KEPT_BYTES_MAX: u64 = 14_000;
/// Files of it.
const KEPT_FILES_MAX: usize = 100;
/// Longest that one input may take, in seconds, on a busy machine.
const INPUT_SECONDS_MAX: u32 = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only this target; may be given several times.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Minutes for each target.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Processes that share a corpus.
    #[arg(long, default_value_t = 1)]
    jobs: u32,
    /// Sanitizer of the build.
    #[arg(long, default_value = "none")]
    sanitizer: String,
    /// Put the least part of each corpus that covers the same into the checkout.
    #[arg(long)]
    keep: bool,
    /// Write the figures as JSON as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the targets and stop.
    #[arg(long)]
    list: bool,
}

/// A target as the fuzz crate describes it.
struct Target {
    name: String,
    input_bytes_max: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let targets = targets()?;
    if arguments.list {
        for target in &targets {
            println!("{}", target.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.target {
        if !targets.iter().any(|target| target.name == *name) {
            bail!("no target is named {name:?}; `cargo xtask fuzz --list` names them");
        }
    }
    ensure_tools()?;
    let sanitizer = format!("--sanitizer={}", arguments.sanitizer);
    run::run(nightly().args(["fuzz", "build", &sanitizer]))?;
    let programs = house::target_dir().join(host()?).join("release");
    let mut rows = Vec::new();
    let wanted =
        |target: &&Target| arguments.target.is_empty() || arguments.target.contains(&target.name);
    for target in targets.iter().filter(wanted) {
        let figures = fuzz(arguments, &programs, target)?;
        println!("{}\n{}", report::HEAD, figures.row());
        rows.push(figures);
    }
    println!("\n{}", report::HEAD);
    for figures in &rows {
        println!("{}", figures.row());
    }
    if let Some(path) = &arguments.json {
        house::write(path, &serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(if rows.iter().all(|figures| figures.crashes == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The targets, in the order of the fuzz crate's table: the most exposed first.
fn targets() -> Result<Vec<Target>> {
    let listed = run::ask(&mut seeds()).context(
        "the fuzz crate does not build: run `cargo test --no-default-features` in fuzz/",
    )?;
    let mut targets = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        if let (Some(name), Some(input_bytes_max)) = (words.next(), words.next()) {
            targets.push(Target {
                name,
                input_bytes_max,
            });
        }
    }
    Ok(targets)
}

/// The program that lists the targets and writes their seeds.
fn seeds() -> Command {
    let mut command = Command::new(house::cargo());
    command
        .current_dir(house::root().join("fuzz"))
        .env("CARGO_TARGET_DIR", house::target_dir())
        .args(["run", "--quiet", "--locked", "--no-default-features"])
        .args(["--example", "seeds", "--"]);
    command
}

/// cargo of nightly Rust, in the checkout.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command
        .arg("+nightly")
        .current_dir(house::root())
        .env("CARGO_TARGET_DIR", house::target_dir());
    command
}

fn ensure_tools() -> Result<()> {
    ensure_nightly(&[])?;
    if run::ask(nightly().args(["fuzz", "--version"])).is_none() {
        let mut install = nightly();
        install.args(["install", "cargo-fuzz", "--locked"]);
        // The checkout's own build directory is of no use to it.
        install.env_remove("CARGO_TARGET_DIR");
        run::run(&mut install)?;
    }
    Ok(())
}

/// Installs nightly Rust, if it is not there, and components of it.
pub(crate) fn ensure_nightly(components: &[&str]) -> Result<()> {
    if run::ask(Command::new("rustc").args(["+nightly", "--version"])).is_none() {
        let install = ["toolchain", "install", "nightly", "--profile=minimal"];
        run::run(Command::new("rustup").args(install))
            .context("nightly Rust is needed: https://rustup.rs installs it")?;
    }
    for component in components {
        let add = ["component", "add", "--toolchain=nightly", component];
        run::run(Command::new("rustup").args(add))?;
    }
    Ok(())
}

/// The host's target triple, which names the directory of cargo-fuzz's programs.
fn host() -> Result<String> {
    let told = run::ask(Command::new("rustc").args(["+nightly", "-vV"]));
    let told = told.context("nightly rustc does not run")?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Runs one target for its time.
fn fuzz(arguments: &Arguments, programs: &Path, target: &Target) -> Result<Figures> {
    let name = target.name.as_str();
    let work = house::target_dir().join("mainstem-fuzz").join(name);
    let (found, seeded) = (work.join("corpus"), work.join("seeds"));
    let kept = house::root().join("fuzz/corpus").join(name);
    let artifacts = house::root().join("fuzz/artifacts").join(name);
    house::clear(&seeded)?;
    for directory in [&found, &kept, &artifacts] {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    run::run(seeds().arg(name).arg(&seeded))?;
    let before = files(&artifacts)?.len();
    let mut command = Command::new(programs.join(name));
    command.args([&found, &seeded, &kept]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_total_time={:.0}", arguments.minutes * 60.0));
    command.arg(format!("-max_len={}", target.input_bytes_max));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    command.arg("-print_final_stats=1");
    if arguments.jobs > 1 {
        command.arg(format!("-fork={}", arguments.jobs));
    }
    println!("fuzzing {name} for {} minutes", arguments.minutes);
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", programs.join(name).display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let mut figures = Figures::read(name, &said);
    let after = files(&artifacts)?;
    figures.crashes = after.len().saturating_sub(before);
    if !output.status.success() {
        println!("{}", report::panic_of(&said));
    }
    if arguments.keep {
        keep(programs, name, &[&found, &seeded, &kept])?;
    }
    Ok(figures)
}

/// Replaces a corpus in the checkout by the least part of these that covers the same.
fn keep(programs: &Path, name: &str, from: &[&Path]) -> Result<()> {
    let least = house::target_dir()
        .join("mainstem-fuzz")
        .join(name)
        .join("least");
    house::clear(&least)?;
    std::fs::create_dir_all(&least)?;
    let mut merge = Command::new(programs.join(name));
    merge.arg("-set_cover_merge=1").arg(&least).args(from);
    if run::ask(&mut merge).is_none() {
        bail!("{name}: the corpus cannot be merged: an entry of it breaks a law");
    }
    let to = house::root().join("fuzz/corpus").join(name);
    house::clear(&to)?;
    std::fs::create_dir_all(&to)?;
    let mut bytes = 0;
    // The small ones first: more of what is covered fits.
    for (len, path) in files(&least)?.into_iter().take(KEPT_FILES_MAX) {
        bytes += len;
        if bytes > KEPT_BYTES_MAX {
            break;
        }
        let file = path.file_name().unwrap_or_default();
        std::fs::copy(&path, to.join(file))?;
    }
    Ok(())
}

/// The files of a directory with their sizes, small ones first.
fn files(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.len(), entry.path())))
        .collect();
    files.sort();
    Ok(files)
}
