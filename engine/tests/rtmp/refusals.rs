//! Who may not publish is told why, and nobody else notices.

use crate::world::*;
use mainstem_core::resolve::Secret;
use mainstem_engine::{ControlClient, Engine};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_stream_key_is_told_to_the_encoder() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let mut encoder = Encoder::connect(&engine).await;
    encoder.send(&capture_with_key("sk_evil")).await;
    let told = encoder.told().await;
    assert!(
        told.contains("auth_failed: the stream key is wrong"),
        "{told}"
    );
    assert!(told.contains("NetStream.Publish.Denied") && !told.contains("sk_evil"));
    assert_eq!(engine.metrics.publishes_refused_total.load(Relaxed), 1);
    assert_eq!(engine.inputs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_being_published_is_refused_to_a_second_encoder() {
    let relay = TestRelay::start(Door::Open);
    let engine = engine(&relay).await;
    let _first = Encoder::begun(&engine).await;
    until("publishing", || engine.metrics.encoders.load(Relaxed) == 1).await;
    let second = Encoder::begun(&engine).await;
    let told = second.told().await;
    assert!(
        told.contains("input lv_1 is being published by another encoder"),
        "{told}"
    );
    assert_eq!(engine.metrics.encoders.load(Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_encoder_is_taken_over_from() {
    let relay = TestRelay::start(Door::Open);
    let mut config = config(&relay).await;
    config.stale_after = Duration::from_millis(100);
    let engine = Engine::start(config).await.unwrap();
    let first = Encoder::begun(&engine).await;
    until("publishing", || engine.metrics.encoders.load(Relaxed) == 1).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let mut second = Encoder::begun(&engine).await;
    let told = first.told().await;
    assert!(
        told.contains("another encoder publishes to this input"),
        "{told}"
    );
    until("taken over", || {
        engine.metrics.publishes_total.load(Relaxed) >= 2
    })
    .await;
    let before = engine.metrics.chunks_total.load(Relaxed);
    second.send(&CAPTURE[HEAD..CAPTURE.len() - 200]).await;
    until("it publishes", || {
        engine.metrics.chunks_total.load(Relaxed) > before + 40
    })
    .await;
}

/// The key was good when the encoder came, and is not when the relay asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_relay_refuses_ends_the_encoder_as_auth_failed() {
    let relay = TestRelay::start(Door::Closed);
    let engine = engine(&relay).await;
    let encoder = Encoder::begun(&engine).await;
    let told = encoder.told().await;
    assert!(
        told.contains("auth_failed: the stream key is not valid any more"),
        "{told}"
    );
    until("forgotten", || engine.inputs() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_does_not_answer_is_no_wrong_key() {
    let relay = TestRelay::start(Door::Open);
    let mut config = config(&relay).await;
    // A socket that is closed again: nobody listens there.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    config.control = ControlClient::new(&url, Secret::new("secret of programs")).unwrap();
    drop(free);
    let engine = Engine::start(config).await.unwrap();
    let encoder = Encoder::begun(&engine).await;
    let told = encoder.told().await;
    assert!(
        told.contains("unavailable: the control plane cannot be asked"),
        "{told}"
    );
    assert!(told.contains("NetStream.Failed") && !told.contains("auth_failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_closed_and_others_go_on() {
    let relay = TestRelay::start(Door::Open);
    let mut config = config(&relay).await;
    config.rtmp.handshakes_per_ip_max = 4;
    config.rtmp.limits.handshake_timeout = Duration::from_millis(300);
    let engine = Engine::start(config).await.unwrap();
    let mut publishing = Encoder::begun(&engine).await;
    until("publishing", || engine.metrics.encoders.load(Relaxed) == 1).await;
    let connect = || TcpStream::connect(engine.rtmp_addr);
    let mut noise = connect().await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(closed(&mut noise).await, 0);
    // Connections that say nothing take the room of one address, and only for a while.
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(connect().await.unwrap());
    }
    until("two too many", || {
        engine.metrics.connections_refused_total.load(Relaxed) >= 2
    })
    .await;
    for stream in &mut silent {
        closed(stream).await;
    }
    publishing.send(&CAPTURE[HEAD..CAPTURE.len() - 200]).await;
    until("it goes on", || {
        engine.metrics.chunks_total.load(Relaxed) > 60
    })
    .await;
}

/// Waits for the end of a connection; how many bytes came before.
async fn closed(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end too.
    read.expect("the engine closes").unwrap_or(0)
}
