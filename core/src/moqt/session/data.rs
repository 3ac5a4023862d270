//! What this end publishes: subgroup streams and datagrams.
//!
//! Payloads go to the transport as they are; only the few bytes of framing before each object are
//! written here.
//!
//! Source: draft-ietf-moq-transport-18 sections 10.3 (datagrams), 10.4 (streams).

use super::{
    BytesMut, CommandError, Direction, Origin, Output, RequestId, Session, StreamCode, StreamId,
};
use crate::moqt::object::{self, Object, SubgroupHeader};

/// A subgroup stream that this end is sending.
#[derive(Debug)]
pub struct DataStream {
    request: RequestId,
    /// The header, until the first write takes it along.
    head: Option<BytesMut>,
    has_properties: bool,
    previous: Option<u64>,
}

impl DataStream {
    pub(super) fn request(&self) -> RequestId {
        self.request
    }
}

impl Session {
    /// Opens a subgroup stream for a subscription that this end publishes. Its track alias is
    /// filled in here. Nothing is sent before the first object or the end of the stream.
    pub fn open_subgroup(
        &mut self,
        request: RequestId,
        header: SubgroupHeader,
        priority: i32,
    ) -> Result<StreamId, CommandError> {
        let entry = self
            .requests
            .get_mut(&request)
            .ok_or(CommandError::UnknownRequest(request))?;
        let Some(track_alias) = entry.alias.filter(|_| entry.is_publisher()) else {
            return Err(CommandError::WrongRequest(request));
        };
        entry.streams_opened += 1;
        let mut head = BytesMut::with_capacity(32);
        SubgroupHeader {
            track_alias,
            ..header
        }
        .encode(&mut head);
        let stream = StreamId::new(Origin::Local, Direction::Unidirectional, self.next_uni);
        self.next_uni += 1;
        let has_properties = header.has_properties;
        let data = DataStream {
            request,
            head: Some(head),
            has_properties,
            previous: None,
        };
        self.outgoing.insert(stream, data);
        let session = self.id;
        self.transport(Output::Open {
            session,
            stream,
            priority,
        });
        Ok(stream)
    }

    /// Sends an object. Objects of a stream have ascending Object IDs.
    pub fn send_object(
        &mut self,
        stream: StreamId,
        object: &Object,
        fin: bool,
        notify: bool,
    ) -> Result<(), CommandError> {
        let data = self
            .outgoing
            .get_mut(&stream)
            .ok_or(CommandError::UnknownStream(stream))?;
        let mut head = data
            .head
            .take()
            .unwrap_or_else(|| BytesMut::with_capacity(24));
        object::encode_subgroup_object(object, data.previous, data.has_properties, &mut head);
        data.previous = Some(object.object);
        if fin && !notify {
            self.outgoing.remove(&stream);
        }
        let (session, head, body) = (self.id, head.freeze(), object.payload.clone());
        self.transport(Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            notify,
        });
        Ok(())
    }

    /// Ends a stream after its last object.
    pub fn finish_stream(&mut self, stream: StreamId) -> Result<(), CommandError> {
        let data = self
            .outgoing
            .remove(&stream)
            .ok_or(CommandError::UnknownStream(stream))?;
        let head = data.head.unwrap_or_default().freeze();
        self.write(stream, head, true);
        Ok(())
    }

    /// Forgets a stream whose end is with the transport.
    pub fn release_stream(&mut self, stream: StreamId) {
        self.outgoing.remove(&stream);
    }

    /// Abandons a stream.
    pub fn reset_stream(&mut self, stream: StreamId, code: StreamCode) {
        if self.outgoing.remove(&stream).is_some() {
            self.reset(stream, code);
        }
    }

    /// Sends an object in a datagram; it may be lost.
    pub fn send_datagram(
        &mut self,
        request: RequestId,
        object: &Object,
    ) -> Result<(), CommandError> {
        let entry = self
            .requests
            .get(&request)
            .ok_or(CommandError::UnknownRequest(request))?;
        let Some(track_alias) = entry.alias.filter(|_| entry.is_publisher()) else {
            return Err(CommandError::WrongRequest(request));
        };
        let mut data = BytesMut::with_capacity(32 + object.payload.len());
        object::encode_datagram(track_alias, object, &mut data);
        let session = self.id;
        self.transport(Output::Datagram {
            session,
            data: data.freeze(),
        });
        Ok(())
    }

    pub(super) fn reset_data_streams(&mut self, request: RequestId, code: StreamCode) {
        let open: Vec<StreamId> = self
            .outgoing
            .iter()
            .filter(|(_, data)| data.request == request)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in open {
            self.reset_stream(stream, code);
        }
    }
}
