//! Public keys as JSON: RFC 7517 members, and who owns the key and whether it is in use.

use serde::{Deserialize, Serialize};

/// Whether tokens that a key signed are to be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// Yes.
    #[default]
    Active,
    /// No, nor those signed before.
    Inactive,
}

/// One public key. `kty` `OKP` with `crv` and `x` (RFC 8037), or `RSA` with `n` and `e` (RFC 7518).
///
/// `org` and `status` are ours; RFC 7517 section 4 lets readers ignore members they do not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `OKP` or `RSA`.
    pub kty: String,
    /// The key's id; tokens name it.
    pub kid: String,
    /// `EdDSA` or `RS256`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// Curve of an `OKP` key: `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Public point of an `OKP` key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Modulus of an `RSA` key, base64url, big-endian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Exponent of an `RSA` key, base64url, big-endian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// The organisation whose tokens it signs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub org: String,
    /// Whether its tokens are accepted.
    #[serde(default)]
    pub status: KeyStatus,
}

/// A set of public keys (RFC 7517 section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}
