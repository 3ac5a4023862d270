//! What the peer says on the control stream, as events of the session's virtual streams.
//!
//! Messages about a request that this end has just ended are ignored: they were on their way. One
//! about a request that never was closes the session with INVALID_REQUEST_ID.
//!
//! Source: draft-ietf-moq-transport-16, Sections 3.3, 9.

use super::credit::invalid;
use super::message::Control;
use super::namespaces;
use super::{
    Adapter, CONTROL_IN, Message, Origin, ProtocolError, RequestId, Side, StreamCode, StreamEvent,
    StreamId,
};
use crate::moqt::error::RequestCode;
use crate::moqt::message::{FetchTarget, Goaway, RequestError, RequestKind as Kind, RequestUpdate};
use crate::moqt::parameter::Parameters;

/// The cause of a cancel that draft 16 gives no code for.
const CANCELLED: StreamEvent = StreamEvent::Stopped(StreamCode::CANCELLED.0);

const UNFIT: ProtocolError = ProtocolError::violation("answer does not fit its request");

impl Adapter {
    /// Something happened on the control stream.
    pub(super) fn take_control(&mut self, event: &StreamEvent) -> Result<(), ProtocolError> {
        match event {
            StreamEvent::Data(data) => {
                let before = self.control_reader.buffered();
                self.control_reader.push(data);
                while let Some(message) = self.control_reader.poll()? {
                    self.take_control_message(message)?;
                }
                self.held = (self.held + self.control_reader.buffered()).saturating_sub(before);
                Ok(())
            }
            StreamEvent::Finished | StreamEvent::Reset(_) => {
                Err(ProtocolError::violation("control stream closed"))
            }
            StreamEvent::Stopped(_) => Err(ProtocolError::violation("control stream stopped")),
            StreamEvent::Writable => Ok(()),
        }
    }

    pub(super) fn take_control_message(&mut self, message: Control) -> Result<(), ProtocolError> {
        match (message, self.side) {
            (
                Control::ClientSetup {
                    setup,
                    max_request_id,
                },
                Side::Server,
            )
            | (
                Control::ServerSetup {
                    setup,
                    max_request_id,
                },
                Side::Client,
            ) if !self.is_set_up => {
                self.is_set_up = true;
                self.own.begin(max_request_id);
                self.give(CONTROL_IN, &Message::Setup(setup))
            }
            (Control::ClientSetup { .. } | Control::ServerSetup { .. }, _) => {
                Err(ProtocolError::violation("setup where none belongs"))
            }
            _ if !self.is_set_up => Err(ProtocolError::violation(
                "control stream does not begin with a setup",
            )),
            (message, _) => self.take_message(message),
        }
    }

    fn take_message(&mut self, message: Control) -> Result<(), ProtocolError> {
        match message {
            Control::Goaway(new_session_uri) => {
                let goaway = Goaway {
                    new_session_uri,
                    ..Goaway::default()
                };
                self.give(CONTROL_IN, &Message::Goaway(goaway))
            }
            Control::MaxRequestId(max) => {
                self.own.raise(max)?;
                self.ask_waiting()
            }
            // Credit is given back as requests end, whether it is missed or not.
            Control::RequestsBlocked(_) => Ok(()),
            Control::Request(message) => self.take_request(message),
            Control::Update { existing, update } => {
                self.granted.observe_on_control(update.request_id)?;
                self.take_update(existing, update)
            }
            Control::Answer { request, answer } => self.take_answer(request, answer),
            Control::PublishOk { request, answer } => {
                let is_own = |kind, origin| kind == Kind::Publish && origin == Origin::Local;
                match self.requests.find(request, is_own) {
                    Some(stream) => self.take_first_answer(stream, Message::from(answer)),
                    None => self.check_gone(request),
                }
            }
            Control::Unsubscribe(request) => self.take_cancel(request, |kind, origin| {
                matches!(
                    (kind, origin),
                    (Kind::Subscribe, Origin::Peer) | (Kind::Publish, Origin::Local)
                )
            }),
            Control::FetchCancel(request) => self.take_cancel(request, |kind, origin| {
                kind == Kind::Fetch && origin == Origin::Peer
            }),
            Control::PublishNamespaceCancel { request, .. } => self
                .take_cancel(request, |kind, origin| {
                    kind == Kind::PublishNamespace && origin == Origin::Local
                }),
            Control::PublishNamespaceDone(request) => {
                let is_peers =
                    |kind, origin| kind == Kind::PublishNamespace && origin == Origin::Peer;
                match self.requests.find(request, is_peers) {
                    Some(stream) => self.end(stream),
                    None => self.check_gone(request),
                }
            }
            Control::SubscribeNamespace { .. }
            | Control::Namespace(_)
            | Control::NamespaceDone(_)
            | Control::ClientSetup { .. }
            | Control::ServerSetup { .. } => Err(ProtocolError::violation(
                "message does not belong on the control stream",
            )),
        }
    }

