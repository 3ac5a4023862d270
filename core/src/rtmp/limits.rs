//! [`Limits`]: every bound of one RTMP connection, in one place.

use std::time::Duration;

/// Bounds of one RTMP connection. Passing one closes the connection with a named reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the accepted TCP connection to the publish request. A client that dawdles through the
    /// handshake, or connects and asks for nothing, holds a socket no longer than this.
    pub handshake_timeout: Duration,
    /// Longest silence of the peer at any time.
    pub idle_timeout: Duration,
    /// Length of one message, in bytes.
    pub message_bytes_max: usize,
    /// Chunk streams that a peer may use, whatever their numbers are.
    pub chunk_streams_max: usize,
    /// Bytes received of messages that are not complete yet, over all chunk streams.
    pub unfinished_bytes_max: usize,
    /// Chunk size that a peer may announce, in bytes. It costs no memory, since bytes are kept by
    /// what has arrived; some encoders announce the largest number that the field takes.
    pub chunk_size_max: u32,
    /// Bounds of AMF0 values in commands and metadata.
    pub amf: AmfLimits,
    /// Message streams that a peer may create.
    pub message_streams_max: u32,
    /// Bytes put out by [`poll`](super::server::Session::poll) and not yet drained.
    pub pending_write_bytes_max: usize,
    /// Outputs of any kind that are not yet drained.
    pub pending_outputs_max: usize,
    /// Bytes kept while the owner decides about a publish request.
    pub undecided_bytes_max: usize,
    /// Tracks of one kind in one stream (E-RTMP multitrack).
    pub tracks_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            message_bytes_max: 8 << 20,
            chunk_streams_max: 64,
            unfinished_bytes_max: 16 << 20,
            chunk_size_max: 0x7fff_ffff,
            amf: AmfLimits::default(),
            message_streams_max: 16,
            pending_write_bytes_max: 256 << 10,
            pending_outputs_max: 65_536,
            undecided_bytes_max: 1 << 20,
            tracks_max: 16,
        }
    }
}

/// Bounds of AMF0 decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmfLimits {
    /// Length of a command or data message, in bytes.
    pub message_bytes_max: usize,
    /// Containers inside each other.
    pub depth_max: usize,
    /// Length of one string or property name, in bytes.
    pub string_bytes_max: usize,
    /// Values of one message, containers and their members all counted.
    pub values_max: usize,
}

impl Default for AmfLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 256 << 10,
            depth_max: 16,
            string_bytes_max: 64 << 10,
            values_max: 4096,
        }
    }
}
