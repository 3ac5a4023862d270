//! What a process uses, from `/proc` and its metrics page, and whether it grows.
//!
//! Growth is the mean over the last quarter of the samples less that over the first: a steady state
//! that swings has none. The slope is the least-squares line through all samples.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Clock ticks a second in `/proc/<pid>/stat`, on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long the metrics page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a metrics page that are read.
const PAGE_MAX: u64 = 4 << 20;

/// What a process has used so far, and uses now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_mb: f64,
    /// Threads.
    pub threads: f64,
    /// Open file descriptors; not a number when they may not be read.
    pub fds: f64,
}

impl Usage {
    /// Reads it.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(folder.join("stat")).context("no such relay process")?;
        // The name in parentheses may hold spaces; what follows it does not.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        let cpu = ticks(12)
            .zip(ticks(13))
            .map(|(user, system)| (user + system) / TICKS_PER_SECOND);
        let status = std::fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().split(' ').next()?.parse::<f64>().ok()
        };
        let fds = std::fs::read_dir(folder.join("fd")).map_or(f64::NAN, |entries| {
            crate::as_f64(u64::try_from(entries.count()).unwrap_or(u64::MAX))
        });
        Ok(Self {
            cpu_seconds: cpu.context("unreadable /proc/<pid>/stat")?,
            rss_mb: field("VmRSS:").unwrap_or(f64::NAN) / 1024.0,
            threads: field("Threads:").unwrap_or(f64::NAN),
            fds,
        })
    }
}

/// Reads a metrics page in Prometheus' text format: the sum of each metric over its labels. `url` is
/// `http://host:port/path`.
pub fn scrape(url: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let rest = url
        .strip_prefix("http://")
        .context("expected http:// to read metrics from")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).context("the metrics page")?;
    stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )?;
    let mut page = String::new();
    stream.take(PAGE_MAX).read_to_string(&mut page)?;
    Ok(parse_page(&page))
}

fn parse_page(page: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let name = name.split('{').next().unwrap_or_default();
        *sums.entry(name.to_owned()).or_insert(0.0) += value;
    }
    sums
}

/// How a figure moved.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Mean over the first quarter of the samples.
    pub first: f64,
    /// Mean over the last quarter.
    pub last: f64,
    /// Units a minute, by least squares.
    pub per_minute: f64,
}

impl Growth {
    /// Of samples at these seconds. Samples that are no numbers are left out; `None` when fewer than
    /// four are left.
    pub fn of(samples: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let samples: Vec<(f64, f64)> = samples
            .into_iter()
            .filter(|(_, value)| value.is_finite())
            .collect();
        let quarter = samples.len() / 4;
        if quarter == 0 {
            return None;
        }
        let mean = |part: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
            part.iter().map(of).sum::<f64>() / crate::as_f64(part.len() as u64)
        };
        let value = |sample: &(f64, f64)| sample.1;
        let time = |sample: &(f64, f64)| sample.0;
        let (mean_time, mean_value) = (mean(&samples, time), mean(&samples, value));
        let (mut above, mut below) = (0.0, 0.0);
        for (at, value) in &samples {
            above += (at - mean_time) * (value - mean_value);
            below += (at - mean_time) * (at - mean_time);
        }
        Some(Self {
            first: mean(samples.get(..quarter)?, value),
            last: mean(samples.get(samples.len() - quarter..)?, value),
            per_minute: if below > 0.0 {
                above / below * 60.0
            } else {
                0.0
            },
        })
    }

    /// Last less first.
    pub fn amount(&self) -> f64 {
        self.last - self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_a_swing_is_none() {
        let line = (0..100).map(|i| (f64::from(i), f64::from(i) * 2.0));
        let growth = Growth::of(line).unwrap();
        assert!((growth.per_minute - 120.0).abs() < 1e-6);
        assert!(growth.amount() > 100.0);
        let swing = (0..100).map(|i| (f64::from(i), f64::from(i % 2)));
        assert!(Growth::of(swing).unwrap().amount().abs() < 0.1);
        assert!(Growth::of([(0.0, 1.0)]).is_none());
    }

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# HELP a x\na{draft=\"18\"} 1\na{draft=\"22\"} 2\nb 7\n";
        let sums = parse_page(page);
        assert_eq!(sums.get("a").copied(), Some(3.0));
        assert_eq!(sums.get("b").copied(), Some(7.0));
    }
}
