//! What relays and engines ask: resolving, following changes, presence.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

mod common;

use common::{RELAY_SECRET, World, mask, ok, send, text, world, world_with};
use mainstem_core::jwt::KeySet;
use mainstem_core::resolve::{Changes, RelayState, ResolveReply};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MINT: &str = "streams.liveInputs.mintPlaybackToken";
const ROTATE: &str = "streams.liveInputs.rotateStreamKey";

async fn publish(world: &World, id: &Value, key: &Value) -> (u16, Value) {
    world
        .resolve(json!({ "kind": "publish", "id": id, "sk": key, "ip": "127.0.0.1" }))
        .await
}

#[tokio::test]
async fn a_stream_key_opens_its_input_and_no_other() {
    let world = world().await;
    let (one, two) = (
        world.create_input("one").await,
        world.create_input("two").await,
    );
    let key = &one["stream_key_cleartext"];
    let by_lv = ok(publish(&world, &one["external_input_id"], key).await);
    assert_eq!(by_lv, ok(publish(&world, &one["id"], key).await));
    let _: ResolveReply = serde_json::from_value(by_lv.clone()).unwrap();
    let mut said = vec![mask(&by_lv)];
    for (id, key) in [
        (&two["external_input_id"], key.clone()),
        (&one["external_input_id"], json!("sk_live_guess")),
        (&one["external_input_id"], json!("")),
        (&json!("lv_nothing"), key.clone()),
        (&one["external_input_id"], json!(null)),
    ] {
        let (status, refusal) = publish(&world, id, &key).await;
        said.push(json!([status, refusal]));
    }
    insta::assert_json_snapshot!(said);
}

#[tokio::test]
async fn a_replaced_stream_key_ends_at_once_or_after_its_grace() {
    let world = world().await;
    let input = world.create_input("x").await;
    let lv = &input["external_input_id"];
    let cursor = world.changes(0, 0).await["cursor"].as_u64().unwrap();
    let first = ok(publish(&world, lv, &input["stream_key_cleartext"]).await);
    let second = world.mutate(ROTATE, json!({ "id": input["id"] })).await;
    assert_eq!(
        publish(&world, lv, &input["stream_key_cleartext"]).await.0,
        403
    );
    let now = ok(publish(&world, lv, &second["stream_key_cleartext"]).await);
    assert_ne!(first["credential"], now["credential"]);
    let third = world
        .mutate(ROTATE, json!({ "id": input["id"], "graceSeconds": 600 }))
        .await;
    let old = ok(publish(&world, lv, &second["stream_key_cleartext"]).await);
    let new = ok(publish(&world, lv, &third["stream_key_cleartext"]).await);
    assert!(old["expires_at"].is_u64() && new["expires_at"].is_null());

    let feed = world.changes(cursor, 0).await;
    let feed: Changes = serde_json::from_value(feed).unwrap();
    assert_eq!(feed.changes.len(), 2);
    let feed = serde_json::to_value(&feed.changes).unwrap();
    assert_eq!(feed[0]["credential"], now["credential"]);
    assert_eq!(feed[1]["credential"], new["credential"]);
    assert_eq!(feed[1]["grace"]["credential"], old["credential"]);
    assert_eq!(feed[1]["grace"]["until"], old["expires_at"]);
    assert!(feed[0].get("grace").is_none());
}

#[tokio::test]
async fn a_playback_token_resolves_for_relays_and_for_its_viewer() {
    let world = world().await;
    let (input, other) = (world.create_input("x").await, world.create_input("y").await);
    let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
    let (lv, token) = (&input["external_input_id"], &ticket["token"]);
    let resolve = async |id: &Value, token: &Value| {
        world
            .resolve(json!({ "kind": "playback", "id": id, "tok": token }))
            .await
    };
    let reply = ok(resolve(lv, token).await);
    assert_eq!(reply["expires_at"], ticket["expires_at"]);
    assert_eq!(reply["credential"], ticket["kid"]);
    let (status, refusal) = resolve(&other["external_input_id"], token).await;
    assert_eq!((status, &refusal["code"]), (403, &json!("token_refused")));
    let tampered = text(token).replace('.', "x");
    assert_eq!(resolve(lv, &json!(tampered)).await.0, 403);

    let path = format!("/streams/resolve/{}", text(lv));
    let url = world.url(&format!("{path}?tok={}", text(token)));
    let seen = ok(send(world.client.get(url)).await);
    insta::assert_json_snapshot!(mask(&seen));
    assert_eq!(send(world.client.get(world.url(&path))).await.0, 403);

    world
        .mutate(
            "streams.signingKeys.deactivate",
            json!({ "id": ticket["kid"] }),
        )
        .await;
    let (status, refusal) = resolve(lv, token).await;
    assert_eq!(
        (
            status,
            refusal["message"].as_str().unwrap().contains("deactivated")
        ),
        (403, true)
    );
    // The next token is signed with a new key.
    let next = world.mutate(MINT, json!({ "id": input["id"] })).await;
    assert_ne!(next["kid"], ticket["kid"]);
    ok(resolve(lv, &next["token"]).await);
}

