//! What the peer answers to our requests, and what it tells on their streams afterwards.
//!
//! | phase of the request | messages |
//! |---|---|
//! | `Pending` | SUBSCRIBE_OK, FETCH_OK, REQUEST_OK, REQUEST_ERROR |
//! | `Established` | the answers to updates; NAMESPACE, NAMESPACE_DONE, PUBLISH_SKIPPED |
//!
//! A track with a mandatory property that is not understood is given up at once: its owner sees the
//! request refused with UNSUPPORTED_EXTENSION, whoever found it out. Source:
//! draft-ietf-moq-transport-18 sections 2.5.1, 9.3 to 9.22.

use super::super::{
    Accepted, Event, Instant, Message, Origin, ProtocolError, RequestCode, RequestError, RequestId,
    RequestOk, Session, StreamCode, SubscribeOk, checks, request_error,
};
use super::Phase;
use crate::moqt::filter::sets;
use crate::moqt::message::{FetchOk, RequestKind as Kind};
use crate::moqt::property::Properties;

const UNEXPECTED: ProtocolError = ProtocolError::violation("answer does not fit its request");

impl Session {
    pub(super) fn take_answer(
        &mut self,
        now: Instant,
        request: RequestId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        let Some(entry) = self.requests.get(&request) else {
            return Ok(());
        };
        match entry.phase {
            Phase::Pending if entry.origin() == Origin::Local => {
                self.take_first_answer(now, request, entry.kind, message)
            }
            Phase::Established => self.take_news(request, message),
            Phase::Pending | Phase::Ending { .. } => Err(UNEXPECTED),
        }
    }

    fn take_first_answer(
        &mut self,
        now: Instant,
        request: RequestId,
        kind: Kind,
        message: Message,
    ) -> Result<(), ProtocolError> {
        if let Some(entry) = self.requests.get_mut(&request) {
            let used = std::mem::take(&mut entry.tokens_used);
            self.own_tokens.answered(&used);
        }
        match message {
            Message::SubscribeOk(answer) if kind == Kind::Subscribe => {
                self.take_subscribe_ok(request, answer)
            }
            Message::FetchOk(answer) if kind == Kind::Fetch => {
                self.take_fetch_ok(now, request, answer)
            }
            Message::RequestOk(answer) if !matches!(kind, Kind::Subscribe | Kind::Fetch) => {
                self.take_request_ok(request, kind, answer)
            }
            Message::RequestError(error) => {
                checks::request_error(self.side, kind, &error)?;
                self.finish(request);
                self.event(Event::Rejected { request, error });
                Ok(())
            }
            _ => Err(UNEXPECTED),
        }
    }

    fn take_subscribe_ok(
        &mut self,
        request: RequestId,
        answer: SubscribeOk,
    ) -> Result<(), ProtocolError> {
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        entry.phase = Phase::Established;
        entry.alias = Some(answer.track_alias);
        entry.dynamic_groups = answer.properties.dynamic_groups();
        let largest = answer.parameters.largest;
        entry.window = entry.filter.map(|filter| filter.resolve(largest));
        entry.default_priority = answer.properties.default_publisher_priority();
        let range_filters = std::mem::take(&mut entry.range_filters);
        entry.set_range_filters(range_filters);
        let track = entry.track.clone();
        self.bind_alias(answer.track_alias, request, track.as_ref())?;
        if !self.refuse_unsupported(request, &answer.properties) {
            let accepted = Accepted::Subscribe(answer);
            self.event(Event::Accepted { request, accepted });
        }
        Ok(())
    }

    fn take_fetch_ok(
        &mut self,
        now: Instant,
        request: RequestId,
        answer: FetchOk,
    ) -> Result<(), ProtocolError> {
        self.note_fetch_ok(now, request, &answer)?;
        if !self.refuse_unsupported(request, &answer.properties) {
            let accepted = Accepted::Fetch(answer);
            self.event(Event::Accepted { request, accepted });
            self.settle_fetch(request);
        }
        Ok(())
    }

