//! The eight procedures: exact rows, both mounts, encodings, batches.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a test's way of speaking"
)]

mod common;

use common::{World, data, mask, send, spaced, text, world};
use mainstem_core::jwt::{Action, KeySet, SKEW_DEFAULT, verify};
use mainstem_core::resolve::JwkSet;
use mainstem_core::time::UnixTime;
use serde_json::{Value, json};
use std::time::SystemTime;

const CREATE: &str = "streams.liveInputs.create";
const GET: &str = "streams.liveInputs.get";
const LIST: &str = "streams.liveInputs.list";
const MINT: &str = "streams.liveInputs.mintPlaybackToken";

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap())
}

async fn keys(world: &World, path: &str) -> KeySet {
    let set = common::ok(send(world.client.get(world.url(path))).await);
    let set: JwkSet = serde_json::from_value(set).unwrap();
    let (keys, rejected) = KeySet::from_jwks(&set.keys);
    assert!(rejected.is_empty());
    keys
}

#[tokio::test]
async fn every_procedure_answers_with_its_row() {
    let world = world().await;
    let created = world
        .mutate(CREATE, json!({ "name": "Live Demo", "ingest": "rtmp" }))
        .await;
    let id = created["id"].clone();
    let got = world.query(GET, json!({ "id": id })).await;
    let listed = world.query(LIST, json!({ "page": 1, "perPage": 50 })).await;
    let ticket = world
        .mutate(MINT, json!({ "id": id, "ttlSeconds": 900 }))
        .await;
    let rotate = "streams.liveInputs.rotateStreamKey";
    let rotated = world.mutate(rotate, json!({ "id": id })).await;
    let keys = "streams.signingKeys";
    let key = world
        .mutate(
            &format!("{keys}.create"),
            json!({ "alg": "Ed25519", "use": "playback" }),
        )
        .await;
    let listed_keys = world.query(&format!("{keys}.list"), json!({})).await;
    let gone = world
        .mutate(&format!("{keys}.deactivate"), json!({ "id": key["id"] }))
        .await;
    assert_ne!(
        created["stream_key_cleartext"],
        rotated["stream_key_cleartext"]
    );
    assert_eq!(listed[0], got);
    insta::assert_json_snapshot!(mask(&json!({
        "liveInputs.create": created,
        "liveInputs.get": got,
        "liveInputs.list": listed,
        "liveInputs.mintPlaybackToken": ticket,
        "liveInputs.rotateStreamKey": rotated,
        "signingKeys.create": key,
        "signingKeys.list": listed_keys,
        "signingKeys.deactivate": gone,
    })));
}

#[tokio::test]
async fn a_minted_token_is_verified_with_the_published_keys() {
    let world = world().await;
    let input = world.create_input("x").await;
    for alg in ["Ed25519", "RS256"] {
        let key = json!({ "alg": alg, "use": "playback" });
        let key = world.mutate("streams.signingKeys.create", key).await;
        let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
        assert_eq!(ticket["kid"], key["id"], "the newest key signs");
        assert_eq!(ticket["input"], input["external_input_id"]);
        let own = format!("/orgs/{}/.well-known/jwks.json", world.org);
        for path in ["/.well-known/jwks.json", &own] {
            let keys = keys(&world, path).await;
            let token = text(&ticket["token"]);
            let verified = verify(&token, &keys, now(), SKEW_DEFAULT).unwrap();
            let claims = verified.claims;
            assert_eq!(
                (claims.sub, claims.iss),
                (world.org.clone(), "mainstem".to_owned())
            );
            assert_eq!(claims.exp, ticket["expires_at"].as_u64().unwrap());
            assert!(claims.jti.is_some_and(|jti| jti.starts_with("tok_")));
        }
    }
    let other = keys(&world, "/orgs/org_other/.well-known/jwks.json").await;
    assert!(other.is_empty());
}

#[tokio::test]
async fn a_token_permits_the_input_under_both_ids() {
    let world = world().await;
    let input = world.create_input("x").await;
    let ticket = world
        .mutate(MINT, json!({ "id": input["external_input_id"] }))
        .await;
    let keys = keys(&world, "/.well-known/jwks.json").await;
    let verified = verify(&text(&ticket["token"]), &keys, now(), SKEW_DEFAULT).unwrap();
    let (li, lv) = (text(&input["id"]), text(&input["external_input_id"]));
    for path in [
        format!("playback/{li}"),
        format!("playback/{lv}"),
        format!("stream/{}/{lv}", world.org),
    ] {
        assert!(verified.claims.permits(Action::Subscribe, &path), "{path}");
        assert!(!verified.claims.permits(Action::Publish, &path), "{path}");
    }
}

#[tokio::test]
async fn lives_of_tokens_are_clamped() {
    let world = world().await;
    let id = world.create_input("x").await["id"].clone();
    for (asked, given) in [
        (json!(null), 3600),
        (json!(-7), 30),
        (json!(1), 30),
        (json!(900.0), 900),
        (json!(1_000_000), 86_400),
    ] {
        let ticket = world
            .mutate(MINT, json!({ "id": id, "ttlSeconds": asked }))
            .await;
        let left = ticket["expires_at"].as_i64().unwrap() - i64::try_from(now().as_secs()).unwrap();
        assert!((given - 2..=given).contains(&left), "{asked}: {left}");
    }
}

