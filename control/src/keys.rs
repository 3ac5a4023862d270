//! Making signing keys, and signing with them.
//!
//! The `rsa` crate makes RSA keys and does nothing else here: its private-key operations leak
//! through timing (RUSTSEC-2023-0071). ring signs, in constant time and with blinding.

use crate::ids;
use mainstem_core::jwt::{Algorithm, KeyError, MintError, PublicKey, Signer, SigningKey};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use std::sync::Arc;
use zeroize::Zeroizing;

const RSA_BITS: usize = 2048;

/// A key that was just made.
pub(crate) struct NewKey {
    pub(crate) public: PublicKey,
    /// Ed25519: the 32 secret bytes. RSA: RSAPrivateKey in DER (RFC 8017 appendix A.1.2).
    pub(crate) private: Zeroizing<Vec<u8>>,
}

/// A key could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error(transparent)]
    Random(#[from] ids::NoRandomness),
    #[error("an RSA key could not be made")]
    Rsa,
    #[error("a stored private key cannot be loaded")]
    Stored,
    #[error("a key that was made is not accepted: {0}")]
    Public(#[from] KeyError),
}

/// Makes a key. RSA takes a good part of a second of computing.
pub(crate) fn generate(algorithm: Algorithm) -> Result<NewKey, KeyFault> {
    match algorithm {
        Algorithm::EdDsa => {
            let mut secret = Zeroizing::new([0; 32]);
            ids::fill(&mut *secret)?;
            let public = SigningKey::ed25519("", &secret).public_key();
            Ok(NewKey {
                public,
                private: Zeroizing::new(secret.to_vec()),
            })
        }
        Algorithm::Rs256 => {
            let key = rsa::RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|_| KeyFault::Rsa)?;
            let der = key.to_pkcs1_der().map_err(|_| KeyFault::Rsa)?;
            let public = PublicKey::rsa(&key.n().to_bytes_be(), &key.e().to_bytes_be())?;
            Ok(NewKey {
                public,
                private: Zeroizing::new(der.as_bytes().to_vec()),
            })
        }
    }
}

/// Loads a private key for signing.
pub(crate) fn load(
    kid: &str,
    algorithm: Algorithm,
    private: &[u8],
) -> Result<Arc<dyn Signer + Send + Sync>, KeyFault> {
    match algorithm {
        Algorithm::EdDsa => {
            let secret = private.try_into().map_err(|_| KeyFault::Stored)?;
            Ok(Arc::new(SigningKey::ed25519(kid, secret)))
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_der(private).map_err(|_| KeyFault::Stored)?;
            Ok(Arc::new(RsaSigner {
                kid: kid.to_owned(),
                pair,
            }))
        }
    }
}

struct RsaSigner {
    kid: String,
    pair: RsaKeyPair,
}

impl Signer for RsaSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::Rs256
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| MintError::Signer)?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_sign_what_their_public_half_verifies() {
        for algorithm in [Algorithm::EdDsa, Algorithm::Rs256] {
            let key = generate(algorithm).unwrap();
            let signer = load("k", algorithm, &key.private).unwrap();
            let signature = signer.sign(b"message").unwrap();
            assert!(
                key.public.verify(b"message", &signature).is_ok(),
                "{algorithm}"
            );
            assert!(
                key.public.verify(b"massage", &signature).is_err(),
                "{algorithm}"
            );
        }
    }
}
