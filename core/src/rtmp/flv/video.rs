//! Video tags, legacy and extended. See the parent module.

use super::{
    DEFAULT_TRACK, FlvError, FourCc, Share, VideoBody, VideoCodec, VideoPacket, skip_modifiers,
    take_i24, take_multitrack, take_shares, take_u8,
};
use bytes::Bytes;

/// Frame types (FLV annex E.4.3.1): 1 and 4 are key frames, 5 is a command for the player.
const FRAME_KEY: u8 = 1;
const FRAME_KEY_GENERATED: u8 = 4;
const FRAME_COMMAND: u8 = 5;

/// Packet types of the extended header (E-RTMP v2, `VideoPacketType`).
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MULTITRACK: u8 = 6;
}

/// Reads one video tag (the body of a message of type 9) and appends its packets to `out`.
///
/// Nothing is appended for an empty message, a player command, or metadata (`colorInfo`; decoders
/// find the same in the sequence parameters). Legacy codec number 12 is HEVC laid out like AVC: no
/// document has it, but encoders of the time before E-RTMP send it.
pub fn parse_video(
    mut tag: Bytes,
    tracks_max: usize,
    out: &mut Vec<VideoPacket>,
) -> Result<(), FlvError> {
    if tag.is_empty() {
        return Ok(());
    }
    let first = take_u8(&mut tag)?;
    let frame_type = first >> 4 & 0x07;
    let low = first & 0x0f;
    if first & 0x80 == 0 {
        return parse_legacy(frame_type, low, tag, out);
    }
    let mut packet_type = skip_modifiers(low, &mut tag)?;
    if frame_type == FRAME_COMMAND && packet_type != packet::METADATA {
        return Ok(());
    }
    let mut multitrack = None;
    if packet_type == packet::MULTITRACK {
        let (layout, inner) = take_multitrack(&mut tag, packet::MULTITRACK)?;
        multitrack = Some(layout);
        packet_type = inner;
    }
    let key = matches!(frame_type, FRAME_KEY | FRAME_KEY_GENERATED);
    for share in take_shares(tag, multitrack, tracks_max)? {
        let track = share.track;
        if let Some(body) = parse_share(packet_type, key, share)? {
            put(track, body, out);
        }
    }
    Ok(())
}

fn parse_share(packet_type: u8, key: bool, share: Share) -> Result<Option<VideoBody>, FlvError> {
    let mut data = share.body;
    let Some(codec) = VideoCodec::from_four_cc(share.four_cc) else {
        return Ok(Some(VideoBody::Unsupported(share.four_cc)));
    };
    Ok(match packet_type {
        packet::SEQUENCE_START => Some(VideoBody::Config {
            codec,
            config: data,
        }),
        packet::CODED_FRAMES | packet::CODED_FRAMES_X => {
            let has_offset = packet_type == packet::CODED_FRAMES && codec.has_composition_time();
            let cts_ms = if has_offset { take_i24(&mut data)? } else { 0 };
            Some(VideoBody::Frame {
                codec,
                cts_ms,
                key,
                data,
            })
        }
        packet::SEQUENCE_END => Some(VideoBody::End),
        // Metadata, MPEG-2 TS configuration of AV1, and what later versions may add.
        _ => None,
    })
}

fn parse_legacy(
    frame_type: u8,
    codec: u8,
    mut tag: Bytes,
    out: &mut Vec<VideoPacket>,
) -> Result<(), FlvError> {
    if frame_type == FRAME_COMMAND {
        return Ok(());
    }
    let codec = match codec {
        7 => VideoCodec::Avc,
        12 => VideoCodec::Hevc,
        other => {
            put(
                DEFAULT_TRACK,
                VideoBody::Unsupported(legacy_name(other)),
                out,
            );
            return Ok(());
        }
    };
    let packet_type = take_u8(&mut tag)?;
    let cts_ms = take_i24(&mut tag)?;
    let body = match packet_type {
        0 => VideoBody::Config { codec, config: tag },
        1 => VideoBody::Frame {
            codec,
            cts_ms,
            key: matches!(frame_type, FRAME_KEY | FRAME_KEY_GENERATED),
            data: tag,
        },
        2 => VideoBody::End,
        _ => return Ok(()),
    };
    put(DEFAULT_TRACK, body, out);
    Ok(())
}

fn put(track: u8, body: VideoBody, out: &mut Vec<VideoPacket>) {
    if !body.is_empty() {
        out.push(VideoPacket { track, body });
    }
}

/// A name for a codec number of FLV annex E.4.3.1, so that a refusal can name it.
fn legacy_name(codec: u8) -> FourCc {
    FourCc(match codec {
        2 => *b"h263",
        3 | 6 => *b"scrn",
        4 | 5 => *b"vp6 ",
        _ => *b"????",
    })
}
