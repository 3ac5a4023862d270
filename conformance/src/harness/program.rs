//! A program under test: its own process group, its output in files, its end assured.
//!
//! | state | how it is left |
//! |---|---|
//! | running | by itself ([`Running::finish_within`]), by [`Running::kill`], or by being dropped |
//! | finished | [`Finished`] holds exit code and output |
//!
//! Output goes to files and not through pipes: a test can read it while the program runs, and a
//! program that nobody reads never blocks. When a test panics, the ends of both files are printed.

use super::{Scratch, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Lines of each log that are printed when a test fails.
const TAIL_LINES: usize = 40;

/// A started program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Running {
    /// Starts `command`; `name` is for messages and file names.
    pub fn start(scratch: &Scratch, name: &str, command: &mut Command) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let stdout = scratch.join(format!("{number:03}-{name}.out"));
        let stderr = scratch.join(format!("{number:03}-{name}.err"));
        let file = |path: &Path| std::fs::File::create(path).expect("a log file can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .process_group(0)
            .spawn();
        let child = child.unwrap_or_else(|error| {
            // The error alone does not say which program is missing.
            unreachable_program(command, &error)
        });
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        }
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it and everything that it started, at once (SIGKILL).
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().ok();
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Waits for its own end.
    ///
    /// # Panics
    ///
    /// When it has not ended within `limit`.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        let what = format!("{} to end", self.name);
        let status = wait_for(&what, limit, || self.child.try_wait().ok().flatten());
        let by_signal = || status.signal().map_or(-1, |signal| 128 + signal);
        Finished {
            code: status.code().unwrap_or_else(by_signal),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// Asks it to end in order (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            kill_process_group(group, signal).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("--- {} wrote to standard error, at last:", self.name);
            println!("{}", tail(&self.stderr()));
            println!("--- and to standard output:");
            println!("{}", tail(&self.stdout()));
        }
    }
}

impl Finished {
    /// Panics unless the exit code is `code`, with what the program said.
    pub fn assert_code(&self, code: i32, what: &str) -> &Self {
        assert_eq!(
            self.code,
            code,
            "{what}: wrong exit code; it said:\n{}\n{}",
            tail(&self.stderr),
            tail(&self.stdout)
        );
        self
    }
}

/// The last lines of a log.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(clippy::panic, reason = "the test that called has failed")]
fn unreachable_program(command: &Command, error: &std::io::Error) -> ! {
    panic!("cannot start {}: {error}", command.get_program().display())
}
