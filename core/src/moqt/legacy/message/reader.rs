//! Framing of the control stream and of SUBSCRIBE_NAMESPACE streams: bytes cut anywhere in, whole
//! messages out.
//!
//! Bound: one message of at most 65,535 bytes and its head are kept, beyond what was pushed and not
//! polled yet. Source: draft-ietf-moq-transport-16, Section 9.

use super::Control;
use crate::moqt::error::ProtocolError;
use crate::moqt::legacy::integer;
use bytes::{Buf, BytesMut};

/// Reads the messages of one stream.
#[derive(Debug, Default)]
pub struct LegacyReader {
    buffer: BytesMut,
}

impl LegacyReader {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more bytes are needed.
    pub fn poll(&mut self) -> Result<Option<Control>, ProtocolError> {
        let Some((code, head)) = integer::decode(&self.buffer) else {
            return Ok(None);
        };
        let Some(&[high, low]) = self.buffer.get(head..head + 2) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let body = head + 2;
        let Some(bytes) = self.buffer.get(body..body + length) else {
            return Ok(None);
        };
        let message = Control::decode(code, bytes)?;
        self.buffer.advance(body + length);
        Ok(Some(message))
    }

    /// Bytes pushed and not read as a message yet.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the stream stands inside a message: a FIN here is the peer's fault.
    pub fn is_mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }
}
