//! Tokens of viewers, and the keys by which relays verify them.

use super::content;
use super::setting::BuildError;
use crate::plan::{NodeId, TokenPlan};
use crate::quic::deterministic::UNIX_TIME_AT_EPOCH;
use mainstem_core::jwt::{self, Claims, KeySet, SigningKey, VerifyingKey};
use std::time::Duration;

/// The signing key's id.
const KID: &str = "key_1";
/// How long a good token holds: longer than any run.
const GOOD: Duration = Duration::from_hours(24);
/// An input that no origin has.
const OTHER_INPUT: &str = "lv_none";

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: SigningKey,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::ed25519(KID, &[9; 32]),
        }
    }

    /// What a relay knows.
    pub(crate) fn keys(&self) -> Result<KeySet, BuildError> {
        let mut keys = KeySet::new();
        let key = VerifyingKey {
            kid: KID.to_owned(),
            org: content::ORG.to_owned(),
            active: true,
            key: self.key.public_key(),
        };
        let inserted = keys.insert(key);
        inserted.map_err(|error| BuildError::Token(error.to_string()))?;
        Ok(keys)
    }

    /// What a viewer of an origin's input shows.
    pub(crate) fn mint(
        &self,
        origin: NodeId,
        plan: TokenPlan,
    ) -> Result<Option<String>, BuildError> {
        let input = content::input(origin);
        let (input, ttl, from) = match plan {
            TokenPlan::None => return Ok(None),
            TokenPlan::Good => (input.as_str(), GOOD, None),
            TokenPlan::Until { seconds } => {
                (input.as_str(), Duration::from_secs(seconds.max(1)), None)
            }
            TokenPlan::From { seconds } => (input.as_str(), GOOD, Some(seconds)),
            TokenPlan::WrongInput => (OTHER_INPUT, GOOD, None),
        };
        let mut claims =
            Claims::playback("mainstem", content::ORG, &[input], UNIX_TIME_AT_EPOCH, ttl);
        // It was made long ago, so that clocks that are behind take it.
        let made = UNIX_TIME_AT_EPOCH.as_secs().saturating_sub(GOOD.as_secs());
        claims.iat = Some(made);
        claims.nbf = Some(from.map_or(made, |seconds| {
            UNIX_TIME_AT_EPOCH.as_secs().saturating_add(seconds)
        }));
        let minted = jwt::mint(&self.key, &claims, UNIX_TIME_AT_EPOCH);
        minted
            .map(Some)
            .map_err(|error| BuildError::Token(error.to_string()))
    }
}
