//! AMF0: the values inside RTMP commands and data messages.
//!
//! Source: Action Message Format AMF 0 (Adobe, 2007), section 2. Decoding is bounded by
//! [`AmfLimits`] in depth, number of values and string length, so a message costs memory in
//! proportion to its own length. Strings that are not UTF-8 (encoders put Latin-1 in metadata) are
//! decoded with replacement characters. AMF3 values inside AMF0 (marker `0x11`) are refused.

use super::limits::AmfLimits;
use bytes::{BufMut, BytesMut};

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Marker 0: IEEE 754 double.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Markers 2 and 12: the long form is written when the string needs it.
    String(String),
    /// Marker 3: properties in the order of the wire.
    Object(Properties),
    /// Marker 5.
    Null,
    /// Marker 6.
    Undefined,
    /// Marker 7: index of an earlier complex value.
    Reference(u16),
    /// Marker 8: properties in the order of the wire. The count on the wire is only a hint.
    EcmaArray(Properties),
    /// Marker 10.
    StrictArray(Vec<Value>),
    /// Marker 11.
    Date {
        /// Milliseconds since 1970-01-01 UTC.
        unix_ms: f64,
        /// Reserved: writers put 0.
        zone: i16,
    },
    /// Marker 13.
    Unsupported,
    /// Marker 15: an XML document as text.
    Xml(String),
    /// Marker 16: an object with a class name.
    TypedObject {
        /// Class name.
        class: String,
        /// Properties in the order of the wire.
        properties: Properties,
    },
}

/// Named values in the order of the wire.
pub type Properties = Vec<(String, Value)>;

/// Why bytes are not the AMF0 values that were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The message ends inside a value.
    #[error("amf0 value is cut short")]
    Truncated,
    /// A marker that AMF0 does not define or that carries no value (movie clip, record set, AMF3).
    #[error("amf0 marker is unknown or not supported")]
    Marker,
    /// [`AmfLimits::depth_max`].
    #[error("amf0 values are nested too deep")]
    Depth,
    /// [`AmfLimits::values_max`].
    #[error("amf0 message has too many values")]
    Values,
    /// [`AmfLimits::string_bytes_max`].
    #[error("amf0 string is too long")]
    StringLength,
    /// [`AmfLimits::message_bytes_max`].
    #[error("amf0 message is too long")]
    MessageLength,
}

