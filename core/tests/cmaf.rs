//! The CMAF layer against files that ffmpeg made, and against itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way of speaking"
)]

use bytes::Bytes;
use mainstem_core::cmaf::rules::{Checker, Rule};
use mainstem_core::cmaf::{
    ChunkSize, ChunkWriter, Codec, Event, Fragment, Init, Limits, MediaSample, Muxer,
    ProducerReference, Reader, ReferencePoint, SampleFlags, Splitter, Track, init_segment,
};
use mainstem_core::payload::Payload;
use mainstem_core::time::UnixTime;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

const H264_AAC: &[u8] = include_bytes!("media/h264_aac.mp4");
const H264_AAC_SIGNED: &[u8] = include_bytes!("media/h264_aac_signed.mp4");
const H264_OPUS: &[u8] = include_bytes!("media/h264_opus.mp4");
const HEVC_OPUS: &[u8] = include_bytes!("media/hevc_opus.mp4");
const AV1: &[u8] = include_bytes!("media/av1.mp4");
const FLAC: &[u8] = include_bytes!("media/flac.mp4");

const FRAGMENTED: [&[u8]; 6] = [H264_AAC, H264_AAC_SIGNED, H264_OPUS, HEVC_OPUS, AV1, FLAC];

fn events(pieces: impl IntoIterator<Item = Bytes>) -> Vec<Event> {
    let mut reader = Reader::new(Limits::default());
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece).unwrap();
        events.extend(std::iter::from_fn(|| reader.poll().unwrap()));
    }
    reader.finish();
    events.extend(std::iter::from_fn(|| reader.poll().unwrap()));
    events
}

fn read(file: &'static [u8]) -> (Arc<Init>, Vec<Fragment>) {
    let mut init = None;
    let mut fragments = Vec::new();
    for event in events([Bytes::from_static(file)]) {
        match event {
            Event::Init(found) => init = Some(found),
            Event::Fragment(fragment) => fragments.push(fragment),
        }
    }
    (init.unwrap(), fragments)
}

fn describe(file: &'static [u8]) -> String {
    let (init, fragments) = read(file);
    let mut out = String::new();
    for track in &init.tracks {
        let Track {
            id,
            timescale,
            video,
            audio,
            presentation_start: start,
            ..
        } = track;
        write!(
            out,
            "{id} {} /{timescale} from {start}",
            track.codec_string()
        )
        .unwrap();
        if let Some(video) = video {
            write!(
                out,
                " {}x{} {:?}",
                video.width, video.height, video.frame_rate
            )
            .unwrap();
        }
        if let Some(audio) = audio {
            write!(out, " {} Hz {} ch", audio.sample_rate, audio.channels).unwrap();
        }
        out.push('\n');
    }
    for fragment in &fragments {
        let key = if fragment.is_independent { " key" } else { "" };
        write!(out, "#{}{key}", fragment.sequence).unwrap();
        for track in &fragment.tracks {
            let offsets = track.samples.iter().map(|sample| sample.composition_offset);
            let (low, high) = (offsets.clone().min().unwrap(), offsets.max().unwrap());
            write!(
                out,
                " | {} at {} for {}: {} samples, cts {low}..{high}",
                track.track_id,
                track.base_decode_time,
                track.duration,
                track.samples.len(),
            )
            .unwrap();
        }
        out.push('\n');
    }
    out
}

#[test]
fn files_of_ffmpeg_are_read() {
    insta::assert_snapshot!(FRAGMENTED.map(describe).join("\n"));
}

/// The single-track init segment and chunks of every track of a file.
fn split(file: &'static [u8], size: ChunkSize) -> Vec<(Init, Vec<Payload>)> {
    let (init, fragments) = read(file);
    let mut splitter = Splitter::new(&init, size);
    let mut tracks: Vec<_> = init
        .tracks
        .iter()
        .map(|track| (init.single_track(track.id).unwrap(), Vec::new()))
        .collect();
    for fragment in &fragments {
        for chunk in splitter.split(fragment).unwrap() {
            let at = tracks
                .iter()
                .position(|(init, _)| init.tracks[0].id == chunk.track_id);
            tracks[at.unwrap()].1.push(chunk.payload);
        }
    }
    tracks
}

