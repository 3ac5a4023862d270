//! `moqt://` URIs: where a session goes, and what the client does there first.
//!
//! `moqt://authority path-abempty [?query] [#type:value]`. The authority has a host; its port is 443
//! when left out. Over WebTransport the scheme becomes `https`; over raw QUIC authority, path and
//! query go into SETUP. The fragment is never sent: it is for the application, after the session is
//! up.
//!
//! A query may hold a key or a token, and a fragment or user information too, so neither `Display`
//! nor `Debug` shows them; [`MoqtUri::to_https`] and [`MoqtUri::target`] do.
//!
//! Bound: 8,192 bytes, the longest New Session URI. Errors: [`UriError`]. Source:
//! draft-ietf-moq-transport-18, Sections 3.1.1, 3.1.2, 10.3.1.1, 10.3.1.2; RFC 3986, Section 3.

use crate::transport::Target;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest URI, in bytes.
pub const MAX_LEN: usize = 8192;
/// The port of a URI without one.
pub const DEFAULT_PORT: u16 = 443;

/// Why a text is not a `moqt://` URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// Longer than [`MAX_LEN`].
    #[error("a moqt URI has at most {MAX_LEN} bytes, this one has {len}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Another scheme, or none.
    #[error("expected a URI that begins with moqt://")]
    Scheme,
    /// No host.
    #[error("the URI has no host: expected moqt://host[:port]/path")]
    NoHost,
    /// Host, port or user information with characters that they cannot have.
    #[error("the URI's authority is not host[:port]")]
    Authority,
    /// A path with characters that it cannot have.
    #[error("the URI's path has a character that must be percent-encoded")]
    Path,
    /// A query with characters that it cannot have.
    #[error("the URI's query has a character that must be percent-encoded")]
    Query,
    /// A fragment that is not `type:value`.
    #[error("the URI's fragment is not type:value with a type of a-z, 0-9 and -")]
    Fragment,
}

/// A `moqt://` URI, valid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoqtUri {
    authority: String,
    /// Where the host is in the authority.
    host: (usize, usize),
    port: Option<u16>,
    path: String,
    query: Option<String>,
    fragment: Option<(String, String)>,
}

impl MoqtUri {
    /// Host and port, and user information if there is any, as written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let (start, end) = self.host;
        self.authority.get(start..end).unwrap_or_default()
    }

    /// The port, [`DEFAULT_PORT`] when none is written.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// The path: empty, or beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Type and value of the fragment.
    pub fn fragment(&self) -> Option<(&str, &str)> {
        let (kind, value) = self.fragment.as_ref()?;
        Some((kind, value))
    }

    /// What PATH says in SETUP: path, and query if there is one. Holds secrets.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Where a client connects to. Holds secrets, which its `Debug` leaves out.
    pub fn target(&self) -> Target {
        Target {
            authority: self.authority.clone(),
            path: self.path_and_query(),
        }
    }

    /// The same place for WebTransport. Holds secrets.
    pub fn to_https(&self) -> String {
        format!("https://{}{}", self.authority, self.path_and_query())
    }
}

impl FromStr for MoqtUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_LEN {
            return Err(UriError::TooLong { len: text.len() });
        }
        let (scheme, rest) = text.split_once("://").ok_or(UriError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("moqt") {
            return Err(UriError::Scheme);
        }
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment_of(fragment)?)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_at).unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority)?;
        if !is_made_of(path, b"/:@") {
            return Err(UriError::Path);
        }
        if query.is_some_and(|query| !is_made_of(query, b"/?:@")) {
            return Err(UriError::Query);
        }
        Ok(Self {
            authority: authority.to_owned(),
            host,
            port,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            fragment,
        })
    }
}

impl fmt::Display for MoqtUri {
    /// The URI without what may be secret: user information, query and fragment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.authority.rsplit('@').next().unwrap_or_default();
        write!(f, "moqt://{shown}{}", self.path)
    }
}

impl fmt::Debug for MoqtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether PATH in SETUP is `path-abempty [?query]`.
pub(super) fn is_path_and_query(text: &str) -> bool {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    (path.is_empty() || path.starts_with('/'))
        && is_made_of(path, b"/:@")
        && is_made_of(query, b"/?:@")
}

/// Whether AUTHORITY in SETUP is an authority with a host.
pub(super) fn is_authority(text: &str) -> bool {
    host_and_port(text).is_ok()
}

