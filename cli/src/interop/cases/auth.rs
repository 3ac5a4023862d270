//! Relays that demand tokens: what they say to a client that has none, or a bad one.
//!
//! A relay may refuse the session or the request. One that takes an announcement without a token is
//! open, and has nothing to test here. Source: draft-ietf-moq-transport-18, sections 10.2.1 and 14.

use super::super::bench::{Bench, name};
use super::super::fault::Fault;
use super::super::party::{ANSWER, describe, run_id, said};
use mainstem_core::moqt::RequestId;
use mainstem_core::moqt::error::{RequestCode, SessionCode};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::session::Event;
use mainstem_core::transport::{Closed, Origin};

const OPEN: &str = "the relay is open: it takes an announcement without a token";

/// A relay's answer to an announcement.
enum Answer {
    Agreed,
    /// With one of the codes for it.
    Refused(String),
}

/// Nobody may announce a namespace without a token.
pub(super) fn token_missing(bench: &mut Bench) -> Result<String, Fault> {
    match announced_with(bench, Parameters::default())? {
        Answer::Agreed => Err(Fault::Skipped(OPEN.to_owned())),
        Answer::Refused(said) => Ok(said),
    }
}

/// What is no token is not taken for one.
pub(super) fn token_refused(bench: &mut Bench) -> Result<String, Fault> {
    if let Answer::Agreed = announced_with(bench, Parameters::default())? {
        return Err(Fault::Skipped(OPEN.to_owned()));
    }
    let bad = AuthorizationToken::UseValue {
        token_type: 0,
        value: "not-a-token".into(),
    };
    let parameters = Parameters {
        authorization_tokens: vec![bad],
        ..Parameters::default()
    };
    match announced_with(bench, parameters)? {
        Answer::Refused(said) => Ok(said),
        Answer::Agreed => Err(Fault::failed("publisher: a bad token was taken")
            .expected("REQUEST_ERROR, or the session closed")
            .received("REQUEST_OK")),
    }
}

fn announced_with(bench: &mut Bench, parameters: Parameters) -> Result<Answer, Fault> {
    let namespace = name(&format!("moq-test/token/{}", run_id()?))?;
    let mut publisher = match bench.connect_bare("publisher") {
        Ok(publisher) => publisher,
        Err(Fault::Unreachable(said)) if is_about_tokens(&said) => {
            return Ok(Answer::Refused(said));
        }
        Err(fault) => return Err(fault),
    };
    let request: RequestId = publisher.ask("PUBLISH_NAMESPACE", move |session| {
        session.publish_namespace(namespace, parameters)
    })?;
    let answer = publisher.wait("an answer", ANSWER, |event| match event {
        Event::Accepted { request: of, .. } if *of == request => Some(Ok(Answer::Agreed)),
        Event::Rejected { request: of, error } if *of == request => {
            Some(refused(REQUEST.contains(&error.code), said(error)))
        }
        Event::Closed(closed) => Some(refused(ends_for_tokens(closed), describe(closed))),
        _ => None,
    })?;
    answer.map_err(|came| {
        Fault::failed("publisher: refused for another reason")
            .expected("UNAUTHORIZED or a code for tokens")
            .received(came)
    })
}

const REQUEST: [RequestCode; 3] = [
    RequestCode::UNAUTHORIZED,
    RequestCode::MALFORMED_AUTH_TOKEN,
    RequestCode::EXPIRED_AUTH_TOKEN,
];
const SESSION: [SessionCode; 3] = [
    SessionCode::UNAUTHORIZED,
    SessionCode::MALFORMED_AUTH_TOKEN,
    SessionCode::EXPIRED_AUTH_TOKEN,
];

fn refused(is_about_tokens: bool, said: String) -> Result<Answer, String> {
    if is_about_tokens {
        Ok(Answer::Refused(said))
    } else {
        Err(said)
    }
}

fn ends_for_tokens(closed: &Closed) -> bool {
    matches!(closed, Closed::Application { by: Origin::Peer, code, .. }
        if SESSION.iter().any(|each| each.0 == *code))
}

/// Of a session that never came about only the words are left.
fn is_about_tokens(said: &str) -> bool {
    let has = |code: &SessionCode| said.contains(&format!(" code 0x{:x} ", code.0));
    SESSION.iter().any(has)
}
