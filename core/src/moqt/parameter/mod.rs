//! Message Parameters: one typed struct for every message that carries parameters.
//!
//! On the wire a block is a count and that many parameters in ascending order of type, each a delta
//! to the type before it and a value whose encoding the type defines. Nothing can be skipped, so an
//! unknown, repeated or misplaced parameter closes the session.
//!
//! | type | field | value | since |
//! |---|---|---|---|
//! | 0x02 | `object_delivery_timeout_ms` | integer | 18 |
//! | 0x03 | `authorization_tokens` | length, token; repeatable | 18 |
//! | 0x04 | `rendezvous_timeout_ms` | integer | 18 |
//! | 0x06 | `subgroup_delivery_timeout_ms` | integer | 18 |
//! | 0x08 | `expires_ms` | integer | 18 |
//! | 0x09 | `largest` | location | 18 |
//! | 0x0A | `fill_timeout_ms` | integer | 18 |
//! | 0x10 | `forward` | byte, 0 or 1 | 18 |
//! | 0x20 | `subscriber_priority` | byte | 18 |
//! | 0x21 | `filter` | see [`super::filter`] | 18, changed by 20 and 22 |
//! | 0x22 | `group_order` | byte, 1 or 2 | 18 |
//! | 0x23 | `fill` | length, a block of its own | 20 |
//! | 0x25..=0x29 | `range_filters` | length, ranges; repeatable | 20 |
//! | 0x32 | `new_group_request` | integer | 18 |
//! | 0x34 | `namespace_prefix` | namespace | 18 |
//! | 0x35 | `include_properties` | byte, 0 or 1 | 20 |
//!
//! The block inside FILL_PARAMETERS begins with a count and its deltas start from 0; the drafts do
//! not say either, and other implementations read it so.
//!
//! Source: draft-ietf-moq-transport-18, Section 10.2; changes of 20 and 22.

mod scope;
mod token;

pub use token::AuthorizationToken;

use super::draft::Draft;
use super::error::{EncodeError, ProtocolError};
use super::filter::{Filter, GroupOrder, RangeFilter, RangeSubject};
use super::message::{MessageKind, RequestKind};
use super::name::{Location, TrackNamespace};
use super::varint;
use super::wire::{Reader, put_location, put_namespace, put_prefixed, put_with_len};
use bytes::{BufMut, Bytes, BytesMut};
use scope::Keys;

/// The parameters of a message. `None` and empty mean "absent", which is not always the default:
/// in REQUEST_UPDATE an absent parameter leaves the value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Who asks, in order of appearance.
    pub authorization_tokens: Vec<AuthorizationToken>,
    /// Drop an object this many ms after it began to be sent or received.
    pub object_delivery_timeout_ms: Option<u64>,
    /// Reset a subgroup this many ms after its first object.
    pub subgroup_delivery_timeout_ms: Option<u64>,
    /// How many ms to wait for a publisher to appear.
    pub rendezvous_timeout_ms: Option<u64>,
    /// After how many ms the sender will end the subscription; 0 is "not known".
    pub expires_ms: Option<u64>,
    /// The largest location of the track.
    pub largest: Option<Location>,
    /// How many ms a relay may wait for objects it does not have.
    pub fill_timeout_ms: Option<u64>,
    /// Whether objects are sent at all; default true.
    pub forward: Option<bool>,
    /// Priority among the session's subscriptions and fetches; lower goes first, default 128.
    pub subscriber_priority: Option<u8>,
    /// Which locations pass.
    pub filter: Option<Filter>,
    /// Which groups go first.
    pub group_order: Option<GroupOrder>,
    /// Asks for a fill fetch stream beside the subscription (20 and later).
    pub fill: Option<Box<FillParameters>>,
    /// Which values pass (20 and later), ascending by subject.
    pub range_filters: Vec<RangeFilter>,
    /// Largest known group plus one, 0 if none is known: asks for a new group.
    pub new_group_request: Option<u64>,
    /// The new prefix of a namespace subscription.
    pub namespace_prefix: Option<TrackNamespace>,
    /// Whether the answer shall carry Track Properties (20 and later); default true.
    pub include_properties: Option<bool>,
}

/// The parameters of a fill fetch stream; absent ones are the subscription's (20 and later).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FillParameters {
    /// How many ms a relay may wait for objects it does not have.
    pub fill_timeout_ms: Option<u64>,
    /// Priority of the fill stream.
    pub subscriber_priority: Option<u8>,
    /// Which locations to fill, read as for a fetch.
    pub filter: Option<Filter>,
    /// Order of groups on the fill stream.
    pub group_order: Option<GroupOrder>,
    /// Which values pass; [`RangeSubject::TrackProperty`] is not allowed here.
    pub range_filters: Vec<RangeFilter>,
}

