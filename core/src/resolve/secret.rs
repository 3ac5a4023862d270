//! [`Secret`]: text that must not be shown.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stream key, a token or another credential. It goes over the wire as a plain string; it never
/// appears in a `Debug` output, and it has no `Display`.
///
/// There is no `PartialEq`: comparing secrets with `==` takes a time that depends on them. Whoever
/// compares does it over [`Secret::expose`] in constant time.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself: for comparing and for sending, never for logging.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
