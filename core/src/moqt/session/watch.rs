//! [`Watch`]: what a session notes of itself, for counters and for the event log.
//!
//! Control messages are noted where they are written and where they are read, with the request whose
//! stream carries them. Counters are always on and cost a few additions per control message. The
//! event log is off unless asked for ([`Watch::log`]), and then costs nothing but the question
//! whether it is on; what it holds waits for the owner, in order.
//!
//! Limits: [`RECORDS_MAX`] records wait; what comes when there are so many is counted, not kept.

use super::record::{Body, Record};
use super::{
    Carrier, Closed, Event, Message, Origin, Output, RequestId, Session, SessionCode, Setup,
    StreamCode, StreamEvent, StreamId,
};
use crate::moqt::message::{MessageKind, RequestKind};
use crate::moqt::name::Location;
use crate::moqt::object::{GapKind, Object, SubgroupHeader};
use crate::time::Instant;

/// Records that may wait for the owner, per session.
const RECORDS_MAX: usize = 4096;
/// Notes of control messages that may wait to be counted.
const NOTES_MAX: usize = 4096;

/// Whether event logs can be kept. A page has nobody to read one, and their words are code.
const CAN_LOG: bool = !cfg!(target_arch = "wasm32");

/// A control message to count.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) from: Origin,
    pub(super) kind: MessageKind,
    /// Who asked what, on the stream that carries it.
    pub(super) request: Option<(Origin, RequestKind)>,
    /// The code of a refusal or an end.
    pub(super) code: Option<u64>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The time of the last input.
    pub(super) now: Instant,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) notes: Vec<Note>,
    log: Option<Vec<Record>>,
    /// The log ends as soon as the owner has what waits.
    log_ends: bool,
    lost: u64,
}

impl Watch {
    /// Switches the event log on or off. What waits is kept, and a log that ends says so.
    pub(super) fn log(&mut self, is_on: bool) {
        if is_on {
            self.log.get_or_insert_default();
            self.log_ends = false;
        } else if self.is_logging() {
            self.record(|| Body::LogEnded);
            self.log_ends = true;
        }
    }

    pub(super) fn is_logging(&self) -> bool {
        self.log.is_some() && !self.log_ends
    }

    pub(super) fn has_records(&self) -> bool {
        self.log.is_some()
    }

    /// Adds a record, if the log is on.
    pub(super) fn record(&mut self, body: impl FnOnce() -> Body) {
        let can_log = CAN_LOG && !self.log_ends;
        let Some(records) = self.log.as_mut().filter(|_| can_log) else {
            return;
        };
        if records.len() >= RECORDS_MAX {
            self.lost += 1;
            return;
        }
        let at = self.now;
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            let body = Body::Lost { records: lost };
            records.push(Record { at, body });
        }
        records.push(Record { at, body: body() });
    }

    /// Takes what was recorded.
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        if std::mem::take(&mut self.log_ends) {
            return self.log.take().unwrap_or_default();
        }
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Hooks: one line each where something happens.
impl Session {
    /// Whether an event log is kept.
    pub fn is_logging(&self) -> bool {
        self.watch.is_logging()
    }

    /// Stream bytes from the peer, and to it.
    pub fn stream_bytes(&self) -> (u64, u64) {
        (self.watch.bytes_in, self.watch.bytes_out)
    }

    /// A control message was written or read.
    pub(super) fn note_message(&mut self, from: Origin, stream: StreamId, message: &Message) {
        let request = self.request_streams.get(&stream);
        let request = request.and_then(|id| self.requests.get(id));
        let request = request.map(|request| (request.origin(), request.kind()));
        let code = match message {
            Message::RequestError(error) => Some(error.code.0),
            Message::PublishDone(done) => Some(done.code.0),
            _ => None,
        };
        if self.watch.notes.len() < NOTES_MAX {
            self.watch.notes.push(Note {
                from,
                kind: message.kind(),
                request,
                code,
            });
        }
        self.watch
            .record(|| super::record::of_message(from, stream, message));
    }

    /// The ends that were asked to leave by the other one's GOAWAY.
    pub(super) fn asked_to_leave(&self) -> Vec<Origin> {
        let asked = [
            self.goaway_sent.then_some(Origin::Peer),
            self.goaway_received.then_some(Origin::Local),
        ];
        asked.into_iter().flatten().collect()
    }

    /// The log is switched on in the middle of the session.
    pub(super) fn note_log_begins(&mut self) {
        let (protocol, carrier) = (self.draft.protocol(), self.carrier_name());
        let requests = self.requests.len();
        let streams = (self.incoming.len(), self.outgoing.len());
        self.watch.record(|| Body::LogBegan {
            protocol,
            carrier,
            requests,
            streams,
        });
    }

