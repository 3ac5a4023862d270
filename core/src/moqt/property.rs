//! Track and Object Properties: the bytes as they came, and typed look-ups.
//!
//! Properties are Key-Value-Pairs with delta-coded types: an even type carries an integer, an odd
//! one a length and up to 65,535 bytes. A relay forwards them unmodified, so [`Properties`] keeps
//! the block as it came. Reading checks it once; look-ups walk it and search the Immutable
//! Properties (0x0B) too, as they must.
//!
//! | property | type | on | value |
//! |---|---|---|---|
//! | OBJECT_DELIVERY_TIMEOUT | 0x02 | track | ms |
//! | MAX_CACHE_DURATION | 0x04 | track | ms |
//! | SUBGROUP_DELIVERY_TIMEOUT | 0x06 | track | ms |
//! | IMMUTABLE_PROPERTIES | 0x0B | track, object | pairs of its own |
//! | DEFAULT_PUBLISHER_PRIORITY | 0x0E | track | 0..=255, default 128 |
//! | DEFAULT_PUBLISHER_GROUP_ORDER | 0x22 | track | 1 or 2, default 1 |
//! | DYNAMIC_GROUPS | 0x30 | track | 0 or 1, default 0 |
//! | PRIOR_GROUP_ID_GAP | 0x3C | object | groups |
//! | PRIOR_OBJECT_ID_GAP | 0x3E | object | objects |
//! | mandatory | 0x4000..=0x7FFF | track | refuse what is not understood |
//!
//! Faults of a track's block are [`ProtocolError`]s; faults of an object's block make the track
//! malformed and are given as a reason.
//!
//! Source: draft-ietf-moq-transport-18, Sections 1.4.3, 2.5, 12.

use super::error::ProtocolError;
use super::filter::GroupOrder;
use super::varint;
use super::wire::{Reader, SHORT};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// Publisher priority when neither the object nor the track states one.
pub const DEFAULT_PRIORITY: u8 = 128;
/// Longest value of a property, in bytes.
pub const MAX_VALUE_LEN: usize = 65_535;

const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
const MAX_CACHE_DURATION: u64 = 0x04;
const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
const IMMUTABLE_PROPERTIES: u64 = 0x0B;
const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
const DYNAMIC_GROUPS: u64 = 0x30;
const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;
const MANDATORY: std::ops::RangeInclusive<u64> = 0x4000..=0x7FFF;

/// A block of properties, well formed, as it came; cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Properties(Bytes);

/// One property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    /// Its type.
    pub key: u64,
    /// Its value.
    pub value: PropertyValue<'a>,
}

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyValue<'a> {
    /// Of an even type.
    Integer(u64),
    /// Of an odd type.
    Bytes(&'a [u8]),
}

impl Properties {
    /// No properties.
    pub const EMPTY: Self = Self(Bytes::new());

    /// The Track Properties that end a control message. Faults close the session.
    pub fn from_track(block: Bytes) -> Result<Self, ProtocolError> {
        check_track(&block)?;
        Ok(Self(block))
    }

