//! What relays and engines ask.

use super::{Service, ServiceError, lock, signing};
use crate::ids::{Purpose, SecretHash};
use crate::store::InputRow;
use mainstem_core::jwt::{Action, KeySet, SKEW_DEFAULT, Verified, verify};
use mainstem_core::resolve::{
    Changes, Jwk, PRESENCE_INPUTS_MAX, PRESENCE_TTL_SECS, Policy, Presence, PresenceReply, Refusal,
    RefusalCode, RelayState, ResolveKind, ResolveReply, ResolveRequest,
};
use mainstem_core::time::UnixTime;
use std::time::Duration;
use tokio::time::Instant;

/// How long a relay may rely on an answer while it cannot read the feed.
const RECHECK_SECS: u64 = 30;
/// How often a waiting reader looks at the database itself: another process may have written.
const FEED_LOOK: Duration = Duration::from_secs(1);
const RELAY_NAME_MAX: usize = 128;
const ID_MAX: usize = 128;

/// What the bearer of a token or a stream key may know about its input.
pub(crate) struct Watched {
    pub(crate) reply: ResolveReply,
    pub(crate) is_live: bool,
}

/// A refusal, or our own fault.
type Resolved<T> = Result<Result<T, Refusal>, ServiceError>;

impl Service {
    /// Whether `secret` is the one that relays share with us.
    pub(crate) fn admit_relay(&self, secret: Option<&str>) -> Result<(), Refusal> {
        let refuse = |message| Err(refusal(RefusalCode::CallerRefused, message));
        let Some(expected) = &self.relay_secret else {
            return refuse("no relay secret is set up here, so no relay is let in");
        };
        let shown = secret.map(|text| SecretHash::of(Purpose::Relay, text));
        match shown {
            Some(shown) if expected.matches(shown.as_bytes()) => Ok(()),
            Some(_) => refuse("the relay secret is wrong"),
            None => refuse("no relay secret: send it as `authorization: Bearer <secret>`"),
        }
    }

    /// May this client publish or watch this input?
    pub(crate) async fn resolve(
        &self,
        request: &ResolveRequest,
        now: UnixTime,
    ) -> Resolved<ResolveReply> {
        match request.kind {
            ResolveKind::Publish => {
                let Some(key) = &request.sk else {
                    return Ok(Err(refusal(
                        RefusalCode::BadRequest,
                        "expected a stream key, sk",
                    )));
                };
                self.resolve_publish(&request.id, key.expose(), now).await
            }
            ResolveKind::Playback => {
                let Some(token) = &request.tok else {
                    return Ok(Err(refusal(
                        RefusalCode::BadRequest,
                        "expected a token, tok",
                    )));
                };
                let watched = self
                    .resolve_playback(&request.id, token.expose(), now)
                    .await?;
                Ok(watched.map(|watched| watched.reply))
            }
        }
    }

