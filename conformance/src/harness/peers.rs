//! Independent MoQT software: aiomoqt's client of the public interoperability cases.

use super::program::Running;
use super::{Scratch, tool};
use crate::tap::{self, TestPoint};
use std::process::Command;
use std::time::Duration;

/// No case takes longer than this, its own time limit included.
const CASE_LIMIT: Duration = Duration::from_secs(30);

/// Runs one case against `url` with one draft; its outcome.
///
/// # Panics
///
/// When the client reports no outcome, for example because it does not speak the draft.
pub fn aiomoqt(scratch: &Scratch, url: &str, draft: u32, case: &str) -> TestPoint {
    let client = tool("MAINSTEM_AIOMOQT", "moq-interop-client");
    let mut command = Command::new(client);
    command.args(["--relay", url, "--draft", &draft.to_string()]);
    command.args(["--tls-disable-verify", "--test", case]);
    let finished = Running::start(scratch, "aiomoqt", &mut command).finish_within(CASE_LIMIT);
    let points = tap::parse(&finished.stdout);
    let point = points.map(|points| points.into_iter().next());
    assert!(
        matches!(point, Ok(Some(_))),
        "aiomoqt said nothing about {case} (exit {}):\n{}\n{}",
        finished.code,
        finished.stdout,
        finished.stderr
    );
    point.ok().flatten().expect("was just looked at")
}
