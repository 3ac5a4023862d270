//! Draft 16, by translation: outside its wire, inside the shape of later drafts.
//!
//! Draft 16 sends all requests on one control stream and names them by ids; since 17 each has a
//! stream of its own, and closing that stream ends it. An [`Adapter`] stands between a session and
//! its transport. To the session it is a peer of the canonical shape: two control streams, a virtual
//! stream per request, data streams with canonical framing. To the peer it speaks draft 16. Nothing
//! outside this module and its few lines in the session knows; a session of another draft pays one
//! branch per event.
//!
//! | outside | inside |
//! |---|---|
//! | control stream (the client's bidirectional one) | a control stream from each end |
//! | SUBSCRIBE, PUBLISH, FETCH, TRACK_STATUS, PUBLISH_NAMESPACE | first message of a virtual stream |
//! | SUBSCRIBE_NAMESPACE on its own stream | SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS or both |
//! | answers, REQUEST_UPDATE, PUBLISH_DONE, by id | messages on the virtual stream |
//! | UNSUBSCRIBE, FETCH_CANCEL, PUBLISH_NAMESPACE_CANCEL | the virtual stream is stopped or reset |
//! | PUBLISH_NAMESPACE_DONE | the virtual stream is finished |
//! | MAX_REQUEST_ID, REQUESTS_BLOCKED | - (requests wait in here) |
//! | subgroup and fetch streams, datagrams | the same, framing rewritten, payloads as they are |
//!
//! | module | what it holds |
//! |---|---|
//! | [`message`], `setup`, `parameters`, `pairs`, `integer`, `codes` | the codec |
//! | `incoming`, `outgoing`, `fetch`, `datagram` | framing of data, both ways |
//! | `credit` | request ids |
//! | `requests`, `own`, `peer`, `namespaces` | the requests and their virtual streams |
//!
//! What cannot be said at draft 16 is left out where it is a hint (time-outs of later drafts,
//! PUBLISH_SKIPPED), and refused to the session otherwise. Two requests of a session for the same
//! prefix, of namespaces and of tracks, overlap at draft 16: a peer refuses the second.
//!
//! Limits: those of the session; as many requests as it may have open are granted to the peer, and
//! as many may wait for credit. Faults of the peer close the session with the codes of draft 16.
//!
//! Source: draft-ietf-moq-transport-16.

mod codes;
mod credit;
mod datagram;
mod fetch;
mod incoming;
mod integer;
pub mod message;
mod namespaces;
mod outgoing;
mod own;
mod pairs;
mod parameters;
mod peer;
mod requests;
mod setup;

pub use message::{Control, LegacyReader, Wanted};

use super::control::ControlReader;
use super::draft::Draft;
use super::error::{ProtocolError, SessionCode, StreamCode};
use super::message::{Message, StreamRole};
use super::name::RequestId;
use super::session::{CONTROL_PRIORITY, Limits};
use crate::map::BTreeMap;
use crate::payload::Payload;
use crate::time::Instant;
use crate::transport::{Direction, Origin, Output, SessionId, Side, StreamEvent, StreamId};
use bytes::{Bytes, BytesMut};
use credit::{Granted, Own};
use incoming::Incoming;
use namespaces::Namespaces;
use outgoing::Outgoing;
use requests::Requests;
use std::collections::VecDeque;

/// The session's control stream and the peer's, inside.
const CONTROL_OUT: StreamId = StreamId::new(Origin::Local, Direction::Unidirectional, 0);
const CONTROL_IN: StreamId = StreamId::new(Origin::Peer, Direction::Unidirectional, 0);