    /// The Object Properties of the object `{group, object}`. The error is the reason why the
    /// track is malformed.
    pub fn from_object(block: Bytes, group: u64, object: u64) -> Result<Self, &'static str> {
        check_object(&block, group, object)?;
        Ok(Self(block))
    }

    /// The block as it came, without its length.
    pub fn raw(&self) -> &Bytes {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The properties in order, the Immutable Properties as one.
    pub fn iter(&self) -> Pairs<'_> {
        Pairs::new(&self.0)
    }

    /// The first integer of this type, inside the Immutable Properties too.
    pub fn integer(&self, key: u64) -> Option<u64> {
        self.find(key).and_then(|value| match value {
            PropertyValue::Integer(value) => Some(value),
            PropertyValue::Bytes(_) => None,
        })
    }

    /// The first value of this type, inside the Immutable Properties too.
    pub fn find(&self, key: u64) -> Option<PropertyValue<'_>> {
        let mut immutable = None;
        for pair in self.iter().flatten() {
            match pair.value {
                value if pair.key == key => return Some(value),
                PropertyValue::Bytes(bytes) if pair.key == IMMUTABLE_PROPERTIES => {
                    immutable.get_or_insert(bytes);
                }
                _ => {}
            }
        }
        let mut inside = Pairs::new(immutable?).flatten();
        inside.find(|pair| pair.key == key).map(|pair| pair.value)
    }

    /// The first mandatory property (0x4000 to 0x7FFF) that is not understood here; we understand
    /// none. Such a track must be neither processed nor forwarded: UNSUPPORTED_EXTENSION.
    pub fn unsupported_mandatory(&self) -> Option<u64> {
        let find = |pairs: Pairs<'_>| {
            let mut keys = pairs.flatten().map(|pair| pair.key);
            keys.find(|key| MANDATORY.contains(key))
        };
        find(self.iter()).or_else(|| match self.find(IMMUTABLE_PROPERTIES)? {
            PropertyValue::Bytes(inside) => find(Pairs::new(inside)),
            PropertyValue::Integer(_) => None,
        })
    }

    /// DEFAULT_PUBLISHER_PRIORITY; 128 when absent or not a priority.
    pub fn default_publisher_priority(&self) -> u8 {
        let value = self.integer(DEFAULT_PUBLISHER_PRIORITY);
        value
            .and_then(|v| u8::try_from(v).ok())
            .unwrap_or(DEFAULT_PRIORITY)
    }

    /// DEFAULT_PUBLISHER_GROUP_ORDER; ascending when absent.
    pub fn default_publisher_group_order(&self) -> GroupOrder {
        let value = self.integer(DEFAULT_PUBLISHER_GROUP_ORDER);
        value
            .and_then(GroupOrder::from_value)
            .unwrap_or(GroupOrder::Ascending)
    }

    /// DYNAMIC_GROUPS: whether a subscriber may ask for a new group.
    pub fn dynamic_groups(&self) -> bool {
        self.integer(DYNAMIC_GROUPS) == Some(1)
    }

    /// MAX_CACHE_DURATION in ms.
    pub fn max_cache_duration_ms(&self) -> Option<u64> {
        self.integer(MAX_CACHE_DURATION)
    }

    /// OBJECT_DELIVERY_TIMEOUT in ms.
    pub fn object_delivery_timeout_ms(&self) -> Option<u64> {
        self.integer(OBJECT_DELIVERY_TIMEOUT)
    }

    /// SUBGROUP_DELIVERY_TIMEOUT in ms.
    pub fn subgroup_delivery_timeout_ms(&self) -> Option<u64> {
        self.integer(SUBGROUP_DELIVERY_TIMEOUT)
    }

    /// PRIOR_GROUP_ID_GAP: so many groups before this one do not exist.
    pub fn prior_group_id_gap(&self) -> Option<u64> {
        self.integer(PRIOR_GROUP_ID_GAP)
    }

    /// PRIOR_OBJECT_ID_GAP: so many objects before this one do not exist.
    pub fn prior_object_id_gap(&self) -> Option<u64> {
        self.integer(PRIOR_OBJECT_ID_GAP)
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = Result<Property<'a>, ProtocolError>;
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_map();
        for pair in self.iter().flatten() {
            match pair.value {
                PropertyValue::Integer(value) => list.entry(&pair.key, &value),
                PropertyValue::Bytes(bytes) => {
                    list.entry(&pair.key, &format_args!("{} bytes", bytes.len()))
                }
            };
        }
        list.finish()
    }
}

/// Builds a block of properties for our own publishers. Types may come in any order.
#[derive(Clone, Debug, Default)]
pub struct PropertiesBuilder {
    pairs: Vec<(u64, Built)>,
}

#[derive(Clone, Debug)]
enum Built {
    Integer(u64),
    Bytes(Bytes),
}

