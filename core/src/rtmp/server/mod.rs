//! [`Session`]: the server's side of one RTMP connection.
//!
//! Sources: RTMP 1.0 (Adobe, 2012), sections 5 to 7; Enhanced RTMP v2, "Enhancing NetConnection
//! connect command".
//!
//! | phase | waits for | goes to |
//! |---|---|---|
//! | greeting | handshake | connecting |
//! | connecting | `connect` | connected |
//! | connected | `publish` (after `createStream` and others) | deciding |
//! | deciding | the owner; the peer's bytes are kept, not read | publishing or closed |
//! | publishing | media, metadata, unpublish | ended |
//! | ended | the peer's close | closed |
//! | closed | nothing: one `Close` was put out, inputs change nothing | |
//!
//! Deadlines: [`Limits::handshake_timeout`] from the constructor until `publish`, and
//! [`Limits::idle_timeout`] since the last bytes. Every fault of the peer ends in
//! [`Output::Close`] with a [`CloseReason`]; what the session had written before is sent first.
//! Data messages that cannot be read are dropped: they steer nothing, and encoders put all sorts
//! of things there.
//!
//! ```
//! use mainstem_core::rtmp::{Limits, server::{Input, Output, Session}};
//! use mainstem_core::time::Instant;
//! let mut session = Session::new(Instant::ZERO, 7, Limits::default());
//! session.handle(Instant::ZERO, Input::Data(bytes::Bytes::from_static(b"GET / HTTP/1.1\r\n")));
//! assert!(matches!(session.poll(), Some(Output::Close { .. })));
//! ```

mod command;
mod control;
mod event;
mod media;

pub use event::{
    CloseReason, CommandError, Event, Input, MediaKind, Metadata, Output, PublishRequest,
    RefusalCode,
};

use super::chunk::reader::Reader;
use super::chunk::writer::Writer;
use super::handshake::{Handshake, Progress};
use super::limits::Limits;
use crate::time::Instant;
use bytes::{Buf, Bytes, BytesMut};
use command::Connect;
use control::Acknowledgements;
use media::Publishing;
use std::collections::VecDeque;

/// One RTMP connection, as its server sees it. See the module for its phases.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    phase: Phase,
    handshake: Handshake,
    reader: Reader,
    writer: Writer,
    acknowledgements: Acknowledgements,
    connect: Option<Connect>,
    message_streams: u32,
    publishing: Option<Publishing>,
    /// The peer's bytes while the owner decides.
    undecided: BytesMut,
    opened: Instant,
    heard: Instant,
    outputs: VecDeque<Output>,
    pending_write_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Connecting,
    Connected,
    Deciding { stream: u32 },
    Publishing { stream: u32 },
    Ended,
    Closed,
}

