//! SUBSCRIBE_NAMESPACE: the one request of draft 16 with a stream of its own.
//!
//! | opened by | inside | answered when |
//! |---|---|---|
//! | this end | one request, of namespaces or of tracks | the peer says so on the stream |
//! | the peer, for one of them | one request | the session answers it |
//! | the peer, for both | a request of tracks, then one of namespaces | the second is agreed to, or either refused |
//!
//! A stream of the peer has no meaning before its first message, which may be CLIENT_SETUP: that
//! makes it the control stream.
//!
//! Source: draft-ietf-moq-transport-16, Sections 3.3, 6.1, 9.25.

use super::message::{Control, Wanted};
use super::{
    Adapter, Bytes, LegacyReader, Message, Origin, Output, ProtocolError, RequestId, Side,
    StreamCode, StreamEvent, StreamId,
};
use crate::moqt::error::RequestCode;
use crate::moqt::message::{
    Namespace, NamespaceDone, RequestError, RequestKind, SubscribeNamespace, SubscribeTracks,
};
use crate::moqt::parameter::Parameters;
use crate::moqt::session::REQUEST_PRIORITY;

/// Whether a request of this kind is a SUBSCRIBE_NAMESPACE at draft 16.
pub(super) const fn is_about(kind: RequestKind) -> bool {
    matches!(
        kind,
        RequestKind::SubscribeNamespace | RequestKind::SubscribeTracks
    )
}

/// A bidirectional stream beside the control stream.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    reader: LegacyReader,
    /// Its id; `None` before the first message of a peer's stream.
    id: Option<RequestId>,
    /// The requests that it is inside.
    parts: Vec<StreamId>,
    is_answered: bool,
}

/// Outside.
impl Adapter {
    /// Something happened on a bidirectional stream.
    pub(super) fn take_bidi(
        &mut self,
        stream: StreamId,
        event: StreamEvent,
    ) -> Result<(), ProtocolError> {
        if self.control == Some(stream) {
            self.take_control(&event)?;
            return self.check_held();
        }
        if stream.origin() == Origin::Peer && !self.namespaces.contains_key(&stream) {
            if !matches!(event, StreamEvent::Data(_)) {
                return Ok(());
            }
            if self.namespaces.len() >= self.limits.incoming_streams_max {
                return Err(ProtocolError::violation(
                    "more open streams than were granted",
                ));
            }
            self.namespaces.insert(stream, Namespaces::default());
        }
        match event {
            StreamEvent::Data(data) => self.take_bidi_data(stream, &data),
            StreamEvent::Finished | StreamEvent::Reset(_) | StreamEvent::Stopped(_) => {
                self.take_bidi_end(stream, event)
            }
            StreamEvent::Writable => Ok(()),
        }
    }

    fn take_bidi_data(&mut self, stream: StreamId, data: &Bytes) -> Result<(), ProtocolError> {
        let Some(known) = self.namespaces.get_mut(&stream) else {
            return Ok(());
        };
        let before = known.reader.buffered();
        known.reader.push(data);
        while let Some(known) = self.namespaces.get_mut(&stream) {
            let Some(message) = known.reader.poll()? else {
                break;
            };
            if matches!(message, Control::ClientSetup { .. }) {
                self.held = self.held.saturating_sub(before);
                return self.begin_control(stream, message);
            }
            self.take_bidi_message(stream, message)?;
        }
        let after = self.namespaces.get(&stream);
        let after = after.map_or(0, |known| known.reader.buffered());
        self.held = (self.held + after).saturating_sub(before);
        self.check_held()
    }

    /// The client's first message tells the control stream.
    fn begin_control(&mut self, stream: StreamId, message: Control) -> Result<(), ProtocolError> {
        let known = self.namespaces.remove(&stream).unwrap_or_default();
        if self.side == Side::Client || self.control.is_some() || known.id.is_some() {
            return Err(ProtocolError::violation("setup where none belongs"));
        }
        self.control = Some(stream);
        self.control_reader = known.reader;
        let unsent = std::mem::take(&mut self.unsent);
        if !unsent.is_empty() {
            self.write(stream, unsent.freeze(), false);
        }
        self.take_control_message(message)?;
        self.take_control(&StreamEvent::Data(Bytes::new()))
    }

