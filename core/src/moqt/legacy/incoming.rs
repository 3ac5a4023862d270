//! Data streams of a peer of draft 16, rewritten to canonical ones while they arrive.
//!
//! | state | waits for | then |
//! |---|---|---|
//! | `Type` | the stream's type and header | `Objects`, `Fetch` |
//! | `Objects` | the framing of a subgroup's object | `Payload` |
//! | `Fetch` | the framing of a fetch's object or end of range | `Payload` |
//! | `Payload` | the rest of a payload, which passes as it is | what was before |
//! | `Nothing` | - (the rest has no meaning) | |
//!
//! Framing is small and copied; a payload is passed on in the pieces that it came in. Framing that
//! cannot be understood as an object of a sound track is passed on as just that, so that the session
//! gives the track up.
//!
//! Limit: of framing no more is kept than the properties that the session allows and three integers.
//! Source: draft-ietf-moq-transport-16, Section 10.4.

use super::fetch::Place;
use super::integer::{MAX_LEN, Walk};
use super::pairs;
use crate::moqt::error::ProtocolError;
use crate::moqt::filter::GroupOrder;
use crate::moqt::name::RequestId;
use crate::moqt::varint;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

const FETCH: u64 = 0x05;
const EXTENSIONS: u64 = 0x01;
const SUBGROUP_ID_MODE: u64 = 0x06;
const SUBGROUP_ID_FIRST_OBJECT: u64 = 0x02;
const SUBGROUP_ID_EXPLICIT: u64 = 0x04;
const SUBGROUP: u64 = 0x10;
const DEFAULT_PRIORITY: u64 = 0x20;
/// Later drafts: the first object here is the first of the subgroup.
const FIRST_OBJECT: u64 = 0x40;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another object or end of range.
    Item,
    /// So many bytes of payload.
    Payload(u64),
    /// Nothing that could be understood.
    Nothing,
}

/// Framing, rewritten.
#[derive(Debug)]
pub(super) struct Head {
    used: usize,
    out: BytesMut,
    then: Then,
}

impl Head {
    /// Of what `walk` has passed of `bytes`.
    pub(super) fn new(bytes: &[u8], walk: &Walk<'_>, out: BytesMut, then: Then) -> Self {
        Self {
            used: bytes.len().saturating_sub(walk.len()),
            out,
            then,
        }
    }

    /// After which nothing can be understood.
    pub(super) fn broken(out: BytesMut) -> Self {
        Self {
            used: 0,
            out,
            then: Then::Nothing,
        }
    }
}

/// Rewrites a field of extensions: its length and pairs. `None` when bytes are missing;
/// [`Then::Nothing`] when the field makes the track malformed, which `out` then shows.
pub(super) fn extensions(walk: &mut Walk<'_>, max: usize, out: &mut BytesMut) -> Option<Then> {
    let length = walk.int()?;
    if length > max as u64 {
        varint::encode(length, out);
        return Some(Then::Nothing);
    }
    let block = walk.bytes(length)?;
    let mut pairs = BytesMut::with_capacity(block.len() + MAX_LEN);
    if pairs::from_16(block, &mut pairs).is_err() {
        // The start of an integer that does not end: no block of pairs.
        out.put_slice(&[1, 0xff]);
        // As if the payload were empty, so that the object is complete and can be judged.
        out.put_slice(&[0, 0]);
        return Some(Then::Nothing);
    }
    varint::encode(pairs.len() as u64, out);
    out.put_slice(&pairs);
    Some(Then::Item)
}

/// What the session knows about a fetch of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchOf {
    /// Its canonical id.
    pub(super) request: RequestId,
    /// In which order it asked for groups.
    pub(super) order: GroupOrder,
}

#[derive(Debug)]
enum State {
    Type,
    Objects { has_extensions: bool },
    Fetch(Place),
    Payload { missing: u64, next: Next },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Objects { has_extensions: bool },
    Fetch(Place),
}

