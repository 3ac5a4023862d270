//! What an encoder sends reaches viewers, whatever happens to encoder and relay meanwhile.

use crate::world::*;
use mainstem_core::viewer::Event;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_of_an_encoder_reaches_a_viewer() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let mut encoder = Encoder::begun(&engine).await;
    until("announced", || relay.metrics().namespaces == 1).await;
    let mut viewer = Viewer::watch(&relay);
    let catalog = viewer.catalog().await;
    let names: Vec<&str> = catalog
        .tracks
        .iter()
        .map(|track| track.name.as_str())
        .collect();
    assert_eq!(names, ["video/90p", "audio"]);
    let mut delays = Vec::new();
    for part in CAPTURE[HEAD..].chunks(500) {
        encoder.send(part).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut chunks = Vec::new();
    let mut ended = 0;
    while ended < 2 {
        match viewer.next().await {
            Event::Chunk(chunk) => {
                delays.extend(delay_micros(&catalog, &chunk));
                chunks.push(chunk);
            }
            Event::TrackEnded { .. } => ended += 1,
            Event::Catalog(last) => assert!(last.complete && !last.live),
            other => panic!("expected chunks and the end, got {other:?}"),
        }
    }
    for (track, count) in [("video/90p", 30), ("audio", 53)] {
        let fragments = fragments(&catalog, track, &chunks);
        assert_eq!(fragments.len(), count, "{track}");
        let sequence: Vec<u32> = fragments.iter().map(|fragment| fragment.sequence).collect();
        assert!(sequence.is_sorted(), "{track}: {sequence:?}");
    }
    delays.sort_unstable();
    println!(
        "packager to viewer: p50 {} us, most {} us",
        delays[delays.len() / 2],
        delays.last().unwrap()
    );
    let metrics = &engine.metrics;
    assert_eq!(metrics.frames_total.load(Relaxed), 83);
    assert_eq!(metrics.chunks_total.load(Relaxed), 83);
    assert_eq!(metrics.frames_dropped_total.load(Relaxed), 0);
    until("no encoder, no input", || {
        metrics.encoders.load(Relaxed) == 0 && engine.inputs() == 0
    })
    .await;
    engine.stop(Duration::from_secs(2)).await;
}

/// Only of chunks that the viewer got as they were made, not of those that it was given late.
fn delay_micros(
    catalog: &mainstem_core::catalog::Catalog,
    chunk: &mainstem_core::viewer::Chunk,
) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let fragment = fragments(catalog, &chunk.track, std::slice::from_ref(chunk)).pop()?;
    let made = fragment.producer_reference?.time.as_unix_micros();
    let delay = u64::try_from(now.as_micros()).unwrap().saturating_sub(made);
    (delay < 1_000_000).then_some(delay)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_vanished_comes_back_to_its_viewers() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let encoder = Encoder::begun(&engine).await;
    until("announced", || relay.metrics().namespaces == 1).await;
    let mut viewer = Viewer::watch(&relay);
    let first = viewer.chunks_until("video/90p", 1).await;
    encoder.vanish();
    until("lost", || engine.metrics.encoders.load(Relaxed) == 0).await;
    assert_eq!(engine.inputs(), 1, "the broadcast lingers");
    let mut again = Encoder::begun(&engine).await;
    let video = |chunks: &[mainstem_core::viewer::Chunk]| {
        let mut video = chunks.iter().filter(|chunk| chunk.track == "video/90p");
        let last = video.next_back().unwrap();
        (last.group, last.object)
    };
    let before = video(&first);
    let mut now = before;
    while now.0 <= before.0 {
        now = video(&viewer.chunks_until("video/90p", 1).await);
    }
    again.send(&CAPTURE[HEAD..]).await;
    assert_eq!(relay.metrics().namespaces, 1, "the same broadcast goes on");
    engine.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_restarts_gets_the_stream_again_and_the_encoder_sees_nothing() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let mut encoder = Encoder::begun(&engine).await;
    until("announced", || relay.metrics().namespaces == 1).await;
    let relay = relay.restart();
    until("announced again", || relay.metrics().namespaces == 1).await;
    let mut viewer = Viewer::watch(&relay);
    let first = viewer.chunks_until("video/90p", 1).await.pop().unwrap();
    assert_eq!(
        first.object, 0,
        "the group that is under way, from its beginning"
    );
    encoder.send(&CAPTURE[HEAD..CAPTURE.len() - 200]).await;
    viewer.chunks_until("video/90p", 20).await;
    assert_eq!(engine.metrics.encoders.load(Relaxed), 1);
    engine.stop(Duration::from_secs(2)).await;
    assert!(encoder.told().await.contains("the engine is stopping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_away_holds_up_no_encoder() {
    let relay = TestRelay::start(Door::Open);
    let mut config = config(&relay).await;
    drop(relay);
    config.broadcast.linger = Duration::from_millis(200);
    let engine = mainstem_engine::Engine::start(config).await.unwrap();
    let mut encoder = Encoder::connect(&engine).await;
    encoder.send(CAPTURE).await;
    until("all frames are taken", || {
        engine.metrics.frames_total.load(Relaxed) == 83
    })
    .await;
    until("forgotten", || engine.inputs() == 0).await;
    engine.stop(Duration::from_millis(200)).await;
}
