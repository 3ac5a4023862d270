//! Fetch streams: a header that names a request, then objects and gaps in the order asked for.
//!
//! | state of [`FetchReader`] | waits for |
//! |---|---|
//! | header | the whole header: `0x05, request id` |
//! | item | the framing of an object (flags and the fields that they announce) or of a gap |
//! | payload | the rest of an object's payload |
//!
//! An object's fields refer to the object before it, group and object ids as deltas. A gap is the
//! last place of a run of objects that are not there: `flags, group, object`, both absolute and
//! without a payload length. The text of the drafts leaves the last two points open; deployed
//! implementations agree on this reading, because with deltas a gap could not end in the group in
//! which it begins.
//!
//! Objects have no status here: what does not exist is skipped, or told by a gap. A datagram's
//! object has no subgroup, so none can be derived from it; such a reference makes the track
//! malformed.
//!
//! Limits: [`Limits`]. Source: draft-ietf-moq-transport-18, Section 11.4.4; 20 adds timed-out gaps.

use super::pieces::{Pieces, Walk};
use super::{DataFault, FETCH, Limits, Object, ObjectStatus};
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::filter::GroupOrder;
use crate::moqt::name::{Location, RequestId};
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{put_location, put_prefixed};
use crate::payload::Payload;
use bytes::{BufMut, Bytes, BytesMut};

const SUBGROUP_MODE: u64 = 0x03;
const SUBGROUP_ZERO: u64 = 0x00;
const SUBGROUP_PRIOR: u64 = 0x01;
const SUBGROUP_NEXT: u64 = 0x02;
const SUBGROUP_EXPLICIT: u64 = 0x03;
const OBJECT_DELTA: u64 = 0x04;
const GROUP_DELTA: u64 = 0x08;
const PRIORITY: u64 = 0x10;
const PROPERTIES: u64 = 0x20;
const DATAGRAM: u64 = 0x40;
const FLAGS_MAX: u64 = 0x7f;
const END_OF_NON_EXISTENT_RANGE: u64 = 0x8C;
const END_OF_UNKNOWN_RANGE: u64 = 0x10C;
const END_OF_TIMED_OUT_RANGE: u64 = 0x20C;

/// Flags, group, subgroup, object, the length of the properties, and a priority.
const HEAD_MAX: usize = 5 * varint::MAX_LEN + 1;

/// Why objects are missing from a fetch stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapKind {
    /// They do not exist and never will.
    NonExistent,
    /// The publisher cannot tell whether they exist.
    Unknown,
    /// They were waited for in vain (20 and later; written as `Unknown` in 18).
    TimedOut,
}

impl GapKind {
    const fn code(self, timed_out_ranges: bool) -> u64 {
        match self {
            Self::NonExistent => END_OF_NON_EXISTENT_RANGE,
            Self::TimedOut if timed_out_ranges => END_OF_TIMED_OUT_RANGE,
            Self::Unknown | Self::TimedOut => END_OF_UNKNOWN_RANGE,
        }
    }

    const fn from_code(code: u64, timed_out_ranges: bool) -> Option<Self> {
        match code {
            END_OF_NON_EXISTENT_RANGE => Some(Self::NonExistent),
            END_OF_UNKNOWN_RANGE => Some(Self::Unknown),
            END_OF_TIMED_OUT_RANGE if timed_out_ranges => Some(Self::TimedOut),
            _ => None,
        }
    }
}

/// What a fetch stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// Whose stream it is: a FETCH, or from 20 a SUBSCRIBE or REQUEST_UPDATE that asked for a fill.
    Header(RequestId),
    /// An object, its priority set; its subgroup is `None` when it first travelled in a datagram.
    Object(Object),
    /// All objects after the last item, or from the beginning of the range, up to `end` are missing.
    Gap {
        /// Why.
        kind: GapKind,
        /// The last of them.
        end: Location,
    },
}

/// How an object first travelled.
#[derive(Clone, Copy, Debug)]
enum Subgroup {
    Datagram,
    Id(u64),
}

impl Subgroup {
    const fn of(subgroup: Option<u64>) -> Self {
        match subgroup {
            None => Self::Datagram,
            Some(id) => Self::Id(id),
        }
    }

    const fn id(self) -> Option<u64> {
        match self {
            Self::Datagram => None,
            Self::Id(id) => Some(id),
        }
    }
}

/// What an object's fields may refer to.
#[derive(Clone, Copy, Debug, Default)]
struct Prior {
    /// The last object or end of a gap.
    place: Option<Location>,
    /// The last object's subgroup.
    subgroup: Option<Subgroup>,
    /// The last object's priority.
    priority: Option<u8>,
}

