//! A session, and nothing in it.

use super::super::bench::Bench;
use super::super::fault::Fault;
use super::super::party::QUIET;

/// Connects, waits for SETUP, and for the relay not to mind a session in which nothing happens.
pub(super) fn setup_only(bench: &mut Bench) -> Result<String, Fault> {
    let mut client = bench.connect("client")?;
    client.nothing("an idle session", QUIET, |_| false)?;
    Ok(format!("SETUP received, {}", client.draft()))
}
