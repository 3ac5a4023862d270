//! The control plane: live inputs, stream keys, signing keys and playback tokens over HTTP.
//!
//! | layer | what it knows | modules |
//! |---|---|---|
//! | facades | HTTP: tRPC for holders of API keys, JSON for relays | `http`, `server` |
//! | service | what may be done and what follows from it | `service` |
//! | store | SQL | `store` |
//! | secrets | randomness, hashes, sealed keys | `ids`, `keys`, `vault` |
//!
//! What is kept of a secret: of stream keys and API keys a BLAKE3 hash, of private signing keys a
//! form sealed with XChaCha20-Poly1305 under a master key that is not in the database. Nothing
//! secret is logged. The database is SQLite in WAL mode and every commit is synchronous: what was
//! answered survives a kill.
//!
//! ```no_run
//! # async fn run() -> Result<(), mainstem_control::StartError> {
//! use mainstem_control::{Config, Control};
//! let config = Config::new(([127, 0, 0, 1], 0).into(), "/var/lib/mainstem");
//! let running = Control::start(config).await?;
//! println!("http://{}", running.local_addr);
//! if let Some(first) = &running.bootstrap {
//!     println!("{} {}", first.org, first.api_key.expose()); // never shown again
//! }
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Relays and engines meet this program in the messages of `mainstem_core::resolve` only.

#![forbid(unsafe_code)]

mod clock;
mod config;
mod http;
mod ids;
mod keys;
mod server;
mod service;
mod stall;
mod store;
mod vault;

pub use config::{Config, Limits, MasterKeySource, MetricsPage, PublicRelay, RelayPlace};
pub use ids::NoRandomness;
pub use mainstem_core::resolve::Secret;
pub use mainstem_web::Embedding;
pub use server::Accept;
pub use store::StoreError;
pub use vault::MasterKeyError;

use http::App;
use ids::ApiKey;
use service::{SCOPES_ALL, Scopes, Service};
use std::net::SocketAddr;
use std::sync::Arc;
use store::{NewApiKey, Store, Write};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vault::Vault;

/// Shortest relay secret, in bytes.
const RELAY_SECRET_MIN: usize = 16;
/// The name under which a known text is sealed, to tell a wrong master key at the start.
const MASTER_CHECK: &str = "master key check";

/// The control plane.
#[derive(Debug)]
pub struct Control;

/// A control plane that is serving. Dropping it stops it without waiting; [`Running::shutdown`]
/// waits.
#[derive(Debug)]
pub struct Running {
    /// Where it serves HTTP.
    pub local_addr: SocketAddr,
    /// The oldest organisation: the one that the first start made.
    pub org: String,
    /// What the first start made; `None` on every other start.
    pub bootstrap: Option<Bootstrap>,
    closing: watch::Sender<bool>,
    server: JoinHandle<()>,
    store: Store,
}

/// Tells how busy a control plane is.
#[derive(Clone, Debug)]
pub struct Probe(Store);

impl Probe {
    /// Connections to the database that somebody uses now; 0 when nothing is asked or written.
    pub fn queries(&self) -> usize {
        self.0.in_use()
    }
}

