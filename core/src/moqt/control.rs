//! Framing of control and request streams: bytes cut anywhere in, whole messages out.
//!
//! Every message is `type (vi64), length (16), body`. A control stream begins with SETUP, whose type
//! is the stream's type too, so the reader is given the stream from its first byte.
//!
//! Bound: one message of at most 65,535 bytes and its head are kept, beyond what was pushed and not
//! polled yet. Source: draft-ietf-moq-transport-18, Section 10.

use super::draft::Draft;
use super::error::ProtocolError;
use super::message::{Message, StreamRole};
use super::varint;
use bytes::{Buf, Bytes, BytesMut};

/// Reads the messages of one stream.
#[derive(Debug)]
pub struct ControlReader {
    role: StreamRole,
    buffer: BytesMut,
}

impl ControlReader {
    /// A reader for a stream of this role, from its first byte.
    pub fn new(role: StreamRole) -> Self {
        Self {
            role,
            buffer: BytesMut::new(),
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes pushed and not read as a message yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message; `None` when more bytes are needed.
    pub fn poll(&mut self, draft: Draft) -> Result<Option<Message>, ProtocolError> {
        let Some((code, head)) = varint::decode(&self.buffer) else {
            return Ok(None);
        };
        let Some(length) = self.buffer.get(head..head + 2) else {
            return Ok(None);
        };
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let body = head + 2;
        let Some(bytes) = self.buffer.get(body..body + length) else {
            return Ok(None);
        };
        let message = Message::decode(draft, code, bytes, self.role)?;
        self.buffer.advance(body + length);
        Ok(Some(message))
    }

    /// Whether the stream stands inside a message: a FIN here is the peer's fault.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }
}
