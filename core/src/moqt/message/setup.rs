//! SETUP and GOAWAY.
//!
//! SETUP is a run of Key-Value-Pairs, the Setup Options; unknown ones are kept for
//! extensions and otherwise ignored, repeated or not.
//! PATH and AUTHORITY must be those parts of a URI, and PATH may hold a secret
//! in its query, which `Debug` leaves out.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.3, 10.4; options 0x06 and 0x08 since 19.

use super::kind::StreamRole;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError, SessionCode};
use crate::moqt::name::RequestId;
use crate::moqt::parameter::AuthorizationToken;
use crate::moqt::property::{MAX_VALUE_LEN, Pairs, PropertiesBuilder, PropertyValue};
use crate::moqt::uri::{is_authority, is_path_and_query};
use crate::moqt::varint;
use crate::moqt::wire::{Reader, SHORT, put_prefixed};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// Longest New Session URI, in bytes.
pub(super) const MAX_URI_LEN: usize = 8192;

/// Most options of extensions that are kept of a SETUP.
const MAX_OPTIONS: usize = 64;

const PATH: u64 = 0x01;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const MAX_FILTER_RANGES: u64 = 0x06;
const MOQT_IMPLEMENTATION: u64 = 0x07;
const MAX_REQUEST_UPDATES: u64 = 0x08;

/// SETUP (0x2F00).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Path and query, beginning with `/` unless empty; from clients over raw QUIC only.
    pub path: Option<String>,
    /// Host and port; from clients over raw QUIC only.
    pub authority: Option<String>,
    /// Who connects.
    pub authorization_tokens: Vec<AuthorizationToken>,
    /// Bytes of registered tokens that the sender remembers; absent is 0.
    pub max_auth_token_cache_size: Option<u64>,
    /// Most ranges in the range filters of one request (20 and later); absent is 0.
    pub max_filter_ranges: Option<u64>,
    /// Most outstanding REQUEST_UPDATEs on one stream (20 and later); absent is no limit.
    pub max_request_updates: Option<u64>,
    /// Name and version of the sender's software.
    pub implementation: Option<String>,
    /// Options that the draft does not define, in order of type: what an extension negotiates with.
    /// Of those received at most 64 are kept; whoever does not know one ignores it.
    pub options: Vec<SetupOption>,
}

/// A Setup Option of an extension.
#[derive(Clone, PartialEq, Eq)]
pub enum SetupOption {
    /// Of an even type.
    Integer {
        /// The type.
        key: u64,
        /// The value.
        value: u64,
    },
    /// Of an odd type; at most 65,535 bytes.
    Bytes {
        /// The type.
        key: u64,
        /// The value.
        value: Bytes,
    },
}

impl SetupOption {
    /// The type.
    pub const fn key(&self) -> u64 {
        match self {
            Self::Integer { key, .. } | Self::Bytes { key, .. } => *key,
        }
    }
}

impl fmt::Debug for SetupOption {
    /// Leaves bytes out: an extension may put a secret there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { key, value } => write!(f, "0x{key:x}={value}"),
            Self::Bytes { key, value } => write!(f, "0x{key:x}({} bytes)", value.len()),
        }
    }
}

impl Setup {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let profile = draft.profile();
        let mut pairs = PropertiesBuilder::new();
        for (key, text) in [
            (PATH, &self.path),
            (AUTHORITY, &self.authority),
            (MOQT_IMPLEMENTATION, &self.implementation),
        ] {
            if let Some(text) = text {
                pairs = pairs.bytes(key, option_bytes(Bytes::copy_from_slice(text.as_bytes()))?);
            }
        }
        for token in &self.authorization_tokens {
            let mut value = BytesMut::new();
            token.encode(&mut value);
            pairs = pairs.bytes(AUTHORIZATION_TOKEN, option_bytes(value.freeze())?);
        }
        let ranges = self.max_filter_ranges.filter(|_| profile.range_filters);
        let updates = self.max_request_updates;
        let updates = updates.filter(|_| profile.max_request_updates);
        for (key, value) in [
            (MAX_AUTH_TOKEN_CACHE_SIZE, self.max_auth_token_cache_size),
            (MAX_FILTER_RANGES, ranges),
            (MAX_REQUEST_UPDATES, updates),
        ] {
            if let Some(value) = value {
                pairs = pairs.integer(key, value);
            }
        }
        for option in &self.options {
            pairs = match option.clone() {
                SetupOption::Integer { key, .. } | SetupOption::Bytes { key, .. }
                    if is_known(draft, key) =>
                {
                    return Err(EncodeError::Invalid(
                        "an option of the specification must be set by its field",
                    ));
                }
                SetupOption::Integer { key, value } if key.is_multiple_of(2) => {
                    pairs.integer(key, value)
                }
                SetupOption::Bytes { key, value } if !key.is_multiple_of(2) => {
                    pairs.bytes(key, option_bytes(value)?)
                }
                _ => {
                    return Err(EncodeError::Invalid(
                        "options of an even type must be integers, those of an odd type bytes",
                    ));
                }
            };
        }
        out.put_slice(pairs.build().raw());
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let mut setup = Self::default();
        for pair in Pairs::new(reader.take_rest()) {
            let pair = pair?;
            match pair.value {
                PropertyValue::Integer(value) => setup.take_integer(draft, pair.key, value)?,
                PropertyValue::Bytes(value) => setup.take_bytes(pair.key, value)?,
            }
        }
        Ok(setup)
    }

    fn take_integer(&mut self, draft: Draft, key: u64, value: u64) -> Result<(), ProtocolError> {
        let profile = draft.profile();
        match key {
            MAX_AUTH_TOKEN_CACHE_SIZE => once(&mut self.max_auth_token_cache_size, value),
            MAX_FILTER_RANGES if profile.range_filters => once(&mut self.max_filter_ranges, value),
            MAX_REQUEST_UPDATES if profile.max_request_updates => {
                once(&mut self.max_request_updates, value)
            }
            key => {
                self.keep(SetupOption::Integer { key, value });
                Ok(())
            }
        }
    }

    fn take_bytes(&mut self, key: u64, value: &[u8]) -> Result<(), ProtocolError> {
        match key {
            PATH => {
                let fault = ProtocolError::new(SessionCode::MALFORMED_PATH, "PATH is not a path");
                let path = text_of(value).ok_or(fault)?;
                if !is_path_and_query(&path) {
                    return Err(fault);
                }
                once(&mut self.path, path)
            }
            AUTHORITY => {
                let reason = "AUTHORITY is not an authority";
                let fault = ProtocolError::new(SessionCode::MALFORMED_AUTHORITY, reason);
                let authority = text_of(value).ok_or(fault)?;
                if !is_authority(&authority) {
                    return Err(fault);
                }
                once(&mut self.authority, authority)
            }
            AUTHORIZATION_TOKEN => {
                self.authorization_tokens
                    .push(AuthorizationToken::decode(value)?);
                Ok(())
            }
            MOQT_IMPLEMENTATION => {
                let text = String::from_utf8_lossy(value).into_owned();
                once(&mut self.implementation, text)
            }
            key => {
                let value = Bytes::copy_from_slice(value);
                self.keep(SetupOption::Bytes { key, value });
                Ok(())
            }
        }
    }

    fn keep(&mut self, option: SetupOption) {
        if self.options.len() < MAX_OPTIONS {
            self.options.push(option);
        }
    }
}

