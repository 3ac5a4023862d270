//! The engine's figures, counted without locks and written in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the engine does and has done. No figure names an input.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Encoder connections open.
    pub connections: AtomicU64,
    /// Encoder connections accepted.
    pub connections_total: AtomicU64,
    /// Connections refused before a word was said: too many.
    pub connections_refused_total: AtomicU64,
    /// Publish requests refused: wrong key, unknown input, input in use, no control plane.
    pub publishes_refused_total: AtomicU64,
    /// Publish requests accepted.
    pub publishes_total: AtomicU64,
    /// Encoders publishing.
    pub encoders: AtomicU64,
    /// Bytes received from encoders.
    pub received_bytes_total: AtomicU64,
    /// Frames received from encoders.
    pub frames_total: AtomicU64,
    /// Chunks published.
    pub chunks_total: AtomicU64,
    /// Payload bytes of those.
    pub chunk_bytes_total: AtomicU64,
    /// Frames that were not packaged: before the first key frame, without a configuration ...
    pub frames_dropped_total: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(figure: &AtomicU64, count: u64) {
        figure.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sub(figure: &AtomicU64, count: u64) {
        figure.fetch_sub(count, Ordering::Relaxed);
    }

    /// All figures as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, figure) in self.rows() {
            let value = figure.load(Ordering::Relaxed);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# HELP mainstem_engine_{name} {help}\n# TYPE mainstem_engine_{name} {kind}\n\
                 mainstem_engine_{name} {value}"
            );
        }
        text
    }

    fn rows(&self) -> [Row<'_>; 11] {
        let gauge = |name, help, figure| (name, "gauge", help, figure);
        let counter = |name, help, figure| (name, "counter", help, figure);
        [
            gauge("connections", "Encoder connections open", &self.connections),
            counter(
                "connections_total",
                "Encoder connections accepted",
                &self.connections_total,
            ),
            counter(
                "connections_refused_total",
                "Connections refused for their number",
                &self.connections_refused_total,
            ),
            counter(
                "publishes_refused_total",
                "Publish requests refused",
                &self.publishes_refused_total,
            ),
            counter(
                "publishes_total",
                "Publish requests accepted",
                &self.publishes_total,
            ),
            gauge("encoders", "Encoders publishing", &self.encoders),
            counter(
                "received_bytes_total",
                "Bytes received from encoders",
                &self.received_bytes_total,
            ),
            counter(
                "frames_total",
                "Frames received from encoders",
                &self.frames_total,
            ),
            counter("chunks_total", "Chunks published", &self.chunks_total),
            counter(
                "chunk_bytes_total",
                "Payload bytes of published chunks",
                &self.chunk_bytes_total,
            ),
            counter(
                "frames_dropped_total",
                "Frames that were not packaged",
                &self.frames_dropped_total,
            ),
        ]
    }
}

/// Name, kind, words and value of a figure.
type Row<'a> = (&'static str, &'static str, &'static str, &'a AtomicU64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_help_and_type() {
        let metrics = Metrics::default();
        Metrics::add(&metrics.frames_total, 3);
        let text = metrics.render();
        assert!(
            text.contains("\nmainstem_engine_frames_total 3\n"),
            "{text}"
        );
        let lines = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
        assert_eq!(
            (lines("# HELP"), lines("# TYPE"), lines("mainstem_")),
            (11, 11, 11)
        );
    }
}
