//! FETCH and fills: the request, its answer, and the stream that carries the objects.
//!
//! A FETCH has an answer on its request stream and objects on a stream of its own; either may come
//! first. From 20 on, a SUBSCRIBE or REQUEST_UPDATE with FILL_PARAMETERS asks for such a stream
//! beside the subscription, without an answer of its own.
//!
//! | state of a FETCH | left by |
//! |---|---|
//! | unanswered, no stream | either of them |
//! | answered or streaming | the other one |
//! | answered, stream over | - : the request is gone, without an event of its own |
//!
//! A stream that this end resets may never show its header to the peer, whatever was written to it.
//! So the request's own stream is reset with it, where it would have ended with FIN: the peer learns
//! of the end by whichever comes first.
//!
//! A fill that nobody opens stays expected until its subscription ends or newer ones push it out.
//! Objects outside the range of a FETCH are not passed on; an object past the end of the track makes
//! the track malformed.
//!
//! Source: draft-ietf-moq-transport-18, Sections 5.2, 10.12, 10.13, 11.4.4; 20, Section 5.1.3 (fill).

use super::data::Framing;
use super::incoming::{FetchBinding, Incoming, Kind};
use super::requests::Phase;
use super::{
    BytesMut, CommandError, Event, Instant, Message, Origin, ProtocolError, RequestCode, RequestId,
    Session, StreamCode, StreamEnd, StreamId, checks,
};
use crate::moqt::error::EncodeError;
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::message::{Fetch, FetchOk, FetchTarget, RequestKind};
use crate::moqt::name::Location;
use crate::moqt::object::{DataFault, FetchEvent, FetchWriter, GapKind, Object};
use crate::moqt::parameter::Parameters;

/// A fill that was asked for and has no stream yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    /// The subscription.
    request: RequestId,
    order: GroupOrder,
}

/// How a FETCH stands, beside its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchState {
    order: GroupOrder,
    /// First place that was asked for, where the request tells.
    start: Option<Location>,
    /// Last place that was asked for or, once answered, that will come.
    end: Option<Location>,
    /// Whether `end` is the end of the track.
    is_track_end: bool,
    stream: FetchStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchStream {
    /// With a deadline, once the FETCH is answered.
    Awaited(Option<Instant>),
    Open,
    Over,
    /// We reset it.
    Cut(StreamCode),
}

impl FetchState {
    pub(super) fn of(fetch: &Fetch) -> Self {
        let (start, end) = match (&fetch.target, fetch.parameters.filter) {
            (FetchTarget::AbsoluteJoin { group, .. }, _) => (Some(Location::new(*group, 0)), None),
            (_, Some(Filter::Absolute { start })) => (Some(start), None),
            (
                _,
                Some(Filter::AbsoluteRange {
                    start,
                    end_group,
                    end_object,
                }),
            ) => {
                let end = Location::new(end_group, end_object.unwrap_or(u64::MAX));
                (Some(start), Some(end))
            }
            _ => (None, None),
        };
        Self {
            order: fetch.group_order(),
            start,
            end,
            is_track_end: false,
            stream: FetchStream::Awaited(None),
        }
    }

    /// When the stream has to have begun.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self.stream {
            FetchStream::Awaited(deadline) => deadline,
            FetchStream::Open | FetchStream::Over | FetchStream::Cut(_) => None,
        }
    }

    /// Whether an object belongs to the answer, or is beyond the end of the track.
    fn admits(&self, place: Location) -> Result<bool, DataFault> {
        let is_past = self.end.is_some_and(|end| place > end);
        if is_past && self.is_track_end {
            return Err(DataFault::Track("an object past the end of the track"));
        }
        Ok(!is_past && self.start.is_none_or(|start| place >= start))
    }
}

