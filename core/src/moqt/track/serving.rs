//! One FETCH or fill being answered from a track's cache: a range, a cursor in it, and a stream.
//!
//! | [`Step`] | means | goes on with |
//! |---|---|---|
//! | `Blocked` | a notified write is with the transport | [`Serving::written`], then [`Serving::serve`] |
//! | `Unknown` | the next places are neither held nor known to be absent | [`Serving::skip`], or `serve` once they are known |
//! | `Done` | everything is sent, the end of the stream too | - |
//! | `Gone` | the stream or its session is over | - |
//!
//! Groups go out ascending or descending, the objects of a group always ascending. What is known not
//! to exist is left out; what is unknown is either waited for or told. The cache is read when the
//! transport takes more, never ahead: a slow subscriber costs a cursor and at most one burst.
//!
//! Source: draft-ietf-moq-transport-19, sections 10.12.3 (fetch handling), 11.4.4 (fetch streams).

use super::cache::{Age, Cache, Piece};
use super::span::{LAST_OBJECT, Span, after};
use super::{SubscriberKey, stream_priority};
use crate::moqt::error::StreamCode;
use crate::moqt::filter::GroupOrder;
use crate::moqt::filter::sets::{Fields, ObjectFilter};
use crate::moqt::name::Location;
use crate::moqt::object::{GapKind, Object};
use crate::moqt::session::{CommandError, Session, Sessions};
use crate::transport::StreamId;

/// What an item costs on the stream beside its payload, at most.
const FRAMING_BYTES: usize = 64;

/// What a fetch wants, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which places.
    pub span: Span,
    /// In which order of groups.
    pub order: GroupOrder,
    /// The subscriber's priority; lower goes first.
    pub priority: u8,
}

/// Where a call of [`Serving::serve`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The transport has to take the last write first.
    Blocked,
    /// Nothing is known of these places, which come next.
    Unknown(Span),
    /// All is sent.
    Done,
    /// Nobody is left to send to.
    Gone,
}

/// A fetch being answered. See the module's description.
#[derive(Debug)]
pub struct Serving {
    wanted: Wanted,
    /// The next place; `None` past the end.
    at: Option<Location>,
    stream: Option<StreamId>,
    is_waiting: bool,
    /// Bytes since the last notified write.
    unnotified: usize,
    /// The last place of what was left out since the last item.
    left_out: Option<Location>,
    /// What objects have to pass.
    filter: Option<Box<ObjectFilter>>,
    /// Objects handed to the stream.
    pub objects_sent: u64,
    /// Payload bytes of those.
    pub bytes_sent: u64,
}

impl Serving {
    /// An answer that has not begun.
    pub fn new(wanted: Wanted) -> Self {
        let at = match wanted.order {
            GroupOrder::Ascending => wanted.span.start,
            GroupOrder::Descending => first_of(wanted.span, wanted.span.end.group),
        };
        Self {
            wanted,
            at: Some(at),
            stream: None,
            is_waiting: false,
            unnotified: 0,
            left_out: None,
            filter: None,
            objects_sent: 0,
            bytes_sent: 0,
        }
    }

    /// The same, of objects that pass a filter. What does not is left out without a word.
    #[must_use]
    pub fn filtered(self, filter: Option<Box<ObjectFilter>>) -> Self {
        Self { filter, ..self }
    }

    /// What is wanted.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }

    /// The next place to be told about.
    pub fn at(&self) -> Option<Location> {
        self.at
    }

    /// The open stream.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// The stream's priority from now on, where it is not open yet.
    pub fn set_priority(&mut self, priority: u8) {
        self.wanted.priority = priority;
    }

    /// Sends what the cache holds and knows, up to `burst` bytes beyond what the transport has
    /// taken. `key` names the request of the stream.
    pub fn serve(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        cache: &Cache,
        age: Age,
        publisher_priority: u8,
        burst: usize,
    ) -> Step {
        let Some(session) = sessions.session_mut(key.0) else {
            return Step::Gone;
        };
        if self.is_waiting {
            return Step::Blocked;
        }
        let Some(stream) = self.open(session, key, publisher_priority) else {
            return Step::Gone;
        };
        while self.at.is_some() {
            match self.look(cache, age) {
                Piece::Object(object) if !self.passes(object, publisher_priority) => {
                    self.pass(Location::new(object.group, object.object));
                }
                Piece::Object(object) => {
                    let size = object.payload.len();
                    let cost = size.saturating_add(FRAMING_BYTES);
                    self.unnotified = self.unnotified.saturating_add(cost);
                    let notify = self.unnotified >= burst;
                    let sent = if object.priority.is_none() && publisher_priority != 128 {
                        // A fill has no answer that could tell the track's own.
                        let priority = Some(publisher_priority);
                        let object = &Object {
                            priority,
                            ..object.clone()
                        };
                        session.send_fetch_object(stream, object, false, notify)
                    } else {
                        session.send_fetch_object(stream, object, false, notify)
                    };
                    if let Err(error) = sent {
                        return self.give_up(session, &error);
                    }
                    self.objects_sent += 1;
                    self.bytes_sent += size as u64;
                    self.left_out = None;
                    self.pass(Location::new(object.group, object.object));
                    if notify {
                        self.unnotified = 0;
                        self.is_waiting = true;
                        return Step::Blocked;
                    }
                }
                Piece::Absent(span) => {
                    let last = self.last_of(span);
                    self.left_out = Some(last);
                    self.pass(last);
                }
                Piece::Unknown(span) => return Step::Unknown(span),
            }
        }
        self.stream = None;
        match session.finish_stream(stream) {
            Ok(()) => Step::Done,
            Err(_) => Step::Gone,
        }
    }

