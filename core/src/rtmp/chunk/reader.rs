//! [`Reader`]: bytes cut anywhere to complete messages.
//!
//! | state | waits for |
//! |---|---|
//! | header | 1 to 18 bytes of a chunk header, kept in `head` |
//! | body | `left` bytes of the chunk of stream `csid` |
//!
//! Each payload byte is copied once, into a buffer that ends with exactly the message's length: a
//! slice of the socket's read buffer would keep all of that buffer alive for as long as a relay
//! retains the frame. Buffers grow with what has arrived, not with what was announced.
//!
//! Two habits of encoders are followed. A type 3 header that begins a message repeats the last
//! timestamp field, which after a type 0 header is the absolute time (section 5.3.1.2.4; ffmpeg
//! counts on it). The extended timestamp is repeated in type 3 headers by the text and by ffmpeg
//! and OBS, and left out by others: it is taken when the bytes there are equal to the last one.

use super::{ChunkError, Message};
use crate::map::BTreeMap;
use crate::rtmp::limits::Limits;
use bytes::{Buf, Bytes};

/// Basic header (3) + message header (11) + extended timestamp (4).
const HEADER_BYTES_MAX: usize = 18;
const TIMESTAMP_EXTENDED: u32 = 0xff_ffff;
const FIRST_ALLOCATION: usize = 4096;

/// Reassembles one direction of a connection.
#[derive(Debug)]
pub(in crate::rtmp) struct Reader {
    message_bytes_max: usize,
    chunk_streams_max: usize,
    unfinished_bytes_max: usize,
    chunk_size_max: u32,
    chunk_size: usize,
    streams: BTreeMap<u32, ChunkStream>,
    unfinished_bytes: usize,
    head: Vec<u8>,
    body: Option<ChunkBody>,
}

/// The chunk whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct ChunkBody {
    csid: u32,
    left: usize,
}

/// The last header of a chunk stream and the message in progress.
#[derive(Debug, Default)]
struct ChunkStream {
    timestamp: u32,
    /// What a type 3 header that begins a message adds to `timestamp`.
    delta: u32,
    /// The last header's extended timestamp field.
    extended: Option<u32>,
    /// Whether the last header's timestamp was absolute (type 0).
    absolute: bool,
    length: usize,
    kind: u8,
    message_stream: u32,
    unfinished: Option<Vec<u8>>,
}

/// A chunk header, as it stands on the wire.
#[derive(Debug)]
struct Header {
    csid: u32,
    format: u8,
    /// Timestamp or delta, extended or not; 0 for type 3.
    time: u32,
    extended: Option<u32>,
    length: usize,
    kind: u8,
    message_stream: u32,
    /// Bytes of `head` that belong to the header; the rest is payload.
    used: usize,
}

impl Reader {
    pub(in crate::rtmp) fn new(limits: &Limits) -> Self {
        Self {
            message_bytes_max: limits.message_bytes_max,
            chunk_streams_max: limits.chunk_streams_max,
            unfinished_bytes_max: limits.unfinished_bytes_max,
            chunk_size_max: limits.chunk_size_max,
            chunk_size: 128,
            streams: BTreeMap::new(),
            unfinished_bytes: 0,
            head: Vec::with_capacity(HEADER_BYTES_MAX),
            body: None,
        }
    }

