//! What can be wrong with a token, with a key, or with a wish to sign.

use super::Algorithm;

/// Why a token was refused. Each is the fault of whoever shows the token and ends in
/// `auth_failed` for the client; none holds anything that the token said.
///
/// On a MoQT request a relay answers `Malformed`, `TooLarge` and `CriticalHeader` with
/// MALFORMED_AUTH_TOKEN, `Expired` with EXPIRED_AUTH_TOKEN and the rest with UNAUTHORIZED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`super::TOKEN_BYTES_MAX`].
    #[error("the token is longer than 8 KiB")]
    TooLarge,
    /// Not a token; says which part is not as it should be.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The header demands an extension, and we have none.
    #[error("the token's header has a crit or b64 member, which is not supported")]
    CriticalHeader,
    /// `alg` is neither EdDSA nor RS256: `none`, a MAC, or something else.
    #[error("the token's algorithm is not accepted: expected EdDSA or RS256")]
    UnsupportedAlgorithm,
    /// No such key.
    #[error("the token names a signing key that is not known here")]
    UnknownKey,
    /// The key was deactivated.
    #[error("the token's signing key has been deactivated")]
    InactiveKey,
    /// `alg` is not the algorithm of the key that `kid` names.
    #[error("the token's algorithm is not that of its signing key: expected {key}")]
    WrongAlgorithm {
        /// What the key signs with.
        key: Algorithm,
    },
    /// The signature is not the key's over this header and these claims.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `sub` is not the organisation that the key belongs to.
    #[error("the token's subject is not the owner of its signing key")]
    WrongOwner,
    /// `aud` is present and does not name us.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A good token, but not for this input or not for this action.
    #[error("the token does not permit this input")]
    WrongInput,
}

impl TokenError {
    /// A short name for programs, such as `expired`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::CriticalHeader => "critical_header",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::InactiveKey => "inactive_key",
            Self::WrongAlgorithm { .. } => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::WrongOwner => "wrong_owner",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongInput => "wrong_input",
        }
    }

    /// Whether the text is not a token that we can read, rather than one that does not permit.
    pub const fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::Malformed(_) | Self::CriticalHeader
        )
    }

    /// Whether to close a client's session with `auth_failed`. So for every refusal: there is no
    /// token error that a client could cure by trying the same token again.
    pub const fn is_auth_failed(self) -> bool {
        true
    }
}

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither Ed25519 nor RSA, or `alg` and `kty` disagree.
    #[error("the key is of a kind that is not supported: expected Ed25519 or RSA")]
    UnsupportedKind,
    /// The encoding (PEM, DER, base64url) is broken; says where.
    #[error("the key cannot be read: {0}")]
    Malformed(&'static str),
    /// Readable, but not to be trusted: a small-order point, a short or even modulus.
    #[error("the key is weak or not valid: {0}")]
    Weak(&'static str),
    /// The key id is empty or too long.
    #[error("the key id is empty or longer than 256 bytes")]
    KeyId,
    /// The set holds [`super::KEYS_MAX`] keys.
    #[error("the key set is full")]
    Full,
}

/// Why a token was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// `exp` is not after now.
    #[error("the token would be expired before it is used")]
    Expired,
    /// A claim is outside its bounds; says which.
    #[error("the claims are not valid: {0}")]
    Claims(&'static str),
    /// The token would be longer than anyone accepts.
    #[error("the token would be longer than 8 KiB")]
    TooLarge,
    /// The signer could not sign.
    #[error("the signing key could not sign")]
    Signer,
}