/// Where the host is in an authority, and the port.
fn host_and_port(authority: &str) -> Result<((usize, usize), Option<u16>), UriError> {
    let start = match authority.rsplit_once('@') {
        Some((user, _)) if !is_made_of(user, b":") => return Err(UriError::Authority),
        Some((user, _)) => user.len().saturating_add(1),
        None => 0,
    };
    let rest = authority.get(start..).unwrap_or_default();
    let (host, port, start) = if let Some(literal) = rest.strip_prefix('[') {
        let (host, port) = literal.split_once(']').ok_or(UriError::Authority)?;
        let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
        let is_future = host.starts_with(['v', 'V']) && is_made_of(host, b":");
        if !is_address && !is_future {
            return Err(UriError::Authority);
        }
        (host, port, start.saturating_add(1))
    } else {
        let at = rest.find(':').unwrap_or(rest.len());
        let (host, port) = rest.split_at_checked(at).unwrap_or((rest, ""));
        if !is_made_of(host, b"") {
            return Err(UriError::Authority);
        }
        (host, port, start)
    };
    if host.is_empty() {
        return Err(UriError::NoHost);
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| UriError::Authority)?)
        }
        None | Some(_) => return Err(UriError::Authority),
    };
    Ok(((start, start.saturating_add(host.len())), port))
}

fn fragment_of(text: &str) -> Result<(String, String), UriError> {
    let (kind, value) = text.split_once(':').ok_or(UriError::Fragment)?;
    let is_type = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if kind.is_empty() || !kind.bytes().all(is_type) || !is_made_of(value, b"/?:@") {
        return Err(UriError::Fragment);
    }
    Ok((kind.to_owned(), value.to_owned()))
}

/// Whether a part of a URI has unreserved characters, sub-delimiters, percent-encoded bytes and these
/// others only.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=".contains(&byte)
            || others.contains(&byte);
        let is_encoded = byte == b'%'
            && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
            && bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
        if !is_plain && !is_encoded {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_spec_covers::covers;

    fn parse(text: &str) -> Result<MoqtUri, UriError> {
        text.parse()
    }

    #[test]
    fn parts_of_a_uri_are_found() {
        let uri = parse("moqt://user@host.test:4443/live/a%20b?key=s3cret&x=/?#play:abc").unwrap();
        assert_eq!(uri.authority(), "user@host.test:4443");
        assert_eq!((uri.host(), uri.port()), ("host.test", 4443));
        assert_eq!(uri.path(), "/live/a%20b");
        assert_eq!(uri.query(), Some("key=s3cret&x=/?"));
        assert_eq!(uri.fragment(), Some(("play", "abc")));
        assert_eq!(
            uri.to_https(),
            "https://user@host.test:4443/live/a%20b?key=s3cret&x=/?"
        );
        assert_eq!(uri.target().path, "/live/a%20b?key=s3cret&x=/?");
        for shown in [uri.to_string(), format!("{uri:?}")] {
            assert_eq!(shown, "moqt://host.test:4443/live/a%20b");
        }
    }

    #[test]
    fn what_may_be_left_out_has_its_default() {
        let uri = parse("MOQT://[2001:db8::1]").unwrap();
        assert_eq!(
            (uri.host(), uri.port(), uri.path()),
            ("2001:db8::1", 443, "")
        );
        assert_eq!(uri.to_https(), "https://[2001:db8::1]");
        assert_eq!(parse("moqt://h:?q").unwrap().path_and_query(), "?q");
        assert_eq!(parse("moqt://h:/").unwrap().port(), 443);
    }

    #[test]
    fn what_is_not_a_moqt_uri_is_told_by_name() {
        covers!("MOQT19-3.1.1-1", "MOQT19-3.1.2-1", "MOQT19-3.1.2-2");
        for (text, error) in [
            ("https://h/", UriError::Scheme),
            ("moqt:h/", UriError::Scheme),
            ("", UriError::Scheme),
            ("moqt://", UriError::NoHost),
            ("moqt:///path", UriError::NoHost),
            ("moqt://:443/", UriError::NoHost),
            ("moqt://h:port/", UriError::Authority),
            ("moqt://h:65536/", UriError::Authority),
            ("moqt://h:+1/", UriError::Authority),
            ("moqt://[::1/", UriError::Authority),
            ("moqt://[::g]/", UriError::Authority),
            ("moqt://[::1]443/", UriError::Authority),
            ("moqt://h o/", UriError::Authority),
            ("moqt://h/a b", UriError::Path),
            ("moqt://h/%2", UriError::Path),
            ("moqt://h/%zz", UriError::Path),
            ("moqt://h/[", UriError::Path),
            ("moqt://h/?a\"", UriError::Query),
            ("moqt://h/#", UriError::Fragment),
            ("moqt://h/#:v", UriError::Fragment),
            ("moqt://h/#Play:v", UriError::Fragment),
            ("moqt://h/#play", UriError::Fragment),
            ("moqt://h/#play:#", UriError::Fragment),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let long = format!("moqt://h/{}", "a".repeat(MAX_LEN));
        assert!(matches!(parse(&long), Err(UriError::TooLong { .. })));
    }
}