impl Session {
    /// A session over a connection that was accepted at `now`. `seed` makes the random bytes of
    /// the handshake, which protect nothing.
    pub fn new(now: Instant, seed: u64, limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Greeting,
            handshake: Handshake::new(seed),
            reader: Reader::new(&limits),
            writer: Writer::new(),
            acknowledgements: Acknowledgements::default(),
            connect: None,
            message_streams: 0,
            publishing: None,
            undecided: BytesMut::new(),
            opened: now,
            heard: now,
            outputs: VecDeque::new(),
            pending_write_bytes: 0,
        }
    }

    /// What the world did.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Data(data) => {
                self.heard = self.heard.max(now);
                self.read(data);
            }
            Input::Closed => self.end(CloseReason::Peer),
        }
    }

    /// Closes the connection when a deadline has passed; before that, changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        let idle = now >= self.heard + self.limits.idle_timeout;
        self.end(if idle {
            CloseReason::IdleTimeout
        } else {
            CloseReason::HandshakeTimeout
        });
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        if let Output::Write(bytes) = &output {
            self.pending_write_bytes = self.pending_write_bytes.saturating_sub(bytes.len());
        }
        Some(output)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub fn next_timeout(&self) -> Option<Instant> {
        let idle = self.heard + self.limits.idle_timeout;
        match self.phase {
            Phase::Closed => None,
            Phase::Greeting | Phase::Connecting | Phase::Connected => {
                Some(idle.min(self.opened + self.limits.handshake_timeout))
            }
            Phase::Deciding { .. } | Phase::Publishing { .. } | Phase::Ended => Some(idle),
        }
    }

    /// Accepts the publish request: the encoder is told to start, and what it sent meanwhile is
    /// read.
    pub fn accept_publish(&mut self, _now: Instant) -> Result<(), CommandError> {
        let Phase::Deciding { stream } = self.phase else {
            return Err(CommandError::NothingToAnswer);
        };
        self.write_publish_start(stream);
        self.phase = Phase::Publishing { stream };
        self.publishing = Some(Publishing::default());
        let undecided = std::mem::take(&mut self.undecided).freeze();
        self.read(undecided);
        Ok(())
    }

    /// Refuses the publish request and closes. The encoder shows `description` to its person:
    /// lower case, no secrets, `auth_failed: ...` for a wrong key.
    pub fn reject_publish(
        &mut self,
        _now: Instant,
        code: RefusalCode,
        description: &str,
    ) -> Result<(), CommandError> {
        let Phase::Deciding { stream } = self.phase else {
            return Err(CommandError::NothingToAnswer);
        };
        self.write_status(stream, "error", code.as_str(), description);
        self.end(CloseReason::Refused);
        Ok(())
    }

    /// Closes the connection. An encoder that publishes, or waits for its answer, is told `reason`
    /// first, with code `NetStream.Failed`.
    pub fn close(&mut self, _now: Instant, reason: &'static str) -> Result<(), CommandError> {
        match self.phase {
            Phase::Closed => return Err(CommandError::Closed),
            Phase::Deciding { stream } | Phase::Publishing { stream } => {
                self.write_status(stream, "error", RefusalCode::Failed.as_str(), reason);
            }
            _ => {}
        }
        self.end(CloseReason::Owner(reason));
        Ok(())
    }

    /// Reads the peer's bytes as far as the phase allows.
    fn read(&mut self, mut data: Bytes) {
        while !data.is_empty() {
            let result = match self.phase {
                Phase::Closed => return,
                Phase::Deciding { .. } => return self.keep_undecided(&data),
                Phase::Greeting => self.read_handshake(&mut data),
                _ => self.read_chunks(&mut data),
            };
            if let Err(reason) = result {
                return self.end(reason);
            }
        }
    }

    fn keep_undecided(&mut self, data: &[u8]) {
        let kept = self.undecided.len().saturating_add(data.len());
        if kept > self.limits.undecided_bytes_max {
            return self.end(CloseReason::UndecidedBytes);
        }
        self.undecided.extend_from_slice(data);
    }

    fn read_handshake(&mut self, data: &mut Bytes) -> Result<(), CloseReason> {
        match self.handshake.push(data) {
            Progress::Wait => {}
            Progress::Answer(answer) => self.write(answer),
            Progress::Done => self.phase = Phase::Connecting,
            Progress::NotRtmp => return Err(CloseReason::NotRtmp),
        }
        Ok(())
    }

    /// Up to the end of a message, or to the byte at which an acknowledgement is due: so that
    /// where the bytes were cut on their way does not show in the answers.
    fn read_chunks(&mut self, data: &mut Bytes) -> Result<(), CloseReason> {
        let offered = data.len().min(self.acknowledgements.until_due());
        let mut part = data.slice(..offered);
        let message = self.reader.push(&mut part)?;
        let taken = offered.saturating_sub(part.len());
        data.advance(taken);
        self.acknowledgements.count(taken);
        if let Some(message) = message {
            self.read_message(message)?;
        }
        self.write_acknowledgement();
        Ok(())
    }

    fn write(&mut self, bytes: Bytes) {
        self.pending_write_bytes = self.pending_write_bytes.saturating_add(bytes.len());
        self.push(Output::Write(bytes));
    }

    fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    fn push(&mut self, output: Output) {
        if self.phase == Phase::Closed {
            return;
        }
        self.outputs.push_back(output);
        if self.outputs.len() > self.limits.pending_outputs_max
            || self.pending_write_bytes > self.limits.pending_write_bytes_max
        {
            self.end(CloseReason::PendingOutput);
        }
    }

    /// The accepted stream is over, the connection not yet.
    fn end_stream(&mut self, clean: bool) {
        if self.publishing.take().is_some() {
            self.phase = Phase::Ended;
            self.outputs
                .push_back(Output::Event(Event::EndOfStream { clean }));
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.end_stream(false);
        self.phase = Phase::Closed;
        self.undecided = BytesMut::new();
        self.reader = Reader::new(&self.limits);
        self.outputs.push_back(Output::Close { reason });
    }
}

#[cfg(test)]
mod tests;
