//! What real encoders sent comes out whole, and passes the CMAF rules.

use super::*;
use mainstem_core::cmaf::init_segment;
use mainstem_core::packager::Durations;
use proptest::prelude::*;
use std::time::Duration;

/// The frames of one track, put together again from its chunks.
fn media(track: &PackagedTrack, chunks: &[&Chunk]) -> Vec<Bytes> {
    let fragments = fragments(track, chunks);
    let samples = fragments.iter().flat_map(|fragment| {
        let samples = &fragment.tracks[0].samples;
        samples
            .iter()
            .map(|sample| fragment.sample_payload(sample).to_bytes())
    });
    samples.collect()
}

#[test]
fn no_frame_is_lost_and_every_rule_is_kept() {
    let aac_20ms = Config {
        audio_chunk: Duration::from_millis(100),
        ..Config::default()
    };
    let exact = Config {
        durations: Durations::Exact,
        start: Duration::from_millis(1_700_000_000_123),
        ..Config::default()
    };
    for capture in [FFMPEG_5, FFMPEG_9] {
        for settings in [Config::default(), aac_20ms, exact] {
            let inputs = inputs_of(capture, 4096);
            let (outputs, packager) = run(settings, inputs.clone());
            check(&outputs);
            let sets = tracks(&outputs);
            assert_eq!(sets.len(), 1, "the tracks are told once");
            for track in sets[0] {
                let sent: Vec<Bytes> = inputs
                    .iter()
                    .filter_map(|input| match input {
                        Input::Frame(frame) if frame.source == track.source => {
                            Some(frame.data.to_bytes())
                        }
                        _ => None,
                    })
                    .collect();
                let chunks = chunks(&outputs, track.track.kind());
                assert_eq!(media(track, &chunks), sent, "{}", track.name);
            }
            let counters = packager.counters();
            assert_eq!(
                counters.frames,
                inputs
                    .iter()
                    .filter(|i| matches!(i, Input::Frame(_)))
                    .count() as u64
            );
            assert_eq!((counters.before_key, counters.shortened_audio), (0, 0));
        }
    }
}

#[test]
fn tracks_are_named_numbered_and_described() {
    for (capture, strings, timescales) in [
        (FFMPEG_5, ["avc1.64000B", "mp4a.40.2"], [90_000, 44_100]),
        (FFMPEG_9, ["hvc1.1.6.L30.90", "opus"], [90_000, 48_000]),
    ] {
        let (outputs, _) = run(Config::default(), inputs_of(capture, 4096));
        let tracks = tracks(&outputs)[0];
        let names: Vec<_> = tracks
            .iter()
            .map(|t| (t.name.as_str(), t.track.id))
            .collect();
        assert_eq!(names, [("video/90p", 1), ("audio", 2)]);
        let codecs: Vec<_> = tracks.iter().map(|t| t.track.codec_string()).collect();
        assert_eq!(codecs, strings);
        let scales: Vec<_> = tracks.iter().map(|t| t.track.timescale.get()).collect();
        assert_eq!(scales, timescales);
        assert!(
            tracks
                .iter()
                .all(|track| track.bitrate.is_some_and(|rate| rate > 20_000))
        );
    }
}

/// One frame per chunk, decode times and composition offsets of the encoder, gapless.
#[test]
fn video_keeps_its_times() {
    let inputs = inputs_of(FFMPEG_5, 4096);
    let (outputs, _) = run(Config::default(), inputs.clone());
    let chunks = chunks(&outputs, Kind::Video);
    let fragments = fragments(&tracks(&outputs)[0][0], &chunks);
    let sent = inputs.iter().filter_map(|input| match input {
        Input::Frame(frame) if frame.source == Source::VIDEO => Some(frame),
        _ => None,
    });
    for ((frame, fragment), chunk) in sent.zip(&fragments).zip(&chunks) {
        let track = &fragment.tracks[0];
        assert_eq!(track.samples.len(), 1);
        assert_eq!(
            track.base_decode_time,
            u64::try_from(frame.decode_time.ticks() * 90).unwrap()
        );
        assert_eq!(
            track.samples[0].composition_offset,
            frame.composition_offset * 90
        );
        assert_eq!(track.samples[0].duration, 3600);
        assert_eq!(chunk.is_independent, frame.key);
        let reference = fragment.producer_reference.unwrap();
        assert_eq!(reference.time, frame.arrived);
    }
}

/// The chunks of all tracks behind one init segment are one playable file.
#[test]
fn the_same_chunks_make_a_muxed_stream() {
    let (outputs, _) = run(Config::default(), inputs_of(FFMPEG_5, 4096));
    let all: Vec<_> = tracks(&outputs)[0]
        .iter()
        .map(|t| t.track.clone())
        .collect();
    let mut reader = Reader::new(Limits::default());
    reader
        .push_payload(&init_segment(&all).unwrap().raw.into())
        .unwrap();
    let mut seen = [0; 2];
    for output in &outputs {
        if let Output::Chunk(chunk) = output {
            reader.push_payload(&chunk.payload).unwrap();
        }
        while let Some(event) = reader.poll().unwrap() {
            if let Event::Fragment(fragment) = event {
                seen[usize::try_from(fragment.tracks[0].track_id).unwrap() - 1] += 1;
            }
        }
    }
    assert_eq!(seen, [30, 53]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_cut_anywhere_give_the_same_outputs(part in 1_usize..5000, second in any::<bool>()) {
        let capture = if second { FFMPEG_9 } else { FFMPEG_5 };
        let cut = run(Config::default(), inputs_of(capture, part)).0;
        prop_assert_eq!(cut, run(Config::default(), inputs_of(capture, usize::MAX)).0);
    }
}
