//! Calls the control plane: tRPC over HTTP, with plain JSON and without batches.
//!
//! A query is `GET <base>/api/trpc/<procedure>?input=<json>`, a mutation `POST` with the JSON as body.
//! A good answer is `{"result":{"data":..}}`, a bad one `{"error":{"message":..,"data":{"code":..}}}`.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// An organisation's access to the control plane.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    org: String,
    /// The API key that is sent; `None` sends none.
    pub key: Option<String>,
}

/// A live input, as `create` returned it.
#[derive(Clone, Debug)]
pub struct LiveInput {
    /// `li_..`
    pub id: String,
    /// `lv_..`
    pub external_id: String,
    /// The stream key in clear; shown once.
    pub stream_key: String,
}

/// A minted playback token.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// The key that signed it.
    pub kid: String,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body; `Null` when it is not JSON.
    pub body: Value,
}

impl Api {
    /// Access with a key.
    pub fn new(base: &str, org: &str, key: &str) -> Self {
        Self {
            base: base.to_owned(),
            org: org.to_owned(),
            key: Some(key.to_owned()),
        }
    }

    /// Makes an RTMP input.
    pub fn create_input(&self, name: &str) -> LiveInput {
        let input = json!({"orgId": self.org, "name": name, "ingest": "rtmp"});
        let row = self.post("streams.liveInputs.create", &input).data();
        LiveInput {
            id: text_of(&row, "id"),
            external_id: text_of(&row, "external_input_id"),
            stream_key: text_of(&row, "stream_key_cleartext"),
        }
    }

    /// All inputs.
    pub fn list_inputs(&self) -> Value {
        let input = json!({"orgId": self.org, "page": 1, "perPage": 50});
        self.get("streams.liveInputs.list", &input).data()
    }

    /// One input.
    pub fn input_row(&self, id: &str) -> Reply {
        self.get(
            "streams.liveInputs.get",
            &json!({"orgId": self.org, "id": id}),
        )
    }

    /// A playback token.
    pub fn mint(&self, id: &str, ttl_seconds: u64) -> Minted {
        let input = json!({"orgId": self.org, "id": id, "ttlSeconds": ttl_seconds});
        let minted = self
            .post("streams.liveInputs.mintPlaybackToken", &input)
            .data();
        Minted {
            token: text_of(&minted, "token"),
            kid: text_of(&minted, "kid"),
            expires_at: minted["expires_at"]
                .as_u64()
                .expect("expires_at is an integer"),
        }
    }

    /// A new stream key in place of the old.
    pub fn rotate_stream_key(&self, id: &str) -> String {
        let input = json!({"orgId": self.org, "id": id});
        let row = self
            .post("streams.liveInputs.rotateStreamKey", &input)
            .data();
        text_of(&row, "stream_key_cleartext")
    }

    /// All signing keys.
    pub fn list_keys(&self) -> Value {
        self.get("streams.signingKeys.list", &json!({"orgId": self.org}))
            .data()
    }

    /// Withdraws a signing key.
    pub fn deactivate_key(&self, id: &str) {
        let input = json!({"orgId": self.org, "id": id});
        self.post("streams.signingKeys.deactivate", &input).data();
    }

    /// A query.
    pub fn get(&self, procedure: &str, input: &Value) -> Reply {
        let query = form_encoded(&input.to_string());
        let url = format!("{}/api/trpc/{procedure}?input={query}", self.base);
        let mut request = agent().get(&url);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        reply(request.call())
    }

    /// A mutation.
    pub fn post(&self, procedure: &str, input: &Value) -> Reply {
        self.post_text(procedure, &input.to_string())
    }

    /// A mutation with any body.
    pub fn post_text(&self, procedure: &str, body: &str) -> Reply {
        let url = format!("{}/api/trpc/{procedure}", self.base);
        let mut request = agent()
            .post(&url)
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        reply(request.send(body))
    }
}

impl Reply {
    /// The data of a good answer.
    ///
    /// # Panics
    ///
    /// When the answer is an error.
    pub fn data(&self) -> Value {
        assert_eq!(self.status, 200, "the control plane refused: {}", self.body);
        assert!(
            self.body.get("error").is_none(),
            "success carries no error key"
        );
        let result = self
            .body
            .get("result")
            .and_then(|result| result.get("data"));
        result.expect("an answer has result.data").clone()
    }

    /// `(code name, message)` of an error.
    pub fn error(&self) -> (String, String) {
        let error = &self.body["error"];
        (text_of(&error["data"], "code"), text_of(error, "message"))
    }
}

/// The body of a plain GET.
pub fn text(url: &str) -> String {
    let response = agent().get(url).call();
    let mut response = response.expect("the HTTP listener answers");
    response.body_mut().read_to_string().unwrap_or_default()
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into()
}

fn reply(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = response.expect("the control plane answers");
    let body = response.body_mut().read_to_string().unwrap_or_default();
    Reply {
        status: response.status().as_u16(),
        body: serde_json::from_str(&body).unwrap_or(Value::Null),
    }
}

fn text_of(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str);
    assert!(text.is_some(), "the answer has no text {name:?}");
    text.unwrap_or_default().to_owned()
}

/// As HTML forms do it, with `+` for a space: what several client libraries send.
fn form_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_encoded_as_forms_are() {
        assert_eq!(
            form_encoded(r#"{"a": "ü~"}"#),
            "%7B%22a%22%3A+%22%C3%BC%7E%22%7D"
        );
    }
}
