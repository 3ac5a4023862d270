//! The peer's streams on an HTTP/3 connection, until it is known what they are and after.
//!
//! | kind | from | becomes |
//! |---|---|---|
//! | `Unknown` | every stream at first | one of the others by its first integer |
//! | `Named` | a WebTransport stream before its session id | adopted, `Waiting` or turned away |
//! | `Waiting` | its session is not open yet | adopted or turned away |
//! | `Control`, `Encoder`, `Decoder` | one of each; they never end | - |
//! | `Request` | a request, or a client's own CONNECT | answered, or the session's stream |
//!
//! Sources: RFC 9114 sections 6 and 7, RFC 9204 section 4, draft-ietf-webtrans-http3 section 4.

use super::capsule::{BadCapsule, Capsule, Capsules};
use super::code::Code;
use super::message::{self, Malformed, Request};
use super::qpack::{self, Field, QpackError};
use super::settings::{self, SETTINGS};
use super::wire::{Frames, Part, VarintReader, write_frame};
use super::{
    Effect, FRAME_WEBTRANSPORT, Fault, Http3, STREAM_CONTROL, STREAM_WEBTRANSPORT, Session,
};
use super::{message::SessionRequest, protocols};
use crate::wire_id::WireId;
use bytes::{Buf, Bytes, BytesMut};
use mainstem_core::transport::{Direction, Side};

/// Frame types.
pub(super) const DATA: u64 = 0x0;
pub(super) const HEADERS: u64 = 0x1;
const MAX_PUSH_ID: u64 = 0xd;
const STREAM_PUSH: u64 = 0x1;
const STREAM_ENCODER: u64 = 0x2;
const STREAM_DECODER: u64 = 0x3;

/// Bytes of a SETTINGS frame.
const SETTINGS_BYTES_MAX: u64 = 4096;

/// One stream of the peer.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Unknown(VarintReader),
    Named(VarintReader),
    Waiting { session: WireId, first: Bytes },
    Control(Frames, BytesMut),
    Encoder,
    Decoder { in_integer: bool },
    Request(Box<RequestStream>),
}

#[derive(Debug)]
pub(super) struct RequestStream {
    frames: Frames,
    section: BytesMut,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Server: the field section of the request.
    Request,
    /// Client: the field section of the response.
    Response,
    /// The session is open and this is its stream.
    Session(Capsules),
}

type Step = Result<Option<Incoming>, Fault>;

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            kind: Kind::Unknown(VarintReader::default()),
        }
    }

    /// The stream of a client's CONNECT.
    pub(super) fn response() -> Self {
        Self::request(Frames::default(), Stage::Response)
    }

    fn request(frames: Frames, stage: Stage) -> Self {
        Self {
            kind: Kind::Request(Box::new(RequestStream {
                frames,
                section: BytesMut::new(),
                stage,
            })),
        }
    }
}

impl Http3 {
    /// Takes bytes; what is left of the stream, or `None` when it is no longer ours.
    pub(super) fn consume(&mut self, id: WireId, stream: Incoming, mut data: Bytes) -> Step {
        let mut stream = stream;
        loop {
            if data.is_empty() || matches!(stream.kind, Kind::Waiting { .. }) {
                if let Kind::Waiting { first, .. } = &mut stream.kind
                    && !data.is_empty()
                {
                    // The host stops reading a waiting stream, so this is at most one more chunk.
                    let mut joined = BytesMut::from(&first[..]);
                    joined.extend_from_slice(&data);
                    *first = joined.freeze();
                }
                return Ok(Some(stream));
            }
            stream = match self.step(id, stream, &mut data)? {
                Some(stream) => stream,
                None => return Ok(None),
            };
        }
    }

    /// Uses up `data` or learns what the stream is.
    fn step(&mut self, id: WireId, stream: Incoming, data: &mut Bytes) -> Step {
        let kind = match stream.kind {
            Kind::Unknown(mut reader) => {
                return match reader.read(data) {
                    Some(kind) if id.direction() == Direction::Unidirectional => {
                        self.learn_uni(id, kind)
                    }
                    Some(kind) => self.learn_bidi(id, kind),
                    None => Ok(Some(Incoming {
                        kind: Kind::Unknown(reader),
                    })),
                };
            }
            Kind::Named(mut reader) => match reader.read(data) {
                Some(session) => return self.named(id, session, std::mem::take(data)),
                None => Kind::Named(reader),
            },
            Kind::Control(mut frames, mut collected) => {
                while let Some(part) = frames.next(data) {
                    self.control(part, &mut collected)?;
                }
                Kind::Control(frames, collected)
            }
            Kind::Encoder => {
                // With a table capacity of 0, "capacity 0" is all that can be said.
                if data.iter().any(|byte| *byte != 0x20) {
                    let reason = "an encoder instruction without a dynamic table";
                    return Err(Fault::new(Code::QPACK_ENCODER_STREAM_ERROR, reason));
                }
                data.clear();
                Kind::Encoder
            }
            Kind::Decoder { in_integer } => Kind::Decoder {
                in_integer: decoder_stream(in_integer, data)?,
            },
            Kind::Request(request) => return self.request(id, request, data),
            waiting @ Kind::Waiting { .. } => waiting,
        };
        Ok(Some(Incoming { kind }))
    }

