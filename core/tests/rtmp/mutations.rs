//! Hostile sessions: captures of real encoders, damaged.
//!
//! `MAINSTEM_MUTATIONS` sets how many; each is a function of its number.

use super::{FFMPEG_5, FFMPEG_9, replay};
use mainstem_core::rtmp::Limits;
use mainstem_core::rtmp::server::{Event, Output};

const MUTATIONS: u64 = 20_000;
/// The handshake is not worth mutating each time: most of it is not read.
const HANDSHAKE: usize = 1 + 2 * 1536;

/// xorshift64*: a mutation is named by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(word).unwrap() % bound.max(1)
    }

    /// Somewhere in the capture, more often in its beginning, where the commands are.
    fn place(&mut self, len: usize) -> usize {
        let skips = len > HANDSHAKE && self.below(50) > 0;
        let start = if skips { HANDSHAKE } else { 0 };
        let span = len - start;
        let span = if self.below(2) == 0 {
            span.min(1500)
        } else {
            span
        };
        start + self.below(span)
    }
}

fn mutated(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let capture = if dice.below(2) == 0 {
        FFMPEG_5
    } else {
        FFMPEG_9
    };
    let mut bytes = capture.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.place(bytes.len());
        let run = (1 + dice.below(400)).min(bytes.len() - at);
        match dice.below(7) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + run)),
            5 => {
                let copy = bytes[at..at + run].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let other = dice.place(bytes.len() - run);
                let moved: Vec<u8> = bytes.drain(at..at + run).collect();
                bytes.splice(other..other, moved);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// A session that ends, once, with a reason, and within its limits.
fn check(seed: u64, limits: Limits) -> bool {
    let bytes = mutated(seed);
    let outputs = replay(limits, bytes.chunks(1460));
    let closes = outputs
        .iter()
        .filter(|output| matches!(output, Output::Close { .. }));
    assert_eq!(closes.count(), 1, "mutation {seed}");
    assert!(
        matches!(outputs.last(), Some(Output::Close { .. })),
        "mutation {seed}"
    );
    // Media is a part of what was sent, and the answers are short.
    let (mut media, mut written) = (0, 0);
    for output in &outputs {
        match output {
            Output::Event(Event::Video { data, .. } | Event::Audio { data, .. }) => {
                media += data.len();
            }
            Output::Write(bytes) => written += bytes.len(),
            _ => {}
        }
    }
    assert!(media <= bytes.len(), "mutation {seed}");
    assert!(written <= 5000 + 10 * bytes.len(), "mutation {seed}");
    media > 0
}

#[test]
fn mutated_sessions_end_with_a_reason_and_within_limits() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test reads how much of it is wanted"
    )]
    let count = std::env::var("MAINSTEM_MUTATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(MUTATIONS);
    let tight = Limits {
        message_bytes_max: 2000,
        chunk_streams_max: 5,
        unfinished_bytes_max: 2500,
        pending_write_bytes_max: 4000,
        pending_outputs_max: 64,
        ..Limits::default()
    };
    let with_media = (0..count)
        .filter(|seed| {
            let limits = if seed % 8 == 0 {
                tight
            } else {
                Limits::default()
            };
            check(*seed, limits)
        })
        .count();
    // Most mutations get past the commands: otherwise this would prove little.
    assert!(u64::try_from(with_media).unwrap() * 4 > count);
}
