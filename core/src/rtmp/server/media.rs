//! Audio, video, metadata and aggregates of the published stream (RTMP 1.0, section 7.1).
//!
//! One stream is published per connection, so the message stream id of media is not compared.
//! Whatever comes before the publish is accepted, or after its end, is dropped.

use super::Session;
use super::event::{CloseReason, Event, MediaKind, Metadata};
use crate::map::BTreeSet;
use crate::rtmp::amf0::{self, Value};
use crate::rtmp::chunk::kind;
use crate::rtmp::flv::{self, AudioBody, AudioPacket, FourCc, VideoBody, VideoPacket};
use bytes::{Buf, Bytes};

/// Type, size, time and stream of a tag inside an aggregate (FLV annex E.4.1).
const TAG_HEADER: usize = 11;
/// Size of the tag before, after each tag.
const BACK_POINTER: usize = 4;

/// State of the accepted publish.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    clock: Clock,
    /// Tracks whose codec was reported; at most 256 of each kind.
    unsupported: BTreeSet<(MediaKind, u8)>,
}

/// Unrolls the 32-bit clock of messages.
#[derive(Debug, Default)]
struct Clock {
    last: Option<(u32, i64)>,
}

impl Clock {
    /// Milliseconds without the wrap, by the nearest way from the last time: up to 24 days forward
    /// or back.
    fn unroll(&mut self, timestamp: u32) -> i64 {
        let time = match self.last {
            None => i64::from(timestamp),
            Some((last, unrolled)) => {
                let step = timestamp.wrapping_sub(last).cast_signed();
                unrolled.saturating_add(i64::from(step))
            }
        };
        self.last = Some((timestamp, time));
        time
    }
}

impl Session {
    /// Reads one audio or video message.
    pub(super) fn read_media(
        &mut self,
        message_kind: u8,
        timestamp: u32,
        body: Bytes,
    ) -> Result<(), CloseReason> {
        let Some(publishing) = &mut self.publishing else {
            return Ok(());
        };
        let dts_ms = publishing.clock.unroll(timestamp);
        if message_kind == kind::VIDEO {
            let mut packets = Vec::new();
            flv::parse_video(body, self.limits.tracks_max, &mut packets)?;
            for packet in packets {
                self.emit_video(dts_ms, packet);
            }
        } else {
            let mut packets = Vec::new();
            flv::parse_audio(body, self.limits.tracks_max, &mut packets)?;
            for packet in packets {
                self.emit_audio(dts_ms, packet);
            }
        }
        Ok(())
    }

    /// Reads the tags of an aggregate message; their times count from that of the first tag.
    pub(super) fn read_aggregate(
        &mut self,
        timestamp: u32,
        mut body: Bytes,
    ) -> Result<(), CloseReason> {
        let mut first_time = None;
        while !body.is_empty() {
            if body.len() < TAG_HEADER {
                return Err(CloseReason::Aggregate);
            }
            let tag_kind = body.get_u8();
            let size = body.get_uint(3);
            let low = u32::try_from(body.get_uint(3)).unwrap_or(0);
            let time = low | u32::from(body.get_u8()) << 24;
            body.advance(3);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > body.len() {
                return Err(CloseReason::Aggregate);
            }
            let tag = body.split_to(size);
            body.advance(BACK_POINTER.min(body.len()));
            let first = *first_time.get_or_insert(time);
            let time = timestamp.wrapping_add(time.wrapping_sub(first));
            match tag_kind {
                kind::AUDIO | kind::VIDEO => self.read_media(tag_kind, time, tag)?,
                kind::DATA_AMF0 => self.read_data(&tag),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a data message: `onMetaData`, with or without `@setDataFrame` before it.
    pub(super) fn read_data(&mut self, body: &[u8]) {
        if self.publishing.is_none() {
            return;
        }
        let Ok(values) = amf0::decode_all(body, &self.limits.amf) else {
            return;
        };
        let mut values = values
            .into_iter()
            .skip_while(|value| value.as_str() == Some("@setDataFrame"));
        if values.next().as_ref().and_then(Value::as_str) != Some("onMetaData") {
            return;
        }
        if let Some(Value::Object(properties) | Value::EcmaArray(properties)) = values.next() {
            self.event(Event::Metadata(Metadata { properties }));
        }
    }

    fn emit_video(&mut self, dts_ms: i64, packet: VideoPacket) {
        let track = packet.track;
        match packet.body {
            VideoBody::Config { codec, config } => self.event(Event::VideoConfig {
                track,
                codec,
                config,
            }),
            VideoBody::Frame {
                codec,
                cts_ms,
                key,
                data,
            } => self.event(Event::Video {
                track,
                codec,
                dts_ms,
                cts_ms,
                key,
                data,
            }),
            VideoBody::End => self.event(Event::TrackEnd {
                kind: MediaKind::Video,
                track,
            }),
            VideoBody::Unsupported(codec) => {
                self.emit_unsupported(MediaKind::Video, track, codec);
            }
        }
    }

    fn emit_audio(&mut self, dts_ms: i64, packet: AudioPacket) {
        let track = packet.track;
        match packet.body {
            AudioBody::Config { codec, config } => self.event(Event::AudioConfig {
                track,
                codec,
                config,
            }),
            AudioBody::Frame { codec, data } => self.event(Event::Audio {
                track,
                codec,
                dts_ms,
                data,
            }),
            AudioBody::End => self.event(Event::TrackEnd {
                kind: MediaKind::Audio,
                track,
            }),
            AudioBody::Unsupported(codec) => {
                self.emit_unsupported(MediaKind::Audio, track, codec);
            }
        }
    }

    fn emit_unsupported(&mut self, kind: MediaKind, track: u8, codec: FourCc) {
        let is_new = self
            .publishing
            .as_mut()
            .is_some_and(|publishing| publishing.unsupported.insert((kind, track)));
        if is_new {
            self.event(Event::Unsupported { kind, track, codec });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_unrolls_the_wrap_and_reports_jumps_back() {
        let mut clock = Clock::default();
        let times = [0xffff_fff0, 5, 0xffff_fffb, 1000, 400].map(|time| clock.unroll(time));
        let wrap = 1_i64 << 32;
        assert_eq!(
            times,
            [wrap - 16, wrap + 5, wrap - 5, wrap + 1000, wrap + 400]
        );
    }
}
