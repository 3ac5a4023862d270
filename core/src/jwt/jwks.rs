//! [`KeySet`]: the keys that a verifier holds, by id.

use super::{KEYS_MAX, KeyError, VerifyingKey};
use crate::map::BTreeMap;
use crate::resolve::Jwk;

/// Keys by `kid`, each parsed once.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
}

/// A key that could not be taken into a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedKey {
    /// Its id, as given.
    pub kid: String,
    /// Why.
    pub error: KeyError,
}

impl KeySet {
    /// An empty set: it verifies nothing.
    pub const fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
        }
    }

    /// The keys of a JWKS, and those that could not be used: one bad key does not take the others
    /// out of service.
    pub fn from_jwks<'a>(jwks: impl IntoIterator<Item = &'a Jwk>) -> (Self, Vec<RejectedKey>) {
        let (mut set, mut rejected) = (Self::new(), Vec::new());
        for jwk in jwks {
            if let Err(error) = set.apply(jwk) {
                rejected.push(RejectedKey {
                    kid: jwk.kid.clone(),
                    error,
                });
            }
        }
        (set, rejected)
    }

    /// Adds or replaces one key, as it is in a JWKS or a change of the feed.
    pub fn apply(&mut self, jwk: &Jwk) -> Result<(), KeyError> {
        self.insert(VerifyingKey::from_jwk(jwk)?)
    }

    /// Adds or replaces one key.
    pub fn insert(&mut self, key: VerifyingKey) -> Result<(), KeyError> {
        if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&key.kid) {
            return Err(KeyError::Full);
        }
        self.keys.insert(key.kid.clone(), key);
        Ok(())
    }

    /// The key of that id, in use or not.
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// Whether the key is there and in use.
    pub fn is_active(&self, kid: &str) -> bool {
        self.find(kid).is_some_and(|key| key.active)
    }

    /// All keys, by id.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
