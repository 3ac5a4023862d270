//! REQUEST_OK, REQUEST_ERROR and REQUEST_UPDATE.
//!
//! They are sent on the stream of the request that they answer or change, so only REQUEST_UPDATE,
//! a request itself, carries an id.
//!
//! Source: draft-ietf-moq-transport-18, Sections 10.5, 10.6, 10.9.

use super::kind::MessageKind;
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError, RequestCode};
use crate::moqt::name::{RequestId, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::varint;
use crate::moqt::wire::{Reader, put_namespace, put_prefixed, put_reason};
use bytes::{BufMut, Bytes, BytesMut};

/// REQUEST_OK (0x07): PUBLISH_OK, REQUEST_UPDATE_OK, TRACK_STATUS_OK and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOk {
    /// Parameters; which ones depends on the request ([`Parameters::check_ok_of`]).
    pub parameters: Parameters,
    /// Track Properties, in answer to TRACK_STATUS only; elsewhere they must be empty.
    pub properties: Properties,
}

impl RequestOk {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.parameters.encode(draft, MessageKind::RequestOk, out)?;
        out.put_slice(self.properties.raw());
        Ok(())
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            parameters: Parameters::decode(draft, MessageKind::RequestOk, reader)?,
            properties: decode_properties(reader)?,
        })
    }
}

/// REQUEST_ERROR (0x05): the request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// Why.
    pub code: RequestCode,
    /// After how many ms it is worth trying again; `None` is "do not".
    pub retry_after_ms: Option<u64>,
    /// Why, for people; cut to 1,024 bytes.
    pub reason: String,
    /// Where to try instead: exactly when the code is [`RequestCode::REDIRECT`].
    pub redirect: Option<Redirect>,
}

/// Where a request would succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Where to connect; empty is "here". Clients must leave it empty.
    pub connect_uri: String,
    /// The namespace to ask for; empty together with the name is "the same track".
    pub namespace: TrackNamespace,
    /// The track name to ask for; empty for requests about namespaces.
    pub name: TrackName,
}

impl RequestError {
    /// A refusal without a redirect.
    pub fn new(code: RequestCode, reason: impl Into<String>) -> Self {
        Self {
            code,
            retry_after_ms: None,
            reason: reason.into(),
            redirect: None,
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.code.0, out);
        varint::encode(
            self.retry_after_ms.map_or(0, |ms| ms.saturating_add(1)),
            out,
        );
        put_reason(&self.reason, out);
        match &self.redirect {
            Some(redirect) if self.code == RequestCode::REDIRECT => {
                put_prefixed(redirect.connect_uri.as_bytes(), out);
                put_namespace(&redirect.namespace, out);
                put_prefixed(&redirect.name.0, out);
                Ok(())
            }
            None if self.code != RequestCode::REDIRECT => Ok(()),
            _ => Err(EncodeError::Invalid(
                "a redirect must come with the code REDIRECT, and the code with a redirect",
            )),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let code = RequestCode(reader.varint()?);
        let retry_after_ms = reader.varint()?.checked_sub(1);
        let reason = reader.reason()?;
        let redirect = (code == RequestCode::REDIRECT)
            .then(|| Redirect::decode(reader))
            .transpose()?;
        Ok(Self {
            code,
            retry_after_ms,
            reason,
            redirect,
        })
    }
}

impl Redirect {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let connect_uri = String::from_utf8_lossy(reader.prefixed()?).into_owned();
        let track = reader.full_name()?;
        Ok(Self {
            connect_uri,
            namespace: track.namespace,
            name: track.name,
        })
    }
}

/// REQUEST_UPDATE (0x02): changes the request on whose stream it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestUpdate {
    /// The update's own id.
    pub request_id: RequestId,
    /// What changes; which ones depends on the request ([`Parameters::check_update_of`]).
    pub parameters: Parameters,
}

impl RequestUpdate {
    pub(super) fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        varint::encode(self.request_id.0, out);
        self.parameters
            .encode(draft, MessageKind::RequestUpdate, out)
    }

    pub(super) fn decode(draft: Draft, reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            request_id: RequestId(reader.varint()?),
            parameters: Parameters::decode(draft, MessageKind::RequestUpdate, reader)?,
        })
    }
}

/// Track Properties fill the rest of a message.
pub(super) fn decode_properties(reader: &mut Reader<'_>) -> Result<Properties, ProtocolError> {
    Properties::from_track(Bytes::copy_from_slice(reader.take_rest()))
}