    /// A finished stream.
    pub(super) fn end(&mut self, id: WireId, stream: &Incoming) -> Result<(), Fault> {
        match &stream.kind {
            Kind::Control(..) | Kind::Encoder | Kind::Decoder { .. } => Err(Fault::new(
                Code::CLOSED_CRITICAL_STREAM,
                "a control or QPACK stream ended",
            )),
            Kind::Request(request) => match &request.stage {
                Stage::Session(capsules)
                    if capsules.is_between_capsules() && request.frames.is_between_frames() =>
                {
                    self.ended(id, 0, String::new());
                    Ok(())
                }
                Stage::Session(_) => {
                    self.fail("the stream of the session ended inside a frame");
                    Ok(())
                }
                Stage::Response => {
                    self.fail("the server ended the request without a response");
                    Ok(())
                }
                Stage::Request => {
                    self.turn_away(id, Code::REQUEST_INCOMPLETE);
                    Ok(())
                }
            },
            Kind::Unknown(_) | Kind::Named(_) | Kind::Waiting { .. } => {
                if id.direction() == Direction::Bidirectional {
                    self.turn_away(id, Code::REQUEST_INCOMPLETE);
                }
                Ok(())
            }
        }
    }

    /// A reset stream.
    pub(super) fn abort(&mut self, id: WireId, stream: &Incoming) -> Result<(), Fault> {
        if let Kind::Request(request) = &stream.kind
            && !matches!(request.stage, Stage::Request)
        {
            self.fail("the peer reset the stream of the session");
            return Ok(());
        }
        match &stream.kind {
            Kind::Control(..) | Kind::Encoder | Kind::Decoder { .. } => self.end(id, stream),
            _ if id.direction() == Direction::Bidirectional => {
                let code = Code::REQUEST_CANCELLED;
                self.effects.push_back(Effect::Reset { stream: id, code });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn learn_uni(&mut self, id: WireId, kind: u64) -> Step {
        let (slot, kind) = match kind {
            STREAM_CONTROL => (0, Kind::Control(Frames::default(), BytesMut::new())),
            STREAM_ENCODER => (1, Kind::Encoder),
            STREAM_DECODER => (2, Kind::Decoder { in_integer: false }),
            STREAM_WEBTRANSPORT => {
                return Ok(Some(Incoming {
                    kind: Kind::Named(VarintReader::default()),
                }));
            }
            STREAM_PUSH => {
                // We never allow pushes, and a client cannot push.
                let code = match self.side {
                    Side::Server => Code::STREAM_CREATION_ERROR,
                    Side::Client => Code::ID_ERROR,
                };
                return Err(Fault::new(code, "a push stream that nobody allowed"));
            }
            _ => {
                let code = Code::STREAM_CREATION_ERROR;
                self.effects.push_back(Effect::Stop { stream: id, code });
                return Ok(None);
            }
        };
        match self.seen.get_mut(slot) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                let reason = "a second control or QPACK stream";
                return Err(Fault::new(Code::STREAM_CREATION_ERROR, reason));
            }
        }
        Ok(Some(Incoming { kind }))
    }

    fn learn_bidi(&mut self, id: WireId, kind: u64) -> Step {
        if kind == FRAME_WEBTRANSPORT {
            return Ok(Some(Incoming {
                kind: Kind::Named(VarintReader::default()),
            }));
        }
        if self.side == Side::Client {
            let reason = "a server's bidirectional stream outside a session";
            return Err(Fault::new(Code::STREAM_CREATION_ERROR, reason));
        }
        if self.requests >= self.bounds.requests {
            self.turn_away(id, Code::REQUEST_REJECTED);
            return Ok(None);
        }
        Ok(Some(Incoming::request(
            Frames::after_kind(kind),
            Stage::Request,
        )))
    }

    /// A WebTransport stream and the session it names.
    fn named(&mut self, id: WireId, session: u64, first: Bytes) -> Step {
        let session = WireId(session);
        if session.direction() != Direction::Bidirectional || session.opener() != Side::Client {
            let reason = "a session id that is no client-opened bidirectional stream";
            return Err(Fault::new(Code::ID_ERROR, reason));
        }
        if matches!(self.session, Session::Idle | Session::Requested(_))
            && self.waiting < self.bounds.early_streams
        {
            return Ok(Some(Incoming {
                kind: Kind::Waiting { session, first },
            }));
        }
        self.adopt(id, session, first);
        Ok(None)
    }

    fn control(&mut self, part: Part, collected: &mut BytesMut) -> Result<(), Fault> {
        match part {
            Part::Head { kind, len } => {
                let is_settings = kind == SETTINGS;
                if self.settings.is_none() && !is_settings {
                    let reason = "the control stream does not begin with SETTINGS";
                    return Err(Fault::new(Code::MISSING_SETTINGS, reason));
                }
                let unexpected = match kind {
                    SETTINGS => self.settings.is_some(),
                    DATA | HEADERS | 0x2 | 0x5 | 0x6 | 0x8 | 0x9 => true,
                    MAX_PUSH_ID => self.side == Side::Client,
                    _ => false,
                };
                if unexpected {
                    let reason = "a frame that the control stream cannot carry";
                    return Err(Fault::new(Code::FRAME_UNEXPECTED, reason));
                }
                if is_settings && len > SETTINGS_BYTES_MAX {
                    return Err(Fault::new(Code::EXCESSIVE_LOAD, "SETTINGS over 4096 bytes"));
                }
                Ok(())
            }
            Part::Body { kind, bytes, last } if kind == SETTINGS => {
                collected.extend_from_slice(&bytes);
                if last {
                    let settings = settings::decode(&std::mem::take(collected))
                        .map_err(|(code, reason)| Fault::new(code, reason))?;
                    self.settings = Some(settings);
                    let offers = settings.connect_protocol && settings.web_transport;
                    if self.side == Side::Client && !offers {
                        self.fail("the server does not offer WebTransport in its settings");
                    }
                }
                Ok(())
            }
            Part::Body { .. } => Ok(()),
        }
    }

    fn request(&mut self, id: WireId, mut request: Box<RequestStream>, data: &mut Bytes) -> Step {
        while let Some(part) = request.frames.next(data) {
            match part {
                Part::Head { kind, len } => {
                    if let Some(reason) = unexpected_frame(kind, &request.stage) {
                        return Err(Fault::new(Code::FRAME_UNEXPECTED, reason));
                    }
                    let max = u64::try_from(self.bounds.field_section_bytes).unwrap_or(u64::MAX);
                    if kind == HEADERS && len > max {
                        self.too_large(id, &request.stage);
                        return Ok(None);
                    }
                }
                Part::Body { kind, bytes, last } if kind == HEADERS => {
                    request.section.extend_from_slice(&bytes);
                    if last {
                        let section = std::mem::take(&mut request.section);
                        match self.section(id, &section, &request.stage)? {
                            Next::Same => {}
                            Next::Session => request.stage = Stage::Session(Capsules::default()),
                            Next::Gone => return Ok(None),
                        }
                    }
                }
                Part::Body {
                    kind, mut bytes, ..
                } if kind == DATA => {
                    if let Stage::Session(capsules) = &mut request.stage {
                        let capsule = next_close(capsules, &mut bytes);
                        match capsule {
                            Ok(None) => {}
                            Ok(Some((code, reason))) => {
                                self.ended(id, code.into(), reason);
                                return Ok(None);
                            }
                            Err(BadCapsule(reason)) => {
                                self.turn_away(id, Code::MESSAGE_ERROR);
                                self.fail(reason);
                                return Ok(None);
                            }
                        }
                    }
                }
                Part::Body { .. } => {}
            }
        }
        Ok(Some(Incoming {
            kind: Kind::Request(request),
        }))
    }

    /// A whole field section.
    fn section(&mut self, id: WireId, section: &[u8], stage: &Stage) -> Result<Next, Fault> {
        let fields = match qpack::decode(section, self.bounds.field_section_bytes) {
            Ok(fields) => fields,
            Err(QpackError::Decompression) => {
                let reason = "a field section that QPACK cannot decode";
                return Err(Fault::new(Code::QPACK_DECOMPRESSION_FAILED, reason));
            }
            Err(QpackError::TooLarge) => {
                self.too_large(id, stage);
                return Ok(Next::Gone);
            }
        };
        let next = match stage {
            Stage::Request => self.answer(id, &fields),
            Stage::Response => self.response(id, &fields),
            Stage::Session(_) => Err(Malformed("trailers on the stream of a session")),
        };
        Ok(next.unwrap_or_else(|Malformed(reason)| {
            self.turn_away(id, Code::MESSAGE_ERROR);
            if matches!(stage, Stage::Request) {
                self.effects.push_back(Effect::Refused(reason));
            } else {
                self.fail(reason);
            }
            Next::Gone
        }))
    }

    fn answer(&mut self, id: WireId, fields: &[Field]) -> Result<Next, Malformed> {
        let request = match message::parse_request(fields)? {
            Request::Session(request) => request,
            Request::OtherConnect => {
                return Ok(self.refuse(id, "501", "a CONNECT that is not for WebTransport"));
            }
            Request::Other => {
                return Ok(self.refuse(id, "404", "an HTTP request, which nothing here serves"));
            }
        };
        if self.session != Session::Idle {
            return Ok(self.refuse(id, "429", "a second session on one connection"));
        }
        let accepted = self.accept(&request);
        let Some((protocol, section)) = accepted else {
            let reason = if request.offered.is_empty() {
                "a session without wt-available-protocols"
            } else {
                "a session whose wt-available-protocols names none of ours"
            };
            return Ok(self.refuse(id, "400", reason));
        };
        let mut frame = Vec::new();
        write_frame(HEADERS, &section, &mut frame);
        self.effects.push_back(Effect::Send {
            stream: id,
            bytes: frame.into(),
            fin: false,
        });
        self.establish(id, protocol, request.target);
        Ok(Next::Session)
    }

    fn accept(&self, request: &SessionRequest) -> Option<(String, Vec<u8>)> {
        let protocol = protocols::choose(&self.protocols, &request.offered)?;
        let section = message::encode_accept(request, protocol)?;
        Some((protocol.to_owned(), section))
    }

    fn response(&mut self, id: WireId, fields: &[Field]) -> Result<Next, Malformed> {
        let (status, chosen) = message::parse_response(fields)?;
        if (100..200).contains(&status) {
            return Ok(Next::Same);
        }
        if !(200..300).contains(&status) {
            self.fail(&format!(
                "the server refused the session with status {status}"
            ));
            return Ok(Next::Gone);
        }
        match (chosen, self.target.take()) {
            (Some(protocol), Some(target)) if self.protocols.contains(&protocol) => {
                self.establish(id, protocol, target);
                Ok(Next::Session)
            }
            _ => {
                self.fail("the server accepted the session but chose none of our protocols");
                Ok(Next::Gone)
            }
        }
    }

    /// Answers a request with a status and takes no more of it.
    fn refuse(&mut self, id: WireId, status: &str, reason: &'static str) -> Next {
        let mut frame = Vec::new();
        write_frame(HEADERS, &message::encode_status(status), &mut frame);
        self.effects.push_back(Effect::Send {
            stream: id,
            bytes: frame.into(),
            fin: true,
        });
        let code = Code::NO_ERROR;
        self.effects.push_back(Effect::Stop { stream: id, code });
        self.effects.push_back(Effect::Refused(reason));
        Next::Gone
    }

    fn too_large(&mut self, id: WireId, stage: &Stage) {
        if matches!(stage, Stage::Request) {
            self.refuse(id, "431", "a request with a field section over the limit");
        } else {
            self.turn_away(id, Code::EXCESSIVE_LOAD);
            self.fail("the peer sent a field section over the limit");
        }
    }

    /// The peer ended the session: answers with the end of our side.
    fn ended(&mut self, id: WireId, code: u64, reason: String) {
        if self.session == Session::Open(id) {
            self.session = Session::Over;
            self.effects.push_back(Effect::Send {
                stream: id,
                bytes: Bytes::new(),
                fin: true,
            });
            self.effects.push_back(Effect::Ended { code, reason });
        }
    }
}

/// What a field section made of its stream.
enum Next {
    Same,
    Session,
    Gone,
}

fn next_close(
    capsules: &mut Capsules,
    bytes: &mut Bytes,
) -> Result<Option<(u32, String)>, BadCapsule> {
    while let Some(capsule) = capsules.next(bytes)? {
        match capsule {
            Capsule::Close { code, reason } => return Ok(Some((code, reason))),
            // MoQT has a GOAWAY of its own; the transport's hint adds nothing to it.
            Capsule::Drain => {}
        }
    }
    Ok(None)
}

/// Why a frame cannot stand on a request stream.
fn unexpected_frame(kind: u64, stage: &Stage) -> Option<&'static str> {
    match kind {
        DATA if !matches!(stage, Stage::Session(_)) => Some("DATA before HEADERS"),
        DATA | HEADERS => None,
        0x2..=0x9 | MAX_PUSH_ID | FRAME_WEBTRANSPORT => {
            Some("a frame that a request stream cannot carry")
        }
        _ => None,
    }
}

/// Skips stream cancellations; whether an integer is still open.
fn decoder_stream(mut in_integer: bool, data: &mut Bytes) -> Result<bool, Fault> {
    while data.has_remaining() {
        let byte = data.get_u8();
        in_integer = match (in_integer, byte) {
            (true, byte) => byte & 0x80 != 0,
            (false, byte) if byte & 0xc0 == 0x40 => byte & 0x3f == 0x3f,
            (false, _) => {
                let reason = "a decoder instruction without a dynamic table";
                return Err(Fault::new(Code::QPACK_DECODER_STREAM_ERROR, reason));
            }
        };
    }
    Ok(in_integer)
}
