//! What needs no API key: public keys, health, and the resolving of an input for a viewer that shows
//! its token or a publisher that shows its stream key.

use super::rate::network;
use super::relays::{fault, reply, within};
use super::{App, Peer, Shared, bearer};
use crate::clock;
use crate::service::{Watched, refusal};
use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstem_core::resolve::{JwkSet, Refusal, RefusalCode, ResolveKind, ResolveRequest, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::IpAddr;
use tokio::time::Instant;

/// How long a verifier may keep the public keys, in seconds. A deactivated key lives that long with
/// those who do not follow the feed.
const KEYS_KEPT: &str = "public, max-age=30";

/// The figures of the process, where it has any.
pub(super) async fn metrics(State(app): Shared) -> Response {
    let Some(page) = app.metrics.clone() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match tokio::task::spawn_blocking(move || page.write()).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Deserialize)]
pub(super) struct Shown {
    tok: Option<String>,
}

/// What stream keys begin with; tokens do not.
const STREAM_KEY: &str = "sk_live_";

/// What a viewer or a publisher needs to begin.
#[derive(Serialize)]
struct Found {
    kind: ResolveKind,
    namespace: String,
    org: String,
    input: String,
    status: &'static str,
    /// The track that describes the others.
    catalog: &'static str,
    expires_at: Option<u64>,
    /// Origin of the relay, `https://host:port`.
    #[serde(rename = "relayUrl", skip_serializing_if = "Option::is_none")]
    relay_url: Option<String>,
    /// Certificates to trust beside those that browsers trust, SHA-256 in hex.
    #[serde(rename = "serverCertificateHashes")]
    certificate_hashes: Vec<String>,
}

pub(super) async fn resolve(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Response {
    within(&app, async {
        let header = bearer(&headers);
        // A stream key in a URL would stand in logs: only a header may carry it.
        if let Some(key) = header.filter(|shown| shown.starts_with(STREAM_KEY)) {
            return publisher(&app, peer.ip(), &id, key).await;
        }
        let token = shown.tok.as_deref().or(header);
        let missing = || {
            let text = "no token: send it as ?tok= or as `authorization: Bearer <token>`";
            refusal(RefusalCode::TokenRefused, text)
        };
        let token = token.ok_or_else(missing)?;
        let found = app
            .service
            .resolve_playback(&id, token, clock::now())
            .await
            .map_err(fault)??;
        Ok(found_at(&app, ResolveKind::Playback, found))
    })
    .await
}

/// For a publisher, at the pace at which wrong keys may be tried.
async fn publisher(app: &App, peer: IpAddr, id: &str, key: &str) -> Result<Found, Refusal> {
    let (now, peer) = (Instant::now(), network(peer));
    let guessing = |_| refusal(RefusalCode::Unavailable, "too many refused credentials");
    app.refusals.check(&peer, now).map_err(guessing)?;
    let request = ResolveRequest {
        kind: ResolveKind::Publish,
        id: id.to_owned(),
        sk: Some(Secret::new(key)),
        tok: None,
        ip: None,
    };
    let resolved = app.service.resolve(&request, clock::now()).await;
    let resolved = resolved.map_err(fault)?;
    if resolved.is_err() {
        let _ = app.refusals.take(&peer, 1, now);
    }
    let reply = resolved?;
    let is_live = app.service.is_live(&reply.input);
    Ok(found_at(
        app,
        ResolveKind::Publish,
        Watched { reply, is_live },
    ))
}

fn found_at(app: &App, kind: ResolveKind, found: Watched) -> Found {
    let relay = app.relay();
    Found {
        kind,
        namespace: found.reply.namespace,
        org: found.reply.org,
        input: found.reply.input,
        status: if found.is_live { "live" } else { "idle" },
        catalog: ".catalog",
        expires_at: found.reply.expires_at,
        relay_url: relay.as_ref().map(|relay| relay.url.clone()),
        certificate_hashes: relay
            .map(|relay| relay.certificate_hashes)
            .unwrap_or_default(),
    }
}

pub(super) async fn keys(State(app): Shared) -> Response {
    public_keys(&app, None).await
}

pub(super) async fn keys_of_org(State(app): Shared, Path(org): Path<String>) -> Response {
    public_keys(&app, Some(&org)).await
}

/// The process runs.
pub(super) async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// The database answers and the server is not stopping.
pub(super) async fn readiness(State(app): Shared) -> Response {
    if *app.closing.borrow() {
        let body = json!({ "status": "stopping" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    match app.service.store().check().await {
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            let body = json!({ "status": "no database" });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn public_keys(app: &App, org: Option<&str>) -> Response {
    let keys = app.service.public_keys(org).await.map_err(fault);
    let is_good = keys.is_ok();
    let mut response = reply(keys.map(|keys| JwkSet { keys }));
    if is_good {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(KEYS_KEPT));
    }
    response
}
