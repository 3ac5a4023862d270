//! The chunk stream reader and writer against each other, and against damage.

use super::reader::Reader;
use super::{ChunkError, Message};
use crate::rtmp::Limits;
use bytes::Bytes;
use proptest::prelude::*;

const CHUNK: usize = 128;

/// A type 0 header.
fn full(csid: u8, time: u32, len: usize, kind: u8) -> Vec<u8> {
    let mut out = vec![csid];
    out.extend(&time.min(0xff_ffff).to_be_bytes()[1..]);
    out.extend(&u32::try_from(len).unwrap().to_be_bytes()[1..]);
    out.push(kind);
    out.extend(1_u32.to_le_bytes());
    if time >= 0xff_ffff {
        out.extend(time.to_be_bytes());
    }
    out
}

fn read_all(bytes: &[u8], limits: &Limits) -> Result<Vec<Message>, ChunkError> {
    let mut reader = Reader::new(limits);
    let mut data = Bytes::copy_from_slice(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.push(&mut data)? {
        messages.push(message);
    }
    assert!(data.is_empty());
    Ok(messages)
}

fn read(bytes: &[u8]) -> Vec<Message> {
    read_all(bytes, &Limits::default()).unwrap()
}

fn times(bytes: &[u8]) -> Vec<u32> {
    read(bytes)
        .iter()
        .map(|message| message.timestamp)
        .collect()
}

/// What one encoder sends: messages on chunk streams of their own, chunks dealt in turn.
#[test]
fn audio_between_the_chunks_of_a_video_message_is_kept_apart() {
    let video: Vec<u8> = (0..=255).cycle().take(300).collect();
    let audio = [9_u8; 40];
    let mut bytes = full(6, 40, video.len(), 9);
    bytes.extend(&video[..128]);
    bytes.extend(full(4, 41, audio.len(), 8));
    bytes.extend(audio);
    bytes.push(0xc0 | 6);
    bytes.extend(&video[128..256]);
    bytes.push(0xc0 | 4);
    bytes.extend(audio);
    bytes.push(0xc0 | 6);
    bytes.extend(&video[256..]);
    let messages = read(&bytes);
    let summary: Vec<_> = messages.iter().map(|m| (m.kind, m.timestamp)).collect();
    assert_eq!(summary, [(8, 41), (8, 82), (9, 40)]);
    assert_eq!(messages[2].body, video);
}

#[test]
fn type_3_repeats_the_last_timestamp_field() {
    let mut bytes = full(4, 23, 1, 8);
    bytes.push(0);
    // After an absolute time of 23, and then twice after a delta of 20 (types 1 and 2).
    bytes.extend([0xc4, 0]);
    bytes.extend([0x44, 0, 0, 20, 0, 0, 1, 8, 0, 0xc4, 0]);
    bytes.extend([0x84, 0, 0, 10, 0, 0xc4, 0]);
    assert_eq!(times(&bytes), [23, 46, 66, 86, 96, 106]);
}

#[test]
fn extended_timestamps_are_taken_whether_type_3_repeats_them_or_not() {
    let time = 0x0123_4567_u32;
    let body: Vec<u8> = (100..=255).collect();
    for repeats in [true, false] {
        let mut bytes = full(4, time, body.len(), 9);
        bytes.extend(&body[..CHUNK]);
        bytes.push(0xc4);
        if repeats {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend(&body[CHUNK..]);
        // Another message of the same header: the same time again.
        bytes.push(0xc4);
        if repeats {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend(&body[..CHUNK]);
        bytes.push(0xc4);
        if repeats {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend(&body[CHUNK..]);
        let messages = read(&bytes);
        assert_eq!(messages.len(), 2, "{repeats}");
        for message in messages {
            assert_eq!((message.timestamp, &message.body[..]), (time, &body[..]));
        }
    }
}

#[test]
fn every_form_of_chunk_stream_id_is_read() {
    for basic in [
        vec![2],
        vec![63],
        vec![0, 0],
        vec![0, 255],
        vec![1, 255, 255],
    ] {
        let mut bytes = basic.clone();
        bytes.extend(&full(0, 5, 2, 8)[1..]);
        bytes.extend([7, 7]);
        assert_eq!(times(&bytes), [5], "{basic:?}");
    }
}

#[test]
fn deltas_wrap_and_empty_messages_are_messages() {
    let mut bytes = full(4, 0xffff_fff0, 0, 8);
    bytes.extend([0x84, 0, 0, 0x20]);
    assert_eq!(times(&bytes), [0xffff_fff0, 0x10]);
}

#[test]
fn faults_and_limits_are_named() {
    let limits = Limits {
        message_bytes_max: 1000,
        chunk_streams_max: 2,
        unfinished_bytes_max: 150,
        chunk_size_max: 4096,
        ..Limits::default()
    };
    let started = |csid| [full(csid, 0, 200, 9), vec![0; CHUNK]].concat();
    let small = |csid| [full(csid, 0, 1, 9), vec![0]].concat();
    for (bytes, error) in [
        (vec![0xc4], ChunkError::HeaderMissing),
        (vec![0x84, 0, 0, 0], ChunkError::HeaderMissing),
        (
            [started(4), started(4)].concat(),
            ChunkError::MessageInterrupted,
        ),
        (
            [small(4), small(5), small(6)].concat(),
            ChunkError::ChunkStreams,
        ),
        (full(4, 0, 1001, 9), ChunkError::MessageLength),
        (
            [started(4), started(5)].concat(),
            ChunkError::UnfinishedBytes,
        ),
    ] {
        assert_eq!(read_all(&bytes, &limits), Err(error));
    }
    let mut reader = Reader::new(&limits);
    for size in [0, 4097, 0x8000_0000] {
        assert_eq!(reader.set_chunk_size(size), Err(ChunkError::ChunkSize));
    }
    assert_eq!(reader.set_chunk_size(4096), Ok(()));
}

#[test]
fn an_aborted_message_is_forgotten_with_its_bytes() {
    let limits = Limits {
        unfinished_bytes_max: 200,
        ..Limits::default()
    };
    let mut reader = Reader::new(&limits);
    for _ in 0..3 {
        let mut data = Bytes::from([full(4, 0, 200, 9), vec![0; CHUNK]].concat());
        assert_eq!(reader.push(&mut data), Ok(None));
        reader.abort(4);
        reader.abort(77);
    }
}

/// Chunks of each message, in order.
fn cut(csid: u8, time: u32, body: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    for (index, part) in body.chunks(CHUNK).enumerate() {
        let mut chunk = if index == 0 {
            full(csid, time, body.len(), 9)
        } else {
            let mut head = vec![0xc0 | csid];
            if time >= 0xff_ffff {
                head.extend(time.to_be_bytes());
            }
            head
        };
        chunk.extend(part);
        chunks.push(chunk);
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_interleaving_and_cuts(
        bodies in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 1..600)), 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 64),
        cuts in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let mut queues: Vec<_> = (3_u8..).zip(&bodies)
            .map(|(csid, (time, body))| cut(csid, *time, body).into_iter())
            .collect();
        let mut bytes = Vec::new();
        let mut order = order.iter().cycle();
        while !queues.is_empty() {
            let which = order.next().unwrap().index(queues.len());
            match queues[which].next() {
                Some(chunk) => bytes.extend(chunk),
                None => drop(queues.remove(which)),
            }
        }
        let mut reader = Reader::new(&Limits::default());
        let mut got = Vec::new();
        let mut rest = Bytes::from(bytes);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let mut part = rest.split_to((*cuts.next().unwrap()).min(rest.len()));
            while let Some(message) = reader.push(&mut part).unwrap() {
                got.push((message.timestamp, message.body.to_vec()));
            }
        }
        got.sort();
        let mut want = bodies.clone();
        want.sort();
        prop_assert_eq!(got, want);
    }
}
