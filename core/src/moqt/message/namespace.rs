//! PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS and what is sent in answer to them.
//!
//! Answers name only the fields after the prefix that was asked for.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.15 to 10.20.

use super::kind::MessageKind;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::name::{FullTrackName, RequestId, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_namespace, put_prefixed};
use bytes::BytesMut;

macro_rules! namespace_request {
    ($(#[$meta:meta])* $name:ident { $(#[$doc:meta])* $field:ident }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The request.
            pub request_id: RequestId,
            $(#[$doc])*
            pub $field: TrackNamespace,
            /// How.
            pub parameters: Parameters,
        }

        impl $name {
            pub(super) fn encode(
                &self,
                draft: Draft,
                out: &mut BytesMut,
            ) -> Result<(), EncodeError> {
                varint::encode(self.request_id.0, out);
                put_namespace(&self.$field, out);
                self.parameters.encode(draft, MessageKind::$name, out)
            }

            pub(super) fn decode(
                draft: Draft,
                reader: &mut Reader<'_>,
            ) -> Result<Self, ProtocolError> {
                Ok(Self {
                    request_id: RequestId(reader.varint()?),
                    $field: reader.namespace()?,
                    parameters: Parameters::decode(draft, MessageKind::$name, reader)?,
                })
            }
        }
    };
}

namespace_request! {
    /// PUBLISH_NAMESPACE (0x06): the sender has tracks under this namespace.
    PublishNamespace {
        /// The namespace announced.
        namespace
    }
}

namespace_request! {
    /// SUBSCRIBE_NAMESPACE (0x50): asks for the namespaces under a prefix, now and later.
    SubscribeNamespace {
        /// The prefix; empty asks for all.
        prefix
    }
}

namespace_request! {
    /// SUBSCRIBE_TRACKS (0x51): asks for a PUBLISH of each track under a prefix, now and later.
    SubscribeTracks {
        /// The prefix; empty asks for all.
        prefix
    }
}

/// NAMESPACE (0x08): a namespace under the prefix asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The fields after the prefix.
    pub suffix: TrackNamespace,
}

/// NAMESPACE_DONE (0x0E): that namespace is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceDone {
    /// The fields after the prefix.
    pub suffix: TrackNamespace,
}

/// PUBLISH_SKIPPED (0x0F, PUBLISH_BLOCKED in 18): a track that is not published to this subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSkipped {
    /// The fields after the prefix.
    pub suffix: TrackNamespace,
    /// The track's name.
    pub name: TrackName,
}

impl Namespace {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "all messages are encoded by one signature"
    )]
    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_namespace(&self.suffix, out);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let suffix = reader.namespace()?;
        Ok(Self { suffix })
    }
}

impl NamespaceDone {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "all messages are encoded by one signature"
    )]
    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_namespace(&self.suffix, out);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let suffix = reader.namespace()?;
        Ok(Self { suffix })
    }
}

impl PublishSkipped {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "all messages are encoded by one signature"
    )]
    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_namespace(&self.suffix, out);
        put_prefixed(&self.name.0, out);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let FullTrackName { namespace, name } = reader.full_name()?;
        Ok(Self {
            suffix: namespace,
            name,
        })
    }
}
