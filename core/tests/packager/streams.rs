//! Hand-made streams: late tracks, changed configurations, clocks that jump, key frames that lack.

use super::*;
use mainstem_core::packager::{Announcement, Durations, FaultReason, Limits as Bounds};
use std::time::Duration;

fn both() -> Vec<Input> {
    vec![config(Source::VIDEO, h264()), config(Source::AUDIO, aac())]
}

fn decode_times(outputs: &[Output], kind: Kind) -> Vec<i64> {
    chunks(outputs, kind)
        .iter()
        .map(|chunk| chunk.decode_time.ticks())
        .collect()
}

/// A second of video at 30 frames per second with the timestamps of RTMP, and its audio.
fn second(from_ms: i64) -> Vec<Input> {
    let mut inputs: Vec<(i64, Input)> = (0..30)
        .map(|n| {
            let ms = from_ms + (n * 1000 + 15) / 30;
            (ms, video(ms, n == 0))
        })
        .collect();
    inputs.extend((0..47).map(|n| {
        let ms = from_ms + n * 1024 / 48;
        (ms, audio(ms))
    }));
    inputs.sort_by_key(|(ms, _)| *ms);
    inputs.into_iter().map(|(_, input)| input).collect()
}

#[test]
fn a_track_that_is_announced_is_awaited_and_its_frames_are_kept() {
    let frames: Vec<Input> = (0..5).map(|n| video(n * 33, n == 0)).collect();
    let mut inputs = vec![config(Source::VIDEO, h264())];
    inputs.extend(frames);
    let (outputs, mut packager) = run(Config::default(), inputs);
    assert_eq!(outputs, [], "audio may come");
    packager.handle(config(Source::AUDIO, aac()));
    let outputs: Vec<Output> = std::iter::from_fn(|| packager.poll()).collect();
    assert_eq!(tracks(&outputs)[0].len(), 2);
    assert_eq!(chunks(&outputs, Kind::Video).len(), 5);
}

#[test]
fn a_track_that_does_not_come_is_awaited_for_a_bounded_time() {
    let mut inputs = vec![config(Source::VIDEO, h264())];
    inputs.extend((0..20).map(|n| video(n * 40, n == 0)));
    let (outputs, mut packager) = run(Config::default(), inputs);
    let sets = tracks(&outputs);
    assert_eq!((sets.len(), sets[0].len()), (1, 1));
    assert_eq!(chunks(&outputs, Kind::Video).len(), 20);
    // It comes after all: the tracks are told anew.
    packager.handle(config(Source::AUDIO, aac()));
    packager.handle(audio(800));
    let outputs: Vec<Output> = std::iter::from_fn(|| packager.poll()).collect();
    assert_eq!(tracks(&outputs)[0].len(), 2);
    assert_eq!(decode_times(&outputs, Kind::Audio), [38_400]);
}

#[test]
fn a_track_that_is_not_announced_is_not_awaited() {
    let announced = Announcement {
        has_audio: false,
        ..Announcement::default()
    };
    let inputs = [
        Input::Announced(announced),
        config(Source::VIDEO, h264()),
        video(0, true),
    ];
    let (outputs, _) = run(Config::default(), inputs);
    assert_eq!(outputs.len(), 2);
}

#[test]
fn gathering_ends_when_its_queue_is_full() {
    let bounds = Bounds {
        gather_frames_max: 3,
        ..Bounds::default()
    };
    let settings = Config {
        limits: bounds,
        ..Config::default()
    };
    let inputs = [config(Source::VIDEO, h264())].into_iter();
    let (outputs, _) = run(settings, inputs.chain((0..3).map(|n| video(n, n == 0))));
    assert_eq!(chunks(&outputs, Kind::Video).len(), 3);
}

#[test]
fn video_begins_with_a_key_frame_and_audio_before_it_is_kept() {
    let mut inputs = both();
    inputs.extend([
        video(0, false),
        audio(0),
        video(40, false),
        audio(21),
        video(80, true),
    ]);
    let (outputs, packager) = run(Config::default(), inputs);
    assert_eq!(decode_times(&outputs, Kind::Video), [80 * 90]);
    assert_eq!(chunks(&outputs, Kind::Audio).len(), 2);
    assert_eq!(packager.counters().before_key, 2);
}

