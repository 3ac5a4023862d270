//! What is refused, and with what.

mod common;

use common::{World, mask, send, world, world_with};
use mainstem_control::{Config, Control};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::fmt::Write;

const CREATE: &str = "/api/trpc/streams.liveInputs.create";
const GET: &str = "/api/trpc/streams.liveInputs.get";
const LIST: &str = "/api/trpc/streams.liveInputs.list";
const MINT: &str = "/api/trpc/streams.liveInputs.mintPlaybackToken";

impl World {
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .bearer_auth(&self.key)
    }

    fn post_json(&self, path: &str, input: Value) -> RequestBuilder {
        self.call(Method::POST, path).json(&self.input(input))
    }

    fn asked(&self, path: &str, input: Value) -> RequestBuilder {
        let query = common::form_encode(&self.input(input).to_string());
        self.call(Method::GET, &format!("{path}?input={query}"))
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table with one row for each fault")]
async fn each_fault_has_its_own_error() {
    let world = world().await;
    let mut other_org = world.input(json!({}));
    other_org["orgId"] = json!("org_someone");
    let other_org = common::form_encode(&other_org.to_string());
    let id = world.create_input("x").await["id"].clone();
    let cases = [
        ("no API key", world.client.get(world.url(LIST))),
        (
            "wrong API key",
            world
                .client
                .get(world.url(LIST))
                .bearer_auth("tqs_live_x_y"),
        ),
        (
            "other scheme",
            world
                .client
                .get(world.url(LIST))
                .header("authorization", "Basic eA=="),
        ),
        (
            "unknown procedure",
            world.call(Method::GET, "/api/trpc/streams.nothing"),
        ),
        ("query by POST", world.post_json(LIST, json!({}))),
        (
            "mutation by GET",
            world.asked(CREATE, json!({ "name": "x" })),
        ),
        ("DELETE", world.call(Method::DELETE, LIST)),
        (
            "malformed JSON",
            world.call(Method::POST, CREATE).body("{\"orgId\":"),
        ),
        (
            "malformed JSON in the query",
            world.call(Method::GET, &format!("{LIST}?input=%7B")),
        ),
        ("no input", world.call(Method::GET, LIST)),
        (
            "input is a list",
            world.call(Method::POST, CREATE).json(&json!([])),
        ),
        (
            "no orgId",
            world
                .call(Method::POST, CREATE)
                .json(&json!({ "name": "x" })),
        ),
        (
            "orgId is a number",
            world
                .call(Method::POST, CREATE)
                .json(&json!({ "orgId": 7 })),
        ),
        (
            "another org",
            world.call(Method::GET, &format!("{LIST}?input={other_org}")),
        ),
        ("no name", world.post_json(CREATE, json!({}))),
        ("empty name", world.post_json(CREATE, json!({ "name": "" }))),
        (
            "long name",
            world.post_json(CREATE, json!({ "name": "x".repeat(201) })),
        ),
        (
            "name with a line end",
            world.post_json(CREATE, json!({ "name": "a\nb" })),
        ),
        (
            "unknown ingest",
            world.post_json(CREATE, json!({ "name": "x", "ingest": "fax" })),
        ),
        (
            "unknown field",
            world.post_json(MINT, json!({ "id": id, "ttl_seconds": 60 })),
        ),
        (
            "ttl is a text",
            world.post_json(MINT, json!({ "id": id, "ttlSeconds": "60" })),
        ),
        (
            "ttl has a fraction",
            world.post_json(MINT, json!({ "id": id, "ttlSeconds": 60.5 })),
        ),
        (
            "unknown input",
            world.asked(GET, json!({ "id": "li_nothing" })),
        ),
        (
            "mint for an unknown input",
            world.post_json(MINT, json!({ "id": "li_nothing" })),
        ),
        ("page 0", world.asked(LIST, json!({ "page": 0 }))),
        ("large page", world.asked(LIST, json!({ "perPage": 101 }))),
        (
            "body too large",
            world.call(Method::POST, CREATE).body("x".repeat(65 * 1024)),
        ),
        ("no such path", world.call(Method::GET, "/nothing")),
    ];
    let mut table = String::new();
    for (case, request) in cases {
        let (status, body) = send(request).await;
        writeln!(table, "{case}: {status} {}", mask(&body)["error"]).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn the_message_is_within_the_first_bytes_that_clients_show() {
    let world = world().await;
    let request = world.post_json(CREATE, json!({ "name": "x", "é".repeat(500): 1 }));
    let body = request.send().await.unwrap().text().await.unwrap();
    assert!(body.starts_with(r#"{"error":{"message":"éé"#), "{body}");
    let end = body.find(r#"","code""#).unwrap();
    assert!(end < 200, "{end}");
}

#[tokio::test]
async fn inputs_and_keys_of_another_organisation_are_not_found() {
    let world = world().await;
    let input = world.create_input("x").await;
    let key = world.mutate("streams.signingKeys.create", json!({})).await;
    let config = common::config(world.dir.path());
    let other = Control::create_org(&config, "other").await.unwrap();
    let call = async |path: &str, org: &str, id: &Value| {
        let input = json!({ "orgId": org, "id": id });
        let request = world.client.post(world.url(path)).json(&input);
        send(request.bearer_auth(other.api_key.expose())).await.0
    };
    let deactivate = "/api/trpc/streams.signingKeys.deactivate";
    for (path, id) in [(MINT, &input["id"]), (deactivate, &key["id"])] {
        assert_eq!(call(path, &other.org, id).await, 404);
        assert_eq!(call(path, &world.org, id).await, 403);
    }
    let keys = world.query("streams.signingKeys.list", json!({})).await;
    assert_eq!(keys[0]["status"], "active");
}

#[tokio::test]
async fn an_api_key_does_what_its_scopes_say_and_no_more() {
    let world = world().await;
    let input = world.create_input("x").await;
    let config = common::config(world.dir.path());
    let calls = [
        ("streams.liveInputs.list", json!({}), "streams:read"),
        (
            "streams.liveInputs.get",
            json!({ "id": input["id"] }),
            "streams:read",
        ),
        ("streams.signingKeys.list", json!({}), "streams:read"),
        (
            "streams.liveInputs.create",
            json!({ "name": "x" }),
            "streams:write",
        ),
        (
            "streams.liveInputs.mintPlaybackToken",
            json!({ "id": input["id"] }),
            "streams:write",
        ),
        (
            "streams.liveInputs.rotateStreamKey",
            json!({ "id": input["id"] }),
            "streams:keys",
        ),
        ("streams.signingKeys.create", json!({}), "streams:keys"),
        (
            "streams.signingKeys.deactivate",
            json!({ "id": "rk_live_x" }),
            "streams:keys",
        ),
    ];
    for scope in ["streams:read", "streams:write", "streams:keys"] {
        let key = Control::issue_api_key(&config, None, "one scope", &[scope])
            .await
            .unwrap();
        for (procedure, input, needed) in &calls {
            let path = format!("/api/trpc/{procedure}");
            let request = if *needed == "streams:read" {
                world.asked(&path, input.clone())
            } else {
                world.post_json(&path, input.clone())
            };
            let request = request.build().unwrap();
            let mut request = reqwest::RequestBuilder::from_parts(world.client.clone(), request);
            let value = format!("Bearer {}", key.api_key.expose());
            request = request.headers(
                [(AUTHORIZATION, value.parse().unwrap())]
                    .into_iter()
                    .collect(),
            );
            let (status, body) = send(request).await;
            assert_eq!(
                status != 403,
                scope == *needed,
                "{scope} {procedure} {body}"
            );
        }
    }
    let unknown = Control::issue_api_key(&config, None, "x", &["streams:everything"]).await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn an_api_key_that_is_too_fast_is_told_when_to_come_back() {
    let world = world_with(|config| {
        config.limits.calls_per_second = 1;
        config.limits.calls_burst = 3;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(send(world.asked(LIST, json!({}))).await.0, 200);
    }
    let response = world.asked(LIST, json!({})).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test]
async fn an_address_that_guesses_keys_is_stopped() {
    let world = world_with(|config| config.limits.refusals_burst = 5).await;
    let guess = || {
        world
            .client
            .get(world.url(LIST))
            .bearer_auth("tqs_live_guess")
    };
    for _ in 0..5 {
        assert_eq!(send(guess()).await.0, 401);
    }
    assert_eq!(send(guess()).await.0, 429);
}

#[tokio::test]
async fn limits_of_an_organisation_are_kept() {
    let world = world_with(|config| {
        config.limits.inputs_per_org = 2;
        config.limits.signing_keys_per_org = 1;
    })
    .await;
    world.create_input("a").await;
    world.create_input("b").await;
    let (status, body) = send(world.post_json(CREATE, json!({ "name": "c" }))).await;
    assert_eq!(
        (status, &body["error"]["data"]["code"]),
        (412, &json!("PRECONDITION_FAILED"))
    );
    let create = "streams.signingKeys.create";
    let key = world.mutate(create, json!({})).await;
    let (status, _) = send(world.post_json(&format!("/trpc/{create}"), json!({}))).await;
    assert_eq!(status, 412);
    // An inactive key makes room.
    world
        .mutate("streams.signingKeys.deactivate", json!({ "id": key["id"] }))
        .await;
    let next = world.mutate(create, json!({})).await;
    let listed = world.query("streams.signingKeys.list", json!({})).await;
    assert_eq!(listed, json!([next]));
}

#[tokio::test]
async fn a_revoked_api_key_is_refused() {
    let world = world().await;
    let id = world.key.split('_').nth(2).unwrap();
    let config: Config = common::config(world.dir.path());
    assert!(Control::revoke_api_key(&config, id).await.unwrap());
    assert!(!Control::revoke_api_key(&config, id).await.unwrap());
    assert_eq!(send(world.asked(LIST, json!({}))).await.0, 401);
    let new = Control::issue_api_key(&config, None, "again", &["streams:*"])
        .await
        .unwrap();
    assert_eq!(new.org, world.org);
    let request = world
        .client
        .get(world.url(LIST))
        .bearer_auth(new.api_key.expose());
    assert_eq!(send(request).await.0, 400);
}
