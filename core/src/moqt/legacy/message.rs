//! Control messages of draft 16, their parts in the types that all drafts share.
//!
//! On the wire a message is a type, a 16-bit length and a body. All but NAMESPACE, NAMESPACE_DONE
//! and SUBSCRIBE_NAMESPACE travel on one control stream, so that answers name their request.
//!
//! | type | message | [`Control`] |
//! |---|---|---|
//! | 0x20, 0x21 | CLIENT_SETUP, SERVER_SETUP | `ClientSetup`, `ServerSetup` |
//! | 0x10, 0x15, 0x1A | GOAWAY, MAX_REQUEST_ID, REQUESTS_BLOCKED | of the same name |
//! | 0x3, 0x1D, 0x16, 0xD, 0x6 | SUBSCRIBE, PUBLISH, FETCH, TRACK_STATUS, PUBLISH_NAMESPACE | `Request` |
//! | 0x11 | SUBSCRIBE_NAMESPACE | `SubscribeNamespace` |
//! | 0x2 | REQUEST_UPDATE | `Update` |
//! | 0x4, 0x18, 0x7, 0x5, 0xB | SUBSCRIBE_OK, FETCH_OK, REQUEST_OK, REQUEST_ERROR, PUBLISH_DONE | `Answer` |
//! | 0x1E | PUBLISH_OK | `PublishOk` |
//! | 0xA, 0x17, 0x9, 0xC | UNSUBSCRIBE, FETCH_CANCEL, PUBLISH_NAMESPACE_DONE, .._CANCEL | of the same name |
//! | 0x8, 0xE | NAMESPACE, NAMESPACE_DONE | of the same name |
//!
//! An unknown type closes the session, and so does a length that does not match the fields.
//! Source: draft-ietf-moq-transport-16, Section 9.

mod body;
mod reader;

pub use reader::LegacyReader;

use super::integer::{self, Walk};
use crate::moqt::error::{EncodeError, ProtocolError, RequestCode};
use crate::moqt::message::{
    MAX_BODY_LEN, Message, RequestOk, RequestUpdate, Setup, SubscribeNamespace,
};
use crate::moqt::name::{RequestId, TrackNamespace};
use bytes::{BufMut, BytesMut};

/// What a message shorter or longer than its fields is answered with.
pub(super) const SHORT: ProtocolError =
    ProtocolError::violation("length does not match the message's fields");

/// What a SUBSCRIBE_NAMESPACE of draft 16 asks for (Subscribe Options).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// PUBLISH for each track (0x00).
    Tracks,
    /// NAMESPACE for each namespace (0x01).
    Namespaces,
    /// Both (0x02).
    Both,
}

/// A control message of draft 16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The client's first message.
    ClientSetup {
        /// Setup parameters that later drafts know.
        setup: Setup,
        /// The receiver's request ids must stay below this.
        max_request_id: u64,
    },
    /// The server's first message.
    ServerSetup {
        /// Setup parameters that later drafts know.
        setup: Setup,
        /// The receiver's request ids must stay below this.
        max_request_id: u64,
    },
    /// The sender is about to leave; where to go instead.
    Goaway(String),
    /// The receiver's request ids must stay below this from now on.
    MaxRequestId(u64),
    /// The sender has requests that wait for more than this maximum.
    RequestsBlocked(u64),
    /// A request on the control stream, its id inside.
    Request(Message),
    /// A request on a stream of its own.
    SubscribeNamespace {
        /// Id, prefix, parameters.
        request: SubscribeNamespace,
        /// Subscribe Options.
        wanted: Wanted,
    },
    /// A change of a request.
    Update {
        /// The request that is changed.
        existing: RequestId,
        /// The update's own id, and what changes.
        update: RequestUpdate,
    },
    /// An answer to a request, or the end of a subscription.
    Answer {
        /// The request.
        request: RequestId,
        /// SUBSCRIBE_OK, FETCH_OK, REQUEST_OK, REQUEST_ERROR or PUBLISH_DONE.
        answer: Message,
    },
    /// The positive answer to PUBLISH.
    PublishOk {
        /// The request.
        request: RequestId,
        /// Its parameters.
        answer: RequestOk,
    },
    /// The subscriber wants no more.
    Unsubscribe(RequestId),
    /// The subscriber wants no more.
    FetchCancel(RequestId),
    /// The publisher takes its namespace back.
    PublishNamespaceDone(RequestId),
    /// The subscriber takes its agreement to a namespace back.
    PublishNamespaceCancel {
        /// The request.
        request: RequestId,
        /// Why.
        code: RequestCode,
        /// Why, for people.
        reason: String,
    },
    /// A namespace under the prefix asked for: what follows the prefix.
    Namespace(TrackNamespace),
    /// That namespace is gone.
    NamespaceDone(TrackNamespace),
}

impl Control {
    /// Reads a message of the type `code` from its whole body.
    pub fn decode(code: u64, body: &[u8]) -> Result<Self, ProtocolError> {
        let mut walk = Walk::new(body);
        let message = body::decode(code, &mut walk)?;
        if walk.is_empty() {
            Ok(message)
        } else {
            Err(SHORT)
        }
    }

    /// Appends the message: type, length, body. On an error `out` is as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let before = out.len();
        let result = self.encode_framed(out);
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    fn encode_framed(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut content = BytesMut::new();
        let code = body::encode(self, &mut content)?;
        let len = content.len();
        let short = u16::try_from(len).map_err(|_| EncodeError::TooLong {
            what: "a control message",
            len,
            max: MAX_BODY_LEN,
        })?;
        integer::encode(code, out)?;
        out.put_u16(short);
        out.put_slice(&content);
        Ok(())
    }
}
