//! Where a publish is addressed to: the input and the stream key in an RTMP URL.
//!
//! An encoder splits the URL before it sends it, and each does so in its own way:
//!
//! | what the person typed | app | stream name |
//! |---|---|---|
//! | OBS: server `rtmp://host/live/<input>`, key `<sk>` | `live/<input>` | `<sk>` |
//! | `rtmp://host/live/<input>/<sk>` (ffmpeg) | `live/<input>` | `<sk>` |
//! | the same, split after the first segment | `live` | `<input>/<sk>` |
//! | `rtmp://host/live/<input>?sk=<sk>` | `live` | `<input>?sk=<sk>` |
//! | OBS: server with `?sk=`, empty key | `live/<input>?sk=<sk>` | empty |
//! | OBS: server `rtmp://host/live`, key `<input>?sk=<sk>` | `live` | `<input>?sk=<sk>` |
//!
//! [`target`] puts the parts together again and reads the whole: path `/live/<input>` and then the
//! key as a third segment or as query parameter `sk` (percent-decoded). The query of `tcUrl` is
//! read too, and its path when `app` is empty.

use std::fmt;

/// First path segment of every ingest URL.
const APP: &str = "live";
/// Longest input name and stream key, in bytes.
const NAME_BYTES_MAX: usize = 128;
const KEY_BYTES_MAX: usize = 512;

/// A string that must not be seen: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for verifying it. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Input and key of a publish request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishTarget {
    /// Name of the live input: letters, digits, `-` and `_`, 1 to 128 bytes.
    pub input: String,
    /// The stream key, 1 to 512 printable ASCII bytes. Not verified here.
    pub stream_key: Secret,
}

/// Why a publish request names no input and key. The messages are fit for the encoder's screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The path does not begin with `live`.
    #[error("expected rtmp://host/live/<input>, the path does not begin with live")]
    App,
    /// No input, or one with characters that no input has.
    #[error("expected rtmp://host/live/<input>, the input is missing or not a name")]
    Input,
    /// More segments than input and key.
    #[error("expected rtmp://host/live/<input>/<stream key>, the path has more segments")]
    Path,
    /// No key in path or query.
    #[error("stream key is missing: give it as stream name or as ?sk=")]
    KeyMissing,
    /// A key that is too long or not printable ASCII.
    #[error("stream key is not printable ascii of at most 512 characters")]
    KeyForm,
    /// Two different keys.
    #[error("two different stream keys: give it once")]
    KeyTwice,
}

/// Input and stream key of what `connect` (`app`, `tcUrl`) and `publish` (`stream_name`) said.
///
/// ```
/// use mainstem_core::rtmp::target::target;
/// let target = target("live", "lv_1?sk=abc", "rtmp://example.com/live").unwrap();
/// assert_eq!((target.input.as_str(), target.stream_key.expose()), ("lv_1", "abc"));
/// ```
pub fn target(app: &str, stream_name: &str, tc_url: &str) -> Result<PublishTarget, TargetError> {
    let (app_path, app_query) = split_query(app);
    let (name_path, name_query) = split_query(stream_name);
    let (url_path, url_query) = split_query(tc_url);
    let app_path = if app_path.is_empty() {
        path_of_url(url_path)
    } else {
        app_path
    };
    let mut segments = app_path
        .split('/')
        .chain(name_path.split('/'))
        .filter(|segment| !segment.is_empty());
    if segments.next() != Some(APP) {
        return Err(TargetError::App);
    }
    let input = segments.next().ok_or(TargetError::Input)?;
    let in_path = segments.next();
    if segments.next().is_some() {
        return Err(TargetError::Path);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if input.len() > NAME_BYTES_MAX || !input.bytes().all(is_name) {
        return Err(TargetError::Input);
    }
    let keys = [name_query, app_query, url_query]
        .into_iter()
        .filter_map(key_in_query)
        .chain(in_path);
    Ok(PublishTarget {
        input: input.to_owned(),
        stream_key: Secret(one_key(keys)?),
    })
}

/// The one key that all places agree on, decoded.
fn one_key<'a>(keys: impl Iterator<Item = &'a str>) -> Result<String, TargetError> {
    let mut found: Option<String> = None;
    for key in keys {
        let key = percent_decoded(key).ok_or(TargetError::KeyForm)?;
        if key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TargetError::KeyForm);
        }
        if found.as_ref().is_some_and(|found| *found != key) {
            return Err(TargetError::KeyTwice);
        }
        found = Some(key);
    }
    found.ok_or(TargetError::KeyMissing)
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// The path of `scheme://authority/path`, without the leading slash.
fn path_of_url(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.split_once('/').map_or("", |(_, path)| path)
}

/// The value of the first non-empty parameter `sk`.
fn key_in_query(query: &str) -> Option<&str> {
    query
        .split('&')
        .filter_map(|parameter| parameter.strip_prefix("sk="))
        .find(|value| !value.is_empty())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(app: &str, name: &str, url: &str) -> Result<(String, String), TargetError> {
        target(app, name, url).map(|target| (target.input, target.stream_key.0))
    }

    #[test]
    fn every_way_to_split_the_url_names_the_same_target() {
        let url = "rtmp://example.com:1935/live";
        let want = Ok(("lv_1".to_owned(), "sk-9/+".to_owned()));
        for (app, name, tc_url) in [
            ("live/lv_1", "sk-9%2F+", "rtmp://example.com/live/lv_1"),
            ("live/lv_1/", "sk-9%2f+", ""),
            ("/live", "lv_1/sk-9%2F+", url),
            ("live", "lv_1?sk=sk-9%2F+", url),
            ("live", "lv_1?x=1&sk=sk-9/+", url),
            ("live/lv_1?sk=sk-9%2F+", "", url),
            ("live/lv_1", "?sk=sk-9/%2B", url),
            ("live", "lv_1", "rtmp://example.com/live?sk=sk-9/+"),
            (
                "live/lv_1?sk=sk-9/+",
                "sk-9%2F+",
                "rtmp://h/live/lv_1?sk=sk-9/+",
            ),
            ("", "sk-9%2F+", "rtmps://example.com/live/lv_1"),
        ] {
            assert_eq!(parts(app, name, tc_url), want, "{app} {name} {tc_url}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (app, name, error) in [
            ("", "", TargetError::App),
            ("vod/lv_1", "sk", TargetError::App),
            ("live", "", TargetError::Input),
            ("live/lv 1", "sk", TargetError::Input),
            ("live", "lv_1/sk/more", TargetError::Path),
            ("live", "lv_1", TargetError::KeyMissing),
            ("live", "lv_1?sk=", TargetError::KeyMissing),
            ("live/lv_1?sk=a", "b", TargetError::KeyTwice),
            ("live/lv_1", "a%2", TargetError::KeyForm),
            ("live/lv_1", "a b", TargetError::KeyForm),
            ("live/lv_1", long.as_str(), TargetError::KeyForm),
        ] {
            assert_eq!(parts(app, name, ""), Err(error), "{app} {name}");
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let target = target("live/lv_1", "hunter2", "").unwrap();
        let shown = format!("{target:?}");
        assert!(
            shown.contains("lv_1") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
