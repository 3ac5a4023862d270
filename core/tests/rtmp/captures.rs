//! What real encoders sent gives what it should, wherever it is cut.

use super::{FFMPEG_5, FFMPEG_9, replay};
use mainstem_core::rtmp::Limits;
use mainstem_core::rtmp::server::{Event, Output};
use proptest::prelude::*;

/// A line per event: the first twelve, the last three.
fn transcript(capture: &[u8]) -> String {
    let outputs = replay(Limits::default(), std::iter::once(capture));
    let lines: Vec<String> = outputs.iter().filter_map(line).collect();
    let (head, tail) = (lines.iter().take(12), lines.iter().skip(lines.len() - 3));
    let gap = format!("... {} lines in all", lines.len());
    let lines: Vec<&str> = head.chain([&gap]).chain(tail).map(String::as_str).collect();
    lines.join("\n")
}

fn line(output: &Output) -> Option<String> {
    let event = match output {
        Output::Write(_) => return None,
        Output::Close { reason } => return Some(format!("close: {reason}")),
        Output::Event(event) => event,
    };
    Some(match event {
        Event::Publish(request) => format!("publish {request:?} {:?}", request.target()),
        Event::Metadata(metadata) => format!(
            "metadata {} values, {:?} x {:?}, {:?}",
            metadata.properties.len(),
            metadata.number("width"),
            metadata.number("height"),
            metadata.text("encoder"),
        ),
        Event::Video {
            track,
            codec,
            dts_ms,
            cts_ms,
            key,
            data,
        } => format!(
            "video {track} {codec:?} dts {dts_ms} cts {cts_ms} key {key} {} bytes",
            data.len()
        ),
        Event::Audio {
            track,
            codec,
            dts_ms,
            data,
        } => format!("audio {track} {codec:?} dts {dts_ms} {} bytes", data.len()),
        Event::VideoConfig {
            track,
            codec,
            config,
        } => format!("video config {track} {codec:?} {} bytes", config.len()),
        other => format!("{other:?}"),
    })
}

#[test]
fn ffmpeg_5_publishes_h264_and_aac() {
    insta::assert_snapshot!(transcript(FFMPEG_5));
}

#[test]
fn ffmpeg_9_publishes_hevc_and_opus() {
    insta::assert_snapshot!(transcript(FFMPEG_9));
}

/// Length-prefixed NAL units fill every video frame exactly: no byte was lost or added.
#[test]
fn every_frame_is_whole_nal_units() {
    for (capture, frames) in [(FFMPEG_5, 30), (FFMPEG_9, 30)] {
        let mut seen = 0;
        for output in replay(Limits::default(), capture.chunks(1000)) {
            let Output::Event(Event::Video { data, .. }) = output else {
                continue;
            };
            seen += 1;
            let mut rest = &data[..];
            while let Some((len, tail)) = rest.split_first_chunk() {
                let len = usize::try_from(u32::from_be_bytes(*len)).unwrap();
                rest = &tail[len..];
            }
            assert!(rest.is_empty());
        }
        assert_eq!(seen, frames);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_cut_anywhere_give_the_same_outputs(
        sizes in prop::collection::vec(prop_oneof![1_usize..20, 1_usize..3000], 1..30),
        second in any::<bool>(),
    ) {
        let capture = if second { FFMPEG_9 } else { FFMPEG_5 };
        let mut rest = capture;
        let mut sizes = sizes.iter().cycle();
        let parts = std::iter::from_fn(|| {
            let size = sizes.next().copied().unwrap_or(1).min(rest.len());
            let (part, tail) = rest.split_at(size);
            rest = tail;
            (!part.is_empty()).then_some(part)
        });
        let cut: Vec<_> = replay(Limits::default(), parts);
        prop_assert_eq!(cut, replay(Limits::default(), std::iter::once(capture)));
    }
}
