//! The result of a viewing, as a table for people and as JSON for machines.

use super::tally::Tally;
use serde_json::{Value, json};
use std::time::Duration;

/// How a viewing ended.
#[derive(Clone, Debug)]
pub(super) struct Close {
    /// `complete`, `closed_by_caller`, `auth_failed` or `network`.
    pub reason: &'static str,
    /// In words; empty when there is nothing to add.
    pub detail: String,
}

/// One JSON object.
pub(super) fn to_json(tally: &Tally, seconds: Duration, close: &Close) -> Value {
    let tracks: Vec<Value> = tally
        .tracks()
        .iter()
        .map(|(name, track)| {
            json!({
                "name": name,
                "kind": track.kind,
                "codec": track.codec,
                "frames": track.frames,
                "bytes": track.bytes,
                "groups": track.groups,
                "gaps": track.gaps,
                "repeats": track.repeats,
                "first_is_key": track.first_is_key,
            })
        })
        .collect();
    let latency = tally.latency().map(|latency| {
        json!({
            "p50": latency.p50,
            "p99": latency.p99,
            "max": latency.max,
            "samples": latency.samples,
        })
    });
    json!({
        "tracks": tracks,
        "join_ms": tally.join.map(|join| join.as_secs_f64() * 1000.0),
        "latency_ms": latency,
        "frames": tally.frames(),
        "bytes": tally.bytes(),
        "gaps": tally.gaps(),
        "seconds": seconds.as_secs_f64(),
        "reconnects": tally.reconnects,
        "moves": tally.moves,
        "close": { "reason": close.reason, "detail": close.detail },
    })
}

/// A table.
pub(super) fn to_table(tally: &Tally, seconds: Duration, close: &Close) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "{:<16} {:<6} {:<14} {:>8} {:>12} {:>7} {:>5}  {}\n",
        "track", "kind", "codec", "frames", "bytes", "groups", "gaps", "starts on"
    );
    for (name, track) in tally.tracks() {
        let start = if track.first_is_key {
            "a key frame"
        } else {
            "-"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<16} {:<6} {:<14} {:>8} {:>12} {:>7} {:>5}  {start}",
            track.kind, track.codec, track.frames, track.bytes, track.groups, track.gaps
        );
    }
    let join = tally.join.map_or("never".to_owned(), |join| {
        format!("{} ms", join.as_millis())
    });
    let latency = tally.latency().map_or("not known".to_owned(), |latency| {
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms over {} chunks",
            latency.p50, latency.p99, latency.max, latency.samples
        )
    });
    let _ = write!(
        text,
        "joined    {join}\nlatency   {latency}\nwatched   {:.1} s, {} reconnects\nended     {} {}",
        seconds.as_secs_f64(),
        tally.reconnects,
        close.reason,
        close.detail
    );
    text
}
