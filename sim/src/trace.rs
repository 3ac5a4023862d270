//! [`Trace`]: what happened in a run, as one number, and in words where they are asked for.
//!
//! Every event of the world goes into the hash in its order: the virtual time, the node, what it was, and
//! all bytes of a packet. Two runs are the same when their hashes are. The hash is for telling runs
//! apart, not for adversaries: a multiplicative fold of 64-bit words into 128 bits of state.
//!
//! With [`Recording::Digests`] the state after each event is kept, so that the first event in which two
//! runs differ is found ([`first_difference`]); [`Recording::Transcript`] keeps lines for people.

use crate::plan::NodeId;
use mainstem_core::time::Instant;
use std::fmt::Write;

/// Lines of a transcript at most; the run goes on without them.
pub const LINES_MAX: usize = 2_000_000;

/// What a trace keeps beside its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Nothing.
    #[default]
    Nothing,
    /// The state after each event: 8 bytes each.
    Digests,
    /// A line for each event that people want to read.
    Transcript,
    /// A line for each event between these numbers, packets included.
    Window {
        /// The first.
        from: u64,
        /// One past the last.
        until: u64,
    },
}

/// A hash under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    one: u64,
    other: u64,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            one: 0x243f_6a88_85a3_08d3,
            other: 0x1319_8a2e_0370_7344,
        }
    }
}

impl Fold {
    /// Puts a number in.
    pub fn number(&mut self, number: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.one ^ number).wrapping_mul(ODD);
        self.one = mixed.rotate_left(29) ^ self.other;
        self.other = self
            .other
            .wrapping_add(mixed)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    /// Puts bytes in, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut full = [0; 8];
            full.copy_from_slice(word);
            self.number(u64::from_le_bytes(full));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(words.remainder()) {
            *to = *from;
        }
        self.number(u64::from_le_bytes(last));
    }

    /// What it comes to so far.
    pub fn value(&self) -> u64 {
        let mut end = *self;
        end.number(0);
        end.number(0);
        end.one ^ end.other.rotate_left(32)
    }
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    fold: Fold,
    events: u64,
    recording: Recording,
    digests: Vec<u64>,
    lines: Vec<String>,
}

/// A line of a transcript.
pub(crate) enum Line<'a> {
    /// Also in a transcript for people.
    Told(&'a dyn std::fmt::Display),
    /// Only in a window.
    Detail(&'a dyn std::fmt::Display),
}

impl Trace {
    /// An empty trace that keeps what `recording` says.
    pub fn new(recording: Recording) -> Self {
        Self {
            recording,
            ..Self::default()
        }
    }

    /// Puts an event in. `fill` adds what it consists of.
    pub(crate) fn event(
        &mut self,
        now: Instant,
        node: NodeId,
        line: Line<'_>,
        fill: impl FnOnce(&mut Fold),
    ) {
        self.fold.number(now.as_nanos());
        self.fold.number(u64::from(node.0));
        fill(&mut self.fold);
        let number = self.events;
        self.events += 1;
        let (is_told, text) = match line {
            Line::Told(text) => (true, text),
            Line::Detail(text) => (false, text),
        };
        match self.recording {
            Recording::Digests => self.digests.push(self.fold.value()),
            Recording::Transcript if is_told => self.line(now, node, text),
            Recording::Window { from, until } if (from..until).contains(&number) => {
                self.line(now, node, text);
            }
            Recording::Nothing | Recording::Transcript | Recording::Window { .. } => {}
        }
    }

    fn line(&mut self, now: Instant, node: NodeId, text: &dyn std::fmt::Display) {
        if self.lines.len() < LINES_MAX {
            let micros = now.as_nanos() / 1_000;
            let mut line = String::new();
            // Writing to a string does not fail.
            let _ = write!(
                line,
                "{:>6}.{:06} {node:<6} {text}",
                micros / 1_000_000,
                micros % 1_000_000
            );
            self.lines.push(line);
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.fold.value()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The state after each event, where it is kept.
    pub fn digests(&self) -> &[u64] {
        &self.digests
    }

    /// The lines, where they are kept.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The number of the first event in which two runs differ.
pub fn first_difference(one: &[u64], other: &[u64]) -> Option<u64> {
    let differs = one.iter().zip(other).position(|(a, b)| a != b);
    let shorter = (one.len() != other.len()).then(|| one.len().min(other.len()));
    let at = differs.or(shorter)?;
    u64::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_content_change_the_hash() {
        let of = |parts: &[&[u8]]| {
            let mut fold = Fold::default();
            for part in parts {
                fold.bytes(part);
            }
            fold.value()
        };
        let all = [
            of(&[b"a", b"b"]),
            of(&[b"b", b"a"]),
            of(&[b"ab"]),
            of(&[b"ab\0"]),
            of(&[b"ab", b""]),
            of(&[b"12345678", b"9"]),
            of(&[b"123456789"]),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first_difference(&[1, 2, 3], &[1, 9, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
    }
}
