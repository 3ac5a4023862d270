//! A client's way to a relay: which certificate to trust, which protocols to offer, which stream.

use anyhow::Context;
use mainstem_client::Trust as Known;
use mainstem_core::moqt::Draft;
use mainstem_net::ClientConfig;
use mainstem_quic::{SessionUrl, TlsTrust};

/// How a client behaves towards the relay.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(id = "manners")]
pub(crate) struct Manners {
    /// Open sessions without the options that mean nothing, which a peer has to ignore
    #[arg(long)]
    pub no_grease: bool,
}

impl Manners {
    /// What the options that mean nothing are drawn from; `None` for none of them.
    pub(crate) fn grease(self) -> Option<u64> {
        mainstem_net::os_seed().ok().filter(|_| !self.no_grease)
    }
}

/// How to know the relay.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Trust {
    /// SHA-256 of the relay's certificate, in hex: trust this one and no other
    #[arg(long, value_name = "HEX")]
    pub cert_sha256: Vec<String>,
    /// Trust any certificate; for debugging only
    #[arg(long, conflicts_with = "cert_sha256")]
    pub insecure: bool,
}

impl Trust {
    /// What the transport needs to know.
    pub(crate) fn resolve(&self) -> anyhow::Result<TlsTrust> {
        let trust = if self.insecure {
            Known::Insecure
        } else if self.cert_sha256.is_empty() {
            Known::Roots
        } else {
            Known::pinned(&self.cert_sha256.join(",")).context("--cert-sha256")?
        };
        let resolved = trust.resolve();
        resolved.context("name the relay's own certificate with --cert-sha256")
    }
}

/// What to connect to, with every protocol that this version speaks.
pub(crate) fn client_config(url: &str, trust: &Trust) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig {
        url: url.to_owned(),
        trust: trust.resolve()?,
        protocols: Draft::ALL
            .iter()
            .map(|draft| draft.protocol().to_owned())
            .collect(),
    })
}

/// The namespace that a URL's path stands for: `/playback/lv_1?tok=..` is `playback/lv_1`.
pub(crate) fn namespace_of(url: &str) -> anyhow::Result<mainstem_core::moqt::TrackNamespace> {
    let url: SessionUrl = url.parse().context("the relay's url")?;
    let path = url.target.path.split('?').next().unwrap_or_default();
    let path = path.trim_matches('/');
    anyhow::ensure!(
        !path.is_empty(),
        "the url names no stream: expected /playback/<input>"
    );
    Ok(mainstem_core::moqt::TrackNamespace::from_path(path)?)
}