/// Commands.
impl Session {
    /// Asks for objects of the past; the request id in `fetch` is filled in here.
    pub fn fetch(&mut self, fetch: Fetch) -> Result<RequestId, CommandError> {
        super::duties::check_fetch(&fetch)?;
        let track = match &fetch.target {
            FetchTarget::Track(track) => Some(track.clone()),
            FetchTarget::RelativeJoin { joining, .. }
            | FetchTarget::AbsoluteJoin { joining, .. } => {
                let joined = self.find(*joining)?;
                if !joined.is_subscriber() {
                    return Err(CommandError::WrongRequest(*joining));
                }
                joined.track.clone()
            }
        };
        let state = FetchState::of(&fetch);
        let id = self.ask(RequestKind::Fetch, track, |request_id| {
            Message::Fetch(Fetch {
                request_id,
                ..fetch
            })
        })?;
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.fetch = Some(state);
        }
        Ok(id)
    }

    /// Agrees to a FETCH, once its end is known. Its stream may be opened before or after.
    pub fn accept_fetch(
        &mut self,
        request: RequestId,
        answer: FetchOk,
    ) -> Result<(), CommandError> {
        let stream = self.pending(request, |kind| kind == RequestKind::Fetch)?;
        let default_priority = answer.properties.default_publisher_priority();
        self.send(stream, &Message::FetchOk(answer))?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.phase = Phase::Established;
            entry.default_priority = default_priority;
        }
        self.settle_fetch(request);
        Ok(())
    }

    /// Opens the stream that answers a FETCH, or the fill that a SUBSCRIBE or REQUEST_UPDATE of this
    /// id asked for: once each. Objects without a priority get the default one that the answer's
    /// properties told, 128 before the answer. Nothing is sent before the first item or the end.
    pub fn open_fetch(&mut self, id: RequestId, priority: i32) -> Result<StreamId, CommandError> {
        let (request, order) = if let Some(fill) = self.fills.get(&id) {
            (fill.request, fill.order)
        } else {
            let entry = self.find(id)?;
            let state = entry.fetch.filter(|state| {
                entry.origin() == Origin::Peer && matches!(state.stream, FetchStream::Awaited(_))
            });
            (id, state.ok_or(CommandError::WrongRequest(id))?.order)
        };
        let entry = self
            .requests
            .get_mut(&request)
            .ok_or(CommandError::UnknownRequest(request))?;
        let is_filled = entry.is_publisher();
        match &mut entry.fetch {
            Some(state) => state.stream = FetchStream::Open,
            None if is_filled => entry.streams_opened += 1,
            None => return Err(CommandError::WrongRequest(id)),
        }
        let writer = FetchWriter::new(self.draft, order, entry.default_priority);
        self.forget_fill(id);
        let mut head = BytesMut::with_capacity(32);
        FetchWriter::encode_header(id, &mut head);
        let stream = self.open_data_stream(request, head, Framing::Fetch(writer), priority);
        self.note_fetch_stream(stream, id);
        Ok(stream)
    }

    /// Sends an object on a fetch stream, in the order that was asked for.
    pub fn send_fetch_object(
        &mut self,
        stream: StreamId,
        object: &Object,
        fin: bool,
        notify: bool,
    ) -> Result<(), CommandError> {
        let body = object.payload.clone();
        self.send_fetch_item(stream, body, fin, notify, |writer, head| {
            writer.encode_object(object, head)
        })?;
        self.note_fetched_object_sent(stream, object);
        Ok(())
    }

    /// Says on a fetch stream that everything after its last item, up to `end`, is missing.
    pub fn send_fetch_gap(
        &mut self,
        stream: StreamId,
        kind: GapKind,
        end: Location,
        fin: bool,
        notify: bool,
    ) -> Result<(), CommandError> {
        let body = super::Payload::default();
        self.send_fetch_item(stream, body, fin, notify, |writer, head| {
            writer.encode_gap(kind, end, head)
        })?;
        self.note_fetch_gap_sent(stream, kind, end);
        Ok(())
    }

    fn send_fetch_item(
        &mut self,
        stream: StreamId,
        body: super::Payload,
        fin: bool,
        notify: bool,
        write: impl FnOnce(&mut FetchWriter, &mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), CommandError> {
        let unknown = CommandError::UnknownStream(stream);
        let Some(data) = self.outgoing.get_mut(&stream) else {
            return Err(unknown);
        };
        let Framing::Fetch(writer) = &mut data.framing else {
            return Err(unknown);
        };
        let mut head = data
            .head
            .take()
            .unwrap_or_else(|| BytesMut::with_capacity(32));
        if let Err(error) = write(writer, &mut head) {
            // Nothing was written; a header that waits is kept.
            data.head = Some(head).filter(|head| !head.is_empty());
            return Err(error.into());
        }
        self.write_data(stream, head.freeze(), body, fin, notify);
        Ok(())
    }

    /// The stream of a fetch of the peer has been sent or given up.
    pub(super) fn fetch_sent(&mut self, request: RequestId) {
        if let Some(entry) = self.requests.get_mut(&request)
            && let Some(state) = &mut entry.fetch
        {
            state.stream = FetchStream::Over;
            self.settle_fetch(request);
        }
    }

    /// The stream of a fetch of the peer was reset by us.
    pub(super) fn fetch_cut(&mut self, request: RequestId, code: StreamCode) {
        if let Some(entry) = self.requests.get_mut(&request)
            && let Some(state) = &mut entry.fetch
        {
            state.stream = FetchStream::Cut(code);
            self.settle_fetch(request);
        }
    }

    /// Forgets a FETCH that is answered and whose stream is over.
    pub(super) fn settle_fetch(&mut self, request: RequestId) {
        let Some(entry) = self.requests.get(&request) else {
            return;
        };
        let cut = match entry.fetch.map(|state| state.stream) {
            Some(FetchStream::Over) => None,
            Some(FetchStream::Cut(code)) => Some(code),
            Some(FetchStream::Awaited(_) | FetchStream::Open) | None => return,
        };
        if !entry.is_established() {
            return;
        }
        let stream = entry.stream;
        if let Some(entry) = self.requests.remove(&request) {
            self.waiting.change(request, entry.armed, None);
        }
        self.request_streams.remove(&stream);
        match cut {
            Some(code) => self.reset(stream, code),
            None => self.write(stream, super::Bytes::new(), true),
        }
        self.discard_rest(stream);
    }
}