#[tokio::test]
async fn pages_are_newest_first_and_a_bare_array() {
    let world = world().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.create_input(name).await;
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let page = async |page: u32, per_page: u32| {
        let rows = world
            .query(LIST, json!({ "page": page, "perPage": per_page }))
            .await;
        let names = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| text(&row["name"]));
        names.collect::<Vec<_>>().concat()
    };
    assert_eq!(page(1, 2).await, "ed");
    assert_eq!(page(2, 2).await, "cb");
    assert_eq!(page(3, 2).await, "a");
    assert_eq!(page(4, 2).await, "");
    assert_eq!(
        world.query(LIST, json!({})).await.as_array().unwrap().len(),
        5
    );
}

#[tokio::test]
async fn both_mounts_and_both_encodings_of_a_space_are_understood() {
    let world = world().await;
    let input = world.create_input("with spaces + plus & more").await;
    let json = spaced(&world.input(json!({ "id": input["id"] })));
    assert!(json.contains(' '));
    let plus = common::form_encode(&json);
    for query in [plus.clone(), plus.replace('+', "%20")] {
        for mount in ["/api/trpc/", "/trpc/"] {
            let url = world.url(&format!("{mount}{GET}?input={query}"));
            let request = world.client.get(url).bearer_auth(&world.key);
            let row = data(send(request.header("traceparent", "00-abc")).await);
            assert_eq!(row["name"], "with spaces + plus & more");
        }
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_207_when_mixed() {
    let world = world().await;
    let input = world.create_input("x").await;
    let good = world.input(json!({ "id": input["id"] }));
    let bad = world.input(json!({ "id": "li_nothing" }));
    let ask = async |inputs: Value| {
        let query = common::form_encode(&inputs.to_string());
        let url = world.url(&format!("/trpc/{GET},{LIST}?batch=1&input={query}"));
        send(world.client.get(url).bearer_auth(&world.key)).await
    };
    let list = world.input(json!({}));
    let (status, body) = ask(json!({ "0": good, "1": list })).await;
    assert_eq!(status, 200);
    assert_eq!(body[0]["result"]["data"]["id"], input["id"]);
    assert!(body[1]["result"]["data"].is_array());
    let (status, body) = ask(json!({ "0": bad, "1": list })).await;
    assert_eq!(status, 207);
    assert_eq!(body[0]["error"]["data"]["httpStatus"], 404);
    assert!(body[1].get("error").is_none());
    let (status, body) = ask(json!({ "0": bad })).await;
    assert_eq!((status, body.as_array().unwrap().len()), (207, 2));
    // Mutations too, and a single call in batch form.
    let url = world.url(&format!("/api/trpc/{CREATE}?batch=1"));
    let inputs = json!({ "0": world.input(json!({ "name": "batched" })) });
    let request = world.client.post(url).bearer_auth(&world.key).json(&inputs);
    let (status, body) = send(request).await;
    assert_eq!(
        (status, &body[0]["result"]["data"]["name"]),
        (200, &json!("batched"))
    );
}

#[tokio::test]
async fn retire_is_deactivate_and_needs_no_organisation() {
    let world = world().await;
    let key = json!({ "label": "for the event" });
    let key = world.mutate("streams.signingKeys.create", key).await;
    let retired = data(
        world
            .post("streams.signingKeys.retire", json!({ "id": key["id"] }))
            .await,
    );
    assert_eq!(retired["status"], "inactive");
    let again = world
        .mutate("streams.signingKeys.deactivate", json!({ "id": key["id"] }))
        .await;
    assert_eq!(again["status"], "inactive");
}

#[tokio::test]
async fn answers_are_not_kept_and_any_page_may_call() {
    let world = world().await;
    let url = world.url(&format!("/api/trpc/{LIST}"));
    let preflight = world
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    let allowed = preflight.headers()["access-control-allow-headers"]
        .to_str()
        .unwrap();
    assert!(allowed.contains("authorization"));
    let refused = world.client.get(&url).send().await.unwrap();
    assert_eq!(refused.headers()["access-control-allow-origin"], "*");
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    let keys = world
        .client
        .get(world.url("/.well-known/jwks.json"))
        .send()
        .await
        .unwrap();
    assert_eq!(keys.headers()["cache-control"], "public, max-age=30");
}

#[tokio::test]
async fn two_creators_at_once_both_succeed_and_one_key_is_made() {
    let world = std::sync::Arc::new(world().await);
    let creators = (0..2).map(|creator| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for index in 0..20 {
                let input = world.create_input(&format!("{creator} {index}")).await;
                let ticket = world.mutate(MINT, json!({ "id": input["id"] })).await;
                ids.push((text(&input["id"]), text(&ticket["kid"])));
            }
            ids
        })
    });
    let mut ids = Vec::new();
    for creator in creators.collect::<Vec<_>>() {
        ids.extend(creator.await.unwrap());
    }
    let inputs: std::collections::BTreeSet<_> = ids.iter().map(|(id, _)| id).collect();
    let keys: std::collections::BTreeSet<_> = ids.iter().map(|(_, kid)| kid).collect();
    assert_eq!((inputs.len(), keys.len()), (40, 1));
}