/// What stands between a session and a peer of draft 16. See the module's description.
#[derive(Debug)]
pub(in crate::moqt) struct Adapter {
    session: SessionId,
    side: Side,
    limits: Limits,
    /// The control stream outside; a server learns it from the client.
    control: Option<StreamId>,
    control_reader: LegacyReader,
    /// What the session sends on its control stream.
    control_writer: ControlReader,
    /// Control messages for which there is no stream yet.
    unsent: BytesMut,
    is_set_up: bool,
    own: Own,
    granted: Granted,
    requests: Requests,
    namespaces: BTreeMap<StreamId, Namespaces>,
    incoming: BTreeMap<StreamId, Incoming>,
    outgoing: BTreeMap<StreamId, Outgoing>,
    /// Bytes of messages and framing that have begun to arrive.
    held: usize,
    next_bidi: u64,
    pieces: VecDeque<Bytes>,
    inward: VecDeque<(StreamId, StreamEvent)>,
    outward: VecDeque<Output>,
}

impl Adapter {
    /// For a session that just opened.
    pub(in crate::moqt) fn new(session: SessionId, side: Side, limits: Limits) -> Self {
        let peer = match side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Self {
            session,
            side,
            limits,
            control: None,
            control_reader: LegacyReader::default(),
            control_writer: ControlReader::new(StreamRole::Control),
            unsent: BytesMut::new(),
            is_set_up: false,
            own: Own::new(side),
            granted: Granted::new(peer, limits.requests_max),
            requests: Requests::new(peer),
            namespaces: BTreeMap::new(),
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            held: 0,
            next_bidi: 0,
            pieces: VecDeque::new(),
            inward: VecDeque::new(),
            outward: VecDeque::new(),
        }
    }

    /// What the session is to see next.
    pub(in crate::moqt) fn poll_inward(&mut self) -> Option<(StreamId, StreamEvent)> {
        self.inward.pop_front()
    }

    /// Drops what the session would have seen of a stream that it has stopped.
    pub(in crate::moqt) fn forget_inward(&mut self, stream: StreamId) {
        self.inward.retain(|(of, _)| *of != stream);
    }

    /// What the transport is to do next.
    pub(in crate::moqt) fn poll_outward(&mut self) -> Option<Output> {
        self.outward.pop_front()
    }

    /// Something happened on a stream of the transport.
    pub(in crate::moqt) fn take_event(
        &mut self,
        stream: StreamId,
        event: StreamEvent,
    ) -> Result<(), ProtocolError> {
        match (stream.direction(), stream.origin()) {
            (Direction::Bidirectional, _) => self.take_bidi(stream, event),
            (Direction::Unidirectional, Origin::Peer) => self.take_data(stream, event),
            (Direction::Unidirectional, Origin::Local) => {
                if matches!(event, StreamEvent::Stopped(_)) {
                    self.outgoing.remove(&stream);
                }
                self.pass(inside(stream), event);
                Ok(())
            }
        }
    }

    /// A datagram of the peer, as the session is to see it.
    pub(in crate::moqt) fn take_datagram(data: &Bytes) -> Result<Option<Bytes>, ProtocolError> {
        datagram::from_16(data)
    }

    fn take_priority(&mut self, mut output: Output) {
        if let Output::SetPriority { stream, .. } = &mut output {
            *stream = outside(*stream);
            self.outward.push_back(output);
        }
    }

    /// What cannot be said is as good as lost.
    fn say_datagram(&mut self, session: SessionId, data: &Bytes, until: Option<Instant>) {
        if let Ok(data) = datagram::to_16(data) {
            self.outward.push_back(Output::Datagram {
                session,
                data,
                until,
            });
        }
    }

