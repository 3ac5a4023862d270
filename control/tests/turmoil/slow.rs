//! Clients that send slowly, or do not read.

use crate::world::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::TcpStream;

const CONNECTIONS: usize = 8;

/// Sends a byte every now and then until the server has had enough; how long that took, and
/// whatever it said.
async fn drip(mut stream: TcpStream, text: String) -> (Duration, String) {
    let began = Instant::now();
    let mut answer = Vec::new();
    for byte in text.bytes().cycle() {
        let _ = stream.write_all(&[byte]).await;
        let end = timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
        if end.is_ok() {
            break;
        }
    }
    (
        began.elapsed(),
        String::from_utf8_lossy(&answer).into_owned(),
    )
}

#[test]
fn heads_that_come_byte_by_byte_take_the_room_of_others_for_a_bounded_time() {
    worlds(
        |limits| limits.connections = CONNECTIONS,
        &[
            ("dripping", |_| {
                Box::pin(async move {
                    let mut all = tokio::task::JoinSet::new();
                    for _ in 0..CONNECTIONS {
                        let stream = connect().await;
                        all.spawn_local(drip(stream, "GET /healthz HTTP/1.1\r\nx: y".to_owned()));
                    }
                    while let Some(ended) = all.join_next().await {
                        let (took, answer) = ended.unwrap();
                        assert!(took < Duration::from_secs(12), "{took:?}");
                        assert!(!answer.contains("200 OK"), "{answer}");
                    }
                })
            }),
            ("honest", |_| {
                Box::pin(async move {
                    sleep(Duration::from_secs(1)).await;
                    let began = Instant::now();
                    let (status, _) = ask(HEALTH).await.expect("an answer");
                    assert_eq!(status, 200);
                    let took = began.elapsed();
                    // All the room was taken when it came.
                    assert!(
                        (Duration::from_secs(5)..Duration::from_secs(11)).contains(&took),
                        "{took:?}"
                    );
                })
            }),
        ],
    );
}

#[test]
fn a_body_that_comes_byte_by_byte_is_answered_in_time_and_its_connection_closed() {
    worlds(
        |limits| limits.request_timeout = Duration::from_secs(15),
        &[("dripping", |world| {
            Box::pin(async move {
                let mut stream = connect().await;
                let head = post("/streams/resolve", RELAY_SECRET, &"x".repeat(1000));
                let head = head.trim_end_matches('x').to_owned();
                stream.write_all(head.as_bytes()).await.unwrap();
                let (took, answer) = drip(stream, "{".to_owned()).await;
                let secs = took.as_secs();
                assert!((14..=17).contains(&secs), "{took:?}");
                assert!(
                    answer.starts_with("HTTP/1.1 503") && answer.contains("took too long"),
                    "{answer}"
                );
                assert_eq!(world.queries.get(), 0);
            })
        })],
    );
}

/// Each asks a thousand times in one go and never takes an answer.
#[test]
fn clients_that_never_read_lose_their_connections_and_others_are_served() {
    worlds(
        |limits| {
            limits.connections = CONNECTIONS;
            limits.write_timeout = Duration::from_secs(20);
        },
        &[
            ("deaf", |_| {
                Box::pin(async move {
                    let mut streams = Vec::new();
                    for _ in 0..CONNECTIONS {
                        streams.push(connect().await);
                    }
                    let question = HEALTH.replace("connection: close\r\n", "");
                    let flood = question.repeat(1000);
                    for stream in &mut streams {
                        let _ = timeout(Duration::from_secs(1), stream.write_all(flood.as_bytes()))
                            .await;
                    }
                    sleep(Duration::from_mins(1)).await;
                })
            }),
            ("honest", |_| {
                Box::pin(async move {
                    sleep(Duration::from_secs(3)).await;
                    let began = Instant::now();
                    let answer = timeout(Duration::from_secs(50), ask(HEALTH)).await;
                    let answer = answer.expect("room for one more");
                    assert_eq!(answer.expect("an answer").0, 200);
                    let took = began.elapsed();
                    assert!(took > Duration::from_secs(1), "all the room was taken");
                    assert!(took < Duration::from_secs(22), "{took:?}");
                })
            }),
        ],
    );
}