    fn take_request(&mut self, mut message: Message) -> Result<(), ProtocolError> {
        let Some(id) = message.request_id() else {
            return Ok(());
        };
        self.granted.observe_on_control(id)?;
        if let Message::Fetch(fetch) = &mut message {
            match &mut fetch.target {
                FetchTarget::Track(_) => {}
                FetchTarget::RelativeJoin { joining, .. }
                | FetchTarget::AbsoluteJoin { joining, .. } => {
                    // No request inside has the largest id: the session will not find it either.
                    let inner = self.requests.inner_of(*joining);
                    *joining = inner.unwrap_or(RequestId(u64::MAX));
                }
            }
        }
        let stream = self.requests.add(id, &mut message);
        self.give(stream, &message)
    }

    /// The peer changes a request of its own, or a subscription that this end's PUBLISH made.
    pub(super) fn take_update(
        &mut self,
        existing: RequestId,
        update: RequestUpdate,
    ) -> Result<(), ProtocolError> {
        let id = update.request_id;
        let may_update = |kind, origin| origin == Origin::Peer || kind == Kind::Publish;
        let Some(stream) = self.requests.find(existing, may_update) else {
            let was_there = self.own.has_used(existing) || self.granted.has_used(existing);
            if !was_there || existing == id || self.requests.stream_of(existing).is_some() {
                return Err(ProtocolError::violation("update of a request that is not"));
            }
            let code = RequestCode::DOES_NOT_EXIST;
            let answer = RequestError::new(code, "the request is over").into();
            self.send(&Control::Answer {
                request: id,
                answer,
            })?;
            return self.give_credit_back();
        };
        if let Some(request) = self.requests.request_mut(stream) {
            request.peer_updates.push_back(id);
        }
        let inner = RequestUpdate {
            request_id: self.requests.next_inner(),
            ..update
        };
        self.give(stream, &Message::from(inner))
    }

    fn take_answer(&mut self, id: RequestId, answer: Message) -> Result<(), ProtocolError> {
        if let Some(stream) = self.requests.take_update(id) {
            return self.take_update_answer(stream, id, answer);
        }
        let Some(stream) = self.requests.stream_of(id) else {
            return self.check_gone(id);
        };
        let Some(request) = self.requests.request(stream) else {
            return Ok(());
        };
        if request.kind.is_some_and(namespaces::is_about) {
            return Err(UNFIT);
        }
        if let Message::PublishDone(_) = answer {
            let is_subscription = matches!(
                (request.kind, stream.origin()),
                (Some(Kind::Subscribe), Origin::Local) | (Some(Kind::Publish), Origin::Peer)
            );
            if !is_subscription {
                return Err(UNFIT);
            }
            self.give(stream, &answer)?;
            return self.end(stream);
        }
        // PUBLISH is agreed to by PUBLISH_OK.
        if request.kind == Some(Kind::Publish) && matches!(answer, Message::RequestOk(_)) {
            return Err(UNFIT);
        }
        self.take_first_answer(stream, answer)
    }

    fn take_first_answer(
        &mut self,
        stream: StreamId,
        mut answer: Message,
    ) -> Result<(), ProtocolError> {
        let Some(request) = self.requests.request_mut(stream) else {
            return Ok(());
        };
        if stream.origin() == Origin::Peer || request.is_answered {
            return Err(UNFIT);
        }
        request.is_answered = true;
        if let Message::RequestOk(ok) = &mut answer
            && request.kind == Some(Kind::PublishNamespace)
        {
            // A parameter where it has no meaning is ignored.
            ok.parameters = Parameters::default();
        }
        self.give(stream, &answer)?;
        if matches!(answer, Message::RequestError(_)) {
            return self.end(stream);
        }
        Ok(())
    }

    fn take_update_answer(
        &mut self,
        stream: StreamId,
        id: RequestId,
        answer: Message,
    ) -> Result<(), ProtocolError> {
        if !matches!(answer, Message::RequestOk(_) | Message::RequestError(_)) {
            return Err(UNFIT);
        }
        if let Some(request) = self.requests.request_mut(stream) {
            let mut updates = request.updates.iter_mut();
            if let Some(update) = updates.find(|update| update.outer == Some(id)) {
                update.answer = Some(answer);
            }
        }
        self.give_update_answers(stream)
    }

    fn take_cancel(
        &mut self,
        request: RequestId,
        fits: impl FnOnce(Kind, Origin) -> bool,
    ) -> Result<(), ProtocolError> {
        let Some(stream) = self.requests.find(request, fits) else {
            return self.check_gone(request);
        };
        self.pass(stream, CANCELLED);
        self.forget(stream)
    }

    /// A message about a request that is not open here: it was, or the peer is at fault.
    fn check_gone(&self, id: RequestId) -> Result<(), ProtocolError> {
        if self.requests.stream_of(id).is_some() {
            return Err(ProtocolError::violation(
                "message does not fit the request that it names",
            ));
        }
        if self.own.has_used(id) || self.granted.has_used(id) {
            return Ok(());
        }
        Err(invalid("message about a request that never was"))
    }
}
