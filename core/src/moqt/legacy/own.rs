//! What the session writes on its control stream and on virtual streams, said at draft 16.
//!
//! | on a stream of this end | becomes |
//! |---|---|
//! | a request, a REQUEST_UPDATE | the same, with the next id, once there is credit for it |
//! | PUBLISH_DONE | the same, by id |
//! | the end of PUBLISH_NAMESPACE | PUBLISH_NAMESPACE_DONE |
//! | giving SUBSCRIBE, FETCH, PUBLISH up | UNSUBSCRIBE, FETCH_CANCEL, PUBLISH_DONE |
//!
//! | on a stream of the peer | becomes |
//! |---|---|
//! | an answer, PUBLISH_DONE | the same, by id |
//! | giving an unanswered request up | REQUEST_ERROR |
//! | giving SUBSCRIBE, PUBLISH, PUBLISH_NAMESPACE up | PUBLISH_DONE, UNSUBSCRIBE, PUBLISH_NAMESPACE_CANCEL |
//!
//! Source: draft-ietf-moq-transport-16, Sections 5, 6, 9.

use super::message::Control;
use super::requests::{Update, set_id};
use super::{Adapter, Bytes, Draft, Message, Origin, ProtocolError, Side, StreamEvent, StreamId};
use super::{codes, namespaces};
use crate::moqt::error::RequestCode;
use crate::moqt::message::{FetchTarget, PublishDone, RequestError, RequestKind};
use crate::moqt::name::RequestId;

/// What the reason of a request says that is given up without one.
const GIVEN_UP: &str = "given up";