    fn take_bidi_message(
        &mut self,
        stream: StreamId,
        message: Control,
    ) -> Result<(), ProtocolError> {
        let id = self.namespaces.get(&stream).and_then(|known| known.id);
        match (message, stream.origin()) {
            (Control::SubscribeNamespace { request, wanted }, Origin::Peer) if id.is_none() => {
                self.take_subscribe_namespace(stream, request, wanted)
            }
            (Control::Update { existing, update }, Origin::Peer) if id == Some(existing) => {
                self.granted.observe(update.request_id)?;
                self.take_update(existing, update)
            }
            (Control::Answer { request, answer }, Origin::Local) if id == Some(request) => {
                self.take_namespaces_answer(stream, answer)
            }
            (Control::Namespace(suffix), Origin::Local) => {
                self.give_part(stream, &Message::from(Namespace { suffix }))
            }
            (Control::NamespaceDone(suffix), Origin::Local) => {
                self.give_part(stream, &Message::from(NamespaceDone { suffix }))
            }
            (_, Origin::Peer) if id.is_none() => Err(ProtocolError::violation(
                "a stream begins with a message that must not begin one",
            )),
            _ => Err(ProtocolError::violation(
                "message does not belong on a stream of SUBSCRIBE_NAMESPACE",
            )),
        }
    }

    fn take_subscribe_namespace(
        &mut self,
        stream: StreamId,
        request: SubscribeNamespace,
        wanted: Wanted,
    ) -> Result<(), ProtocolError> {
        let id = request.request_id;
        self.granted.observe(id)?;
        let tracks = Message::from(SubscribeTracks {
            request_id: id,
            prefix: request.prefix.clone(),
            parameters: request.parameters.clone(),
        });
        let namespaces = Message::from(SubscribeNamespace {
            parameters: Parameters {
                // Whether tracks are forwarded is no matter of namespaces.
                forward: None,
                ..request.parameters
            },
            ..request
        });
        let asked = match wanted {
            Wanted::Tracks => vec![tracks],
            Wanted::Namespaces => vec![namespaces],
            Wanted::Both => vec![tracks, namespaces],
        };
        for mut message in asked {
            let part = self.requests.add(id, &mut message);
            if let Some(request) = self.requests.request_mut(part) {
                request.stream = Some(stream);
            }
            if let Some(known) = self.namespaces.get_mut(&stream) {
                known.id = Some(id);
                known.parts.push(part);
            }
            self.give(part, &message)?;
        }
        Ok(())
    }

    fn take_namespaces_answer(
        &mut self,
        stream: StreamId,
        mut answer: Message,
    ) -> Result<(), ProtocolError> {
        let Some(known) = self.namespaces.get_mut(&stream) else {
            return Ok(());
        };
        let is_answer = matches!(answer, Message::RequestOk(_) | Message::RequestError(_));
        if !is_answer || std::mem::replace(&mut known.is_answered, true) {
            return Err(ProtocolError::violation("answer does not fit its request"));
        }
        if let Message::RequestOk(ok) = &mut answer {
            ok.parameters = Parameters::default();
        }
        self.give_part(stream, &answer)?;
        if matches!(answer, Message::RequestError(_)) {
            return self.end_namespaces(stream);
        }
        Ok(())
    }

    /// Shows the session a message on the request of this end that the stream carries.
    fn give_part(&mut self, stream: StreamId, message: &Message) -> Result<(), ProtocolError> {
        let part = self.namespaces.get(&stream).and_then(|k| k.parts.first());
        match part.copied() {
            Some(part) => self.give(part, message),
            None => Ok(()),
        }
    }

    fn take_bidi_end(&mut self, stream: StreamId, event: StreamEvent) -> Result<(), ProtocolError> {
        let Some(known) = self.namespaces.get(&stream) else {
            return Ok(());
        };
        if event == StreamEvent::Finished && known.reader.is_mid_message() {
            return Err(ProtocolError::violation("stream ends inside a message"));
        }
        for part in known.parts.clone() {
            self.pass(part, event.clone());
        }
        // A peer that took its request back awaits no answer; the direction is closed for tidiness.
        match event {
            StreamEvent::Finished => self.write(stream, Bytes::new(), true),
            StreamEvent::Reset(_) => self.reset(stream, StreamCode::CANCELLED.0),
            _ => self.stop(stream, StreamCode::CANCELLED.0),
        }
        self.forget_namespaces(stream)
    }

    /// The requests of a stream are over, and the session waits for the end of their streams.
    fn end_namespaces(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        let parts = self.namespaces.get(&stream).map(|k| k.parts.clone());
        for part in parts.unwrap_or_default() {
            self.pass(part, StreamEvent::Finished);
        }
        self.write(stream, Bytes::new(), true);
        self.forget_namespaces(stream)
    }

