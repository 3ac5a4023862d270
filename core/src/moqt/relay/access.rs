//! Who may do what: the address a session came with, the tokens it shows, and the names that both
//! are translated to.
//!
//! | address | shown | permits |
//! |---|---|---|
//! | `/publish/<lv>?sk=<stream key>` | stream key, resolved by the control plane | publishing `stream/<org>/<lv>` |
//! | `/playback/<lv>?tok=<jwt>` | token, verified here at each SUBSCRIBE | subscribing to what it names |
//! | anything else | tokens in SETUP or in the request | what they name |
//!
//! Clients may say `publish/<lv>` or `playback/<lv>` as a namespace; both mean
//! `stream/<org>/<lv>`, and that canonical name is all that the rest of the relay sees.
//!
//! Default deny: a name that no credential covers is refused. Source: CONTRACTS A1; MOQT 6;
//! draft-ietf-moq-transport-18 sections 9.2.2 (authorization token), 11.3.

use super::OpId;
use crate::canary::{self, Canary};
use crate::jwt::{self, Action, KeySet, TokenError, Verified};
use crate::moqt::error::{RequestCode, SessionCode};
use crate::moqt::name::TrackNamespace;
use crate::moqt::parameter::AuthorizationToken;
use crate::resolve::Secret;
use crate::time::UnixTime;
use std::time::Duration;

/// Longest path and query of a session's address that is looked at, in bytes.
pub(super) const PATH_BYTES_MAX: usize = 16 * 1024;
/// Token type of the tokens that this relay understands: out of band agreed, here a JWT.
const TOKEN_TYPE_JWT: u64 = 0;

/// How the relay decides.
#[derive(Debug)]
pub enum Policy {
    /// Everybody may do everything: for a relay that only this machine can reach.
    Open,
    /// Tokens and stream keys decide.
    Tokens {
        /// The playback keys in force.
        keys: KeySet,
        /// Forgiven difference between clocks.
        skew: Duration,
    },
}

/// Where a session wants to go.
#[derive(Debug)]
pub(super) enum Address {
    Publish { input: String, key: Option<Secret> },
    Playback { token: Option<Secret> },
    Other { token: Option<Secret> },
}

/// What a session may do by its address.
#[derive(Debug)]
pub(super) enum Grant {
    /// The control plane is being asked about the input that the address names.
    Resolving { id: String, op: OpId },
    /// Publishing below one namespace.
    Publish {
        /// The input as the address named it: its public id or its row's.
        id: String,
        /// Its public id.
        input: String,
        namespace: TrackNamespace,
        credential: String,
    },
    /// Whatever its tokens permit; none may be known yet.
    Tokens { tokens: Vec<Secret> },
    /// Anything.
    Open,
}

/// A permission, with the canonical name it was given for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) namespace: TrackNamespace,
    pub(super) expires: Option<UnixTime>,
    /// The signing key it rests on.
    pub(super) kid: Option<String>,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) cause: Cause,
    /// The session has nothing better to show: it ends, as `auth_failed`.
    pub(super) ends_session: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Token(TokenError),
    NoToken,
    NotGranted,
}

impl Cause {
    pub(super) fn request_code(self) -> RequestCode {
        match self {
            Self::Token(error) if error.is_malformed() => RequestCode::MALFORMED_AUTH_TOKEN,
            Self::Token(TokenError::Expired) => RequestCode::EXPIRED_AUTH_TOKEN,
            Self::Token(_) | Self::NoToken | Self::NotGranted => RequestCode::UNAUTHORIZED,
        }
    }

    pub(super) fn session_code(self) -> SessionCode {
        match self {
            Self::Token(error) if error.is_malformed() => SessionCode::MALFORMED_AUTH_TOKEN,
            Self::Token(TokenError::Expired) => SessionCode::EXPIRED_AUTH_TOKEN,
            Self::Token(_) | Self::NoToken | Self::NotGranted => SessionCode::UNAUTHORIZED,
        }
    }

    /// For counters.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::NotGranted => "not_granted",
            Self::Token(TokenError::Expired) => "expired",
            Self::Token(TokenError::NotYetValid) => "not_yet_valid",
            Self::Token(TokenError::UnknownKey) => "unknown_key",
            Self::Token(TokenError::InactiveKey) => "inactive_key",
            Self::Token(TokenError::BadSignature) => "bad_signature",
            Self::Token(
                TokenError::WrongOwner | TokenError::WrongAudience | TokenError::WrongInput,
            ) => "wrong_input",
            Self::Token(error) if error.is_malformed() => "malformed",
            Self::Token(_) => "other_token",
        }
    }

    /// For the peer; begins with the word that clients look for.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Token(error) => format!("auth_failed: {error}"),
            Self::NoToken => "auth_failed: a playback token is needed".to_owned(),
            Self::NotGranted => "auth_failed: not permitted for this session".to_owned(),
        }
    }
}

