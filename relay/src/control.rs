//! The control plane as a relay or an engine sees it: questions over HTTP with a shared secret.
//!
//! Messages: [`mainstem_core::resolve`]. Errors of the transport become a [`Refusal`] with
//! `Unavailable`, so that callers have one kind of refusal to pass on.
//!
//! Each question has a connection of its own. Questions are rare, and none waits for the time-out
//! of a connection that was kept and whose other end has vanished.
//!
//! Limits: [`TIMEOUT`] for a question and its answer together, beyond the time that a long poll
//! waits by itself; [`ANSWER_BYTES_MAX`].

use crate::tcp::{Dial, Tcp};
use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use mainstem_core::resolve::{
    Changes, Presence, PresenceReply, Refusal, RefusalCode, RelayState, ResolveReply,
    ResolveRequest, Secret,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take, beyond the time that a long poll waits by itself.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes: a state with many thousand keys.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of the control plane; cheap to clone.
#[derive(Clone)]
pub struct ControlClient {
    dial: Arc<dyn Dial>,
    /// `host:port`.
    authority: Arc<str>,
    /// What stands before every path.
    prefix: Arc<str>,
    secret: Secret,
}

/// The address is none of a control plane.
#[derive(Debug, thiserror::Error)]
#[error("expected the control plane's address as http://host:port")]
pub struct ClientError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Dial(#[from] std::io::Error),
    #[error("no connection in time")]
    Absent,
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the answer was cut off or is longer than {ANSWER_BYTES_MAX} bytes: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the question cannot be asked: {0}")]
    Question(#[from] hyper::http::Error),
}

impl ControlClient {
    /// A client of the control plane at `base` (`http://host:port`), with the relays' secret.
    pub fn new(base: &str, secret: Secret) -> Result<Self, ClientError> {
        Self::over(Tcp, base, secret)
    }

    /// The same over connections of `dial`'s making.
    pub fn over(dial: impl Dial, base: &str, secret: Secret) -> Result<Self, ClientError> {
        let base: Uri = base.parse().map_err(|_| ClientError)?;
        let authority = base.authority().ok_or(ClientError)?;
        if base.scheme() != Some(&Scheme::HTTP) {
            return Err(ClientError);
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            dial: Arc::new(dial),
            authority: format!("{}:{port}", authority.host()).into(),
            prefix: base.path().trim_end_matches('/').into(),
            secret,
        })
    }

    /// What a client's credential permits.
    pub async fn resolve(&self, request: &ResolveRequest) -> Result<ResolveReply, Refusal> {
        self.post("/streams/resolve", request).await
    }

    /// All keys, and where the feed of changes stands.
    pub async fn state(&self) -> Result<RelayState, Refusal> {
        self.read("/internal/v1/relay/state", Duration::ZERO).await
    }

    /// What changed after `cursor`; waits up to `wait` for something.
    pub async fn changes(&self, cursor: u64, wait: Duration) -> Result<Changes, Refusal> {
        let secs = wait.as_secs();
        let path = format!("/internal/v1/relay/changes?after={cursor}&wait={secs}");
        self.read(&path, wait).await
    }

    /// Says which inputs are live here.
    pub async fn presence(&self, presence: &Presence) -> Result<PresenceReply, Refusal> {
        self.post("/internal/v1/presence", presence).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Refusal> {
        self.ask(Method::GET, path, Body::empty(), TIMEOUT + wait)
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, Refusal> {
        let question = serde_json::to_vec(question).map_err(|_| not_understood())?;
        self.ask(Method::POST, path, Body::from(question), TIMEOUT)
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        question: Body,
        limit: Duration,
    ) -> Result<T, Refusal> {
        let asking = self.exchange(method, path, question);
        let (status, body) = match tokio::time::timeout(limit, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                // A fault's own words name addresses: they are for the log.
                tracing::debug!(%fault, "the control plane cannot be asked");
                return Err(match fault {
                    Fault::Body(_) => not_understood(),
                    Fault::Absent => unavailable("it did not answer in time"),
                    _ => unavailable("it is not reachable"),
                });
            }
            Err(_) => return Err(unavailable("it did not answer in time")),
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| not_understood());
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| not_understood()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        question: Body,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &*self.authority)
            .header(AUTHORIZATION, format!("Bearer {}", self.secret.expose()))
            .header(CONTENT_TYPE, "application/json")
            .body(question)?;
        // A long poll may wait for news, but not for a machine that is not there.
        let dialling = tokio::time::timeout(TIMEOUT, self.dial.dial(&self.authority));
        let stream = dialling.await.map_err(|_| Fault::Absent)??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let asking = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(Fault::Body)?;
            Ok((status, body.to_bytes()))
        };
        // The connection lives as long as it is asked over, and is gone with whoever asks.
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            ended = connection => {
                ended?;
                asking.await
            }
        }
    }
}

impl fmt::Debug for ControlClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ControlClient");
        out.field("authority", &self.authority);
        out.finish_non_exhaustive()
    }
}

pub(crate) fn unavailable(cause: &str) -> Refusal {
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
