//! Legacy and enhanced tags, good and bad.

use super::*;

fn video(tag: &[u8]) -> Result<Vec<(u8, VideoBody)>, FlvError> {
    let mut out = Vec::new();
    parse_video(Bytes::copy_from_slice(tag), 4, &mut out)?;
    Ok(out.into_iter().map(|p| (p.track, p.body)).collect())
}

fn audio(tag: &[u8]) -> Result<Vec<(u8, AudioBody)>, FlvError> {
    let mut out = Vec::new();
    parse_audio(Bytes::copy_from_slice(tag), 4, &mut out)?;
    Ok(out.into_iter().map(|p| (p.track, p.body)).collect())
}

fn frame(codec: VideoCodec, cts_ms: i32, key: bool, data: &'static [u8]) -> VideoBody {
    VideoBody::Frame {
        codec,
        cts_ms,
        key,
        data: Bytes::from_static(data),
    }
}

fn config(codec: VideoCodec, config: &'static [u8]) -> VideoBody {
    VideoBody::Config {
        codec,
        config: Bytes::from_static(config),
    }
}

#[test]
fn legacy_avc_has_configuration_signed_offsets_and_an_end() {
    let avc = VideoCodec::Avc;
    for (tag, body) in [
        (&b"\x17\0\0\0\0cfg"[..], config(avc, b"cfg")),
        (b"\x17\x01\0\0\x50nal", frame(avc, 80, true, b"nal")),
        (b"\x27\x01\xff\xff\xffnal", frame(avc, -1, false, b"nal")),
        (b"\x47\x01\0\0\0nal", frame(avc, 0, true, b"nal")),
        (b"\x17\x02\0\0\0", VideoBody::End),
        (b"\x1c\x01\0\0\x01n", frame(VideoCodec::Hevc, 1, true, b"n")),
        (b"\x22abc", VideoBody::Unsupported(FourCc(*b"h263"))),
    ] {
        assert_eq!(video(tag), Ok(vec![(0, body)]), "{tag:?}");
    }
    // A command for the player, and nothing at all.
    assert_eq!(video(b"\x57\0"), Ok(vec![]));
    assert_eq!(video(b""), Ok(vec![]));
    assert_eq!(video(b"\x17\x01\0\0\0"), Ok(vec![]));
    assert_eq!(video(b"\x17\x01\0\0"), Err(FlvError::Truncated));
}

#[test]
fn extended_video_reads_every_codec_and_packet_type() {
    for (tag, body) in [
        (&b"\x90hvc1cfg"[..], config(VideoCodec::Hevc, b"cfg")),
        (
            b"\x91hvc1\0\0\x28n",
            frame(VideoCodec::Hevc, 40, true, b"n"),
        ),
        (b"\xa3hvc1n", frame(VideoCodec::Hevc, 0, false, b"n")),
        (
            b"\xa1avc1\xff\xff\xd8n",
            frame(VideoCodec::Avc, -40, false, b"n"),
        ),
        (b"\x91av01obu", frame(VideoCodec::Av1, 0, true, b"obu")),
        (b"\xa1vp09vp9", frame(VideoCodec::Vp9, 0, false, b"vp9")),
        (b"\x92hvc1", VideoBody::End),
        (b"\x91vvc1\0\0\0n", VideoBody::Unsupported(FourCc(*b"vvc1"))),
    ] {
        assert_eq!(video(tag), Ok(vec![(0, body)]), "{tag:?}");
    }
    // Colour metadata, a command byte, AV1 configuration for MPEG-2 TS.
    for tag in [&b"\xd4hvc1amf"[..], b"\xd1\x01", b"\x95av01x"] {
        assert_eq!(video(tag), Ok(vec![]), "{tag:?}");
    }
}