/// Every sample of a track: decode time, offset, key frame, bytes.
fn samples(init: &Arc<Init>, id: u32, chunks: &[Payload]) -> Vec<(u64, i32, bool, Bytes)> {
    let mut reader = Reader::with_init(Arc::clone(init), Limits::default());
    let mut found = Vec::new();
    for chunk in chunks {
        reader.push_payload(chunk).unwrap();
        while let Some(event) = reader.poll().unwrap() {
            let Event::Fragment(fragment) = event else {
                continue;
            };
            for track in fragment.tracks.iter().filter(|track| track.track_id == id) {
                let mut time = track.base_decode_time;
                for sample in &track.samples {
                    let data = fragment.sample_payload(sample).to_bytes();
                    let is_key = sample.flags.is_sync();
                    found.push((time, sample.composition_offset, is_key, data));
                    time += u64::from(sample.duration);
                }
            }
        }
    }
    assert!(reader.is_at_boundary());
    found
}

#[test]
fn splitting_keeps_every_sample_and_its_time() {
    for file in FRAGMENTED {
        let (init, _) = read(file);
        let whole = [Payload::from(Bytes::from_static(file))];
        for size in [
            ChunkSize::Frame,
            ChunkSize::Duration(Duration::from_millis(200)),
        ] {
            for (single, chunks) in split(file, size) {
                let id = single.tracks[0].id;
                let expected = samples(&init, id, &whole);
                assert_eq!(samples(&Arc::new(single), id, &chunks), expected);
                if size == ChunkSize::Frame {
                    assert_eq!(chunks.len(), expected.len());
                }
            }
        }
    }
}

#[test]
fn key_frames_open_chunks_and_chunks_come_in_time_order() {
    let (init, fragments) = read(H264_AAC);
    let mut splitter = Splitter::new(&init, ChunkSize::Duration(Duration::from_mins(1)));
    for fragment in &fragments {
        let chunks = splitter.split(fragment).unwrap();
        assert_eq!(
            chunks.len(),
            2,
            "each fragment of this file is one group of each track"
        );
        assert!(chunks.iter().all(|chunk| chunk.is_independent));
    }
    let mut splitter = Splitter::new(&init, ChunkSize::Frame);
    for fragment in &fragments {
        let chunks = splitter.split(fragment).unwrap();
        assert!(chunks.is_sorted_by_key(|chunk| chunk.decode_time().as_micros()));
        let keys = chunks
            .iter()
            .filter(|c| c.track_id == 1 && c.is_independent)
            .count();
        assert_eq!(keys, 1);
    }
}

#[test]
fn chunks_share_the_media_that_arrived() {
    let media = Bytes::from_static(H264_AAC);
    let range = media.as_ptr() as usize..media.as_ptr() as usize + media.len();
    let (init, fragments) = read(H264_AAC);
    let mut splitter = Splitter::new(&init, ChunkSize::Frame);
    for chunk in splitter.split(&fragments[0]).unwrap() {
        let (head, samples) = chunk.payload.pieces().split_first().unwrap();
        assert!(head.len() <= 128, "head of {} bytes", head.len());
        assert!(
            samples
                .iter()
                .all(|piece| range.contains(&(piece.as_ptr() as usize)))
        );
    }
    assert_eq!(fragments[0].payload().pieces().len(), 3);
}

#[test]
fn a_lone_ftyp_is_not_an_init_and_boxes_may_come_one_by_one() {
    let mut reader = Reader::new(Limits::default());
    let mut rest = Bytes::from_static(HEVC_OPUS);
    let mut found = Vec::new();
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        kinds.push(String::from_utf8_lossy(&rest[4..8]).into_owned());
        reader.push(rest.split_to(size)).unwrap();
        while let Some(event) = reader.poll().unwrap() {
            found.push((kinds.len(), matches!(event, Event::Init(_))));
        }
    }
    assert_eq!(
        kinds,
        [
            "ftyp", "moov", "sidx", "sidx", "moof", "mdat", "moof", "mdat", "mfra"
        ]
    );
    assert_eq!(found, [(2, true), (6, false), (8, false)]);
}

