//! Encoders for tests: captures replayed, and streams made by hand.

#![allow(dead_code, reason = "each test binary uses its own part")]

use bytes::Bytes;
use mainstem_core::cmaf::rules::Checker;
use mainstem_core::cmaf::{Codec, Event, Fragment, Kind, Limits, NtpTime, Reader};
use mainstem_core::packager::rtmp;
use mainstem_core::packager::{
    Chunk, Config, Frame, Input, Output, PackagedTrack, Packager, Source,
};
use mainstem_core::rtmp::server;
use mainstem_core::time::{Instant, MediaTime};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Everything that ffmpeg 5.1 sent: H.264 with B-frames, and AAC.
pub(crate) const FFMPEG_5: &[u8] = include_bytes!("../fixtures/rtmp-publish-ffmpeg5.bin");
/// Everything that ffmpeg 9.0.2 sent: HEVC with B-frames, and Opus.
pub(crate) const FFMPEG_9: &[u8] = include_bytes!("../fixtures/rtmp-publish-ffmpeg9-hevc-opus.bin");

pub(crate) const MS: NonZeroU32 = rtmp::TIMESCALE;

/// What a capture makes a packager do, its bytes arriving in parts of `part` bytes.
pub(crate) fn inputs_of(capture: &[u8], part: usize) -> Vec<Input> {
    let now = Instant::ZERO;
    let mut session = server::Session::new(now, 7, mainstem_core::rtmp::Limits::default());
    let mut inputs = Vec::new();
    let parts = capture.chunks(part).map(Bytes::copy_from_slice);
    for data in parts
        .map(server::Input::Data)
        .chain([server::Input::Closed])
    {
        session.handle(now, data);
        while let Some(output) = session.poll() {
            let server::Output::Event(event) = output else {
                continue;
            };
            if matches!(event, server::Event::Publish(_)) {
                session.accept_publish(now).unwrap();
            }
            inputs.extend(rtmp::input(event, at(1_700_000_000_000)).unwrap());
        }
    }
    inputs
}

pub(crate) fn at(unix_ms: u64) -> NtpTime {
    NtpTime::from_unix_micros(unix_ms * 1000)
}

pub(crate) fn run(
    config: Config,
    inputs: impl IntoIterator<Item = Input>,
) -> (Vec<Output>, Packager) {
    let mut packager = Packager::new(config);
    let mut outputs = Vec::new();
    for input in inputs {
        packager.handle(input);
        outputs.extend(std::iter::from_fn(|| packager.poll()));
    }
    (outputs, packager)
}

pub(crate) fn tracks(outputs: &[Output]) -> Vec<&Vec<PackagedTrack>> {
    let tracks = outputs.iter().filter_map(|output| match output {
        Output::Tracks(tracks) => Some(tracks),
        _ => None,
    });
    tracks.collect()
}

pub(crate) fn chunks(outputs: &[Output], kind: Kind) -> Vec<&Chunk> {
    let chunks = outputs.iter().filter_map(|output| match output {
        Output::Chunk(chunk) if chunk.kind == kind => Some(chunk),
        _ => None,
    });
    chunks.collect()
}

/// The chunks of a track as the reader sees them; each must be a whole fragment.
pub(crate) fn fragments(track: &PackagedTrack, chunks: &[&Chunk]) -> Vec<Fragment> {
    let mut reader = Reader::with_init(Arc::new(track.init.clone()), Limits::default());
    let mut fragments = Vec::new();
    for chunk in chunks {
        reader.push_payload(&chunk.payload).unwrap();
        let Some(Event::Fragment(fragment)) = reader.poll().unwrap() else {
            panic!("a chunk is not a fragment");
        };
        assert!(reader.poll().unwrap().is_none() && reader.is_at_boundary());
        fragments.push(fragment);
    }
    fragments
}

/// Holds the last set of tracks and its chunks against the CMAF rules.
pub(crate) fn check(outputs: &[Output]) {
    let tracks = tracks(outputs);
    for track in *tracks.last().unwrap() {
        let mut checker = Checker::new(&track.init.raw.clone().into());
        for chunk in chunks(outputs, track.track.kind()) {
            checker.object(&chunk.payload);
        }
        assert_eq!(checker.findings(), [], "{}", track.name);
    }
}

/// H.264 of 1280x720 at level 3.1, with no frame rate in it.
pub(crate) fn h264() -> Codec {
    let sps: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x2a,
    ];
    Codec::h264_from_parameter_sets(&[sps], &[&[0x68, 0xce, 0x3c, 0x80]]).unwrap()
}

pub(crate) fn aac() -> Codec {
    Codec::aac(Bytes::from_static(&[0x11, 0x90])).unwrap()
}

pub(crate) fn config(source: Source, codec: Codec) -> Input {
    Input::Config {
        source,
        codec,
        timescale: MS,
    }
}

/// A video frame of one NAL unit, IDR or not.
pub(crate) fn video(ms: i64, key: bool) -> Input {
    let unit = if key { 0x65 } else { 0x41 };
    frame(Source::VIDEO, ms, key, &[0, 0, 0, 3, unit, 0x88, 0x80])
}

pub(crate) fn audio(ms: i64) -> Input {
    frame(Source::AUDIO, ms, true, &[0x21, 0x10, 0x04])
}

pub(crate) fn frame(source: Source, ms: i64, key: bool, data: &[u8]) -> Input {
    Input::Frame(Frame {
        source,
        decode_time: MediaTime::new(ms, MS),
        composition_offset: 0,
        duration: None,
        key,
        data: Bytes::copy_from_slice(data).into(),
        arrived: at(1_700_000_000_000 + u64::try_from(ms.max(0)).unwrap()),
    })
}
