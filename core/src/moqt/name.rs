//! Names and places: request ids, track aliases, locations, namespaces, track names.
//!
//! A namespace is 0 to 32 fields of at least one byte each; it and the track name together take at
//! most 4,096 bytes. Names are bytes and are compared as bytes. Cloning costs a reference count.
//! Names that came from the wire own their memory: they outlive the packets they came in.
//!
//! [`std::fmt::Display`] gives the specification's safe form: fields joined by `-`, `--` before the
//! track name, bytes outside `[A-Za-z0-9_]` as `.` and two hex digits. [`std::str::FromStr`] reads
//! it back; each name has exactly one such form, so any other spelling is refused.
//!
//! Source: draft-ietf-moq-transport-18, Sections 1.4.2, 1.5, 1.5.1, 2.4.1.

use super::error::ProtocolError;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Most fields of a namespace.
pub const MAX_NAMESPACE_FIELDS: usize = 32;
/// Most bytes of a full track name, fields and name together.
pub const MAX_FULL_NAME_LEN: usize = 4096;

/// Names a request within a session: even from the client, odd from the server, rising by two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Stands for a track on data streams and datagrams; chosen by the publisher, per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackAlias(pub u64);

/// The place of an object in its track. Ordered by group, then object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Group id.
    pub group: u64,
    /// Object id within the group.
    pub object: u64,
}

impl Location {
    /// The first place of every track, `{0, 0}`.
    pub const ZERO: Self = Self::new(0, 0);

    /// A place.
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}, {}}}", self.group, self.object)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why something is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// A field without bytes.
    #[error("a namespace field must have at least one byte")]
    EmptyField,
    /// More than 32 fields.
    #[error("a namespace has at most 32 fields")]
    TooManyFields,
    /// More than 4,096 bytes.
    #[error("a full track name has at most 4096 bytes")]
    TooLong,
}

/// Why a text is not the safe form of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseNameError {
    /// A character that has to be written as `.` and two lower case hex digits, or a byte written so
    /// that stands for itself, or a `.` without two such digits.
    #[error("a name's bytes are a-z, A-Z, 0-9 and _, all others `.` and two lower case hex digits")]
    Spelling,
    /// No `--` between namespace and track name, or more than one.
    #[error("a full track name has one `--` between namespace and track name")]
    Separator,
    /// Spelled well, and not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl From<NameError> for ProtocolError {
    fn from(error: NameError) -> Self {
        Self::violation(match error {
            NameError::EmptyField => "namespace field without bytes",
            NameError::TooManyFields => "namespace of more than 32 fields",
            NameError::TooLong => "full track name of more than 4096 bytes",
        })
    }
}

/// An ordered tuple of 0 to 32 fields; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNamespace(Arc<[Bytes]>);

impl TrackNamespace {
    /// A namespace of these fields.
    pub fn new<I>(fields: I) -> Result<Self, NameError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        let mut total = 0_usize;
        let mut kept = Vec::new();
        for field in fields {
            let field = field.into();
            total = total.saturating_add(field.len());
            if field.is_empty() {
                return Err(NameError::EmptyField);
            }
            if kept.len() == MAX_NAMESPACE_FIELDS {
                return Err(NameError::TooManyFields);
            }
            if total > MAX_FULL_NAME_LEN {
                return Err(NameError::TooLong);
            }
            kept.push(field);
        }
        Ok(Self(kept.into()))
    }

    /// The same, from borrowed fields, copied into one allocation.
    pub fn copied_from(fields: &[&[u8]]) -> Result<Self, NameError> {
        let total = fields.iter().map(|f| f.len()).sum::<usize>();
        if total > MAX_FULL_NAME_LEN {
            return Err(NameError::TooLong);
        }
        let mut all = BytesMut::with_capacity(total);
        for field in fields {
            all.extend_from_slice(field);
        }
        let mut all = all.freeze();
        Self::new(fields.iter().map(|f| all.split_to(f.len())))
    }

    /// A namespace from a path: `live/alice` has the fields `live` and `alice`. A slash at either
    /// end is ignored; the empty path is the empty namespace.
    pub fn from_path(path: &str) -> Result<Self, NameError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self::default());
        }
        let fields: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        Self::copied_from(&fields)
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all fields together.
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether `prefix` equals the first fields of this namespace. Every namespace has itself and
    /// the empty namespace as prefixes.
    pub fn has_prefix(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The fields after `prefix`, or `None` when it is not a prefix.
    pub fn suffix_after(&self, prefix: &Self) -> Option<Self> {
        let suffix = self.0.strip_prefix(&*prefix.0)?;
        Some(Self(suffix.into()))
    }

    /// This namespace followed by the fields of `suffix`.
    pub fn joined(&self, suffix: &Self) -> Result<Self, NameError> {
        Self::new(self.0.iter().chain(suffix.0.iter()).cloned())
    }
}

impl Default for TrackNamespace {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl fmt::Display for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("-")?;
            }
            render(field, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

/// A track's name within its namespace; may be empty.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackName(pub Bytes);

impl From<&'static str> for TrackName {
    fn from(name: &'static str) -> Self {
        Self(Bytes::from_static(name.as_bytes()))
    }
}

impl From<String> for TrackName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render(&self.0, f)
    }
}

impl fmt::Debug for TrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

/// What identifies a track: namespace and name, at most 4,096 bytes together. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullTrackName {
    /// The namespace.
    pub namespace: TrackNamespace,
    /// The name within it.
    pub name: TrackName,
}

