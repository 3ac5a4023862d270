//! Chunk streams: how RTMP messages are cut and interleaved on the connection.
//!
//! Source: RTMP 1.0 (Adobe, 2012), section 5.3. [`reader`] puts messages together, per chunk
//! stream and within the limits; [`writer`] cuts ours.

pub(super) mod reader;
pub(super) mod writer;

use bytes::Bytes;

/// Message type ids (RTMP 1.0, sections 5.4, 6.2 and 7.1).
pub(super) mod kind {
    pub(in crate::rtmp) const SET_CHUNK_SIZE: u8 = 1;
    pub(in crate::rtmp) const ABORT: u8 = 2;
    pub(in crate::rtmp) const ACKNOWLEDGEMENT: u8 = 3;
    pub(in crate::rtmp) const USER_CONTROL: u8 = 4;
    pub(in crate::rtmp) const WINDOW_ACK_SIZE: u8 = 5;
    pub(in crate::rtmp) const SET_PEER_BANDWIDTH: u8 = 6;
    pub(in crate::rtmp) const AUDIO: u8 = 8;
    pub(in crate::rtmp) const VIDEO: u8 = 9;
    pub(in crate::rtmp) const DATA_AMF3: u8 = 15;
    pub(in crate::rtmp) const COMMAND_AMF3: u8 = 17;
    pub(in crate::rtmp) const DATA_AMF0: u8 = 18;
    pub(in crate::rtmp) const COMMAND_AMF0: u8 = 20;
    pub(in crate::rtmp) const AGGREGATE: u8 = 22;
}

/// One complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Message type id, see [`kind`].
    pub(super) kind: u8,
    /// Message stream id; 0 for the connection itself.
    pub(super) stream: u32,
    /// Milliseconds, modulo 2^32.
    pub(super) timestamp: u32,
    /// The message without its header.
    pub(super) body: Bytes,
}

/// Why the peer's chunks cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A compressed header (type 2 or 3) on a chunk stream that had no full one.
    #[error("compressed chunk header on a chunk stream without a full one")]
    HeaderMissing,
    /// A header of type 0, 1 or 2 before the last message of that chunk stream was complete.
    #[error("new message header inside an unfinished message")]
    MessageInterrupted,
    /// [`Limits::chunk_streams_max`](super::Limits::chunk_streams_max).
    #[error("too many chunk streams")]
    ChunkStreams,
    /// [`Limits::message_bytes_max`](super::Limits::message_bytes_max).
    #[error("message is longer than the limit")]
    MessageLength,
    /// [`Limits::unfinished_bytes_max`](super::Limits::unfinished_bytes_max).
    #[error("too many bytes of unfinished messages")]
    UnfinishedBytes,
    /// A chunk size of zero, with the reserved bit, or past
    /// [`Limits::chunk_size_max`](super::Limits::chunk_size_max).
    #[error("chunk size is not between 1 and the limit")]
    ChunkSize,
}

#[cfg(test)]
mod tests;
