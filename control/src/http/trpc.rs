//! tRPC over HTTP, by hand: queries as `GET <path>?input=<json>`, mutations as `POST <path>` with
//! the JSON input as body; no transformer.
//!
//! With `?batch=1` the path is several names with commas between, the input is an object of inputs
//! by index (`{"0":..,"1":..}`), and the answer an array; its status is that of its parts, or 207
//! when they differ. The query is form-encoded: `+` is a space.
//!
//! Order of the refusals: address that guesses keys (429), API key (401), rate (429), size (413);
//! then for each call: name (404), method (405), JSON (400 PARSE_ERROR), scope (403), input (400),
//! organisation (403), and what the procedure finds.

use super::envelope::{Answer, Code, Failure};
use super::procedures::Procedure;
use super::rate::network;
use super::{App, Peer, Shared, bearer, not_kept};
use crate::service::{Caller, ServiceError};
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout};

/// The known procedures that a request called, for its log line.
#[derive(Clone)]
pub(super) struct Called(pub(super) String);

#[derive(Deserialize)]
struct Asked {
    input: Option<String>,
    batch: Option<String>,
}

/// What a whole request is refused with.
struct Refused {
    failure: Failure,
    retry_after: Option<u64>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            retry_after: None,
        }
    }
}

pub(super) async fn handle(
    State(app): Shared,
    Extension(Peer(peer)): Extension<Peer>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Query::<Asked>::try_from_uri(&parts.uri).map(|Query(asked)| asked);
    let is_batch = asked
        .as_ref()
        .is_ok_and(|asked| is_set(asked.batch.as_deref()));
    let names: Vec<&str> = if is_batch {
        path.split(',').collect()
    } else {
        vec![&path]
    };

    let work = async {
        let asked = asked.map_err(|_| bad_request("the query is not form-encoded UTF-8"))?;
        let caller = admit(&app, peer.ip(), &parts.headers, names.len()).await?;
        let input = input_text(&app, &parts.method, asked.input, body).await?;
        let inputs = split(input, names.len(), is_batch);
        let mut answers = Vec::with_capacity(names.len());
        for (name, input) in names.iter().zip(inputs) {
            let outcome = call(&app, &caller, &parts.method, name, input).await;
            answers.push(Answer::of(outcome, name));
        }
        Ok(answers)
    };
    let outcome = timeout(app.limits.request_timeout, work).await;
    let outcome = outcome
        .unwrap_or_else(|_| Err(Failure::new(Code::Timeout, "the request took too long").into()));
    let mut response = match outcome {
        Ok(answers) => answered(answers, is_batch),
        Err(refused) => refuse(refused, &names, is_batch),
    };
    let known: Vec<&str> = names
        .into_iter()
        .filter(|name| Procedure::find(name).is_some())
        .take(20)
        .collect();
    response.extensions_mut().insert(Called(known.join(",")));
    not_kept(response)
}

/// Lets a caller with a good API key in, at its rate.
async fn admit(
    app: &App,
    peer: std::net::IpAddr,
    headers: &HeaderMap,
    calls: usize,
) -> Result<Caller, Refused> {
    let limit = app.limits.batch_calls;
    if calls > limit {
        return Err(bad_request(&format!("a batch has at most {limit} calls")).into());
    }
    let too_many = |retry_after| Refused {
        failure: Failure::new(Code::TooManyRequests, "too many requests; see retry-after"),
        retry_after: Some(retry_after),
    };
    let peer = network(peer);
    app.refusals
        .check(&peer, Instant::now())
        .map_err(too_many)?;
    let caller = match app.service.authenticate(bearer(headers)).await {
        Ok(caller) => caller,
        Err(error) => {
            if matches!(error, ServiceError::Unauthorized(_)) {
                let _ = app.refusals.take(&peer, 1, Instant::now());
            }
            return Err(Failure::from(error).into());
        }
    };
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    app.calls
        .take(&caller.key_id, calls, Instant::now())
        .map_err(too_many)?;
    Ok(caller)
}

/// The input as it was sent: from the query, or from the body of a POST.
async fn input_text(
    app: &App,
    method: &Method,
    query: Option<String>,
    body: Body,
) -> Result<Option<Vec<u8>>, Failure> {
    if method != Method::POST {
        return Ok(query.map(String::into_bytes));
    }
    let limit = app.limits.body_bytes;
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        let text = format!("the body did not arrive whole or is longer than {limit} bytes");
        Failure::new(Code::PayloadTooLarge, text)
    })?;
    Ok((!bytes.is_empty()).then(|| bytes.into()))
}

/// The inputs of the calls, each `None` when it has none.
fn split(
    text: Option<Vec<u8>>,
    calls: usize,
    is_batch: bool,
) -> Vec<Result<Option<Value>, Failure>> {
    let whole = text
        .map(|text| serde_json::from_slice::<Value>(&text))
        .transpose();
    let whole = whole.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = format!("the input is not JSON (line {line}, column {column})");
        Failure::new(Code::ParseError, text)
    });
    if !is_batch {
        return vec![whole];
    }
    match whole {
        Ok(Some(Value::Object(mut inputs))) => (0..calls)
            .map(|index| Ok(inputs.remove(&index.to_string())))
            .collect(),
        Ok(None) => vec![Ok(None); calls],
        Ok(Some(_)) => vec![Err(bad_request("batch input: expected an object by index")); calls],
        Err(failure) => vec![Err(failure); calls],
    }
}

async fn call(
    app: &App,
    caller: &Caller,
    method: &Method,
    name: &str,
    input: Result<Option<Value>, Failure>,
) -> Result<Value, Failure> {
    let unknown = || Failure::new(Code::NotFound, "there is no procedure of that name");
    let procedure = Procedure::find(name).ok_or_else(unknown)?;
    procedure.allows(method)?;
    procedure.call(app, caller, input?).await
}

fn answered(answers: Vec<(StatusCode, Answer)>, is_batch: bool) -> Response {
    let (statuses, mut bodies): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let first = statuses.first().copied().unwrap_or(StatusCode::NOT_FOUND);
    let is_same = statuses.iter().all(|status| *status == first);
    let status = if is_same {
        first
    } else {
        StatusCode::MULTI_STATUS
    };
    if is_batch {
        return (status, Json(bodies)).into_response();
    }
    let mut response = (status, Json(bodies.pop())).into_response();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// A batch that is refused as a whole is answered with as many errors as it has calls.
fn refuse(refused: Refused, names: &[&str], is_batch: bool) -> Response {
    let Refused {
        failure,
        retry_after,
    } = refused;
    let names = names.get(..names.len().min(20)).unwrap_or_default();
    let answers = names
        .iter()
        .map(|name| Answer::of(Err(failure.clone()), name))
        .collect();
    let mut response = answered(answers, is_batch);
    let headers = response.headers_mut();
    if failure.code.status() == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn is_set(flag: Option<&str>) -> bool {
    matches!(flag, Some("1" | "true"))
}

fn bad_request(text: &str) -> Failure {
    Failure::new(Code::BadRequest, text)
}