    /// The session wants something done.
    pub(in crate::moqt) fn take_output(&mut self, output: Output) -> Result<(), ProtocolError> {
        match output {
            Output::Open {
                stream, priority, ..
            } => {
                self.take_open(stream, priority);
                Ok(())
            }
            Output::Write {
                stream,
                head,
                body,
                fin,
                notify,
                ..
            } => match stream.direction() {
                Direction::Bidirectional => self.take_request_write(stream, &head, fin),
                Direction::Unidirectional if stream == CONTROL_OUT => {
                    self.take_control_write(&head)
                }
                Direction::Unidirectional => {
                    self.take_data_write(stream, &head, body, fin, notify);
                    Ok(())
                }
            },
            Output::SetPriority { .. } => {
                self.take_priority(output);
                Ok(())
            }
            Output::Reset { stream, code, .. } => match stream.direction() {
                Direction::Bidirectional => self.give_up(stream, code),
                Direction::Unidirectional => {
                    self.outgoing.remove(&outside(stream));
                    self.reset(outside(stream), code);
                    Ok(())
                }
            },
            Output::Stop { stream, code, .. } => match stream.direction() {
                Direction::Bidirectional => self.give_up(stream, code),
                Direction::Unidirectional => {
                    self.drop_incoming(outside(stream));
                    self.stop(outside(stream), code);
                    Ok(())
                }
            },
            Output::Datagram {
                session,
                data,
                until,
            } => {
                self.say_datagram(session, &data, until);
                Ok(())
            }
            Output::Allow { .. } => {
                self.outward.push_back(output);
                Ok(())
            }
            Output::Close {
                session,
                code,
                reason,
            } => {
                self.take_close(session, code, reason);
                Ok(())
            }
        }
    }

    fn take_close(&mut self, session: SessionId, code: u64, reason: String) {
        let code = codes::session_to_16(code);
        self.outward.push_back(Output::Close {
            session,
            code,
            reason,
        });
    }

    fn take_open(&mut self, stream: StreamId, priority: i32) {
        let session = self.session;
        let outer = match stream.direction() {
            Direction::Bidirectional => return self.requests.open(stream),
            Direction::Unidirectional if stream != CONTROL_OUT => outside(stream),
            Direction::Unidirectional if self.side == Side::Server => return,
            Direction::Unidirectional => {
                let control = self.next_bidi();
                self.control = Some(control);
                control
            }
        };
        if stream != CONTROL_OUT {
            self.outgoing.insert(outer, Outgoing::new());
        }
        self.outward.push_back(Output::Open {
            session,
            stream: outer,
            priority: if stream == CONTROL_OUT {
                CONTROL_PRIORITY
            } else {
                priority
            },
        });
    }

    fn next_bidi(&mut self) -> StreamId {
        let stream = StreamId::new(Origin::Local, Direction::Bidirectional, self.next_bidi);
        self.next_bidi += 1;
        stream
    }
}

/// Data streams.
impl Adapter {
    fn take_data(&mut self, stream: StreamId, event: StreamEvent) -> Result<(), ProtocolError> {
        let inner = inside(stream);
        match event {
            StreamEvent::Data(piece) => {
                let known = self.incoming.len();
                if !self.incoming.contains_key(&stream) {
                    if known >= self.limits.incoming_streams_max {
                        let reason = "more open streams than were granted";
                        return Err(ProtocolError::violation(reason));
                    }
                    self.incoming.insert(stream, Incoming::new());
                }
                self.push_data(stream, piece)
            }
            StreamEvent::Finished => {
                let incoming = self.drop_incoming(stream);
                incoming.map_or(Ok(()), |incoming| incoming.finish())?;
                self.pass(inner, StreamEvent::Finished);
                Ok(())
            }
            StreamEvent::Reset(code) => {
                self.drop_incoming(stream);
                self.pass(inner, StreamEvent::Reset(codes::stream_from_16(code)));
                Ok(())
            }
            StreamEvent::Stopped(_) | StreamEvent::Writable => Ok(()),
        }
    }

    fn push_data(&mut self, stream: StreamId, piece: Bytes) -> Result<(), ProtocolError> {
        let Some(incoming) = self.incoming.get_mut(&stream) else {
            return Ok(());
        };
        let (requests, own) = (&self.requests, &self.own);
        let fetch = |id: RequestId| match requests.own_fetch(id) {
            Some(known) => Ok(Some(known)),
            None if own.has_used(id) => Ok(None),
            None => Err(ProtocolError::violation(
                "fetch stream for a request that was never made",
            )),
        };
        let before = incoming.held();
        let properties_max = self.limits.object.properties_max;
        incoming.push(piece, properties_max, &fetch, &mut self.pieces)?;
        self.held = (self.held + incoming.held()).saturating_sub(before);
        let is_unwanted = incoming.is_unwanted();
        while let Some(piece) = self.pieces.pop_front() {
            self.pass(inside(stream), StreamEvent::Data(piece));
        }
        if is_unwanted {
            self.drop_incoming(stream);
            self.stop(stream, StreamCode::CANCELLED.0);
        }
        self.check_held()
    }

