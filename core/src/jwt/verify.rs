//! [`verify`]: reading tokens. The order of the checks is the table in [`super`].

use super::{AUDIENCE, Algorithm, Claims, KeySet, TEXT_BYTES_MAX, TOKEN_BYTES_MAX, TokenError};
use crate::time::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// A token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed it: when it is deactivated, the permission ends.
    pub kid: String,
    /// What it says.
    pub claims: Claims,
}

/// Checks a token against the keys and the clock. `skew` is forgiven in both directions.
pub fn verify(
    token: &str,
    keys: &KeySet,
    now: UnixTime,
    skew: Duration,
) -> Result<Verified, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(NOT_THREE)?;
    let (header, claims) = signed.split_once('.').ok_or(NOT_THREE)?;
    let header: Header = object(header, "the header is not a JSON object as expected")?;
    let algorithm = header.check()?;
    let kid = header
        .kid
        .ok_or(TokenError::Malformed("the header has no kid"))?;
    if kid.len() > TEXT_BYTES_MAX {
        return Err(TokenError::Malformed("kid is longer than 256 bytes"));
    }
    let key = keys.find(&kid).ok_or(TokenError::UnknownKey)?;
    if algorithm != key.key.algorithm() {
        return Err(TokenError::WrongAlgorithm {
            key: key.key.algorithm(),
        });
    }
    if !key.active {
        return Err(TokenError::InactiveKey);
    }
    let signature = decode(signature, "the signature is not base64url")?;
    key.key.verify(signed.as_bytes(), &signature)?;
    let claims: Claims = object(claims, "the claims are not a JSON object as expected")?;
    if let Some(fault) = claims.fault() {
        return Err(TokenError::Malformed(fault));
    }
    if claims.sub != key.org {
        return Err(TokenError::WrongOwner);
    }
    if claims.aud.as_ref().is_some_and(|aud| !aud.has(AUDIENCE)) {
        return Err(TokenError::WrongAudience);
    }
    check_times(&claims, now, skew)?;
    Ok(Verified { kid, claims })
}

const NOT_THREE: TokenError = TokenError::Malformed("expected three parts with dots between");

fn check_times(claims: &Claims, now: UnixTime, skew: Duration) -> Result<(), TokenError> {
    let latest = now + skew;
    let is_ahead = |seconds: u64| UnixTime::from_secs(seconds) > latest;
    if claims.nbf.is_some_and(is_ahead) || claims.iat.is_some_and(is_ahead) {
        return Err(TokenError::NotYetValid);
    }
    if claims.expires_at() + skew <= now {
        return Err(TokenError::Expired);
    }
    Ok(())
}

/// The members of a header that matter. Others are ignored, `jwk`, `jku` and `x5u` first of all: a
/// token does not bring its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

impl Header {
    fn check(&self) -> Result<Algorithm, TokenError> {
        if self.crit || self.b64 {
            return Err(TokenError::CriticalHeader);
        }
        if self
            .typ
            .as_ref()
            .is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT"))
        {
            return Err(TokenError::Malformed("typ is not JWT"));
        }
        Algorithm::from_name(&self.alg).ok_or(TokenError::UnsupportedAlgorithm)
    }
}

fn present<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

fn decode(part: &str, fault: &'static str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed(fault))
}

/// A part as a JSON object; serde refuses members that are repeated or of another type.
fn object<T: DeserializeOwned>(part: &str, fault: &'static str) -> Result<T, TokenError> {
    let json = decode(part, fault)?;
    // serde would also read a structure from an array.
    let starts = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if starts != Some(&b'{') {
        return Err(TokenError::Malformed(fault));
    }
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed(fault))
}