impl Parameters {
    /// Whether a REQUEST_OK that answers `request` may carry these. Which request it is, only the
    /// session knows: decoding admits what any REQUEST_OK may carry.
    pub fn check_ok_of(&self, draft: Draft, request: RequestKind) -> Result<(), ProtocolError> {
        scope::check(self.keys(), scope::ok_of(draft.profile(), request))
    }

    /// Whether a REQUEST_UPDATE of `request` may carry these. See [`Self::check_ok_of`].
    pub fn check_update_of(&self, draft: Draft, request: RequestKind) -> Result<(), ProtocolError> {
        scope::check(self.keys(), scope::update_of(draft.profile(), request))
    }

    /// Writes the block for a message of this kind.
    pub(super) fn encode(
        &self,
        draft: Draft,
        message: MessageKind,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let allowed = scope::of_message(draft.profile(), message);
        if let Some(parameter) = self.keys().without(allowed).first() {
            let message = message.name();
            return Err(EncodeError::OutOfScope { parameter, message });
        }
        self.encode_block(draft, out)
    }

    /// Reads the block of a message of this kind.
    pub(super) fn decode(
        draft: Draft,
        message: MessageKind,
        reader: &mut Reader<'_>,
    ) -> Result<Self, ProtocolError> {
        let profile = draft.profile();
        Self::decode_block(draft, scope::of_message(profile, message), reader)
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::NONE;
        keys.set(0x02, self.object_delivery_timeout_ms.is_some());
        keys.set(0x03, !self.authorization_tokens.is_empty());
        keys.set(0x04, self.rendezvous_timeout_ms.is_some());
        keys.set(0x06, self.subgroup_delivery_timeout_ms.is_some());
        keys.set(0x08, self.expires_ms.is_some());
        keys.set(0x09, self.largest.is_some());
        keys.set(0x0A, self.fill_timeout_ms.is_some());
        keys.set(0x10, self.forward.is_some());
        keys.set(0x20, self.subscriber_priority.is_some());
        keys.set(0x21, self.filter.is_some());
        keys.set(0x22, self.group_order.is_some());
        keys.set(0x23, self.fill.is_some());
        for filter in &self.range_filters {
            keys.set(filter.subject.parameter(), true);
        }
        keys.set(0x32, self.new_group_request.is_some());
        keys.set(0x34, self.namespace_prefix.is_some());
        keys.set(0x35, self.include_properties.is_some());
        keys
    }

    fn encode_block(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let repeated = self.authorization_tokens.len().saturating_sub(1);
        let ranges = self.range_filters.len();
        let kinds = self.keys().without(Keys::RANGE_FILTERS).count();
        varint::encode((kinds + ranges + repeated) as u64, out);
        let mut block = Block { out, previous: 0 };
        block.integer(0x02, self.object_delivery_timeout_ms);
        for token in &self.authorization_tokens {
            block.key(0x03);
            put_with_len(block.out, |out| {
                token.encode(out);
                Ok(())
            })?;
        }
        block.integer(0x04, self.rendezvous_timeout_ms);
        block.integer(0x06, self.subgroup_delivery_timeout_ms);
        block.integer(0x08, self.expires_ms);
        if let Some(largest) = self.largest {
            block.key(0x09);
            put_location(largest, block.out);
        }
        block.integer(0x0A, self.fill_timeout_ms);
        block.byte(0x10, self.forward.map(u8::from));
        block.byte(0x20, self.subscriber_priority);
        if let Some(filter) = self.filter {
            block.key(0x21);
            filter.encode(draft, block.out)?;
        }
        block.byte(0x22, self.group_order.map(GroupOrder::value));
        if let Some(fill) = &self.fill {
            block.key(0x23);
            let fill = fill.as_parameters();
            if let Some(parameter) = fill.keys().without(scope::IN_FILL).first() {
                let message = "FILL_PARAMETERS";
                return Err(EncodeError::OutOfScope { parameter, message });
            }
            put_with_len(block.out, |out| fill.encode_block(draft, out))?;
        }
        block.range_filters(&self.range_filters)?;
        block.integer(0x32, self.new_group_request);
        if let Some(prefix) = &self.namespace_prefix {
            block.key(0x34);
            put_namespace(prefix, block.out);
        }
        block.byte(0x35, self.include_properties.map(u8::from));
        Ok(())
    }

    fn decode_block(
        draft: Draft,
        allowed: Keys,
        reader: &mut Reader<'_>,
    ) -> Result<Self, ProtocolError> {
        let mut parameters = Self::default();
        let mut previous = None;
        for _ in 0..reader.varint()? {
            let delta = reader.varint()?;
            let key = previous.unwrap_or(0_u64).checked_add(delta);
            let key = key.ok_or(ProtocolError::violation("parameter type past 2^64 - 1"))?;
            let known = scope::known(draft.profile());
            if !known.has(key) {
                return Err(ProtocolError::violation("unknown message parameter"));
            }
            if !allowed.has(key) {
                return Err(OUT_OF_SCOPE);
            }
            if previous == Some(key) && !Keys::REPEATABLE.has(key) {
                return Err(ProtocolError::violation("repeated message parameter"));
            }
            previous = Some(key);
            parameters.decode_value(draft, key, reader)?;
        }
        Ok(parameters)
    }

