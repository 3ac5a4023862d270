//! Setup Parameters of CLIENT_SETUP and SERVER_SETUP.
//!
//! They are a count and that many Key-Value-Pairs, of the types that later drafts kept; unknown ones
//! are ignored. MAX_REQUEST_ID (0x02) is 16's own: the first credit of the receiver, 0 when absent.
//!
//! Source: draft-ietf-moq-transport-16, Section 9.3.

use super::integer::{self, Walk};
use super::message::SHORT;
use super::{pairs, parameters};
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::message::{Message, MessageKind, Setup, SetupOption, StreamRole};
use crate::moqt::property::PropertyValue;
use crate::moqt::varint;
use crate::moqt::wire::put_with_len;
use bytes::{BufMut, BytesMut};

const PATH: u64 = 0x01;
const MAX_REQUEST_ID: u64 = 0x02;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const MOQT_IMPLEMENTATION: u64 = 0x07;

/// Reads the parameters: what later drafts know of them, and the credit.
pub(super) fn decode(walk: &mut Walk<'_>) -> Result<(Setup, u64), ProtocolError> {
    let mut options = BytesMut::new();
    let mut credit = None;
    let (mut previous, mut written) = (0, 0);
    let count = walk.int().ok_or(SHORT)?;
    for _ in 0..count {
        let pair = pairs::next(walk, &mut previous)?;
        if pair.key == MAX_REQUEST_ID {
            if let PropertyValue::Integer(value) = pair.value
                && credit.replace(value).is_some()
            {
                return Err(ProtocolError::violation("repeated setup parameter"));
            }
            continue;
        }
        varint::encode(pair.key.saturating_sub(written), &mut options);
        written = pair.key;
        match pair.value {
            PropertyValue::Integer(value) => varint::encode(value, &mut options),
            PropertyValue::Bytes(value) if pair.key == AUTHORIZATION_TOKEN => {
                let token = parameters::decode_token(value)?;
                let put = |out: &mut BytesMut| {
                    token.encode(out);
                    Ok(())
                };
                put_with_len(&mut options, put).map_err(|_| SHORT)?;
            }
            PropertyValue::Bytes(value) => {
                varint::encode(value.len() as u64, &mut options);
                options.put_slice(value);
            }
        }
    }
    // The rules for the values are the same in all drafts and stand with the canonical message.
    let code = MessageKind::Setup.code();
    match Message::decode(Draft::D16, code, &options, StreamRole::Control)? {
        Message::Setup(setup) => Ok((setup, credit.unwrap_or(0))),
        _ => Err(SHORT),
    }
}

/// Writes the parameters.
pub(super) fn encode(setup: &Setup, credit: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
    let mut block = BytesMut::new();
    let mut count = 0;
    let mut previous = 0;
    let mut key = |key: u64, block: &mut BytesMut| {
        count += 1;
        let delta = key.saturating_sub(previous);
        previous = key;
        integer::encode(delta, block)
    };
    if let Some(path) = &setup.path {
        key(PATH, &mut block)?;
        integer::put_prefixed(path.as_bytes(), &mut block)?;
    }
    key(MAX_REQUEST_ID, &mut block)?;
    integer::encode(credit, &mut block)?;
    for token in &setup.authorization_tokens {
        let mut value = BytesMut::new();
        parameters::encode_token(token, &mut value)?;
        key(AUTHORIZATION_TOKEN, &mut block)?;
        integer::put_prefixed(&value, &mut block)?;
    }
    if let Some(size) = setup.max_auth_token_cache_size {
        key(MAX_AUTH_TOKEN_CACHE_SIZE, &mut block)?;
        integer::encode(size, &mut block)?;
    }
    if let Some(authority) = &setup.authority {
        key(AUTHORITY, &mut block)?;
        integer::put_prefixed(authority.as_bytes(), &mut block)?;
    }
    if let Some(implementation) = &setup.implementation {
        key(MOQT_IMPLEMENTATION, &mut block)?;
        integer::put_prefixed(implementation.as_bytes(), &mut block)?;
    }
    for option in &setup.options {
        // What draft 16 cannot say means nothing to its peers either.
        match option {
            _ if option.key() <= MOQT_IMPLEMENTATION || option.key() > integer::MAX => {}
            SetupOption::Integer { value, .. } if *value > integer::MAX => {}
            SetupOption::Integer { value, .. } => {
                key(option.key(), &mut block)?;
                integer::encode(*value, &mut block)?;
            }
            SetupOption::Bytes { value, .. } => {
                key(option.key(), &mut block)?;
                integer::put_prefixed(value, &mut block)?;
            }
        }
    }
    integer::encode(count, out)?;
    out.put_slice(&block);
    Ok(())
}