/// Whether `place` comes after `prior` on a stream in this order.
const fn is_after(order: GroupOrder, prior: Location, place: Location) -> bool {
    if place.group == prior.group {
        return place.object > prior.object;
    }
    match order {
        GroupOrder::Ascending => place.group > prior.group,
        GroupOrder::Descending => place.group < prior.group,
    }
}

/// Reads one fetch stream.
#[derive(Debug)]
pub struct FetchReader {
    limits: Limits,
    timed_out_ranges: bool,
    order: GroupOrder,
    pieces: Pieces,
    request: Option<RequestId>,
    prior: Prior,
    /// An object whose payload is still arriving, and how much of it is missing.
    partial: Option<(Object, usize, Vec<Bytes>)>,
    /// How much of it is there.
    taken: usize,
}

/// An item's framing.
enum Head {
    Gap(GapKind, Location),
    Object {
        object: Object,
        /// Length of the properties, when there is a field for them.
        properties: Option<usize>,
    },
}

impl FetchReader {
    /// A reader for a stream, from its first byte. Groups ascend until [`Self::set_order`].
    pub fn new(draft: Draft, limits: Limits) -> Self {
        Self {
            limits,
            timed_out_ranges: draft.profile().timed_out_ranges,
            order: GroupOrder::Ascending,
            pieces: Pieces::default(),
            request: None,
            prior: Prior::default(),
            partial: None,
            taken: 0,
        }
    }

    /// In which order the groups were asked for; to be said after the header and before any item.
    pub fn set_order(&mut self, order: GroupOrder) {
        self.order = order;
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.pieces.push(bytes);
    }

    /// Bytes pushed and not handed out as an event yet.
    pub fn buffered(&self) -> usize {
        self.pieces.len().saturating_add(self.taken)
    }

    /// The next event; `None` when more bytes are needed.
    pub fn poll(&mut self) -> Result<Option<FetchEvent>, DataFault> {
        if self.request.is_none() {
            return Ok(self.poll_header()?);
        }
        if self.partial.is_none()
            && let Some(gap) = self.begin_item()?
        {
            return Ok(Some(gap));
        }
        if let Some((_, missing, taken)) = &mut self.partial {
            self.taken += self.pieces.take(missing, taken);
        }
        match self.partial.take() {
            Some((mut object, 0, pieces)) => {
                object.payload = Payload::from_pieces(pieces);
                self.taken = 0;
                Ok(Some(FetchEvent::Object(object)))
            }
            partial => {
                self.partial = partial;
                Ok(None)
            }
        }
    }

