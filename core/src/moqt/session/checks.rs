//! Rules about a message that only the session can judge: they depend on the request that it
//! answers, on the side that it came to, or on what was offered in SETUP.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.2.2 (tokens), 10.4 (GOAWAY), 10.5
//! (REQUEST_OK), 10.6.1 (redirects), 10.13 (FETCH_OK).

use crate::moqt::draft::Draft;
use crate::moqt::error::ProtocolError;
use crate::moqt::message::{Goaway, RequestError, RequestKind, RequestOk};
use crate::moqt::name::Location;
use crate::moqt::parameter::AuthorizationToken;
use crate::transport::Side;

/// Tokens of a SETUP that came to `side`. No alias can be known yet. A registration beyond the cache
/// that was offered counts as a use by value, which is the owner's business.
pub(super) fn setup_tokens(side: Side, tokens: &[AuthorizationToken]) -> Result<(), ProtocolError> {
    let refers = |token: &AuthorizationToken| {
        matches!(
            token,
            AuthorizationToken::Delete { .. } | AuthorizationToken::UseAlias { .. }
        )
    };
    if side == Side::Server && tokens.iter().any(refers) {
        return Err(ProtocolError::violation(
            "SETUP refers to an alias of a token",
        ));
    }
    Ok(())
}

/// A REQUEST_OK to a request of this kind.
pub(super) fn request_ok(
    draft: Draft,
    kind: RequestKind,
    answer: &RequestOk,
) -> Result<(), ProtocolError> {
    answer.parameters.check_ok_of(draft, kind)?;
    if kind != RequestKind::TrackStatus && !answer.properties.is_empty() {
        return Err(ProtocolError::violation(
            "track properties in an answer that has none",
        ));
    }
    Ok(())
}

/// A REQUEST_ERROR that came to `side`, to a request of this kind.
pub(super) fn request_error(
    side: Side,
    kind: RequestKind,
    error: &RequestError,
) -> Result<(), ProtocolError> {
    let Some(redirect) = &error.redirect else {
        return Ok(());
    };
    if side == Side::Server && !redirect.connect_uri.is_empty() {
        return Err(ProtocolError::violation(
            "a client redirects to another address",
        ));
    }
    let is_about_namespace = matches!(
        kind,
        RequestKind::PublishNamespace
            | RequestKind::SubscribeNamespace
            | RequestKind::SubscribeTracks
    );
    if is_about_namespace && !redirect.name.0.is_empty() {
        return Err(ProtocolError::violation(
            "redirect of a namespace to a track",
        ));
    }
    Ok(())
}

/// The end of a FETCH_OK, to a FETCH that began at `start` if it told.
pub(super) fn fetch_end(start: Option<Location>, end: Location) -> Result<(), ProtocolError> {
    if start.is_some_and(|start| end < start) {
        return Err(ProtocolError::violation(
            "FETCH_OK ends before the fetch starts",
        ));
    }
    Ok(())
}

/// A GOAWAY that came to `side` on a stream that had one before or not.
pub(super) fn goaway(side: Side, is_second: bool, goaway: &Goaway) -> Result<(), ProtocolError> {
    if is_second {
        return Err(ProtocolError::violation("second GOAWAY"));
    }
    if side == Side::Server && !goaway.new_session_uri.is_empty() {
        return Err(ProtocolError::violation("GOAWAY of a client with a URI"));
    }
    Ok(())
}
