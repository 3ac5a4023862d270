//! What the run showed: samples of the relay, what the viewers got, and what is wrong with it.

use crate::Arguments;
use crate::crowd::Tally;
use mainstem_benches::as_f64;
use mainstem_benches::target::Target;
use mainstem_benches::usage::{Growth, Usage};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// Metrics of the relay that are looked at for growth, for the table only.
const WATCHED: [&str; 4] = [
    "mainstem_relay_sessions",
    "mainstem_relay_downstream_subscriptions",
    "mainstem_relay_tracks",
    "mainstem_relay_cache_bytes",
];

/// One look at the relay.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    second: f64,
    usage: Usage,
    metrics: BTreeMap<String, f64>,
}

impl Sample {
    pub(crate) fn take(start: Instant, target: &Target) -> anyhow::Result<Self> {
        Ok(Self {
            second: start.elapsed().as_secs_f64(),
            usage: target.usage()?,
            metrics: target.scrape(),
        })
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) tally: Tally,
    /// Sessions and subscriptions of viewers that the relay still had after everybody left.
    pub(crate) sessions_left: Option<f64>,
    pub(crate) subscriptions_left: Option<f64>,
}

impl Report {
    fn growth(&self, of: impl Fn(&Sample) -> f64) -> Option<Growth> {
        Growth::of(
            self.samples
                .iter()
                .map(|sample| (sample.second, of(sample))),
        )
    }

    fn growths(&self) -> Vec<(String, Option<Growth>)> {
        let mut growths = vec![
            ("rss MB".to_owned(), self.growth(|s| s.usage.rss_mb)),
            ("threads".to_owned(), self.growth(|s| s.usage.threads)),
            ("descriptors".to_owned(), self.growth(|s| s.usage.fds)),
        ];
        for name in WATCHED {
            let growth = self.growth(|s| s.metrics.get(name).copied().unwrap_or(f64::NAN));
            growths.push((name.to_owned(), growth));
        }
        growths
    }

    fn delivered(&self) -> f64 {
        let verdict = self.tally.verdict;
        as_f64(verdict.arrived) / as_f64(verdict.due.max(1))
    }

    /// What is not as it should be, in words.
    pub(crate) fn faults(&self, arguments: &Arguments) -> Vec<String> {
        let mut faults = Vec::new();
        let bounds = [
            (
                "memory in MB",
                self.growth(|s| s.usage.rss_mb),
                arguments.rss_growth_max_mb,
            ),
            (
                "threads",
                self.growth(|s| s.usage.threads),
                arguments.tasks_growth_max,
            ),
            (
                "descriptors",
                self.growth(|s| s.usage.fds),
                arguments.fds_growth_max,
            ),
        ];
        for (what, growth, max) in bounds {
            match growth {
                Some(growth) if growth.amount() > max => {
                    faults.push(format!(
                        "{what} grew by {:.1}, bound {max}",
                        growth.amount()
                    ));
                }
                Some(_) => {}
                None => faults.push(format!("too few samples of {what} to tell growth")),
            }
        }
        let tally = &self.tally;
        if tally.verdict.repeated > 0 {
            faults.push(format!("{} objects came again", tally.verdict.repeated));
        }
        if tally.verdict.skipped > 0 {
            faults.push(format!(
                "{} objects were left out within groups",
                tally.verdict.skipped
            ));
        }
        if tally.verdict.due == 0 {
            faults.push("nothing was due to anybody".to_owned());
        } else if self.delivered() < arguments.delivered_min {
            faults.push(format!("{:.3} % were delivered", self.delivered() * 100.0));
        }
        for (cause, count) in &tally.failures {
            faults.push(format!("{count} x {cause}"));
        }
        let left = [
            ("sessions", self.sessions_left),
            ("subscriptions", self.subscriptions_left),
        ];
        for (what, count) in left {
            if let Some(count) = count.filter(|count| *count > 0.0) {
                faults.push(format!("{count} {what} are left after everybody went"));
            }
        }
        faults
    }

