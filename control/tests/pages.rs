//! What browsers are served: the pages, the SDK, and where the relay is.

mod common;

use common::{World, ok, send, text, world, world_with};
use mainstem_control::{Config, Embedding, PublicRelay, RelayPlace};
use reqwest::Response;
use serde_json::{Value, json};

const RELAY: &str = "https://127.0.0.1:4443";

fn beside_a_relay(config: &mut Config) {
    config.relay = Some(RelayPlace::new(|| {
        Some(PublicRelay {
            url: RELAY.to_owned(),
            certificate_hashes: vec!["ab".repeat(32)],
        })
    }));
}

async fn open(world: &World, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = world.client.get(world.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap_or_default())
}

#[tokio::test]
async fn pages_come_with_a_policy_that_names_the_relay() {
    let world = world_with(beside_a_relay).await;
    for path in ["/watch/lv_1", "/publish/lv_1"] {
        let page = open(&world, path, &[]).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        let policy = header(&page, "content-security-policy");
        assert!(
            policy.contains(&format!("connect-src 'self' {RELAY};")),
            "{policy}"
        );
        assert!(page.text().await.unwrap().contains("<!doctype html>"));
    }
    let script = open(&world, "/sdk/sdk.js", &[]).await;
    assert_eq!(
        header(&script, "content-type"),
        "text/javascript; charset=utf-8"
    );
    for path in [
        "/watch/",
        "/watch/a%2fb",
        "/sdk/nothing.js",
        "/sdk/watch.html",
    ] {
        assert_eq!(open(&world, path, &[]).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let world = world().await;
    let plain = open(&world, "/sdk/page.css", &[("accept-encoding", "identity")]).await;
    let (plain_tag, plain_bytes) = (
        header(&plain, "etag").to_owned(),
        plain.bytes().await.unwrap(),
    );
    let gzip = open(&world, "/sdk/page.css", &[("accept-encoding", "gzip")]).await;
    assert_eq!(header(&gzip, "content-encoding"), "gzip");
    let gzip_tag = header(&gzip, "etag").to_owned();
    assert_ne!(plain_tag, gzip_tag);
    assert!(gzip.bytes().await.unwrap().len() < plain_bytes.len() / 2);
    let known = [
        ("accept-encoding", "gzip"),
        ("if-none-match", gzip_tag.as_str()),
    ];
    let again = open(&world, "/sdk/page.css", &known).await;
    assert_eq!(again.status(), 304);
    assert_eq!(header(&again, "etag"), gzip_tag);
    assert!(again.bytes().await.unwrap().is_empty());
    let other_form = [
        ("accept-encoding", "identity"),
        ("if-none-match", gzip_tag.as_str()),
    ];
    assert_eq!(
        open(&world, "/sdk/page.css", &other_form).await.status(),
        200
    );
}

#[tokio::test]
async fn only_the_origins_that_are_named_may_frame_the_player() {
    let world = world_with(|config| {
        config.embedding = Embedding::Origins(vec!["https://shop.test".to_owned()]);
    })
    .await;
    let page = open(&world, "/watch/lv_1", &[]).await;
    let policy = header(&page, "content-security-policy");
    assert!(
        policy.ends_with("frame-ancestors 'self' https://shop.test"),
        "{policy}"
    );
}

#[tokio::test]
async fn viewers_and_publishers_are_told_where_the_relay_is() {
    let world = world_with(beside_a_relay).await;
    let input = world.create_input("x").await;
    let lv = text(&input["external_input_id"]);
    let ticket = world
        .mutate(
            "streams.liveInputs.mintPlaybackToken",
            json!({ "id": input["id"] }),
        )
        .await;
    let token = text(&ticket["token"]);
    assert_eq!(
        ticket["url"],
        json!(format!("moq://127.0.0.1:4443/playback/{lv}?tok={token}"))
    );

    let url = world.url(&format!("/streams/resolve/{lv}"));
    let shown = async |credential: &str| send(world.client.get(&url).bearer_auth(credential)).await;
    let found = ok(shown(&token).await);
    let expected = |found: &Value, kind: &str| {
        assert_eq!(found["kind"], kind);
        assert_eq!(found["relayUrl"], RELAY);
        assert_eq!(found["serverCertificateHashes"], json!(["ab".repeat(32)]));
        assert_eq!(found["namespace"], format!("stream/{}/{lv}", world.org));
    };
    expected(&found, "playback");
    expected(
        &ok(shown(&text(&input["stream_key_cleartext"])).await),
        "publish",
    );
}

#[tokio::test]
async fn a_stream_key_is_taken_from_a_header_only_and_guessing_has_an_end() {
    let world = world_with(|config| config.limits.refusals_burst = 3).await;
    let input = world.create_input("x").await;
    let path = format!("/streams/resolve/{}", text(&input["external_input_id"]));
    let key = text(&input["stream_key_cleartext"]);
    let in_query = world.client.get(world.url(&format!("{path}?tok={key}")));
    assert_eq!(send(in_query).await.0, 403);
    let guess = async || {
        send(
            world
                .client
                .get(world.url(&path))
                .bearer_auth("sk_live_wrong"),
        )
        .await
    };
    for _ in 0..3 {
        let (status, refusal) = guess().await;
        assert_eq!(
            (status, &refusal["code"]),
            (403, &json!("wrong_stream_key"))
        );
    }
    assert_eq!(guess().await.0, 503);
}