    /// Whether the stream may end here: not inside its header, an object or a gap.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if self.request.is_none() || self.partial.is_some() || self.pieces.len() > 0 {
            return Err(ProtocolError::violation(
                "fetch stream ends inside an object",
            ));
        }
        Ok(())
    }

    fn poll_header(&mut self) -> Result<Option<FetchEvent>, ProtocolError> {
        let mut head = [0; 2 * varint::MAX_LEN];
        let filled = self.pieces.copy_from(0, &mut head);
        let mut walk = Walk {
            rest: head.get(..filled).unwrap_or_default(),
        };
        match walk.varint() {
            None => return Ok(None),
            Some(FETCH) => {}
            Some(_) => return Err(ProtocolError::violation("invalid fetch header type")),
        }
        let Some(request) = walk.varint() else {
            return Ok(None);
        };
        self.pieces.consume(filled - walk.rest.len());
        let request = RequestId(request);
        self.request = Some(request);
        Ok(Some(FetchEvent::Header(request)))
    }

    /// Reads the framing of the next item when all of it is there: a gap is complete with it, an
    /// object becomes `partial`.
    fn begin_item(&mut self) -> Result<Option<FetchEvent>, DataFault> {
        let mut head = [0; HEAD_MAX];
        let filled = self.pieces.copy_from(0, &mut head);
        let mut walk = Walk {
            rest: head.get(..filled).unwrap_or_default(),
        };
        let (mut object, properties) = match self.read_head(&mut walk)? {
            None => return Ok(None),
            Some(Head::Gap(kind, end)) => {
                self.pieces.consume(filled - walk.rest.len());
                self.prior.place = Some(end);
                return Ok(Some(FetchEvent::Gap { kind, end }));
            }
            Some(Head::Object { object, properties }) => (object, properties),
        };
        let mut used = filled - walk.rest.len();
        if let Some(length) = properties {
            if self.pieces.len() < used + length {
                return Ok(None);
            }
            if length > 0 {
                let block = self.pieces.copy_range(used, length);
                object.properties = Properties::from_object(block, object.group, object.object)
                    .map_err(DataFault::Track)?;
            }
            used += length;
        }
        let mut tail = [0; varint::MAX_LEN];
        let filled = self.pieces.copy_from(used, &mut tail);
        let mut walk = Walk {
            rest: tail.get(..filled).unwrap_or_default(),
        };
        let Some(length) = walk.varint() else {
            return Ok(None);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.limits.payload_max)
            .ok_or(DataFault::Track("object is larger than allowed"))?;
        self.pieces.consume(used + filled - walk.rest.len());
        self.prior = Prior {
            place: Some(Location::new(object.group, object.object)),
            subgroup: Some(Subgroup::of(object.subgroup)),
            priority: object.priority,
        };
        self.partial = Some((object, length, Vec::new()));
        Ok(None)
    }

    fn read_head(&self, walk: &mut Walk<'_>) -> Result<Option<Head>, DataFault> {
        let Some(flags) = walk.varint() else {
            return Ok(None);
        };
        if let Some(kind) = GapKind::from_code(flags, self.timed_out_ranges) {
            return self.read_gap(kind, walk);
        }
        if flags > FLAGS_MAX {
            return Err(ProtocolError::violation("unknown serialization flags").into());
        }
        let Some(group) = self.read_group(flags, walk)? else {
            return Ok(None);
        };
        let Some(subgroup) = self.read_subgroup(flags, walk)? else {
            return Ok(None);
        };
        let Some(object) = self.read_object_id(flags, walk)? else {
            return Ok(None);
        };
        let priority = match (flags & PRIORITY != 0, self.prior.priority) {
            (true, _) => match walk.u8() {
                Some(priority) => priority,
                None => return Ok(None),
            },
            (false, Some(priority)) => priority,
            (false, None) => return Err(no_prior().into()),
        };
        let mut properties = None;
        if flags & PROPERTIES != 0 {
            let Some(length) = walk.varint() else {
                return Ok(None);
            };
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= self.limits.properties_max)
                .ok_or(DataFault::Track("object properties are too long"))?;
            properties = Some(length);
        }
        let object = Object {
            group,
            object,
            subgroup: subgroup.id(),
            priority: Some(priority),
            ..Object::default()
        };
        Ok(Some(Head::Object { object, properties }))
    }

    fn read_gap(&self, kind: GapKind, walk: &mut Walk<'_>) -> Result<Option<Head>, DataFault> {
        let (Some(group), Some(object)) = (walk.varint(), walk.varint()) else {
            return Ok(None);
        };
        let end = Location::new(group, object);
        if let Some(prior) = self.prior.place
            && !is_after(self.order, prior, end)
        {
            return Err(DataFault::Track("a gap ends before it begins"));
        }
        Ok(Some(Head::Gap(kind, end)))
    }

    fn read_group(&self, flags: u64, walk: &mut Walk<'_>) -> Result<Option<u64>, ProtocolError> {
        let is_present = flags & GROUP_DELTA != 0;
        let Some(prior) = self.prior.place else {
            return if is_present {
                Ok(walk.varint())
            } else {
                Err(no_prior())
            };
        };
        if !is_present {
            return Ok(Some(prior.group));
        }
        let Some(delta) = walk.varint() else {
            return Ok(None);
        };
        let step = delta.checked_add(1);
        let group = step.and_then(|step| match self.order {
            GroupOrder::Ascending => prior.group.checked_add(step),
            GroupOrder::Descending => prior.group.checked_sub(step),
        });
        let fault = ProtocolError::violation("group id outside 0 to 2^64 - 1");
        group.map(Some).ok_or(fault)
    }

    /// The subgroup, of which a datagram's object has none.
    fn read_subgroup(
        &self,
        flags: u64,
        walk: &mut Walk<'_>,
    ) -> Result<Option<Subgroup>, DataFault> {
        if flags & DATAGRAM != 0 {
            return Ok(Some(Subgroup::Datagram));
        }
        let mode = flags & SUBGROUP_MODE;
        if mode == SUBGROUP_ZERO {
            return Ok(Some(Subgroup::Id(0)));
        }
        if mode == SUBGROUP_EXPLICIT {
            return Ok(walk.varint().map(Subgroup::Id));
        }
        let prior = self.prior.subgroup.ok_or(no_prior())?;
        let Subgroup::Id(prior) = prior else {
            return Err(DataFault::Track("subgroup refers to that of a datagram"));
        };
        if mode == SUBGROUP_PRIOR {
            return Ok(Some(Subgroup::Id(prior)));
        }
        let fault = ProtocolError::violation("subgroup id beyond 2^64 - 1");
        Ok(Some(Subgroup::Id(prior.checked_add(1).ok_or(fault)?)))
    }

    fn read_object_id(&self, flags: u64, walk: &mut Walk<'_>) -> Result<Option<u64>, DataFault> {
        let is_present = flags & OBJECT_DELTA != 0;
        let is_absolute = self.prior.place.is_none() || flags & GROUP_DELTA != 0;
        let prior = self.prior.place.map(|place| place.object);
        let fault = ProtocolError::violation("object id beyond 2^64 - 1");
        if !is_present {
            let next = prior.ok_or(no_prior())?.checked_add(1);
            return Ok(Some(next.ok_or(fault)?));
        }
        let Some(delta) = walk.varint() else {
            return Ok(None);
        };
        if is_absolute {
            return Ok(Some(delta));
        }
        if delta == 0 {
            return Err(DataFault::Track("the same object twice"));
        }
        let id = prior.unwrap_or_default().checked_add(delta).ok_or(fault)?;
        Ok(Some(id))
    }
}

