//! `mainstem up` on free ports, and the addresses that it printed when it was ready.

use super::api::Api;
use super::program::Running;
use super::{Scratch, mainstem, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time for a start, a first one's keys and certificate included.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Any free port of the loopback interface.
const FREE_PORT: &str = "127.0.0.1:0";

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Listening addresses, for the case that a restart must keep them.
    pub http: String,
    /// See `http`.
    pub moqt: String,
    /// See `http`.
    pub rtmp: String,
    /// Serve any namespace without a token.
    pub open_relay: bool,
    /// Further arguments.
    pub more: Vec<String>,
}

/// The line that `--ready-json` prints.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Base URL of the HTTP listener, without a slash at the end.
    pub http: String,
    /// URL of the MoQT listener, without a slash at the end.
    pub moqt: String,
    /// `rtmp://host:port/live`.
    pub rtmp: String,
    /// The organisation; a later start may leave it out.
    pub org: String,
    /// The API key; printed on the first start only.
    pub api_key: Option<String>,
    /// SHA-256 of the certificate, as `--cert-sha256` takes it.
    pub cert_sha256: String,
}

/// A running `mainstem up`.
#[derive(Debug)]
pub struct Up {
    /// The process.
    pub process: Running,
    /// Where it serves.
    pub ready: Ready,
}

impl Options {
    /// Free ports, and a data directory inside `scratch`.
    pub fn new(scratch: &Scratch) -> Self {
        Self {
            data_dir: scratch.join("data"),
            http: FREE_PORT.to_owned(),
            moqt: FREE_PORT.to_owned(),
            rtmp: FREE_PORT.to_owned(),
            open_relay: false,
            more: Vec::new(),
        }
    }

    /// The same data directory and the very ports that `ready` names.
    pub fn again(&self, ready: &Ready) -> Self {
        Self {
            http: authority(&ready.http).to_owned(),
            moqt: authority(&ready.moqt).to_owned(),
            rtmp: authority(&ready.rtmp).to_owned(),
            ..self.clone()
        }
    }
}

impl Up {
    /// Starts it and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it ends or does not print its line in time.
    pub fn start(scratch: &Scratch, options: &Options) -> Self {
        let mut command = Command::new(mainstem());
        command.args(["up", "--ready-json", "--http", &options.http]);
        command.args(["--moqt", &options.moqt, "--rtmp", &options.rtmp]);
        command.arg("--data-dir").arg(&options.data_dir);
        if options.open_relay {
            command.arg("--open-relay");
        }
        command
            .args(&options.more)
            .env("MAINSTEM_MESH_SECRET", super::relays::SECRET);
        let mut process = Running::start(scratch, "up", &mut command);
        let ready = wait_for("mainstem up to be ready", START_LIMIT, || {
            let ready = process.stdout().lines().find_map(Ready::parse);
            assert!(
                ready.is_some() || process.is_running(),
                "mainstem up ended before it was ready"
            );
            ready
        });
        Self { process, ready }
    }

    /// The control plane, as the owner of the first API key.
    ///
    /// # Panics
    ///
    /// When this was not a first start.
    pub fn api(&self) -> Api {
        let key = self.ready.api_key.as_deref();
        let key = key.expect("the first start prints an API key");
        Api::new(&self.ready.http, &self.ready.org, key)
    }

    /// The sum of a metric over its labels; `None` when `/metrics` does not name it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        sum_of_metric(
            &super::api::text(&format!("{}/metrics", self.ready.http)),
            name,
        )
    }

    /// `host:port` of the MoQT listener.
    pub fn moqt_authority(&self) -> &str {
        authority(&self.ready.moqt)
    }

    /// Panics when a secret stands in what the process has logged.
    ///
    /// The ready line is on standard output, and shows the API key by design; the log is on
    /// standard error.
    pub fn assert_log_holds_none_of(&self, secrets: &[&str]) {
        let log = self.process.stderr();
        let after_ready: String = self.process.stdout().lines().skip(1).collect();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            let found = log.contains(secret) || after_ready.contains(secret);
            // The message must not show it either.
            assert!(!found, "a secret of {} characters was logged", secret.len());
        }
    }
}

impl Ready {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let url = |name: &str| {
            let text = text(name)?;
            let text = text.trim_end_matches('/');
            let is_url = text.contains("://");
            Some(if is_url {
                text.to_owned()
            } else {
                format!("{name}://{text}")
            })
        };
        Some(Self {
            http: url("http")?,
            moqt: url("moqt")?,
            rtmp: url("rtmp")?,
            org: text("org").unwrap_or_default(),
            api_key: text("api_key"),
            cert_sha256: text("cert_sha256")?,
        })
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    after.split('/').next().unwrap_or(after)
}

/// Reads the text form of Prometheus metrics: `name{labels} value`.
fn sum_of_metric(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.chars().next()? {
            ' ' => rest,
            '{' => rest.rsplit_once('}')?.1,
            _ => return None,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

/// Copies a directory's plain files, to look at a database while its owner runs.
pub fn snapshot(from: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![from.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.push((path, bytes));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_nothing_else() {
        let text = "# TYPE a gauge\na{t=\"x\"} 2\na{t=\"}\"} 3 170000\nab 9\na 1\n";
        assert_eq!(sum_of_metric(text, "a"), Some(6.0));
        assert_eq!(sum_of_metric(text, "b"), None);
    }

    #[test]
    fn the_ready_line_is_read_whatever_stands_around_it() {
        let line = r#"{"http":"127.0.0.1:80","moqt":"moqt://127.0.0.1:4/","rtmp":"rtmp://[::1]:2/live","org":"o","cert_sha256":"aa"}"#;
        let ready = Ready::parse(line).unwrap();
        assert_eq!(ready.http, "http://127.0.0.1:80");
        assert_eq!(ready.moqt, "moqt://127.0.0.1:4");
        assert_eq!(authority(&ready.rtmp), "[::1]:2");
        assert!(ready.api_key.is_none() && Ready::parse("listening").is_none());
    }
}
