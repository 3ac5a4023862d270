//! HTTP/3 with WebTransport, either end: frames, settings, field sections, capsules.
//!
//! The machine is private to its room, so its source is included here rather than opened there.
//!
//! Input: settings (1), cut seed (2), then steps: kind and stream (1), length (2), bytes. Laws: cuts
//! change no effect; it closes once and says nothing after; a session opens once, is adopted into
//! only while it is open, and ends once; streams that wait and requests stay within their bounds.
//! Source: RFC 9114, 9204, 9220, 9297; draft-ietf-webtrans-http3.

use crate::http3::{Bounds, Effect, Http3};
use crate::input::{Cursor, cut};
use crate::wire_id::WireId;
use bytes::Bytes;
use mainstem_core::transport::{Direction, Side, Target};
use std::collections::BTreeSet;

const BOUNDS: Bounds = Bounds {
    field_section_bytes: 4096,
    early_streams: 4,
    requests: 4,
};

/// Steps that are read.
const STEPS_MAX: usize = 200;

/// Feeds the machine; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let is_client = input.byte() & 1 == 1;
    let seed = input.short();
    let whole = play(is_client, None, &mut input.clone());
    let parts = play(is_client, Some(seed), &mut input);
    if let Some(close @ Effect::Close { .. }) = whole.last() {
        // What came before the fault may have been answered by then.
        assert_eq!(parts.last(), Some(close), "when bytes are cut");
    } else {
        assert_eq!(whole, parts, "when bytes are cut");
    }
}

fn machine(is_client: bool) -> Http3 {
    if !is_client {
        return Http3::server(vec!["moqt-22".into(), "moqt-20".into()], BOUNDS);
    }
    let target = Target {
        authority: "h".into(),
        path: "/".into(),
    };
    Http3::client(vec!["moqt-20".into(), "moqt-22".into()], target, BOUNDS)
}

/// The host of one machine.
struct Stage {
    http3: Http3,
    side: Side,
    opened: BTreeSet<WireId>,
    /// Not read any more: adopted, stopped, or ended by the peer.
    silent: BTreeSet<WireId>,
    is_open: bool,
    is_over: bool,
    is_closed: bool,
    said: Vec<Effect>,
}

fn play(is_client: bool, cuts: Option<u16>, input: &mut Cursor<'_>) -> Vec<Effect> {
    let mut stage = Stage {
        http3: machine(is_client),
        side: if is_client {
            Side::Client
        } else {
            Side::Server
        },
        opened: BTreeSet::new(),
        silent: BTreeSet::new(),
        is_open: false,
        is_over: false,
        is_closed: false,
        said: Vec::new(),
    };
    let mut steps = 0;
    while !input.is_empty() && steps < STEPS_MAX && !stage.is_closed {
        steps += 1;
        stage.step(cuts, input);
    }
    stage.said
}

impl Stage {
    fn step(&mut self, cuts: Option<u16>, input: &mut Cursor<'_>) {
        let head = input.byte();
        let stream = WireId(u64::from(head & 0x1f));
        match head >> 5 {
            0..=3 => {
                let bytes = input.prefixed();
                let pieces = match cuts {
                    Some(seed) => cut(&bytes, seed),
                    None => vec![bytes],
                };
                for piece in pieces {
                    self.data(stream, piece);
                }
            }
            4 if self.can_come(stream) => {
                self.silent.insert(stream);
                self.http3.finished(stream);
            }
            5 if self.can_come(stream) => {
                self.silent.insert(stream);
                self.http3.reset(stream);
            }
            6 => self.http3.stopped(stream),
            _ => self.command(input),
        }
        self.drain();
    }

    /// Whether QUIC could bring more of the stream. A stream that waits is not read.
    fn can_come(&mut self, stream: WireId) -> bool {
        let of_peer = stream.opener() != self.side;
        if of_peer && self.opened.insert(stream) {
            self.http3.opened(stream);
        }
        let comes = of_peer || (stream == WireId(0) && self.opened.contains(&stream));
        comes && !self.silent.contains(&stream) && !self.http3.is_waiting(stream)
    }

