//! RTMP: the server's machine with anything on its connection, and the values inside.
//!
//! Input of the server: settings (1), cut seed (2), then what the peer sends, after a handshake unless
//! the settings say otherwise. Laws: cuts change nothing; the machine closes once, with a reason, as
//! the last thing it says; nothing is written before the handshake; media is no more than what came;
//! what it writes is bounded by what it read; a closed machine has no deadline.
//!
//! Input of the values: kind, then the bytes. Laws: AMF0 that was read is written and reads the same;
//! packets of a tag lie inside it; no stream key is shown.

use crate::input::{Cursor, cut};
use bytes::{Bytes, BytesMut};
use mainstem_core::rtmp::amf0::{decode_all, encode_all};
use mainstem_core::rtmp::flv::{AudioBody, VideoBody, parse_audio, parse_video};
use mainstem_core::rtmp::server::{Event, Input, Output, RefusalCode, Session};
use mainstem_core::rtmp::{AmfLimits, Limits, target};
use mainstem_core::time::Instant;
use std::time::Duration;

/// C0, C1 and C2.
pub const HANDSHAKE_LEN: usize = 1 + 2 * 1536;

/// Feeds the server; see the module's description.
pub fn run_server(data: &[u8]) {
    let mut input = Cursor::new(data);
    let how = input.byte();
    let seed = input.short();
    let mut bytes = BytesMut::new();
    if how & 1 == 0 {
        bytes.resize(HANDSHAKE_LEN, 3);
    }
    bytes.extend_from_slice(input.rest());
    let bytes = bytes.freeze();
    let limits = if how & 2 == 0 {
        Limits::default()
    } else {
        tight()
    };
    let whole = play(limits, how, std::slice::from_ref(&bytes));
    check(&whole, bytes.len());
    let parts = play(limits, how, &cut(&bytes, seed.max(1)));
    // How much waits at a time depends on how much comes at a time.
    if how & 2 == 0 {
        check_alike(&whole, &parts);
    } else {
        check(&parts, bytes.len());
    }
}

fn tight() -> Limits {
    Limits {
        message_bytes_max: 2000,
        chunk_streams_max: 5,
        unfinished_bytes_max: 2500,
        pending_write_bytes_max: 4000,
        pending_outputs_max: 64,
        undecided_bytes_max: 500,
        message_streams_max: 3,
        tracks_max: 2,
        ..Limits::default()
    }
}

/// What a session says to these pieces; writes that follow each other are one.
fn play(limits: Limits, how: u8, pieces: &[Bytes]) -> Vec<Output> {
    let now = Instant::from_nanos(1_000_000_000);
    let mut session = Session::new(now, 7, limits);
    let mut outputs = Vec::new();
    for piece in pieces {
        session.handle(now, Input::Data(piece.clone()));
        drain(&mut session, now, how, &mut outputs);
        session.handle_timeout(now);
        assert!(session.poll().is_none(), "said by an early time-out");
    }
    if how & 4 == 0 {
        session.handle(now, Input::Closed);
    } else if let Some(at) = session.next_timeout() {
        let late = now.max(at) + Duration::from_millis(1);
        session.handle_timeout(late);
    }
    drain(&mut session, now, how, &mut outputs);
    assert_eq!(
        session.next_timeout(),
        None,
        "a closed machine waits for nothing"
    );
    session.handle(now, Input::Data(Bytes::from_static(&[3; 40])));
    assert_eq!(session.poll(), None, "said after the close");
    outputs
}

fn drain(session: &mut Session, now: Instant, how: u8, outputs: &mut Vec<Output>) {
    while let Some(output) = session.poll() {
        if let Output::Event(Event::Publish(request)) = &output {
            let _ = request.target();
            // It may have closed meanwhile: then there is nothing to answer.
            let _ = if how & 8 == 0 {
                session.accept_publish(now)
            } else {
                session.reject_publish(now, RefusalCode::Denied, "no")
            };
        }
        match (&output, outputs.last_mut()) {
            (Output::Write(more), Some(Output::Write(before))) => {
                let mut joined = BytesMut::from(&before[..]);
                joined.extend_from_slice(more);
                *before = joined.freeze();
            }
            _ => outputs.push(output),
        }
    }
}

