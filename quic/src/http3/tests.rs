//! The machine on its own: transcripts of both ends, cuts anywhere, rule breakers, mutations.

use super::*;
use crate::http3::qpack;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds {
    field_section_bytes: 4096,
    early_streams: 4,
    requests: 4,
};
const REQUEST: WireId = WireId(0);
const CONTROL: WireId = WireId(2);

fn server() -> Http3 {
    Http3::server(vec!["moqt-22".into(), "moqt-20".into()], BOUNDS)
}

fn client() -> Http3 {
    let target = Target {
        authority: "h".into(),
        path: "/".into(),
    };
    Http3::client(vec!["moqt-20".into(), "moqt-22".into()], target, BOUNDS)
}

fn effects(machine: &mut Http3) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll()).collect()
}

/// One stream's bytes, in pieces of this size.
fn feed(machine: &mut Http3, stream: WireId, bytes: &[u8], piece: usize) {
    machine.opened(stream);
    for piece in bytes.chunks(piece.max(1)) {
        machine.data(stream, Bytes::copy_from_slice(piece));
    }
}

fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    qpack::encode(fields, &mut section);
    frame(streams::HEADERS, &section)
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::write_frame(kind, payload, &mut out);
    out
}

fn connect(offers: &str) -> Vec<u8> {
    headers(&[
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "127.0.0.1:4433"),
        (":path", "/live"),
        (":protocol", "webtransport"),
        ("sec-webtransport-http3-draft02", "1"),
        ("origin", "http://127.0.0.1:4433"),
        ("wt-available-protocols", offers),
    ])
}

fn control() -> Vec<u8> {
    server().control_stream().to_vec()
}

/// A stream of the session on stream 0.
fn webtransport(kind: u64, session: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(kind, &mut out);
    write_varint(session, &mut out);
    out.extend_from_slice(data);
    out
}

fn close_capsule(code: u64, reason: &str) -> Vec<u8> {
    let mut capsule = Vec::new();
    capsule::encode_close(code, reason, &mut capsule);
    frame(streams::DATA, &capsule)
}

/// All streams of an ordinary client, as (stream, bytes).
fn conversation() -> Vec<(WireId, Vec<u8>)> {
    let mut request = connect("\"moqt-16\", \"moqt-20\"");
    request.extend(frame(0x21, b"grease"));
    request.extend(close_capsule(7, "bye"));
    vec![
        (CONTROL, control()),
        (WireId(6), vec![2, 0x20]),
        (WireId(10), vec![3, 0x40]),
        (
            WireId(14),
            webtransport(STREAM_WEBTRANSPORT, 0, b"early uni"),
        ),
        (REQUEST, request),
        (WireId(4), webtransport(FRAME_WEBTRANSPORT, 0, b"late bidi")),
        (WireId(8), headers(&[(":method", "GET"), (":path", "/")])),
    ]
}

