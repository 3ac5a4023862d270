//! `mainstem watch`, and the report that `--json` prints at its end.

use super::program::{Finished, Running};
use super::up::Up;
use super::{Scratch, mainstem};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Exit code of a refused credential.
pub const EXIT_AUTH_FAILED: i32 = 3;
/// Exit code of a command line that makes no sense.
pub const EXIT_USAGE: i32 = 2;

/// Time beyond `--seconds` that a viewer may take to connect and to finish its file.
const SLACK: Duration = Duration::from_secs(20);

/// A running viewer.
#[derive(Debug)]
pub struct Watch {
    process: Running,
    limit: Duration,
}

/// What to watch, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// `lv_..`
    pub input: &'a str,
    /// The playback token; empty sends none.
    pub token: &'a str,
    /// How long.
    pub seconds: u64,
    /// Where to write an MP4.
    pub output: Option<&'a Path>,
    /// Whether to come back after a lost session.
    pub reconnect: bool,
}

/// One track's part of a report.
#[derive(Clone, Debug)]
pub struct TrackReport {
    /// `video` or `audio`.
    pub kind: String,
    /// Frames that came.
    pub frames: u64,
    /// Frames known to be missing between the first and the last.
    pub gaps: u64,
    /// Objects that came again.
    pub repeats: u64,
    /// Whether the first frame was a key frame.
    pub first_is_key: bool,
}

/// What a viewer saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// The media tracks.
    pub tracks: Vec<TrackReport>,
    /// From the first byte sent to the first frame.
    pub join_ms: f64,
    /// Engine to viewer, median and 99th percentile.
    pub latency_ms: (f64, f64),
    /// Frames of all tracks.
    pub frames: u64,
    /// Missing frames of all tracks.
    pub gaps: u64,
    /// Sessions after the first.
    pub reconnects: u64,
    /// Relays that went away and were followed.
    pub moves: u64,
    /// Why the last session ended.
    pub close_reason: String,
}

impl Watch {
    /// Starts a viewer.
    pub fn start(scratch: &Scratch, up: &Up, view: View<'_>) -> Self {
        let mut url = format!("{}/playback/{}", up.ready.moqt, view.input);
        if !view.token.is_empty() {
            url = format!("{url}?tok={}", view.token);
        }
        let mut command = Command::new(mainstem());
        command.args([
            "watch",
            &url,
            "--json",
            "--seconds",
            &view.seconds.to_string(),
        ]);
        command.args(["--cert-sha256", &up.ready.cert_sha256]);
        if let Some(output) = view.output {
            command.arg("-o").arg(output);
        }
        if view.reconnect {
            command.arg("--reconnect");
        }
        Self {
            process: Running::start(scratch, "watch", &mut command),
            limit: Duration::from_secs(view.seconds) + SLACK,
        }
    }

    /// Starts a viewer of any relay, that trusts any certificate.
    pub fn start_at(scratch: &Scratch, url: &str, seconds: u64) -> Self {
        Self::start_with(scratch, url, seconds, &[])
    }

    /// The same, one that comes back after a lost session.
    pub fn start_again(scratch: &Scratch, url: &str, seconds: u64) -> Self {
        Self::start_with(scratch, url, seconds, &["--reconnect"])
    }

    fn start_with(scratch: &Scratch, url: &str, seconds: u64, more: &[&str]) -> Self {
        let mut command = Command::new(mainstem());
        let seconds_text = seconds.to_string();
        command.args(["watch", url, "--json", "--insecure"]);
        command.args(["--seconds", &seconds_text]).args(more);
        Self {
            process: Running::start(scratch, "watch", &mut command),
            limit: Duration::from_secs(seconds) + SLACK,
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Waits for its end, however it ends.
    pub fn finish(self) -> Finished {
        self.process.finish_within(self.limit)
    }

    /// Waits for its good end.
    pub fn report(self) -> Report {
        let finished = self.finish();
        finished.assert_code(0, "mainstem watch");
        Report::of(&finished)
    }
}

impl Report {
    /// Reads the last line of JSON on standard output.
    pub fn of(finished: &Finished) -> Self {
        let mut lines = finished.stdout.lines().rev();
        let value: Option<Value> = lines.find_map(|line| serde_json::from_str(line).ok());
        let value = value.expect("watch --json prints an object");
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let tracks = value["tracks"].as_array().into_iter().flatten();
        Self {
            tracks: tracks.map(TrackReport::of).collect(),
            join_ms: number(&value["join_ms"]),
            latency_ms: (
                number(&value["latency_ms"]["p50"]),
                number(&value["latency_ms"]["p99"]),
            ),
            frames: count(&value, "frames"),
            gaps: count(&value, "gaps"),
            reconnects: value["reconnects"].as_u64().unwrap_or(0),
            moves: value["moves"].as_u64().unwrap_or(0),
            close_reason: value["close"]["reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// The one track of this kind.
    ///
    /// # Panics
    ///
    /// When there is none, or more than one.
    pub fn track(&self, kind: &str) -> &TrackReport {
        let mut tracks = self.tracks.iter().filter(|track| track.kind == kind);
        let track = tracks.next();
        assert!(tracks.next().is_none(), "expected one {kind} track");
        assert!(
            track.is_some(),
            "expected a {kind} track in {:?}",
            self.tracks
        );
        track.expect("was just found")
    }
}

impl TrackReport {
    fn of(value: &Value) -> Self {
        Self {
            kind: value["kind"].as_str().unwrap_or_default().to_owned(),
            frames: count(value, "frames"),
            gaps: count(value, "gaps"),
            repeats: count(value, "repeats"),
            first_is_key: value["first_is_key"].as_bool().unwrap_or(false),
        }
    }
}

fn count(value: &Value, name: &str) -> u64 {
    let count = value[name].as_u64();
    assert!(count.is_some(), "the report has no count {name:?}");
    count.unwrap_or(0)
}
