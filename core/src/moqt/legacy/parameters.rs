//! Message Parameters of draft 16.
//!
//! They are Key-Value-Pairs: an even type has an integer, an odd one bytes whose meaning the type
//! defines. A parameter in a message that it is not defined for is ignored; an unknown one closes
//! the session, and so does a repeated one, AUTHORIZATION_TOKEN excepted.
//!
//! | type | parameter | value |
//! |---|---|---|
//! | 0x02 | DELIVERY_TIMEOUT | ms, not 0 |
//! | 0x03 | AUTHORIZATION_TOKEN | token |
//! | 0x08 | EXPIRES | ms |
//! | 0x09 | LARGEST_OBJECT | location |
//! | 0x10 | FORWARD | 0 or 1 |
//! | 0x20 | SUBSCRIBER_PRIORITY | 0 to 255 |
//! | 0x21 | SUBSCRIPTION_FILTER | type, start, last group |
//! | 0x22 | GROUP_ORDER | 1 or 2; 0 as if it were left out |
//! | 0x32 | NEW_GROUP_REQUEST | group |
//!
//! Draft 16 contradicts itself on GROUP_ORDER 0: Section 7.1 has subscribers write it who have no preference, 9.2.2.4
//! closes the session over it (moq-wg issue 1570; later drafts dropped the former). Players of draft 16 write it.
//!
//! Time-outs that later drafts have are hints: they are left out towards a peer of 16.
//!
//! Source: draft-ietf-moq-transport-16, Sections 5.1.2, 7.1, 9.2.

use super::integer::{self, Walk};
use super::pairs;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::name::Location;
use crate::moqt::parameter::{AuthorizationToken, Parameters};
use crate::moqt::property::PropertyValue;
use bytes::{BufMut, Bytes, BytesMut};

const KNOWN: [u64; 9] = [0x02, 0x03, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22, 0x32];
const TOKEN: u64 = 0x03;

/// The parameters that a message may carry.
pub(super) type Scope = &'static [u64];

pub(super) const SUBSCRIBE: Scope = &[0x02, 0x03, 0x10, 0x20, 0x21, 0x22, 0x32];
pub(super) const SUBSCRIBE_OK: Scope = &[0x08, 0x09];
pub(super) const PUBLISH: Scope = &[0x03, 0x08, 0x09, 0x10];
pub(super) const PUBLISH_OK: Scope = &[0x02, 0x08, 0x10, 0x20, 0x21, 0x22, 0x32];
/// The text allows EXPIRES here with a question mark.
pub(super) const REQUEST_OK: Scope = &[0x08, 0x09];
pub(super) const REQUEST_UPDATE: Scope = &[0x02, 0x03, 0x10, 0x20, 0x21, 0x32];
pub(super) const FETCH: Scope = &[0x03, 0x20, 0x22];
pub(super) const SUBSCRIBE_NAMESPACE: Scope = &[0x03, 0x10];
pub(super) const TOKEN_ONLY: Scope = &[TOKEN];
pub(super) const NONE: Scope = &[];

/// Reads a count and that many parameters.
pub(super) fn decode(walk: &mut Walk<'_>, scope: Scope) -> Result<Parameters, ProtocolError> {
    let mut parameters = Parameters::default();
    let mut previous = 0;
    let mut seen = None;
    let count = walk.int().ok_or(super::message::SHORT)?;
    for _ in 0..count {
        let pair = pairs::next(walk, &mut previous)?;
        if !KNOWN.contains(&pair.key) {
            return Err(ProtocolError::violation("unknown message parameter"));
        }
        if seen == Some(pair.key) && pair.key != TOKEN {
            return Err(ProtocolError::violation("repeated message parameter"));
        }
        seen = Some(pair.key);
        match pair.value {
            _ if !scope.contains(&pair.key) => {}
            PropertyValue::Integer(value) => take_integer(&mut parameters, pair.key, value)?,
            PropertyValue::Bytes(value) => take_bytes(&mut parameters, pair.key, value)?,
        }
    }
    Ok(parameters)
}

