//! What we write, played by ffmpeg and taken apart by ffprobe.
//!
//! Compiled only with the feature `external-tools`. `MAINSTEM_FFMPEG` and `MAINSTEM_FFPROBE` name
//! the programs; without them they are looked for on the path.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way of speaking"
)]

use bytes::Bytes;
use mainstem_core::cmaf::{
    ChunkSize, ChunkWriter, Event, Fragment, Init, Limits, MediaSample, Muxer, Reader, Splitter,
    init_segment, progressive,
};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const FILES: [(&str, &[u8]); 6] = [
    ("h264_aac", include_bytes!("media/h264_aac.mp4")),
    (
        "h264_aac_signed",
        include_bytes!("media/h264_aac_signed.mp4"),
    ),
    ("h264_opus", include_bytes!("media/h264_opus.mp4")),
    ("hevc_opus", include_bytes!("media/hevc_opus.mp4")),
    ("av1", include_bytes!("media/av1.mp4")),
    ("flac", include_bytes!("media/flac.mp4")),
];

#[expect(
    clippy::disallowed_methods,
    reason = "where the tools are is for the caller to say"
)]
fn tool(variable: &str, name: &str) -> Command {
    Command::new(std::env::var(variable).unwrap_or_else(|_| name.to_owned()))
}

/// Decodes every frame; anything that ffmpeg has to say about it is a failure.
fn decodes(path: &Path) {
    let mut ffmpeg = tool("MAINSTEM_FFMPEG", "ffmpeg");
    let output = ffmpeg
        .args(["-v", "warning", "-i"])
        .arg(path)
        .args(["-f", "null", "-"]);
    let output = output.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        path.display()
    );
}

/// Packets of a stream as ffprobe sees them: presentation time, decode time, size, key flag.
fn packets(path: &Path, stream: &str) -> Vec<String> {
    let mut ffprobe = tool("MAINSTEM_FFPROBE", "ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0"]);
    ffprobe.args([
        "-show_entries",
        "packet=pts,dts,size,flags",
        "-ignore_editlist",
        "1",
    ]);
    let output = ffprobe.arg(path).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The same list from our reader.
///
/// ffprobe never shows a presentation time before its decode time: with signed composition offsets
/// it moves the whole track's presentation, so the same is done here.
fn our_packets(fragments: &[Fragment], id: u32) -> Vec<String> {
    let tracks = || {
        let all = fragments.iter().flat_map(|f| &f.tracks);
        all.filter(|track| track.track_id == id)
    };
    let offsets = tracks()
        .flat_map(|track| &track.samples)
        .map(|s| s.composition_offset);
    let moved = i64::from(offsets.min().unwrap_or(0).min(0)).abs();
    let mut lines = Vec::new();
    for track in tracks() {
        let mut time = i64::try_from(track.base_decode_time).unwrap();
        for sample in &track.samples {
            let mut line = String::new();
            let shown = time + i64::from(sample.composition_offset) + moved;
            let key = if sample.flags.is_sync() { "K_" } else { "__" };
            write!(line, "{shown},{time},{},{key}", sample.size).unwrap();
            lines.push(line);
            time += i64::from(sample.duration);
        }
    }
    lines
}

fn read(file: &[u8]) -> (Arc<Init>, Vec<Fragment>) {
    let mut reader = Reader::new(Limits::default());
    reader.push(Bytes::copy_from_slice(file)).unwrap();
    let mut fragments = Vec::new();
    while let Some(event) = reader.poll().unwrap() {
        if let Event::Fragment(fragment) = event {
            fragments.push(fragment);
        }
    }
    (Arc::clone(reader.init().unwrap()), fragments)
}

fn write(dir: &Path, name: &str, parts: &[Bytes]) -> std::path::PathBuf {
    let path = dir.join(name);
    let mut out = Vec::new();
    for part in parts {
        out.write_all(part).unwrap();
    }
    std::fs::write(&path, out).unwrap();
    path
}

#[test]
fn ffprobe_and_the_reader_see_the_same_packets() {
    let dir = tempfile::tempdir().unwrap();
    for (name, file) in FILES {
        let path = write(dir.path(), name, &[Bytes::from_static(file)]);
        let (init, fragments) = read(file);
        for (at, track) in init.tracks.iter().enumerate() {
            let theirs = packets(&path, &at.to_string());
            assert_eq!(
                theirs,
                our_packets(&fragments, track.id),
                "{name} stream {at}"
            );
        }
    }
}

