//! Those that send too much, read nothing, or only hold connections open.

use crate::world::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

#[test]
fn an_address_that_opens_hundreds_of_connections_keeps_nobody_else_out() {
    worlds(
        |config| config.rtmp.handshakes_per_ip_max = 8,
        &[
            ("flooder", |world| {
                Box::pin(async move {
                    let mut streams = Vec::new();
                    for _ in 0..200 {
                        streams.push(connect().await);
                    }
                    let refused = |it: &World| it.figure(|all| &all.connections_refused_total);
                    world.until("refused", |it| refused(it) == 192).await;
                    let began = Instant::now();
                    for stream in &mut streams {
                        // A reset is an end too.
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                    assert!(began.elapsed() < Duration::from_secs(14));
                    // Its own room is free again.
                    drop(streams);
                    sleep(Duration::from_millis(100)).await;
                    let stream = connect().await;
                    sleep(Duration::from_secs(1)).await;
                    assert_eq!(refused(&world), 192);
                    drop(stream);
                })
            }),
            ("encoder", |world| {
                Box::pin(async move {
                    let began = Instant::now();
                    let refused = |it: &World| it.figure(|all| &all.connections_refused_total);
                    world.until("the flood", |it| refused(it) > 20).await;
                    let encoder = Encoder::with(&CAPTURE[..NEARLY_ALL]).await;
                    world.until("it publishes", |it| it.chunks() > 70).await;
                    assert!(began.elapsed() < Duration::from_secs(20));
                    encoder.hang_up();
                })
            }),
        ],
    );
}

#[test]
fn a_client_that_never_reads_is_not_answered_without_end() {
    worlds(
        |_| {},
        &[("client", |world| {
            Box::pin(async move {
                let mut stream = connect().await;
                stream.write_all(&CAPTURE[..HANDSHAKE]).await.unwrap();
                // Ping requests: each is to be answered.
                let mut pings = Vec::new();
                for _ in 0..500 {
                    pings.extend_from_slice(&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0]);
                    pings.extend_from_slice(&[0, 6, 0, 0, 0, 1]);
                }
                let flood = async {
                    let mut sent = 0;
                    while stream.write_all(&pings).await.is_ok() {
                        sent += pings.len();
                    }
                    sent
                };
                let began = Instant::now();
                let gone = world.until("closed", |it| {
                    it.figure(|all| &all.connections_total) == 1 && it.connections() == 0
                });
                tokio::select! {
                    _ = flood => {}
                    () = gone => {}
                }
                let received = world.figure(|all| &all.received_bytes_total);
                assert!(received < 2 << 20, "seed {}: {received}", world.seed);
                world.until("closed", |it| it.connections() == 0).await;
                assert!(
                    began.elapsed() < Duration::from_secs(13),
                    "{:?}",
                    began.elapsed()
                );
            })
        })],
    );
}

#[test]
fn noise_in_the_middle_of_a_stream_ends_that_stream_alone() {
    worlds(
        |_| {},
        &[
            ("other", |world| {
                Box::pin(async move {
                    let other = capture_with("lv_1", "lv_2");
                    let mut encoder = Encoder::with(&other[..HEAD]).await;
                    world.until("both publish", |it| it.encoders() == 2).await;
                    world.until("one is left", |it| it.encoders() == 1).await;
                    let before = world.chunks();
                    encoder.send(&other[HEAD..NEARLY_ALL]).await;
                    world
                        .until("it goes on", |it| it.chunks() > before + 45)
                        .await;
                    encoder.hang_up();
                })
            }),
            ("noisy", |world| {
                Box::pin(async move {
                    let mut encoder = Encoder::with(&CAPTURE[..world.cut(HEAD)]).await;
                    world.until("both publish", |it| it.encoders() == 2).await;
                    encoder.send(&vec![0xff; 64 << 10]).await;
                    encoder.told().await;
                })
            }),
        ],
    );
}