impl FullTrackName {
    /// The track `name` of `namespace`.
    pub fn new(namespace: TrackNamespace, name: TrackName) -> Result<Self, NameError> {
        if namespace.byte_len().saturating_add(name.0.len()) > MAX_FULL_NAME_LEN {
            return Err(NameError::TooLong);
        }
        Ok(Self { namespace, name })
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.namespace, self.name)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

impl FromStr for TrackNamespace {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let fields: Result<Vec<Bytes>, _> = text.split('-').map(parse).collect();
        Ok(Self::new(fields?)?)
    }
}

impl FromStr for TrackName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text).map(Self)
    }
}

impl FromStr for FullTrackName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (namespace, name) = text.split_once("--").ok_or(ParseNameError::Separator)?;
        if name.contains('-') {
            return Err(ParseNameError::Separator);
        }
        Ok(Self::new(namespace.parse()?, name.parse()?)?)
    }
}

fn parse(text: &str) -> Result<Bytes, ParseNameError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if is_literal(byte) {
            out.push(byte);
            continue;
        }
        if byte != b'.' {
            return Err(ParseNameError::Spelling);
        }
        let mut digit = || match bytes.next() {
            Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
            Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
            _ => Err(ParseNameError::Spelling),
        };
        let byte = digit()? << 4 | digit()?;
        if is_literal(byte) {
            return Err(ParseNameError::Spelling);
        }
        out.push(byte);
    }
    Ok(out.into())
}

const fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn render(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for &byte in bytes {
        if is_literal(byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_spec_covers::covers;

    #[test]
    fn the_safe_form_is_the_specifications_example() {
        covers!("MOQT19-1.5-1");
        let namespace =
            TrackNamespace::copied_from(&[b"example.net", b"team2", b"project_x"]).unwrap();
        let track = FullTrackName::new(namespace, "report".into()).unwrap();
        assert_eq!(track.to_string(), "example.2enet-team2-project_x--report");
        assert_eq!("example.2enet-team2-project_x--report".parse(), Ok(track));
    }

    #[test]
    fn a_name_has_one_safe_form() {
        covers!(
            "MOQT19-1.5.1-1",
            "MOQT19-1.5.1-2",
            "MOQT19-1.5.1-4",
            "MOQT19-1.5.1-5"
        );
        let spelling = [
            ".61--x",
            "a.2E--x",
            "a.2--x",
            "a.--x",
            "a.zz--x",
            "a b--x",
            "a--.5f",
            "\u{e9}--x",
        ];
        for text in spelling {
            let parsed: Result<FullTrackName, _> = text.parse();
            assert_eq!(parsed, Err(ParseNameError::Spelling), "{text}");
        }
        for text in ["a", "a-b", "a---b", "a--b--c", "a--b-c"] {
            let parsed: Result<FullTrackName, _> = text.parse();
            assert_eq!(parsed, Err(ParseNameError::Separator), "{text}");
        }
        let empty_field: Result<TrackNamespace, _> = "a--b".parse();
        assert_eq!(empty_field, Err(NameError::EmptyField.into()));
        for text in ["--", "--x", "a--", ".00.ff-.2d--.2e.20"] {
            let track: FullTrackName = text.parse().unwrap();
            assert_eq!(track.to_string(), text);
        }
    }

    #[test]
    fn each_byte_has_its_one_spelling() {
        covers!("MOQT19-1.5.1-3", "MOQT19-1.5.1-4");
        for byte in 0..=u8::MAX {
            let namespace = TrackNamespace::copied_from(&[&[byte]]).unwrap();
            let track = FullTrackName::new(namespace, TrackName::default()).unwrap();
            let is_literal = byte.is_ascii_alphanumeric() || byte == b'_';
            let in_hex = format!(".{byte:02x}--");
            if is_literal {
                assert_eq!(track.to_string(), format!("{}--", char::from(byte)));
                let parsed: Result<FullTrackName, _> = in_hex.parse();
                assert_eq!(parsed, Err(ParseNameError::Spelling), "{in_hex}");
            } else {
                assert_eq!(track.to_string(), in_hex);
                assert_eq!(in_hex.parse(), Ok(track));
            }
        }
    }

    #[test]
    fn prefixes_are_whole_fields() {
        let all = TrackNamespace::from_path("live/alice/cam").unwrap();
        let live = TrackNamespace::from_path("/live/").unwrap();
        let li = TrackNamespace::from_path("li").unwrap();
        assert!(all.has_prefix(&live) && all.has_prefix(&all));
        assert!(all.has_prefix(&TrackNamespace::default()));
        assert!(!all.has_prefix(&li) && !live.has_prefix(&all));
        let suffix = all.suffix_after(&live).unwrap();
        assert_eq!(suffix, TrackNamespace::from_path("alice/cam").unwrap());
        assert_eq!(live.joined(&suffix).unwrap(), all);
        assert_eq!(all.suffix_after(&li), None);
    }

    #[test]
    fn bounds_of_names_hold() {
        covers!("MOQT19-2.4.1-1");
        let field = Bytes::from_static(b"x");
        assert!(TrackNamespace::new(vec![field.clone(); 32]).is_ok());
        assert_eq!(
            TrackNamespace::new(vec![field.clone(); 33]),
            Err(NameError::TooManyFields)
        );
        assert_eq!(
            TrackNamespace::from_path("a//b"),
            Err(NameError::EmptyField)
        );
        let long = Bytes::from(vec![b'x'; 4096]);
        let namespace = TrackNamespace::new([long.clone()]).unwrap();
        assert_eq!(TrackNamespace::new([long, field]), Err(NameError::TooLong));
        assert!(FullTrackName::new(namespace.clone(), TrackName::default()).is_ok());
        assert_eq!(
            FullTrackName::new(namespace, "x".into()),
            Err(NameError::TooLong)
        );
    }
}