    fn drop_incoming(&mut self, stream: StreamId) -> Option<Incoming> {
        let incoming = self.incoming.remove(&stream)?;
        self.held = self.held.saturating_sub(incoming.held());
        Some(incoming)
    }

    fn check_held(&self) -> Result<(), ProtocolError> {
        if self.held <= self.limits.held_bytes_max {
            return Ok(());
        }
        Err(ProtocolError::new(
            SessionCode::INTERNAL_ERROR,
            "too many bytes of unfinished messages and objects",
        ))
    }

    fn take_data_write(
        &mut self,
        stream: StreamId,
        head: &Bytes,
        body: Payload,
        fin: bool,
        notify: bool,
    ) {
        let outer = outside(stream);
        let Some(outgoing) = self.outgoing.get_mut(&outer) else {
            return;
        };
        let requests = &self.requests;
        let head = outgoing.head(head, body.len(), |id| requests.fetch_of_peer(id));
        let Ok(head) = head else {
            let code = StreamCode::INTERNAL_ERROR.0;
            self.outgoing.remove(&outer);
            self.reset(outer, code);
            return self.pass(stream, StreamEvent::Stopped(code));
        };
        if fin {
            self.outgoing.remove(&outer);
        }
        self.outward.push_back(Output::Write {
            session: self.session,
            stream: outer,
            head,
            body,
            fin,
            notify,
        });
    }
}

/// What both halves use.
impl Adapter {
    /// Shows the session an event.
    fn pass(&mut self, stream: StreamId, event: StreamEvent) {
        self.inward.push_back((stream, event));
    }

    /// Shows the session a message on one of its streams.
    fn give(&mut self, stream: StreamId, message: &Message) -> Result<(), ProtocolError> {
        let mut out = BytesMut::new();
        message
            .encode(Draft::D16, &mut out)
            .map_err(|_| ProtocolError::violation("message that cannot be understood"))?;
        self.pass(stream, StreamEvent::Data(out.freeze()));
        Ok(())
    }

    /// Sends a message on the control stream.
    fn send(&mut self, message: &Control) -> Result<(), ProtocolError> {
        let mut out = BytesMut::new();
        encode(message, &mut out)?;
        match self.control {
            Some(control) => self.write(control, out.freeze(), false),
            None => self.unsent.extend_from_slice(&out),
        }
        Ok(())
    }

    fn send_on(&mut self, stream: StreamId, message: &Control) -> Result<(), ProtocolError> {
        let mut out = BytesMut::new();
        encode(message, &mut out)?;
        self.write(stream, out.freeze(), false);
        Ok(())
    }

    fn write(&mut self, stream: StreamId, head: Bytes, fin: bool) {
        self.outward.push_back(Output::Write {
            session: self.session,
            stream,
            head,
            body: Payload::default(),
            fin,
            notify: false,
        });
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.outward.push_back(Output::Reset {
            session: self.session,
            stream,
            code: codes::stream_to_16(code),
        });
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.outward.push_back(Output::Stop {
            session: self.session,
            stream,
            code: codes::stream_to_16(code),
        });
    }
}

/// Answers of this end hold nothing that draft 16 cannot say but overlong numbers and texts.
fn encode(message: &Control, out: &mut BytesMut) -> Result<(), ProtocolError> {
    message.encode(out).map_err(|_| {
        let reason = "an answer that this draft cannot express";
        ProtocolError::new(SessionCode::INTERNAL_ERROR, reason)
    })
}

/// The session's name for a data stream: its control streams come first.
const fn inside(stream: StreamId) -> StreamId {
    StreamId::new(stream.origin(), stream.direction(), stream.index() + 1)
}

/// The transport's name for a data stream.
const fn outside(stream: StreamId) -> StreamId {
    let index = stream.index().saturating_sub(1);
    StreamId::new(stream.origin(), stream.direction(), index)
}