/// Reads path and query of a session's address.
pub(super) fn parse_address(path: &str) -> Result<Address, &'static str> {
    if path.len() > PATH_BYTES_MAX {
        return Err("path is longer than 16 KiB");
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut fields = path.split('/').filter(|field| !field.is_empty());
    let (first, second, rest) = (fields.next(), fields.next(), fields.next());
    let value = |names: &[&str]| -> Result<Option<Secret>, &'static str> {
        let found = query.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            names.contains(&name).then_some(value)
        });
        found
            .map(|value| percent_decode(value).map(Secret::new))
            .transpose()
    };
    let input = |text: &str| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(is_name) {
            Ok(text.to_owned())
        } else {
            Err("the path names no valid input id")
        }
    };
    match (first, second, rest) {
        (Some("publish"), Some(id), None) => Ok(Address::Publish {
            input: input(id)?,
            key: value(&["sk"])?,
        }),
        (Some("playback"), Some(id), None) => {
            // The token names what it permits; the path only has to be well-formed.
            input(id)?;
            Ok(Address::Playback {
                token: value(&["tok", "jwt"])?,
            })
        }
        (Some("publish" | "playback"), None, _) => Err("the path names no input"),
        _ => Ok(Address::Other {
            token: value(&["tok", "jwt"])?,
        }),
    }
}

/// Decodes `%41` and leaves the rest, `+` included: neither stream keys nor tokens hold spaces.
fn percent_decode(text: &str) -> Result<String, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return Err("the query has an invalid percent sign"),
        }
    }
    String::from_utf8(out).map_err(|_| "the query is not UTF-8")
}

impl Policy {
    /// Whether a session may subscribe to tracks of a namespace, or ask about a prefix. Tokens of
    /// the request go before those of the session.
    pub(super) fn subscribe(
        &self,
        grant: &Grant,
        namespace: &TrackNamespace,
        request_tokens: &[AuthorizationToken],
        now: Option<UnixTime>,
    ) -> Result<Allowed, Denied> {
        let (keys, skew) = match (self, grant) {
            (Self::Open, _) | (_, Grant::Open) => return Ok(Allowed::unlimited(namespace)),
            (Self::Tokens { keys, skew }, _) => (keys, *skew),
        };
        let of_request: Vec<&str> = request_tokens.iter().filter_map(jwt_of).collect();
        let of_session: &[Secret] = match grant {
            Grant::Tokens { tokens } => tokens,
            Grant::Resolving { .. } | Grant::Publish { .. } | Grant::Open => &[],
        };
        let shown_in_request = !of_request.is_empty();
        let shown = of_request
            .into_iter()
            .chain(of_session.iter().map(Secret::expose));
        let mut cause = Cause::NoToken;
        for token in shown {
            // Without a clock no token can be judged, so none is accepted.
            let verified = match now {
                Some(now) => jwt::verify(token, keys, now, skew),
                None => Err(TokenError::NotYetValid),
            };
            match verified.and_then(|verified| permit(verified, namespace, skew)) {
                Ok(allowed) => return Ok(allowed),
                Err(error) => cause = Cause::Token(error),
            }
        }
        // A session that came with a token of its own has failed; one that shows them request by
        // request may have better ones.
        let ends_session = !shown_in_request && !of_session.is_empty();
        Err(Denied {
            cause,
            ends_session,
        })
    }

    /// Whether a session may publish in a namespace.
    pub(super) fn publish(
        &self,
        grant: &Grant,
        namespace: &TrackNamespace,
    ) -> Result<TrackNamespace, Denied> {
        match (self, grant) {
            (Self::Open, _) | (_, Grant::Open) => Ok(namespace.clone()),
            (
                Self::Tokens { .. },
                Grant::Publish {
                    id,
                    input,
                    namespace: granted,
                    ..
                },
            ) => {
                let denied = Denied {
                    cause: Cause::NotGranted,
                    ends_session: false,
                };
                let canonical =
                    canonical(namespace, "publish", &[id, input], granted).ok_or(denied)?;
                if canonical.has_prefix(granted) {
                    Ok(canonical)
                } else {
                    Err(denied)
                }
            }
            (Self::Tokens { .. }, Grant::Resolving { .. } | Grant::Tokens { .. }) => Err(Denied {
                cause: Cause::NotGranted,
                ends_session: false,
            }),
        }
    }

    /// Whether a signing key is in force.
    pub(super) fn is_active(&self, kid: &str) -> bool {
        match self {
            Self::Open => true,
            Self::Tokens { keys, .. } => keys.is_active(kid),
        }
    }
}

impl Allowed {
    fn unlimited(namespace: &TrackNamespace) -> Self {
        Self {
            namespace: namespace.clone(),
            expires: None,
            kid: None,
        }
    }
}

