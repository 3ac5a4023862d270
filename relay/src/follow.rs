//! [`Follower`]: keeps the machine told of what changes at the control plane.
//!
//! | state | means | left by |
//! |---|---|---|
//! | no cursor | the keys are not known, or news were missed | the whole state is fetched |
//! | cursor | all changes up to it are with the machine | the feed says that it cannot go on from there |
//!
//! While the control plane cannot be reached the keys that are known stay in force.

use crate::control::ControlClient;
use crate::server::command;
use mainstem_core::jwt::KeySet;
use mainstem_core::moqt::relay::{Policy, Relay};
use mainstem_core::resolve::{ChangeKind, KeyStatus, Refusal};
use mainstem_net::Handle;
use std::time::Duration;
use tokio::sync::watch;

/// How long one look at the feed of changes waits for news.
const CHANGES_WAIT: Duration = Duration::from_secs(25);
/// Pause after the control plane could not be reached.
const RETRY: Duration = Duration::from_millis(500);

/// See the module's description.
pub(crate) struct Follower {
    handle: Handle<Relay>,
    control: ControlClient,
    keys: KeySet,
    skew: Duration,
}

impl Follower {
    /// Knows nothing yet. `skew` is forgiven between the clocks when a token is judged.
    pub(crate) fn new(handle: Handle<Relay>, control: ControlClient, skew: Duration) -> Self {
        let keys = KeySet::new();
        Self {
            handle,
            control,
            keys,
            skew,
        }
    }

    /// Follows until dropped; says once that the keys are known.
    pub(crate) async fn run(mut self, informed: watch::Sender<bool>) {
        let mut cursor = None;
        loop {
            let step = match cursor {
                None => self.reload().await,
                Some(after) => self.follow(after).await,
            };
            match step {
                Ok(next) => {
                    cursor = next;
                    if cursor.is_some() {
                        informed.send_replace(true);
                    }
                }
                Err(refusal) => {
                    tracing::warn!(reason = %refusal.message, "cannot follow the control plane");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn reload(&mut self) -> Result<Option<u64>, Refusal> {
        let state = self.control.state().await?;
        let (known, rejected) = KeySet::from_jwks(&state.keys);
        for key in rejected {
            tracing::warn!(kid = %key.kid, error = %key.error, "a signing key cannot be used");
        }
        self.keys = known;
        self.tell_keys().await;
        Ok(Some(state.cursor))
    }

    /// Waits for changes and hands them on. The cursor to go on from, or `None` when the feed does
    /// not reach back to `after`.
    async fn follow(&mut self, after: u64) -> Result<Option<u64>, Refusal> {
        let changes = self.control.changes(after, CHANGES_WAIT).await?;
        if changes.reset {
            return Ok(None);
        }
        for change in changes.changes {
            self.tell(change.kind).await;
        }
        Ok(Some(changes.cursor))
    }

    async fn tell(&mut self, change: ChangeKind) {
        match change {
            ChangeKind::SigningKeyChanged { kid, key } => {
                let is_active = key.status == KeyStatus::Active;
                match self.keys.apply(&key) {
                    Ok(()) => tracing::info!(%kid, is_active, "signing key changed"),
                    Err(error) => tracing::warn!(%kid, %error, "a signing key cannot be used"),
                }
                self.tell_keys().await;
            }
            ChangeKind::StreamKeyRotated {
                org,
                input,
                credential,
                grace,
            } => {
                tracing::info!(%input, "stream key replaced");
                let mut valid = vec![credential];
                valid.extend(grace.map(|grace| grace.credential));
                self.revoke(org, input, valid).await;
            }
            ChangeKind::InputDeleted { org, input } => {
                tracing::info!(%input, "input deleted");
                self.revoke(org, input, Vec::new()).await;
            }
            ChangeKind::Unknown => {}
        }
    }

    async fn tell_keys(&self) {
        let (keys, skew) = (self.keys.clone(), self.skew);
        command(&self.handle, move |relay, now| {
            relay.set_policy(now, Policy::Tokens { keys, skew });
        })
        .await;
    }

    async fn revoke(&self, org: String, input: String, valid: Vec<String>) {
        command(&self.handle, move |relay, now| {
            relay.revoke_input(now, &org, &input, &valid);
        })
        .await;
    }
}
