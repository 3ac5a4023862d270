//! What the control plane does, without a word about HTTP.
//!
//! Facades authenticate a [`Caller`], hand typed values in and translate what comes out. Time is an
//! argument. Each write that relays must know of puts its change into the same transaction and
//! wakes the readers of the feed once it is committed.

mod access;
mod inputs;
mod live;
mod relays;
mod signing;
mod tokens;

pub(crate) use access::{Caller, SCOPES_ALL, Scope, Scopes};
pub(crate) use inputs::{Input, InputWithKey};
pub(crate) use relays::{Watched, refusal};
pub(crate) use signing::NewSigningKey;
pub(crate) use tokens::Ticket;

use crate::config::{Config, Limits};
use crate::ids::{NoRandomness, Purpose, SecretHash};
use crate::keys::KeyFault;
use crate::store::{Store, StoreError};
use crate::vault::{SealBroken, Vault};
use live::LiveInputs;
use mainstem_core::jwt::{MintError, Signer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

type SharedSigner = Arc<dyn Signer + Send + Sync>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// No credential, or not a good one.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// A good credential that does not allow this.
    #[error("{0}")]
    Forbidden(String),
    /// No such thing in this organisation.
    #[error("{0}")]
    NotFound(&'static str),
    /// A bound of the installation is reached.
    #[error("{0}")]
    LimitReached(String),
    /// Our fault; what it was is for the log.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// A fault of ours. Its text holds no secrets, and clients do not see it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error(transparent)]
    Seal(#[from] SealBroken),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("a background computation ended early")]
    Background,
}

macro_rules! fault_from {
    ($($kind:ty),*) => {$(
        impl From<$kind> for ServiceError {
            fn from(error: $kind) -> Self {
                Self::Internal(error.into())
            }
        }
    )*};
}
fault_from!(StoreError, KeyFault, SealBroken, MintError, NoRandomness);

/// The control plane.
pub(crate) struct Service {
    store: Store,
    vault: Vault,
    issuer: String,
    limits: Limits,
    relay_secret: Option<SecretHash>,
    live: Mutex<LiveInputs>,
    /// Loaded private keys by `kid`.
    signers: Mutex<BTreeMap<String, SharedSigner>>,
    /// One RSA key is made at a time: each takes a core for a while.
    rsa: Semaphore,
    /// The place of the last change.
    feed: watch::Sender<u64>,
}

impl Service {
    pub(crate) async fn new(
        store: Store,
        vault: Vault,
        config: &Config,
    ) -> Result<Self, StoreError> {
        let last = store.latest_change().await?;
        let secret = config.relay_secret.as_ref();
        Ok(Self {
            store,
            vault,
            issuer: config.issuer.clone(),
            limits: config.limits,
            relay_secret: secret.map(|text| SecretHash::of(Purpose::Relay, text.expose())),
            live: Mutex::new(LiveInputs::new(config.limits.relays)),
            signers: Mutex::default(),
            rsa: Semaphore::new(1),
            feed: watch::Sender::new(last),
        })
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Tells the readers of the feed of a committed change.
    fn announce(&self, seq: u64) {
        self.feed.send_modify(|last| *last = seq.max(*last));
    }
}

/// A lock whose holder panicked is still good: what it guards is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
