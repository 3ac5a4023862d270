//! Nothing secret is logged, at any level, by us or by what we stand on. In a file of its own: the
//! subscriber is the process's.

mod common;

use common::{send, text, world};
use reqwest::Method;
use serde_json::json;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panicked")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_issued_secret_is_in_the_log_at_any_level() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();

    let world = world().await;
    let input = world.create_input("x").await;
    let (id, lv) = (&input["id"], text(&input["external_input_id"]));
    let ticket = world
        .mutate("streams.liveInputs.mintPlaybackToken", json!({ "id": id }))
        .await;
    let rotated = world
        .mutate("streams.liveInputs.rotateStreamKey", json!({ "id": id }))
        .await;
    let key = &rotated["stream_key_cleartext"];
    let token = text(&ticket["token"]);
    world
        .resolve(json!({ "kind": "publish", "id": lv, "sk": key }))
        .await;
    world
        .resolve(json!({ "kind": "playback", "id": lv, "tok": token }))
        .await;
    world
        .resolve(json!({ "kind": "publish", "id": lv, "sk": "sk_live_wrongwrongwrong" }))
        .await;
    world
        .relay(Method::POST, "/streams/resolve")
        .body(text(key))
        .send()
        .await
        .unwrap();
    let url = world.url(&format!("/streams/resolve/{lv}?tok={token}"));
    send(world.client.get(url)).await;
    let url = world.url(&format!(
        "/api/trpc/streams.nothing{}?input={token}",
        text(key)
    ));
    send(world.client.get(url).bearer_auth(&world.key)).await;
    let url = world.url("/api/trpc/streams.liveInputs.list");
    send(world.client.get(url).bearer_auth(format!("{}x", world.key))).await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    // What the client under test itself logs is not ours.
    let ours: String = log
        .lines()
        .filter(|line| !line.contains("hyper_util::client") && !line.contains("reqwest"))
        .collect();
    assert!(
        ours.contains("mainstem_control") && ours.contains("mintPlaybackToken"),
        "{ours}"
    );
    let first = text(&input["stream_key_cleartext"]);
    let master = std::fs::read_to_string(world.dir.path().join("master.key")).unwrap();
    for secret in [
        world.key.rsplit('_').next().unwrap(),
        &first,
        key.as_str().unwrap(),
        token.rsplit('.').next().unwrap(),
        "wrongwrongwrong",
        master.trim(),
        common::RELAY_SECRET,
    ] {
        assert!(!ours.contains(secret), "{secret} is in the log");
    }
}
