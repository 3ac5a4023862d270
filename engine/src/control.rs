//! The control plane as the engine needs it: may this encoder publish, and what?
//!
//! Messages: [`mainstem_core::resolve`]. Errors of the transport become a [`Refusal`] with
//! `Unavailable`, so that there is one kind of refusal to pass on.

use mainstem_core::resolve::{Refusal, RefusalCode, ResolveReply, ResolveRequest, Secret};
use std::time::Duration;

/// How long an answer may take. Encoders wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A client of the control plane; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ControlClient {
    http: reqwest::Client,
    base: String,
    secret: Secret,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an http client: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl ControlClient {
    /// A client of the control plane at `base` (`http://host:port`), with the programs' secret.
    pub(crate) fn new(base: &str, secret: Secret) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            secret,
        })
    }

    /// What an encoder's key permits.
    pub(crate) async fn resolve(&self, request: &ResolveRequest) -> Result<ResolveReply, Refusal> {
        let call = self
            .http
            .post(format!("{}/streams/resolve", self.base))
            .bearer_auth(self.secret.expose())
            .json(request);
        let mut response = call.send().await.map_err(|error| unavailable(&error))?;
        let is_success = response.status().is_success();
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| unavailable(&error))?
        {
            if body.len().saturating_add(piece.len()) > ANSWER_BYTES_MAX {
                return Err(not_understood());
            }
            body.extend_from_slice(&piece);
        }
        if is_success {
            return serde_json::from_slice(&body).map_err(|_| not_understood());
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| not_understood()))
    }
}

/// The error's own words may hold the URL, which holds no secret, but are not for encoders.
fn unavailable(error: &reqwest::Error) -> Refusal {
    tracing::warn!(%error, "the control plane cannot be asked");
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
