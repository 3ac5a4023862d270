//! From the events of [`rtmp::server`](crate::rtmp::server) to packager inputs.
//!
//! RTMP counts milliseconds. Sources: FLV 10.1 annex E, Enhanced RTMP v2 (configuration records of
//! VP9 and FLAC), the VP9 and FLAC bindings to ISO BMFF.

use super::input::{Announcement, Frame, Input, Source};
use super::output::{Fault, FaultReason};
use crate::cmaf::{self, Codec, Kind, NtpTime, Video};
use crate::payload::Payload;
use crate::rtmp::flv::{AudioCodec, VideoCodec};
use crate::rtmp::server::{Event, MediaKind, Metadata};
use crate::time::MediaTime;
use bytes::{BufMut, Bytes, BytesMut};
use std::num::NonZeroU32;

/// RTMP's clock.
pub const TIMESCALE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// The packager input for an event of an accepted publish; `None` for events that say nothing about
/// media. `arrived` is the wall clock when the event's bytes arrived.
pub fn input(event: Event, arrived: NtpTime) -> Result<Option<Input>, Fault> {
    Ok(Some(match event {
        Event::Metadata(metadata) => Input::Announced(announcement(&metadata)),
        Event::VideoConfig {
            track,
            codec,
            config,
        } => configured(source(MediaKind::Video, track), video_codec(codec, config))?,
        Event::AudioConfig {
            track,
            codec,
            config,
        } => configured(source(MediaKind::Audio, track), audio_codec(codec, config))?,
        Event::Video {
            track,
            dts_ms,
            cts_ms,
            key,
            data,
            ..
        } => Input::Frame(Frame {
            source: source(MediaKind::Video, track),
            decode_time: MediaTime::new(dts_ms, TIMESCALE),
            composition_offset: cts_ms,
            duration: None,
            key,
            data: Payload::from(data),
            arrived,
        }),
        Event::Audio {
            track,
            dts_ms,
            data,
            ..
        } => Input::Frame(Frame {
            source: source(MediaKind::Audio, track),
            decode_time: MediaTime::new(dts_ms, TIMESCALE),
            composition_offset: 0,
            duration: None,
            key: true,
            data: Payload::from(data),
            arrived,
        }),
        Event::TrackEnd { kind, track } => Input::End(source(kind, track)),
        Event::EndOfStream { .. } => Input::Finished,
        Event::Publish(_) | Event::Unsupported { .. } => return Ok(None),
    }))
}

fn source(kind: MediaKind, number: u8) -> Source {
    let kind = match kind {
        MediaKind::Video => Kind::Video,
        MediaKind::Audio => Kind::Audio,
    };
    Source { kind, number }
}

fn configured(source: Source, codec: Result<Codec, cmaf::Error>) -> Result<Input, Fault> {
    match codec {
        Ok(codec) => Ok(Input::Config {
            source,
            codec,
            timescale: TIMESCALE,
        }),
        Err(error) => Err(Fault {
            source_track: source,
            reason: FaultReason::Config(error),
        }),
    }
}

fn video_codec(codec: VideoCodec, config: Bytes) -> Result<Codec, cmaf::Error> {
    match codec {
        VideoCodec::Avc => Codec::h264(config),
        VideoCodec::Hevc => Codec::hevc(config),
        VideoCodec::Av1 => Codec::av1(config),
        VideoCodec::Vp9 => Ok(Codec::Vp9 {
            config: vpcc(config),
        }),
    }
}

fn audio_codec(codec: AudioCodec, config: Bytes) -> Result<Codec, cmaf::Error> {
    match codec {
        AudioCodec::Aac => Codec::aac(config),
        AudioCodec::Opus => Codec::opus_from_head(&config),
        AudioCodec::Flac => flac(&config),
    }
}

/// The body of `vpcC`: version 1 and no flags in front of the record, unless they are there.
fn vpcc(record: Bytes) -> Bytes {
    const VERSION_FLAGS: [u8; 4] = [1, 0, 0, 0];
    if record.starts_with(&VERSION_FLAGS) {
        return record;
    }
    let mut out = BytesMut::with_capacity(record.len().saturating_add(4));
    out.put_slice(&VERSION_FLAGS);
    out.put_slice(&record);
    out.freeze()
}

/// The body of `dfLa`: version, flags and metadata blocks, of which STREAMINFO must be there.
fn flac(config: &[u8]) -> Result<Codec, cmaf::Error> {
    const STREAMINFO_LEN: usize = 34;
    let mut out = BytesMut::from(&[0; 4][..]);
    if config.len() == STREAMINFO_LEN {
        // The last and only block, of type 0.
        out.put_slice(&[0x80, 0, 0, 34]);
        out.put_slice(config);
    } else {
        let blocks = config.strip_prefix(b"fLaC").unwrap_or(config);
        if blocks.len() < STREAMINFO_LEN.saturating_add(4) {
            return Err(cmaf::Error::BadConfig {
                codec: "fLaC",
                reason: "too short",
            });
        }
        out.put_slice(blocks);
    }
    Ok(Codec::Flac {
        config: out.freeze(),
    })
}

/// What `onMetaData` says about the tracks to come.
fn announcement(metadata: &Metadata) -> Announcement {
    let says = |names: &[&str]| {
        names
            .iter()
            .any(|name| metadata.number(name).is_some() || metadata.text(name).is_some())
    };
    let has_video = says(&["videocodecid", "width", "videodatarate"]);
    let has_audio = says(&["audiocodecid", "audiosamplerate", "audiodatarate"]);
    let says_nothing = !has_video && !has_audio;
    Announcement {
        has_video: has_video || says_nothing,
        has_audio: has_audio || says_nothing,
        video: Video {
            width: whole(metadata.number("width")).unwrap_or(0),
            height: whole(metadata.number("height")).unwrap_or(0),
            frame_rate: metadata
                .number("framerate")
                .filter(|rate| (1.0..=1000.0).contains(rate)),
        },
        video_bitrate: bits(metadata.number("videodatarate")),
        audio_bitrate: bits(metadata.number("audiodatarate")),
    }
}

fn whole(number: Option<f64>) -> Option<u16> {
    let number = number.filter(|number| (1.0..=65_535.0).contains(number))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its range was checked"
    )]
    let number = number as u16;
    Some(number)
}

/// Kilobits per second, as FLV counts, to bits; zero means unknown.
fn bits(kilobits: Option<f64>) -> Option<u64> {
    let kilobits = kilobits.filter(|rate| (0.001..=1e9).contains(rate))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its range was checked"
    )]
    let bits = (kilobits * 1000.0) as u64;
    Some(bits)
}