    /// The peer's Set Chunk Size; holds from the next chunk header on.
    pub(in crate::rtmp) fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > self.chunk_size_max.min(0x7fff_ffff) {
            return Err(ChunkError::ChunkSize);
        }
        self.chunk_size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(())
    }

    /// The peer's Abort: forgets the unfinished message of a chunk stream, if there is one.
    pub(in crate::rtmp) fn abort(&mut self, csid: u32) {
        if let Some(dropped) = self
            .streams
            .get_mut(&csid)
            .and_then(|stream| stream.unfinished.take())
        {
            self.unfinished_bytes = self.unfinished_bytes.saturating_sub(dropped.len());
        }
    }

    /// Reads from the front of `data` up to the end of the next complete message, which is
    /// returned; `None` when `data` is used up first.
    pub(in crate::rtmp) fn push(
        &mut self,
        data: &mut Bytes,
    ) -> Result<Option<Message>, ChunkError> {
        loop {
            if let Some(body) = self.body {
                let taken = body.left.min(data.len());
                let part = data.split_to(taken);
                if let Some(message) = self.take_payload(body, &part)? {
                    return Ok(Some(message));
                }
                if self.body.is_some() {
                    return Ok(None);
                }
            }
            if data.is_empty() {
                return Ok(None);
            }
            self.head.push(data.get_u8());
            let Some(header) = self.parse_header()? else {
                continue;
            };
            let spilled: Vec<u8> = self.head.drain(..).skip(header.used).collect();
            let body = self.begin(&header)?;
            // At most the payload of this chunk: see `extended_of_type_3`.
            if let Some(message) = self.take_payload(body, &spilled)? {
                return Ok(Some(message));
            }
        }
    }

    /// The header at the front of `head`, once it is whole.
    fn parse_header(&self) -> Result<Option<Header>, ChunkError> {
        let Some((csid, format, basic)) = parse_basic(&self.head) else {
            return Ok(None);
        };
        let fields = self.head.get(basic..).unwrap_or_default();
        if format == 3 {
            return self.parse_type_3(csid, basic, fields);
        }
        let fixed = match format {
            0 => 11,
            1 => 7,
            _ => 3,
        };
        let Some((fixed_fields, tail)) = fields.split_at_checked(fixed) else {
            return Ok(None);
        };
        let mut fixed_fields = fixed_fields;
        let mut time = take_u24(&mut fixed_fields);
        let length = take_u24(&mut fixed_fields);
        let (kind, rest) = fixed_fields.split_first().unwrap_or((&0, &[]));
        let message_stream = rest
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let mut extended = None;
        let mut used = basic.saturating_add(fixed);
        if time == TIMESTAMP_EXTENDED {
            let Some(bytes) = tail.first_chunk() else {
                return Ok(None);
            };
            time = u32::from_be_bytes(*bytes);
            extended = Some(time);
            used = used.saturating_add(4);
        }
        Ok(Some(Header {
            csid,
            format,
            time,
            extended,
            length: usize::try_from(length).unwrap_or(usize::MAX),
            kind: *kind,
            message_stream,
            used,
        }))
    }

    fn parse_type_3(
        &self,
        csid: u32,
        basic: usize,
        fields: &[u8],
    ) -> Result<Option<Header>, ChunkError> {
        let stream = self.streams.get(&csid).ok_or(ChunkError::HeaderMissing)?;
        let (extended, used) = match stream.extended {
            None => (None, basic),
            Some(last) => match self.extended_of_type_3(stream, last, fields) {
                Repeated::Unclear => return Ok(None),
                Repeated::Yes => (Some(last), basic.saturating_add(4)),
                Repeated::No => (None, basic),
            },
        };
        Ok(Some(Header {
            csid,
            format: 3,
            time: 0,
            extended,
            length: stream.length,
            kind: stream.kind,
            message_stream: stream.message_stream,
            used,
        }))
    }

    /// Whether a type 3 header repeats the extended timestamp `last`. No byte past this chunk's
    /// payload is looked at, so that what turns out to be payload is payload of this chunk.
    fn extended_of_type_3(&self, stream: &ChunkStream, last: u32, fields: &[u8]) -> Repeated {
        let received = stream.unfinished.as_ref().map_or(0, Vec::len);
        let payload = stream.length.saturating_sub(received).min(self.chunk_size);
        let expected = last.to_be_bytes();
        let differs = expected
            .iter()
            .zip(fields)
            .take(payload)
            .any(|(expected, byte)| expected != byte);
        if differs {
            Repeated::No
        } else if fields.len() >= expected.len() {
            Repeated::Yes
        } else {
            Repeated::Unclear
        }
    }

    /// Applies a header to its chunk stream and names the payload that follows.
    fn begin(&mut self, header: &Header) -> Result<ChunkBody, ChunkError> {
        let known = self.streams.contains_key(&header.csid);
        if !known {
            if header.format >= 2 {
                return Err(ChunkError::HeaderMissing);
            }
            if self.streams.len() >= self.chunk_streams_max {
                return Err(ChunkError::ChunkStreams);
            }
        }
        let stream = self.streams.entry(header.csid).or_default();
        if header.format != 3 && stream.unfinished.is_some() {
            return Err(ChunkError::MessageInterrupted);
        }
        if stream.unfinished.is_none() {
            stream.start_message(header);
            if stream.length > self.message_bytes_max {
                return Err(ChunkError::MessageLength);
            }
        }
        let received = stream.unfinished.get_or_insert_default().len();
        let left = stream.length.saturating_sub(received).min(self.chunk_size);
        Ok(ChunkBody {
            csid: header.csid,
            left,
        })
    }

    /// Adds payload to the message of `body.csid`; returns the message when that completes it.
    fn take_payload(
        &mut self,
        body: ChunkBody,
        part: &[u8],
    ) -> Result<Option<Message>, ChunkError> {
        let left = body.left.saturating_sub(part.len());
        self.body = (left > 0).then_some(ChunkBody { left, ..body });
        let stream = self
            .streams
            .get_mut(&body.csid)
            .ok_or(ChunkError::HeaderMissing)?;
        let unfinished = stream.unfinished.get_or_insert_default();
        self.unfinished_bytes = self.unfinished_bytes.saturating_add(part.len());
        if self.unfinished_bytes > self.unfinished_bytes_max {
            return Err(ChunkError::UnfinishedBytes);
        }
        append(unfinished, part, stream.length);
        if unfinished.len() < stream.length {
            return Ok(None);
        }
        let whole = stream.unfinished.take().unwrap_or_default();
        self.unfinished_bytes = self.unfinished_bytes.saturating_sub(whole.len());
        Ok(Some(Message {
            kind: stream.kind,
            stream: stream.message_stream,
            timestamp: stream.timestamp,
            body: whole.into(),
        }))
    }
}