impl Adapter {
    /// The session writes on its control stream.
    pub(super) fn take_control_write(&mut self, head: &Bytes) -> Result<(), ProtocolError> {
        self.control_writer.push(head);
        while let Some(message) = self.control_writer.poll(Draft::D16)? {
            let max_request_id = self.granted.max();
            match (message, self.side) {
                (Message::Setup(setup), Side::Client) => self.send(&Control::ClientSetup {
                    setup,
                    max_request_id,
                })?,
                (Message::Setup(setup), Side::Server) => self.send(&Control::ServerSetup {
                    setup,
                    max_request_id,
                })?,
                (Message::Goaway(goaway), _) => {
                    self.send(&Control::Goaway(goaway.new_session_uri))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The session writes on a virtual stream.
    pub(super) fn take_request_write(
        &mut self,
        stream: StreamId,
        head: &Bytes,
        fin: bool,
    ) -> Result<(), ProtocolError> {
        if let Some(request) = self.requests.request_mut(stream) {
            request.reader.push(head);
        }
        while let Some(request) = self.requests.request_mut(stream) {
            let Some(message) = request.reader.poll(Draft::D16)? else {
                break;
            };
            self.take_own_message(stream, message)?;
        }
        if fin {
            self.finish(stream)?;
        }
        Ok(())
    }

    fn take_own_message(
        &mut self,
        stream: StreamId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        let Some(request) = self.requests.request_mut(stream) else {
            return Ok(());
        };
        match message {
            message if request.kind.is_none() => {
                self.requests.describe(stream, &message);
                self.ask(stream, message)
            }
            Message::RequestUpdate(_) => {
                request.updates.push_back(Update {
                    outer: None,
                    answer: None,
                });
                self.ask(stream, message)
            }
            Message::PublishDone(_) => {
                if let Some(request) = request.outer {
                    let answer = message;
                    self.send(&Control::Answer { request, answer })?;
                }
                self.end(stream)
            }
            Message::Namespace(message) => match request.stream {
                Some(outer) => self.send_on(outer, &Control::Namespace(message.suffix)),
                None => Ok(()),
            },
            Message::NamespaceDone(message) => match request.stream {
                Some(outer) => self.send_on(outer, &Control::NamespaceDone(message.suffix)),
                None => Ok(()),
            },
            // Draft 16 has no word for it, and what it says is not needed.
            Message::PublishSkipped(_) | Message::Goaway(_) => Ok(()),
            answer => self.answer(stream, answer),
        }
    }

    /// Answers the request or the oldest update of the peer on this stream.
    fn answer(&mut self, stream: StreamId, answer: Message) -> Result<(), ProtocolError> {
        let Some(known) = self.requests.request_mut(stream) else {
            return Ok(());
        };
        let is_first = stream.origin() == Origin::Peer && !known.is_answered;
        if !is_first {
            let Some(request) = known.peer_updates.pop_front() else {
                return Ok(());
            };
            self.send(&Control::Answer { request, answer })?;
            return self.give_credit_back();
        }
        known.is_answered = true;
        let (Some(kind), Some(request)) = (known.kind, known.outer) else {
            return Ok(());
        };
        if namespaces::is_about(kind) {
            return self.answer_namespaces(stream, answer);
        }
        let is_refused = matches!(answer, Message::RequestError(_));
        match answer {
            Message::RequestOk(answer) if kind == RequestKind::Publish => {
                self.send(&Control::PublishOk { request, answer })?;
            }
            answer => self.send(&Control::Answer { request, answer })?,
        }
        if is_refused {
            self.end(stream)?;
        }
        Ok(())
    }

    /// Sends a request or an update of the session, or keeps it until there is credit.
    fn ask(&mut self, stream: StreamId, message: Message) -> Result<(), ProtocolError> {
        if !self.requests.is_waiting() && self.own.next().is_some() {
            return self.ask_now(stream, message);
        }
        if let Some(max) = self.own.blocked() {
            self.send(&Control::RequestsBlocked(max))?;
        }
        let is_update = matches!(message, Message::RequestUpdate(_));
        if self
            .requests
            .wait(stream, message, self.limits.requests_max)
        {
            return Ok(());
        }
        let error = RequestError::new(
            RequestCode::EXCESSIVE_LOAD,
            "too many requests wait for the peer's credit",
        );
        self.refuse(stream, is_update, error)
    }

    /// Sends what waits for credit, as far as there is some.
    pub(super) fn ask_waiting(&mut self) -> Result<(), ProtocolError> {
        while self.own.next().is_some() {
            let Some((stream, message)) = self.requests.next_waiting() else {
                break;
            };
            self.ask_now(stream, message)?;
        }
        Ok(())
    }

    fn ask_now(&mut self, stream: StreamId, mut message: Message) -> Result<(), ProtocolError> {
        let Some(id) = self.own.next() else {
            return Ok(());
        };
        set_id(&mut message, id);
        let is_update = matches!(message, Message::RequestUpdate(_));
        if !self.name_joined(&mut message) {
            let code = RequestCode::INVALID_JOINING_REQUEST_ID;
            let error = RequestError::new(code, "no such subscription to join");
            return self.refuse(stream, is_update, error);
        }
        let existing = self.requests.request(stream).and_then(|known| known.outer);
        let control = match message {
            Message::RequestUpdate(update) => {
                existing.map(|existing| Control::Update { existing, update })
            }
            Message::SubscribeNamespace(_) | Message::SubscribeTracks(_) => {
                return self.ask_for_namespaces(stream, id, message);
            }
            message => Some(Control::Request(message)),
        };
        let mut out = super::BytesMut::new();
        let written = control.map(|control| control.encode(&mut out));
        let Some((Ok(()), outer)) = written.zip(self.control) else {
            let reason = "a request that this draft cannot express";
            let error = RequestError::new(RequestCode::NOT_SUPPORTED, reason);
            return self.refuse(stream, is_update, error);
        };
        self.own.take();
        if is_update {
            self.requests.name_update(stream, id);
        } else {
            self.requests.name(stream, id);
        }
        self.write(outer, out.freeze(), false);
        Ok(())
    }

    /// Writes the id outside of the subscription that a fetch joins. Returns whether there is one.
    fn name_joined(&self, message: &mut Message) -> bool {
        let Message::Fetch(fetch) = message else {
            return true;
        };
        match &mut fetch.target {
            FetchTarget::Track(_) => true,
            FetchTarget::RelativeJoin { joining, .. }
            | FetchTarget::AbsoluteJoin { joining, .. } => {
                let outer = self.requests.outer_of(*joining);
                *joining = outer.unwrap_or(*joining);
                outer.is_some()
            }
        }
    }

    /// Refuses a request or update of the session in the peer's place.
    pub(super) fn refuse(
        &mut self,
        stream: StreamId,
        is_update: bool,
        error: RequestError,
    ) -> Result<(), ProtocolError> {
        let answer = Message::from(error);
        if !is_update {
            self.give(stream, &answer)?;
            return self.end(stream);
        }
        if let Some(request) = self.requests.request_mut(stream) {
            let unsent = |update: &&mut Update| update.outer.is_none() && update.answer.is_none();
            if let Some(update) = request.updates.iter_mut().find(unsent) {
                update.answer = Some(answer);
            }
        }
        self.give_update_answers(stream)
    }

    /// Shows the session the answers to its updates, in the order of the updates.
    pub(super) fn give_update_answers(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        while let Some(request) = self.requests.request_mut(stream) {
            let Some(answer) = request.updates.front_mut().and_then(|u| u.answer.take()) else {
                break;
            };
            request.updates.pop_front();
            self.give(stream, &answer)?;
        }
        Ok(())
    }

    /// The session closed its direction of a virtual stream: to it the request is over.
    fn finish(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        let Some(request) = self.requests.request(stream) else {
            return Ok(());
        };
        match (request.kind, stream.origin(), request.outer) {
            (Some(RequestKind::PublishNamespace), Origin::Local, Some(outer)) => {
                self.send(&Control::PublishNamespaceDone(outer))?;
            }
            (Some(kind), _, _) if namespaces::is_about(kind) => {
                return self.finish_namespaces(stream);
            }
            _ => {}
        }
        self.end(stream)
    }

    /// The session gives a request up.
    pub(super) fn give_up(&mut self, stream: StreamId, code: u64) -> Result<(), ProtocolError> {
        let Some(known) = self.requests.request(stream) else {
            return Ok(());
        };
        let (Some(kind), Some(outer)) = (known.kind, known.outer) else {
            self.forget(stream)?;
            return Ok(());
        };
        if namespaces::is_about(kind) {
            return self.give_up_namespaces(stream, code);
        }
        let is_answered = known.is_answered;
        let message = match (kind, stream.origin()) {
            (_, Origin::Peer) if !is_answered => Some(Control::Answer {
                request: outer,
                answer: RequestError::new(codes::request_of_stream(code), GIVEN_UP).into(),
            }),
            (RequestKind::Subscribe, Origin::Local) | (RequestKind::Publish, Origin::Peer) => {
                Some(Control::Unsubscribe(outer))
            }
            (RequestKind::Subscribe, Origin::Peer) | (RequestKind::Publish, Origin::Local) => {
                Some(done(outer, code))
            }
            (RequestKind::Fetch, Origin::Local) => Some(Control::FetchCancel(outer)),
            (RequestKind::PublishNamespace, Origin::Local) => {
                Some(Control::PublishNamespaceDone(outer))
            }
            (RequestKind::PublishNamespace, Origin::Peer) => {
                Some(Control::PublishNamespaceCancel {
                    request: outer,
                    code: codes::request_of_stream(code),
                    reason: GIVEN_UP.to_owned(),
                })
            }
            _ => None,
        };
        if let Some(message) = message {
            self.send(&message)?;
        }
        self.forget(stream)
    }

    /// A request is over, and the session waits for the end of the peer's direction.
    pub(super) fn end(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        self.pass(stream, StreamEvent::Finished);
        self.forget(stream)
    }

    /// A request is over at both ends.
    pub(super) fn forget(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        let Some(request) = self.requests.remove(stream) else {
            return Ok(());
        };
        for request in request.peer_updates {
            // Every update is answered, also when what it changes is gone.
            let code = RequestCode::DOES_NOT_EXIST;
            let answer = RequestError::new(code, "the request is over").into();
            self.send(&Control::Answer { request, answer })?;
            self.give_credit_back()?;
        }
        if stream.origin() == Origin::Peer && request.stream.is_none() {
            self.give_credit_back()?;
        }
        Ok(())
    }

    /// A request or an update of the peer is over.
    pub(super) fn give_credit_back(&mut self) -> Result<(), ProtocolError> {
        match self.granted.end() {
            Some(max) => self.send(&Control::MaxRequestId(max)),
            None => Ok(()),
        }
    }
}

/// A publisher's end of a subscription, in place of a reset.
fn done(request: RequestId, code: u64) -> Control {
    let done = PublishDone {
        code: codes::done_of_stream(code),
        stream_count: None,
        reason: GIVEN_UP.to_owned(),
    };
    Control::Answer {
        request,
        answer: done.into(),
    }
}