/// An organisation and the only copy of an API key.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The organisation's id.
    pub org: String,
    /// The key, which is kept as a hash only.
    pub api_key: Secret,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The master key is not the one that this database was made with.
    #[error("the master key is not the one that this database was made with")]
    WrongMasterKey,
    /// The secret is too easily guessed.
    #[error("the relay secret is shorter than 16 characters")]
    WeakRelaySecret,
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No such organisation.
    #[error("there is no such organisation in the database")]
    UnknownOrg,
    /// No such scope.
    #[error("expected scopes among streams:*, streams:read, streams:write, streams:keys")]
    UnknownScope,
    /// Nothing random.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Control {
    /// Opens or makes the database, and serves.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Listen { address, source })?;
        Self::start_on(config, listener).await
    }

    /// The same for connections that come from `listener`; [`Config::listen`] is not looked at.
    pub async fn start_on(config: Config, listener: impl Accept) -> Result<Running, StartError> {
        let secret = config.relay_secret.as_ref();
        if secret.is_some_and(|secret| secret.expose().len() < RELAY_SECRET_MIN) {
            return Err(StartError::WeakRelaySecret);
        }
        let address = config.listen;
        let local_addr = listener.local_addr();
        let local_addr = local_addr.map_err(|source| StartError::Listen { address, source })?;
        let store = Store::open(&config.data_dir).await?;
        let vault = open_vault(&store, &config).await?;
        let bootstrap = bootstrap(&store).await?;
        let org = store.first_org().await?.ok_or(StartError::UnknownOrg)?;
        let service = Service::new(store.clone(), vault, &config).await?;
        let (closing, is_closing) = watch::channel(false);
        let limits = config.limits;
        let app = Arc::new(App::new(service, config, is_closing.clone()));
        let router = http::router(app);
        let server = tokio::spawn(server::serve(listener, router, limits, is_closing));
        tracing::info!(%local_addr, "the control plane serves");
        Ok(Running {
            local_addr,
            org,
            bootstrap,
            closing,
            server,
            store,
        })
    }

    /// Makes another API key with these scopes (`streams:*`, `streams:read`, `streams:write`,
    /// `streams:keys`), for `org` or for the oldest organisation. For whoever has access to the data
    /// folder, such as one who lost the first key; works beside a running control plane.
    pub async fn issue_api_key(
        config: &Config,
        org: Option<&str>,
        label: &str,
        scopes: &[&str],
    ) -> Result<Bootstrap, StartError> {
        let scopes = Scopes::of(scopes).ok_or(StartError::UnknownScope)?;
        let store = Store::open(&config.data_dir).await?;
        let org = match org {
            Some(org) if store.has_org(org).await? => org.to_owned(),
            Some(_) => return Err(StartError::UnknownOrg),
            None => store.first_org().await?.ok_or(StartError::UnknownOrg)?,
        };
        let mut write = store.write().await?;
        let api_key = add_api_key(&store, &mut write, &org, label, &scopes).await?;
        write.commit().await.map_err(StoreError::from)?;
        store.close().await;
        Ok(Bootstrap { org, api_key })
    }

    /// Makes another organisation and an API key with every scope for it.
    pub async fn create_org(config: &Config, name: &str) -> Result<Bootstrap, StartError> {
        let store = Store::open(&config.data_dir).await?;
        let made = add_org(&store, name).await?;
        store.close().await;
        Ok(made)
    }

    /// Revokes an API key by its id, the part between `tqs_live_` and the last `_`; `false` if there
    /// is none of that id in use. A running control plane refuses it from then on.
    pub async fn revoke_api_key(config: &Config, id: &str) -> Result<bool, StartError> {
        let store = Store::open(&config.data_dir).await?;
        let mut write = store.write().await?;
        let is_revoked = store.revoke_api_key(&mut write, id, clock::now()).await?;
        write.commit().await.map_err(StoreError::from)?;
        store.close().await;
        Ok(is_revoked)
    }
}

impl Running {
    /// Says how busy it is, to whoever looks after the process.
    pub fn probe(&self) -> Probe {
        Probe(self.store.clone())
    }

    /// Stops accepting, lets running requests finish within the limit, and closes the database.
    pub async fn shutdown(mut self) {
        let _ = self.closing.send(true);
        let _ = (&mut self.server).await;
        self.store.close().await;
    }

    /// Waits until the server has ended, which it does only when it is told to or has panicked.
    pub async fn ended(&mut self) {
        let _ = (&mut self.server).await;
    }
}

/// Opens the master key and proves that it is the database's.
async fn open_vault(store: &Store, config: &Config) -> Result<Vault, StartError> {
    let check = store.meta(MASTER_CHECK).await?;
    let vault = Vault::open(&config.master_key, &config.data_dir, check.is_none())?;
    if let Some(sealed) = check {
        vault
            .unseal(MASTER_CHECK, &sealed)
            .map_err(|_| StartError::WrongMasterKey)?;
    } else {
        let sealed = vault.seal(MASTER_CHECK, MASTER_CHECK.as_bytes())?;
        let mut write = store.write().await?;
        store.add_meta(&mut write, MASTER_CHECK, &sealed).await?;
        write.commit().await.map_err(StoreError::from)?;
    }
    Ok(vault)
}

/// Makes the first organisation if there is none.
async fn bootstrap(store: &Store) -> Result<Option<Bootstrap>, StartError> {
    match store.first_org().await? {
        Some(_) => Ok(None),
        None => add_org(store, "default").await.map(Some),
    }
}

/// Makes an organisation and its API key in one write.
async fn add_org(store: &Store, name: &str) -> Result<Bootstrap, StartError> {
    let all = Scopes::of(&[SCOPES_ALL]).ok_or(StartError::UnknownScope)?;
    let org = ids::org()?;
    let mut write = store.write().await?;
    store.add_org(&mut write, &org, name, clock::now()).await?;
    let api_key = add_api_key(store, &mut write, &org, "first key", &all).await?;
    write.commit().await.map_err(StoreError::from)?;
    Ok(Bootstrap { org, api_key })
}

async fn add_api_key(
    store: &Store,
    write: &mut Write,
    org: &str,
    label: &str,
    scopes: &Scopes,
) -> Result<Secret, StartError> {
    let (key, text) = ApiKey::draw()?;
    let new = NewApiKey {
        id: &key.id,
        org,
        label,
        hash: key.hash.as_bytes(),
        scopes: scopes.as_str(),
    };
    store.add_api_key(write, new, clock::now()).await?;
    Ok(text)
}
