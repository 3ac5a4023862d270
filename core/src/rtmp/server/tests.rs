//! A whole publishing session, step by step, and the ways in which it can be refused.

use super::*;
use crate::rtmp::ChunkError;
use crate::rtmp::amf0::{self, Value};
use crate::rtmp::chunk::kind;
use crate::rtmp::flv::{FourCc, VideoCodec};
use std::time::Duration;

const NOW: Instant = Instant::ZERO;

/// A client that has a session and says things to it.
struct Peer {
    session: Session,
    writer: Writer,
    answers: Reader,
    handshake_left: usize,
}

impl Peer {
    /// After the handshake.
    fn new(limits: Limits) -> Self {
        let mut peer = Self {
            session: Session::new(NOW, 1, limits),
            writer: Writer::new(),
            answers: Reader::new(&Limits::default()),
            handshake_left: 1 + 2 * 1536,
        };
        peer.send(&[&[3][..], &[0; 2 * 1536]].concat());
        assert_eq!(peer.said(), [""; 0]);
        peer
    }

    fn connected() -> Self {
        let mut peer = Self::new(Limits::default());
        peer.connect(vec![("app".into(), "live/lv_1".into())]);
        peer.said();
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        peer.command(1, "publish", &[Value::Null, "sk".into()]);
        peer.said();
        peer.session.accept_publish(NOW).unwrap();
        peer.said();
        peer
    }

    fn send(&mut self, bytes: &[u8]) {
        let data = Bytes::copy_from_slice(bytes);
        self.session.handle(NOW, Input::Data(data));
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        self.message_on(1, kind, body);
    }

    fn message_on(&mut self, stream: u32, kind: u8, body: &[u8]) {
        let mut out = BytesMut::new();
        self.writer.message(3, kind, stream, body, &mut out);
        self.send(&out);
    }

    fn command(&mut self, stream: u32, name: &str, arguments: &[Value]) {
        let body = amf(&[&[name.into(), 7.0.into()], arguments].concat());
        self.message_on(stream, kind::COMMAND_AMF0, &body);
    }

    fn connect(&mut self, object: amf0::Properties) {
        self.command(0, "connect", &[Value::Object(object)]);
    }

    /// Everything put out since the last call, a line each.
    fn said(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Event(event) => lines.push(format!("event {event:?}")),
                Output::Close { reason } => lines.push(format!("close: {reason}")),
                Output::Write(mut bytes) => {
                    let skipped = self.handshake_left.min(bytes.len());
                    bytes.advance(skipped);
                    self.handshake_left -= skipped;
                    while let Some(message) = self.answers.push(&mut bytes).unwrap() {
                        lines.push(self.read_answer(&message));
                    }
                }
            }
        }
        lines
    }

    fn read_answer(&mut self, message: &crate::rtmp::chunk::Message) -> String {
        match message.kind {
            kind::COMMAND_AMF0 => {
                let values = amf0::decode_all(&message.body, &Limits::default().amf).unwrap();
                format!("command on {}: {values:?}", message.stream)
            }
            kind::SET_CHUNK_SIZE => {
                let size = message.body.clone().get_u32();
                self.answers.set_chunk_size(size).unwrap();
                format!("chunk size {size}")
            }
            other => format!("type {other}: {:?}", &message.body[..]),
        }
    }
}

fn amf(values: &[Value]) -> BytesMut {
    let mut out = BytesMut::new();
    amf0::encode_all(values, &mut out);
    out
}

fn closes(lines: &[String], reason: CloseReason) -> bool {
    lines.last() == Some(&format!("close: {reason}"))
}

#[test]
fn a_publish_from_connect_to_delete_stream() {
    let mut peer = Peer::new(Limits::default());
    let mut lines = Vec::new();
    peer.connect(vec![
        ("app".into(), "live/lv_1".into()),
        ("tcUrl".into(), "rtmp://h/live/lv_1".into()),
        ("flashVer".into(), "obs".into()),
        ("fourCcList".into(), Value::StrictArray(vec!["*".into()])),
    ]);
    let name = [Value::Null, "sk_secret".into()];
    for command in ["releaseStream", "FCPublish", "_checkbw", "somethingNew"] {
        peer.command(0, command, &name);
    }
    peer.command(0, "createStream", &[Value::Null]);
    peer.command(1, "publish", &name);
    lines.extend(peer.said());
    lines.push("-- accepted".into());
    peer.session.accept_publish(NOW).unwrap();
    let metadata = Value::EcmaArray(vec![("width".into(), 160.0.into())]);
    let data = amf(&["@setDataFrame".into(), "onMetaData".into(), metadata]);
    peer.message(kind::DATA_AMF0, &data);
    peer.message(kind::VIDEO, b"\x17\0\0\0\0cfg");
    peer.message(kind::VIDEO, b"\x17\x01\0\0\x50nal");
    peer.message(kind::AUDIO, b"\xaf\x01raw");
    peer.command(0, "FCUnpublish", &name);
    peer.command(0, "deleteStream", &[Value::Null, 1.0.into()]);
    peer.session.handle(NOW, Input::Closed);
    lines.extend(peer.said());
    let transcript = lines.join("\n");
    assert!(!transcript.contains("sk_secret"));
    insta::assert_snapshot!(transcript);
}

