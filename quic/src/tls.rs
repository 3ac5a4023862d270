//! TLS 1.3 for QUIC: which certificate to show, whom to trust, which ciphers first.
//!
//! AES-128-GCM leads the list on both sides and the server's order decides: with hardware AES it
//! costs a quarter of ChaCha20-Poly1305 per packet. No session tickets are sealed here; resumption
//! state is rustls's in-memory cache.
//!
//! Sources: RFC 8446, RFC 9001; the W3C WebTransport `serverCertificateHashes` rule for pins.

use crate::clock::WallClock;
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::{Arc, PoisonError, RwLock};

/// ALPN id of HTTP/3, which carries WebTransport.
pub(crate) const ALPN_H3: &[u8] = b"h3";

/// Why a certificate or a TLS configuration was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Certificate and key do not load or do not belong together.
    #[error("certificate and private key were not accepted: {0}")]
    Certificate(#[source] rustls::Error),
    /// The crypto provider lacks what QUIC needs.
    #[error("the crypto provider lacks TLS 1.3 with AES-128-GCM, which QUIC needs")]
    Provider,
    /// No usable root certificate.
    #[error("the root certificates were not accepted: {0}")]
    Roots(#[source] rustls::client::VerifierBuilderError),
}

/// The certificate chain and key that a server shows; a cheap handle shared with running hosts.
///
/// [`Certificates::replace`] takes effect with the next handshake; open connections keep theirs.
#[derive(Clone, Debug)]
pub struct Certificates {
    // The one lock of this crate: taken once per handshake, written when an operator renews a
    // certificate, never held over any other work.
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// From a DER chain (end entity first) and its private key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let loaded = load(chain, key)?;
        Ok(Self {
            current: Arc::new(RwLock::new(loaded)),
        })
    }

    /// Shows this chain from the next handshake on; on error the old one stays.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), TlsError> {
        let loaded = load(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// SHA-256 of the end-entity certificate: what a browser's `serverCertificateHashes` and
    /// [`TlsTrust::Pinned`] compare.
    pub fn sha256(&self) -> [u8; 32] {
        let current = self.current();
        current
            .cert
            .first()
            .map(|cert| sha256(cert))
            .unwrap_or_default()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// How a client decides that the server is the right one.
#[derive(Clone, Debug)]
pub enum TlsTrust {
    /// The end-entity certificate has one of these SHA-256 hashes; names and dates do not matter.
    Pinned(Vec<[u8; 32]>),
    /// The chain ends in one of these roots and names the server.
    Roots(Arc<RootCertStore>),
    /// Any certificate. For tests and debugging: no protection against a man in the middle.
    Insecure,
}

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let hash = digest::digest(&digest::SHA256, bytes);
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

/// *ring* with the TLS 1.3 suites in the order AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
pub fn default_provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
            _ => 3,
        });
    Arc::new(provider)
}

pub(crate) fn server_config(
    provider: &Arc<CryptoProvider>,
    clock: &WallClock,
    certificates: &Certificates,
    alpn: Vec<Vec<u8>>,
) -> Result<rustls::ServerConfig, TlsError> {
    let mut config =
        rustls::ServerConfig::builder_with_details(Arc::clone(provider), Arc::new(clock.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| TlsError::Provider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates.clone()));
    config.alpn_protocols = alpn;
    config.ignore_client_order = true;
    Ok(config)
}

pub(crate) fn client_config(
    provider: &Arc<CryptoProvider>,
    clock: &WallClock,
    trust: TlsTrust,
    alpn: Vec<Vec<u8>>,
) -> Result<rustls::ClientConfig, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        TlsTrust::Roots(roots) => {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                .build()
                .map_err(TlsError::Roots)?
        }
        TlsTrust::Pinned(pins) => Arc::new(PinVerifier::new(Some(pins), provider)),
        TlsTrust::Insecure => Arc::new(PinVerifier::new(None, provider)),
    };
    let mut config =
        rustls::ClientConfig::builder_with_details(Arc::clone(provider), Arc::new(clock.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| TlsError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(config)
}

fn load(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map(Arc::new)
        .map_err(TlsError::Certificate)
}

/// Accepts certificates by hash, or any; the peer must still hold the certificate's key.
#[derive(Debug)]
struct PinVerifier {
    pins: Option<Vec<[u8; 32]>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    fn new(pins: Option<Vec<[u8; 32]>>, provider: &CryptoProvider) -> Self {
        Self {
            pins,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash = sha256(end_entity);
        match &self.pins {
            Some(pins) if !pins.contains(&hash) => Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC needs TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
