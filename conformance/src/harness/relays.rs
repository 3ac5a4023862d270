//! `mainstem relay`: relays of one mesh on free ports, and a publisher of the clip that comes along.

use super::program::Running;
use super::{Scratch, mainstem, wait_for};
use crate::house;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Longest time from the start of the program to its first word.
const START_LIMIT: Duration = Duration::from_secs(20);
/// What the relays of a suite know each other by.
pub(super) const SECRET: &str = "a secret of this suite alone";

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    /// The program.
    pub process: Running,
    /// `moqt://host:port`
    pub url: String,
    /// `http://host:port` of the admin listener; empty without one.
    pub admin: String,
    name: String,
}

impl Relay {
    /// Starts an open relay with these upstreams; `more` are further arguments.
    pub fn start(scratch: &Scratch, name: &str, upstreams: &[&Self], more: &[&str]) -> Self {
        let upstreams: Vec<&str> = upstreams.iter().map(|relay| relay.url.as_str()).collect();
        Self::start_at(scratch, name, "127.0.0.1:0", &upstreams, more)
    }

    /// Starts a relay at an address, for which a control plane says who may publish and watch.
    pub fn start_under(scratch: &Scratch, name: &str, address: &str, control: [&str; 4]) -> Self {
        Self::start_as(scratch, name, address, &[], &control)
    }

    /// Starts it again at the address that it had, with these upstreams.
    #[must_use]
    pub fn again(&self, scratch: &Scratch, upstreams: &[&Self]) -> Self {
        let address = self.url.trim_start_matches("moqt://");
        let upstreams: Vec<&str> = upstreams.iter().map(|relay| relay.url.as_str()).collect();
        Self::start_at(scratch, &self.name, address, &upstreams, &[])
    }

    fn start_at(
        scratch: &Scratch,
        name: &str,
        address: &str,
        upstreams: &[&str],
        more: &[&str],
    ) -> Self {
        let more: Vec<&str> = ["--open-relay"].iter().chain(more).copied().collect();
        Self::start_as(scratch, name, address, upstreams, &more)
    }

    fn start_as(
        scratch: &Scratch,
        name: &str,
        address: &str,
        upstreams: &[&str],
        more: &[&str],
    ) -> Self {
        let mut command = Command::new(mainstem());
        command.args(["relay", "--ready-json", "--upstream-insecure"]);
        command.args(["--moqt", address]);
        command.arg("--data-dir").arg(scratch.join(name));
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        command.args(more).env("MAINSTEM_MESH_SECRET", SECRET);
        let mut process = Running::start(scratch, name, &mut command);
        let ready = wait_for("a relay to be ready", START_LIMIT, || {
            assert!(
                process.is_running(),
                "the relay ended: {}",
                process.stderr()
            );
            let said = process.stdout();
            said.lines()
                .find_map(|line| serde_json::from_str::<Value>(line).ok())
        });
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let (url, admin) = (text("moqt"), text("admin"));
        Self {
            process,
            url,
            admin,
            name: name.to_owned(),
        }
    }

    /// The URL of a stream at this relay.
    pub fn stream(&self, input: &str) -> String {
        format!("{}/playback/{input}", self.url)
    }

    /// Publishes the clip that comes along, again and again, until it is ended.
    pub fn publish(&self, scratch: &Scratch, input: &str) -> Running {
        let mut command = Command::new(mainstem());
        command.args(["publish", &self.stream(input), "--insecure", "--loop"]);
        command.arg(house::root().join("cli/assets/demo.mp4"));
        Running::start(scratch, "publish", &mut command)
    }
}
