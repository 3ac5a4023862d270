//! `cargo xtask demo`: one live stream, from an encoder through a relay to a viewer.
//!
//! Builds `mainstem` and runs `mainstem demo`, which plays a clip that ships with it: no ffmpeg is
//! needed. With `--check` the file that the viewer wrote is read again here, by code that shares
//! nothing with what wrote it, and by ffprobe where that is installed.

mod mp4;

use crate::{house, run};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Stop after this many seconds; without it, the stream runs until interrupted.
    #[arg(long, value_name = "N", required_if_eq("check", "true"))]
    seconds: Option<u32>,
    /// Verify what arrived, and exit 1 when it is not whole.
    #[arg(long)]
    check: bool,
    /// Where the viewer writes its MP4.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Build with optimisation: slower to build, quicker to run.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| house::target_dir().join("mainstem-demo.mp4"));
    if arguments.check {
        // A file of an earlier run must not pass for this one's.
        std::fs::remove_file(&output).ok();
    }
    let mut demo = Command::new(house::cargo());
    demo.current_dir(house::root()).arg("run");
    if arguments.release {
        demo.arg("--release");
    }
    demo.args([
        "--package=mainstem-cli",
        "--bin=mainstem",
        "--",
        "demo",
        "-o",
    ])
    .arg(&output);
    if let Some(seconds) = arguments.seconds {
        demo.args(["--seconds", &seconds.to_string()]);
    }
    if arguments.check {
        demo.arg("--check");
    }
    run::run(&mut demo)?;
    if arguments.check {
        check(&output)?;
    }
    println!("the viewer's recording: {}", output.display());
    Ok(ExitCode::SUCCESS)
}

fn check(output: &Path) -> Result<()> {
    let bytes = std::fs::read(output)
        .with_context(|| format!("the demo left no recording at {}", output.display()))?;
    let summary = mp4::read(&bytes)?;
    println!("recording: {summary}");
    if !summary.has_video() || !summary.has_audio() {
        bail!("expected video and audio in the recording, found: {summary}");
    }
    if summary.media_bytes == 0 {
        bail!("the recording holds no media");
    }
    if run::is_on_path("ffprobe") {
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-count_frames", "-show_entries"]);
        probe.args(["stream=codec_name,nb_read_frames", "-of", "compact"]);
        let probe = probe.arg(output).output().context("cannot start ffprobe")?;
        print!("{}", String::from_utf8_lossy(&probe.stdout));
        if !probe.status.success() || !probe.stderr.is_empty() {
            bail!(
                "ffprobe complains: {}",
                String::from_utf8_lossy(&probe.stderr)
            );
        }
    } else {
        println!(
            "ffprobe is not installed: frames were not decoded (`cargo xtask setup` installs it)"
        );
    }
    Ok(())
}
