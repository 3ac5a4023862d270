//! Data streams of this end, rewritten for a peer of draft 16 while they are sent.
//!
//! A write of the session is framing, whole, and then at most one payload. The framing is rewritten,
//! the payload passes as it is.
//!
//! What draft 16 cannot say, an id of 2^62 or more, costs the stream.
//!
//! Source: draft-ietf-moq-transport-16, Section 10.4.

use super::fetch::{Place, Untranslated};
use super::integer;
use super::pairs;
use crate::moqt::filter::GroupOrder;
use crate::moqt::name::RequestId;
use crate::moqt::wire::Reader;
use bytes::{BufMut, Bytes, BytesMut};

const FETCH: u64 = 0x05;
const PROPERTIES: u64 = 0x01;
const SUBGROUP_ID_MODE: u64 = 0x06;
const SUBGROUP_ID_EXPLICIT: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x20;
const FIRST_OBJECT: u64 = 0x40;

/// A fetch of the peer: its id at draft 16, and the order of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchFor {
    pub(super) request: RequestId,
    pub(super) order: GroupOrder,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Type,
    Objects { has_properties: bool },
    Fetch(Place),
}

/// One data stream of this end.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: State,
    /// Bytes of a payload that are still to come.
    missing: u64,
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Type,
            missing: 0,
        }
    }

    /// Rewrites the framing of a write that carries `payload` bytes after it. `fetch` looks a
    /// request of the peer up by its canonical id.
    pub(super) fn head(
        &mut self,
        head: &[u8],
        payload: usize,
        fetch: impl Fn(RequestId) -> Option<FetchFor>,
    ) -> Result<Bytes, Untranslated> {
        let mut reader = Reader::new(head);
        let mut out = BytesMut::with_capacity(head.len() + 16);
        while !reader.is_empty() {
            // Payloads are no part of the framing in any write of the session.
            if self.missing > 0 {
                return Err(Untranslated);
            }
            match &mut self.state {
                State::Type => self.state = header(&mut reader, &mut out, &fetch)?,
                State::Objects { has_properties } => {
                    self.missing = object(&mut reader, *has_properties, &mut out)?;
                }
                State::Fetch(place) => self.missing = place.item_to_16(&mut reader, &mut out)?,
            }
        }
        self.missing = self
            .missing
            .checked_sub(payload as u64)
            .ok_or(Untranslated)?;
        Ok(out.freeze())
    }
}

fn header(
    reader: &mut Reader<'_>,
    out: &mut BytesMut,
    fetch: &impl Fn(RequestId) -> Option<FetchFor>,
) -> Result<State, Untranslated> {
    let code = reader.varint()?;
    if code == FETCH {
        let request = RequestId(reader.varint()?);
        let known = fetch(request).ok_or(Untranslated)?;
        integer::encode(FETCH, out)?;
        integer::encode(known.request.0, out)?;
        return Ok(State::Fetch(Place::start(known.order)));
    }
    integer::encode(code & !FIRST_OBJECT, out)?;
    integer::encode(reader.varint()?, out)?;
    integer::encode(reader.varint()?, out)?;
    if code & SUBGROUP_ID_MODE == SUBGROUP_ID_EXPLICIT {
        integer::encode(reader.varint()?, out)?;
    }
    if code & DEFAULT_PRIORITY == 0 {
        out.put_u8(reader.u8()?);
    }
    let has_properties = code & PROPERTIES != 0;
    Ok(State::Objects { has_properties })
}

/// Rewrites an object's framing and returns the length of its payload.
fn object(
    reader: &mut Reader<'_>,
    has_properties: bool,
    out: &mut BytesMut,
) -> Result<u64, Untranslated> {
    integer::encode(reader.varint()?, out)?;
    if has_properties {
        let mut block = BytesMut::new();
        pairs::to_16(reader.prefixed()?, &mut block);
        integer::put_prefixed(&block, out)?;
    }
    let length = reader.varint()?;
    integer::encode(length, out)?;
    if length == 0 {
        integer::encode(reader.varint()?, out)?;
    }
    Ok(length)
}