fn no_prior() -> ProtocolError {
    ProtocolError::violation("first object of a fetch refers to one before it")
}

/// Writes the framing of one fetch stream; payloads follow their framing on the stream.
#[derive(Debug)]
pub struct FetchWriter {
    order: GroupOrder,
    timed_out_ranges: bool,
    default_priority: u8,
    prior: Prior,
}

impl FetchWriter {
    /// A writer for a stream in this order. `default_priority` stands for objects without one.
    pub fn new(draft: Draft, order: GroupOrder, default_priority: u8) -> Self {
        Self {
            order,
            timed_out_ranges: draft.profile().timed_out_ranges,
            default_priority,
            prior: Prior::default(),
        }
    }

    /// Appends the header of the stream that answers `request`.
    pub fn encode_header(request: RequestId, out: &mut BytesMut) {
        varint::encode(FETCH, out);
        varint::encode(request.0, out);
    }

    /// Appends an object's framing. Objects follow each other in the stream's order; one with a
    /// status other than normal cannot be said here.
    pub fn encode_object(
        &mut self,
        object: &Object,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if object.status != ObjectStatus::Normal {
            return Err(EncodeError::Invalid(
                "an object with a status must not be on a fetch stream",
            ));
        }
        let place = Location::new(object.group, object.object);
        let prior = self.prior;
        self.check_order(place)?;
        let (group, id) = match prior.place {
            None => (Some(place.group), Some(place.object)),
            Some(prior) if prior.group != place.group => {
                let step = prior.group.abs_diff(place.group);
                (Some(step.saturating_sub(1)), Some(place.object))
            }
            Some(prior) => match place.object.saturating_sub(prior.object) {
                1 => (None, None),
                delta => (None, Some(delta)),
            },
        };
        let (mode, subgroup) = match (object.subgroup, prior.subgroup.and_then(Subgroup::id)) {
            (None, _) => (DATAGRAM, None),
            (Some(0), _) => (SUBGROUP_ZERO, None),
            (Some(own), Some(prior)) if own == prior => (SUBGROUP_PRIOR, None),
            (Some(own), Some(prior)) if own.checked_sub(1) == Some(prior) => (SUBGROUP_NEXT, None),
            (Some(own), _) => (SUBGROUP_EXPLICIT, Some(own)),
        };
        let priority = object.priority.unwrap_or(self.default_priority);
        let has_priority = prior.priority != Some(priority);
        let flag = |bit: u64, set: bool| if set { bit } else { 0 };
        let flags = mode
            | flag(GROUP_DELTA, group.is_some())
            | flag(OBJECT_DELTA, id.is_some())
            | flag(PRIORITY, has_priority)
            | flag(PROPERTIES, !object.properties.is_empty());
        varint::encode(flags, out);
        for field in [group, subgroup, id].into_iter().flatten() {
            varint::encode(field, out);
        }
        if has_priority {
            out.put_u8(priority);
        }
        if !object.properties.is_empty() {
            put_prefixed(object.properties.raw(), out);
        }
        varint::encode(object.payload.len() as u64, out);
        self.prior = Prior {
            place: Some(place),
            subgroup: Some(Subgroup::of(object.subgroup)),
            priority: Some(priority),
        };
        Ok(())
    }

    /// Appends a gap: what comes after the last item, up to `end`, is missing.
    pub fn encode_gap(
        &mut self,
        kind: GapKind,
        end: Location,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        self.check_order(end)?;
        varint::encode(kind.code(self.timed_out_ranges), out);
        put_location(end, out);
        self.prior.place = Some(end);
        Ok(())
    }

    fn check_order(&self, place: Location) -> Result<(), EncodeError> {
        match self.prior.place {
            Some(prior) if !is_after(self.order, prior, place) => Err(EncodeError::Invalid(
                "objects of a fetch must be written in its group order",
            )),
            _ => Ok(()),
        }
    }
}
