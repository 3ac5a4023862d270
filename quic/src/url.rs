//! Where to connect to: `moqt://host[:port]/path` (also `moq://`, `quic://`) over raw QUIC,
//! `https://` over WebTransport.
//!
//! Names are resolved by the driver; a URL becomes a [`ConnectRequest`](crate::ConnectRequest)
//! together with an address.

use mainstem_core::transport::{Carrier, Target};
use std::str::FromStr;

/// A parsed URL of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionUrl {
    /// `moqt`, `moq` and `quic` are raw QUIC, `https` is WebTransport.
    pub carrier: Carrier,
    /// Host name or address, without the brackets of IPv6.
    pub host: String,
    /// UDP port; 443 when the URL names none.
    pub port: u16,
    /// Authority and path as written; the path is `/` when the URL has none.
    pub target: Target,
}

/// Why a URL names no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme.
    #[error("expected a moqt:// or https:// URL")]
    Scheme,
    /// No host, or characters that a host cannot have.
    #[error("expected a host name or address in the URL")]
    Host,
    /// Not a port number.
    #[error("expected a port from 1 to 65535 in the URL")]
    Port,
    /// Spaces, control or non-ASCII characters.
    #[error("expected a path of printable ASCII characters in the URL")]
    Path,
}

impl FromStr for SessionUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        // SDKs in the field write moq:// and quic:// for what the drafts call moqt://.
        let raw = ["moqt://", "moq://", "quic://"];
        let (carrier, rest) =
            if let Some(rest) = raw.iter().find_map(|scheme| strip_scheme(url, scheme)) {
                (Carrier::Quic, rest)
            } else if let Some(rest) = strip_scheme(url, "https://") {
                (Carrier::WebTransport, rest)
            } else {
                return Err(UrlError::Scheme);
            };
        let rest = rest.split('#').next().unwrap_or_default();
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path);
        }
        let (host, port) = split_authority(authority)?;
        Ok(Self {
            carrier,
            host: host.to_owned(),
            port,
            target: Target {
                authority: authority.to_owned(),
                path,
            },
        })
    }
}

impl SessionUrl {
    /// Where a peer's GOAWAY sends a session of this URL. An empty URI means the same place; one
    /// without a path keeps this path, which says what the session is about. `moqt://` stands for
    /// both ways to carry a session, so the way stays.
    pub fn moved_to(&self, uri: &str) -> Result<Self, UrlError> {
        if uri.is_empty() {
            return Ok(self.clone());
        }
        let mut moved: Self = uri.parse()?;
        if strip_scheme(uri, "https://").is_none() {
            moved.carrier = self.carrier;
        }
        if moved.target.path == "/" {
            moved.target.path.clone_from(&self.target.path);
        }
        Ok(moved)
    }
}

impl std::fmt::Debug for SessionUrl {
    /// Leaves the query out: it may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.carrier, self.target)
    }
}

fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let head = url.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme)
        .then(|| url.get(scheme.len()..).unwrap_or_default())
}

fn split_authority(authority: &str) -> Result<(&str, u16), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::Host);
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(UrlError::Host),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => 443,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(UrlError::Port)?,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_spec_covers::covers;

    #[test]
    fn a_session_moves_with_its_path_and_its_way() {
        let old: SessionUrl = "https://a:1/playback/x?tok=t".parse().unwrap();
        let moved = |uri: &str| old.moved_to(uri).unwrap();
        assert_eq!(moved(""), old);
        let elsewhere = moved("moqt://b:2");
        assert_eq!((elsewhere.host.as_str(), elsewhere.port), ("b", 2));
        assert_eq!(elsewhere.carrier, Carrier::WebTransport);
        assert_eq!(elsewhere.target.path, "/playback/x?tok=t");
        assert_eq!(moved("moqt://b:2/other").target.path, "/other");
        assert!(old.moved_to("b:2").is_err());
    }

    #[test]
    fn urls_name_carrier_host_port_and_target() {
        let url: SessionUrl = "https://relay.example:4433/live?jwt=x".parse().unwrap();
        assert_eq!(url.carrier, Carrier::WebTransport);
        assert_eq!((url.host.as_str(), url.port), ("relay.example", 4433));
        assert_eq!(url.target.authority, "relay.example:4433");
        assert_eq!(url.target.path, "/live?jwt=x");
        assert!(!format!("{url:?}").contains("jwt"));

        let url: SessionUrl = "MOQT://[::1]".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 443));
        assert_eq!(url.carrier, Carrier::Quic);
        assert_eq!(url.target.path, "/");
        assert_eq!(
            "moqt://h?a=1".parse::<SessionUrl>().unwrap().target.path,
            "/?a=1"
        );
    }

    #[test]
    fn what_is_no_session_url_is_refused_by_name() {
        covers!("MOQT19-3.1.1-1");
        let refused = |url: &str| url.parse::<SessionUrl>().unwrap_err();
        assert_eq!(refused("http://h/"), UrlError::Scheme);
        assert_eq!(refused("moqt:///x"), UrlError::Host);
        assert_eq!(refused("https://u:p@h/"), UrlError::Host);
        assert_eq!(refused("https://h:0/"), UrlError::Port);
        assert_eq!(refused("https://h:99999/"), UrlError::Port);
        assert_eq!(refused("https://h/a b"), UrlError::Path);
        assert_eq!(refused("https://h/é"), UrlError::Path);
    }
}
