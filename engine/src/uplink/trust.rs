//! [`Trust`]: how a relay is recognised.

use mainstem_quic::TlsTrust;
use mainstem_quic::rustls::RootCertStore;
use std::net::IpAddr;
use std::sync::Arc;

/// How to recognise the relay.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its certificate has one of these SHA-256 hashes.
    Pinned(Vec<[u8; 32]>),
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
