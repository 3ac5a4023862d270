//! [`Streams`]: all chance of a world, from one seed.
//!
//! Each purpose draws from a ChaCha8 stream of its own, so that more draws for one (a new fault, a
//! longer object) leave every other where it was. [`Random`] is one of these streams.
//!
//! Source: RFC 8439 for the function; streams are its nonce.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a stream of chance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What a generated plan holds.
    Plan,
    /// The network from one node to another.
    Link {
        /// Sender.
        from: u16,
        /// Receiver.
        to: u16,
    },
    /// Disks.
    Disk(u16),
    /// Wall clocks.
    Clock(u16),
    /// What is published.
    Workload(u16),
    /// A node's own randomness in one of its lives: QUIC, TLS, pauses.
    Node {
        /// Which node.
        node: u16,
        /// How often it was started before.
        life: u16,
    },
    /// TLS of a node in one of its lives.
    Tls {
        /// Which node.
        node: u16,
        /// How often it was started before.
        life: u16,
    },
    /// What a hostile peer does.
    Hostile(u16),
    /// Which streams of a node end in the middle, in one of its lives.
    Meddle {
        /// Which node.
        node: u16,
        /// How often it was started before.
        life: u16,
    },
}

impl Purpose {
    /// The stream's number: the purpose above, what it is about below.
    fn stream(self) -> u64 {
        let (label, high, low) = match self {
            Self::Plan => (1, 0, 0),
            Self::Link { from, to } => (2, from, to),
            Self::Disk(node) => (3, 0, node),
            Self::Clock(node) => (4, 0, node),
            Self::Workload(track) => (5, 0, track),
            Self::Node { node, life } => (6, life, node),
            Self::Tls { node, life } => (7, life, node),
            Self::Hostile(node) => (8, 0, node),
            Self::Meddle { node, life } => (9, life, node),
        };
        (label << 32) | (u64::from(high) << 16) | u64::from(low)
    }
}

/// Makes the streams of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream for a purpose, from its beginning.
    pub fn stream(self, purpose: Purpose) -> Random {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(purpose.stream());
        Random(generator)
    }
}

/// One stream of chance.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a product: even enough, without division.
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low);
        low.saturating_add(self.below(span.saturating_add(1)))
    }

    /// True in `ppm` of a million cases. Draws also when that is none or all, so that a changed
    /// rate does not shift what comes after.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.below(length)).unwrap_or_default();
        choices.get(index)
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// 32 bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_and_repeatable() {
        let streams = Streams::new(7);
        let draw = |purpose| {
            let mut random = streams.stream(purpose);
            [random.bits(), random.bits()]
        };
        let link = Purpose::Link { from: 1, to: 2 };
        let back = Purpose::Link { from: 2, to: 1 };
        assert_eq!(draw(link), draw(link));
        assert_ne!(draw(link), draw(back));
        assert_ne!(draw(Purpose::Plan), draw(Purpose::Disk(0)));
        let other = Streams::new(8).stream(link).bits();
        assert_ne!(draw(link)[0], other);
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut random = Streams::new(1).stream(Purpose::Plan);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((5..=9).contains(&random.between(5, 9)));
            assert!(!random.chance(0));
            assert!(random.chance(1_000_000));
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}
