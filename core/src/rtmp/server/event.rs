//! What a [`Session`](super::Session) takes in and puts out.

use crate::rtmp::amf0::{AmfError, Properties, Value};
use crate::rtmp::chunk::ChunkError;
use crate::rtmp::flv::{AudioCodec, FlvError, FourCc, VideoCodec};
use crate::rtmp::target::{PublishTarget, TargetError, target};
use bytes::Bytes;
use std::fmt;

/// What the world did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The peer sent bytes.
    Data(Bytes),
    /// The peer closed the connection, or it was lost.
    Closed,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send bytes to the peer.
    Write(Bytes),
    /// News for the owner.
    Event(Event),
    /// Send what was written, then close the connection. The last output.
    Close {
        /// Why.
        reason: CloseReason,
    },
}

/// News for the owner.
///
/// After [`Publish`](Self::Publish) nothing comes until the owner accepts. Once it has, media
/// events follow, and exactly one [`EndOfStream`](Self::EndOfStream).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer asks to publish: answer with `accept_publish` or `reject_publish`.
    Publish(PublishRequest),
    /// The encoder's description of the stream. Informative: encoders are often wrong about it.
    Metadata(Metadata),
    /// Decoder configuration of a video track; may come again, with changes or without.
    VideoConfig {
        /// Track number, 0 without multitrack.
        track: u8,
        /// Codec.
        codec: VideoCodec,
        /// The codec's configuration record, see [`VideoCodec`].
        config: Bytes,
    },
    /// One access unit of video, in decode order.
    Video {
        /// Track number, 0 without multitrack.
        track: u8,
        /// Codec.
        codec: VideoCodec,
        /// Decode time in milliseconds of the encoder's clock: 32 bits unrolled. May jump, back
        /// too.
        dts_ms: i64,
        /// Presentation time minus decode time, in milliseconds.
        cts_ms: i32,
        /// Whether the encoder calls it a key frame.
        key: bool,
        /// The coded frame, see [`VideoCodec`]; NAL units have the length prefix that the
        /// configuration record says.
        data: Bytes,
    },
    /// Decoder configuration of an audio track; may come again, with changes or without.
    AudioConfig {
        /// Track number, 0 without multitrack.
        track: u8,
        /// Codec.
        codec: AudioCodec,
        /// The codec's configuration, see [`AudioCodec`].
        config: Bytes,
    },
    /// One coded frame of audio.
    Audio {
        /// Track number, 0 without multitrack.
        track: u8,
        /// Codec.
        codec: AudioCodec,
        /// Time in milliseconds, of the same clock as video.
        dts_ms: i64,
        /// The coded frame, see [`AudioCodec`].
        data: Bytes,
    },
    /// The encoder ended one track (FLV end of sequence). A configuration may begin it anew.
    TrackEnd {
        /// Audio or video.
        kind: MediaKind,
        /// Track number, 0 without multitrack.
        track: u8,
    },
    /// A track has a codec that is not taken in; said once per track, and its frames are dropped.
    /// The owner decides whether the rest is worth having, or closes with a clear reason.
    Unsupported {
        /// Audio or video.
        kind: MediaKind,
        /// Track number, 0 without multitrack.
        track: u8,
        /// Which codec.
        codec: FourCc,
    },
    /// The accepted publish is over.
    EndOfStream {
        /// Whether the encoder said so; not when the connection was lost or closed by either end.
        clean: bool,
    },
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaKind {
    /// Messages of type 8.
    Audio,
    /// Messages of type 9.
    Video,
}

/// Where a peer wants to publish. `Debug` shows nothing of it: each part may hold the stream key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// `app` of `connect`.
    pub app: String,
    /// The name in `publish`.
    pub stream_name: String,
    /// `tcUrl` of `connect`; empty when there was none.
    pub tc_url: String,
    /// `flashVer` of `connect`: the encoder's name for itself; empty when there was none.
    pub encoder: String,
}

impl PublishRequest {
    /// The input and the stream key, however the encoder split the URL.
    pub fn target(&self) -> Result<PublishTarget, TargetError> {
        target(&self.app, &self.stream_name, &self.tc_url)
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

/// Named values of `onMetaData`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// All of them, in the order of the wire.
    pub properties: Properties,
}

impl Metadata {
    /// A number such as `width`, `height`, `framerate`, `audiosamplerate`.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_number()
    }

    /// A text such as `encoder`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

/// The code that an encoder is told with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// `NetStream.Publish.Denied`: not with this key.
    Denied,
    /// `NetStream.Publish.BadName`: no such input, or it is taken.
    BadName,
    /// `NetStream.Failed`: not now.
    Failed,
}

impl RefusalCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "NetStream.Publish.Denied",
            Self::BadName => "NetStream.Publish.BadName",
            Self::Failed => "NetStream.Failed",
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The peer closed it, or it was lost.
    #[error("connection closed by the peer")]
    Peer,
    /// [`Session::close`](super::Session::close), with its reason.
    #[error("{0}")]
    Owner(&'static str),
    /// [`Session::reject_publish`](super::Session::reject_publish).
    #[error("publish was refused")]
    Refused,
    /// The first byte is not RTMP version 3.
    #[error("not rtmp: expected version 3 in the first byte")]
    NotRtmp,
    /// [`Limits::handshake_timeout`](crate::rtmp::Limits::handshake_timeout).
    #[error("no publish request within the handshake timeout")]
    HandshakeTimeout,
    /// [`Limits::idle_timeout`](crate::rtmp::Limits::idle_timeout).
    #[error("nothing arrived within the idle timeout")]
    IdleTimeout,
    /// Chunks that cannot be followed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command that cannot be read.
    #[error(transparent)]
    Amf(#[from] AmfError),
    /// A tag that cannot be read.
    #[error(transparent)]
    Flv(#[from] FlvError),
    /// A protocol control or user control message that is too short.
    #[error("control message is cut short")]
    Control,
    /// A command without a name, or a `connect` or `publish` without its arguments.
    #[error("command lacks its arguments")]
    Command,
    /// A command before `connect`, or a second `connect`.
    #[error("expected connect as the first command, and once")]
    CommandOrder,
    /// [`Limits::message_streams_max`](crate::rtmp::Limits::message_streams_max).
    #[error("too many message streams")]
    MessageStreams,
    /// A second `publish` on the connection.
    #[error("one stream per connection: publish came a second time")]
    SecondPublish,
    /// `play`: there is no playback over RTMP.
    #[error("playback over rtmp is not offered")]
    Play,
    /// An aggregate whose parts are cut short.
    #[error("aggregate message is cut short")]
    Aggregate,
    /// [`Limits::pending_write_bytes_max`](crate::rtmp::Limits::pending_write_bytes_max) or
    /// [`Limits::pending_outputs_max`](crate::rtmp::Limits::pending_outputs_max).
    #[error("more outputs are pending than the limit")]
    PendingOutput,
    /// [`Limits::undecided_bytes_max`](crate::rtmp::Limits::undecided_bytes_max).
    #[error("too many bytes before the publish request was answered")]
    UndecidedBytes,
}

/// A command that the owner gave at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No publish request waits for an answer: there was none, it was answered, or the connection
    /// closed meanwhile.
    #[error("no publish request waits for an answer")]
    NothingToAnswer,
    /// The connection is closed already.
    #[error("connection is closed already")]
    Closed,
}