/// Fills.
impl Session {
    /// Expects the fill that a SUBSCRIBE or REQUEST_UPDATE named `id` asks for, at either end.
    pub(super) fn expect_fill(&mut self, id: RequestId, request: RequestId, asked: &Parameters) {
        let limit = self.limits.fills_max;
        let Some(entry) = self.requests.get_mut(&request) else {
            return;
        };
        if asked.group_order.is_some() {
            entry.group_order = asked.group_order;
        }
        let Some(fill) = &asked.fill else {
            return;
        };
        let order = fill.group_order.or(entry.group_order);
        let order = order.unwrap_or(GroupOrder::Ascending);
        entry.fills.push_back(id);
        let oldest = (entry.fills.len() > limit).then(|| entry.fills.pop_front());
        self.fills.insert(id, Fill { request, order });
        if let Some(oldest) = oldest.flatten() {
            self.fills.remove(&oldest);
        }
    }

    fn forget_fill(&mut self, id: RequestId) {
        let Some(fill) = self.fills.remove(&id) else {
            return;
        };
        if let Some(entry) = self.requests.get_mut(&fill.request) {
            entry.fills.retain(|other| *other != id);
        }
    }
}

/// What the peer says.
impl Session {
    /// Why a FETCH of the peer is refused before its owner sees it, if it is.
    pub(super) fn fetch_refusal(&self, fetch: &Fetch) -> Option<(RequestCode, &'static str)> {
        let joining = match &fetch.target {
            FetchTarget::Track(_) => {
                let FetchState { start, end, .. } = FetchState::of(fetch);
                let is_backwards = start.zip(end).is_some_and(|(start, end)| end < start);
                let refusal = (
                    RequestCode::INVALID_RANGE,
                    "the range ends before it starts",
                );
                return is_backwards.then_some(refusal);
            }
            FetchTarget::RelativeJoin { joining, .. }
            | FetchTarget::AbsoluteJoin { joining, .. } => joining,
        };
        let joined = self.requests.get(joining).filter(|joined| {
            joined.is_publisher() && !matches!(joined.phase, Phase::Ending { .. })
        });
        match joined {
            None => Some((
                RequestCode::INVALID_JOINING_REQUEST_ID,
                "no such subscription to join",
            )),
            Some(joined) if !joined.forward => Some((
                RequestCode::INVALID_RANGE,
                "the subscription to join has forward state 0",
            )),
            Some(_) => None,
        }
    }

    /// The answer to a FETCH of ours.
    pub(super) fn note_fetch_ok(
        &mut self,
        now: Instant,
        request: RequestId,
        answer: &FetchOk,
    ) -> Result<(), ProtocolError> {
        let deadline = now + self.limits.fetch_stream_timeout;
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let Some(state) = &mut entry.fetch else {
            return Ok(());
        };
        let end = answer.end();
        checks::fetch_end(state.start, end)?;
        state.end = Some(end);
        state.is_track_end = answer.end_of_track;
        if let FetchStream::Awaited(awaited) = &mut state.stream {
            *awaited = Some(deadline);
        }
        entry.phase = Phase::Established;
        self.arm(request);
        Ok(())
    }