    fn data(&mut self, stream: WireId, data: Bytes) {
        if self.can_come(stream) && !self.is_closed {
            self.http3.data(stream, data);
            self.drain();
        }
    }

    fn command(&mut self, input: &mut Cursor<'_>) {
        match input.byte() % 4 {
            0 => {
                let ended = self.http3.close_session(u64::from(input.byte()), "bye");
                assert!(ended.is_none() || self.is_open);
                self.is_over |= ended.is_some();
            }
            1 => {
                let data = Bytes::copy_from_slice(input.bytes(20));
                if let Some(wrapped) = self.http3.wrap_datagram(&data) {
                    assert_eq!(self.http3.unwrap_datagram(wrapped), Some(data));
                }
            }
            2 => drop(
                self.http3
                    .unwrap_datagram(Bytes::copy_from_slice(input.bytes(20))),
            ),
            _ => {
                let header = self.http3.stream_header(Direction::Unidirectional);
                assert_eq!(header.is_empty(), !self.is_open || self.is_over);
            }
        }
    }

    fn drain(&mut self) {
        if self.http3.wants_request() && self.opened.insert(WireId(0)) {
            self.http3.request_opened(WireId(0));
        }
        while let Some(effect) = self.http3.poll() {
            assert!(!self.is_closed, "after the close: {effect:?}");
            match &effect {
                Effect::Established { .. } => {
                    assert!(!self.is_open && !self.is_over);
                    self.is_open = true;
                }
                Effect::Adopt { stream, .. } => {
                    assert!(self.is_open, "{effect:?}");
                    self.silent.insert(*stream);
                }
                Effect::Ended { .. } | Effect::Failed { .. } => self.is_over = true,
                Effect::Stop { stream, .. } => drop(self.silent.insert(*stream)),
                Effect::Close { reason, .. } => {
                    assert!(!reason.is_empty());
                    self.is_closed = true;
                }
                Effect::Send { .. } | Effect::Reset { .. } | Effect::Refused(_) => {}
            }
            // How much of an adopted stream is its first depends on how much came.
            self.said.push(match effect {
                Effect::Adopt { stream, .. } => Effect::Adopt {
                    stream,
                    first: Bytes::new(),
                },
                effect => effect,
            });
        }
    }
}

/// What a client sends to open a session, and what a server answers, as steps.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut client = machine(true);
    let mut server = machine(false);
    let mut to_server = vec![0, 0, 1];
    let mut to_client = vec![1, 0, 1];
    put(WireId(2), &client.control_stream(), &mut to_server);
    put(WireId(3), &server.control_stream(), &mut to_client);
    server.opened(WireId(2));
    server.data(WireId(2), client.control_stream());
    client.opened(WireId(3));
    client.data(WireId(3), server.control_stream());
    client.request_opened(WireId(0));
    server.opened(WireId(0));
    while let Some(effect) = client.poll() {
        if let Effect::Send { bytes, .. } = effect {
            put(WireId(0), &bytes, &mut to_server);
            server.data(WireId(0), bytes);
        }
    }
    while let Some(effect) = server.poll() {
        if let Effect::Send { bytes, .. } = effect {
            put(WireId(0), &bytes, &mut to_client);
            client.data(WireId(0), bytes);
        }
    }
    for out in [&mut to_server, &mut to_client] {
        put(WireId(14), b"\x40\x54\x00early", out);
        put(WireId(15), b"\x40\x54\x00early", out);
        put(WireId(4), b"\x40\x41\x00late", out);
        out.extend([7 << 5, 1, b'd', 7 << 5, 3]);
    }
    if let Some((_, close)) = client.close_session(7, "bye") {
        put(WireId(0), &close, &mut to_server);
        put(WireId(0), &close, &mut to_client);
    }
    vec![to_server, to_client]
}

fn put(stream: WireId, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(stream.0 as u8);
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}