/// Encoders flag pictures as key frames that are not: the NAL units decide.
#[test]
fn key_frames_are_looked_up_in_the_picture() {
    let mut inputs = both();
    inputs.push(frame(Source::VIDEO, 0, true, &[0, 0, 0, 2, 0x41, 0x9a]));
    inputs.push(frame(Source::VIDEO, 40, false, &[0, 0, 0, 2, 0x65, 0x88]));
    let (outputs, packager) = run(Config::default(), inputs);
    let chunks = chunks(&outputs, Kind::Video);
    assert_eq!((chunks.len(), chunks[0].is_independent), (1, true));
    assert_eq!(packager.counters().before_key, 1);
}

#[test]
fn rounded_timestamps_give_a_gapless_track_of_both_kinds() {
    let mut inputs = both();
    inputs.extend((0..20).flat_map(|n| second(n * 1000)));
    let (outputs, _) = run(Config::default(), inputs);
    check(&outputs);
    assert_eq!(chunks(&outputs, Kind::Video).len(), 600);
    assert_eq!(chunks(&outputs, Kind::Audio).len(), 940);
    for (index, time) in decode_times(&outputs, Kind::Video).into_iter().enumerate() {
        let exact = i64::try_from(index).unwrap() * 3000;
        assert!(
            (time - exact).abs() <= 180,
            "frame {index}: {time}, not {exact}"
        );
    }
}

#[test]
fn a_new_configuration_gives_new_tracks_and_awaits_a_key_frame() {
    let smaller = Codec::h264(Bytes::from_static(&[
        1, 0x64, 0, 0x0a, 0xff, 0xe1, 0, 0x19, 0x67, 0x64, 0, 0x0a, 0xac, 0xd9, 0x42, 0x86, 0xf9,
        0xe1, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32, 0x0f, 0x12, 0x25, 0x96, 1, 0, 5, 0x68, 0xeb, 0xe3,
        0xcb, 0x22,
    ]))
    .unwrap();
    let mut inputs = both();
    inputs.extend(second(0));
    // The same once more changes nothing.
    inputs.push(config(Source::VIDEO, h264()));
    inputs.extend([video(1000, false), config(Source::VIDEO, smaller)]);
    inputs.extend([video(1033, false), video(1067, true)]);
    let (outputs, packager) = run(Config::default(), inputs);
    let sets = tracks(&outputs);
    assert_eq!(sets.len(), 2);
    assert_eq!(sets[0][0].name, "video/720p");
    assert_ne!(sets[1][0].name, "video/720p");
    assert_eq!(sets[1][0].track.id, 1);
    assert_eq!(sets[1][1], sets[0][1], "the other track is as it was");
    assert_eq!(packager.counters().before_key, 1);
    assert_eq!(
        *decode_times(&outputs, Kind::Video).last().unwrap(),
        1067 * 90
    );
}

/// The encoder is started anew behind the same connection: its clock begins at zero.
#[test]
fn a_clock_that_jumps_back_goes_on_where_it_was_with_both_tracks_together() {
    let mut inputs = both();
    inputs.extend(second(60_000));
    let mut restarted = second(0);
    for input in &mut restarted {
        if let Input::Frame(frame) = input {
            let ms = u64::try_from(frame.decode_time.ticks()).unwrap();
            frame.arrived = at(1_700_000_061_000 + ms);
        }
    }
    inputs.extend(restarted);
    let (outputs, packager) = run(Config::default(), inputs);
    let video = decode_times(&outputs, Kind::Video);
    let audio = decode_times(&outputs, Kind::Audio);
    assert_eq!((video.len(), audio.len()), (60, 94));
    assert!(video.windows(2).all(|w| w[0] < w[1]) && audio.windows(2).all(|w| w[0] < w[1]));
    // The pause was about nothing; what followed stands right behind, sound beside picture.
    assert!((90_000..=99_000).contains(&video[30]), "{}", video[30]);
    let apart = video[30] * 48 / 90 - audio[47];
    assert!(apart.abs() <= 48 * 40, "{apart} samples apart");
    assert_eq!(packager.counters().shortened_audio, 0);
}

#[test]
fn the_first_frame_stands_at_the_start_that_was_given() {
    let start = Duration::from_secs(1_700_000_000);
    let settings = Config {
        start,
        ..Config::default()
    };
    let mut inputs = both();
    inputs.extend([audio(500), video(521, true)]);
    let (outputs, _) = run(settings, inputs);
    assert_eq!(
        decode_times(&outputs, Kind::Audio),
        [1_700_000_000_000 * 48]
    );
    assert_eq!(
        decode_times(&outputs, Kind::Video),
        [1_700_000_000_021 * 90]
    );
}