    /// Reads what has come of a fetch stream. Returns whether the stream has to be kept.
    pub(super) fn advance_fetch(
        &mut self,
        stream: StreamId,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        let Kind::Fetch { reader, bound } = &mut incoming.kind else {
            return Ok(true);
        };
        loop {
            let event = match reader.poll() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(DataFault::Session(fault)) => return Err(fault),
                Err(DataFault::Track(_)) => {
                    return Ok(self.give_up_fetch(stream, *bound));
                }
            };
            match (event, *bound) {
                (FetchEvent::Header(id), _) => {
                    self.note_fetch_stream(stream, id);
                    let Some((binding, order)) = self.bind_fetch(stream, id) else {
                        self.stop(stream, StreamCode::CANCELLED);
                        return Ok(false);
                    };
                    reader.set_order(order);
                    *bound = Some(binding);
                }
                (FetchEvent::Object(object), Some(binding)) => {
                    let place = Location::new(object.group, object.object);
                    match self.fetch_admits(binding.request, place) {
                        Err(_) => return Ok(self.give_up_fetch(stream, *bound)),
                        Ok(false) => {}
                        Ok(true) => self.event(Event::FetchObject {
                            request: binding.request,
                            stream,
                            object,
                        }),
                    }
                }
                (FetchEvent::Gap { kind, end }, Some(FetchBinding { request })) => {
                    self.event(Event::FetchGap {
                        request,
                        stream,
                        kind,
                        end,
                    });
                }
                (FetchEvent::Object(_) | FetchEvent::Gap { .. }, None) => {}
            }
        }
        let Some(end) = incoming.ended else {
            incoming.release(&mut self.held_bytes);
            return Ok(true);
        };
        if end == StreamEnd::Finished {
            reader.finish()?;
        }
        if let Some(FetchBinding { request }) = *bound {
            self.fetch_received(stream, request, end);
        }
        Ok(false)
    }

    fn fetch_admits(&self, request: RequestId, place: Location) -> Result<bool, DataFault> {
        let state = self.requests.get(&request).and_then(|entry| entry.fetch);
        state.map_or(Ok(true), |state| state.admits(place))
    }

    /// Ties a stream to the FETCH or the fill that it names; `None` when nothing of ours awaits it.
    fn bind_fetch(
        &mut self,
        stream: StreamId,
        id: RequestId,
    ) -> Option<(FetchBinding, GroupOrder)> {
        let (request, order) = match self.fills.get(&id) {
            Some(fill) => (fill.request, fill.order),
            None => (id, self.requests.get(&id)?.fetch?.order),
        };
        let entry = self.requests.get_mut(&request)?;
        let is_filled = entry.is_subscriber();
        match &mut entry.fetch {
            Some(state) if entry.stream.origin() == Origin::Local => {
                if !matches!(state.stream, FetchStream::Awaited(_)) {
                    return None;
                }
                state.stream = FetchStream::Open;
            }
            None if is_filled => {}
            _ => return None,
        }
        entry.fetch_streams.push(stream);
        self.arm(request);
        self.forget_fill(id);
        Some((FetchBinding { request }, order))
    }

    /// A track whose fetched objects break the rules is given up, with its subscription.
    fn give_up_fetch(&mut self, stream: StreamId, bound: Option<FetchBinding>) -> bool {
        self.stop(stream, StreamCode::MALFORMED_TRACK);
        if let Some(FetchBinding { request }) = bound {
            if let Some(entry) = self.requests.get_mut(&request) {
                entry.fetch_streams.retain(|other| *other != stream);
            }
            self.give_up(request, StreamCode::MALFORMED_TRACK);
        }
        false
    }

    /// The stream of a fetch of ours, or of a fill, is over.
    pub(super) fn fetch_received(&mut self, stream: StreamId, request: RequestId, end: StreamEnd) {
        self.event(Event::FetchEnded {
            request,
            stream,
            end,
        });
        let Some(entry) = self.requests.get_mut(&request) else {
            return;
        };
        entry.fetch_streams.retain(|other| *other != stream);
        if let Some(state) = &mut entry.fetch {
            state.stream = FetchStream::Over;
            self.settle_fetch(request);
        } else {
            entry.streams_ended = entry.streams_ended.saturating_add(1);
            self.settle_ending(request);
        }
    }
}