    pub(crate) fn print(&self, arguments: &Arguments, faults: &[String]) {
        if !arguments.json {
            self.print_table(arguments, faults);
        }
        println!("{}", self.json(arguments, faults));
    }

    fn print_table(&self, arguments: &Arguments, faults: &[String]) {
        let tally = &self.tally;
        println!(
            "{:<42} {:>12} {:>12} {:>10} {:>12}",
            "figure", "first", "last", "growth", "a minute"
        );
        for (name, growth) in self.growths() {
            if let Some(growth) = growth {
                println!(
                    "{name:<42} {:>12.1} {:>12.1} {:>+10.2} {:>+12.3}",
                    growth.first,
                    growth.last,
                    growth.amount(),
                    growth.per_minute
                );
            }
        }
        println!(
            "joins {} ({:.2}/s), leaves {}, vanishes {}, moves {}, stalls {} (recovered {}, ended {})",
            tally.joins,
            as_f64(tally.joins) / self.seconds,
            tally.leaves,
            tally.vanishes,
            tally.moves,
            tally.stalls,
            tally.recoveries,
            tally.stalled_ended.values().sum::<u64>(),
        );
        println!(
            "objects {}, due to healthy viewers {}, delivered {:.4} %, repeated {}, skipped {}, p50 {:.1} ms, p99 {:.1} ms, cpu {:.1} %",
            tally.objects,
            tally.verdict.due,
            self.delivered() * 100.0,
            tally.verdict.repeated,
            tally.verdict.skipped,
            tally.delays.quantile_ms(0.5),
            tally.delays.quantile_ms(0.99),
            self.cpu_percent(),
        );
        for (cause, count) in &tally.stalled_ended {
            println!("ended while stalled: {count} x {cause}");
        }
        if faults.is_empty() {
            println!(
                "good: {:.1} min, seed {}",
                self.seconds / 60.0,
                arguments.seed
            );
        }
        for fault in faults {
            println!("FAULT: {fault}");
        }
    }

    fn cpu_percent(&self) -> f64 {
        let ends = self.samples.first().zip(self.samples.last());
        ends.map_or(f64::NAN, |(first, last)| {
            let seconds = (last.second - first.second).max(f64::EPSILON);
            (last.usage.cpu_seconds - first.usage.cpu_seconds) / seconds * 100.0
        })
    }

    fn json(&self, arguments: &Arguments, faults: &[String]) -> Value {
        let tally = &self.tally;
        let growths: Map<String, Value> = self
            .growths()
            .into_iter()
            .filter_map(|(name, growth)| {
                let growth = growth?;
                let value = json!({
                    "first": growth.first,
                    "last": growth.last,
                    "growth": growth.amount(),
                    "per_minute": growth.per_minute,
                });
                Some((name, value))
            })
            .collect();
        let samples: Vec<Value> = self
            .samples
            .iter()
            .map(|s| json!([s.second, s.usage.rss_mb, s.usage.threads, s.usage.fds]))
            .collect();
        json!({
            "seed": arguments.seed,
            "seconds": self.seconds,
            "viewers": arguments.viewers,
            "growth": growths,
            "joins": tally.joins,
            "leaves": tally.leaves,
            "vanishes": tally.vanishes,
            "moves": tally.moves,
            "stalls": tally.stalls,
            "recoveries": tally.recoveries,
            "stalled_ended": tally.stalled_ended,
            "failures": tally.failures,
            "objects": tally.objects,
            "due": tally.verdict.due,
            "delivered": self.delivered(),
            "repeated": tally.verdict.repeated,
            "skipped": tally.verdict.skipped,
            "delay_ms": {
                "p50": tally.delays.quantile_ms(0.5),
                "p99": tally.delays.quantile_ms(0.99),
                "max": tally.delays.quantile_ms(1.0),
            },
            "cpu_percent": self.cpu_percent(),
            "sessions_left": self.sessions_left,
            "subscriptions_left": self.subscriptions_left,
            "samples": samples,
            "faults": faults,
        })
    }
}
