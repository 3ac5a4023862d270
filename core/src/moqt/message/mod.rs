//! Control messages: one typed struct each, the same for every draft.
//!
//! On the wire a message is a type, a 16-bit length and a body whose fields the type defines. A
//! length that does not match the fields closes the session, and so does an unknown type.
//!
//! | type | message | stream | first |
//! |---|---|---|---|
//! | 0x02 | REQUEST_UPDATE | request | |
//! | 0x03 | SUBSCRIBE | request | yes |
//! | 0x04 | SUBSCRIBE_OK | request | |
//! | 0x05 | REQUEST_ERROR | request | |
//! | 0x06 | PUBLISH_NAMESPACE | request | yes |
//! | 0x07 | REQUEST_OK | request | |
//! | 0x08 | NAMESPACE | request | |
//! | 0x0B | PUBLISH_DONE | request | |
//! | 0x0D | TRACK_STATUS | request | yes |
//! | 0x0E | NAMESPACE_DONE | request | |
//! | 0x0F | PUBLISH_SKIPPED (PUBLISH_BLOCKED in 18) | request | |
//! | 0x10 | GOAWAY | control, request | |
//! | 0x16 | FETCH | request | yes |
//! | 0x18 | FETCH_OK | request | |
//! | 0x1D | PUBLISH | request | yes |
//! | 0x22 | PUBLISH_STATE_NOTIFY (20 and later) | request | |
//! | 0x50 | SUBSCRIBE_NAMESPACE | request | yes |
//! | 0x51 | SUBSCRIBE_TRACKS | request | yes |
//! | 0x2F00 | SETUP | control | yes |
//!
//! What depends on the state of a session (who sent it, after what, answering what) is not checked
//! here.
//!
//! Source: draft-ietf-moq-transport-18, Section 10; changes of 20 to 22.

mod fetch;
mod kind;
mod namespace;
mod publish;
mod request;
mod setup;
mod subscribe;

pub use fetch::{Fetch, FetchOk, FetchTarget};
pub use kind::{MessageKind, RequestKind, StreamRole};
pub use namespace::{
    Namespace, NamespaceDone, PublishNamespace, PublishSkipped, SubscribeNamespace, SubscribeTracks,
};
pub use publish::{Publish, PublishDone, PublishStateNotify};
pub use request::{Redirect, RequestError, RequestOk, RequestUpdate};
pub use setup::{Goaway, Setup, SetupOption};
pub use subscribe::{Subscribe, SubscribeOk, TrackStatus};

use super::draft::Draft;
use super::error::{EncodeError, ProtocolError};
use super::name::RequestId;
use super::parameter::Parameters;
use super::varint;
use super::wire::Reader;
use bytes::{BufMut, BytesMut};

/// Longest body of a message, in bytes.
pub const MAX_BODY_LEN: usize = 65_535;

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 0x2F00: the first message of each end.
    Setup(Setup),
    /// 0x10: the sender is about to leave.
    Goaway(Goaway),
    /// 0x07: the request is granted.
    RequestOk(RequestOk),
    /// 0x05: the request is refused.
    RequestError(RequestError),
    /// 0x02: changes a request.
    RequestUpdate(RequestUpdate),
    /// 0x03: asks for a track's new objects.
    Subscribe(Subscribe),
    /// 0x04: the subscription is granted.
    SubscribeOk(SubscribeOk),
    /// 0x1D: offers a track's new objects.
    Publish(Publish),
    /// 0x0B: no more objects for this subscription.
    PublishDone(PublishDone),
    /// 0x22: the publisher changed the subscription's state (20 and later).
    PublishStateNotify(PublishStateNotify),
    /// 0x06: announces a namespace.
    PublishNamespace(PublishNamespace),
    /// 0x08: a namespace under the prefix asked for.
    Namespace(Namespace),
    /// 0x0E: that namespace is gone.
    NamespaceDone(NamespaceDone),
    /// 0x50: asks for namespaces under a prefix.
    SubscribeNamespace(SubscribeNamespace),
    /// 0x51: asks for tracks under a prefix.
    SubscribeTracks(SubscribeTracks),
    /// 0x0F: a track under the prefix that will not be published to this subscriber.
    PublishSkipped(PublishSkipped),
    /// 0x0D: asks about a track without subscribing.
    TrackStatus(TrackStatus),
    /// 0x16: asks for objects of the past.
    Fetch(Fetch),
    /// 0x18: the fetch is granted.
    FetchOk(FetchOk),
}

