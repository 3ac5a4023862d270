//! The packager with anything that an ingest protocol may tell it.
//!
//! Input: settings (1), then inputs: kind, track, and a few bytes each. Laws: chunks of a track go
//! forward in time while its timescale stays; a chunk is one whole fragment of its track's init segment
//! with as many samples as it says; counters add up; the same inputs give the same outputs.

use crate::input::Cursor;
use bytes::Bytes;
use mainstem_core::cmaf::{Codec, Event, Kind, Limits, NtpTime, Reader, Video};
use mainstem_core::packager::{
    Announcement, Chunk, Config, Durations, Frame, Input, Output, Packager, Source,
};
use mainstem_core::time::MediaTime;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Inputs that are read.
const INPUTS_MAX: usize = 300;

/// Packages the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let how = input.byte();
    let config = Config {
        durations: [Durations::Predicted, Durations::Exact][usize::from(how & 1)],
        audio_chunk: Duration::from_millis(u64::from(how >> 4) * 20),
        reference_time: how & 2 == 0,
        tolerance: Duration::from_millis(u64::from(how >> 2 & 3)),
        ..Config::default()
    };
    let mut inputs = Vec::new();
    while !input.is_empty() && inputs.len() < INPUTS_MAX {
        inputs.push(next(&mut input));
    }
    inputs.push(Input::Finished);
    let mut packager = Packager::new(config);
    let outputs = package(&mut packager, &inputs);
    check(&outputs);
    let counters = packager.counters();
    assert!(counters.chunks <= counters.frames, "{counters:?}");
    assert_eq!(
        outputs,
        package(&mut Packager::new(config), &inputs),
        "a second time"
    );
}

fn package(packager: &mut Packager, inputs: &[Input]) -> Vec<Output> {
    let mut outputs = Vec::new();
    for input in inputs {
        packager.handle(input.clone());
        outputs.extend(std::iter::from_fn(|| packager.poll()));
    }
    outputs
}

fn next(input: &mut Cursor<'_>) -> Input {
    let kind = input.byte();
    let source = Source {
        kind: [Kind::Video, Kind::Audio, Kind::Other][usize::from(kind >> 4) % 3],
        number: kind >> 6 & 1,
    };
    match kind & 0x0f {
        0 => Input::End(source),
        1 => Input::Announced(Announcement {
            has_video: input.flag(),
            has_audio: input.flag(),
            video: Video::default(),
            video_bitrate: input.flag().then_some(1_000_000),
            audio_bitrate: None,
        }),
        2 | 3 => Input::Config {
            source,
            codec: codec(input),
            timescale: timescale(input),
        },
        _ => {
            let ticks = i64::from(input.short().cast_signed());
            // Mostly forward by a frame or so, now and then anywhere.
            let ticks = if kind & 0x80 == 0 { ticks } else { ticks << 40 };
            let len = input.below(20);
            Input::Frame(Frame {
                source,
                decode_time: MediaTime::new(ticks, timescale(input)),
                composition_offset: i32::from(input.byte()) - 20,
                duration: input.flag().then(|| u32::from(input.byte())),
                key: input.flag(),
                data: Bytes::copy_from_slice(input.bytes(len)).into(),
                arrived: NtpTime::from_unix_micros(1_700_000_000_000_000),
            })
        }
    }
}

fn timescale(input: &mut Cursor<'_>) -> NonZeroU32 {
    let scale = [1, 1000, 48_000, 90_000, u32::MAX][input.below(5)];
    NonZeroU32::new(scale).unwrap_or(NonZeroU32::MIN)
}

fn codec(input: &mut Cursor<'_>) -> Codec {
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x2a,
    ];
    let kind = input.byte();
    let len = usize::from(kind >> 3);
    let config = Bytes::copy_from_slice(input.bytes(len));
    let in_band = false;
    match kind % 8 {
        0..=2 => Codec::h264_from_parameter_sets(&[SPS], &[&[0x68, 0xce, 0x3c, 0x80]])
            .expect("parameter sets of an encoder"),
        3 | 4 => Codec::aac(Bytes::from_static(&[0x11, 0x90])).expect("48 kHz stereo"),
        5 => Codec::H264 { config, in_band },
        6 => Codec::Aac { config },
        _ => Codec::Opus { config },
    }
}

fn check(outputs: &[Output]) {
    let mut last: BTreeMap<u32, MediaTime> = BTreeMap::new();
    let mut readers: BTreeMap<u32, Reader> = BTreeMap::new();
    for output in outputs {
        match output {
            Output::Tracks(tracks) => {
                readers = tracks
                    .iter()
                    .map(|track| {
                        let init = Arc::new(track.init.clone());
                        (track.track.id, Reader::with_init(init, Limits::default()))
                    })
                    .collect();
                assert_eq!(readers.len(), tracks.len(), "ids are unique");
            }
            Output::Chunk(chunk) => {
                let time = chunk.decode_time;
                if let Some(before) = last.insert(chunk.track_id, time)
                    && before.timescale() == time.timescale()
                {
                    assert!(before.ticks() < time.ticks(), "{before:?} then {time:?}");
                }
                let reader = readers
                    .get_mut(&chunk.track_id)
                    .expect("a track that was told");
                check_chunk(chunk, reader);
            }
            Output::Fault(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
}

fn check_chunk(chunk: &Chunk, reader: &mut Reader) {
    reader
        .push_payload(&chunk.payload)
        .expect("a chunk is a fragment");
    let Ok(Some(Event::Fragment(fragment))) = reader.poll() else {
        panic!("a chunk is not a fragment: {chunk:?}");
    };
    assert_eq!(fragment.sample_count(), chunk.samples);
    assert_eq!(reader.poll(), Ok(None));
    assert!(reader.is_at_boundary());
}