impl PropertiesBuilder {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// DEFAULT_PUBLISHER_PRIORITY: lower goes first.
    #[must_use]
    pub fn default_publisher_priority(self, priority: u8) -> Self {
        self.integer(DEFAULT_PUBLISHER_PRIORITY, priority.into())
    }

    /// DEFAULT_PUBLISHER_GROUP_ORDER.
    #[must_use]
    pub fn default_publisher_group_order(self, order: GroupOrder) -> Self {
        self.integer(DEFAULT_PUBLISHER_GROUP_ORDER, order.value().into())
    }

    /// DYNAMIC_GROUPS.
    #[must_use]
    pub fn dynamic_groups(self, supported: bool) -> Self {
        self.integer(DYNAMIC_GROUPS, supported.into())
    }

    /// MAX_CACHE_DURATION in ms.
    #[must_use]
    pub fn max_cache_duration_ms(self, ms: u64) -> Self {
        self.integer(MAX_CACHE_DURATION, ms)
    }

    /// OBJECT_DELIVERY_TIMEOUT in ms.
    #[must_use]
    pub fn object_delivery_timeout_ms(self, ms: u64) -> Self {
        self.integer(OBJECT_DELIVERY_TIMEOUT, ms)
    }

    /// SUBGROUP_DELIVERY_TIMEOUT in ms.
    #[must_use]
    pub fn subgroup_delivery_timeout_ms(self, ms: u64) -> Self {
        self.integer(SUBGROUP_DELIVERY_TIMEOUT, ms)
    }

    /// PRIOR_GROUP_ID_GAP.
    #[must_use]
    pub fn prior_group_id_gap(self, groups: u64) -> Self {
        self.integer(PRIOR_GROUP_ID_GAP, groups)
    }

    /// PRIOR_OBJECT_ID_GAP.
    #[must_use]
    pub fn prior_object_id_gap(self, objects: u64) -> Self {
        self.integer(PRIOR_OBJECT_ID_GAP, objects)
    }

    /// An integer of an even type. Ignored when the type is odd: it could not be read back.
    #[must_use]
    pub fn integer(mut self, key: u64, value: u64) -> Self {
        if key.is_multiple_of(2) {
            self.pairs.push((key, Built::Integer(value)));
        }
        self
    }

    /// Bytes of an odd type. Ignored when the type is even or there are more than 65,535 bytes.
    #[must_use]
    pub fn bytes(mut self, key: u64, value: Bytes) -> Self {
        if !key.is_multiple_of(2) && value.len() <= MAX_VALUE_LEN {
            self.pairs.push((key, Built::Bytes(value)));
        }
        self
    }

    /// The block.
    pub fn build(mut self) -> Properties {
        self.pairs.sort_by_key(|(key, _)| *key);
        let mut out = BytesMut::new();
        let mut previous = 0;
        for (key, value) in &self.pairs {
            varint::encode(key.saturating_sub(previous), &mut out);
            previous = *key;
            match value {
                Built::Integer(value) => varint::encode(*value, &mut out),
                Built::Bytes(bytes) => {
                    varint::encode(bytes.len() as u64, &mut out);
                    out.put_slice(bytes);
                }
            }
        }
        Properties(out.freeze())
    }
}

/// A walk over Key-Value-Pairs that fill a block; ends after the first fault.
pub struct Pairs<'a> {
    reader: Reader<'a>,
    previous: u64,
}

