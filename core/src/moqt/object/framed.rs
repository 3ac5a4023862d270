//! [`Framed`]: an object as subgroup streams carry it, framing and payload in one run of bytes.
//!
//! Streams on which the same object follows the same object carry the same bytes, but for the first of
//! each stream, which the stream's header goes before. So they are written once, and each stream is
//! handed a reference to them: one piece, where the payload may have come in as many as it took packets.
//!
//! The payload becomes a part of the run, so that the object keeps no other copy of it.
//!
//! Source: draft-ietf-moq-transport-18, Section 11.4.2; the same bytes up to draft 22.

use super::{Object, encode_subgroup_object};
use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};

/// What framing takes beside the properties, at most: four integers of nine bytes.
const FRAMING_BYTES: usize = 36;

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Framed {
    bytes: Bytes,
    object: u64,
    previous: Option<u64>,
    has_properties: bool,
}

impl Framed {
    /// Writes an object as it follows `previous`, and moves its payload there.
    pub fn new(object: &mut Object, previous: Option<u64>, has_properties: bool) -> Self {
        let around = FRAMING_BYTES.saturating_add(object.properties.raw().len());
        let mut run = BytesMut::with_capacity(object.payload.len().saturating_add(around));
        encode_subgroup_object(object, previous, has_properties, &mut run);
        let framing = run.len();
        for piece in object.payload.pieces() {
            run.put_slice(piece);
        }
        let bytes = run.freeze();
        object.payload = Payload::from(bytes.slice(framing..));
        Self {
            bytes,
            object: object.object,
            previous,
            has_properties,
        }
    }

    /// The bytes, if they are those of this object after `previous`.
    pub fn of(&self, object: u64, previous: Option<u64>, has_properties: bool) -> Option<Payload> {
        let is_same = self.object == object
            && self.previous == previous
            && self.has_properties == has_properties;
        is_same.then(|| Payload::from(self.bytes.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_object_is_framing_and_payload_in_one_run_and_holds_no_second_copy() {
        let pieces = [&b"ab"[..], b"cdef", b"g"].map(Bytes::from_static);
        let plain = Object {
            object: 7,
            payload: Payload::from_pieces(pieces.to_vec()),
            ..Object::default()
        };
        let mut object = plain.clone();
        let framed = Framed::new(&mut object, Some(5), false);
        assert_eq!(object, plain);
        let mut expected = BytesMut::new();
        encode_subgroup_object(&plain, Some(5), false, &mut expected);
        expected.put_slice(b"abcdefg");
        let run = framed.of(7, Some(5), false).expect("the same place");
        assert_eq!(run, Payload::from(expected.freeze()));
        let (run, payload) = (run.to_bytes(), object.payload.to_bytes());
        let shared = run.slice(run.len() - payload.len()..);
        assert_eq!(shared.as_ptr(), payload.as_ptr());
    }

    #[test]
    fn other_places_and_streams_with_other_framing_get_nothing() {
        let mut object = Object {
            object: 7,
            ..Object::default()
        };
        let framed = Framed::new(&mut object, Some(6), false);
        assert!(framed.of(7, Some(6), false).is_some());
        assert!(framed.of(7, Some(5), false).is_none());
        assert!(framed.of(7, None, false).is_none());
        assert!(framed.of(8, Some(6), false).is_none());
        assert!(framed.of(7, Some(6), true).is_none());
    }
}
