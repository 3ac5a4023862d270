//! The relay's figures in Prometheus' text format.

use mainstem_core::moqt::relay::Metrics;
use std::fmt::Write;

/// A figure: name behind `mainstem_relay_`, kind, help, and where it stands.
type Figure = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Metrics) -> u64,
);

const FIGURES: [Figure; 12] = [
    ("sessions", "gauge", "MoQT sessions open", |m| {
        m.sessions as u64
    }),
    ("tracks", "gauge", "Tracks known", |m| m.tracks as u64),
    ("namespaces", "gauge", "Namespaces announced", |m| {
        m.namespaces as u64
    }),
    (
        "upstream_subscriptions",
        "gauge",
        "Subscriptions to publishers, one per track",
        |m| m.upstream_subscriptions as u64,
    ),
    (
        "downstream_subscriptions",
        "gauge",
        "Subscriptions of viewers",
        |m| m.downstream_subscriptions as u64,
    ),
    ("cache_bytes", "gauge", "Bytes of retained groups", |m| {
        m.cache_bytes as u64
    }),
    (
        "objects_received_total",
        "counter",
        "Objects from publishers, duplicates left out",
        |m| m.objects_received,
    ),
    (
        "received_bytes_total",
        "counter",
        "Payload bytes from publishers",
        |m| m.bytes_received,
    ),
    (
        "objects_sent_total",
        "counter",
        "Objects handed to viewers' streams",
        |m| m.objects_sent,
    ),
    (
        "sent_bytes_total",
        "counter",
        "Payload bytes handed to viewers' streams",
        |m| m.bytes_sent,
    ),
    (
        "groups_dropped_total",
        "counter",
        "Groups that slow viewers lost",
        |m| m.groups_dropped,
    ),
    (
        "sessions_denied_total",
        "counter",
        "Sessions ended for want of permission",
        |m| m.sessions_denied,
    ),
];

/// Writes the figures. No label names a viewer or a stream.
pub fn render(metrics: &Metrics) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in FIGURES {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP mainstem_relay_{name} {help}\n# TYPE mainstem_relay_{name} {kind}\n\
             mainstem_relay_{name} {}",
            value(metrics)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_help_and_type() {
        let metrics = Metrics {
            upstream_subscriptions: 3,
            ..Metrics::default()
        };
        let text = render(&metrics);
        assert!(text.contains("\nmainstem_relay_upstream_subscriptions 3\n"));
        let lines = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
        assert_eq!(lines("# HELP"), 12);
        assert_eq!(lines("# TYPE"), 12);
        assert_eq!(lines("mainstem_relay_"), 12);
    }
}