impl Message {
    /// Its kind.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Setup(_) => MessageKind::Setup,
            Self::Goaway(_) => MessageKind::Goaway,
            Self::RequestOk(_) => MessageKind::RequestOk,
            Self::RequestError(_) => MessageKind::RequestError,
            Self::RequestUpdate(_) => MessageKind::RequestUpdate,
            Self::Subscribe(_) => MessageKind::Subscribe,
            Self::SubscribeOk(_) => MessageKind::SubscribeOk,
            Self::Publish(_) => MessageKind::Publish,
            Self::PublishDone(_) => MessageKind::PublishDone,
            Self::PublishStateNotify(_) => MessageKind::PublishStateNotify,
            Self::PublishNamespace(_) => MessageKind::PublishNamespace,
            Self::Namespace(_) => MessageKind::Namespace,
            Self::NamespaceDone(_) => MessageKind::NamespaceDone,
            Self::SubscribeNamespace(_) => MessageKind::SubscribeNamespace,
            Self::SubscribeTracks(_) => MessageKind::SubscribeTracks,
            Self::PublishSkipped(_) => MessageKind::PublishSkipped,
            Self::TrackStatus(_) => MessageKind::TrackStatus,
            Self::Fetch(_) => MessageKind::Fetch,
            Self::FetchOk(_) => MessageKind::FetchOk,
        }
    }

    /// The request id, for the messages that open a request or update one.
    pub const fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::RequestUpdate(m) => Some(m.request_id),
            Self::Subscribe(m) => Some(m.request_id),
            Self::Publish(m) => Some(m.request_id),
            Self::PublishNamespace(m) => Some(m.request_id),
            Self::SubscribeNamespace(m) => Some(m.request_id),
            Self::SubscribeTracks(m) => Some(m.request_id),
            Self::TrackStatus(m) => Some(m.request_id),
            Self::Fetch(m) => Some(m.request_id),
            _ => None,
        }
    }

    /// The Message Parameters, for the messages that have them.
    pub const fn parameters(&self) -> Option<&Parameters> {
        match self {
            Self::RequestOk(m) => Some(&m.parameters),
            Self::RequestUpdate(m) => Some(&m.parameters),
            Self::Subscribe(m) => Some(&m.parameters),
            Self::SubscribeOk(m) => Some(&m.parameters),
            Self::Publish(m) => Some(&m.parameters),
            Self::PublishStateNotify(m) => Some(&m.parameters),
            Self::PublishNamespace(m) => Some(&m.parameters),
            Self::SubscribeNamespace(m) => Some(&m.parameters),
            Self::SubscribeTracks(m) => Some(&m.parameters),
            Self::TrackStatus(m) => Some(&m.parameters),
            Self::Fetch(m) => Some(&m.parameters),
            Self::FetchOk(m) => Some(&m.parameters),
            _ => None,
        }
    }

    /// Its Message Parameters, to be changed before it is sent or passed on.
    pub(super) const fn parameters_mut(&mut self) -> Option<&mut Parameters> {
        match self {
            Self::RequestOk(m) => Some(&mut m.parameters),
            Self::RequestUpdate(m) => Some(&mut m.parameters),
            Self::Subscribe(m) => Some(&mut m.parameters),
            Self::SubscribeOk(m) => Some(&mut m.parameters),
            Self::Publish(m) => Some(&mut m.parameters),
            Self::PublishStateNotify(m) => Some(&mut m.parameters),
            Self::PublishNamespace(m) => Some(&mut m.parameters),
            Self::SubscribeNamespace(m) => Some(&mut m.parameters),
            Self::SubscribeTracks(m) => Some(&mut m.parameters),
            Self::TrackStatus(m) => Some(&mut m.parameters),
            Self::Fetch(m) => Some(&mut m.parameters),
            Self::FetchOk(m) => Some(&mut m.parameters),
            _ => None,
        }
    }

    /// Appends the message: type, length, body. On an error `out` is as it was.
    pub fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let before = out.len();
        let result = self.encode_framed(draft, out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    /// Reads a message of the type `code` from its whole body. `role` is the kind of stream that it
    /// came on.
    pub fn decode(
        draft: Draft,
        code: u64,
        body: &[u8],
        role: StreamRole,
    ) -> Result<Self, ProtocolError> {
        let kind = MessageKind::from_code(draft, code)
            .ok_or(ProtocolError::violation("unknown message type"))?;
        if !kind.is_allowed_on(role) {
            return Err(ProtocolError::violation(
                "message on a stream it must not be sent on",
            ));
        }
        let mut reader = Reader::new(body);
        let message = Self::decode_body(draft, kind, &mut reader, role)?;
        reader.finish()?;
        Ok(message)
    }

    fn encode_framed(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        if !self.kind().exists_in(draft) {
            let what = self.kind().name();
            return Err(EncodeError::NotExpressible { draft, what });
        }
        varint::encode(self.kind().code(), out);
        let at = out.len();
        out.put_u16(0);
        self.encode_body(draft, out)?;
        let len = out.len().saturating_sub(at + 2);
        let short = u16::try_from(len).map_err(|_| EncodeError::TooLong {
            what: "a control message",
            len,
            max: MAX_BODY_LEN,
        })?;
        if let Some(field) = out.get_mut(at..at + 2) {
            field.copy_from_slice(&short.to_be_bytes());
        }
        Ok(())
    }

    fn encode_body(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Setup(m) => m.encode(draft, out),
            Self::Goaway(m) => m.encode(draft, out),
            Self::RequestOk(m) => m.encode(draft, out),
            Self::RequestError(m) => m.encode(out),
            Self::RequestUpdate(m) => m.encode(draft, out),
            Self::Subscribe(m) => m.encode(draft, out),
            Self::SubscribeOk(m) => m.encode(draft, out),
            Self::Publish(m) => m.encode(draft, out),
            Self::PublishDone(m) => m.encode(draft, out),
            Self::PublishStateNotify(m) => m.encode(draft, out),
            Self::PublishNamespace(m) => m.encode(draft, out),
            Self::Namespace(m) => m.encode(out),
            Self::NamespaceDone(m) => m.encode(out),
            Self::SubscribeNamespace(m) => m.encode(draft, out),
            Self::SubscribeTracks(m) => m.encode(draft, out),
            Self::PublishSkipped(m) => m.encode(out),
            Self::TrackStatus(m) => m.encode(draft, out),
            Self::Fetch(m) => m.encode(draft, out),
            Self::FetchOk(m) => m.encode(draft, out),
        }
    }

    fn decode_body(
        draft: Draft,
        kind: MessageKind,
        reader: &mut Reader<'_>,
        role: StreamRole,
    ) -> Result<Self, ProtocolError> {
        use MessageKind as K;
        Ok(match kind {
            K::Setup => Self::Setup(Setup::decode(draft, reader)?),
            K::Goaway => Self::Goaway(Goaway::decode(draft, reader, role)?),
            K::RequestOk => Self::RequestOk(RequestOk::decode(draft, reader)?),
            K::RequestError => Self::RequestError(RequestError::decode(reader)?),
            K::RequestUpdate => Self::RequestUpdate(RequestUpdate::decode(draft, reader)?),
            K::Subscribe => Self::Subscribe(Subscribe::decode(draft, reader)?),
            K::SubscribeOk => Self::SubscribeOk(SubscribeOk::decode(draft, reader)?),
            K::Publish => Self::Publish(Publish::decode(draft, reader)?),
            K::PublishDone => Self::PublishDone(PublishDone::decode(draft, reader)?),
            K::PublishStateNotify => {
                Self::PublishStateNotify(PublishStateNotify::decode(draft, reader)?)
            }
            K::PublishNamespace => Self::PublishNamespace(PublishNamespace::decode(draft, reader)?),
            K::Namespace => Self::Namespace(Namespace::decode(reader)?),
            K::NamespaceDone => Self::NamespaceDone(NamespaceDone::decode(reader)?),
            K::SubscribeNamespace => {
                Self::SubscribeNamespace(SubscribeNamespace::decode(draft, reader)?)
            }
            K::SubscribeTracks => Self::SubscribeTracks(SubscribeTracks::decode(draft, reader)?),
            K::PublishSkipped => Self::PublishSkipped(PublishSkipped::decode(reader)?),
            K::TrackStatus => Self::TrackStatus(TrackStatus::decode(draft, reader)?),
            K::Fetch => Self::Fetch(Fetch::decode(draft, reader)?),
            K::FetchOk => Self::FetchOk(FetchOk::decode(draft, reader)?),
        })
    }
}

macro_rules! from_messages {
    ($($name:ident),*) => {
        $(impl From<$name> for Message {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })*
    };
}

from_messages!(
    Setup,
    Goaway,
    RequestOk,
    RequestError,
    RequestUpdate,
    Subscribe,
    SubscribeOk,
    Publish,
    PublishDone,
    PublishStateNotify,
    PublishNamespace,
    Namespace,
    NamespaceDone,
    SubscribeNamespace,
    SubscribeTracks,
    PublishSkipped,
    TrackStatus,
    Fetch,
    FetchOk
);