#[test]
fn modifiers_are_skipped_whatever_their_size() {
    let body = frame(VideoCodec::Avc, 0, true, b"n");
    // Nanosecond offset: size 3 is written as 2; then type 0 and packet type 3.
    assert_eq!(
        video(b"\x97\x02\0\x03\xe8\x03avc1n"),
        Ok(vec![(0, body.clone())])
    );
    // 256 bytes and more take the long form of the size; two modifiers in a row.
    let mut tag = b"\x97\xff\x01\x00".to_vec();
    tag.extend([0; 257]);
    tag.extend(b"\x07\0x\x03avc1n");
    assert_eq!(video(&tag), Ok(vec![(0, body)]));
    assert_eq!(video(b"\x97\x09abc"), Err(FlvError::Truncated));
}

#[test]
fn multitrack_yields_one_packet_per_track() {
    let avc = VideoCodec::Avc;
    assert_eq!(
        video(b"\x96\x00avc1\x05cfg"),
        Ok(vec![(5, config(avc, b"cfg"))])
    );
    assert_eq!(
        video(b"\x96\x13avc1\x01\0\0\x01a\x02\0\0\x02bb"),
        Ok(vec![
            (1, frame(avc, 0, true, b"a")),
            (2, frame(avc, 0, true, b"bb"))
        ])
    );
    assert_eq!(
        video(b"\x96\x23avc1\0\0\0\x01ahvc1\x01\0\0\x01b"),
        Ok(vec![
            (0, frame(avc, 0, true, b"a")),
            (1, frame(VideoCodec::Hevc, 0, true, b"b"))
        ])
    );
    assert_eq!(video(b"\x96\x33"), Err(FlvError::Multitrack));
    assert_eq!(video(b"\x96\x06avc1"), Err(FlvError::Multitrack));
    assert_eq!(
        video(b"\x96\x13avc1\x01\0\0\x09a"),
        Err(FlvError::Truncated)
    );
    let five = [&b"\x96\x13avc1"[..], &[1, 0, 0, 0].repeat(5)].concat();
    assert_eq!(video(&five), Err(FlvError::Tracks));
}

#[test]
fn audio_reads_legacy_aac_and_extended_codecs() {
    let config = |codec, config| AudioBody::Config {
        codec,
        config: Bytes::from_static(config),
    };
    let frame = |codec, data| AudioBody::Frame {
        codec,
        data: Bytes::from_static(data),
    };
    for (tag, track, body) in [
        (&b"\xaf\0asc"[..], 0, config(AudioCodec::Aac, b"asc")),
        (b"\xaf\x01raw", 0, frame(AudioCodec::Aac, b"raw")),
        (
            b"\x90OpusOpusHead",
            0,
            config(AudioCodec::Opus, b"OpusHead"),
        ),
        (b"\x91Opusx", 0, frame(AudioCodec::Opus, b"x")),
        (b"\x91mp4ax", 0, frame(AudioCodec::Aac, b"x")),
        (b"\x90fLaCx", 0, config(AudioCodec::Flac, b"x")),
        (b"\x92Opus", 0, AudioBody::End),
        (b"\x95\x01mp4a\x03x", 3, frame(AudioCodec::Aac, b"x")),
        (b"\x97\0x\x01mp4ay", 0, frame(AudioCodec::Aac, b"y")),
        (b"\x2fmp3", 0, AudioBody::Unsupported(FourCc(*b".mp3"))),
        (b"\x91ac-3x", 0, AudioBody::Unsupported(FourCc(*b"ac-3"))),
    ] {
        assert_eq!(audio(tag), Ok(vec![(track, body)]), "{tag:?}");
    }
    // A channel layout, and nothing at all.
    assert_eq!(audio(b"\x94Opus\x01\x02"), Ok(vec![]));
    assert_eq!(audio(b""), Ok(vec![]));
    assert_eq!(audio(b"\x91fLaC"), Ok(vec![]));
    assert_eq!(audio(b"\xaf"), Err(FlvError::Truncated));
    assert_eq!(audio(b"\x95\x05mp4a"), Err(FlvError::Multitrack));
}