    fn carrier_name(&self) -> &'static str {
        match self.carrier {
            Carrier::Quic => "quic",
            Carrier::WebTransport => "webtransport",
        }
    }

    /// The session began with this SETUP.
    pub(super) fn note_opened(&mut self, setup: Setup) {
        let protocol = self.draft.protocol();
        let carrier = self.carrier_name();
        self.watch.record(|| Body::Opened { protocol, carrier });
        let stream = self.control_out;
        self.watch
            .record(|| super::record::of_message(Origin::Local, stream, &Message::Setup(setup)));
    }

    /// Something came from the transport.
    pub(super) fn note_stream_event(&mut self, stream: StreamId, event: &StreamEvent) {
        if let StreamEvent::Data(data) = event {
            self.watch.bytes_in += data.len() as u64;
        }
        if !self.watch.is_logging() {
            return;
        }
        let (how, code) = match event {
            StreamEvent::Reset(code) => ("reset", *code),
            StreamEvent::Stopped(code) => ("stop", *code),
            StreamEvent::Data(_) if stream.origin() == Origin::Peer => {
                if self.is_new_stream(stream) {
                    self.watch.record(|| Body::StreamOpened { stream });
                }
                return;
            }
            StreamEvent::Data(_) | StreamEvent::Finished | StreamEvent::Writable => return,
        };
        self.watch.record(|| cut(Origin::Peer, stream, how, code));
    }

    /// Work for the transport.
    pub(super) fn note_output(&mut self, output: &Output) {
        match output {
            Output::Open { stream, .. } => {
                let stream = *stream;
                self.watch.record(|| Body::StreamOpened { stream });
            }
            Output::Reset { stream, code, .. } => {
                self.watch
                    .record(|| cut(Origin::Local, *stream, "reset", *code));
            }
            Output::Stop { stream, code, .. } => {
                self.watch
                    .record(|| cut(Origin::Local, *stream, "stop", *code));
            }
            Output::Write { head, body, .. } => {
                self.watch.bytes_out += (head.len() + body.len()) as u64;
            }
            Output::SetPriority { .. }
            | Output::Datagram { .. }
            | Output::Allow { .. }
            | Output::Close { .. } => {}
        }
    }

    /// News for the owner.
    pub(super) fn note_event(&mut self, event: &Event) {
        match event {
            Event::Object { stream, object, .. } => {
                let stream = Some(*stream);
                self.watch
                    .record(|| super::record::of_object(Origin::Peer, stream, object));
            }
            Event::FetchObject { stream, object, .. } => {
                self.watch
                    .record(|| super::record::of_fetched(Origin::Peer, *stream, object));
            }
            Event::FetchGap {
                stream, kind, end, ..
            } => {
                let (stream, kind, end) = (*stream, *kind, *end);
                self.watch.record(|| Body::FetchGap {
                    from: Origin::Peer,
                    stream,
                    kind,
                    end,
                });
            }
            Event::Datagram { object, .. } => {
                self.watch
                    .record(|| super::record::of_object(Origin::Peer, None, object));
            }
            Event::Closed(closed) => self.watch.record(|| match closed {
                Closed::Application { by, code, reason } => Body::Closed {
                    by: Some(*by),
                    code: Some(*code),
                    name: SessionCode(*code).name(),
                    reason: reason.clone(),
                },
                Closed::Transport { reason } => Body::Closed {
                    by: None,
                    code: None,
                    name: None,
                    reason: reason.clone(),
                },
            }),
            _ => {}
        }
    }

    fn is_new_stream(&self, stream: StreamId) -> bool {
        !self.incoming.contains_key(&stream)
    }

    /// A subgroup stream was opened.
    pub(super) fn note_subgroup(&mut self, stream: StreamId, header: &SubgroupHeader) {
        self.watch.record(|| Body::Subgroup {
            stream,
            header: *header,
        });
    }

    /// The header of a fetch stream was made or came.
    pub(super) fn note_fetch_stream(&mut self, stream: StreamId, request: RequestId) {
        let (from, request) = (stream.origin(), request.0);
        self.watch.record(|| Body::FetchStream {
            from,
            stream,
            request,
        });
    }

    /// A gap was written to a fetch stream.
    pub(super) fn note_fetch_gap_sent(&mut self, stream: StreamId, kind: GapKind, end: Location) {
        let from = Origin::Local;
        self.watch.record(|| Body::FetchGap {
            from,
            stream,
            kind,
            end,
        });
    }

    /// An object was written to a fetch stream.
    pub(super) fn note_fetched_object_sent(&mut self, stream: StreamId, object: &Object) {
        self.watch
            .record(|| super::record::of_fetched(Origin::Local, stream, object));
    }

    /// An object was written to a stream.
    pub(super) fn note_object_sent(&mut self, stream: StreamId, object: &Object) {
        self.watch
            .record(|| super::record::of_object(Origin::Local, Some(stream), object));
    }
}

fn cut(by: Origin, stream: StreamId, how: &'static str, code: u64) -> Body {
    let name = StreamCode(code).name();
    Body::StreamCut {
        by,
        stream,
        how,
        code,
        name,
    }
}
