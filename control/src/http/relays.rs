//! The calls of relays and engines; see `mainstem_core::resolve` for the messages.

use super::rate::network;
use super::{App, Peer, Shared, bearer, not_kept};
use crate::clock;
use crate::service::{ServiceError, refusal};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mainstem_core::resolve::{CHANGES_WAIT_SECS_MAX, Refusal, RefusalCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

pub(super) async fn resolve(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    within(&app, async {
        let (parts, body) = request.into_parts();
        admit(&app, peer.ip(), &parts.headers)?;
        let request = read(&app, body).await?;
        app.service
            .resolve(&request, clock::now())
            .await
            .map_err(fault)?
    })
    .await
}

pub(super) async fn state(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    within(&app, async {
        admit(&app, peer.ip(), &headers)?;
        app.service.relay_state().await.map_err(fault)
    })
    .await
}

pub(super) async fn changes(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    query: Result<Query<After>, axum::extract::rejection::QueryRejection>,
) -> Response {
    if let Err(refusal) = admit(&app, peer.ip(), &headers) {
        return refused(&refusal);
    }
    let Ok(Query(After { after, wait })) = query else {
        let text = "expected after and wait as whole numbers";
        return refused(&refusal(RefusalCode::BadRequest, text));
    };
    let wait = Duration::from_secs(wait.min(CHANGES_WAIT_SECS_MAX));
    let mut closing = app.closing.clone();
    let outcome = tokio::select! {
        outcome = app.service.changes(after, wait) => Some(outcome),
        () = async { drop(closing.wait_for(|closing| *closing).await) } => None,
    };
    // When we stop, the reader gets what there is and asks again, of whoever serves then.
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => app.service.changes(after, Duration::ZERO).await,
    };
    reply(outcome.map_err(fault))
}

pub(super) async fn presence(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    within(&app, async {
        let (parts, body) = request.into_parts();
        admit(&app, peer.ip(), &parts.headers)?;
        app.service.presence(read(&app, body).await?)
    })
    .await
}

/// The HTTP status of a refusal.
const fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::CallerRefused => StatusCode::UNAUTHORIZED,
        RefusalCode::WrongStreamKey | RefusalCode::TokenRefused => StatusCode::FORBIDDEN,
        RefusalCode::BadRequest => StatusCode::BAD_REQUEST,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::UnknownInput => StatusCode::NOT_FOUND,
        RefusalCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A fault of ours, told without its details.
pub(super) fn fault(error: ServiceError) -> Refusal {
    tracing::error!(fault = %error, "a call failed");
    refusal(RefusalCode::Unavailable, "internal error; it was logged")
}

pub(super) fn refused(refusal: &Refusal) -> Response {
    not_kept((status(refusal.code), Json(refusal)).into_response())
}

pub(super) fn reply<T: Serialize>(outcome: Result<T, Refusal>) -> Response {
    match outcome {
        Ok(body) => not_kept(Json(body).into_response()),
        Err(refusal) => refused(&refusal),
    }
}

/// Does the work, if it can be done in time.
pub(super) async fn within<T: Serialize>(
    app: &App,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Response {
    let late = || refusal(RefusalCode::Unavailable, "the request took too long");
    reply(
        timeout(app.limits.request_timeout, work)
            .await
            .unwrap_or_else(|_| Err(late())),
    )
}

fn admit(app: &App, peer: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
    let (now, peer) = (Instant::now(), network(peer));
    let guessing = |_| refusal(RefusalCode::Unavailable, "too many refused credentials");
    app.refusals.check(&peer, now).map_err(guessing)?;
    let admitted = app.service.admit_relay(bearer(headers));
    if admitted.is_err() {
        let _ = app.refusals.take(&peer, 1, now);
    }
    admitted
}

async fn read<T: DeserializeOwned>(app: &App, body: Body) -> Result<T, Refusal> {
    let limit = app.limits.relay_body_bytes;
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        refusal(
            RefusalCode::TooLarge,
            "the body is too large or was cut off",
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // The position only: the text may hold a stream key.
        let (line, column) = (error.line(), error.column());
        let text = format!("the body is not what was expected (line {line}, column {column})");
        refusal(RefusalCode::BadRequest, &text)
    })
}
