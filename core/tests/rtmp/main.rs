//! RTMP captures of real encoders, mutations of them, and an independent client.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

mod captures;
mod client;
mod mutations;

use bytes::Bytes;
use mainstem_core::rtmp::Limits;
use mainstem_core::rtmp::server::{Event, Input, Output, Session};
use mainstem_core::time::Instant;

/// Everything that ffmpeg 5.1 sent: H.264 and AAC in legacy tags.
const FFMPEG_5: &[u8] = include_bytes!("../fixtures/rtmp-publish-ffmpeg5.bin");
/// Everything that ffmpeg 9.0.2 sent: HEVC and Opus in E-RTMP tags.
const FFMPEG_9: &[u8] = include_bytes!("../fixtures/rtmp-publish-ffmpeg9-hevc-opus.bin");

/// Feeds `parts` to a session, accepts what it asks, and returns all outputs.
fn replay<'a>(limits: Limits, parts: impl Iterator<Item = &'a [u8]>) -> Vec<Output> {
    let now = Instant::ZERO;
    let mut session = Session::new(now, 7, limits);
    let mut outputs = Vec::new();
    let inputs = parts.map(|part| Input::Data(Bytes::copy_from_slice(part)));
    for input in inputs.chain([Input::Closed]) {
        session.handle(now, input);
        while let Some(output) = session.poll() {
            if matches!(output, Output::Event(Event::Publish(_))) {
                session.accept_publish(now).unwrap();
            }
            outputs.push(output);
        }
    }
    outputs
}
