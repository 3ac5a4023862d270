//! SUBSCRIBE, SUBSCRIBE_OK and TRACK_STATUS.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.7, 10.8, 10.14.

use super::kind::MessageKind;
use super::request::decode_properties;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError};
use crate::moqt::name::{FullTrackName, RequestId, TrackAlias};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_full_name};
use bytes::{BufMut, BytesMut};

/// SUBSCRIBE (0x03): asks for a track's new objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The request.
    pub request_id: RequestId,
    /// The track.
    pub track: FullTrackName,
    /// How.
    pub parameters: Parameters,
}

impl Subscribe {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.request_id.0, out);
        put_full_name(&self.track, out);
        self.parameters.encode(draft, MessageKind::Subscribe, out)
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            request_id: RequestId(reader.varint()?),
            track: reader.full_name()?,
            parameters: Parameters::decode(draft, MessageKind::Subscribe, reader)?,
        })
    }
}

/// SUBSCRIBE_OK (0x04): the subscription is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOk {
    /// What the track is called on data streams.
    pub track_alias: TrackAlias,
    /// EXPIRES and LARGEST_OBJECT.
    pub parameters: Parameters,
    /// Track Properties.
    pub properties: Properties,
}

impl SubscribeOk {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.track_alias.0, out);
        self.parameters
            .encode(draft, MessageKind::SubscribeOk, out)?;
        out.put_slice(self.properties.raw());
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            track_alias: TrackAlias(reader.varint()?),
            parameters: Parameters::decode(draft, MessageKind::SubscribeOk, reader)?,
            properties: decode_properties(reader)?,
        })
    }
}

/// TRACK_STATUS (0x0D): asks about a track without subscribing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackStatus {
    /// The request.
    pub request_id: RequestId,
    /// The track.
    pub track: FullTrackName,
    /// Tokens, mostly.
    pub parameters: Parameters,
}

impl TrackStatus {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.request_id.0, out);
        put_full_name(&self.track, out);
        self.parameters.encode(draft, MessageKind::TrackStatus, out)
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            request_id: RequestId(reader.varint()?),
            track: reader.full_name()?,
            parameters: Parameters::decode(draft, MessageKind::TrackStatus, reader)?,
        })
    }
}
