//! [`Writer`]: our messages to chunks.
//!
//! Answers are few and small, so every message has a full header (type 0) with time 0, and type 3
//! headers only continue it.

use super::kind;
use bytes::{BufMut, BytesMut};

/// Cuts messages by the chunk size that was announced.
#[derive(Debug)]
pub(in crate::rtmp) struct Writer {
    chunk_size: usize,
}

/// Chunk stream of protocol control messages (section 5.4).
pub(in crate::rtmp) const CONTROL: u8 = 2;
/// Chunk stream of commands; any number from 3 on would do.
pub(in crate::rtmp) const COMMAND: u8 = 3;

impl Writer {
    pub(in crate::rtmp) fn new() -> Self {
        Self { chunk_size: 128 }
    }

    /// Announces a chunk size and uses it from there on.
    pub(in crate::rtmp) fn set_chunk_size(&mut self, size: u16, out: &mut BytesMut) {
        self.message(
            CONTROL,
            kind::SET_CHUNK_SIZE,
            0,
            &u32::from(size).to_be_bytes(),
            out,
        );
        self.chunk_size = usize::from(size.max(1));
    }

    /// Appends one message. `csid` is 2 to 63; bodies longer than the 24-bit length field do not
    /// occur and are cut.
    pub(in crate::rtmp) fn message(
        &self,
        csid: u8,
        kind: u8,
        stream: u32,
        body: &[u8],
        out: &mut BytesMut,
    ) {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).min(0xff_ffff);
        out.put_u8(csid);
        out.put_uint(0, 3);
        out.put_uint(u64::from(length), 3);
        out.put_u8(kind);
        out.put_u32_le(stream);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        for (index, chunk) in body
            .get(..length)
            .unwrap_or_default()
            .chunks(self.chunk_size)
            .enumerate()
        {
            if index > 0 {
                out.put_u8(0xc0 | csid);
            }
            out.put_slice(chunk);
        }
    }
}
