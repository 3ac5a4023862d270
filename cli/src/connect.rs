//! A client's way to a relay: which certificate to trust, which protocols to offer, which stream.

use anyhow::Context;
use mainstem_core::moqt::Draft;
use mainstem_net::ClientConfig;
use mainstem_quic::rustls::RootCertStore;
use mainstem_quic::{SessionUrl, TlsTrust};
use std::sync::Arc;

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
        if self.insecure {
            return Ok(TlsTrust::Insecure);
        }
        if !self.cert_sha256.is_empty() {
            let hashes = self.cert_sha256.iter().map(|text| parse_hash(text));
            return Ok(TlsTrust::Pinned(hashes.collect::<anyhow::Result<_>>()?));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for certificate in found.certs {
            // One that rustls cannot read is of no use, and no obstacle to the others.
            let _ = roots.add(certificate);
        }
        anyhow::ensure!(
            !roots.is_empty(),
            "this system has no root certificates; name the relay's own with --cert-sha256"
        );
        Ok(TlsTrust::Roots(Arc::new(roots)))
    }
}

fn parse_hash(text: &str) -> anyhow::Result<[u8; 32]> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()
        .context("--cert-sha256: expected hexadecimal digits")?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    let found = digits.len();
    bytes
        .try_into()
        .ok()
        .with_context(|| format!("--cert-sha256: expected 64 hexadecimal digits, found {found}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_with_and_without_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["ab"; 32].join(":");
        assert_eq!(parse_hash(&plain).unwrap(), [0xab; 32]);
        assert_eq!(parse_hash(&colons).unwrap(), [0xab; 32]);
        for wrong in ["", "abc", "zz", "ab"] {
            assert!(parse_hash(wrong).is_err(), "{wrong}");
        }
    }
}
