//! What a token says, and what that permits.
//!
//! | pattern in `ns` | permits |
//! |---|---|
//! | `playback/<id>` | watching the input `<id>` of the token's organisation |
//! | `publish/<id>` | publishing it |
//! | any other, such as `stream/<org>/<id>` | watching that namespace |
//! | a pattern that ends in `*` | the same for all that begins with what stands before the `*` |
//!
//! Everything else is denied. `<id>` is whichever of its names (`lv_..`, `li_..`) the client uses;
//! tokens of the control plane carry both. Source: CONTRACTS A1, "Relay token".

use super::{PATTERN_BYTES_MAX, PATTERNS_MAX, TEXT_BYTES_MAX, TokenError};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Shortest life of a playback token.
pub const TTL_MIN: Duration = Duration::from_secs(30);
/// Longest life of a playback token.
pub const TTL_MAX: Duration = Duration::from_hours(24);
/// Life of a playback token when nothing was asked for.
pub const TTL_DEFAULT: Duration = Duration::from_hours(1);

/// The life to give a token for which `seconds` were asked: 30 s to 24 h, or one hour.
pub fn clamp_ttl(seconds: Option<i64>) -> Duration {
    seconds.map_or(TTL_DEFAULT, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(TTL_MIN, TTL_MAX)
    })
}

/// What someone wants to do with a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Watch: SUBSCRIBE, FETCH, TRACK_STATUS.
    Subscribe,
    /// Send: PUBLISH_NAMESPACE, PUBLISH.
    Publish,
}

/// The claims of a token. Times are whole seconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    #[serde(default)]
    pub iss: String,
    /// The organisation on whose behalf.
    pub sub: String,
    /// What it permits; see the table above.
    pub ns: Vec<Pattern>,
    /// Not valid from this second on.
    pub exp: u64,
    /// When it was signed. [`super::mint`] fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Not valid before. [`super::mint`] fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Whom it is for; without it, for any relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<Audience>,
}

/// `aud`: one name or several (RFC 7519 section 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `name` is among them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|each| each == name),
        }
    }
}

impl Claims {
    /// Claims for watching one input under each of its names, from now on for `ttl`.
    pub fn playback(iss: &str, org: &str, ids: &[&str], now: UnixTime, ttl: Duration) -> Self {
        let ns = ids.iter().map(|id| Pattern(format!("playback/{id}")));
        Self {
            iss: iss.to_owned(),
            sub: org.to_owned(),
            ns: ns.collect(),
            exp: (now + ttl).as_secs(),
            iat: None,
            nbf: None,
            jti: None,
            aud: None,
        }
    }

    /// When it ends.
    pub const fn expires_at(&self) -> UnixTime {
        UnixTime::from_secs(self.exp)
    }

    /// Whether it permits `action` on `path`: a namespace with its fields joined by `/`, or the
    /// path of a URL without its query. `playback/<id>`, `publish/<id>` and, for the token's own
    /// organisation, `stream/<org>/<id>` are names of the same stream.
    pub fn permits(&self, action: Action, path: &str) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        if let Some(own) = path.strip_prefix("stream/") {
            let id = own
                .split_once('/')
                .filter(|(org, _)| *org == self.sub)
                .map(|(_, id)| id);
            return id.is_some_and(|id| match action {
                Action::Subscribe => self.allows(path) || self.allows(&format!("playback/{id}")),
                Action::Publish => self.allows(&format!("publish/{id}")),
            });
        }
        (action == Action::Publish) == path.starts_with("publish/") && self.allows(path)
    }

    /// [`Claims::permits`], as a result.
    pub fn require(&self, action: Action, path: &str) -> Result<(), TokenError> {
        if self.permits(action, path) {
            Ok(())
        } else {
            Err(TokenError::WrongInput)
        }
    }

    fn allows(&self, path: &str) -> bool {
        self.ns.iter().any(|pattern| pattern.matches(path))
    }

    /// What is out of bounds, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let aud = match &self.aud {
            None => &[][..],
            Some(Audience::One(one)) => std::slice::from_ref(one),
            Some(Audience::Many(many)) => many,
        };
        let too_long = |text: &String| text.len() > TEXT_BYTES_MAX;
        if self.ns.is_empty() {
            Some("ns is empty")
        } else if self.ns.len() > PATTERNS_MAX {
            Some("ns has more than 32 patterns")
        } else if !self.ns.iter().all(Pattern::is_valid) {
            Some("a pattern in ns is not valid")
        } else if self.sub.is_empty() || self.sub.contains('/') || too_long(&self.sub) {
            Some("sub is not the id of an organisation")
        } else if too_long(&self.iss) {
            Some("iss is longer than 256 bytes")
        } else if self.jti.as_ref().is_some_and(too_long) {
            Some("jti is longer than 256 bytes")
        } else if aud.len() > PATTERNS_MAX || aud.iter().any(too_long) {
            Some("aud is too long")
        } else {
            None
        }
    }
}

/// One entry of `ns`: a path, or the beginning of one and a `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern such as `playback/lv_1` or `playback/*`; `None` if it is not valid. Valid are up
    /// to 256 printable ASCII characters with no empty segment, and `*` only at the very end and
    /// after the first `/`.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let pattern = Self(text.into());
        pattern.is_valid().then_some(pattern)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` is it, or is one of those it stands for.
    pub fn matches(&self, path: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => path
                .strip_prefix(start)
                .is_some_and(|rest| !rest.is_empty()),
            None => self.0 == path,
        }
    }

    fn is_valid(&self) -> bool {
        let text = self.0.strip_suffix('*').unwrap_or(&self.0);
        let is_wild = text.len() < self.0.len();
        // With a wildcard the last segment may still be empty (`playback/*`), the first may not.
        let whole = if is_wild {
            text.rsplit_once('/').map(|cut| cut.0)
        } else {
            Some(text)
        };
        self.0.len() <= PATTERN_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'*')
            && whole.is_some_and(|whole| whole.split('/').all(|segment| !segment.is_empty()))
    }
}
