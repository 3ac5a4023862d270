//! What needs no key: public keys, health, and the resolving of an input for a viewer that shows
//! its token.

use super::relays::{fault, reply, within};
use super::{App, Shared, bearer};
use crate::clock;
use crate::service::refusal;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstem_core::resolve::{JwkSet, RefusalCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// What a viewer needs to begin.
#[derive(Serialize)]
struct Found {
    namespace: String,
    org: String,
    input: String,
    status: &'static str,
    /// The track that describes the others.
    catalog: &'static str,
    expires_at: Option<u64>,
}

pub(super) async fn resolve(
    State(app): Shared,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Response {
    within(&app, async {
        let token = shown.tok.as_deref().or_else(|| bearer(&headers));
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
        Ok(Found {
            namespace: found.reply.namespace,
            org: found.reply.org,
            input: found.reply.input,
            status: if found.is_live { "live" } else { "idle" },
            catalog: ".catalog",
            expires_at: found.reply.expires_at,
        })
    })
    .await
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