#[test]
fn ordinary_files_are_walked_as_ffprobe_walks_them_and_play_when_published() {
    let dir = tempfile::tempdir().unwrap();
    let files: [&[u8]; 2] = [
        include_bytes!("media/progressive.mp4"),
        include_bytes!("media/progressive_moov_last.mp4"),
    ];
    for file in files {
        let path = write(dir.path(), "progressive.mp4", &[Bytes::from_static(file)]);
        let mut source = progressive::Source::from_bytes(&Bytes::from_static(file)).unwrap();
        let tracks = source.tracks().to_vec();
        let init = init_segment(&tracks).unwrap();
        let mut writers: Vec<_> = tracks
            .iter()
            .map(|track| ChunkWriter::new(track.id))
            .collect();
        let mut ours = vec![Vec::new(); tracks.len()];
        let mut published = vec![init.raw];
        while let Some(sample) = source.next_sample().unwrap() {
            let at = tracks
                .iter()
                .position(|track| track.id == sample.track_id)
                .unwrap();
            let time = i64::try_from(sample.decode_time).unwrap();
            let shown = time + i64::from(sample.composition_offset);
            let key = if sample.flags.is_sync() { "K_" } else { "__" };
            ours[at].push(format!("{shown},{time},{},{key}", sample.size));
            let from = usize::try_from(sample.offset).unwrap();
            let data = Bytes::from_static(&file[from..from + sample.size as usize]);
            let media = MediaSample {
                duration: sample.duration,
                composition_offset: sample.composition_offset,
                flags: sample.flags,
                data: data.into(),
            };
            let chunk = writers[at]
                .chunk(sample.decode_time, &[media], None)
                .unwrap();
            published.push(chunk.to_bytes());
        }
        let again = write(dir.path(), "published.mp4", &published);
        decodes(&again);
        for (at, ours) in ours.iter().enumerate() {
            assert_eq!(&packets(&path, &at.to_string()), ours);
            assert_eq!(&packets(&again, &at.to_string()), ours);
        }
    }
}

#[test]
fn single_tracks_play_with_their_init_copied_and_written() {
    let dir = tempfile::tempdir().unwrap();
    for (name, file) in FILES {
        let (init, fragments) = read(file);
        for size in [
            ChunkSize::Frame,
            ChunkSize::Duration(Duration::from_millis(500)),
        ] {
            let mut splitter = Splitter::new(&init, size);
            let chunks: Vec<_> = fragments
                .iter()
                .flat_map(|f| splitter.split(f).unwrap())
                .collect();
            for track in &init.tracks {
                let of_track = chunks.iter().filter(|chunk| chunk.track_id == track.id);
                let bytes: Vec<_> = of_track.map(|chunk| chunk.payload.to_bytes()).collect();
                let copied = init.single_track(track.id).unwrap().raw;
                let written = init_segment(std::slice::from_ref(track)).unwrap().raw;
                for (head, kind) in [(copied, "copied"), (written, "written")] {
                    let mut parts = vec![head];
                    parts.extend_from_slice(&bytes);
                    let path = write(dir.path(), &format!("{name}-{kind}.mp4"), &parts);
                    decodes(&path);
                    assert_eq!(packets(&path, "0"), our_packets(&fragments, track.id));
                }
            }
        }
    }
}

#[test]
fn a_muxed_file_of_separate_tracks_plays() {
    let dir = tempfile::tempdir().unwrap();
    for (name, file) in FILES {
        let (init, fragments) = read(file);
        let inits: Vec<_> = init
            .tracks
            .iter()
            .map(|track| Arc::new(init.single_track(track.id).unwrap()))
            .collect();
        let mut muxer = Muxer::new(&inits, Limits::default()).unwrap();
        let mut splitter = Splitter::new(&init, ChunkSize::Frame);
        for chunk in fragments.iter().flat_map(|f| splitter.split(f).unwrap()) {
            let input = init
                .tracks
                .iter()
                .position(|track| track.id == chunk.track_id);
            muxer.push(input.unwrap(), &chunk.payload).unwrap();
        }
        muxer.finish().unwrap();
        let parts: Vec<_> = std::iter::from_fn(|| muxer.poll())
            .map(|p| p.to_bytes())
            .collect();
        let path = write(dir.path(), &format!("{name}-muxed.mp4"), &parts);
        decodes(&path);
        for (at, track) in init.tracks.iter().enumerate() {
            assert_eq!(
                packets(&path, &at.to_string()),
                our_packets(&fragments, track.id)
            );
        }
        // And the muxed form of the writer, for players that take a single stream.
        let mut parts = vec![init_segment(&init.tracks).unwrap().raw];
        parts.extend(
            fragments
                .iter()
                .filter(|f| f.is_relocatable)
                .map(|f| f.payload().to_bytes()),
        );
        if parts.len() > 1 {
            decodes(&write(dir.path(), &format!("{name}-one.mp4"), &parts));
        }
    }
}
