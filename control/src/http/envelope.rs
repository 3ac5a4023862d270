//! What tRPC answers look like: `{"result":{"data":..}}` or `{"error":{..}}`, never both.
//!
//! `data` is always there, `null` at least: a client takes its absence for an empty reply. In an
//! error `message` comes first and the rest is short: clients show the first 200 bytes.
//! Source: CONTRACTS section 0 (4, 5) and A1; codes of trpc.io/docs/rpc.

use crate::service::ServiceError;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// An error code of tRPC, with its JSON-RPC number and HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    ParseError,
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotSupported,
    Timeout,
    PreconditionFailed,
    PayloadTooLarge,
    TooManyRequests,
    InternalServerError,
}

impl Code {
    /// Name, number, status.
    const fn row(self) -> (&'static str, i32, StatusCode) {
        match self {
            Self::ParseError => ("PARSE_ERROR", -32700, StatusCode::BAD_REQUEST),
            Self::BadRequest => ("BAD_REQUEST", -32600, StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("UNAUTHORIZED", -32001, StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("FORBIDDEN", -32003, StatusCode::FORBIDDEN),
            Self::NotFound => ("NOT_FOUND", -32004, StatusCode::NOT_FOUND),
            Self::MethodNotSupported => (
                "METHOD_NOT_SUPPORTED",
                -32005,
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::Timeout => ("TIMEOUT", -32008, StatusCode::REQUEST_TIMEOUT),
            Self::PreconditionFailed => (
                "PRECONDITION_FAILED",
                -32012,
                StatusCode::PRECONDITION_FAILED,
            ),
            Self::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", -32013, StatusCode::PAYLOAD_TOO_LARGE),
            Self::TooManyRequests => ("TOO_MANY_REQUESTS", -32029, StatusCode::TOO_MANY_REQUESTS),
            Self::InternalServerError => (
                "INTERNAL_SERVER_ERROR",
                -32603,
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        self.row().2
    }
}

/// An error for a client.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: Code,
    message: String,
}

/// Longest message; some of them repeat what the client sent.
const MESSAGE_MAX: usize = 160;
/// Longest procedure name that an error repeats.
const PATH_MAX: usize = 100;

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: cut(message.into(), MESSAGE_MAX),
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let code = match &error {
            ServiceError::Unauthorized(_) => Code::Unauthorized,
            ServiceError::Forbidden(_) => Code::Forbidden,
            ServiceError::NotFound(_) => Code::NotFound,
            ServiceError::LimitReached(_) => Code::PreconditionFailed,
            ServiceError::Internal(fault) => {
                tracing::error!(%fault, "a procedure failed");
                return Self::new(Code::InternalServerError, "internal error; it was logged");
            }
        };
        Self::new(code, error.to_string())
    }
}

/// The answer to one call.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Result { data: Value },
    Error(ErrorBody),
}

/// What an error says, in the order in which it says it.
#[derive(Serialize)]
pub(super) struct ErrorBody {
    message: String,
    code: i32,
    data: ErrorData,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData {
    code: &'static str,
    http_status: u16,
    path: String,
}

impl Answer {
    /// Of an outcome, for the procedure of that name; also gives the HTTP status.
    pub(super) fn of(outcome: Result<Value, Failure>, path: &str) -> (StatusCode, Self) {
        match outcome {
            Ok(data) => (StatusCode::OK, Self::Result { data }),
            Err(Failure { code, message }) => {
                let (name, number, status) = code.row();
                let data = ErrorData {
                    code: name,
                    http_status: status.as_u16(),
                    path: cut(path.to_owned(), PATH_MAX),
                };
                (
                    status,
                    Self::Error(ErrorBody {
                        message,
                        code: number,
                        data,
                    }),
                )
            }
        }
    }
}

/// The first `max` bytes or a few less, at a character's end.
fn cut(mut text: String, max: usize) -> String {
    text.truncate(text.floor_char_boundary(max));
    text
}
