//! What this end publishes: subgroup streams, datagrams, and the streams that answer fetches.
//!
//! Payloads go to the transport as they are; only the few bytes of framing before each object are
//! written here.
//!
//! Source: draft-ietf-moq-transport-18 sections 10.3 (datagrams), 10.4 (streams).

use super::{
    Bytes, BytesMut, CommandError, Direction, Origin, Output, Payload, RequestId, Session,
    StreamCode, StreamId,
};
use crate::moqt::object::{self, FetchWriter, Framed, Object, SubgroupHeader};
use crate::time::Instant;

/// A data stream that this end is sending.
#[derive(Debug)]
pub struct DataStream {
    request: RequestId,
    /// The header, until the first write takes it along.
    pub(super) head: Option<BytesMut>,
    pub(super) framing: Framing,
    /// Its end is with the transport; only the last `Writable` is awaited.
    is_finished: bool,
}

/// How objects are written on a data stream.
#[derive(Debug)]
pub(super) enum Framing {
    Subgroup {
        has_properties: bool,
        previous: Option<u64>,
    },
    Fetch(FetchWriter),
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
        let header = SubgroupHeader {
            track_alias,
            ..header
        };
        header.encode(&mut head);
        let framing = Framing::Subgroup {
            has_properties: header.has_properties,
            previous: None,
        };
        let stream = self.open_data_stream(request, head, framing, priority);
        self.note_subgroup(stream, &header);
        Ok(stream)
    }

    pub(super) fn open_data_stream(
        &mut self,
        request: RequestId,
        head: BytesMut,
        framing: Framing,
        priority: i32,
    ) -> StreamId {
        let stream = StreamId::new(Origin::Local, Direction::Unidirectional, self.next_uni);
        self.next_uni += 1;
        let data = DataStream {
            request,
            head: Some(head),
            framing,
            is_finished: false,
        };
        self.outgoing.insert(stream, data);
        self.outgoing_of.insert((request, stream));
        let session = self.id;
        self.transport(Output::Open {
            session,
            stream,
            priority,
        });
        stream
    }

    /// Changes the priority of a stream that is open.
    pub fn set_stream_priority(&mut self, stream: StreamId, priority: i32) {
        if self.outgoing.contains_key(&stream) {
            let session = self.id;
            self.transport(Output::SetPriority {
                session,
                stream,
                priority,
            });
        }
    }

    /// Sends an object on a subgroup stream. Objects of a stream have ascending Object IDs.
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
        let Framing::Subgroup {
            has_properties,
            previous,
        } = &mut data.framing
        else {
            return Err(CommandError::UnknownStream(stream));
        };
        let mut head = data
            .head
            .take()
            .unwrap_or_else(|| BytesMut::with_capacity(24));
        object::encode_subgroup_object(object, *previous, *has_properties, &mut head);
        *previous = Some(object.object);
        self.note_object_sent(stream, object);
        self.write_data(stream, head.freeze(), object.payload.clone(), fin, notify);
        Ok(())
    }

    /// The same, of an object that is framed for the streams on which it follows the same one. On
    /// others it is framed anew.
    pub fn send_framed(
        &mut self,
        stream: StreamId,
        object: &Object,
        framed: &Framed,
        fin: bool,
        notify: bool,
    ) -> Result<(), CommandError> {
        // An adapter to draft 16 rewrites the framing.
        if self.legacy.is_none()
            && let Some(data) = self.outgoing.get_mut(&stream)
            && data.head.is_none()
            && let Framing::Subgroup {
                has_properties,
                previous,
            } = &mut data.framing
            && let Some(run) = framed.of(object.object, *previous, *has_properties)
        {
            *previous = Some(object.object);
            self.note_object_sent(stream, object);
            self.write_data(stream, Bytes::new(), run, fin, notify);
            return Ok(());
        }
        self.send_object(stream, object, fin, notify)
    }

    /// Hands framing and payload to the transport, and keeps account of the stream's end.
    pub(super) fn write_data(
        &mut self,
        stream: StreamId,
        head: Bytes,
        body: Payload,
        fin: bool,
        notify: bool,
    ) {
        let session = self.id;
        self.transport(Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            notify,
        });
        if !fin {
            return;
        }
        let Some(data) = self.outgoing.get_mut(&stream) else {
            return;
        };
        data.is_finished = true;
        let (request, is_fetch) = (data.request, matches!(data.framing, Framing::Fetch(_)));
        if !notify {
            self.take_outgoing(stream);
        }
        if is_fetch {
            self.fetch_sent(request);
        }
    }

    /// Ends a stream after its last object.
    pub fn finish_stream(&mut self, stream: StreamId) -> Result<(), CommandError> {
        let data = self
            .outgoing
            .get_mut(&stream)
            .filter(|data| !data.is_finished)
            .ok_or(CommandError::UnknownStream(stream))?;
        let head = data.head.take().unwrap_or_default().freeze();
        self.write_data(stream, head, Payload::default(), true, false);
        Ok(())
    }

    /// Forgets a stream whose end is with the transport.
    pub fn release_stream(&mut self, stream: StreamId) {
        self.take_outgoing(stream);
    }

    pub(super) fn take_outgoing(&mut self, stream: StreamId) -> Option<DataStream> {
        let data = self.outgoing.remove(&stream)?;
        self.outgoing_of.remove(&(data.request, stream));
        Some(data)
    }

    /// A stream whose end is with the transport took too long: it is abandoned, unless all of it has
    /// come through.
    pub fn expire_stream(&mut self, stream: StreamId) {
        self.reset(stream, StreamCode::DELIVERY_TIMEOUT);
    }

    /// Abandons a stream.
    pub fn reset_stream(&mut self, stream: StreamId, code: StreamCode) {
        let Some(data) = self.take_outgoing(stream) else {
            return;
        };
        if let (Framing::Fetch(_), Some(head)) = (&data.framing, data.head) {
            // The header tells which request is not served; without it nobody could know.
            self.write(stream, head.freeze(), false);
        }
        self.reset(stream, code);
        if matches!(data.framing, Framing::Fetch(_)) {
            self.fetch_cut(data.request, code);
        }
    }

    /// Sends an object in a datagram; it may be lost.
    pub fn send_datagram(
        &mut self,
        request: RequestId,
        object: &Object,
    ) -> Result<(), CommandError> {
        self.send_datagram_until(request, object, None)
    }

    /// The same, of an object that is too late after `until`: then the transport drops it.
    pub fn send_datagram_until(
        &mut self,
        request: RequestId,
        object: &Object,
        until: Option<Instant>,
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
            until,
        });
        Ok(())
    }

    pub(super) fn reset_data_streams(&mut self, request: RequestId, code: StreamCode) {
        let of_request = self
            .outgoing_of
            .range((request, StreamId::MIN)..)
            .take_while(|(of, _)| *of == request);
        let open: Vec<StreamId> = of_request.map(|(_, stream)| *stream).collect();
        for stream in open {
            self.reset_stream(stream, code);
        }
    }
}