/// Whether a type 3 header carries the extended timestamp again.
enum Repeated {
    Yes,
    No,
    Unclear,
}

impl ChunkStream {
    fn start_message(&mut self, header: &Header) {
        match header.format {
            0 => {
                self.timestamp = header.time;
                self.message_stream = header.message_stream;
            }
            1 | 2 => self.timestamp = self.timestamp.wrapping_add(header.time),
            // An extended absolute time that is repeated, or left out, is the same time again.
            _ if self.extended.is_some() && (self.absolute || header.extended.is_none()) => return,
            _ => {
                self.timestamp = self.timestamp.wrapping_add(self.delta);
                return;
            }
        }
        self.delta = header.time;
        self.extended = header.extended;
        self.absolute = header.format == 0;
        if header.format < 2 {
            self.length = header.length;
            self.kind = header.kind;
        }
    }
}

/// Chunk stream id, header type and length of the basic header (section 5.3.1.1).
fn parse_basic(head: &[u8]) -> Option<(u32, u8, usize)> {
    let (first, rest) = head.split_first()?;
    let format = first >> 6;
    match first & 0x3f {
        0 => Some((64 + u32::from(*rest.first()?), format, 2)),
        1 => Some((
            64 + u32::from(u16::from_le_bytes(*rest.first_chunk()?)),
            format,
            3,
        )),
        csid => Some((u32::from(csid), format, 1)),
    }
}

/// Three bytes, big-endian; 0 when the field is not there (it is not part of this header type).
fn take_u24(fields: &mut &[u8]) -> u32 {
    match fields.split_first_chunk() {
        Some(([a, b, c], rest)) => {
            *fields = rest;
            u32::from_be_bytes([0, *a, *b, *c])
        }
        None => 0,
    }
}

/// Appends `part`, doubling the capacity but never past `length`.
fn append(buffer: &mut Vec<u8>, part: &[u8], length: usize) {
    let needed = buffer.len().saturating_add(part.len());
    if needed > buffer.capacity() {
        let capacity = needed
            .max(buffer.capacity().saturating_mul(2))
            .max(FIRST_ALLOCATION)
            .min(length.max(needed));
        buffer.reserve_exact(capacity.saturating_sub(buffer.len()));
    }
    buffer.extend_from_slice(part);
}