#[tokio::test]
async fn only_those_with_the_relay_secret_are_let_in() {
    let (world, closed) = (
        world().await,
        world_with(|config| config.relay_secret = None).await,
    );
    for (method, path) in [
        (Method::POST, "/streams/resolve"),
        (Method::GET, "/internal/v1/relay/state"),
        (Method::GET, "/internal/v1/relay/changes"),
        (Method::POST, "/internal/v1/presence"),
    ] {
        let ask = |world: &World| world.client.request(method.clone(), world.url(path));
        for request in [
            ask(&world),
            ask(&world).bearer_auth("relay-secret-of-the-testx"),
            ask(&world).bearer_auth(&world.key),
            ask(&closed),
            ask(&closed).bearer_auth(RELAY_SECRET),
            ask(&closed).bearer_auth(""),
        ] {
            let (status, refusal) = send(request).await;
            assert_eq!(
                (status, &refusal["code"]),
                (401, &json!("caller_refused")),
                "{path}"
            );
        }
    }
    let request = world.relay(Method::POST, "/streams/resolve");
    let (status, refusal) = send(request.body(r#"{"kind":"publish","sk":"sk_live_hidden""#)).await;
    assert_eq!(status, 400);
    assert!(!refusal.to_string().contains("hidden"));
}

#[tokio::test]
async fn a_waiting_relay_is_woken_by_a_change_within_a_second() {
    let world = world().await;
    let input = world.create_input("x").await;
    let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
    let state = ok(send(world.relay(Method::GET, "/internal/v1/relay/state")).await);
    let state: RelayState = serde_json::from_value(state).unwrap();
    let (mut keys, rejected) = KeySet::from_jwks(&state.keys);
    assert!(rejected.is_empty() && keys.is_active(&text(&ticket["kid"])));

    let wait = async {
        let changes = world.changes(state.cursor, 30).await;
        (changes, Instant::now())
    };
    let act = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world
            .mutate(
                "streams.signingKeys.deactivate",
                json!({ "id": ticket["kid"] }),
            )
            .await;
        Instant::now()
    };
    let ((changes, woken), acted) = tokio::join!(wait, act);
    assert!(woken.saturating_duration_since(acted) < Duration::from_millis(500));
    let changes: Changes = serde_json::from_value(changes).unwrap();
    assert!(changes.cursor > state.cursor && changes.changes.len() == 1);
    let change = serde_json::to_value(&changes.changes[0]).unwrap();
    assert_eq!(change["kind"], "signing_key_changed");
    keys.apply(&serde_json::from_value(change["key"].clone()).unwrap())
        .unwrap();
    assert!(!keys.is_active(&text(&ticket["kid"])));

    let start = Instant::now();
    let none = world.changes(changes.cursor, 1).await;
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_eq!(
        none,
        json!({ "cursor": changes.cursor, "reset": false, "changes": [] })
    );
}

#[tokio::test]
async fn a_cursor_from_elsewhere_is_told_to_start_again() {
    let world = world().await;
    let changes = world.changes(7, 30).await;
    assert_eq!(
        changes,
        json!({ "cursor": 0, "reset": true, "changes": [] })
    );
}

#[tokio::test]
async fn a_change_by_another_process_is_seen_too() {
    let world = world().await;
    let mut config = common::config(world.dir.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    let second = mainstem_control::Control::start(config).await.unwrap();
    assert!(second.bootstrap.is_none());
    let url = format!(
        "http://{}/internal/v1/relay/changes?after=0&wait=10",
        second.local_addr
    );
    let wait = send(world.client.get(url).bearer_auth(RELAY_SECRET));
    let act = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.mutate("streams.signingKeys.create", json!({})).await
    };
    let start = Instant::now();
    let (changes, key) = tokio::join!(wait, act);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(ok(changes)["changes"][0]["kid"], key["id"]);
    second.shutdown().await;
}

#[tokio::test]
async fn presence_makes_an_input_live_and_its_absence_idle() {
    let world = world().await;
    let input = world.create_input("x").await;
    let say = async |live: Value| {
        let said = json!({ "relay": "relay-1", "live": live });
        ok(send(
            world
                .relay(Method::POST, "/internal/v1/presence")
                .json(&said),
        )
        .await)
    };
    let status = async || {
        let row = world
            .query("streams.liveInputs.get", json!({ "id": input["id"] }))
            .await;
        text(&row["status"])
    };
    assert_eq!(status().await, "idle");
    assert_eq!(
        say(json!([input["external_input_id"]])).await,
        json!({ "ttl_secs": 15 })
    );
    assert_eq!(status().await, "live");
    say(json!([])).await;
    assert_eq!(status().await, "idle");
    let nameless = json!({ "relay": "", "live": [] });
    let request = world
        .relay(Method::POST, "/internal/v1/presence")
        .json(&nameless);
    assert_eq!(send(request).await.0, 400);
}
