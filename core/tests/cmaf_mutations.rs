//! Damaged fMP4: no panic, no hang, no memory beyond what is stated.
//!
//! `MAINSTEM_MUTATIONS` sets how many damaged files are read (default 2,000; the gate uses 20,000).
//! The only test of its binary, because it measures the peak of the whole process.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's way of speaking"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "a die of 256 sides fits a byte"
)]

use bytes::Bytes;
use mainstem_core::cmaf::rules::Checker;
use mainstem_core::cmaf::{ChunkSize, Event, Init, Limits, Muxer, Reader, Splitter, progressive};
use peak_alloc::PeakAlloc;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const FILES: [&[u8]; 8] = [
    include_bytes!("media/h264_aac.mp4"),
    include_bytes!("media/h264_aac_signed.mp4"),
    include_bytes!("media/h264_opus.mp4"),
    include_bytes!("media/hevc_opus.mp4"),
    include_bytes!("media/av1.mp4"),
    include_bytes!("media/flac.mp4"),
    include_bytes!("media/progressive.mp4"),
    include_bytes!("media/progressive_moov_last.mp4"),
];

/// Most memory that one damaged file of at most 40 kB may take while it is read, split and muxed.
/// A run that claims 10,000 samples of no bytes, the most allowed, becomes as many chunks of about
/// 500 bytes; all else is of the order of the file.
const PEAK_BYTES_MAX: usize = 8 << 20;
/// Longest that one may take, on a slow machine that does other things too.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A small generator of its own, so that a seed means the same file for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Damage that favours the boxes: sizes, counts, kinds; and cuts, copies, removals.
fn damage(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    const WORDS: [u32; 8] = [
        0,
        1,
        7,
        8,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff0,
        0xffff_ffff,
    ];
    const KINDS: &[u8] = b"moovmoofmdattraftruntfhdtfdtftypmvextrexsidxuuidstsdstblfreeprft";
    let mut bytes = file.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = if dice.roll(4) == 0 {
            dice.roll(bytes.len())
        } else {
            // Near the name of some box.
            let from = dice.roll(bytes.len());
            let name = bytes[from..]
                .windows(4)
                .position(|w| w.iter().all(u8::is_ascii_lowercase));
            (from + name.unwrap_or(0) + dice.roll(40))
                .saturating_sub(8)
                .min(bytes.len() - 1)
        };
        let end = (at + 4).min(bytes.len());
        match dice.roll(8) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 | 3 => {
                let word = WORDS[dice.roll(WORDS.len())].to_be_bytes();
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
            4 => {
                let kind = dice.roll(KINDS.len() / 4) * 4;
                bytes[at..end].copy_from_slice(&KINDS[kind..kind + end - at]);
            }
            5 => bytes.truncate(at.max(1)),
            6 => {
                let len = dice.roll(200).min(bytes.len() - at);
                let copy = bytes[at..at + len].to_vec();
                let to = dice.roll(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let len = dice.roll(60).min(bytes.len() - at);
                if len < bytes.len() {
                    bytes.drain(at..at + len);
                }
            }
        }
    }
    bytes
}

/// Reads a file as a publisher and a viewer would; gives the number of fragments found.
fn read(file: &Bytes, step: usize) -> usize {
    let mut reader = Reader::new(Limits::default());
    let mut current: Option<(Splitter, Muxer, Checker)> = None;
    let mut fragments = 0;
    let mut at = 0;
    loop {
        let end = (at + step).min(file.len());
        if reader.push(file.slice(at..end)).is_err() {
            return fragments;
        }
        if at == file.len() {
            reader.finish();
        }
        loop {
            match reader.poll() {
                Err(_) => return fragments,
                Ok(None) => break,
                Ok(Some(Event::Init(init))) => current = follow(&init),
                Ok(Some(Event::Fragment(fragment))) => {
                    fragments += 1;
                    let Some((splitter, muxer, checker)) = &mut current else {
                        continue;
                    };
                    for chunk in splitter.split(&fragment).unwrap_or_default() {
                        checker.object(&chunk.payload);
                        let _ = muxer.push(0, &chunk.payload);
                        while muxer.poll().is_some() {}
                    }
                }
            }
        }
        if at == file.len() {
            return fragments;
        }
        at = end;
    }
}

/// Walks an ordinary file; gives the number of samples found.
fn walk(file: &Bytes) -> usize {
    let Ok(mut source) = progressive::Source::from_bytes(file) else {
        return 0;
    };
    let mut samples = 0;
    while let Ok(Some(_)) = source.next_sample() {
        samples += 1;
    }
    samples
}

fn follow(init: &Arc<Init>) -> Option<(Splitter, Muxer, Checker)> {
    let splitter = Splitter::new(init, ChunkSize::Frame);
    let muxer = Muxer::new(&[Arc::clone(init)], Limits::default()).ok()?;
    Some((splitter, muxer, Checker::new(&init.raw.clone().into())))
}

#[test]
fn damaged_files_cost_neither_a_panic_nor_time_nor_memory() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how much to test is for the caller to say"
    )]
    let count = std::env::var("MAINSTEM_MUTATIONS").map_or(2_000, |count| count.parse().unwrap());
    let (mut worst_peak, mut worst_time) = (0, Duration::ZERO);
    let (mut fragments, mut samples) = (0, 0);
    for seed in 1..=count {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let original = FILES[dice.roll(FILES.len())];
        let file = Bytes::from(damage(original, &mut dice));
        let step = [file.len().max(1), 1 + dice.roll(3000)][dice.roll(2)];
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        #[expect(
            clippy::disallowed_methods,
            reason = "the time that it takes is what is tested"
        )]
        let began = Instant::now();
        fragments += read(&file, step);
        samples += walk(&file);
        let time = began.elapsed();
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(peak <= PEAK_BYTES_MAX, "seed {seed}: {peak} bytes");
        assert!(time <= TIME_MAX, "seed {seed}: {time:?}");
        worst_peak = worst_peak.max(peak);
        worst_time = worst_time.max(time);
    }
    println!("{count} files, {fragments} fragments and {samples} samples survived");
    println!("worst: {worst_peak} bytes, {worst_time:?}");
    assert!(
        fragments > 0 && samples > 0,
        "the damage must leave something to read"
    );
}