impl fmt::Debug for Setup {
    /// Leaves the query of the path out: it may hold a key or a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_deref().and_then(|p| p.split('?').next());
        f.debug_struct("Setup")
            .field("path", &path)
            .field("authority", &self.authority)
            .field("authorization_tokens", &self.authorization_tokens)
            .field("max_auth_token_cache_size", &self.max_auth_token_cache_size)
            .field("max_filter_ranges", &self.max_filter_ranges)
            .field("max_request_updates", &self.max_request_updates)
            .field("implementation", &self.implementation)
            .field("options", &self.options)
            .finish()
    }
}

/// Whether the draft gives this type a meaning of its own.
const fn is_known(draft: Draft, key: u64) -> bool {
    let profile = draft.profile();
    match key {
        PATH
        | AUTHORIZATION_TOKEN
        | MAX_AUTH_TOKEN_CACHE_SIZE
        | AUTHORITY
        | MOQT_IMPLEMENTATION => true,
        MAX_FILTER_RANGES => profile.range_filters,
        MAX_REQUEST_UPDATES => profile.max_request_updates,
        _ => false,
    }
}

/// A value that an option can have.
fn option_bytes(value: Bytes) -> Result<Bytes, EncodeError> {
    let len = value.len();
    if len > MAX_VALUE_LEN {
        let (what, max) = ("a setup option", MAX_VALUE_LEN);
        return Err(EncodeError::TooLong { what, len, max });
    }
    Ok(value)
}

fn once<T>(field: &mut Option<T>, value: T) -> Result<(), ProtocolError> {
    if field.replace(value).is_some() {
        return Err(ProtocolError::violation("repeated setup option"));
    }
    Ok(())
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// GOAWAY (0x10): the sender is about to leave, or wants this one request to move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goaway {
    /// Where to go instead; empty is "the same place". Clients must leave it empty.
    pub new_session_uri: String,
    /// How many ms the sender waits before it closes; 0 is "not known".
    pub timeout_ms: u64,
    /// The smallest request of the receiver that was or may have been left unprocessed: on the
    /// control stream in 18, where it must be given. Left out in drafts that do not have it.
    pub request_id: Option<RequestId>,
}

impl Goaway {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let len = self.new_session_uri.len();
        if len > MAX_URI_LEN {
            let (what, max) = ("a new session uri", MAX_URI_LEN);
            return Err(EncodeError::TooLong { what, len, max });
        }
        put_prefixed(self.new_session_uri.as_bytes(), out);
        varint::encode(self.timeout_ms, out);
        if let Some(id) = self.request_id
            && draft.profile().goaway_request_id
        {
            varint::encode(id.0, out);
        }
        Ok(())
    }

    pub(super) fn decode(
        draft: Draft,
        reader: &mut Reader<'_>,
        role: StreamRole,
    ) -> Result<Self, ProtocolError> {
        let len = reader.varint()?;
        if len > MAX_URI_LEN as u64 {
            return Err(ProtocolError::violation(
                "new session uri of more than 8192 bytes",
            ));
        }
        let uri = reader.bytes(usize::try_from(len).map_err(|_| SHORT)?)?;
        let new_session_uri = String::from_utf8_lossy(uri).into_owned();
        let timeout_ms = reader.varint()?;
        let has_id = draft.profile().goaway_request_id && role == StreamRole::Control;
        let request_id = has_id.then(|| reader.varint().map(RequestId)).transpose()?;
        Ok(Self {
            new_session_uri,
            timeout_ms,
            request_id,
        })
    }
}
