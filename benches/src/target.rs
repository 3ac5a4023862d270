//! [`Target`]: the relay that is measured.
//!
//! Either one that runs already, of whatever make, by its URL and process id; or `mainstem up`,
//! started for the run on free ports with everybody let in, and ended with it.

use crate::usage;
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Arguments that every generator takes.
#[derive(Clone, Debug, clap::Args)]
pub struct TargetArguments {
    /// The relay, `moqt://host:port/path` or `https://..`; any certificate is taken
    #[arg(required_unless_present = "spawn", requires = "pid")]
    pub url: Option<String>,
    /// The relay's process id
    #[arg(long)]
    pub pid: Option<u32>,
    /// Its metrics page, `http://host:port/metrics`
    #[arg(long)]
    pub metrics: Option<String>,
    /// Start this `mainstem` for the run instead
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["url", "pid"])]
    pub spawn: Option<PathBuf>,
    /// Arguments for it
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub spawn_argument: Vec<String>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Target {
    /// Where viewers go.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// Its metrics page.
    pub metrics: Option<String>,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    child: Child,
    folder: PathBuf,
}

impl Target {
    /// Finds or starts the relay.
    pub fn new(arguments: &TargetArguments) -> anyhow::Result<Self> {
        if let Some(binary) = &arguments.spawn {
            return Self::start(binary, &arguments.spawn_argument);
        }
        Ok(Self {
            url: arguments.url.clone().context("expected the relay's URL")?,
            pid: arguments.pid.context("expected the relay's --pid")?,
            metrics: arguments.metrics.clone(),
            started: None,
        })
    }

    fn start(binary: &Path, more: &[String]) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mainstem-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let free = "127.0.0.1:0";
        let mut child = Command::new(binary)
            .args(["up", "--open-relay", "--ready-json", "--http", free])
            .args(["--moqt", free, "--rtmp", free])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(more)
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").as_deref().unwrap_or("warn"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let output = child.stdout.take().context("no standard output")?;
        let started = Some(Started { child, folder });
        let mut target = Self {
            url: String::new(),
            pid: 0,
            metrics: None,
            started,
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ready: serde_json::Value =
            serde_json::from_str(&line).context("the relay did not say that it serves")?;
        let field = |name: &str| ready.get(name).and_then(|value| value.as_str());
        let url = field("moqt").context("no moqt in the ready line")?;
        url.clone_into(&mut target.url);
        target.metrics = field("http").map(|http| format!("{http}/metrics"));
        target.pid = target.started.as_ref().map_or(0, |s| s.child.id());
        Ok(target)
    }

    /// What the process uses.
    pub fn usage(&self) -> anyhow::Result<usage::Usage> {
        usage::Usage::of(self.pid)
    }

    /// Its metrics; empty when it has no page, or is too busy to show it.
    pub fn scrape(&self) -> BTreeMap<String, f64> {
        let page = self.metrics.as_deref().map(usage::scrape);
        page.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(started) = &mut self.started {
            // It may have ended by itself.
            let _ = started.child.kill();
            let _ = started.child.wait();
            let _ = std::fs::remove_dir_all(&started.folder);
        }
    }
}
