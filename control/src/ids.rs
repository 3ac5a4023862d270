//! Ids and secrets, drawn at random.
//!
//! | what | form | random bits |
//! |---|---|---|
//! | organisation | `org_` + 16 | 95 |
//! | live input, its public id | `li_` + 20, `lv_` + 20 | 119 |
//! | version of a stream key (not secret) | `skv_` + 20 | 119 |
//! | signing key (`kid`) | `rk_live_` + 16 | 95 |
//! | token id | `tok_` + 16 | 95 |
//! | stream key | `sk_live_` + 43 | 256 |
//! | API key | `tqs_live_` + id of 12 + `_` + 43 | 256 |
//!
//! Letters and digits only (base62), so that they survive URLs, shells and double clicks.

use mainstem_core::resolve::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// Length of the secret part of a key: 62^43 is just over 2^256.
const SECRET_LEN: usize = 43;
const API_KEY_PREFIX: &str = "tqs_live_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn org() -> Result<String, NoRandomness> {
    random("org_", 16)
}

pub(crate) fn live_input() -> Result<String, NoRandomness> {
    random("li_", 20)
}

pub(crate) fn external_input() -> Result<String, NoRandomness> {
    random("lv_", 20)
}

pub(crate) fn stream_key_version() -> Result<String, NoRandomness> {
    random("skv_", 20)
}

pub(crate) fn signing_key() -> Result<String, NoRandomness> {
    random("rk_live_", 16)
}

pub(crate) fn token() -> Result<String, NoRandomness> {
    random("tok_", 16)
}

pub(crate) fn stream_key() -> Result<Secret, NoRandomness> {
    random("sk_live_", SECRET_LEN).map(Secret::new)
}

/// Fills `out` from the operating system.
pub(crate) fn fill(out: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(out).map_err(|_| NoRandomness)
}

/// What is kept of a secret. The secrets have 256 random bits, so a fast hash is enough; `purpose`
/// keeps a hash of one kind from being worth anything as another.
#[derive(Clone, Copy)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    pub(crate) fn of(purpose: Purpose, secret: &str) -> Self {
        let context = match purpose {
            Purpose::StreamKey => "mainstem control 2026-08 stream key",
            Purpose::ApiKey => "mainstem control 2026-08 api key",
            Purpose::Relay => "mainstem control 2026-08 relay secret",
        };
        Self(blake3::derive_key(context, secret.as_bytes()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares in a time that does not depend on the bytes.
    pub(crate) fn matches(&self, stored: &[u8]) -> bool {
        self.0.as_slice().ct_eq(stored).into()
    }
}

/// What a hashed secret is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    StreamKey,
    ApiKey,
    Relay,
}

/// An API key as its holder writes it: an id to find it by and a secret.
pub(crate) struct ApiKey {
    pub(crate) id: String,
    pub(crate) hash: SecretHash,
}

impl ApiKey {
    /// Draws a new one; also gives the text for its holder.
    pub(crate) fn draw() -> Result<(Self, Secret), NoRandomness> {
        let (id, secret) = (random("", 12)?, random("", SECRET_LEN)?);
        let text = Secret::new(format!("{API_KEY_PREFIX}{id}_{secret}"));
        let hash = SecretHash::of(Purpose::ApiKey, &secret);
        Ok((Self { id, hash }, text))
    }

    /// Reads the text of one; `None` if it does not look like one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
        let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_key = id.len() == 12 && secret.len() == SECRET_LEN;
        (is_key && is_plain(id) && is_plain(secret)).then(|| Self {
            id: id.to_owned(),
            hash: SecretHash::of(Purpose::ApiKey, secret),
        })
    }
}

fn random(prefix: &str, len: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(prefix.len() + len);
    text.push_str(prefix);
    let mut bytes = [0; 64];
    while text.len() < prefix.len() + len {
        fill(&mut bytes)?;
        let missing = prefix.len() + len - text.len();
        // 248 is four times 62: bytes above it are dropped, or some letters would come more often.
        let letters = bytes.iter().filter(|byte| **byte < 248);
        text.extend(
            letters
                .take(missing)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_is_read_back_and_only_whole() {
        let (key, text) = ApiKey::draw().unwrap();
        let text = text.expose();
        let read = ApiKey::parse(text).unwrap();
        assert_eq!(read.id, key.id);
        assert!(read.hash.matches(key.hash.as_bytes()));
        for bad in [
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}x"),
            "tqs_live_",
            "",
        ] {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn one_purpose_is_not_another() {
        let hash = SecretHash::of(Purpose::ApiKey, "x");
        assert!(!hash.matches(SecretHash::of(Purpose::StreamKey, "x").as_bytes()));
        assert!(!hash.matches(b""));
    }

    #[test]
    fn ids_have_their_lengths_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| org().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 20));
        assert_eq!(stream_key().unwrap().expose().len(), 51);
    }
}