impl Value {
    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The properties of an object, typed object or ECMA array.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(properties)
            | Self::EcmaArray(properties)
            | Self::TypedObject { properties, .. } => Some(properties),
            _ => None,
        }
    }

    /// The property `name`, if this has properties and one is called so.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties()?
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Appends the value to `out`. Property names longer than 65,535 bytes are cut at a character.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(0);
                out.put_f64(*number);
            }
            Self::Boolean(boolean) => out.put_slice(&[1, u8::from(*boolean)]),
            Self::String(text) => match u16::try_from(text.len()) {
                Ok(_) => {
                    out.put_u8(2);
                    encode_name(text, out);
                }
                Err(_) => encode_long(12, text, out),
            },
            Self::Object(properties) => {
                out.put_u8(3);
                encode_properties(properties, out);
            }
            Self::Null => out.put_u8(5),
            Self::Undefined => out.put_u8(6),
            Self::Reference(index) => {
                out.put_u8(7);
                out.put_u16(*index);
            }
            Self::EcmaArray(properties) => {
                out.put_u8(8);
                out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
                encode_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.put_u8(10);
                out.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
                for value in values {
                    value.encode(out);
                }
            }
            Self::Date { unix_ms, zone } => {
                out.put_u8(11);
                out.put_f64(*unix_ms);
                out.put_i16(*zone);
            }
            Self::Unsupported => out.put_u8(13),
            Self::Xml(text) => encode_long(15, text, out),
            Self::TypedObject { class, properties } => {
                out.put_u8(16);
                encode_name(class, out);
                encode_properties(properties, out);
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// All values of a message, in order.
pub fn decode_all(bytes: &[u8], limits: &AmfLimits) -> Result<Vec<Value>, AmfError> {
    if bytes.len() > limits.message_bytes_max {
        return Err(AmfError::MessageLength);
    }
    let mut decoder = Decoder {
        rest: bytes,
        limits,
        values: 0,
    };
    let mut values = Vec::new();
    while !decoder.rest.is_empty() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

/// Appends `values` to `out`, one after the other.
pub fn encode_all(values: &[Value], out: &mut BytesMut) {
    for value in values {
        value.encode(out);
    }
}

fn encode_name(text: &str, out: &mut BytesMut) {
    let text = text.get(..text.floor_char_boundary(0xffff)).unwrap_or("");
    out.put_u16(u16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

fn encode_long(marker: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(marker);
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

fn encode_properties(properties: &[(String, Value)], out: &mut BytesMut) {
    for (name, value) in properties {
        encode_name(name, out);
        value.encode(out);
    }
    out.put_slice(&[0, 0, 9]);
}

struct Decoder<'a> {
    rest: &'a [u8],
    limits: &'a AmfLimits,
    values: usize,
}

impl Decoder<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.values = self.values.saturating_add(1);
        if self.values > self.limits.values_max {
            return Err(AmfError::Values);
        }
        if depth > self.limits.depth_max {
            return Err(AmfError::Depth);
        }
        let [marker] = self.array()?;
        Ok(match marker {
            0 => Value::Number(f64::from_be_bytes(self.array()?)),
            1 => {
                let [boolean] = self.array()?;
                Value::Boolean(boolean != 0)
            }
            2 => Value::String(self.short_string()?),
            3 => Value::Object(self.properties(depth)?),
            5 => Value::Null,
            6 => Value::Undefined,
            7 => Value::Reference(u16::from_be_bytes(self.array()?)),
            8 => {
                let _hint: [u8; 4] = self.array()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            10 => self.strict_array(depth)?,
            11 => Value::Date {
                unix_ms: f64::from_be_bytes(self.array()?),
                zone: i16::from_be_bytes(self.array()?),
            },
            12 => Value::String(self.long_string()?),
            13 => Value::Unsupported,
            15 => Value::Xml(self.long_string()?),
            16 => Value::TypedObject {
                class: self.short_string()?,
                properties: self.properties(depth)?,
            },
            _ => return Err(AmfError::Marker),
        })
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = u32::from_be_bytes(self.array()?);
        let mut values = Vec::new();
        // The count is the peer's word: the vector grows with what is really there.
        for _ in 0..count {
            values.push(self.value(depth.saturating_add(1))?);
        }
        Ok(Value::StrictArray(values))
    }

    /// Until the end marker. Some encoders leave the end marker out at the end of a message, and
    /// that is taken as the end.
    fn properties(&mut self, depth: usize) -> Result<Properties, AmfError> {
        let mut properties = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(&[0, 0, 9]) {
                self.rest = rest;
                return Ok(properties);
            }
            if self.rest.is_empty() && depth == 0 {
                return Ok(properties);
            }
            let name = self.short_string()?;
            properties.push((name, self.value(depth.saturating_add(1))?));
        }
    }

    fn short_string(&mut self) -> Result<String, AmfError> {
        let len = u16::from_be_bytes(self.array()?);
        self.text(usize::from(len))
    }

    fn long_string(&mut self) -> Result<String, AmfError> {
        let len = u32::from_be_bytes(self.array()?);
        self.text(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn text(&mut self, len: usize) -> Result<String, AmfError> {
        if len > self.limits.string_bytes_max {
            return Err(AmfError::StringLength);
        }
        let (text, rest) = self.rest.split_at_checked(len).ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(values: &[Value]) -> BytesMut {
        let mut out = BytesMut::new();
        encode_all(values, &mut out);
        out
    }

    fn any_value() -> impl Strategy<Value = Value> {
        // NaN is not equal to itself; everything else must come back.
        let number = prop::num::f64::ANY.prop_filter("not NaN", |n| !n.is_nan());
        let leaf = prop_oneof![
            number.clone().prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            "\\PC{0,20}".prop_map(Value::String),
            Just(Value::String("x".repeat(65_536))),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
            any::<u16>().prop_map(Value::Reference),
            "\\PC{0,20}".prop_map(Value::Xml),
            (number, any::<i16>()).prop_map(|(unix_ms, zone)| Value::Date { unix_ms, zone }),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let properties = prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..4);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                prop::collection::vec(inner, 0..4).prop_map(Value::StrictArray),
                ("[a-z]{0,8}", properties)
                    .prop_map(|(class, properties)| Value::TypedObject { class, properties }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn values_come_back_as_they_were(values in prop::collection::vec(any_value(), 0..4)) {
            let limits = AmfLimits { message_bytes_max: usize::MAX, string_bytes_max: 70_000, ..AmfLimits::default() };
            prop_assert_eq!(decode_all(&encoded(&values), &limits), Ok(values));
        }

        #[test]
        fn any_bytes_give_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_all(&bytes, &AmfLimits::default());
        }
    }

    #[test]
    fn bounds_are_named_errors() {
        let limits = AmfLimits {
            message_bytes_max: 200,
            depth_max: 2,
            string_bytes_max: 5,
            values_max: 10,
        };
        let decode = |values: &[Value]| decode_all(&encoded(values), &limits);
        let nested =
            |depth| (0..depth).fold(Value::Null, |inner, _| Value::StrictArray(vec![inner]));
        assert!(decode(&[nested(2)]).is_ok());
        assert_eq!(decode(&[nested(3)]), Err(AmfError::Depth));
        assert_eq!(decode(&["123456".into()]), Err(AmfError::StringLength));
        assert_eq!(
            decode(&[Value::StrictArray(vec![Value::Null; 10])]),
            Err(AmfError::Values)
        );
        assert_eq!(decode_all(&[5; 201], &limits), Err(AmfError::MessageLength));
        assert_eq!(decode_all(&[0x11, 1], &limits), Err(AmfError::Marker));
        assert_eq!(decode_all(&[0, 1], &limits), Err(AmfError::Truncated));
        // A count of four thousand million costs nothing.
        assert_eq!(
            decode_all(&[10, 0xff, 0xff, 0xff, 0xff], &limits),
            Err(AmfError::Truncated)
        );
    }
}
