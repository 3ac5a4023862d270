//! How to know the relay: by the system's roots, by its certificate, or not at all.

use mainstem_quic::TlsTrust;
use mainstem_quic::rustls::RootCertStore;
use std::sync::Arc;

/// Names certificates to trust instead of the system's roots: SHA-256 in hex, several with commas.
pub const CERTIFICATE_VARIABLE: &str = "MAINSTEM_CERT_SHA256";
/// `1` trusts any certificate; for debugging only.
pub const INSECURE_VARIABLE: &str = "MAINSTEM_INSECURE";

/// How to know the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// As [`CERTIFICATE_VARIABLE`] and [`INSECURE_VARIABLE`] say; the system's roots where they say
    /// nothing.
    #[default]
    Environment,
    /// The system's roots.
    Roots,
    /// These certificates and no others, by their SHA-256.
    Pinned(Vec<[u8; 32]>),
    /// Any certificate; for debugging only.
    Insecure,
}

/// Why nobody can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// No hash of a certificate.
    #[error("a certificate's sha-256: expected 64 hexadecimal digits, found {found:?}")]
    Hash {
        /// What was found.
        found: String,
    },
    /// The system has no roots.
    #[error(
        "this system has no root certificates; name the relay's own, as with {CERTIFICATE_VARIABLE}"
    )]
    NoRoots,
}

impl Trust {
    /// Reads hashes, in hex with or without colons, several with commas.
    pub fn pinned(text: &str) -> Result<Self, TrustError> {
        let hashes = text.split(',').map(parse_hash);
        Ok(Self::Pinned(hashes.collect::<Result<_, _>>()?))
    }

    /// What the transport needs to know.
    pub fn resolve(&self) -> Result<TlsTrust, TrustError> {
        match self {
            Self::Environment => Self::from_environment()?.resolve(),
            Self::Roots => roots(),
            Self::Pinned(hashes) => Ok(TlsTrust::Pinned(hashes.clone())),
            Self::Insecure => Ok(TlsTrust::Insecure),
        }
    }

    fn from_environment() -> Result<Self, TrustError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(hashes) = variable(CERTIFICATE_VARIABLE) {
            return Self::pinned(&hashes);
        }
        match variable(INSECURE_VARIABLE).as_deref() {
            Some("1" | "true") => Ok(Self::Insecure),
            _ => Ok(Self::Roots),
        }
    }
}

fn roots() -> Result<TlsTrust, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that rustls cannot read is of no use, and no obstacle to the others.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(TrustError::NoRoots);
    }
    Ok(TlsTrust::Roots(Arc::new(roots)))
}

fn parse_hash(text: &str) -> Result<[u8; 32], TrustError> {
    let wrong = || TrustError::Hash {
        found: text.to_owned(),
    };
    let digits = text.trim().chars().filter(|c| *c != ':');
    let digits: Vec<u8> = digits
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    if digits.len() != 64 {
        return Err(wrong());
    }
    let pairs = digits.chunks(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    bytes.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_with_and_without_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let both = format!("{plain}, {colons}");
        assert_eq!(
            Trust::pinned(&both),
            Ok(Trust::Pinned(vec![[0xab; 32], [0xab; 32]]))
        );
        for wrong in ["", "abc", "zz", "ab", "é"] {
            assert!(Trust::pinned(wrong).is_err(), "{wrong}");
        }
    }
}