#[test]
fn a_session_opens_adopts_its_streams_and_ends() {
    let mut machine = server();
    for (stream, bytes) in conversation() {
        feed(&mut machine, stream, &bytes, usize::MAX);
    }
    let kinds: Vec<String> = effects(&mut machine)
        .iter()
        .map(|effect| match effect {
            Effect::Send { stream, fin, .. } => format!("send {} fin {fin}", stream.0),
            Effect::Adopt { stream, first } => format!("adopt {} {first:?}", stream.0),
            Effect::Stop { stream, code } => format!("stop {} {:#x}", stream.0, code.0),
            Effect::Reset { stream, code } => format!("reset {} {:#x}", stream.0, code.0),
            Effect::Established { protocol, target } => format!("open {protocol} {target:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "send 0 fin false",
            "open moqt-20 127.0.0.1:4433/live",
            "adopt 14 b\"early uni\"",
            "send 0 fin true",
            "Ended { code: 7, reason: \"bye\" }",
            "stop 4 0x170d7b68",
            "reset 4 0x170d7b68",
            "send 8 fin true",
            "stop 8 0x100",
            "Refused(\"an HTTP request, which nothing here serves\")",
        ]
    );
}

#[test]
fn our_client_and_our_server_understand_each_other() {
    let (mut client, mut server) = (client(), server());
    feed(&mut client, WireId(3), &server.control_stream(), 1);
    feed(&mut server, CONTROL, &client.control_stream(), 1);
    assert!(client.wants_request());
    client.request_opened(REQUEST);
    let Some(Effect::Send { bytes, .. }) = client.poll() else {
        panic!("expected a request");
    };
    feed(&mut server, REQUEST, &bytes, 1);
    // A stream of the server that overtakes the response.
    client.opened(WireId(7));
    client.data(WireId(7), webtransport(STREAM_WEBTRANSPORT, 0, b"x").into());
    assert!(client.is_waiting(WireId(7)));
    let Some(Effect::Send { bytes, .. }) = server.poll() else {
        panic!("expected a response");
    };
    client.data(REQUEST, bytes);
    let opened = effects(&mut client);
    assert!(matches!(&opened[0], Effect::Established { protocol, .. } if protocol == "moqt-22"));
    assert!(matches!(
        &opened[1],
        Effect::Adopt {
            stream: WireId(7),
            ..
        }
    ));
    assert_eq!(
        client.stream_header(Direction::Unidirectional),
        &[0x40, 0x54, 0][..]
    );
    assert_eq!(
        server.stream_header(Direction::Bidirectional),
        &[0x40, 0x41, 0][..]
    );
    let wrapped = client.wrap_datagram(b"dg").unwrap();
    assert_eq!(server.unwrap_datagram(wrapped).unwrap(), "dg");
    assert_eq!(server.unwrap_datagram(Bytes::from_static(&[1, 0])), None);
}

#[test]
fn breaking_the_rules_closes_the_connection_with_their_code() {
    let code = |streams: &[(WireId, Vec<u8>)]| {
        let mut machine = server();
        for (stream, bytes) in streams {
            feed(&mut machine, *stream, bytes, 1);
        }
        effects(&mut machine)
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Close { code, .. } => Some(code),
                _ => None,
            })
    };
    let one = |stream: u64, bytes: Vec<u8>| code(&[(WireId(stream), bytes)]);
    assert_eq!(one(2, vec![0, 7, 0]), Some(Code::MISSING_SETTINGS));
    assert_eq!(
        one(2, [control(), control()[1..].to_vec()].concat()),
        Some(Code::FRAME_UNEXPECTED)
    );
    assert_eq!(
        one(2, [control(), frame(0, b"")].concat()),
        Some(Code::FRAME_UNEXPECTED)
    );
    assert_eq!(one(2, vec![0, 4, 2, 2, 0]), Some(Code::SETTINGS_ERROR));
    assert_eq!(
        one(2, vec![0, 4, 0x80, 0, 0x20, 0]),
        Some(Code::EXCESSIVE_LOAD)
    );
    assert_eq!(
        one(2, vec![1]),
        Some(Code::STREAM_CREATION_ERROR),
        "a push of a client"
    );
    assert_eq!(
        code(&[(CONTROL, control()), (WireId(6), vec![0])]),
        Some(Code::STREAM_CREATION_ERROR)
    );
    assert_eq!(
        one(2, vec![2, 0x3f]),
        Some(Code::QPACK_ENCODER_STREAM_ERROR)
    );
    assert_eq!(
        one(2, vec![3, 0x80]),
        Some(Code::QPACK_DECODER_STREAM_ERROR)
    );
    assert_eq!(one(0, frame(0, b"x")), Some(Code::FRAME_UNEXPECTED));
    assert_eq!(one(0, frame(4, b"")), Some(Code::FRAME_UNEXPECTED));
    assert_eq!(
        one(0, frame(1, &[1, 0])),
        Some(Code::QPACK_DECOMPRESSION_FAILED)
    );
    assert_eq!(
        one(2, webtransport(STREAM_WEBTRANSPORT, 2, b"")),
        Some(Code::ID_ERROR)
    );

    let mut machine = server();
    feed(&mut machine, CONTROL, &control(), 100);
    machine.finished(CONTROL);
    let critical = Code::CLOSED_CRITICAL_STREAM;
    assert!(
        matches!(&effects(&mut machine)[..], [Effect::Close { code, .. }] if *code == critical)
    );
    feed(&mut machine, REQUEST, &connect("\"moqt-22\""), 100);
    assert_eq!(effects(&mut machine), [], "nothing after a close");
}

