//! Where to connect to, and how.
//!
//! A URL is `moqt://`, `moq://` or `quic://host[:port]/path` for raw QUIC, `https://` for WebTransport. Its
//! path says what the session is about (`/playback/<id>?tok=..`, `/publish/<id>?sk=..`).
//! [`RELAY_VARIABLE`] sends every client elsewhere than its URL says: programs that have the name of
//! somebody's relay built in run on another one unchanged.

use crate::trust::{Trust, TrustError};
use mainstem_core::moqt::TrackNamespace;
use mainstem_core::moqt::name::NameError;
use mainstem_core::transport::Carrier;
use mainstem_quic::{SessionUrl, UrlError};
use std::fmt::Write as _;
use std::time::Duration;

/// `host:port`, or with a scheme in front, that takes the place of the same part of every URL.
pub const RELAY_VARIABLE: &str = "MAINSTEM_RELAY";

/// Where to connect to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// See the module's description. May hold a secret in its query.
    pub url: String,
    /// A token or stream key, for a URL that has none.
    pub token: Option<String>,
    /// How to know the relay.
    pub trust: Trust,
    /// How long there may be no session, or nothing of what a `/playback/` URL is about, before the
    /// client gives up; `None` for ever.
    pub patience: Option<Duration>,
}

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL.
    #[error("the relay's url: {0}")]
    Url(#[from] UrlError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The namespace of the URL's path, or of a track.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The URL names no stream.
    #[error("the url names no stream: expected a path such as /playback/<id>")]
    NoStream,
}

impl std::fmt::Debug for Config {
    /// Leaves secrets out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        write!(f, "{url} {:?}", self.trust)
    }
}

impl Config {
    /// A client of this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// The URL to connect to, with the token in it.
    pub(crate) fn session_url(&self) -> Result<SessionUrl, UrlError> {
        let elsewhere = std::env::var(RELAY_VARIABLE).unwrap_or_default();
        self.url_at(&elsewhere)
    }

    fn url_at(&self, elsewhere: &str) -> Result<SessionUrl, UrlError> {
        let mut url = self.url.clone();
        if !elsewhere.is_empty() {
            url = moved(&url, elsewhere);
        }
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            url = with_token(&url, token);
        }
        url.parse()
    }

    /// The namespace that the URL's path stands for: `/playback/lv_1?tok=..` is `playback/lv_1`.
    pub(crate) fn namespace(&self) -> Result<TrackNamespace, ConfigError> {
        let url: SessionUrl = self.url.parse()?;
        let path = url.target.path.split('?').next().unwrap_or_default();
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Err(ConfigError::NoStream);
        }
        Ok(TrackNamespace::from_path(path)?)
    }
}

/// A URL as text, for those who read it once more.
pub(crate) fn text_of(url: &SessionUrl) -> String {
    let scheme = match url.carrier {
        Carrier::Quic => "moqt",
        Carrier::WebTransport => "https",
    };
    format!("{scheme}://{}{}", url.target.authority, url.target.path)
}

/// The URL with another authority, and with another scheme if `elsewhere` has one.
fn moved(url: &str, elsewhere: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("moqt", url));
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    let elsewhere = elsewhere.trim_end_matches('/');
    match elsewhere.split_once("://") {
        Some(_) => format!("{elsewhere}{path}"),
        None => format!("{scheme}://{elsewhere}{path}"),
    }
}

/// The URL with a token, unless it has one. A publisher's is its stream key.
fn with_token(url: &str, token: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut names = query.split('&').filter_map(|pair| pair.split('=').next());
    if names.any(|name| matches!(name, "sk" | "tok" | "jwt")) {
        return url.to_owned();
    }
    let name = if path.contains("/publish/") {
        "sk"
    } else {
        "tok"
    };
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{name}={}", percent_encoded(token))
}

/// What stands in a query as itself, and everything else as `%41`.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str, token: Option<&str>, elsewhere: &str) -> String {
        let config = Config {
            token: token.map(str::to_owned),
            ..Config::new(url)
        };
        let url = config.url_at(elsewhere).unwrap();
        format!("{}:{}{}", url.host, url.port, url.target.path)
    }

    #[test]
    fn tokens_go_where_the_relay_looks_for_them() {
        for (url, token, expected) in [
            ("moq://h/playback/a", "t", "h:443/playback/a?tok=t"),
            ("moq://h/publish/a", "k&k", "h:443/publish/a?sk=k%26k"),
            ("quic://h:4443", "t", "h:4443/?tok=t"),
            ("moq://h/a?x=1", "t", "h:443/a?x=1&tok=t"),
            ("moq://h/a?tok=mine", "t", "h:443/a?tok=mine"),
        ] {
            assert_eq!(at(url, Some(token), ""), expected);
        }
        assert_eq!(at("moq://h/a", Some(""), ""), "h:443/a");
    }

    #[test]
    fn another_relay_takes_the_place_of_the_one_that_is_built_in() {
        let url = "moq://relay.example/playback/a?tok=t";
        let expected = "127.0.0.1:4443/playback/a?tok=t";
        assert_eq!(at(url, None, "127.0.0.1:4443"), expected);
        assert_eq!(at(url, None, "https://127.0.0.1:4443/"), expected);
        assert_eq!(at("quic://a:1", None, "[::1]:2"), "::1:2/");
    }

    #[test]
    fn the_path_names_the_stream_and_secrets_are_not_shown() {
        let config = Config::new("moqt://h:1/playback/lv_1?tok=secret");
        let named = config.namespace().unwrap();
        assert_eq!(named, TrackNamespace::from_path("playback/lv_1").unwrap());
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(
            Config::new("moqt://h").namespace(),
            Err(ConfigError::NoStream)
        );
    }
}
