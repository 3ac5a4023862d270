//! ffmpeg as an encoder that a person might use, and ffprobe as a judge of what arrived.
//!
//! Whether every frame came is not asked of the program under test. The clip, looped, is first
//! written to a file by the same ffmpeg arguments; each packet of it has a checksum. What a viewer
//! wrote must be one unbroken run of those checksums: nothing missing, doubled, reordered or changed.

use super::api::LiveInput;
use super::program::Running;
use super::up::Up;
use super::{Scratch, output_of, tool};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// One kind of media in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first video stream.
    Video,
    /// The first audio stream.
    Audio,
}

/// A packet as ffprobe sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Checksum of its bytes.
    pub hash: String,
    /// Decode time in seconds.
    pub dts: f64,
    /// Whether decoding can start here.
    pub is_key: bool,
}

/// Pushes a clip over RTMP in its own time, again and again, until `seconds` have passed.
pub fn push(scratch: &Scratch, up: &Up, input: &LiveInput, clip: &Path, seconds: u32) -> Running {
    let url = format!(
        "{}/{}?sk={}",
        up.ready.rtmp, input.external_id, input.stream_key
    );
    push_to(scratch, &url, clip, seconds)
}

/// The same, to any URL.
pub fn push_to(scratch: &Scratch, url: &str, clip: &Path, seconds: u32) -> Running {
    let mut command = Command::new(ffmpeg());
    command.args(["-hide_banner", "-nostats", "-loglevel", "warning", "-re"]);
    loop_copy(&mut command, clip, seconds);
    Running::start(scratch, "ffmpeg", command.arg(url))
}

/// The packets that [`push`] sends in `seconds`, in order.
pub fn reference(scratch: &Scratch, clip: &Path, seconds: u32, kind: Kind) -> Vec<Packet> {
    let file = scratch.join("reference.flv");
    if !file.exists() {
        let mut command = Command::new(ffmpeg());
        command.args(["-hide_banner", "-nostats", "-loglevel", "error", "-y"]);
        loop_copy(&mut command, clip, seconds);
        output_of(command.arg(&file));
    }
    packets(&file, kind)
}

/// The packets of a file, in decoding order.
pub fn packets(file: &Path, kind: Kind) -> Vec<Packet> {
    let stream = if kind == Kind::Video { "v:0" } else { "a:0" };
    let mut command = Command::new(ffprobe());
    command.args(["-v", "error", "-select_streams", stream, "-of", "json"]);
    command.args(["-show_packets", "-show_data_hash", "md5"]);
    let text = output_of(command.arg(file));
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let packets = value["packets"].as_array().into_iter().flatten();
    packets
        .map(|packet| {
            let text = |name: &str| packet[name].as_str().unwrap_or_default();
            Packet {
                hash: text("data_hash").to_owned(),
                dts: text("dts_time").parse().unwrap_or(f64::NAN),
                is_key: text("flags").starts_with('K'),
            }
        })
        .collect()
}

/// How far the interval between two packets may differ from what was sent, in seconds. Every
/// container rounds to its own clock, and audio is moved by a frame where a clip begins again; one
/// round of any clip is far longer.
const TIME_TOLERANCE: f64 = 0.1;

/// Where `got` stands in `reference` as one unbroken run: the same bytes at the same intervals.
///
/// The intervals matter because the clip repeats: a hole of exactly one round has no wrong byte.
///
/// # Panics
///
/// When it does not, naming the first packet that breaks the longest run.
pub fn assert_unbroken_run(reference: &[Packet], got: &[Packet], what: &str) -> usize {
    assert!(!got.is_empty(), "{what}: nothing arrived");
    let runs = (0..reference.len()).map(|start| (run_len(reference, start, got), start));
    let (best, start) = runs.max_by_key(|(len, _)| *len).unwrap_or_default();
    let next = got.get(best);
    assert!(
        best == got.len(),
        "{what}: {} packets arrived; packet {best}, at {:.3} s, is not the one that follows in \
         what was sent",
        got.len(),
        next.map_or(f64::NAN, |packet| packet.dts)
    );
    start
}