#[test]
fn requests_that_are_no_session_are_answered_and_forgotten() {
    let mut machine = server();
    let mut statuses = Vec::new();
    let offers = ["", "\"moqt-14\"", "\"moqt-22\"", "\"moqt-22\""];
    for (index, offers) in offers.iter().enumerate() {
        let stream = WireId(4 * u64::try_from(index).unwrap());
        feed(&mut machine, stream, &connect(offers), 3);
        for effect in effects(&mut machine) {
            if let Effect::Send { bytes, .. } = effect {
                let (_, len) = read_varint(&bytes[1..]).unwrap();
                let fields = qpack::decode(&bytes[1 + len..], 4096).unwrap();
                statuses.push(message::parse_response(&fields).unwrap().0);
            }
        }
    }
    assert_eq!(statuses, [400, 400, 200, 429]);
    assert_eq!(machine.requests, 1, "the session's");
    assert_eq!(machine.streams.len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut machine = server();
    for index in 0..10 {
        let stream = WireId(2 + 4 * index);
        feed(
            &mut machine,
            stream,
            &webtransport(STREAM_WEBTRANSPORT, 0, b"x"),
            9,
        );
    }
    let rejected = Code::WT_BUFFERED_STREAM_REJECTED;
    let refused = effects(&mut machine);
    assert_eq!(refused.len(), 6);
    assert!(
        refused
            .iter()
            .all(|e| matches!(e, Effect::Stop { code, .. } if *code == rejected))
    );
    // Requests that never end are bounded too.
    for index in 0..10 {
        feed(&mut machine, WireId(4 * index), &[1, 0x44, 0, 0], 1);
    }
    assert_eq!(machine.requests, BOUNDS.requests);
    assert_eq!(
        machine.streams.len(),
        BOUNDS.requests + BOUNDS.early_streams
    );
    // A field section over the limit is not collected.
    let mut machine = server();
    feed(&mut machine, REQUEST, &[1, 0x80, 0, 0x20, 0, 9, 9], 1);
    assert_eq!(machine.streams.len(), 0);
}

#[test]
fn the_same_bytes_cut_anywhere_have_the_same_effects() {
    let run = |piece| {
        let mut machine = server();
        let mut data = Vec::new();
        for (stream, bytes) in conversation() {
            machine.opened(stream);
            for piece in bytes.chunks(piece) {
                machine.data(stream, Bytes::copy_from_slice(piece));
            }
        }
        // An adopted stream's first bytes depend on the cut: what follows is not the machine's.
        for effect in effects(&mut machine) {
            data.push(match effect {
                Effect::Adopt { stream, .. } => Effect::Adopt {
                    stream,
                    first: Bytes::new(),
                },
                other => other,
            });
        }
        data
    };
    let whole = run(usize::MAX);
    for piece in 1..200 {
        assert_eq!(run(piece), whole, "pieces of {piece}");
    }
}

/// Cheap, seeded dice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len() + 1);
            match self.roll(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), u8::try_from(self.roll(256)).unwrap()),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.roll(8),
                3 if at < bytes.len() => bytes[at] = u8::try_from(self.roll(256)).unwrap(),
                _ => {
                    let copy = bytes.get(at..).unwrap_or_default().to_vec();
                    bytes.extend_from_slice(&copy);
                    bytes.truncate(4096);
                }
            }
        }
    }
}

#[test]
fn mutated_streams_never_panic_nor_grow() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told to try harder"
    )]
    let count = std::env::var("MUTATIONS");
    let count = count.ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let mut dice = Dice(22);
    let (mut opened, mut closed) = (0, 0);
    for round in 0..count {
        let mut machine = if round % 4 == 0 { client() } else { server() };
        let mut streams = conversation();
        if round % 4 == 0 {
            feed(&mut machine, WireId(3), &control(), 100);
            machine.request_opened(REQUEST);
            let answer = [(":status", "200"), ("wt-protocol", "\"moqt-20\"")];
            streams = vec![
                (WireId(7), webtransport(STREAM_WEBTRANSPORT, 0, b"x")),
                (REQUEST, headers(&answer)),
            ];
        }
        let victim = dice.roll(streams.len());
        dice.mutate(&mut streams[victim].1);
        let piece = 1 + dice.roll(64);
        for (stream, bytes) in streams {
            if stream != REQUEST || round % 4 != 0 {
                machine.opened(stream);
            }
            for piece in bytes.chunks(piece) {
                if !machine.is_waiting(stream) {
                    machine.data(stream, Bytes::copy_from_slice(piece));
                }
            }
            match dice.roll(100) {
                0 => machine.finished(stream),
                1 => machine.reset(stream),
                _ => {}
            }
        }
        for effect in effects(&mut machine) {
            opened += usize::from(matches!(effect, Effect::Established { .. }));
            closed += usize::from(matches!(effect, Effect::Close { .. }));
        }
        assert!(machine.streams.len() <= 8 && machine.requests <= BOUNDS.requests);
    }
    // The mutations reach both sides of the rules.
    assert!(
        opened > count / 4 && closed > count / 50,
        "{opened} {closed}"
    );
}

proptest! {
    #[test]
    fn any_bytes_on_any_streams_are_survived(
        streams in proptest::collection::vec((0_u64..40, proptest::collection::vec(any::<u8>(), 0..300)), 0..20)
    ) {
        let mut machine = server();
        for (stream, bytes) in streams {
            feed(&mut machine, WireId(stream), &bytes, 7);
        }
        effects(&mut machine);
    }
}