#[test]
fn commands_in_amf3_messages_are_read_after_their_zero_byte() {
    let mut peer = Peer::new(Limits::default());
    let object = Value::Object(vec![("app".into(), "live".into())]);
    let body = amf(&["connect".into(), 1.0.into(), object]);
    peer.message_on(0, kind::COMMAND_AMF3, &[&[0], &body[..]].concat());
    assert!(
        peer.said()
            .last()
            .unwrap()
            .contains("NetConnection.Connect.Success")
    );
}

#[test]
fn a_refused_publish_is_told_why_and_closed() {
    let mut peer = Peer::connected();
    peer.command(1, "publish", &[Value::Null, "sk".into()]);
    peer.said();
    let text = "auth_failed: stream key is not valid";
    peer.session
        .reject_publish(NOW, RefusalCode::Denied, text)
        .unwrap();
    let lines = peer.said();
    assert!(lines[0].contains("NetStream.Publish.Denied") && lines[0].contains(text));
    assert!(closes(&lines, CloseReason::Refused));
    assert_eq!(
        peer.session.accept_publish(NOW),
        Err(CommandError::NothingToAnswer)
    );
    assert_eq!(peer.session.next_timeout(), None);
    peer.message(kind::VIDEO, b"\x17\0\0\0\0cfg");
    peer.session.handle(NOW, Input::Closed);
    assert_eq!(peer.said(), [""; 0]);
}

#[test]
fn what_comes_before_the_decision_waits_for_it() {
    let mut peer = Peer::connected();
    peer.command(1, "publish", &[Value::Null, "sk".into()]);
    peer.message(kind::VIDEO, b"\x17\0\0\0\0cfg");
    assert_eq!(peer.said().len(), 1);
    peer.session.accept_publish(NOW).unwrap();
    let lines = peer.said();
    assert!(lines[1].contains("NetStream.Publish.Start"), "{lines:?}");
    assert!(lines[2].contains("VideoConfig"), "{lines:?}");

    let mut peer = Peer::connected();
    peer.command(1, "publish", &[Value::Null, "sk".into()]);
    peer.message(kind::VIDEO, &vec![0; 1 << 20]);
    assert!(closes(&peer.said(), CloseReason::UndecidedBytes));
}

#[test]
fn the_owner_closes_with_a_reason_that_the_encoder_sees() {
    let mut peer = Peer::publishing();
    let reason = "auth_failed: the stream key was rotated";
    peer.session.close(NOW, reason).unwrap();
    let lines = peer.said();
    assert!(lines[0].contains(reason) && lines[0].contains("NetStream.Failed"));
    assert_eq!(lines[1], "event EndOfStream { clean: false }");
    assert!(closes(&lines, CloseReason::Owner(reason)));
    assert_eq!(peer.session.close(NOW, reason), Err(CommandError::Closed));
}

#[test]
fn playback_and_a_second_publish_are_refused_in_clear_words() {
    let mut peer = Peer::connected();
    peer.command(1, "play", &[Value::Null, "sk".into()]);
    let lines = peer.said();
    assert!(lines[0].contains("NetStream.Play.StreamNotFound"));
    assert!(closes(&lines, CloseReason::Play));

    let mut peer = Peer::publishing();
    peer.command(2, "publish", &[Value::Null, "sk".into()]);
    let lines = peer.said();
    assert!(lines[0].contains("NetStream.Publish.BadName"));
    assert!(closes(&lines, CloseReason::SecondPublish));
}

#[test]
fn faults_close_with_their_reason() {
    type Say = fn(&mut Peer);
    let cases: [(Say, CloseReason); 8] = [
        (|p| p.connect(vec![]), CloseReason::CommandOrder),
        (
            |p| p.message(kind::SET_CHUNK_SIZE, &[0]),
            CloseReason::Control,
        ),
        (
            |p| p.message(kind::SET_CHUNK_SIZE, &[0; 4]),
            CloseReason::Chunk(ChunkError::ChunkSize),
        ),
        (
            |p| p.message(kind::COMMAND_AMF0, &[0x11]),
            CloseReason::Amf(amf0::AmfError::Marker),
        ),
        (
            |p| p.message(kind::COMMAND_AMF0, &[5]),
            CloseReason::Command,
        ),
        (|p| p.command(1, "publish", &[]), CloseReason::Command),
        (
            |p| (0..17).for_each(|_| p.command(0, "createStream", &[])),
            CloseReason::MessageStreams,
        ),
        (
            |p| p.send(&[0xff]),
            CloseReason::Chunk(ChunkError::HeaderMissing),
        ),
    ];
    for (say, reason) in cases {
        let mut peer = Peer::connected();
        say(&mut peer);
        assert!(closes(&peer.said(), reason), "{reason:?}");
    }
    let mut peer = Peer::new(Limits::default());
    peer.command(0, "createStream", &[]);
    assert!(closes(&peer.said(), CloseReason::CommandOrder));

    let mut peer = Peer::publishing();
    peer.message(kind::VIDEO, b"\x17");
    let lines = peer.said();
    assert_eq!(lines[0], "event EndOfStream { clean: false }");
    assert!(closes(
        &lines,
        CloseReason::Flv(crate::rtmp::flv::FlvError::Truncated)
    ));

    let mut peer = Peer::publishing();
    peer.message(kind::AGGREGATE, &[9, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0]);
    assert!(closes(&peer.said(), CloseReason::Aggregate));
}

