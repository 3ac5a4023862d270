//! [`Admin`]: an HTTP listener for whoever operates a relay.
//!
//! | request | does |
//! |---|---|
//! | `GET /metrics` | the figures, in Prometheus' text format |
//! | `GET /sessions` | the open sessions, up to [`SESSIONS_MAX`], as JSON |
//! | `PUT /sessions/<id>/log` | switches the event log of a session on |
//! | `DELETE /sessions/<id>/log` | switches it off |
//! | `GET /sessions/<id>/log` | the newest event log of a session, open or closed, as far as it is written |
//!
//! On a loopback address it serves whoever reaches it by an address or as `localhost`, so that no web
//! page can by a name of its own; on any other it is not started without a key, which requests show as
//! `authorization: Bearer <key>`.
//!
//! Limits: [`CONNECTIONS_MAX`] connections, [`HEAD_TIMEOUT`] for each request head, [`CONNECTION_TIMEOUT`]
//! for each connection, so that nobody keeps others out by asking and never reading; logs are bounded
//! by [`crate::EventLogConfig`]. Dropping it ends the connections as well.

use crate::metrics::{Figures, render};
use crate::server::{Inside, RelayServer};
use crate::tcp::Accept;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstem_core::resolve::Secret;
use mainstem_core::transport::SessionId;
use serde_json::json;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Sessions that a list holds.
const SESSIONS_MAX: usize = 10_000;
/// Connections at a time.
const CONNECTIONS_MAX: usize = 32;
/// How long a request head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, with all that is asked and answered on it.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen, and for whom.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// TCP address; port 0 for a free one.
    pub listen: SocketAddr,
    /// What requests have to show; `None` on loopback addresses only.
    pub key: Option<Secret>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Others can reach it, and nothing would keep them out.
    #[error("without a key the admin listener may listen on a loopback address only, not on {0}")]
    OpenToOthers(SocketAddr),
    /// The socket.
    #[error("cannot listen on {address} for the admin: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A running listener; ends when it is dropped.
pub struct Admin {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Admin {
    /// Opens the socket and serves.
    pub async fn start(config: AdminConfig, relay: &RelayServer) -> Result<Self, AdminError> {
        let address = config.listen;
        if config.key.is_none() && !address.ip().is_loopback() {
            return Err(AdminError::OpenToOthers(address));
        }
        let failed = |source| AdminError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Self::start_on(config, listener, relay)
    }

    /// The same for requests that come from `listener`; of [`AdminConfig::listen`] only whether it
    /// is a loopback address is looked at.
    pub fn start_on(
        config: AdminConfig,
        listener: impl Accept,
        relay: &RelayServer,
    ) -> Result<Self, AdminError> {
        let address = config.listen;
        if config.key.is_none() && !address.ip().is_loopback() {
            return Err(AdminError::OpenToOthers(address));
        }
        let failed = |source| AdminError::Listen { address, source };
        let address = listener.local_addr().map_err(failed)?;
        let router = router(relay.inside(), config.key);
        let task = tokio::spawn(serve(listener, router));
        Ok(Self { address, task })
    }

    /// The socket's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(inside: Inside, key: Option<Secret>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/sessions", get(sessions))
        .route(
            "/sessions/{id}/log",
            get(download).put(switch_on).delete(switch_off),
        )
        .layer(middleware::from_fn(admit))
        .layer(Extension(key.map(Arc::new)))
        .with_state(inside)
}

async fn serve(listener: impl Accept, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepting = async {
            // The semaphore is never closed.
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await.ok()?.0, slot))
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Some((stream, slot)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let router = router.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut router = router.clone();
            async move { tower_service::Service::call(&mut router, request).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin ended early"),
            }
            drop(slot);
        });
    }
}

async fn admit(
    Extension(key): Extension<Option<Arc<Secret>>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let is_admitted = match &key {
        Some(key) => shows(headers, key),
        None => names_this_machine(headers),
    };
    if !is_admitted {
        let text = "the admin's key is needed, or an address instead of a name\n";
        return (StatusCode::UNAUTHORIZED, text).into_response();
    }
    next.run(request).await
}

fn shows(headers: &HeaderMap, key: &Secret) -> bool {
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok()?.split_once(' '));
    shown.is_some_and(|(scheme, shown)| {
        let is_same = shown.trim().as_bytes().ct_eq(key.expose().as_bytes());
        scheme.eq_ignore_ascii_case("bearer") && bool::from(is_same)
    })
}

