//! The server stops, whatever its clients are doing.

use crate::world::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

/// A question that is answered when something changes, or after a minute.
fn long_poll() -> String {
    format!(
        "GET /internal/v1/relay/changes?after=0&wait=60 HTTP/1.1\r\nhost: control\r\n\
         authorization: Bearer {RELAY_SECRET}\r\n\r\n"
    )
}

#[test]
fn stopping_answers_those_who_wait_and_is_over_in_its_time() {
    worlds(
        |limits| limits.shutdown = Duration::from_secs(5),
        &[
            ("waiting", |world| {
                Box::pin(async move {
                    let mut stream = connect().await;
                    stream.write_all(long_poll().as_bytes()).await.unwrap();
                    let (status, body) = answer(&mut stream).await.expect("an answer");
                    assert_eq!(status, 200, "{body}");
                    assert!(body["changes"].as_array().unwrap().is_empty());
                    assert!(world.stopped.get().is_none(), "answered before it is over");
                })
            }),
            ("dripping", |world| {
                Box::pin(async move {
                    let mut stream = connect().await;
                    let half = post("/streams/resolve", RELAY_SECRET, &"x".repeat(1000));
                    stream.write_all(&half.as_bytes()[..200]).await.unwrap();
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                    // Nobody works on it any more.
                    let mut rest = Vec::new();
                    let end = stream.read_to_end(&mut rest);
                    let end = tokio::time::timeout(Duration::from_millis(500), end);
                    assert!(end.await.is_ok(), "the connection outlives the server");
                })
            }),
            ("deaf", |world| {
                Box::pin(async move {
                    let mut stream = connect().await;
                    let flood = HEALTH.replace("connection: close\r\n", "").repeat(1000);
                    let flood = stream.write_all(flood.as_bytes());
                    let _ = tokio::time::timeout(Duration::from_secs(1), flood).await;
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                })
            }),
            ("operator", |world| {
                Box::pin(async move {
                    sleep(Duration::from_secs(2)).await;
                    world.stop.set(true);
                    world
                        .until("stopped", |it| it.stopped.get().is_some())
                        .await;
                    let took = world.stopped.get().unwrap();
                    assert!(took < Duration::from_millis(5500), "{took:?}");
                    assert_eq!(world.queries.get(), 0);
                    assert!(ask(HEALTH).await.is_none(), "nobody listens any more");
                })
            }),
        ],
    );
}

#[test]
fn a_stop_with_nothing_to_do_takes_no_time() {
    worlds(
        |limits| limits.shutdown = Duration::from_secs(5),
        &[("operator", |world| {
            Box::pin(async move {
                // One that was used and is kept, one on which nothing was said yet, and one that waits.
                let mut used = connect().await;
                let question = HEALTH.replace("connection: close\r\n", "");
                used.write_all(question.as_bytes()).await.unwrap();
                let mut begin = [0; 12];
                used.read_exact(&mut begin).await.unwrap();
                let _unused = connect().await;
                let mut waiting = connect().await;
                waiting.write_all(long_poll().as_bytes()).await.unwrap();
                sleep(Duration::from_secs(1)).await;
                world.stop.set(true);
                world
                    .until("stopped", |it| it.stopped.get().is_some())
                    .await;
                let took = world.stopped.get().unwrap();
                assert!(took < Duration::from_secs(1), "{took:?}");
            })
        })],
    );
}