    fn take_request_ok(
        &mut self,
        request: RequestId,
        kind: Kind,
        answer: RequestOk,
    ) -> Result<(), ProtocolError> {
        checks::request_ok(self.draft, kind, &answer)?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.phase = Phase::Established;
            if let Some(forward) = answer.parameters.forward {
                entry.forward = forward;
            }
        }
        let accepted = Accepted::Request(answer);
        self.event(Event::Accepted { request, accepted });
        if kind == Kind::TrackStatus {
            self.finish(request);
        }
        Ok(())
    }

    /// Gives a track up that must not be processed. Returns whether it was.
    fn refuse_unsupported(&mut self, request: RequestId, properties: &Properties) -> bool {
        if properties.unsupported_mandatory().is_none() {
            return false;
        }
        self.cancel_reading(request, StreamCode::CANCELLED);
        let error = request_error(
            RequestCode::UNSUPPORTED_EXTENSION,
            "a mandatory track property is not understood here",
        );
        self.event(Event::Rejected { request, error });
        true
    }

    /// What follows the answer.
    fn take_news(&mut self, request: RequestId, message: Message) -> Result<(), ProtocolError> {
        let limit = self.limits.namespaces_max;
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let event = match (message, entry.kind) {
            (Message::RequestOk(answer), _) if !entry.updates_sent.is_empty() => {
                checks::request_ok(self.draft, Kind::Update, &answer)?;
                self.update_answered(request, Ok(answer));
                return Ok(());
            }
            (Message::RequestError(error), kind) if !entry.updates_sent.is_empty() => {
                checks::request_error(self.side, kind, &error)?;
                self.update_answered(request, Err(error));
                return Ok(());
            }
            (Message::Namespace(message), Kind::SubscribeNamespace) => {
                let suffix = message.suffix;
                entry.announced.insert(suffix.clone());
                if entry.announced.len() > limit {
                    let code = StreamCode::EXCESSIVE_LOAD;
                    self.cancel_reading(request, code);
                    let code = Some(code);
                    self.event(Event::Cancelled { request, code });
                    return Ok(());
                }
                Event::Namespace { request, suffix }
            }
            (Message::NamespaceDone(message), Kind::SubscribeNamespace) => {
                if !entry.announced.remove(&message.suffix) {
                    return Err(ProtocolError::violation("NAMESPACE_DONE before NAMESPACE"));
                }
                let suffix = message.suffix;
                Event::NamespaceDone { request, suffix }
            }
            (Message::PublishSkipped(message), Kind::SubscribeTracks) => Event::PublishSkipped {
                request,
                suffix: message.suffix,
                name: message.name,
            },
            _ => return Err(UNEXPECTED),
        };
        self.event(event);
        Ok(())
    }

    fn update_answered(&mut self, request: RequestId, answer: Result<RequestOk, RequestError>) {
        if let Some(entry) = self.requests.get_mut(&request)
            && let Some(update) = entry.updates_sent.pop_front()
        {
            if let Ok(answer) = &answer {
                if let Some(filter) = update.filter {
                    entry.window = Some(filter.resolve(answer.parameters.largest));
                }
                let filters = sets::updated(&entry.range_filters, &update.range_filters);
                entry.set_range_filters(filters);
            }
            self.own_tokens.answered(&update.tokens);
        }
        self.event(Event::Updated { request, answer });
    }

    /// Cancels a request while its stream is being read: the stream is not in its place then.
    fn cancel_reading(&mut self, request: RequestId, code: StreamCode) {
        let stream = self.requests.get(&request).map(|entry| entry.stream);
        if self.cancel(request, code).is_ok()
            && let Some(stream) = stream
        {
            self.stop(stream, code);
        }
    }

    /// Ends a request by our own decision, and tells the owner.
    pub(in crate::moqt::session) fn give_up(&mut self, request: RequestId, code: StreamCode) {
        if self.cancel(request, code).is_ok() {
            let code = Some(code);
            self.event(Event::Cancelled { request, code });
        }
    }
}
