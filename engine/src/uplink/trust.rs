//! [`Trust`]: how a relay is recognised.

use mainstem_quic::rustls::RootCertStore;
use mainstem_quic::{Certificates, TlsTrust};
use std::net::IpAddr;
use std::sync::Arc;

/// How to recognise the relay.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its certificate has one of these SHA-256 hashes.
    Pinned(Vec<[u8; 32]>),
    /// It shows the certificate of this handle, also after that was renewed: a relay in the same
    /// process.
    SameAs(Certificates),
    /// Its certificate is signed by one of these roots, for its name.
    Roots(Arc<RootCertStore>),
    /// Whoever answers, on this machine only.
    InsecureLoopback,
}

/// Anybody could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an unverified relay may only be on this machine, not at {0}: pin its certificate")]
pub(crate) struct NotLoopback(IpAddr);

impl Trust {
    /// What TLS is told for a relay at `address`.
    pub(crate) fn for_address(&self, address: IpAddr) -> Result<TlsTrust, NotLoopback> {
        match self {
            Self::Pinned(pins) => Ok(TlsTrust::Pinned(pins.clone())),
            Self::SameAs(shown) => Ok(TlsTrust::Pinned(vec![shown.sha256()])),
            Self::Roots(roots) => Ok(TlsTrust::Roots(Arc::clone(roots))),
            Self::InsecureLoopback if address.to_canonical().is_loopback() => {
                Ok(TlsTrust::Insecure)
            }
            Self::InsecureLoopback => Err(NotLoopback(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_certificate_is_trusted_from_then_on() {
        let fresh = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = made.signing_key.serialize_der();
            (vec![made.cert.der().clone()], key.try_into().unwrap())
        };
        let (chain, key) = fresh();
        let shown = Certificates::new(chain, key).unwrap();
        let trust = Trust::SameAs(shown.clone());
        let pinned = || match trust.for_address("192.0.2.1".parse().unwrap()) {
            Ok(TlsTrust::Pinned(pins)) => pins,
            other => panic!("{other:?}"),
        };
        assert_eq!(pinned(), [shown.sha256()]);
        let before = shown.sha256();
        let (chain, key) = fresh();
        shown.replace(chain, key).unwrap();
        assert_ne!(pinned(), [before]);
        assert_eq!(pinned(), [shown.sha256()]);
    }

    #[test]
    fn unverified_relays_are_on_this_machine() {
        let of = |address: &str| Trust::InsecureLoopback.for_address(address.parse().unwrap());
        assert!(of("127.0.0.1").is_ok() && of("::1").is_ok() && of("::ffff:127.0.0.1").is_ok());
        let refused = of("192.0.2.1").unwrap_err().to_string();
        assert!(
            refused.contains("192.0.2.1") && refused.contains("pin"),
            "{refused}"
        );
    }
}
