//! The relay's figures in Prometheus' text format.
//!
//! | part | what it does |
//! |---|---|
//! | [`Figures`] | everything that is shown, read in one go on the shard's thread |
//! | `families` | names, kinds and words of all metrics, and where their samples come from |
//! | `process` | what the operating system knows of this process |
//!
//! No label names a viewer, a track or an address: labels are drafts, kinds and codes, of which there
//! are few. `docs/METRICS.md` lists all of them, and a test holds it to that.

mod families;
mod process;

use mainstem_core::moqt::relay::{Denials, Metrics, Relay};
use mainstem_core::moqt::session::Tally;
use mainstem_quic::{Counters, Host};
use std::fmt::Write;

/// All figures of a relay at one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Tracks, objects and the cache.
    pub relay: Metrics,
    /// Sessions, requests and streams.
    pub tally: Tally,
    /// Refusals for want of permission.
    pub denials: Denials,
    /// Connections and packets.
    pub host: Counters,
    /// Paths.
    pub paths: mainstem_quic::Figures,
}

impl Figures {
    /// Reads them. Walks tracks and connections: for a page, not for every packet.
    pub fn of(host: &Host<Relay>) -> Self {
        Self {
            relay: host.app().metrics(),
            tally: host.app().tally().clone(),
            denials: host.app().denials().clone(),
            host: host.counters(),
            paths: host.figures(),
        }
    }
}

/// One value of a metric, with what distinguishes it from the others of its name.
pub(crate) struct Sample {
    /// What follows the metric's name: `_bucket`, `_sum`, `_count` or nothing.
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// A metric: its samples are made when the page is.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
    pub(crate) labels: &'static [&'static str],
    pub(crate) samples: fn(&Figures) -> Vec<Sample>,
}

/// Writes the figures.
pub fn render(figures: &Figures) -> String {
    let mut text = String::new();
    for family in families::all() {
        let Family {
            name, kind, help, ..
        } = family;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in (family.samples)(figures) {
            let _ = write!(text, "{name}{}", sample.suffix);
            let mut separator = '{';
            for (label, value) in &sample.labels {
                let _ = write!(text, "{separator}{label}=\"{value}\"");
                separator = ',';
            }
            let end = if sample.labels.is_empty() { "" } else { "}" };
            let _ = writeln!(text, "{end} {}", sample.value);
        }
    }
    text
}

/// The table of all metrics, for `docs/METRICS.md`.
pub fn table() -> String {
    let mut text = String::from("| metric | kind | labels | what it tells |\n|---|---|---|---|\n");
    for Family {
        name,
        kind,
        help,
        labels,
        ..
    } in families::all()
    {
        let labels = labels.join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_has_its_words_once_and_samples_of_declared_labels_only() {
        let figures = Figures::default();
        let text = render(&figures);
        let mut names = BTreeSet::new();
        for family in families::all() {
            assert!(names.insert(family.name), "{} twice", family.name);
            assert_eq!(
                family.kind == "counter",
                family.name.ends_with("_total"),
                "{}",
                family.name
            );
            let begin = format!("# TYPE {} {}\n", family.name, family.kind);
            assert!(text.contains(&begin), "{begin}");
            for sample in (family.samples)(&figures) {
                for (label, _) in sample.labels {
                    let is_bucket = label == "le";
                    assert!(is_bucket || family.labels.contains(&label), "{label}");
                }
            }
        }
        assert!(text.contains("\nmainstem_relay_upstream_subscriptions 0\n"));
    }

    #[test]
    fn sessions_and_refusals_are_told_apart_by_their_labels() {
        use mainstem_core::moqt::draft::Draft;
        use mainstem_core::moqt::message::RequestKind;
        use mainstem_core::moqt::session::tally::{OTHER, Outcome};
        use mainstem_core::transport::Origin;
        let mut figures = Figures::default();
        figures.tally.open.insert((Draft::D22, true), 3);
        let refused = Outcome::Refused(0x10);
        let key = (Origin::Peer, RequestKind::Subscribe, refused);
        figures.tally.requests.insert(key, 5);
        figures.tally.resets.insert((Origin::Local, OTHER), 2);
        let text = render(&figures);
        let has = |line: &str| text.lines().any(|of| of == line);
        assert!(has(
            "mainstem_relay_sessions{draft=\"22\",carrier=\"webtransport\"} 3"
        ));
        assert!(
            has(
                "mainstem_relay_requests_total{by=\"peer\",kind=\"subscribe\",outcome=\"DOES_NOT_EXIST\"} 5"
            ),
            "{text}"
        );
        assert!(has(
            "mainstem_relay_stream_resets_total{by=\"us\",code=\"other\"} 2"
        ));
    }

    #[test]
    fn documented_table_is_the_one_that_is_shown() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
        let document = std::fs::read_to_string(path).unwrap_or_default();
        let table = table();
        assert!(
            document.contains(&table),
            "docs/METRICS.md should hold this table:\n{table}"
        );
    }
}