#[test]
fn undrained_answers_are_bounded() {
    let mut peer = Peer::connected();
    let mut pings = BytesMut::new();
    for _ in 0..20_000 {
        let body = [0, 6, 1, 2, 3, 4];
        peer.writer
            .message(2, kind::USER_CONTROL, 0, &body, &mut pings);
    }
    peer.send(&pings);
    let lines = peer.said();
    assert_eq!(lines[0], "type 4: [0, 7, 1, 2, 3, 4]");
    assert!(closes(&lines, CloseReason::PendingOutput));
}

#[test]
fn acknowledgements_come_at_the_byte_where_they_are_due() {
    for cut in [1, 100, 100_000] {
        let mut peer = Peer::connected();
        peer.message_on(0, kind::WINDOW_ACK_SIZE, &5000_u32.to_be_bytes());
        let mut out = BytesMut::new();
        for _ in 0..20 {
            peer.writer.message(3, kind::VIDEO, 1, &[0; 900], &mut out);
        }
        let sent = out.len();
        for part in out.chunks(cut) {
            peer.send(part);
        }
        let acknowledged: Vec<u32> = peer
            .said()
            .iter()
            .map(|line| {
                let bytes: Vec<u8> = line
                    .trim_start_matches("type 3: [")
                    .trim_end_matches(']')
                    .split(", ")
                    .map(|byte| byte.parse().unwrap())
                    .collect();
                u32::from_be_bytes(bytes.try_into().unwrap())
            })
            .collect();
        assert_eq!(acknowledged, [5000, 10_000, 15_000], "{cut} {sent}");
    }
}

#[test]
fn deadlines_close_and_name_themselves() {
    let at = |secs| NOW + Duration::from_secs(secs);
    let mut peer = Peer::connected();
    peer.session.handle(at(9), Input::Data(Bytes::new()));
    assert_eq!(peer.session.next_timeout(), Some(at(10)));
    peer.session.handle_timeout(at(9));
    assert_eq!(peer.said(), [""; 0]);
    peer.session.handle_timeout(at(10));
    assert!(closes(&peer.said(), CloseReason::HandshakeTimeout));

    let mut peer = Peer::publishing();
    peer.session.handle(at(20), Input::Data(Bytes::new()));
    assert_eq!(peer.session.next_timeout(), Some(at(50)));
    peer.session.handle_timeout(at(50));
    let lines = peer.said();
    assert_eq!(lines[0], "event EndOfStream { clean: false }");
    assert!(closes(&lines, CloseReason::IdleTimeout));
}

#[test]
fn a_codec_that_is_not_taken_in_is_said_once() {
    let mut peer = Peer::publishing();
    for _ in 0..3 {
        peer.message(kind::VIDEO, b"\x22flash");
        peer.message(kind::AUDIO, b"\x2fmp3");
    }
    let event = |kind, codec| {
        let event = Event::Unsupported {
            kind,
            track: 0,
            codec,
        };
        format!("event {event:?}")
    };
    assert_eq!(
        peer.said(),
        [
            event(MediaKind::Video, FourCc(*b"h263")),
            event(MediaKind::Audio, FourCc(*b".mp3"))
        ]
    );
}

#[test]
fn tags_of_an_aggregate_keep_their_distance_in_time() {
    let mut peer = Peer::publishing();
    let mut body = Vec::new();
    for time in [1000_u16, 1040] {
        body.extend([9, 0, 0, 6, 0]);
        body.extend(time.to_be_bytes());
        body.extend([0, 0, 0, 0]);
        body.extend(b"\x27\x01\0\0\0n");
        body.extend([0, 0, 0, 17]);
    }
    peer.message(kind::AGGREGATE, &body);
    let want = [0, 40].map(|dts_ms| {
        let event = Event::Video {
            track: 0,
            codec: VideoCodec::Avc,
            dts_ms,
            cts_ms: 0,
            key: false,
            data: Bytes::from_static(b"n"),
        };
        format!("event {event:?}")
    });
    assert_eq!(peer.said(), want);
}

#[test]
fn data_messages_that_cannot_be_read_are_dropped() {
    let mut peer = Peer::publishing();
    peer.message(kind::DATA_AMF0, &[0x11, 1, 2]);
    peer.message(kind::DATA_AMF0, &amf(&["onTextData".into(), Value::Null]));
    let object = Value::Object(vec![("encoder".into(), "x".into())]);
    let body = amf(&["onMetaData".into(), object]);
    peer.message(kind::DATA_AMF3, &[&[0], &body[..]].concat());
    let lines = peer.said();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("encoder"));
}