    /// Tells that the places which [`Step::Unknown`] named, or the first of them, are not served. What
    /// is skipped as not existing is left out.
    pub fn skip(&mut self, sessions: &mut Sessions, key: SubscriberKey, kind: GapKind, span: Span) {
        let last = self.last_of(span);
        if kind == GapKind::NonExistent {
            self.left_out = Some(last);
            self.pass(last);
            return;
        }
        let (Some(session), Some(stream)) = (sessions.session_mut(key.0), self.stream) else {
            return;
        };
        // A marker speaks of everything since the last item, so what is known is told first.
        let known = self.left_out.take().map(|at| (GapKind::NonExistent, at));
        for (kind, end) in known.into_iter().chain([(kind, last)]) {
            let end = Location::new(end.group, end.object.min(LAST_OBJECT));
            self.unnotified = self.unnotified.saturating_add(FRAMING_BYTES);
            if let Err(error) = session.send_fetch_gap(stream, kind, end, false, false) {
                self.give_up(session, &error);
                return;
            }
        }
        self.pass(last);
    }

    /// The transport took the last notified write.
    pub fn written(&mut self) {
        self.is_waiting = false;
    }

    /// Abandons the stream; one that was not open is opened for it, so that the subscriber learns
    /// of it.
    pub fn reset(&mut self, sessions: &mut Sessions, key: SubscriberKey, code: StreamCode) {
        let Some(session) = sessions.session_mut(key.0) else {
            return;
        };
        let stream = self.stream.take();
        let stream = stream.or_else(|| session.open_fetch(key.1, 0).ok());
        if let Some(stream) = stream {
            session.reset_stream(stream, code);
        }
    }

    fn open(
        &mut self,
        session: &mut Session,
        key: SubscriberKey,
        publisher: u8,
    ) -> Option<StreamId> {
        if self.stream.is_none() {
            let group = self.at.map_or(0, |at| at.group);
            let Wanted {
                priority, order, ..
            } = self.wanted;
            let priority = stream_priority(priority, publisher, order, group);
            self.stream = session.open_fetch(key.1, priority).ok();
        }
        self.stream
    }

    fn give_up(&mut self, session: &mut Session, error: &CommandError) -> Step {
        if let (Some(stream), CommandError::Encode(_)) = (self.stream.take(), error) {
            session.reset_stream(stream, StreamCode::INTERNAL_ERROR);
        }
        self.at = None;
        Step::Gone
    }

    fn look<'a>(&self, cache: &'a Cache, age: Age) -> Piece<'a> {
        let Span { start, end } = self.wanted.span;
        let Some(at) = self.at else {
            return Piece::Absent(self.wanted.span);
        };
        match self.wanted.order {
            GroupOrder::Ascending => cache.piece(Span { start: at, end }, age),
            GroupOrder::Descending => {
                let end = last_of_group(self.wanted.span, at.group);
                if at == first_of(self.wanted.span, at.group) {
                    cache.piece_descending(Span { start, end }, age)
                } else {
                    cache.piece(Span { start: at, end }, age)
                }
            }
        }
    }

    fn passes(&self, object: &Object, publisher_priority: u8) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            filter.passes(Fields {
                subgroup: object.subgroup,
                object: object.object,
                priority: object.priority.unwrap_or(publisher_priority),
                properties: &object.properties,
            })
        })
    }

    /// The place of a range that is told last.
    fn last_of(&self, span: Span) -> Location {
        match self.wanted.order {
            GroupOrder::Descending if span.start.group < span.end.group => {
                last_of_group(self.wanted.span, span.start.group)
            }
            GroupOrder::Ascending | GroupOrder::Descending => span.end,
        }
    }

    /// Moves the cursor past a place.
    fn pass(&mut self, place: Location) {
        let span = self.wanted.span;
        self.at = match self.wanted.order {
            GroupOrder::Ascending => after(place).filter(|at| *at <= span.end),
            GroupOrder::Descending if place < last_of_group(span, place.group) => after(place),
            GroupOrder::Descending => (place.group > span.start.group)
                .then(|| first_of(span, place.group.saturating_sub(1))),
        };
    }
}

/// The first place of a group that is wanted.
fn first_of(span: Span, group: u64) -> Location {
    span.start.max(Location::new(group, 0))
}

/// The last place of a group that is wanted.
fn last_of_group(span: Span, group: u64) -> Location {
    span.end.min(Location::new(group, u64::MAX))
}
