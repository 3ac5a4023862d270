//! The eight places where QUIC and TLS draw chance, each from a seed.
//!
//! | source | overridden by |
//! |---|---|
//! | connection ids | [`Entropy::connection_id_key`] |
//! | a client's first destination id | the same |
//! | stateless reset key | [`Entropy::reset_key`], kept over a node's lives |
//! | address token key | [`Entropy::token_key`] |
//! | quinn's own generator | [`Entropy::rng_seed`] |
//! | rustls's `SecureRandom` | [`Seeded`] |
//! | X25519 key shares | [`Seeded`] as key exchange group |
//! | signatures | an Ed25519 certificate, which needs no nonce |
//!
//! rustls wants `&'static` references to the two that it draws from. A [`Lease`] takes one of a pool
//! of such objects, and gives it back when the node ends: the pool grows to the most nodes that ever
//! lived at the same time in the process, and no further. A leaked object per node would grow with every run.
//!
//! The platform's clock is read once per process, because quinn's instants cannot be made from a number;
//! only differences to it count, which a test proves.
//!
//! Source: quinn-proto's defaults; RFC 7748 (X25519), RFC 8410 (Ed25519 in PKCS#8).

use crate::random::{Purpose, Random, Streams};
use mainstem_core::time::UnixTime;
use mainstem_quic::rustls;
use mainstem_quic::{Certificates, Config, Entropy, TlsError, TlsTrust};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use x25519_dalek::{PublicKey, StaticSecret};

/// The wall clock of the world's beginning, where it is right.
pub const UNIX_TIME_AT_EPOCH: UnixTime = UnixTime::from_secs(1_800_000_000);
/// The seed of the world's one certificate.
const CERTIFICATE_SEED: [u8; 32] = [7; 32];
/// An Ed25519 private key as PKCS#8, up to its 32 bytes.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Objects that no node has at present.
static POOL: Mutex<Vec<&'static Seeded>> = Mutex::new(Vec::new());

/// Chance for TLS, from a seed: random bytes and key shares.
pub struct Seeded(Mutex<Option<Random>>);

impl Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Option<()> {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.as_mut()?.fill(buffer);
        Some(())
    }
}

impl fmt::Debug for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seeded(..)")
    }
}

impl SecureRandom for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        Self::fill(self, buffer).ok_or(GetRandomFailed)
    }
}

impl SupportedKxGroup for Seeded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        let mut secret = [0; 32];
        Self::fill(self, &mut secret).ok_or(rustls::Error::FailedToGetRandomBytes)?;
        let secret = StaticSecret::from(secret);
        let public = *PublicKey::from(&secret).as_bytes();
        Ok(Box::new(KeyShare { secret, public }))
    }

    fn name(&self) -> rustls::NamedGroup {
        rustls::NamedGroup::X25519
    }
}

struct KeyShare {
    secret: StaticSecret,
    public: [u8; 32],
}

impl ActiveKeyExchange for KeyShare {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, rustls::Error> {
        let peer: [u8; 32] = peer
            .try_into()
            .map_err(|_| rustls::PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return Err(rustls::PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> rustls::NamedGroup {
        rustls::NamedGroup::X25519
    }
}

/// One object of the pool, for as long as a node lives.
#[derive(Debug)]
pub struct Lease(&'static Seeded);

impl Lease {
    /// Takes an object, or makes one, and has it draw from `random`.
    pub fn take(random: Random) -> Self {
        let free = POOL.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let seeded = free.unwrap_or_else(|| Box::leak(Box::new(Seeded(Mutex::new(None)))));
        *seeded.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(random);
        Self(seeded)
    }

    /// *ring* with its chance replaced.
    pub fn provider(&self) -> Arc<CryptoProvider> {
        let usual = mainstem_quic::default_provider();
        Arc::new(CryptoProvider {
            secure_random: self.0,
            kx_groups: vec![self.0],
            ..(*usual).clone()
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(self.0);
    }
}

/// How many objects wait in the pool.
pub fn pool_len() -> usize {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// The certificate that every server of a world shows, and how its clients know it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For servers.
    pub certificates: Certificates,
    /// For clients.
    pub trust: TlsTrust,
}

impl Identity {
    /// The world's identity.
    pub fn new() -> Result<Self, IdentityError> {
        static CERTIFICATE: OnceLock<Vec<u8>> = OnceLock::new();
        let key = || {
            let mut key = PKCS8_HEAD.to_vec();
            key.extend(CERTIFICATE_SEED);
            PrivatePkcs8KeyDer::from(key)
        };
        let certificate = if let Some(made) = CERTIFICATE.get() {
            made.clone()
        } else {
            let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key(), &rcgen::PKCS_ED25519)?;
            let parameters = rcgen::CertificateParams::new(vec!["relay.sim".to_owned()])?;
            let made = parameters.self_signed(&pair)?.der().to_vec();
            CERTIFICATE.get_or_init(|| made).clone()
        };
        let chain = vec![CertificateDer::from(certificate)];
        let certificates = Certificates::new(chain, PrivateKeyDer::Pkcs8(key()))?;
        let trust = TlsTrust::Pinned(vec![certificates.sha256()]);
        Ok(Self {
            certificates,
            trust,
        })
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It was not made.
    #[error("the world's certificate was not made: {0}")]
    Make(#[from] rcgen::Error),
    /// It was not taken.
    #[error(transparent)]
    Load(#[from] TlsError),
}

/// A host's configuration for one life of a node: everything seeded, the usual limits.
pub fn host_config(
    streams: Streams,
    node: u16,
    life: u16,
    lease: &Lease,
    epoch: std::time::Instant,
    unix_time_at_epoch: UnixTime,
) -> Config {
    let mut random = streams.stream(Purpose::Node { node, life });
    let mut entropy = Entropy::from_seed(random.seed());
    let first = streams.stream(Purpose::Node { node, life: 0 }).seed();
    entropy.reset_key = Entropy::from_seed(first).reset_key;
    let mut config = Config::new(entropy, epoch, unix_time_at_epoch);
    config.crypto = Some(lease.provider());
    config
}

/// A reading of the platform's clock: the same one for the whole process.
pub fn process_epoch() -> std::time::Instant {
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "quinn's instants cannot be made from a number; only differences count"
        )]
        std::time::Instant::now()
    })
}