#[test]
fn a_second_init_replaces_the_first_mid_stream() {
    let found = events([
        Bytes::from_static(H264_AAC_SIGNED),
        Bytes::from_static(HEVC_OPUS),
    ]);
    let inits: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Event::Init(init) => Some(init.tracks[0].codec_string()),
            Event::Fragment(_) => None,
        })
        .collect();
    assert_eq!(inits, ["avc1.4D400A", "hvc1.1.6.L30.90"]);
    assert_eq!(found.len(), 6);
}

#[test]
fn progressive_files_and_unpaired_boxes_have_names() {
    let error = |bytes: &'static [u8]| {
        let mut reader = Reader::new(Limits::default());
        reader.push(Bytes::from_static(bytes)).unwrap();
        loop {
            match reader.poll() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    assert_eq!(reader.poll(), Err(error.clone()), "an error stays");
                    return Some(error.to_string());
                }
            }
        }
    };
    let progressive = "expected fragmented mp4 (moof boxes), got a progressive file";
    assert_eq!(
        error(include_bytes!("media/progressive.mp4")).as_deref(),
        Some(progressive)
    );
    assert_eq!(
        error(include_bytes!("media/progressive_moov_last.mp4")).as_deref(),
        Some(progressive)
    );
    assert_eq!(
        error(b"\0\0\0\x08moof").as_deref(),
        Some("expected an init segment (ftyp, moov) before the first fragment")
    );
    assert_eq!(
        error(b"\xff\0\0\0moov").as_deref(),
        Some("box moov is 4278190080 bytes, at most 1048576 are taken")
    );
    assert_eq!(
        error(b"\0\0\0\x04free").as_deref(),
        Some("box free claims a size of 4 bytes, less than its header")
    );
    // A box that is passed over may be of any size: nothing of it is kept.
    assert_eq!(error(b"\xff\0\0\0free1234567890"), None);
}

#[test]
fn an_mdat_to_the_end_of_the_file_is_finished_by_finish() {
    let (_, fragments) = read(AV1);
    let last = fragments.last().unwrap();
    let mut file = AV1.to_vec();
    let body = file.windows(4).rposition(|w| w == b"mdat").unwrap();
    file.truncate(body + 4 + last.media.len());
    file[body - 4..body].fill(0);
    let found = events([Bytes::from(file)]);
    let Some(Event::Fragment(fragment)) = found.last() else {
        panic!("{found:?}")
    };
    assert_eq!(fragment.media, last.media);
}

#[test]
fn written_init_segments_read_back_as_the_same_tracks() {
    for file in FRAGMENTED {
        let (init, _) = read(file);
        let mut tracks = init.tracks.clone();
        let written = init_segment(&tracks).unwrap();
        let again = Init::parse(written.raw.clone(), &Limits::default()).unwrap();
        assert_eq!(again.tracks, tracks);
        for track in &mut tracks {
            let single = init_segment(std::slice::from_ref(track)).unwrap();
            let again = Init::parse(single.raw, &Limits::default()).unwrap();
            assert_eq!(again.tracks, std::slice::from_ref(track));
        }
    }
}

#[test]
fn the_muxer_makes_one_file_that_begins_at_zero() {
    let tracks = split(H264_AAC, ChunkSize::Frame);
    let inits: Vec<_> = tracks
        .iter()
        .map(|(init, _)| Arc::new(init.clone()))
        .collect();
    let mut muxer = Muxer::new(&inits, Limits::default()).unwrap();
    let mut file = Vec::new();
    let mut drain = |muxer: &mut Muxer| {
        while let Some(payload) = muxer.poll() {
            file.extend(payload.to_bytes());
        }
    };
    // Join at the second group of video, and at the audio of that time.
    for (input, skip) in [(0, 25), (1, 47)] {
        for (at, chunk) in tracks[input].1.iter().enumerate().skip(skip) {
            if at % 10 == 0 {
                muxer.push(input, &inits[input].raw.clone().into()).unwrap();
            }
            muxer.push(input, chunk).unwrap();
            drain(&mut muxer);
        }
    }
    muxer.finish().unwrap();
    drain(&mut muxer);
    assert_eq!(muxer.dropped(), 0);
    let other = Arc::new(read(AV1).0.as_ref().clone());
    assert!(muxer.push(0, &other.raw.clone().into()).is_err());
    assert!(muxer.push(2, &Payload::default()).is_err());

    let found = events([Bytes::from(file)]);
    let Some(Event::Init(init)) = found.first() else {
        panic!("no init")
    };
    assert_eq!(
        init.tracks.iter().map(|track| track.id).collect::<Vec<_>>(),
        [1, 2]
    );
    let (mut video, mut audio, mut sequence) = (Vec::new(), Vec::new(), 0);
    for event in &found[1..] {
        let Event::Fragment(fragment) = event else {
            continue;
        };
        assert_eq!(fragment.sequence, sequence + 1);
        sequence += 1;
        let track = &fragment.tracks[0];
        let list = if track.track_id == 1 {
            &mut video
        } else {
            &mut audio
        };
        list.push(track.base_decode_time);
    }
    assert_eq!(video, (0..25).map(|n| n * 512).collect::<Vec<_>>());
    assert_eq!((audio[0], audio.len()), (47 * 1024 - 48_000, 48));
}

