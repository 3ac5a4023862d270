//! Drives `mainstem`, encoders and foreign peers from outside, as a person would.
//!
//! | part | what it does |
//! |---|---|
//! | [`program`] | starts a program in a process group of its own, reads its output, ends it on drop |
//! | [`up`] | `mainstem up` on free ports, ready when it says so |
//! | [`api`] | calls the control plane over HTTP |
//! | [`relays`] | `mainstem relay` on free ports, and publishers to them |
//! | [`watch`] | `mainstem watch`, and the report that it prints |
//! | [`media`] | ffmpeg as encoder, ffprobe as judge |
//! | [`peers`] | aiomoqt's interoperability client |
//! | [`token`] | takes playback tokens apart, to forge wrong ones |
//!
//! Everything here is a black box's view: no room is imported. Ports are free ones, files live in a
//! [`Scratch`] directory. A function that cannot do its work panics with the reason: the test that
//! called it has failed.

#![expect(
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "what a suite measured belongs in its output, and its way of failing is to panic"
)]

pub mod api;
pub mod media;
pub mod peers;
pub mod program;
pub mod relays;
pub mod token;
pub mod up;
pub mod watch;

use crate::house;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A directory for one test's files and logs, removed with it.
///
/// `MAINSTEM_KEEP_LOGS` names a directory to keep them in instead.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _removed_on_drop: Option<tempfile::TempDir>,
}

impl Scratch {
    /// A fresh directory for the test of this name.
    pub fn new(test: &str) -> Self {
        if let Some(kept) = std::env::var_os("MAINSTEM_KEEP_LOGS") {
            let path = PathBuf::from(kept).join(test);
            std::fs::create_dir_all(&path).expect("the directory for logs can be made");
            return Self {
                path,
                _removed_on_drop: None,
            };
        }
        let directory = tempfile::Builder::new()
            .prefix(&format!("mainstem-{test}-"))
            .tempdir()
            .expect("a temporary directory can be made");
        Self {
            path: directory.path().to_path_buf(),
            _removed_on_drop: Some(directory),
        }
    }

    /// A path inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

/// The `mainstem` program: `MAINSTEM_BIN`, or built once for all tests of a run.
pub fn mainstem() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if let Some(named) = std::env::var_os("MAINSTEM_BIN") {
            return PathBuf::from(named);
        }
        let status = house::cargo()
            .args(["build", "--quiet", "--workspace", "--bins", "--target-dir"])
            .arg(house::target_dir())
            .status()
            .expect("cargo starts");
        assert!(status.success(), "mainstem does not build");
        house::target_dir().join("debug/mainstem")
    });
    assert!(built.is_file(), "no program at {}", built.display());
    built.clone()
}

/// The library of the C interface: `MAINSTEM_FFI`, or built once for all tests of a run.
pub fn ffi_library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if let Some(named) = std::env::var_os("MAINSTEM_FFI") {
            return PathBuf::from(named);
        }
        let mut build = house::cargo();
        build.args(["build", "--quiet", "--package=mainstem-ffi", "--target-dir"]);
        // What cargo tells a test of its package would have build scripts run again.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        let status = build.arg(house::target_dir()).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the C interface does not build"
        );
        house::target_dir().join("debug/libmainstem_ffi.so")
    });
    assert!(built.is_file(), "no library at {}", built.display());
    built.clone()
}

/// A tool that `cargo xtask setup` installs; the variable names where it is.
pub fn tool(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from)
}

/// The third-party clip.
pub fn clip() -> PathBuf {
    let clip = tool("MAINSTEM_CLIP", "bigbuckbunny.mp4");
    assert!(
        clip.is_file(),
        "the test clip is missing; run this suite by `cargo xtask test`, which fetches it"
    );
    clip
}

/// Asks again and again until there is an answer.
///
/// # Panics
///
/// When there is none within `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            started.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Prints what a suite measured, and a warning where it passes what we aim at.
///
/// Never a failure: a shared machine's clock proves nothing about the code.
pub fn report_timing(what: &str, measured_ms: f64, aim_ms: f64) {
    let verdict = if measured_ms > aim_ms {
        "warning: above"
    } else {
        "within"
    };
    println!("timing: {what} {measured_ms:.1} ms ({verdict} the {aim_ms:.0} ms aimed at)");
}

/// A command that runs to its end in the test's own time; its standard output.
///
/// # Panics
///
/// When it fails, with what it said.
pub fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