fn jwt_of(token: &AuthorizationToken) -> Option<&str> {
    match token {
        AuthorizationToken::UseValue {
            token_type: TOKEN_TYPE_JWT,
            value,
        }
        | AuthorizationToken::Register {
            token_type: TOKEN_TYPE_JWT,
            value,
            ..
        } => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

/// The session's tokens out of SETUP.
pub(super) fn setup_tokens(tokens: &[AuthorizationToken]) -> impl Iterator<Item = Secret> {
    tokens.iter().filter_map(jwt_of).map(Secret::new)
}

fn permit(
    verified: Verified,
    namespace: &TrackNamespace,
    skew: Duration,
) -> Result<Allowed, TokenError> {
    let text: Option<Vec<&str>> = namespace
        .fields()
        .iter()
        .map(|field| std::str::from_utf8(field).ok())
        .collect();
    let fields = text.ok_or(TokenError::WrongInput)?;
    // A field with a slash in it would read as two.
    if fields.iter().any(|field| field.contains('/')) {
        return Err(TokenError::WrongInput);
    }
    let (stream, rest) = match fields.as_slice() {
        ["playback", _, ..] => fields.split_at(2),
        _ if fields.len() >= 3 => fields.split_at(3),
        _ => return Err(TokenError::WrongInput),
    };
    let required = verified
        .claims
        .require(Action::Subscribe, &stream.join("/"));
    if !canary::is_on(Canary::TokenScopeIgnored) {
        required?;
    }
    let canonical = match stream {
        ["playback", id] => {
            let mut canonical = vec!["stream", verified.claims.sub.as_str(), id];
            canonical.extend(rest);
            TrackNamespace::copied_from(
                &canonical
                    .iter()
                    .map(|field| field.as_bytes())
                    .collect::<Vec<_>>(),
            )
            .map_err(|_| TokenError::WrongInput)?
        }
        _ => namespace.clone(),
    };
    Ok(Allowed {
        namespace: canonical,
        expires: Some(verified.claims.expires_at() + skew),
        kid: Some(verified.kid),
    })
}

/// Translates `<alias>/<input>/..` to `<granted>/..`; other names stay as they are.
fn canonical(
    namespace: &TrackNamespace,
    alias: &str,
    inputs: &[&str],
    granted: &TrackNamespace,
) -> Option<TrackNamespace> {
    match namespace.fields() {
        [first, second, rest @ ..] if first == alias.as_bytes() => {
            if !inputs.iter().any(|input| second == input.as_bytes()) {
                return None;
            }
            let fields: Vec<&[u8]> = granted
                .fields()
                .iter()
                .chain(rest)
                .map(|field| &field[..])
                .collect();
            TrackNamespace::copied_from(&fields).ok()
        }
        _ => Some(namespace.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an address says, with its secret laid open.
    fn address(path: &str) -> Result<String, &'static str> {
        let shown =
            |secret: Option<Secret>| secret.map_or("-".to_owned(), |s| s.expose().to_owned());
        Ok(match parse_address(path)? {
            Address::Publish { input, key } => format!("publish {input} {}", shown(key)),
            Address::Playback { token } => format!("playback {}", shown(token)),
            Address::Other { token } => format!("other {}", shown(token)),
        })
    }

    #[test]
    fn addresses_are_understood() {
        for (path, expected) in [
            ("/publish/lv_1?sk=a%2Bb&x=1", "publish lv_1 a+b"),
            ("/publish/lv_1", "publish lv_1 -"),
            ("/playback/lv_1?jwt=t", "playback t"),
            ("/playback/lv_1?tok=t", "playback t"),
            ("", "other -"),
            ("/", "other -"),
            ("/anything/else?tok=t", "other t"),
        ] {
            assert_eq!(address(path).as_deref(), Ok(expected), "{path}");
        }
        let long = "x".repeat(PATH_BYTES_MAX + 1);
        for path in [
            "/publish/",
            "/publish/a%20b?sk=1",
            "/publish/lv_1?sk=%2",
            long.as_str(),
        ] {
            assert!(address(path).is_err(), "{path}");
        }
    }

    #[test]
    fn publish_alias_covers_its_own_input_only() {
        let granted = TrackNamespace::from_path("stream/org_1/lv_1").unwrap();
        let grant = Grant::Publish {
            id: "li_1".into(),
            input: "lv_1".into(),
            namespace: granted.clone(),
            credential: "c".into(),
        };
        let policy = Policy::Tokens {
            keys: KeySet::new(),
            skew: Duration::ZERO,
        };
        let ask = |path: &str| policy.publish(&grant, &TrackNamespace::from_path(path).unwrap());
        assert_eq!(ask("publish/lv_1"), Ok(granted.clone()));
        assert_eq!(ask("publish/li_1"), Ok(granted.clone()));
        assert_eq!(ask("stream/org_1/lv_1"), Ok(granted.clone()));
        assert!(ask("stream/org_1/lv_1/extra").is_ok());
        assert!(ask("publish/lv_2").is_err());
        assert!(ask("stream/org_2/lv_1").is_err());
        assert!(ask("stream/org_1").is_err());
    }
}
