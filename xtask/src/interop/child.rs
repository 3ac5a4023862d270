//! The programs of the matrix: none outlives it.
//!
//! | end of this process | what ends the others |
//! |---|---|
//! | in order, an error, a panic | [`Kept`] is dropped: its process group is killed |
//! | a signal, `kill -9` too | the kernel, told by `setpriv --pdeathsig` where that is to be had |

use crate::run;
use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// A command for a program that ends with this process. Its arguments are still to come.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    if !run::is_on_path("setpriv") {
        return Command::new(program);
    }
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(program);
    tied
}

/// A program; it and what it started are ended when this is dropped.
pub(super) struct Kept(pub(super) Child);

impl Kept {
    /// Starts it in a process group of its own.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let started = command.process_group(0).spawn();
        let shown = || {
            let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            format!(
                "cannot start {} {}",
                command.get_program().display(),
                words.join(" ")
            )
        };
        started.map(Self).with_context(shown)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself; then what it started is still to be ended.
        if let Some(group) = group {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    #[test]
    fn what_a_program_started_ends_with_it() {
        let mut shell = command("sh");
        shell
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped());
        let mut kept = Kept::start(&mut shell).unwrap();
        let mut line = String::new();
        let stdout = kept.0.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let sleeper = line.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        drop(kept);
        let gone = || rustix::process::test_kill_process(sleeper).is_err();
        let is_zombie = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", line.trim()));
            stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        let ended = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            gone() || is_zombie()
        });
        assert!(ended, "it still runs");
    }
}
