//! The facades: they translate between HTTP and the service, and decide nothing.
//!
//! | path | for | module |
//! |---|---|---|
//! | `/api/trpc/<procedure>`, `/trpc/<procedure>` | holders of API keys | [`trpc`] |
//! | `POST /streams/resolve`, `/internal/v1/..` | relays and engines | [`relays`] |
//! | `GET /streams/resolve/<lv id>` | viewers with a token, publishers with a stream key | [`open`] |
//! | `/watch/<id>`, `/publish/<id>`, `/sdk/..` | browsers | [`pages`] |
//! | `/.well-known/jwks.json`, `/orgs/<org>/.well-known/jwks.json` | everyone | [`open`] |
//! | `/healthz`, `/readyz`, `/metrics` | whoever watches over the process | [`open`] |
//!
//! Credentials travel in headers and bodies only, never in cookies, so any web page may call what
//! a key or token permits: `access-control-allow-origin: *`, except for relays.

mod envelope;
mod fields;
mod open;
mod pages;
mod procedures;
mod rate;
mod relays;
mod trpc;

use crate::config::{Config, Limits, MetricsPage, PublicRelay, RelayPlace};
use crate::service::Service;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use mainstem_web::Embedding;
use rate::Buckets;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// What the handlers share.
pub(crate) struct App {
    service: Service,
    limits: Limits,
    metrics: Option<MetricsPage>,
    relay: Option<RelayPlace>,
    embedding: Embedding,
    /// Calls by API key.
    calls: Buckets<String>,
    /// Refused credentials by address.
    refusals: Buckets<IpAddr>,
    /// Becomes true when the server stops: long polls end then.
    closing: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(service: Service, config: Config, closing: watch::Receiver<bool>) -> Self {
        let limits = config.limits;
        let refusals_per_second = limits.refusals_burst.div_ceil(10);
        Self {
            service,
            limits,
            metrics: config.metrics,
            relay: config.relay,
            embedding: config.embedding,
            calls: Buckets::new(limits.calls_per_second, limits.calls_burst),
            refusals: Buckets::new(refusals_per_second, limits.refusals_burst),
            closing,
        }
    }

    /// Where browsers find the relay now.
    fn relay(&self) -> Option<PublicRelay> {
        self.relay.as_ref().and_then(RelayPlace::find)
    }
}

type Shared = State<Arc<App>>;

/// The address of the client; the server puts it into each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Every route.
pub(crate) fn router(app: Arc<App>) -> Router {
    let relays = Router::new()
        .route("/streams/resolve", post(relays::resolve))
        .route("/internal/v1/relay/state", get(relays::state))
        .route("/internal/v1/relay/changes", get(relays::changes))
        .route("/internal/v1/presence", post(relays::presence));
    let open = Router::new()
        .route("/api/trpc/{*path}", any(trpc::handle))
        .route("/trpc/{*path}", any(trpc::handle))
        .route("/streams/resolve/{id}", get(open::resolve))
        .route("/.well-known/jwks.json", get(open::keys))
        .route("/orgs/{org}/.well-known/jwks.json", get(open::keys_of_org))
        .layer(middleware::from_fn(allow_every_origin));
    Router::new()
        .route("/healthz", get(open::health))
        .route("/readyz", get(open::readiness))
        .route("/metrics", get(open::metrics))
        .route("/watch/{id}", get(pages::serve))
        .route("/publish/{id}", get(pages::serve))
        .route("/sdk/{name}", get(pages::serve))
        .merge(relays)
        .merge(open)
        .fallback(nowhere)
        .layer(middleware::from_fn(log))
        .with_state(app)
}

/// The credential after `Bearer` in the `authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| credential.trim())
}

/// An answer that nobody may keep: it holds a secret, or what may change at any time.
fn not_kept(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn nowhere() -> Response {
    let body = json!({ "error": { "message": "there is nothing at this path" } });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn allow_every_origin(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    if is_preflight {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-type, traceparent, tracestate, trpc-accept",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// One line for each request. Neither the query nor a header but the trace id gets into it: they
/// may hold secrets.
async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let trace_id = trace_id(request.headers()).unwrap_or_default();
    let response = next.run(request).await;
    let procedures = response.extensions().get::<trpc::Called>();
    tracing::info!(
        %method,
        route = route.as_deref().unwrap_or("none"),
        procedures = procedures.map(|called| called.0.as_str()),
        status = response.status().as_u16(),
        ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        trace_id,
        "request"
    );
    response
}

/// The trace id of a `traceparent` header (W3C Trace Context, section 3.2).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let id = value.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}
