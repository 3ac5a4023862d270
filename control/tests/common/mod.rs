//! A control plane on a free port of the loopback, and a small client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]
#![allow(dead_code, reason = "each test file uses its own part")]

use mainstem_control::{Config, Control, Running, Secret};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

pub(crate) const RELAY_SECRET: &str = "relay-secret-of-the-tests";

/// A control plane, its folder and the first API key.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) dir: TempDir,
    pub(crate) org: String,
    pub(crate) key: String,
    pub(crate) client: Client,
}

/// Starts with an empty folder.
pub(crate) async fn world() -> World {
    world_with(|_| {}).await
}

pub(crate) async fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    let running = Control::start(config).await.unwrap();
    let first = running.bootstrap.clone().expect("a first start");
    let (org, key) = (first.org, first.api_key.expose().to_owned());
    World {
        running,
        dir,
        org,
        key,
        client: Client::new(),
    }
}

pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::new(([127, 0, 0, 1], 0).into(), dir);
    config.relay_secret = Some(Secret::new(RELAY_SECRET));
    config
}

/// A status and a JSON body.
pub(crate) type Reply = (u16, Value);

impl World {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.local_addr)
    }

    /// An input with this organisation in it.
    pub(crate) fn input(&self, mut input: Value) -> Value {
        input["orgId"] = json!(self.org);
        input
    }

    pub(crate) async fn post(&self, procedure: &str, input: Value) -> Reply {
        let url = self.url(&format!("/api/trpc/{procedure}"));
        send(self.client.post(url).bearer_auth(&self.key).json(&input)).await
    }

    pub(crate) async fn get(&self, procedure: &str, input: Value) -> Reply {
        let input = form_encode(&spaced(&input));
        let url = self.url(&format!("/api/trpc/{procedure}?input={input}"));
        send(self.client.get(url).bearer_auth(&self.key)).await
    }

    /// Calls a mutation with this organisation; the data of its result.
    pub(crate) async fn mutate(&self, procedure: &str, input: Value) -> Value {
        data(self.post(procedure, self.input(input)).await)
    }

    /// Calls a query with this organisation; the data of its result.
    pub(crate) async fn query(&self, procedure: &str, input: Value) -> Value {
        data(self.get(procedure, self.input(input)).await)
    }

    pub(crate) async fn create_input(&self, name: &str) -> Value {
        self.mutate("streams.liveInputs.create", json!({ "name": name }))
            .await
    }

    pub(crate) fn relay(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .bearer_auth(RELAY_SECRET)
    }

    pub(crate) async fn resolve(&self, request: Value) -> Reply {
        send(self.relay(Method::POST, "/streams/resolve").json(&request)).await
    }

    pub(crate) async fn changes(&self, after: u64, wait: u64) -> Value {
        let path = format!("/internal/v1/relay/changes?after={after}&wait={wait}");
        ok(send(self.relay(Method::GET, &path)).await)
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    (status, body)
}

pub(crate) fn ok((status, body): Reply) -> Value {
    assert_eq!(status, 200, "{body}");
    body
}

/// The data of a good tRPC answer, which has nothing else in it.
pub(crate) fn data(reply: Reply) -> Value {
    let mut body = ok(reply);
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(body["result"].as_object().unwrap().len(), 1, "{body}");
    body["result"]["data"].take()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// JSON as Python's `json.dumps` writes it: with spaces after colons and commas.
pub(crate) fn spaced(value: &Value) -> String {
    value
        .to_string()
        .replace("\":", "\": ")
        .replace(",\"", ", \"")
}

/// As `urllib.parse.urlencode` writes it: a space becomes `+`.
pub(crate) fn form_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Replaces what differs from run to run by its form.
pub(crate) fn mask(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(mask).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let masked = match (name.as_str(), value) {
                    ("expires_at", Value::Number(number)) => {
                        assert!(number.is_u64(), "{number}");
                        json!("[unix seconds]")
                    }
                    _ => mask(value),
                };
                (name.clone(), masked)
            })
            .collect(),
        Value::String(text) => json!(mask_text(text)),
        other => other.clone(),
    }
}

fn mask_text(text: &str) -> String {
    let ids = [
        ("li_", 20),
        ("lv_", 20),
        ("org_", 16),
        ("rk_live_", 16),
        ("sk_live_", 43),
        ("skv_", 20),
    ];
    for (prefix, len) in ids {
        if let Some(rest) = text.strip_prefix(prefix)
            && rest.len() == len
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return format!("{prefix}[{len}]");
        }
    }
    if let Some(path) = text.strip_prefix("stream/") {
        let parts: Vec<_> = path.split('/').map(mask_text).collect();
        return format!("stream/{}", parts.join("/"));
    }
    let is_time = text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    if is_time {
        "[iso time]".to_owned()
    } else if text.starts_with("eyJ") && text.split('.').count() == 3 {
        "[jwt]".to_owned()
    } else if text.starts_with("-----BEGIN PUBLIC KEY-----\n") {
        "[public key pem]".to_owned()
    } else {
        text.to_owned()
    }
}
