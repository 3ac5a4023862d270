//! What the packager writes, decoded by ffmpeg. Compiled only with the feature `external-tools`;
//! `MAINSTEM_FFMPEG` names the program, without it it is looked for on the path.

use super::*;
use mainstem_core::cmaf::init_segment;
use std::io::Write as _;
use std::process::{Command, Stdio};

#[expect(
    clippy::disallowed_methods,
    reason = "where the tools are is for the caller to say"
)]
fn ffmpeg() -> Command {
    Command::new(std::env::var("MAINSTEM_FFMPEG").unwrap_or_else(|_| "ffmpeg".to_owned()))
}

/// Each track alone, and all of them together, decode without a word.
#[test]
fn ffmpeg_decodes_what_is_packaged() {
    for capture in [FFMPEG_5, FFMPEG_9] {
        let (outputs, _) = run(Config::default(), inputs_of(capture, 4096));
        let tracks = tracks(&outputs)[0];
        let all: Vec<_> = tracks.iter().map(|t| t.track.clone()).collect();
        decodes(&init_segment(&all).unwrap().raw, &outputs, None);
        for track in tracks {
            decodes(&track.init.raw, &outputs, Some(track.track.id));
        }
    }
}

fn decodes(init: &[u8], outputs: &[Output], only: Option<u32>) {
    let mut child = ffmpeg()
        .args([
            "-v", "warning", "-xerror", "-i", "pipe:0", "-f", "null", "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(init).unwrap();
    for output in outputs {
        if let Output::Chunk(chunk) = output
            && only.is_none_or(|id| id == chunk.track_id)
        {
            for piece in chunk.payload.pieces() {
                stdin.write_all(piece).unwrap();
            }
        }
    }
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() && said.is_empty(),
        "track {only:?}: {said}"
    );
}