/// One data stream of the peer.
#[derive(Debug)]
pub(super) struct Incoming {
    state: State,
    /// Framing that has not fully arrived.
    held: BytesMut,
    /// Whether nobody waits for it.
    is_unwanted: bool,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            state: State::Type,
            held: BytesMut::new(),
            is_unwanted: false,
        }
    }

    /// Whether it answers a fetch that was given up: it can be stopped.
    pub(super) const fn is_unwanted(&self) -> bool {
        self.is_unwanted
    }

    /// Bytes that wait for the rest of their framing.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next bytes of the stream and appends what the session is to see of them. `fetch`
    /// looks a request of this end up.
    pub(super) fn push(
        &mut self,
        mut piece: Bytes,
        properties_max: usize,
        fetch: &impl Fn(RequestId) -> Result<Option<FetchOf>, ProtocolError>,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), ProtocolError> {
        while !piece.is_empty() {
            if let State::Payload { missing, next } = &mut self.state {
                let taken = usize::try_from(*missing).unwrap_or(usize::MAX);
                let taken = piece.split_to(taken.min(piece.len()));
                *missing -= taken.len() as u64;
                out.push_back(taken);
                if *missing == 0 {
                    self.state = match *next {
                        Next::Objects { has_extensions } => State::Objects { has_extensions },
                        Next::Fetch(place) => State::Fetch(place),
                    };
                }
                continue;
            }
            if matches!(self.state, State::Nothing) {
                return Ok(());
            }
            if !self.step(&mut piece, properties_max, fetch, out)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the stream may end here. Inside a payload it may not either: the session sees that.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        if self.held.is_empty() {
            return Ok(());
        }
        Err(ProtocolError::violation(
            "data stream ends inside an object",
        ))
    }

    /// Reads one piece of framing. Returns whether it was all there.
    fn step(
        &mut self,
        piece: &mut Bytes,
        properties_max: usize,
        fetch: &impl Fn(RequestId) -> Result<Option<FetchOf>, ProtocolError>,
        out: &mut VecDeque<Bytes>,
    ) -> Result<bool, ProtocolError> {
        let before = self.held.len();
        if before == 0 {
            let Some(head) = self.read(piece, properties_max, fetch)? else {
                self.held.put_slice(piece);
                return Ok(false);
            };
            piece.advance(head.used.min(piece.len()));
            self.take(head, out);
            return Ok(true);
        }
        // Twice as much each time, so that long framing is not read over and over, and so that
        // little of a payload is copied.
        let more = piece.len().min(before.max(MAX_LEN));
        let mut held = std::mem::take(&mut self.held);
        held.put_slice(piece.get(..more).unwrap_or_default());
        if let Some(head) = self.read(&held, properties_max, fetch)? {
            let used = head.used.saturating_sub(before);
            piece.advance(used.min(piece.len()));
            self.take(head, out);
        } else {
            piece.advance(more);
            self.held = held;
        }
        Ok(true)
    }

    fn take(&mut self, head: Head, out: &mut VecDeque<Bytes>) {
        if !head.out.is_empty() {
            out.push_back(head.out.freeze());
        }
        let next = match self.state {
            State::Objects { has_extensions } => Next::Objects { has_extensions },
            State::Fetch(place) => Next::Fetch(place),
            State::Type | State::Payload { .. } | State::Nothing => return,
        };
        match head.then {
            Then::Payload(missing) if missing > 0 => self.state = State::Payload { missing, next },
            Then::Payload(_) | Then::Item => {}
            Then::Nothing => self.state = State::Nothing,
        }
    }

    fn read(
        &mut self,
        bytes: &[u8],
        properties_max: usize,
        fetch: &impl Fn(RequestId) -> Result<Option<FetchOf>, ProtocolError>,
    ) -> Result<Option<Head>, ProtocolError> {
        match &mut self.state {
            State::Type => self.read_header(bytes, fetch),
            State::Objects { has_extensions } => {
                Ok(read_object(bytes, *has_extensions, properties_max))
            }
            State::Fetch(place) => place.item_from_16(bytes, properties_max),
            State::Payload { .. } | State::Nothing => Ok(None),
        }
    }

    fn read_header(
        &mut self,
        bytes: &[u8],
        fetch: &impl Fn(RequestId) -> Result<Option<FetchOf>, ProtocolError>,
    ) -> Result<Option<Head>, ProtocolError> {
        let mut walk = Walk::new(bytes);
        let Some(code) = walk.int() else {
            return Ok(None);
        };
        let mut out = BytesMut::with_capacity(32);
        if code == FETCH {
            let Some(id) = walk.int() else {
                return Ok(None);
            };
            let Some(known) = fetch(RequestId(id))? else {
                self.is_unwanted = true;
                self.state = State::Nothing;
                return Ok(Some(Head::broken(out)));
            };
            varint::encode(FETCH, &mut out);
            varint::encode(known.request.0, &mut out);
            self.state = State::Fetch(Place::start(known.order));
        } else {
            let is_subgroup = code & !0x3f == 0
                && code & SUBGROUP != 0
                && code & SUBGROUP_ID_MODE != SUBGROUP_ID_MODE;
            if !is_subgroup {
                return Err(ProtocolError::violation("unknown stream type"));
            }
            if read_subgroup(code, &mut walk, &mut out).is_none() {
                return Ok(None);
            }
            let has_extensions = code & EXTENSIONS != 0;
            self.state = State::Objects { has_extensions };
        }
        Ok(Some(Head::new(bytes, &walk, out, Then::Item)))
    }
}

fn read_subgroup(code: u64, walk: &mut Walk<'_>, out: &mut BytesMut) -> Option<()> {
    let mode = code & SUBGROUP_ID_MODE;
    // A subgroup that is named after the first object here begins with it.
    let is_first = mode == SUBGROUP_ID_FIRST_OBJECT;
    varint::encode(code | if is_first { FIRST_OBJECT } else { 0 }, out);
    varint::encode(walk.int()?, out);
    varint::encode(walk.int()?, out);
    if mode == SUBGROUP_ID_EXPLICIT {
        varint::encode(walk.int()?, out);
    }
    if code & DEFAULT_PRIORITY == 0 {
        out.put_u8(walk.u8()?);
    }
    Some(())
}

fn read_object(bytes: &[u8], has_extensions: bool, properties_max: usize) -> Option<Head> {
    let mut walk = Walk::new(bytes);
    let mut out = BytesMut::with_capacity(32);
    varint::encode(walk.int()?, &mut out);
    if has_extensions && extensions(&mut walk, properties_max, &mut out)? == Then::Nothing {
        return Some(Head::broken(out));
    }
    let length = walk.int()?;
    varint::encode(length, &mut out);
    if length == 0 {
        varint::encode(walk.int()?, &mut out);
    }
    Some(Head::new(bytes, &walk, out, Then::Payload(length)))
}