#[test]
fn exact_durations_cost_one_frame_and_are_let_out_at_the_end() {
    let settings = Config {
        durations: Durations::Exact,
        ..Config::default()
    };
    let mut inputs = both();
    inputs.extend([0, 30, 100, 110].map(|ms| video(ms, true)));
    let (outputs, mut packager) = run(settings, inputs);
    let durations: Vec<u64> = chunks(&outputs, Kind::Video)
        .iter()
        .map(|c| c.duration / 90)
        .collect();
    assert_eq!(durations, [30, 70, 10]);
    packager.handle(Input::Finished);
    assert!(matches!(packager.poll(), Some(Output::Chunk(_))));
    assert_eq!(packager.counters().chunks, 4);
}

#[test]
fn audio_chunks_grow_to_the_length_that_is_wished() {
    let settings = Config {
        audio_chunk: Duration::from_millis(60),
        ..Config::default()
    };
    let mut inputs = both();
    inputs.extend((0..7).map(|n| audio(n * 64 / 3)));
    // A hole: what was gathered comes out before it.
    inputs.extend([audio(500), Input::End(Source::AUDIO)]);
    let (outputs, _) = run(settings, inputs);
    let frames: Vec<usize> = chunks(&outputs, Kind::Audio)
        .iter()
        .map(|c| c.samples)
        .collect();
    assert_eq!(frames, [3, 3, 1, 1]);
}

/// Without duration in the protocol, and with it: a file's own times come out as they were.
#[test]
fn known_durations_and_timescales_are_kept() {
    let timescale = NonZeroU32::new(15_360).unwrap();
    let mut inputs = vec![Input::Config {
        source: Source::VIDEO,
        codec: h264(),
        timescale,
    }];
    inputs.extend(
        [0i64, 512, 1024, 1600]
            .into_iter()
            .zip([512u32, 512, 576, 512])
            .map(|(ticks, duration)| {
                Input::Frame(Frame {
                    source: Source::VIDEO,
                    decode_time: MediaTime::new(ticks, timescale),
                    composition_offset: 1024,
                    duration: Some(duration),
                    key: true,
                    data: Bytes::from_static(&[0, 0, 0, 1, 0x65]).into(),
                    arrived: at(1_700_000_000_000),
                })
            }),
    );
    inputs.push(Input::Finished);
    let (outputs, _) = run(Config::default(), inputs);
    check(&outputs);
    assert_eq!(decode_times(&outputs, Kind::Video), [0, 512, 1024, 1600]);
    let shown = chunks(&outputs, Kind::Video)[1].presentation_time;
    assert_eq!(shown, MediaTime::new(1536, timescale));
}

#[test]
fn several_tracks_of_a_kind_have_names_and_ids_of_their_own() {
    let numbered = |kind, number| Source { kind, number };
    let inputs = [
        config(Source::VIDEO, h264()),
        config(numbered(Kind::Video, 1), h264()),
        config(Source::AUDIO, aac()),
        config(numbered(Kind::Audio, 3), aac()),
    ];
    let (_, packager) = run(Config::default(), inputs);
    let tracks = packager.tracks();
    let names: Vec<_> = tracks
        .iter()
        .map(|t| (t.name.as_str(), t.track.id))
        .collect();
    assert_eq!(
        names,
        [
            ("video/720p", 1),
            ("video/720p-3", 3),
            ("audio", 2),
            ("audio-4", 4)
        ]
    );
}

#[test]
fn what_cannot_be_configured_is_told_once_and_left_out() {
    let broken = Codec::Aac {
        config: Bytes::from_static(&[0xff]),
    };
    let inputs = [
        config(Source::AUDIO, broken.clone()),
        config(Source::AUDIO, broken),
        config(Source::VIDEO, aac()),
        audio(0),
    ];
    let (outputs, packager) = run(Config::default(), inputs);
    let faults: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Fault(fault) => Some(fault),
            _ => None,
        })
        .collect();
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[1].reason, FaultReason::WrongKind);
    assert_eq!(
        faults[1].to_string(),
        "video track 0: expected a codec of the track's kind"
    );
    assert_eq!(packager.counters().chunks, 0);
}

#[test]
fn more_tracks_than_the_limit_are_refused() {
    let settings = Config {
        limits: Bounds {
            tracks_max: 2,
            ..Bounds::default()
        },
        ..Config::default()
    };
    let inputs = (0..3).map(|number| {
        let source = Source {
            kind: Kind::Audio,
            number,
        };
        config(source, aac())
    });
    let (outputs, packager) = run(settings, inputs);
    assert_eq!(packager.tracks().len(), 2);
    let Some(Output::Fault(fault)) = outputs.last() else {
        panic!("expected a fault");
    };
    assert_eq!(fault.reason, FaultReason::TooManyTracks { max: 2 });
}