/// The same outputs; what differs is shown without what is alike before it.
fn check_alike(whole: &[Output], parts: &[Output]) {
    for (index, (one, other)) in whole.iter().zip(parts).enumerate() {
        if let (Output::Write(one), Output::Write(other)) = (one, other) {
            let alike = one
                .iter()
                .zip(other)
                .take_while(|(one, other)| one == other)
                .count();
            let rest = (&one[alike..], &other[alike..]);
            assert!(rest.0 == rest.1, "output {index}, byte {alike}: {rest:?}");
        } else {
            // By their words: no number in metadata is not a number's equal.
            let said = [one, other].map(|output| format!("{output:?}"));
            assert_eq!(said[0], said[1], "output {index}, when bytes are cut");
        }
    }
    assert_eq!(
        whole.len(),
        parts.len(),
        "more is said one way than the other"
    );
}

fn is_close(output: &Output) -> bool {
    matches!(output, Output::Close { .. })
}

fn check(outputs: &[Output], given: usize) {
    let closes = outputs.iter().filter(|output| is_close(output)).count();
    assert!(
        closes == 1 && outputs.last().is_some_and(is_close),
        "{outputs:?}"
    );
    let (mut media, mut written) = (0, 0);
    for output in outputs {
        match output {
            Output::Event(Event::Video { data, .. } | Event::Audio { data, .. }) => {
                media += data.len();
            }
            Output::Write(bytes) => written += bytes.len(),
            Output::Event(_) => {}
            Output::Close { reason } => assert!(!reason.to_string().is_empty()),
        }
    }
    assert!(media <= given, "{media} bytes of media from {given}");
    assert!(written <= 5000 + 10 * given, "{written} bytes for {given}");
}

/// Reads values; see the module's description.
pub fn run_values(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.below(4) {
        0 => check_amf(input.rest()),
        1 => {
            let tag = Bytes::copy_from_slice(input.rest());
            let mut packets = Vec::new();
            let _ = parse_audio(tag.clone(), 4, &mut packets);
            let data = packets.iter().map(|packet| match &packet.body {
                AudioBody::Frame { data, .. } => data.len(),
                _ => 0,
            });
            assert!(data.sum::<usize>() <= tag.len());
        }
        2 => {
            let tag = Bytes::copy_from_slice(input.rest());
            let mut packets = Vec::new();
            let _ = parse_video(tag.clone(), 4, &mut packets);
            let data = packets.iter().map(|packet| match &packet.body {
                VideoBody::Frame { data, .. } => data.len(),
                _ => 0,
            });
            assert!(data.sum::<usize>() <= tag.len());
        }
        _ => check_target(&mut input),
    }
}

fn check_amf(bytes: &[u8]) {
    let limits = AmfLimits::default();
    let Ok(values) = decode_all(bytes, &limits) else {
        return;
    };
    let mut first = BytesMut::new();
    encode_all(&values, &mut first);
    let again = decode_all(&first, &limits).expect("what was written is read");
    let mut second = BytesMut::new();
    encode_all(&again, &mut second);
    // By their bytes, because no number is not a number's equal.
    assert_eq!(first, second, "{values:?}");
}

fn check_target(input: &mut Cursor<'_>) {
    let mut text = || {
        let len = input.below(60);
        String::from_utf8_lossy(input.bytes(len)).into_owned()
    };
    let (app, name, url) = (text(), text(), text());
    let Ok(target) = target::target(&app, &name, &url) else {
        return;
    };
    let key = target.stream_key.expose();
    assert!(!target.input.is_empty() && !key.is_empty());
    let shown = format!("{target:?}");
    // A short key may stand in the input's name by chance.
    assert!(
        key.len() < 6 || target.input.contains(key) || !shown.contains(key),
        "{shown}"
    );
}
