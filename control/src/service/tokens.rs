//! Playback tokens.

use super::inputs::NO_INPUT;
use super::{Service, ServiceError};
use crate::ids;
use mainstem_core::jwt::{Algorithm, Claims, clamp_ttl, mint};
use mainstem_core::resolve::Secret;
use mainstem_core::time::UnixTime;

/// A signed permission to watch one input.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) token: Secret,
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) expires_at: UnixTime,
    /// The input's public id.
    pub(crate) input: String,
}

impl Service {
    /// Signs a token for watching an input, under either of its ids.
    pub(crate) async fn mint_playback_token(
        &self,
        org: &str,
        id: &str,
        ttl_secs: Option<i64>,
        now: UnixTime,
    ) -> Result<Ticket, ServiceError> {
        let row = self.store.input(org, id).await?.ok_or(NO_INPUT)?;
        let key = self.current_key(org, now).await?;
        let signer = self.signer(&key)?;
        let names = [row.external_id.as_str(), row.id.as_str()];
        let mut claims = Claims::playback(&self.issuer, org, &names, now, clamp_ttl(ttl_secs));
        claims.jti = Some(ids::token()?);
        Ok(Ticket {
            token: Secret::new(mint(&*signer, &claims, now)?),
            kid: key.id,
            algorithm: key.algorithm,
            expires_at: claims.expires_at(),
            input: row.external_id,
        })
    }
}
