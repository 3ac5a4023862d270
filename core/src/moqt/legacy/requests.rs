//! The open requests of both ends: their virtual streams inside, their ids outside.
//!
//! Ids differ between the two: a SUBSCRIBE_NAMESPACE for namespaces and tracks is two requests
//! inside, and a request that waits for credit has no id outside yet.
//!
//! Bound: the session's requests, the credit granted to the peer, and as many waiting.

use super::incoming::FetchOf;
use super::outgoing::FetchFor;
use crate::map::BTreeMap;
use crate::moqt::control::ControlReader;
use crate::moqt::filter::GroupOrder;
use crate::moqt::message::{Message, RequestKind, StreamRole};
use crate::moqt::name::RequestId;
use crate::transport::{Direction, Origin, Side, StreamId};
use std::collections::VecDeque;

/// An update of this end that awaits its answer.
#[derive(Debug)]
pub(super) struct Update {
    /// Its id outside, once it is sent.
    pub(super) outer: Option<RequestId>,
    /// Its answer, when one to an earlier update is still missing.
    pub(super) answer: Option<Message>,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Request {
    /// What it asks for; `None` until the session wrote it.
    pub(super) kind: Option<RequestKind>,
    /// Its id outside; `None` while it waits for credit.
    pub(super) outer: Option<RequestId>,
    /// Its id inside.
    pub(super) inner: RequestId,
    pub(super) is_answered: bool,
    /// In which order a fetch wants its groups.
    pub(super) order: GroupOrder,
    /// Data streams that were opened for it are counted inside; this is what the session writes.
    pub(super) reader: ControlReader,
    /// This end's updates, oldest first.
    pub(super) updates: VecDeque<Update>,
    /// The peer's updates that await an answer, oldest first.
    pub(super) peer_updates: VecDeque<RequestId>,
    /// The stream outside, for namespaces.
    pub(super) stream: Option<StreamId>,
}

impl Request {
    fn new(kind: Option<RequestKind>, outer: Option<RequestId>, inner: RequestId) -> Self {
        Self {
            kind,
            outer,
            inner,
            is_answered: false,
            order: GroupOrder::Ascending,
            reader: ControlReader::new(StreamRole::Request),
            updates: VecDeque::new(),
            peer_updates: VecDeque::new(),
            stream: None,
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Requests {
    by_stream: BTreeMap<StreamId, Request>,
    by_outer: BTreeMap<RequestId, StreamId>,
    by_inner: BTreeMap<RequestId, StreamId>,
    /// Updates of this end that were sent, by their own id.
    updates: BTreeMap<RequestId, StreamId>,
    /// Streams whose next message waits for credit, in order.
    waiting: VecDeque<(StreamId, Message)>,
    next_peer_stream: u64,
    next_peer_id: u64,
}

impl Requests {
    pub(super) fn new(peer: Side) -> Self {
        Self {
            by_stream: BTreeMap::new(),
            by_outer: BTreeMap::new(),
            by_inner: BTreeMap::new(),
            updates: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_peer_stream: 0,
            next_peer_id: match peer {
                Side::Client => 0,
                Side::Server => 1,
            },
        }
    }

    /// The session opened a stream for a request that it will write now.
    pub(super) fn open(&mut self, stream: StreamId) {
        let request = Request::new(None, None, RequestId(u64::MAX));
        self.by_stream.insert(stream, request);
    }

    /// A request that the session wrote: its kind, its id inside, the order of a fetch.
    pub(super) fn describe(&mut self, stream: StreamId, message: &Message) {
        let Some(request) = self.by_stream.get_mut(&stream) else {
            return;
        };
        request.kind = message.kind().opens();
        if let Some(inner) = message.request_id() {
            request.inner = inner;
            self.by_inner.insert(inner, stream);
        }
        request.order = order_of(message);
    }

    /// A request of this end got its id.
    pub(super) fn name(&mut self, stream: StreamId, outer: RequestId) {
        if let Some(request) = self.by_stream.get_mut(&stream) {
            request.outer = Some(outer);
            self.by_outer.insert(outer, stream);
        }
    }

    /// The oldest update of this end without an id got one.
    pub(super) fn name_update(&mut self, stream: StreamId, outer: RequestId) {
        let Some(request) = self.by_stream.get_mut(&stream) else {
            return;
        };
        let unsent = |update: &&mut Update| update.outer.is_none() && update.answer.is_none();
        if let Some(update) = request.updates.iter_mut().find(unsent) {
            update.outer = Some(outer);
            self.updates.insert(outer, stream);
        }
    }

    /// Adds a request of the peer under a new virtual stream, and gives `message` its id inside.
    pub(super) fn add(&mut self, outer: RequestId, message: &mut Message) -> StreamId {
        let index = self.next_peer_stream;
        let stream = StreamId::new(Origin::Peer, Direction::Bidirectional, index);
        self.next_peer_stream += 1;
        let inner = self.next_inner();
        set_id(message, inner);
        let mut request = Request::new(message.kind().opens(), Some(outer), inner);
        request.order = order_of(message);
        self.by_stream.insert(stream, request);
        // Of two requests inside, the last one stands for the id.
        self.by_outer.insert(outer, stream);
        self.by_inner.insert(inner, stream);
        stream
    }

    /// An id inside for a request or update of the peer.
    pub(super) fn next_inner(&mut self) -> RequestId {
        let inner = RequestId(self.next_peer_id);
        self.next_peer_id = self.next_peer_id.saturating_add(2);
        inner
    }

    pub(super) fn request(&self, stream: StreamId) -> Option<&Request> {
        self.by_stream.get(&stream)
    }

    pub(super) fn request_mut(&mut self, stream: StreamId) -> Option<&mut Request> {
        self.by_stream.get_mut(&stream)
    }

    /// The virtual stream of a request, by its id outside.
    pub(super) fn stream_of(&self, outer: RequestId) -> Option<StreamId> {
        self.by_outer.get(&outer).copied()
    }

    /// The request with this id outside, if it is of this kind and end.
    pub(super) fn find(
        &self,
        outer: RequestId,
        fits: impl FnOnce(RequestKind, Origin) -> bool,
    ) -> Option<StreamId> {
        let stream = self.stream_of(outer)?;
        let kind = self.request(stream)?.kind?;
        fits(kind, stream.origin()).then_some(stream)
    }

    /// The request that an update of this end changes; the update is no longer looked for.
    pub(super) fn take_update(&mut self, outer: RequestId) -> Option<StreamId> {
        self.updates.remove(&outer)
    }

    /// A request is over.
    pub(super) fn remove(&mut self, stream: StreamId) -> Option<Request> {
        let request = self.by_stream.remove(&stream)?;
        self.by_inner.remove(&request.inner);
        if let Some(outer) = request.outer
            && self.by_outer.get(&outer) == Some(&stream)
        {
            self.by_outer.remove(&outer);
        }
        for update in &request.updates {
            if let Some(outer) = update.outer {
                self.updates.remove(&outer);
            }
        }
        self.waiting.retain(|(waiting, _)| *waiting != stream);
        Some(request)
    }

    /// A message waits for credit. Returns whether there was room for it.
    pub(super) fn wait(&mut self, stream: StreamId, message: Message, max: usize) -> bool {
        if self.waiting.len() >= max {
            return false;
        }
        self.waiting.push_back((stream, message));
        true
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn next_waiting(&mut self) -> Option<(StreamId, Message)> {
        self.waiting.pop_front()
    }

    /// A fetch of this end, by its id outside.
    pub(super) fn own_fetch(&self, outer: RequestId) -> Option<FetchOf> {
        let is_own_fetch = |kind, origin| kind == RequestKind::Fetch && origin == Origin::Local;
        let request = self.request(self.find(outer, is_own_fetch)?)?;
        Some(FetchOf {
            request: request.inner,
            order: request.order,
        })
    }

    /// A fetch of the peer, by its id inside.
    pub(super) fn fetch_of_peer(&self, inner: RequestId) -> Option<FetchFor> {
        let request = self.request(*self.by_inner.get(&inner)?)?;
        Some(FetchFor {
            request: request.outer?,
            order: request.order,
        })
    }

    /// The id inside of the request with this id outside.
    pub(super) fn inner_of(&self, outer: RequestId) -> Option<RequestId> {
        self.request(self.stream_of(outer)?)
            .map(|known| known.inner)
    }

    /// The id outside of the request with this id inside.
    pub(super) fn outer_of(&self, inner: RequestId) -> Option<RequestId> {
        self.request(*self.by_inner.get(&inner)?)?.outer
    }
}

fn order_of(message: &Message) -> GroupOrder {
    let order = message.parameters().and_then(|given| given.group_order);
    order.unwrap_or(GroupOrder::Ascending)
}

/// Gives a request another id.
pub(super) fn set_id(message: &mut Message, id: RequestId) {
    match message {
        Message::RequestUpdate(m) => m.request_id = id,
        Message::Subscribe(m) => m.request_id = id,
        Message::Publish(m) => m.request_id = id,
        Message::PublishNamespace(m) => m.request_id = id,
        Message::SubscribeNamespace(m) => m.request_id = id,
        Message::SubscribeTracks(m) => m.request_id = id,
        Message::TrackStatus(m) => m.request_id = id,
        Message::Fetch(m) => m.request_id = id,
        _ => {}
    }
}
