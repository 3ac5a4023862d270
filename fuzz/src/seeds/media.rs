//! Seeds of the media targets: files and captures that core's tests hold, cut to their beginnings.

use crate::media::rtmp::HANDSHAKE_LEN;
use mainstem_core::rtmp::amf0::{Value, encode_all};

const FFMPEG_5: &[u8] = include_bytes!("../../../core/tests/fixtures/rtmp-publish-ffmpeg5.bin");
const FFMPEG_9: &[u8] =
    include_bytes!("../../../core/tests/fixtures/rtmp-publish-ffmpeg9-hevc-opus.bin");
const FRAGMENTED: [&[u8]; 5] = [
    include_bytes!("../../../core/tests/media/h264_aac.mp4"),
    include_bytes!("../../../core/tests/media/h264_opus.mp4"),
    include_bytes!("../../../core/tests/media/hevc_opus.mp4"),
    include_bytes!("../../../core/tests/media/av1.mp4"),
    include_bytes!("../../../core/tests/media/flac.mp4"),
];
const ORDINARY: [&[u8]; 2] = [
    include_bytes!("../../../core/tests/media/progressive.mp4"),
    include_bytes!("../../../core/tests/media/progressive_moov_last.mp4"),
];

/// What two encoders sent, with and without their handshake.
pub(super) fn rtmp_server() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for capture in [FFMPEG_5, FFMPEG_9] {
        let after = &capture[HANDSHAKE_LEN.min(capture.len())..];
        seeds.push([&[0, 0, 1], &after[..after.len().min(6000)]].concat());
        seeds.push([&[2, 0, 1], &after[..after.len().min(3000)]].concat());
        seeds.push([&[1, 0, 2], &capture[..capture.len().min(6000)]].concat());
    }
    seeds
}

/// One value of each kind, and tags of the captures.
pub(super) fn rtmp_values() -> Vec<Vec<u8>> {
    let pair = |value: Value| vec![("k".to_owned(), value)];
    let values = [
        Value::from("connect"),
        Value::from(1.0),
        Value::Object(pair(Value::Boolean(true))),
        Value::EcmaArray(pair(Value::Null)),
        Value::StrictArray(vec![Value::Undefined, Value::Reference(1)]),
        Value::Date {
            unix_ms: 1.0,
            zone: 0,
        },
        Value::TypedObject {
            class: "c".to_owned(),
            properties: pair(Value::Unsupported),
        },
    ];
    let mut amf = bytes::BytesMut::from(&[0][..]);
    encode_all(&values, &mut amf);
    vec![
        amf.to_vec(),
        b"\x01\xaf\x00\x11\x90".to_vec(),
        b"\x01\x95\x10Opus\x00\x01Opus\x01\x00\x00\x02ab".to_vec(),
        b"\x02\x17\x01\x00\x00\x00\x00\x00\x00\x01\x65".to_vec(),
        b"\x02\x90hvc1\x01\x02\x03".to_vec(),
        b"\x03\x04live\x0alv_1?sk=ab\x00".to_vec(),
    ]
}

/// Files with fragments, whole or their beginnings, and files without.
pub(super) fn cmaf() -> Vec<Vec<u8>> {
    let cut = |file: &[u8], len: usize| file[..file.len().min(len)].to_vec();
    let mut seeds = Vec::new();
    for (index, file) in FRAGMENTED.iter().enumerate() {
        let frames = [0, 2][index % 2];
        seeds.push([vec![frames, 0, 1], cut(file, 16_000)].concat());
        seeds.push([vec![frames, 0, 2], cut(file, 4000)].concat());
    }
    for file in ORDINARY {
        seeds.push([vec![1, 0, 0], cut(file, 16_300)].concat());
    }
    seeds
}

/// Records as encoders send them.
pub(super) fn cmaf_codec() -> Vec<Vec<u8>> {
    let sps: &[u8] = &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x2a,
    ];
    let pps: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    let lengths = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes().to_vec();
    vec![
        [&[1, 3, 0xe8][..], &lengths(sps), sps, &lengths(pps), pps].concat(),
        [&[6, 0, 1], sps].concat(),
        vec![4, 3, 0xe8, 0x11, 0x90],
        [
            &[5, 3, 0xe8][..],
            b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00",
        ]
        .concat(),
        vec![3, 3, 0xe8, 0x81, 0x04, 0x0c, 0x00],
        vec![7, 0, 1, 3, 0, 0, 0, 1, 9, 0, 0, 0, 2, 0x65, 1],
        vec![8, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0],
    ]
}

/// Whole catalogs of both formats, and deltas of both drafts.
pub(super) fn catalog() -> Vec<Vec<u8>> {
    let whole = r#"{"version":"draft-01","generatedAt":1,"isComplete":false,"tracks":[{"name":"v","packaging":"cmaf","isLive":true,"role":"video","renderGroup":1,"initRef":"i","codec":"avc1.42E01F","framerate":30,"timescale":90000,"bitrate":1000,"width":640,"height":360}],"initDataList":[{"id":"i","type":"inline","data":"AAEC"}]}"#;
    let more = r#"{"version":"1","tracks":[{"name":"v","packaging":"cmaf","isLive":true,"bitrate":2000,"initData":"AAEC"},{"name":"a","packaging":"loc","samplerate":48000,"channelConfig":"2","lang":"en"}]}"#;
    let delta = r#"{"generatedAt":2,"deltaUpdate":[{"op":"update","tracks":[{"name":"v","bitrate":9}]},{"op":"clone","tracks":[{"parentName":"v","name":"w"}]},{"op":"remove","tracks":[{"name":"v"}]},{"op":"add","tracks":[{"name":"x","packaging":"cmaf"}]}]}"#;
    let old_delta = r#"{"deltaUpdate":true,"removeTracks":[{"name":"v"}],"addTracks":[{"name":"y","packaging":"loc"}]}"#;
    let seed = r#"{"version":1,"live":true,"tracks":[{"name":"v","kind":"video","codec":"avc1.42E01F","initData":"AAEC","width":640,"height":360,"bitrate":5},{"name":"a","kind":"audio","codec":"opus","sampleRate":48000,"channels":2}]}"#;
    vec![
        [b"\x00", whole.as_bytes(), b"\x00", more.as_bytes()].concat(),
        [b"\x01", seed.as_bytes()].concat(),
        [
            &b"\x02"[..],
            whole.as_bytes(),
            b"\x00",
            delta.as_bytes(),
            b"\x00",
            old_delta.as_bytes(),
        ]
        .concat(),
        [
            b"\x03",
            whole.as_bytes(),
            b"\x00",
            whole.replace("1000", "77").as_bytes(),
        ]
        .concat(),
    ]
}