    /// May the bearer of this token watch this input?
    pub(crate) async fn resolve_playback(
        &self,
        id: &str,
        token: &str,
        now: UnixTime,
    ) -> Resolved<Watched> {
        let row = match self.find(id).await? {
            Ok(row) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let jwks: Result<Vec<Jwk>, _> = self
            .store
            .signing_keys(&row.org)
            .await?
            .iter()
            .map(signing::jwk)
            .collect();
        let (keys, _) = KeySet::from_jwks(&jwks?);
        let path = format!("stream/{}/{}", row.org, row.external_id);
        let permitted = |verified: Verified| {
            verified
                .claims
                .require(Action::Subscribe, &path)
                .map(|()| verified)
        };
        match verify(token, &keys, now, SKEW_DEFAULT).and_then(permitted) {
            Err(error) => Ok(Err(refusal(RefusalCode::TokenRefused, &error.to_string()))),
            Ok(Verified { kid, claims }) => {
                let is_live = self.is_live(&row.external_id);
                Ok(Ok(Watched {
                    reply: reply(&row, kid, Some(claims.exp)),
                    is_live,
                }))
            }
        }
    }

    /// Whether some program receives the input, by its public id.
    pub(crate) fn is_live(&self, input: &str) -> bool {
        lock(&self.live).is_live(input, Instant::now())
    }

    async fn resolve_publish(&self, id: &str, key: &str, now: UnixTime) -> Resolved<ResolveReply> {
        let row = match self.find(id).await? {
            Ok(row) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let shown = SecretHash::of(Purpose::StreamKey, key);
        // Every version is compared, whichever matches.
        let mut found = None;
        for version in self.store.stream_keys(&row.id, now).await? {
            if shown.matches(&version.hash) {
                found = Some(version);
            }
        }
        Ok(match found {
            Some(version) => Ok(reply(
                &row,
                version.id,
                version.ends_at.map(UnixTime::as_secs),
            )),
            None => Err(refusal(
                RefusalCode::WrongStreamKey,
                "the stream key is not, or no longer, the input's",
            )),
        })
    }

    async fn find(&self, id: &str) -> Resolved<InputRow> {
        let row = if id.len() > ID_MAX {
            None
        } else {
            self.store.any_input(id).await?
        };
        Ok(row.ok_or_else(|| refusal(RefusalCode::UnknownInput, "there is no such input")))
    }

    /// What a relay begins with.
    pub(crate) async fn relay_state(&self) -> Result<RelayState, ServiceError> {
        let (cursor, rows) = self.store.relay_state().await?;
        let keys: Result<_, _> = rows.iter().map(signing::jwk).collect();
        Ok(RelayState {
            cursor,
            keys: keys?,
        })
    }

    /// What changed after `after`; waits for something to change, or for `wait`.
    pub(crate) async fn changes(
        &self,
        after: u64,
        wait: Duration,
    ) -> Result<Changes, ServiceError> {
        let deadline = Instant::now() + wait;
        let mut feed = self.feed.subscribe();
        loop {
            feed.mark_unchanged();
            let changes = self.store.changes(after).await?;
            let now = Instant::now();
            if changes.reset || !changes.changes.is_empty() || now >= deadline {
                return Ok(changes);
            }
            let look = deadline.min(now + FEED_LOOK);
            // Woken or not, the database is asked: it is what counts.
            let _ = tokio::time::timeout_at(look, feed.changed()).await;
        }
    }

    /// Hears which inputs a program receives.
    pub(crate) fn presence(&self, said: Presence) -> Result<PresenceReply, Refusal> {
        let is_name = !said.relay.is_empty() && said.relay.len() <= RELAY_NAME_MAX;
        if !is_name || said.relay.chars().any(char::is_control) {
            let text = "relay: expected a name of 1 to 128 characters";
            return Err(refusal(RefusalCode::BadRequest, text));
        }
        let is_bounded = said.live.len() <= PRESENCE_INPUTS_MAX;
        if !is_bounded || said.live.iter().any(|id| id.len() > ID_MAX) {
            let text = "live: expected at most 10000 ids of at most 128 characters";
            return Err(refusal(RefusalCode::BadRequest, text));
        }
        if lock(&self.live).hear(said.relay, said.live, Instant::now()) {
            Ok(PresenceReply {
                ttl_secs: PRESENCE_TTL_SECS,
            })
        } else {
            Err(refusal(
                RefusalCode::Unavailable,
                "too many relays are present",
            ))
        }
    }

    /// The public keys in use, of one organisation or of all.
    pub(crate) async fn public_keys(&self, org: Option<&str>) -> Result<Vec<Jwk>, ServiceError> {
        let rows = self.store.active_signing_keys().await?;
        let of_org = rows
            .iter()
            .filter(|row| org.is_none_or(|org| row.org == org));
        let keys: Result<_, _> = of_org.map(signing::jwk).collect();
        Ok(keys?)
    }
}

fn reply(row: &InputRow, credential: String, expires_at: Option<u64>) -> ResolveReply {
    ResolveReply {
        namespace: format!("stream/{}/{}", row.org, row.external_id),
        org: row.org.clone(),
        input: row.external_id.clone(),
        expires_at,
        credential,
        policy: Policy {
            ingest: row.ingest,
            recheck_secs: RECHECK_SECS,
        },
    }
}

pub(crate) fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal {
        code,
        message: message.to_owned(),
    }
}
