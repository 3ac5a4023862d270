//! Protocol control and user control messages (RTMP 1.0, sections 5.4, 6.2 and 7.1.7).

use super::{CloseReason, Phase, Session};
use crate::rtmp::chunk::writer::CONTROL;
use crate::rtmp::chunk::{Message, kind};
use bytes::{BufMut, BytesMut};

/// The window that we ask the peer to acknowledge by, and the one for the peer until it says so.
pub(super) const WINDOW: u32 = 2_500_000;
/// A smaller window of the peer counts as this: an answer per byte would serve nobody.
const WINDOW_MIN: u32 = 4096;

/// User control events.
const STREAM_BEGIN: u16 = 0;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// Counts the peer's bytes and knows when they are to be acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledgements {
    received: u64,
    acknowledged: u64,
    window: u32,
}

impl Default for Acknowledgements {
    fn default() -> Self {
        Self {
            received: 0,
            acknowledged: 0,
            window: WINDOW,
        }
    }
}

impl Acknowledgements {
    /// Bytes that may still arrive before an acknowledgement is due; at least one.
    pub(super) fn until_due(&self) -> usize {
        let open = self.received.saturating_sub(self.acknowledged);
        let left = u64::from(self.window).saturating_sub(open).max(1);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    pub(super) fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(bytes);
    }

    /// The sequence number to send, if it is time: bytes received, modulo 2^32.
    fn due(&mut self) -> Option<u32> {
        let open = self.received.saturating_sub(self.acknowledged);
        if open < u64::from(self.window) {
            return None;
        }
        self.acknowledged = self.received;
        Some(u32::try_from(self.received & 0xffff_ffff).unwrap_or(0))
    }
}

impl Session {
    /// Acts on one complete message.
    pub(super) fn read_message(&mut self, message: Message) -> Result<(), CloseReason> {
        match message.kind {
            kind::SET_CHUNK_SIZE => Ok(self.reader.set_chunk_size(first_u32(&message.body)?)?),
            kind::ABORT => {
                self.reader.abort(first_u32(&message.body)?);
                Ok(())
            }
            kind::WINDOW_ACK_SIZE => {
                self.acknowledgements.window = first_u32(&message.body)?.max(WINDOW_MIN);
                Ok(())
            }
            kind::SET_PEER_BANDWIDTH => {
                // What we may send unacknowledged. Our answers are too few to ever reach it, so
                // the peer only learns that we know.
                let window = first_u32(&message.body)?;
                self.write_control(kind::WINDOW_ACK_SIZE, &window.to_be_bytes());
                Ok(())
            }
            kind::USER_CONTROL => self.read_user_control(&message.body),
            kind::COMMAND_AMF0 => self.read_command(message.stream, &message.body),
            kind::COMMAND_AMF3 => self.read_command(message.stream, without_format(&message.body)),
            kind::DATA_AMF0 => {
                self.read_data(&message.body);
                Ok(())
            }
            kind::DATA_AMF3 => {
                self.read_data(without_format(&message.body));
                Ok(())
            }
            kind::AUDIO | kind::VIDEO => {
                self.read_media(message.kind, message.timestamp, message.body)
            }
            kind::AGGREGATE => self.read_aggregate(message.timestamp, message.body),
            // Acknowledgements of the little we send, shared objects, and what others invent.
            _ => Ok(()),
        }
    }

    pub(super) fn write_acknowledgement(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        if let Some(sequence) = self.acknowledgements.due() {
            self.write_control(kind::ACKNOWLEDGEMENT, &sequence.to_be_bytes());
        }
    }

    fn read_user_control(&mut self, body: &[u8]) -> Result<(), CloseReason> {
        let (event, data) = body.split_first_chunk().ok_or(CloseReason::Control)?;
        if u16::from_be_bytes(*event) == PING_REQUEST {
            let time = first_u32(data)?;
            let mut pong = BytesMut::with_capacity(6);
            pong.put_u16(PING_RESPONSE);
            pong.put_u32(time);
            self.write_control(kind::USER_CONTROL, &pong);
        }
        Ok(())
    }

    fn write_control(&mut self, kind: u8, body: &[u8]) {
        let mut out = BytesMut::new();
        self.writer.message(CONTROL, kind, 0, body, &mut out);
        self.write(out.freeze());
    }

    /// Appends Stream Begin for a message stream.
    pub(super) fn put_stream_begin(&self, stream: u32, out: &mut BytesMut) {
        let mut body = BytesMut::with_capacity(6);
        body.put_u16(STREAM_BEGIN);
        body.put_u32(stream);
        self.writer
            .message(CONTROL, kind::USER_CONTROL, 0, &body, out);
    }
}

fn first_u32(body: &[u8]) -> Result<u32, CloseReason> {
    body.first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
        .ok_or(CloseReason::Control)
}

/// Messages of the AMF3 types begin with a byte that says how the rest is encoded: 0, for AMF0, in
/// everything that is published.
fn without_format(body: &[u8]) -> &[u8] {
    body.strip_prefix(&[0]).unwrap_or(body)
}
