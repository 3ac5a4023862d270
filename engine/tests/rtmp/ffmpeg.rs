//! ffmpeg as the encoder, in real time. Compiled only with the feature `external-tools`;
//! `MAINSTEM_FFMPEG` names the program, without it it is looked for on the path.

use crate::world::*;
use mainstem_core::viewer::Event;
use mainstem_engine::Running;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::process::{Child, Command};

/// Four seconds of a moving picture with B-frames and a tone, to an input with a key.
fn ffmpeg(engine: &Running, key: &str) -> Child {
    let program = std::env::var("MAINSTEM_FFMPEG").unwrap_or_else(|_| "ffmpeg".to_owned());
    let url = format!("rtmp://{}/live/lv_1?sk={key}", engine.rtmp_addr);
    Command::new(program)
        .args([
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x180:rate=30",
        ])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000",
            "-t",
            "4",
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "2",
            "-g",
            "30",
        ])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", &url])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_reaches_a_viewer_without_a_gap_and_in_time() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let encoder = ffmpeg(&engine, "sk_test");
    until("announced", || relay.metrics().namespaces == 1).await;
    let mut viewer = Viewer::watch(&relay);
    let catalog = viewer.catalog().await;
    let (mut chunks, mut delays, mut ended) = (Vec::new(), Vec::new(), 0);
    while ended < 2 {
        match viewer.next().await {
            Event::Chunk(chunk) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let one = std::slice::from_ref(&chunk);
                let fragment = fragments(&catalog, &chunk.track, one).pop().unwrap();
                let made = fragment.producer_reference.unwrap().time.as_unix_micros();
                delays.push(u64::try_from(now.as_micros()).unwrap().saturating_sub(made));
                chunks.push(chunk);
            }
            Event::TrackEnded { .. } => ended += 1,
            Event::Catalog(last) => assert!(last.complete),
            other => panic!("expected chunks and the end, got {other:?}"),
        }
    }
    let done = encoder.wait_with_output().await.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    for track in ["video/180p", "audio"] {
        let fragments = fragments(&catalog, track, &chunks);
        assert!(fragments.len() > 60, "{track}: {}", fragments.len());
        for pair in fragments.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1, "{track}");
            let (before, next) = (&pair[0].tracks[0], &pair[1].tracks[0]);
            let gap = next.base_decode_time - before.base_decode_time;
            assert_eq!(gap, before.duration, "{track}");
        }
    }
    // The first were waiting for the viewer.
    let mut delays = delays.split_off(delays.len() / 3);
    delays.sort_unstable();
    let at = |percent: usize| delays[delays.len() * percent / 100];
    println!("packager to viewer: p50 {} us, p99 {} us", at(50), at(99));
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_shows_its_person_why_it_was_refused() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let done = ffmpeg(&engine, "sk_evil").wait_with_output().await.unwrap();
    assert!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        said.contains("auth_failed: the stream key is wrong"),
        "{said}"
    );
}
