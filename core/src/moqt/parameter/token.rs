//! AUTHORIZATION TOKEN (0x03), the same structure in parameters and Setup Options.
//!
//! What cannot be read closes the session with KEY_VALUE_FORMATTING_ERROR. Whether a token is
//! valid, known or expired is for the session and its owner to say. Values are secrets: they are
//! never part of `Debug` output.
//!
//! Source: draft-ietf-moq-transport-18, Section 10.2.2.

use crate::moqt::error::ProtocolError;
use crate::moqt::varint;
use crate::moqt::wire::Reader;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// A token, or a reference to one that was registered.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorizationToken {
    /// Retire an alias.
    Delete {
        /// The sender's alias.
        alias: u64,
    },
    /// Use a token and remember it.
    Register {
        /// The sender's alias.
        alias: u64,
        /// The kind of token; 0 is agreed out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
    /// Use a remembered token.
    UseAlias {
        /// The sender's alias.
        alias: u64,
    },
    /// Use this token once.
    UseValue {
        /// The kind of token; 0 is agreed out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
}

impl AuthorizationToken {
    pub(in crate::moqt) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Delete { alias } => {
                out.put_u8(0);
                varint::encode(*alias, out);
            }
            Self::Register {
                alias,
                token_type,
                value,
            } => {
                out.put_u8(1);
                varint::encode(*alias, out);
                varint::encode(*token_type, out);
                out.put_slice(value);
            }
            Self::UseAlias { alias } => {
                out.put_u8(2);
                varint::encode(*alias, out);
            }
            Self::UseValue { token_type, value } => {
                out.put_u8(3);
                varint::encode(*token_type, out);
                out.put_slice(value);
            }
        }
    }

    pub(in crate::moqt) fn decode(value: &[u8]) -> Result<Self, ProtocolError> {
        const FAULT: ProtocolError = ProtocolError::key_value("authorization token cannot be read");
        let mut reader = Reader::new(value);
        let mut integer = || reader.varint().map_err(|_| FAULT);
        let token = match integer()? {
            0 => Self::Delete { alias: integer()? },
            1 => Self::Register {
                alias: integer()?,
                token_type: integer()?,
                value: Bytes::copy_from_slice(reader.take_rest()),
            },
            2 => Self::UseAlias { alias: integer()? },
            3 => Self::UseValue {
                token_type: integer()?,
                value: Bytes::copy_from_slice(reader.take_rest()),
            },
            _ => return Err(FAULT),
        };
        reader.finish().map_err(|_| FAULT)?;
        Ok(token)
    }
}

impl fmt::Debug for AuthorizationToken {
    /// Leaves the value out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { alias } => write!(f, "Delete(alias {alias})"),
            Self::Register {
                alias,
                token_type,
                value,
            } => {
                let len = value.len();
                write!(f, "Register(alias {alias}, type {token_type}, {len} bytes)")
            }
            Self::UseAlias { alias } => write!(f, "UseAlias(alias {alias})"),
            Self::UseValue { token_type, value } => {
                write!(f, "UseValue(type {token_type}, {} bytes)", value.len())
            }
        }
    }
}