fn take_integer(to: &mut Parameters, key: u64, value: u64) -> Result<(), ProtocolError> {
    let violation = ProtocolError::violation;
    match key {
        0x02 if value == 0 => return Err(violation("DELIVERY_TIMEOUT of 0")),
        0x02 => to.object_delivery_timeout_ms = Some(value),
        0x08 => to.expires_ms = Some(value),
        0x10 if value > 1 => return Err(violation("FORWARD is neither 0 nor 1")),
        0x10 => to.forward = Some(value == 1),
        0x20 => {
            let fault = violation("SUBSCRIBER_PRIORITY of more than 255");
            to.subscriber_priority = Some(u8::try_from(value).map_err(|_| fault)?);
        }
        0x22 if value == 0 => to.group_order = None,
        0x22 => {
            let fault = violation("GROUP_ORDER is more than 2");
            to.group_order = Some(GroupOrder::from_value(value).ok_or(fault)?);
        }
        _ => to.new_group_request = Some(value),
    }
    Ok(())
}

fn take_bytes(to: &mut Parameters, key: u64, value: &[u8]) -> Result<(), ProtocolError> {
    match key {
        TOKEN => to.authorization_tokens.push(decode_token(value)?),
        0x09 => {
            let fault = ProtocolError::key_value("LARGEST_OBJECT is not a location");
            let mut walk = Walk::new(value);
            let location = location(&mut walk).filter(|_| walk.is_empty());
            to.largest = Some(location.ok_or(fault)?);
        }
        _ => to.filter = Some(decode_filter(value)?),
    }
    Ok(())
}

fn location(walk: &mut Walk<'_>) -> Option<Location> {
    Some(Location::new(walk.int()?, walk.int()?))
}

fn decode_filter(value: &[u8]) -> Result<Filter, ProtocolError> {
    const SHORT: ProtocolError =
        ProtocolError::violation("length does not match the subscription filter");
    let mut walk = Walk::new(value);
    let filter = match walk.int().ok_or(SHORT)? {
        1 => Filter::NextGroup,
        2 => Filter::NextObject,
        3 => Filter::Absolute {
            start: location(&mut walk).ok_or(SHORT)?,
        },
        4 => {
            let start = location(&mut walk).ok_or(SHORT)?;
            let end_group = walk.int().ok_or(SHORT)?;
            if end_group < start.group {
                let reason = "subscription filter ends before it starts";
                return Err(ProtocolError::violation(reason));
            }
            Filter::AbsoluteRange {
                start,
                end_group,
                end_object: None,
            }
        }
        _ => return Err(ProtocolError::violation("unknown subscription filter type")),
    };
    if walk.is_empty() {
        Ok(filter)
    } else {
        Err(SHORT)
    }
}

/// An AUTHORIZATION TOKEN, of a message or of a setup.
pub(super) fn decode_token(value: &[u8]) -> Result<AuthorizationToken, ProtocolError> {
    const FAULT: ProtocolError = ProtocolError::key_value("authorization token cannot be read");
    let mut walk = Walk::new(value);
    let kind = walk.int().ok_or(FAULT)?;
    let mut integer = || walk.int().ok_or(FAULT);
    let token = match kind {
        0 => AuthorizationToken::Delete { alias: integer()? },
        1 => AuthorizationToken::Register {
            alias: integer()?,
            token_type: integer()?,
            value: Bytes::copy_from_slice(walk.take_rest()),
        },
        2 => AuthorizationToken::UseAlias { alias: integer()? },
        3 => AuthorizationToken::UseValue {
            token_type: integer()?,
            value: Bytes::copy_from_slice(walk.take_rest()),
        },
        _ => return Err(FAULT),
    };
    if walk.is_empty() {
        Ok(token)
    } else {
        Err(FAULT)
    }
}

