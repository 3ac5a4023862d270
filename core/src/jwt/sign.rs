//! [`mint`]: signing tokens.

use super::{Algorithm, Claims, MintError, PublicKey, TOKEN_BYTES_MAX};
use crate::time::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use serde::Serialize;
use std::fmt;

/// Something that signs under a key id. [`SigningKey`] is one; a signer that needs randomness (RSA
/// blinding) or that sits in hardware is written by its owner.
pub trait Signer {
    /// The key's id.
    fn kid(&self) -> &str;
    /// What it signs with.
    fn algorithm(&self) -> Algorithm;
    /// Signs a message; the signature in the form of the algorithm (RFC 7518, 8037).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError>;
}

/// An Ed25519 key that signs; wiped from memory when dropped.
pub struct SigningKey {
    kid: String,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// From the 32 secret bytes (RFC 8032 section 5.1.5), which the caller drew at random.
    pub fn ed25519(kid: impl Into<String>, secret: &[u8; 32]) -> Self {
        Self {
            kid: kid.into(),
            key: ed25519_dalek::SigningKey::from_bytes(secret),
        }
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        // A public key that was derived from a secret scalar is never of small order.
        PublicKey::from_ed25519(self.key.verifying_key())
    }
}

impl Signer for SigningKey {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        Ok(self.key.sign(message).to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, EdDSA, ..)", self.kid)
    }
}

/// Signs `claims`. `iat` and `nbf` become `now` where they are absent.
pub fn mint<S: Signer + ?Sized>(
    signer: &S,
    claims: &Claims,
    now: UnixTime,
) -> Result<String, MintError> {
    if claims.expires_at() <= now {
        return Err(MintError::Expired);
    }
    if let Some(fault) = claims.fault() {
        return Err(MintError::Claims(fault));
    }
    let mut claims = claims.clone();
    claims.iat.get_or_insert(now.as_secs());
    claims.nbf.get_or_insert(now.as_secs());
    let header = Header {
        alg: signer.algorithm().as_str(),
        kid: signer.kid(),
        typ: "JWT",
    };
    let mut token = encode(&header)?;
    token.push('.');
    token.push_str(&encode(&claims)?);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > TOKEN_BYTES_MAX {
        return Err(MintError::TooLarge);
    }
    Ok(token)
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

fn encode(part: &impl Serialize) -> Result<String, MintError> {
    let json = serde_json::to_vec(part).map_err(|_| MintError::Claims("not JSON"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}