impl<'a> Pairs<'a> {
    /// The pairs of this block.
    pub const fn new(block: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(block),
            previous: 0,
        }
    }

    fn step(&mut self) -> Result<Property<'a>, ProtocolError> {
        let delta = self.reader.varint()?;
        let key = self.previous.checked_add(delta);
        let key = key.ok_or(ProtocolError::violation("key-value type past 2^64 - 1"))?;
        self.previous = key;
        if key.is_multiple_of(2) {
            let value = PropertyValue::Integer(self.reader.varint()?);
            return Ok(Property { key, value });
        }
        let len = usize::try_from(self.reader.varint()?).unwrap_or(usize::MAX);
        if len > MAX_VALUE_LEN {
            return Err(ProtocolError::violation(
                "key-value of more than 65535 bytes",
            ));
        }
        let value = PropertyValue::Bytes(self.reader.bytes(len)?);
        Ok(Property { key, value })
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Property<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let item = self.step();
        if item.is_err() {
            self.reader.take_rest();
        }
        Some(item)
    }
}

fn check_track(block: &[u8]) -> Result<(), ProtocolError> {
    for pair in Pairs::new(block) {
        let pair = pair?;
        match pair.value {
            PropertyValue::Integer(value) => check_track_value(pair.key, value)?,
            // What is not pairs inside is kept: reading it is a permission, not a duty.
            PropertyValue::Bytes(inside) if pair.key == IMMUTABLE_PROPERTIES => {
                for pair in Pairs::new(inside).flatten() {
                    if let PropertyValue::Integer(value) = pair.value {
                        check_track_value(pair.key, value)?;
                    }
                }
            }
            PropertyValue::Bytes(_) => {}
        }
    }
    Ok(())
}

fn check_track_value(key: u64, value: u64) -> Result<(), ProtocolError> {
    match key {
        DEFAULT_PUBLISHER_GROUP_ORDER if GroupOrder::from_value(value).is_none() => Err(
            ProtocolError::violation("DEFAULT_PUBLISHER_GROUP_ORDER is neither 1 nor 2"),
        ),
        DYNAMIC_GROUPS if value > 1 => Err(ProtocolError::violation(
            "DYNAMIC_GROUPS is neither 0 nor 1",
        )),
        _ => Ok(()),
    }
}

fn check_object(block: &[u8], group: u64, object: u64) -> Result<(), &'static str> {
    let mut seen = Seen::default();
    for pair in Pairs::new(block) {
        let pair = pair.map_err(reason)?;
        match pair.value {
            PropertyValue::Bytes(inside) if pair.key == IMMUTABLE_PROPERTIES => {
                if std::mem::replace(&mut seen.immutable, true) {
                    return Err("more than one block of immutable properties");
                }
                for pair in Pairs::new(inside) {
                    let pair = pair.map_err(reason)?;
                    if pair.key == IMMUTABLE_PROPERTIES {
                        return Err("immutable properties inside immutable properties");
                    }
                    seen.check(&pair, group, object)?;
                }
            }
            _ => seen.check(&pair, group, object)?,
        }
    }
    Ok(())
}

fn reason(error: ProtocolError) -> &'static str {
    if error == SHORT {
        "object properties end inside a pair"
    } else {
        error.reason
    }
}

#[derive(Default)]
struct Seen {
    immutable: bool,
    group_gap: bool,
    object_gap: bool,
}

impl Seen {
    fn check(&mut self, pair: &Property<'_>, group: u64, object: u64) -> Result<(), &'static str> {
        if MANDATORY.contains(&pair.key) {
            return Err("a mandatory track property on an object");
        }
        let PropertyValue::Integer(value) = pair.value else {
            return Ok(());
        };
        match pair.key {
            PRIOR_GROUP_ID_GAP if std::mem::replace(&mut self.group_gap, true) => {
                Err("more than one PRIOR_GROUP_ID_GAP")
            }
            PRIOR_GROUP_ID_GAP if value > group => Err("PRIOR_GROUP_ID_GAP reaches before group 0"),
            PRIOR_OBJECT_ID_GAP if std::mem::replace(&mut self.object_gap, true) => {
                Err("more than one PRIOR_OBJECT_ID_GAP")
            }
            PRIOR_OBJECT_ID_GAP if value > object => {
                Err("PRIOR_OBJECT_ID_GAP reaches before object 0")
            }
            _ => Ok(()),
        }
    }
}