/// Whether a request was not led here by a name that somebody else made point to this machine.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.is_some_and(|host| {
        let is_address = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
        let name = host.split(':').next().unwrap_or_default();
        is_address || name.eq_ignore_ascii_case("localhost")
    })
}

/// Asks the shard, off the threads that serve.
async fn ask<T: Send + 'static>(
    inside: Inside,
    question: impl FnOnce(&Inside) -> Option<T> + Send + 'static,
) -> Result<T, Response> {
    let answer = tokio::task::spawn_blocking(move || question(&inside)).await;
    let gone = || (StatusCode::SERVICE_UNAVAILABLE, "the relay has ended\n").into_response();
    answer.ok().flatten().ok_or_else(gone)
}

async fn metrics(State(inside): State<Inside>) -> Result<Response, Response> {
    let figures = ask(inside, |inside| {
        inside.handle.ask(|host, _| Figures::of(host)).ok()
    })
    .await?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, render(&figures)).into_response())
}

async fn sessions(State(inside): State<Inside>) -> Result<Response, Response> {
    let open = ask(inside, |inside| {
        let list = |host: &mut mainstem_quic::Host<_>, now| {
            let relay: &mainstem_core::moqt::relay::Relay = host.app();
            relay.open_sessions(now, SESSIONS_MAX)
        };
        inside.handle.ask(list).ok()
    })
    .await?;
    let sessions: Vec<_> = open
        .iter()
        .map(|open| {
            json!({
                "session": open.session.0,
                "remote": open.remote,
                "protocol": open.protocol,
                "carrier": if open.is_web_transport { "webtransport" } else { "quic" },
                "seconds": open.age.as_secs(),
                "bytes_in": open.bytes_in,
                "bytes_out": open.bytes_out,
                "log": open.is_logged,
            })
        })
        .collect();
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

async fn switch_on(
    State(inside): State<Inside>,
    Path(id): Path<u64>,
) -> Result<Response, Response> {
    if inside.event_log.is_none() {
        let text = "this relay has no folder for event logs\n";
        return Ok((StatusCode::CONFLICT, text).into_response());
    }
    switch(inside, id, true).await
}

async fn switch_off(
    State(inside): State<Inside>,
    Path(id): Path<u64>,
) -> Result<Response, Response> {
    switch(inside, id, false).await
}

async fn switch(inside: Inside, id: u64, is_on: bool) -> Result<Response, Response> {
    let is_known = ask(inside, move |inside| {
        let session = SessionId(id);
        let switch = move |host: &mut mainstem_quic::Host<mainstem_core::moqt::relay::Relay>, _| {
            host.app_mut().log_session(session, is_on)
        };
        inside.handle.ask(switch).ok()
    })
    .await?;
    Ok(if is_known {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::NOT_FOUND, "no such session is open\n").into_response()
    })
}

async fn download(State(inside): State<Inside>, Path(id): Path<u64>) -> Result<Response, Response> {
    let log = ask(inside, move |inside| {
        let log = inside.event_log.as_ref();
        Some(log.map(|log| log.read(SessionId(id))))
    })
    .await?;
    Ok(match log {
        Some(Ok(Some(log))) => {
            let kind = [(header::CONTENT_TYPE, "application/qlog+json-seq")];
            (kind, log).into_response()
        }
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot read an event log");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(Ok(None)) | None => {
            let text = "there is no log of this session; PUT to this path begins one\n";
            (StatusCode::NOT_FOUND, text).into_response()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn names_of_others_lead_nowhere() {
        let admitted = |host| names_this_machine(&headers(header::HOST, host));
        for host in [
            "127.0.0.1:7",
            "127.0.0.1",
            "[::1]:7",
            "localhost:7",
            "localhost",
        ] {
            assert!(admitted(host), "{host}");
        }
        for host in ["evil.example:7", "localhost.evil.example", ""] {
            assert!(!admitted(host), "{host}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn only_the_whole_key_is_the_key() {
        let key = Secret::new("correct");
        let shown = |value| shows(&headers(header::AUTHORIZATION, value), &key);
        assert!(shown("Bearer correct") && shown("bearer correct"));
        for value in [
            "correct",
            "Basic correct",
            "Bearer correc",
            "Bearer correctx",
        ] {
            assert!(!shown(value), "{value}");
        }
    }
}