    fn decode_value(
        &mut self,
        draft: Draft,
        key: u64,
        reader: &mut Reader<'_>,
    ) -> Result<(), ProtocolError> {
        match key {
            0x02 => self.object_delivery_timeout_ms = Some(reader.varint()?),
            0x03 => {
                let token = AuthorizationToken::decode(reader.prefixed()?)?;
                self.authorization_tokens.push(token);
            }
            0x04 => self.rendezvous_timeout_ms = Some(reader.varint()?),
            0x06 => self.subgroup_delivery_timeout_ms = Some(reader.varint()?),
            0x08 => self.expires_ms = Some(reader.varint()?),
            0x09 => self.largest = Some(reader.location()?),
            0x0A => self.fill_timeout_ms = Some(reader.varint()?),
            0x10 => self.forward = Some(decode_bool(reader, "FORWARD is neither 0 nor 1")?),
            0x20 => self.subscriber_priority = Some(reader.u8()?),
            0x21 => self.filter = Some(Filter::decode(draft, reader)?),
            0x22 => {
                let order = GroupOrder::from_value(reader.u8()?.into());
                let fault = ProtocolError::violation("GROUP_ORDER is neither 1 nor 2");
                self.group_order = Some(order.ok_or(fault)?);
            }
            0x23 => {
                let mut value = Reader::new(reader.prefixed()?);
                let fill = Self::decode_block(draft, scope::IN_FILL, &mut value)?;
                value.finish()?;
                self.fill = Some(Box::new(FillParameters::of(fill)));
            }
            0x32 => self.new_group_request = Some(reader.varint()?),
            0x34 => self.namespace_prefix = Some(reader.namespace()?),
            0x35 => {
                let fault = "INCLUDE_PROPERTIES is neither 0 nor 1";
                self.include_properties = Some(decode_bool(reader, fault)?);
            }
            _ => self.decode_range_filter(key, reader)?,
        }
        Ok(())
    }

    fn decode_range_filter(
        &mut self,
        key: u64,
        reader: &mut Reader<'_>,
    ) -> Result<(), ProtocolError> {
        let subject = match key {
            0x25 => RangeSubject::Subgroup,
            0x26 => RangeSubject::Object,
            0x27 => RangeSubject::Priority,
            0x28 => RangeSubject::ObjectProperty,
            0x29 => RangeSubject::TrackProperty,
            _ => return Err(ProtocolError::violation("unknown message parameter")),
        };
        let value = Bytes::copy_from_slice(reader.prefixed()?);
        self.range_filters.push(RangeFilter { subject, value });
        Ok(())
    }
}

impl FillParameters {
    fn of(block: Parameters) -> Self {
        Self {
            fill_timeout_ms: block.fill_timeout_ms,
            subscriber_priority: block.subscriber_priority,
            filter: block.filter,
            group_order: block.group_order,
            range_filters: block.range_filters,
        }
    }

    fn as_parameters(&self) -> Parameters {
        Parameters {
            fill_timeout_ms: self.fill_timeout_ms,
            subscriber_priority: self.subscriber_priority,
            filter: self.filter,
            group_order: self.group_order,
            range_filters: self.range_filters.clone(),
            ..Parameters::default()
        }
    }
}

const OUT_OF_SCOPE: ProtocolError =
    ProtocolError::violation("parameter in a message that must not carry it");

fn decode_bool(reader: &mut Reader<'_>, fault: &'static str) -> Result<bool, ProtocolError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ProtocolError::violation(fault)),
    }
}

/// A block being written.
struct Block<'a> {
    out: &'a mut BytesMut,
    previous: u8,
}

impl Block<'_> {
    fn key(&mut self, key: u8) {
        varint::encode(key.saturating_sub(self.previous).into(), self.out);
        self.previous = key;
    }

    fn integer(&mut self, key: u8, value: Option<u64>) {
        if let Some(value) = value {
            self.key(key);
            varint::encode(value, self.out);
        }
    }

    fn byte(&mut self, key: u8, value: Option<u8>) {
        if let Some(value) = value {
            self.key(key);
            self.out.put_u8(value);
        }
    }

    fn range_filters(&mut self, filters: &[RangeFilter]) -> Result<(), EncodeError> {
        for filter in filters {
            let key = filter.subject.parameter();
            if key < self.previous {
                return Err(EncodeError::Invalid("range filters must ascend by subject"));
            }
            self.key(key);
            put_prefixed(&filter.value, self.out);
        }
        Ok(())
    }
}