#[test]
fn an_independent_demuxer_finds_the_same_samples_in_what_we_write() {
    for file in FRAGMENTED {
        for (init, chunks) in split(file, ChunkSize::Duration(Duration::from_millis(300))) {
            let ours = samples(&Arc::new(init.clone()), init.tracks[0].id, &chunks);
            let written = init_segment(&init.tracks).unwrap();
            let mut oracle = shiguredo_mp4::demux::Fmp4SegmentDemuxer::new();
            oracle.handle_init_segment(&written.raw).unwrap();
            let track = &oracle.tracks().unwrap()[0];
            assert_eq!(track.timescale, init.tracks[0].timescale);
            let mut theirs = Vec::new();
            for chunk in &chunks {
                let bytes = chunk.to_bytes();
                for sample in oracle.handle_media_segment(&bytes).unwrap() {
                    let at = usize::try_from(sample.data_offset).unwrap();
                    let offset = sample.composition_time_offset.unwrap_or(0);
                    theirs.push((
                        sample.timestamp,
                        i32::try_from(offset).unwrap(),
                        sample.keyframe,
                        bytes.slice(at..at + sample.data_size),
                    ));
                }
            }
            assert_eq!(theirs, ours, "{}", init.tracks[0].codec_string());
        }
    }
}

#[test]
fn the_mp4_crate_reads_a_muxed_file_of_ours() {
    let (init, _) = read(H264_AAC_SIGNED);
    let written = init_segment(&init.tracks).unwrap();
    let mut file = written.raw.to_vec();
    for (_, chunks) in split(H264_AAC_SIGNED, ChunkSize::Duration(Duration::from_secs(1))) {
        file.extend(chunks.iter().flat_map(Payload::to_bytes));
    }
    let size = file.len() as u64;
    let read = mp4::Mp4Reader::read_header(std::io::Cursor::new(file), size).unwrap();
    assert!(read.is_fragmented());
    let video = &read.tracks()[&1];
    assert_eq!(
        (video.width(), video.height(), video.timescale()),
        (96, 64, 12_800)
    );
    assert_eq!(video.sample_count(), 50);
    assert_eq!(
        read.tracks()[&2].sample_freq_index().unwrap(),
        mp4::SampleFreqIndex::Freq48000
    );
    assert_eq!(read.tracks()[&2].sample_count(), 95);
}

