//! Audio tags, legacy and extended. See the parent module.

use super::{
    AudioBody, AudioCodec, AudioPacket, DEFAULT_TRACK, FlvError, FourCc, Share, skip_modifiers,
    take_multitrack, take_shares, take_u8,
};
use bytes::Bytes;

/// Sound formats (FLV annex E.4.2.1): 10 is AAC; 9 was reserved and marks the extended header.
const FORMAT_EXTENDED: u8 = 9;
const FORMAT_AAC: u8 = 10;

/// Packet types of the extended header (E-RTMP v2, `AudioPacketType`).
mod packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const MULTITRACK: u8 = 5;
}

/// Reads one audio tag (the body of a message of type 8) and appends its packets to `out`.
///
/// Nothing is appended for an empty message or a channel layout (`MultichannelConfig`; decoders
/// find the layout in the codec's configuration).
pub fn parse_audio(
    mut tag: Bytes,
    tracks_max: usize,
    out: &mut Vec<AudioPacket>,
) -> Result<(), FlvError> {
    if tag.is_empty() {
        return Ok(());
    }
    let first = take_u8(&mut tag)?;
    let format = first >> 4;
    if format != FORMAT_EXTENDED {
        return parse_legacy(format, tag, out);
    }
    let mut packet_type = skip_modifiers(first & 0x0f, &mut tag)?;
    let mut multitrack = None;
    if packet_type == packet::MULTITRACK {
        let (layout, inner) = take_multitrack(&mut tag, packet::MULTITRACK)?;
        multitrack = Some(layout);
        packet_type = inner;
    }
    for share in take_shares(tag, multitrack, tracks_max)? {
        let track = share.track;
        if let Some(body) = parse_share(packet_type, share) {
            put(track, body, out);
        }
    }
    Ok(())
}

fn parse_share(packet_type: u8, share: Share) -> Option<AudioBody> {
    let Some(codec) = AudioCodec::from_four_cc(share.four_cc) else {
        return Some(AudioBody::Unsupported(share.four_cc));
    };
    match packet_type {
        packet::SEQUENCE_START => Some(AudioBody::Config {
            codec,
            config: share.body,
        }),
        packet::CODED_FRAMES => Some(AudioBody::Frame {
            codec,
            data: share.body,
        }),
        packet::SEQUENCE_END => Some(AudioBody::End),
        _ => None,
    }
}

fn parse_legacy(format: u8, mut tag: Bytes, out: &mut Vec<AudioPacket>) -> Result<(), FlvError> {
    let body = if format == FORMAT_AAC {
        let codec = AudioCodec::Aac;
        match take_u8(&mut tag)? {
            0 => AudioBody::Config { codec, config: tag },
            1 => AudioBody::Frame { codec, data: tag },
            _ => return Ok(()),
        }
    } else {
        AudioBody::Unsupported(legacy_name(format))
    };
    put(DEFAULT_TRACK, body, out);
    Ok(())
}

fn put(track: u8, body: AudioBody, out: &mut Vec<AudioPacket>) {
    if !body.is_empty() {
        out.push(AudioPacket { track, body });
    }
}

/// A name for a sound format of FLV annex E.4.2.1, so that a refusal can name it.
fn legacy_name(format: u8) -> FourCc {
    FourCc(match format {
        0 | 3 => *b"pcm ",
        1 => *b"adpc",
        2 | 14 => *b".mp3",
        4..=6 => *b"nell",
        7 => *b"alaw",
        8 => *b"ulaw",
        11 => *b"spex",
        _ => *b"????",
    })
}
