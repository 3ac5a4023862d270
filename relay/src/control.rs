//! The control plane as a relay or an engine sees it: questions over HTTP with a shared secret.
//!
//! Messages: [`mainstem_core::resolve`]. Errors of the transport become a [`Refusal`] with
//! `Unavailable`, so that callers have one kind of refusal to pass on.

use mainstem_core::resolve::{
    Changes, Presence, PresenceReply, Refusal, RefusalCode, RelayState, ResolveReply,
    ResolveRequest, Secret,
};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long an answer may take, beyond the time that a long poll waits by itself.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes: a state with many thousand keys.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of the control plane; cheap to clone.
#[derive(Clone, Debug)]
pub struct ControlClient {
    http: reqwest::Client,
    base: String,
    secret: Secret,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an http client: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl ControlClient {
    /// A client of the control plane at `base` (`http://host:port`), with the relays' secret.
    pub fn new(base: &str, secret: Secret) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            secret,
        })
    }

    /// What a client's credential permits.
    pub async fn resolve(&self, request: &ResolveRequest) -> Result<ResolveReply, Refusal> {
        let call = self
            .http
            .post(format!("{}/streams/resolve", self.base))
            .json(request);
        self.ask(call, Duration::ZERO).await
    }

    /// All keys, and where the feed of changes stands.
    pub async fn state(&self) -> Result<RelayState, Refusal> {
        let call = self
            .http
            .get(format!("{}/internal/v1/relay/state", self.base));
        self.ask(call, Duration::ZERO).await
    }

    /// What changed after `cursor`; waits up to `wait` for something.
    pub async fn changes(&self, cursor: u64, wait: Duration) -> Result<Changes, Refusal> {
        let url = format!(
            "{}/internal/v1/relay/changes?after={cursor}&wait={}",
            self.base,
            wait.as_secs()
        );
        self.ask(self.http.get(url), wait).await
    }

    /// Says which inputs are live here.
    pub async fn presence(&self, presence: &Presence) -> Result<PresenceReply, Refusal> {
        let call = self
            .http
            .post(format!("{}/internal/v1/presence", self.base))
            .json(presence);
        self.ask(call, Duration::ZERO).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        call: reqwest::RequestBuilder,
        wait: Duration,
    ) -> Result<T, Refusal> {
        let response = call
            .bearer_auth(self.secret.expose())
            .timeout(TIMEOUT + wait)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let is_success = response.status().is_success();
        let body = read_bounded(response).await?;
        if is_success {
            return serde_json::from_slice(&body).map_err(|_| not_understood());
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| not_understood()))
    }
}

async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unavailable(&error))?
    {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(not_understood());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The error's own words may hold the URL but no body or header, so no secret.
fn unavailable(error: &reqwest::Error) -> Refusal {
    let cause = if error.is_timeout() {
        "it did not answer in time"
    } else {
        "it is not reachable"
    };
    Refusal {
        code: RefusalCode::Unavailable,
        message: format!("the control plane cannot be asked: {cause}"),
    }
}

fn not_understood() -> Refusal {
    Refusal {
        code: RefusalCode::Unavailable,
        message: "the control plane gave an answer that is not understood".to_owned(),
    }
}