    fn forget_namespaces(&mut self, stream: StreamId) -> Result<(), ProtocolError> {
        let Some(known) = self.namespaces.remove(&stream) else {
            return Ok(());
        };
        self.held = self.held.saturating_sub(known.reader.buffered());
        for part in known.parts {
            self.forget(part)?;
        }
        if stream.origin() == Origin::Peer && known.id.is_some() {
            self.give_credit_back()?;
        }
        Ok(())
    }
}

/// Inside.
impl Adapter {
    /// Opens a stream for a request of the session.
    pub(super) fn ask_for_namespaces(
        &mut self,
        part: StreamId,
        id: RequestId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        let (request, wanted) = match message {
            Message::SubscribeNamespace(request) => (request, Wanted::Namespaces),
            Message::SubscribeTracks(request) => {
                let SubscribeTracks {
                    request_id,
                    prefix,
                    parameters,
                } = request;
                let request = SubscribeNamespace {
                    request_id,
                    prefix,
                    parameters,
                };
                (request, Wanted::Tracks)
            }
            _ => return Ok(()),
        };
        let mut out = super::BytesMut::new();
        let written = Control::SubscribeNamespace { request, wanted }.encode(&mut out);
        if written.is_err() {
            let reason = "a request that this draft cannot express";
            let error = RequestError::new(RequestCode::NOT_SUPPORTED, reason);
            return self.refuse(part, false, error);
        }
        self.own.take();
        self.requests.name(part, id);
        let stream = self.next_bidi();
        if let Some(request) = self.requests.request_mut(part) {
            request.stream = Some(stream);
        }
        let known = Namespaces {
            id: Some(id),
            parts: vec![part],
            ..Namespaces::default()
        };
        self.namespaces.insert(stream, known);
        self.outward.push_back(Output::Open {
            session: self.session,
            stream,
            priority: REQUEST_PRIORITY,
        });
        self.write(stream, out.freeze(), false);
        Ok(())
    }

    /// The session answers one of the requests of a peer's stream.
    pub(super) fn answer_namespaces(
        &mut self,
        part: StreamId,
        answer: Message,
    ) -> Result<(), ProtocolError> {
        let Some(stream) = self
            .requests
            .request(part)
            .and_then(|request| request.stream)
        else {
            return Ok(());
        };
        let Some(known) = self.namespaces.get_mut(&stream) else {
            return Ok(());
        };
        let Some(request) = known.id else {
            return Ok(());
        };
        let is_refused = matches!(answer, Message::RequestError(_));
        let is_last = known.parts.last() == Some(&part);
        match (is_refused, known.is_answered) {
            (false, false) if !is_last => Ok(()),
            (false, false) => {
                known.is_answered = true;
                self.send_on(stream, &Control::Answer { request, answer })
            }
            (true, false) => {
                self.send_on(stream, &Control::Answer { request, answer })?;
                self.cancel_others(stream, part);
                self.end_namespaces(stream)
            }
            // Agreed to, and then only half of it: there is no way to say so.
            (true, true) => {
                self.cancel_others(stream, part);
                self.reset(stream, StreamCode::CANCELLED.0);
                self.stop(stream, StreamCode::CANCELLED.0);
                self.forget_namespaces(stream)
            }
            (false, true) => Ok(()),
        }
    }

    /// The session closed its direction of a request: to it the request is over.
    pub(super) fn finish_namespaces(&mut self, part: StreamId) -> Result<(), ProtocolError> {
        let Some(stream) = self
            .requests
            .request(part)
            .and_then(|request| request.stream)
        else {
            return self.end(part);
        };
        self.cancel_others(stream, part);
        self.end_namespaces(stream)
    }

    /// The session gives a request up.
    pub(super) fn give_up_namespaces(
        &mut self,
        part: StreamId,
        code: u64,
    ) -> Result<(), ProtocolError> {
        let Some(stream) = self
            .requests
            .request(part)
            .and_then(|request| request.stream)
        else {
            return self.forget(part);
        };
        self.cancel_others(stream, part);
        self.reset(stream, code);
        self.stop(stream, code);
        self.forget_namespaces(stream)
    }

    /// What the stream is inside beside `part` ends with it.
    fn cancel_others(&mut self, stream: StreamId, part: StreamId) {
        let parts = self.namespaces.get(&stream).map(|k| k.parts.clone());
        for other in parts.unwrap_or_default() {
            if other != part {
                self.pass(other, StreamEvent::Stopped(StreamCode::CANCELLED.0));
            }
        }
    }
}
