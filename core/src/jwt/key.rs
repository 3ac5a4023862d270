//! Keys that tokens are verified with.

use super::{KeyError, TEXT_BYTES_MAX, TokenError, spki};
use crate::resolve::{Jwk, KeyStatus};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use std::fmt;

/// A signature algorithm; each belongs to one kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `EdDSA` with Ed25519 (RFC 8037).
    EdDsa,
    /// `RS256`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
}

impl Algorithm {
    /// Its name in a token's header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name; `None` for every other.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A public key, parsed and checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Ed25519(ed25519_dalek::VerifyingKey),
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// An Ed25519 key from its 32 bytes.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| KeyError::Malformed("expected 32 bytes"))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map_err(|_| KeyError::Malformed("not a point of the curve"))?;
        if key.is_weak() {
            return Err(KeyError::Weak("a point of small order"));
        }
        Ok(Self(Kind::Ed25519(key)))
    }

    pub(super) fn from_ed25519(key: ed25519_dalek::VerifyingKey) -> Self {
        Self(Kind::Ed25519(key))
    }

    /// An RSA key from its big-endian modulus (2048 to 4096 bits) and exponent.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !(256..=512).contains(&n.len()) || n.first().is_some_and(|byte| byte & 0x80 == 0) {
            return Err(KeyError::Weak(
                "expected a modulus of 2048, 3072 or 4096 bits",
            ));
        }
        if e.len() > 4 || e.len() * 8 < 16 || !is_odd(e) || !is_odd(n) {
            return Err(KeyError::Weak(
                "expected an odd modulus and exponent, such as 65537",
            ));
        }
        Ok(Self(Kind::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        }))
    }

    /// From a `PUBLIC KEY` PEM block (SubjectPublicKeyInfo, RFC 5280, 8410, 3279).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        spki::decode_pem(pem)
    }

    /// As a `PUBLIC KEY` PEM block, with a newline at the end.
    pub fn to_pem(&self) -> String {
        match &self.0 {
            Kind::Ed25519(key) => spki::encode_pem_ed25519(key.as_bytes()),
            Kind::Rsa { n, e } => spki::encode_pem_rsa(n, e),
        }
    }

    /// From a JWK's key members. `alg`, where given, must be that of the key.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let field = |text: &Option<String>, name| {
            let text = text.as_deref().ok_or(KeyError::Malformed(name))?;
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| KeyError::Malformed(name))
        };
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Self::ed25519(&field(&jwk.x, "x is not base64url")?)?,
            ("RSA", None) => Self::rsa(
                &field(&jwk.n, "n is not base64url")?,
                &field(&jwk.e, "e is not base64url")?,
            )?,
            _ => return Err(KeyError::UnsupportedKind),
        };
        if !jwk.alg.is_empty() && jwk.alg != key.algorithm().as_str() {
            return Err(KeyError::UnsupportedKind);
        }
        Ok(key)
    }

    /// As a JWK of an organisation.
    pub fn to_jwk(&self, kid: &str, org: &str, status: KeyStatus) -> Jwk {
        let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let jwk = Jwk {
            kid: kid.to_owned(),
            alg: self.algorithm().as_str().to_owned(),
            key_use: Some("sig".to_owned()),
            org: org.to_owned(),
            status,
            ..Jwk::default()
        };
        match &self.0 {
            Kind::Ed25519(key) => Jwk {
                kty: "OKP".to_owned(),
                crv: Some("Ed25519".to_owned()),
                x: encode(key.as_bytes()),
                ..jwk
            },
            Kind::Rsa { n, e } => Jwk {
                kty: "RSA".to_owned(),
                n: encode(n),
                e: encode(e),
                ..jwk
            },
        }
    }

    /// The one algorithm it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Kind::Ed25519(_) => Algorithm::EdDsa,
            Kind::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Whether `signature` is its over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let is_good = match &self.0 {
            Kind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Kind::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        };
        if is_good {
            Ok(())
        } else {
            Err(TokenError::BadSignature)
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm())
    }
}

/// A public key with its name, its owner and whether it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Its id, `kid`.
    pub kid: String,
    /// The organisation whose tokens it verifies.
    pub org: String,
    /// Whether tokens signed with it are accepted.
    pub active: bool,
    /// The key.
    pub key: PublicKey,
}

impl VerifyingKey {
    /// From a JWK with `kid`, `org` and `status`.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        if jwk.kid.is_empty() || jwk.kid.len() > TEXT_BYTES_MAX {
            return Err(KeyError::KeyId);
        }
        Ok(Self {
            kid: jwk.kid.clone(),
            org: jwk.org.clone(),
            active: jwk.status == KeyStatus::Active,
            key: PublicKey::from_jwk(jwk)?,
        })
    }

    /// As a JWK.
    pub fn to_jwk(&self) -> Jwk {
        let status = if self.active {
            KeyStatus::Active
        } else {
            KeyStatus::Inactive
        };
        self.key.to_jwk(&self.kid, &self.org, status)
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