/// Writes a count and the parameters that the message may carry at draft 16.
pub(super) fn encode(
    parameters: &Parameters,
    scope: Scope,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    if parameters.namespace_prefix.is_some() {
        let (draft, what) = (Draft::D16, "the change of a namespace prefix");
        return Err(EncodeError::NotExpressible { draft, what });
    }
    let mut block = Block {
        scope,
        count: 0,
        previous: 0,
        out: BytesMut::new(),
    };
    let timeout = parameters.object_delivery_timeout_ms;
    block.integer(0x02, timeout.filter(|ms| *ms > 0))?;
    for token in &parameters.authorization_tokens {
        let mut value = BytesMut::new();
        encode_token(token, &mut value)?;
        block.bytes(TOKEN, &value)?;
    }
    block.integer(0x08, parameters.expires_ms)?;
    if let Some(largest) = parameters.largest {
        let mut value = BytesMut::new();
        put_location(largest, &mut value)?;
        block.bytes(0x09, &value)?;
    }
    block.integer(0x10, parameters.forward.map(u64::from))?;
    block.integer(0x20, parameters.subscriber_priority.map(u64::from))?;
    if let Some(filter) = parameters.filter {
        let mut value = BytesMut::new();
        encode_filter(filter, &mut value)?;
        block.bytes(0x21, &value)?;
    }
    let order = parameters.group_order.map(GroupOrder::value);
    block.integer(0x22, order.map(u64::from))?;
    block.integer(0x32, parameters.new_group_request)?;
    integer::encode(block.count, out)?;
    out.put_slice(&block.out);
    Ok(())
}

pub(super) fn put_location(location: Location, out: &mut BytesMut) -> Result<(), EncodeError> {
    integer::encode(location.group, out)?;
    integer::encode(location.object, out)
}

fn encode_filter(filter: Filter, out: &mut BytesMut) -> Result<(), EncodeError> {
    let cannot = |what| {
        let draft = Draft::D16;
        Err(EncodeError::NotExpressible { draft, what })
    };
    match filter {
        Filter::NextGroup | Filter::RelativeStart { groups: 0 } => out.put_u8(1),
        Filter::NextObject => out.put_u8(2),
        Filter::None => {
            out.put_u8(3);
            put_location(Location::ZERO, out)?;
        }
        Filter::Absolute { start } => {
            out.put_u8(3);
            put_location(start, out)?;
        }
        Filter::AbsoluteRange {
            start,
            end_group,
            end_object: None,
        } => {
            out.put_u8(4);
            put_location(start, out)?;
            integer::encode(end_group, out)?;
        }
        Filter::RelativeStart { .. } => return cannot("a filter that starts groups ago"),
        Filter::AbsoluteRange { .. } => return cannot("a filter that ends within a group"),
    }
    Ok(())
}

/// Writes a token of a message or of a setup.
pub(super) fn encode_token(
    token: &AuthorizationToken,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    match token {
        AuthorizationToken::Delete { alias } => {
            out.put_u8(0);
            integer::encode(*alias, out)?;
        }
        AuthorizationToken::Register {
            alias,
            token_type,
            value,
        } => {
            out.put_u8(1);
            integer::encode(*alias, out)?;
            integer::encode(*token_type, out)?;
            out.put_slice(value);
        }
        AuthorizationToken::UseAlias { alias } => {
            out.put_u8(2);
            integer::encode(*alias, out)?;
        }
        AuthorizationToken::UseValue { token_type, value } => {
            out.put_u8(3);
            integer::encode(*token_type, out)?;
            out.put_slice(value);
        }
    }
    Ok(())
}

/// Parameters being written.
struct Block {
    scope: Scope,
    count: u64,
    previous: u64,
    out: BytesMut,
}

impl Block {
    fn key(&mut self, key: u64) -> Result<(), EncodeError> {
        integer::encode(key.saturating_sub(self.previous), &mut self.out)?;
        self.previous = key;
        self.count += 1;
        Ok(())
    }

    fn integer(&mut self, key: u64, value: Option<u64>) -> Result<(), EncodeError> {
        if let Some(value) = value.filter(|_| self.scope.contains(&key)) {
            self.key(key)?;
            integer::encode(value, &mut self.out)?;
        }
        Ok(())
    }

    fn bytes(&mut self, key: u64, value: &[u8]) -> Result<(), EncodeError> {
        if self.scope.contains(&key) {
            self.key(key)?;
            integer::put_prefixed(value, &mut self.out)?;
        }
        Ok(())
    }
}