#[test]
fn our_packager_breaks_no_rule() {
    for file in FRAGMENTED {
        for (init, chunks) in split(file, ChunkSize::Duration(Duration::from_millis(200))) {
            let written = init_segment(&init.tracks).unwrap();
            let mut checker = Checker::new(&written.raw.into());
            for chunk in &chunks {
                checker.object(chunk);
            }
            assert_eq!(checker.findings(), [], "{}", init.tracks[0].codec_string());
        }
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let mut tracks = split(H264_AAC, ChunkSize::Frame);
    let (init, chunks) = tracks.swap_remove(0);
    let rules = |init: &Bytes, chunks: &[Payload]| {
        let mut checker = Checker::new(&init.clone().into());
        for chunk in chunks {
            checker.object(chunk);
        }
        checker
            .findings()
            .iter()
            .map(|finding| finding.rule)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rules(&init.raw, &chunks),
        [Rule::InitBrand],
        "ffmpeg wrote this one"
    );
    assert_eq!(
        rules(&Bytes::from_static(H264_AAC), &[]),
        [Rule::InitBrand, Rule::InitOneTrack]
    );
    assert_eq!(rules(&init.raw.slice(..40), &chunks), [Rule::InitParses]);
    let init = init_segment(&init.tracks).unwrap().raw;
    assert_eq!(rules(&init, &chunks), []);
    let gap = [chunks[0].clone(), chunks[2].clone()];
    assert_eq!(rules(&init, &gap), [Rule::DecodeTimeContinues]);
    let again = [chunks[0].clone(), chunks[0].clone()];
    assert_eq!(
        rules(&init, &again),
        [Rule::SequenceRises, Rule::DecodeTimeContinues]
    );
    assert_eq!(rules(&init, &chunks[1..]), [Rule::StartsWithSync]);
    let half = chunks[0].to_bytes();
    assert_eq!(
        rules(&init, &[half.slice(..half.len() - 1).into()]),
        [Rule::ChunkWhole]
    );
    let mut lie = half.to_vec();
    let head = chunks[0].pieces()[0].len();
    let flags = lie[..head]
        .windows(4)
        .rposition(|word| word == [2, 0, 0, 0])
        .unwrap();
    lie[flags..flags + 4].copy_from_slice(&[1, 1, 0, 0]);
    let lie = [Bytes::from(lie).into()];
    assert_eq!(
        rules(&init, &lie),
        [Rule::StartsWithSync, Rule::SyncFlagsTrue]
    );
}

#[test]
fn a_chunk_with_a_reference_time_gives_it_back() {
    let codec = Codec::aac(Bytes::from_static(&[0x11, 0x90])).unwrap();
    let track = Track::new(7, 48_000.try_into().unwrap(), codec).unwrap();
    let init = Arc::new(init_segment(&[track]).unwrap());
    let reference = ProducerReference {
        track_id: 7,
        time: UnixTime::from_millis(1_700_000_000_123).into(),
        media_time: 96_000,
        point: ReferencePoint::Packaged,
    };
    let sample = |bytes: &'static [u8]| MediaSample {
        duration: 1024,
        composition_offset: 0,
        flags: SampleFlags::SYNC,
        data: Bytes::from_static(bytes).into(),
    };
    let mut writer = ChunkWriter::new(7);
    assert!(writer.chunk(0, &[], None).is_err());
    let chunk = writer
        .chunk(96_000, &[sample(b"one"), sample(b"three")], Some(reference))
        .unwrap();
    let mut reader = Reader::with_init(Arc::clone(&init), Limits::default());
    reader.push_payload(&chunk).unwrap();
    let Some(Event::Fragment(fragment)) = reader.poll().unwrap() else {
        panic!("no fragment")
    };
    assert_eq!(fragment.producer_reference, Some(reference));
    assert_eq!(fragment.payload(), chunk);
    assert_eq!((fragment.sequence, fragment.is_independent), (1, true));
    let track = fragment.track(7).unwrap();
    assert_eq!((track.base_decode_time, track.duration), (96_000, 2048));
    assert_eq!(
        fragment.sample_payload(&track.samples[1]).to_bytes(),
        "three"
    );
    let mut checker = Checker::new(&init.raw.clone().into());
    checker.object(&chunk);
    assert_eq!(checker.findings(), []);
}

fn cuts(len: usize) -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(0..=len, 0..12),
        Just((0..len).collect()),
        (1..700usize).prop_map(move |step| (0..len).step_by(step).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_cut_anywhere_give_the_same_events(
        (file, mut cuts) in (0..FRAGMENTED.len()).prop_flat_map(|file| {
            (Just(FRAGMENTED[file]), cuts(FRAGMENTED[file].len()))
        }),
    ) {
        cuts.extend([0, file.len()]);
        cuts.sort_unstable();
        let file = Bytes::from_static(file);
        let pieces = cuts.windows(2).map(|cut| file.slice(cut[0]..cut[1]));
        prop_assert_eq!(events(pieces), events([file.clone()]));
    }
}
