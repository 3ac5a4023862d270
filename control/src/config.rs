//! What the control plane needs to know to start.

use mainstem_core::resolve::Secret;
use mainstem_web::Embedding;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve HTTP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of the database `control.db` and, unless it comes from elsewhere, of the master key.
    /// Created, for its owner only, when it is not there.
    pub data_dir: PathBuf,
    /// What seals private signing keys.
    pub master_key: MasterKeySource,
    /// What relays and engines authenticate with, at least 16 characters; without it they are all
    /// refused.
    pub relay_secret: Option<Secret>,
    /// `iss` of the tokens.
    pub issuer: String,
    /// Bounds.
    pub limits: Limits,
    /// What `/metrics` answers; `None` for no such page.
    pub metrics: Option<MetricsPage>,
    /// Where browsers find the relay; `None` when that is not known here.
    pub relay: Option<RelayPlace>,
    /// Who may show the player page inside a page of theirs.
    pub embedding: Embedding,
}

/// A relay as browsers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicRelay {
    /// Its origin, `https://host:port`.
    pub url: String,
    /// SHA-256 in hex of certificates that browsers do not trust by themselves; empty where they do.
    pub certificate_hashes: Vec<String>,
}

/// Says where the relay is. It is asked each time: relays start later than the control plane, and
/// development certificates are replaced.
#[derive(Clone)]
pub struct RelayPlace(Arc<dyn Fn() -> Option<PublicRelay> + Send + Sync>);

impl RelayPlace {
    /// A place that is looked up anew for each request. `find` must not block.
    pub fn new(find: impl Fn() -> Option<PublicRelay> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    pub(crate) fn find(&self) -> Option<PublicRelay> {
        (self.0)()
    }
}

impl std::fmt::Debug for RelayPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RelayPlace")
    }
}

/// Writes the figures of this process in Prometheus' text format. The control plane serves the page
/// but knows nothing of what stands on it: other programs of the process write it.
#[derive(Clone)]
pub struct MetricsPage(Arc<dyn Fn() -> String + Send + Sync>);

impl MetricsPage {
    /// A page that is written anew for each reader. `write` may block for a moment.
    pub fn new(write: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self) -> String {
        (self.0)()
    }
}

impl std::fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsPage")
    }
}

impl Config {
    /// Settings with defaults for everything else: a master key file, no relay.
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            data_dir: data_dir.into(),
            master_key: MasterKeySource::DataDir,
            relay_secret: None,
            issuer: "mainstem".to_owned(),
            limits: Limits::default(),
            metrics: None,
            relay: None,
            embedding: Embedding::default(),
        }
    }
}

/// Where the 32 bytes of the master key come from, written as 64 hexadecimal digits or in base64.
#[derive(Clone, Debug)]
pub enum MasterKeySource {
    /// The file `master.key` in the data folder; made on the first start.
    DataDir,
    /// A file, for its owner's eyes only; made on the first start if it is not there.
    File(PathBuf),
    /// An environment variable of this name.
    Environment(String),
}

/// Bounds; passing one is an error that says so.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; more wait to be accepted.
    pub connections: usize,
    /// Body of a procedure call, in bytes.
    pub body_bytes: usize,
    /// Body of a call by a relay, in bytes.
    pub relay_body_bytes: usize,
    /// Procedures in one batch.
    pub batch_calls: usize,
    /// How long a request head may take to arrive.
    pub head_timeout: Duration,
    /// How long a peer may take nothing of an answer before its connection is closed.
    pub write_timeout: Duration,
    /// How long anything but a long poll may take.
    pub request_timeout: Duration,
    /// Calls a second that one API key may make in the long run.
    pub calls_per_second: u32,
    /// Calls that one API key may make at once after a pause.
    pub calls_burst: u32,
    /// Refused credentials that one address may send at once after a pause; they come back at a
    /// tenth of that a second.
    pub refusals_burst: u32,
    /// Live inputs of one organisation.
    pub inputs_per_org: u32,
    /// Signing keys of one organisation. Beyond, the oldest inactive one makes room.
    pub signing_keys_per_org: u32,
    /// Relays and engines whose presence is kept.
    pub relays: usize,
    /// How long a clean stop waits for requests to finish.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            body_bytes: 64 * 1024,
            relay_body_bytes: 1024 * 1024,
            batch_calls: 20,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(15),
            calls_per_second: 200,
            calls_burst: 1000,
            refusals_burst: 100,
            inputs_per_org: 10_000,
            signing_keys_per_org: 64,
            relays: 1024,
            shutdown: Duration::from_secs(5),
        }
    }
}