fn run_len(reference: &[Packet], start: usize, got: &[Packet]) -> usize {
    let sent = reference.get(start..).unwrap_or_default();
    let offset = |packets: &[Packet]| packets.first().map_or(0.0, |packet| packet.dts);
    let shift = offset(sent) - offset(got);
    let pairs = sent.iter().zip(got);
    let same = pairs.take_while(|(sent, got)| {
        sent.hash == got.hash && (sent.dts - got.dts - shift).abs() < TIME_TOLERANCE
    });
    same.count()
}

/// Panics when a decode time is earlier than the one before.
pub fn assert_times_never_go_back(packets: &[Packet], what: &str) {
    for (index, pair) in packets.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        assert!(
            after.dts >= before.dts,
            "{what}: packet {} is at {:.3} s, the one before at {:.3} s",
            index + 1,
            after.dts,
            before.dts
        );
    }
}

/// The longest time between two key frames, in seconds.
pub fn group_seconds_max(packets: &[Packet]) -> f64 {
    let keys: Vec<f64> = packets
        .iter()
        .filter(|each| each.is_key)
        .map(|each| each.dts)
        .collect();
    let gaps = keys.windows(2).map(|pair| match pair {
        [one, other] => other - one,
        _ => 0.0,
    });
    gaps.fold(0.0, f64::max)
}

/// Panics unless ffmpeg decodes all of the file without a word of complaint.
pub fn assert_decodes(file: &Path) {
    let mut command = Command::new(ffmpeg());
    command.args(["-v", "error", "-xerror", "-i"]).arg(file);
    let output = command
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.trim().is_empty(),
        "ffmpeg cannot decode {}:\n{complaint}",
        file.display()
    );
}

fn loop_copy(command: &mut Command, clip: &Path, seconds: u32) {
    command.args(["-stream_loop", "-1", "-i"]).arg(clip);
    command.args(["-map", "0:v:0", "-map", "0:a:0", "-c", "copy"]);
    command.args(["-t", &seconds.to_string(), "-f", "flv"]);
    command.args(["-flvflags", "no_duration_filesize"]);
}

fn ffmpeg() -> std::path::PathBuf {
    tool("MAINSTEM_FFMPEG", "ffmpeg")
}

fn ffprobe() -> std::path::PathBuf {
    ffmpeg().with_file_name("ffprobe")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::clip;

    /// The judge is judged: it takes a recording that begins and ends anywhere, and no other.
    #[test]
    fn a_recording_of_a_part_is_an_unbroken_run_and_one_with_a_hole_is_not() {
        let scratch = Scratch::new("media");
        let part = scratch.join("part.mp4");
        for kind in [Kind::Video, Kind::Audio] {
            let sent = reference(&scratch, &clip(), 20, kind);
            let mut command = Command::new(ffmpeg());
            command.args(["-v", "error", "-y", "-ss", "7", "-i"]);
            command.arg(scratch.join("reference.flv"));
            command.args(["-t", "9", "-c", "copy", "-f", "mp4"]);
            command.args(["-movflags", "empty_moov+frag_every_frame+default_base_moof"]);
            output_of(command.arg(&part));
            let mut got = packets(&part, kind);
            assert!(got.len() > 100, "{kind:?}: {} packets", got.len());
            assert_unbroken_run(&sent, &got, "part");
            assert_times_never_go_back(&got, "part");
            assert_decodes(&part);
            let fails = |got: &[Packet]| {
                std::panic::catch_unwind(|| assert_unbroken_run(&sent, got, "hole")).is_err()
            };
            let mut late = got.clone();
            late.iter_mut()
                .skip(50)
                .for_each(|packet| packet.dts += 0.2);
            assert!(fails(&late), "{kind:?}: a gap in time went unseen");
            got.remove(50);
            assert!(fails(&got), "{kind:?}: a hole went unseen");
        }
    }
}
