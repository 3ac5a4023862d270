//! PUBLISH, PUBLISH_DONE and PUBLISH_STATE_NOTIFY.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.10, 10.11; 20, Section 10.10.

use super::kind::MessageKind;
use super::request::decode_properties;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError, PublishDoneCode};
use crate::moqt::name::{FullTrackName, RequestId, TrackAlias};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_full_name, put_reason};
use bytes::{BufMut, BytesMut};

/// PUBLISH (0x1D): offers a track's new objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The request.
    pub request_id: RequestId,
    /// The track.
    pub track: FullTrackName,
    /// What the track is called on data streams.
    pub track_alias: TrackAlias,
    /// How.
    pub parameters: Parameters,
    /// Track Properties.
    pub properties: Properties,
}

impl Publish {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.request_id.0, out);
        put_full_name(&self.track, out);
        varint::encode(self.track_alias.0, out);
        self.parameters.encode(draft, MessageKind::Publish, out)?;
        out.put_slice(self.properties.raw());
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            request_id: RequestId(reader.varint()?),
            track: reader.full_name()?,
            track_alias: TrackAlias(reader.varint()?),
            parameters: Parameters::decode(draft, MessageKind::Publish, reader)?,
            properties: decode_properties(reader)?,
        })
    }
}

/// PUBLISH_DONE (0x0B): no more objects for this subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishDone {
    /// Why.
    pub code: PublishDoneCode,
    /// How many data streams were opened for the subscription; `None` when that is not known.
    pub stream_count: Option<u64>,
    /// Why, for people; cut to 1,024 bytes.
    pub reason: String,
}

impl PublishDone {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "all messages are encoded by one signature"
    )]
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let unknown = draft.profile().stream_count_unknown;
        varint::encode(self.code.0, out);
        varint::encode(self.stream_count.unwrap_or(unknown), out);
        put_reason(&self.reason, out);
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let unknown = draft.profile().stream_count_unknown;
        Ok(Self {
            code: PublishDoneCode(reader.varint()?),
            stream_count: Some(reader.varint()?).filter(|&count| count != unknown),
            reason: reader.reason()?,
        })
    }
}

/// PUBLISH_STATE_NOTIFY (0x22, 20 and later): the publisher changed the subscription by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishStateNotify {
    /// What changed, of LARGEST_OBJECT, FORWARD and LOCATION_FILTER.
    pub parameters: Parameters,
}

impl PublishStateNotify {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.parameters
            .encode(draft, MessageKind::PublishStateNotify, out)
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            parameters: Parameters::decode(draft, MessageKind::PublishStateNotify, reader)?,
        })
    }
}
