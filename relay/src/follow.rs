//! [`Follower`]: keeps the machine told of what changes at the control plane.
//!
//! | state | means | left by |
//! |---|---|---|
//! | no cursor | the keys are not known, or news were missed | the whole state is fetched |
//! | cursor | all changes up to it are with the machine | the feed says that it cannot go on from there |
//!
//! While the control plane cannot be reached the keys that are known stay in force, and what changes
//! meanwhile is told when it is back: the feed is durable. Where the feed no longer reaches back, the
//! keys are fetched anew and publishers are to show their stream keys again ([`News::Missed`]).
//!
//! Pauses after a failure grow from [`RETRY_FIRST`] to [`RETRY_MAX`], shortened by up to half by a
//! number of the follower's own, so that relays do not come back all at once.

use crate::control::ControlClient;
use crate::server::command;
use mainstem_core::jwt::KeySet;
use mainstem_core::moqt::relay::{Policy, Relay};
use mainstem_core::resolve::{ChangeKind, Grace, KeyStatus, Refusal};
use mainstem_net::Handle;
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long one look at the feed of changes waits for news.
const CHANGES_WAIT: Duration = Duration::from_secs(25);
/// Pause after the control plane could not be reached, the first time.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
pub const RETRY_MAX: Duration = Duration::from_secs(4);
/// A look at the feed that brings nothing takes at least this long, whoever answers it.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// What a machine is told.
#[derive(Clone, Debug)]
pub enum News {
    /// These keys are in force.
    Keys(KeySet),
    /// An input has these credentials and no other; with none, it is gone.
    Credentials {
        /// The owner.
        org: String,
        /// The input, `lv_..`.
        input: String,
        /// The credential in force, if there is one.
        valid: Option<String>,
        /// One that was replaced and is valid for a while.
        grace: Option<Grace>,
    },
    /// What became of stream keys is not known.
    Missed,
}

/// Whoever is told. News are told in order, each after the one before was taken.
pub trait Listener: Send + Sync + 'static {
    /// Takes news in.
    fn tell(&self, news: News) -> impl Future<Output = ()> + Send;
}

/// The relay machine of a shard.
pub(crate) struct Machine {
    pub(crate) handle: Handle<Relay>,
    /// Forgiven between the clocks when a token is judged.
    pub(crate) skew: Duration,
}

impl Listener for Machine {
    async fn tell(&self, news: News) {
        let skew = self.skew;
        command(&self.handle, move |relay, now| match news {
            News::Keys(keys) => relay.set_policy(now, Policy::Tokens { keys, skew }),
            News::Credentials {
                org,
                input,
                valid,
                grace,
            } => {
                let in_grace = grace.as_ref().map(|grace| grace.credential.clone());
                let valid: Vec<String> = valid.into_iter().chain(in_grace).collect();
                relay.revoke_input(now, &org, &input, &valid);
                if let Some(grace) = grace {
                    relay.end_grace_at(now, &input, grace);
                }
            }
            News::Missed => relay.end_publishers(now),
        })
        .await;
    }
}

/// See the module's description.
pub struct Follower<L> {
    listener: L,
    control: ControlClient,
    keys: KeySet,
    pause: Pause,
    /// The state was fetched before.
    was_informed: bool,
}

impl<L: Listener> Follower<L> {
    /// Knows nothing yet. `seed` differs from relay to relay.
    pub fn new(listener: L, control: ControlClient, seed: u64) -> Self {
        Self {
            listener,
            control,
            keys: KeySet::new(),
            pause: Pause::new(seed),
            was_informed: false,
        }
    }

    /// Follows until dropped; says once that the keys are known.
    pub async fn run(mut self, informed: watch::Sender<bool>) {
        let mut cursor = None;
        loop {
            let step = match cursor {
                None => self.reload().await,
                Some(after) => self.follow(after).await,
            };
            match step {
                Ok(next) => {
                    self.pause.over();
                    cursor = next;
                    if cursor.is_some() {
                        informed.send_replace(true);
                    }
                }
                Err(refusal) => {
                    tracing::warn!(reason = %refusal.message, "cannot follow the control plane");
                    tokio::time::sleep(self.pause.next()).await;
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
        if self.was_informed {
            tracing::warn!("changes were missed: publishers are to show their keys again");
            self.listener.tell(News::Missed).await;
        }
        self.was_informed = true;
        Ok(Some(state.cursor))
    }

    /// Waits for changes and hands them on. The cursor to go on from, or `None` when the feed does
    /// not reach back to `after`.
    async fn follow(&mut self, after: u64) -> Result<Option<u64>, Refusal> {
        let asked = Instant::now();
        let changes = self.control.changes(after, CHANGES_WAIT).await?;
        if changes.reset {
            return Ok(None);
        }
        if changes.changes.is_empty() {
            // One that is stopping, or something in between, answers at once.
            tokio::time::sleep_until(asked + LOOK_MIN).await;
        }
        for change in changes.changes {
            self.tell(change.kind).await;
        }
        Ok(Some(changes.cursor))
    }

    async fn tell(&mut self, change: ChangeKind) {
        let (org, input, valid, grace) = match change {
            ChangeKind::SigningKeyChanged { kid, key } => {
                let is_active = key.status == KeyStatus::Active;
                match self.keys.apply(&key) {
                    Ok(()) => tracing::info!(%kid, is_active, "signing key changed"),
                    Err(error) => tracing::warn!(%kid, %error, "a signing key cannot be used"),
                }
                return self.tell_keys().await;
            }
            ChangeKind::StreamKeyRotated {
                org,
                input,
                credential,
                grace,
            } => {
                tracing::info!(%input, "stream key replaced");
                (org, input, Some(credential), grace)
            }
            ChangeKind::InputDeleted { org, input } => {
                tracing::info!(%input, "input deleted");
                (org, input, None, None)
            }
            ChangeKind::Unknown => return,
        };
        let news = News::Credentials {
            org,
            input,
            valid,
            grace,
        };
        self.listener.tell(news).await;
    }

    async fn tell_keys(&self) {
        self.listener.tell(News::Keys(self.keys.clone())).await;
    }
}

/// How long to wait after one failure more.
struct Pause {
    next: Duration,
    drawn: u64,
}

impl Pause {
    fn new(seed: u64) -> Self {
        Self {
            next: RETRY_FIRST,
            drawn: seed,
        }
    }

    fn over(&mut self) {
        self.next = RETRY_FIRST;
    }

    fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(RETRY_MAX);
        // Knuth's MMIX generator; its high bits are good enough to tell relays apart.
        self.drawn = self
            .drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(self.drawn >> 56).unwrap_or(0);
        whole.saturating_sub(whole * part / 512)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_from_relay_to_relay() {
        let mut pause = Pause::new(1);
        let mut whole = RETRY_FIRST;
        for _ in 0..8 {
            let next = pause.next();
            assert!(next <= whole && next > whole / 2, "{next:?} of {whole:?}");
            whole = (whole * 2).min(RETRY_MAX);
        }
        pause.over();
        assert!(pause.next() <= RETRY_FIRST);
        let firsts: std::collections::BTreeSet<Duration> =
            (0..20).map(|seed| Pause::new(seed << 50).next()).collect();
        assert!(firsts.len() > 10, "{firsts:?}");
    }
}
