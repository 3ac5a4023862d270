//! Playback tokens: signed permission to use a namespace for a while (JWT, RFC 7519).
//!
//! A token is three base64url parts, `header.claims.signature` (JWS compact form, RFC 7515). This
//! module signs them ([`mint`]) and checks them ([`verify`]); the clock and the keys are arguments.
//!
//! | step of [`verify`] | refused with |
//! |---|---|
//! | size, three parts, canonical base64url, JSON objects without repeated members | `TooLarge`, `Malformed` |
//! | header: `crit` and `b64` absent, `typ` absent or `JWT` | `CriticalHeader`, `Malformed` |
//! | `alg` is one that we know at all: never `none`, never a MAC | `UnsupportedAlgorithm` |
//! | `kid` names a key we hold, that is in use, and whose own algorithm is `alg` | `UnknownKey`, `InactiveKey`, `WrongAlgorithm` |
//! | signature over the first two parts | `BadSignature` |
//! | claims: bounds, `sub` is the key's organisation, `aud` absent or [`AUDIENCE`] | `Malformed`, `WrongOwner`, `WrongAudience` |
//! | `nbf`, `iat` and `exp` against the clock, each with the skew in the token's favour | `NotYetValid`, `Expired` |
//!
//! The algorithm is the key's, never the token's: `alg` is only compared with it. What a verified
//! token allows is asked of its [`Claims`]: `permits(action, path)`.
//!
//! Limits: [`TOKEN_BYTES_MAX`], [`PATTERNS_MAX`], [`PATTERN_BYTES_MAX`], [`TEXT_BYTES_MAX`],
//! [`KEYS_MAX`]. Units: claims are whole seconds since 1970 UTC. Keys are parsed once, when they
//! enter a [`KeySet`]; a verification then costs one signature check and two small JSON parses.
//!
//! Two signature back-ends: ed25519-dalek with its strict check (RFC 8032, no small-order keys, no
//! malleable signatures) and ring for RS256 (RFC 7518 section 3.3), which this crate only verifies.
//! RSA signing needs randomness for blinding, so the signer for it lives with its owner, behind
//! [`Signer`].
//!
//! Source: RFC 7515, 7517, 7518, 7519, 8037, 8725 (pitfalls); CONTRACTS A1 for the claims.

mod claims;
mod error;
mod jwks;
mod key;
mod sign;
mod spki;
mod verify;

pub use claims::{Action, Audience, Claims, Pattern, TTL_DEFAULT, TTL_MAX, TTL_MIN, clamp_ttl};
pub use error::{KeyError, MintError, TokenError};
pub use jwks::{KeySet, RejectedKey};
pub use key::{Algorithm, PublicKey, VerifyingKey};
pub use sign::{Signer, SigningKey, mint};
pub use verify::{Verified, verify};

use std::time::Duration;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Most `ns` patterns in a token.
pub const PATTERNS_MAX: usize = 32;
/// Longest `ns` pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Longest `iss`, `sub`, `jti`, `aud` or `kid`, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most keys in a [`KeySet`].
pub const KEYS_MAX: usize = 100_000;
/// The audience that these tokens are for, where they name one.
pub const AUDIENCE: &str = "mainstem-relay";
/// The difference between two clocks that is forgiven.
pub const SKEW_DEFAULT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
