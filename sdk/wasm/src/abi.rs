//! The exported functions. The one module that says `unsafe`, for their names.
//!
//! All state stands behind one lock, which is never contended: a module of WebAssembly without threads
//! runs one call at a time. JavaScript writes into the input buffer that [`ms_input`] gives it and reads
//! the record that [`ms_output`] points to; both may move with every call.
//!
//! Numbers are as [`crate`] says. Functions that take `len` take that many bytes of the input buffer.
//! Errors: functions that can fail return 1 and leave a reason, as text, at [`ms_output`] with its
//! length from [`ms_output_len`]; calls before `ms_viewer` or `ms_publisher` do nothing.

#![expect(
    unsafe_code,
    reason = "names without mangling are how a module exports"
)]

use crate::machine::{Machine, closed_input, stream_event};
use crate::out::{Kind, from_number, stream_of, to_number};
use crate::publisher::{Encoded, Publisher, codec_of, source_of};
use crate::viewer::Viewer;
use crate::wish::Wish;
use bytes::Bytes;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{Carrier, Input, Opened, SessionId, Side, Target};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes of one input.
pub const INPUT_BYTES_MAX: u32 = 16 << 20;

#[derive(Default)]
struct State {
    input: Vec<u8>,
    output: Vec<u8>,
    /// What the record at `output` points to.
    alive: Vec<Bytes>,
    machine: Option<Machine>,
}

static STATE: Mutex<State> = Mutex::new(State {
    input: Vec::new(),
    output: Vec::new(),
    alive: Vec::new(),
    machine: None,
});

/// Address of an input buffer of `len` bytes; 0 when that is too much.
#[unsafe(no_mangle)]
pub extern "C" fn ms_input(len: u32) -> *mut u8 {
    if len > INPUT_BYTES_MAX {
        return std::ptr::null_mut();
    }
    let mut state = state();
    state.input.resize(len as usize, 0);
    state.input.as_mut_ptr()
}

/// Address of the last record, or of the reason of the last error.
#[unsafe(no_mangle)]
pub extern "C" fn ms_output() -> *const u8 {
    state().output.as_ptr()
}

/// Bytes at [`ms_output`].
#[unsafe(no_mangle)]
pub extern "C" fn ms_output_len() -> u32 {
    u32::try_from(state().output.len()).unwrap_or(u32::MAX)
}

/// Becomes a viewer, by the configuration in the input buffer.
#[unsafe(no_mangle)]
pub extern "C" fn ms_viewer(len: u32) -> u32 {
    let mut state = state();
    let config = state.take_input(len);
    let viewer = Viewer::new(&config);
    state.become_machine(viewer.map(|viewer| Machine::Viewer(Box::new(viewer))))
}

/// Becomes a publisher, by the configuration in the input buffer.
#[unsafe(no_mangle)]
pub extern "C" fn ms_publisher(now_ms: f64, len: u32) -> u32 {
    let mut state = state();
    let config = state.take_input(len);
    let publisher = Publisher::new(instant(now_ms), &config);
    state.become_machine(publisher.map(|publisher| Machine::Publisher(Box::new(publisher))))
}

/// A session is open; JSON with `protocol`, `authority` and `path`.
#[unsafe(no_mangle)]
pub extern "C" fn ms_opened(now_ms: f64, session: u32, len: u32) -> u32 {
    let mut state = state();
    let json = state.take_input(len);
    let wish = match Wish::parse(&json) {
        Ok(wish) => wish,
        Err(reason) => return state.fail(&reason),
    };
    let text = |key: &str| wish.text(key).unwrap_or_default().to_owned();
    let input = Input::Opened {
        session: SessionId(session.into()),
        opened: Opened {
            side: Side::Client,
            carrier: Carrier::WebTransport,
            protocol: text("protocol"),
            target: Some(Target {
                authority: text("authority"),
                path: text("path"),
            }),
            // A page is not told its peer's address, and nothing of a client's machine asks for it.
            remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        },
    };
    state.handle(now_ms, input);
    0
}

/// Something happened on a stream: 0 data, 1 finished, 2 reset, 3 stopped, 4 writable.
#[unsafe(no_mangle)]
pub extern "C" fn ms_stream(
    now_ms: f64,
    session: u32,
    stream: u32,
    event: u32,
    code: f64,
    len: u32,
) {
    let mut state = state();
    let data = state.take_input(len);
    if let Some(event) = stream_event(event, from_number(code), data) {
        let input = Input::Stream {
            session: SessionId(session.into()),
            stream: stream_of(stream),
            event,
        };
        state.handle(now_ms, input);
    }
}

/// A datagram arrived.
#[unsafe(no_mangle)]
pub extern "C" fn ms_datagram(now_ms: f64, session: u32, len: u32) {
    let mut state = state();
    let data = state.take_input(len);
    let session = SessionId(session.into());
    state.handle(now_ms, Input::Datagram { session, data });
}

/// A session is over, or never came about: by nobody (0), this end (1), the peer (2); a reason.
#[unsafe(no_mangle)]
pub extern "C" fn ms_closed(now_ms: f64, session: u32, by: u32, code: f64, len: u32) {
    let mut state = state();
    let reason = String::from_utf8_lossy(&state.take_input(len)).into_owned();
    let input = closed_input(SessionId(session.into()), by, from_number(code), reason);
    state.handle(now_ms, input);
}

/// The time that [`ms_next_timeout`] named has come.
#[unsafe(no_mangle)]
pub extern "C" fn ms_timeout(now_ms: f64) {
    if let Some(machine) = &mut state().machine {
        machine.handle_timeout(instant(now_ms));
    }
}

/// When [`ms_timeout`] is wanted, in milliseconds; negative when it is not.
#[unsafe(no_mangle)]
pub extern "C" fn ms_next_timeout() -> f64 {
    let state = state();
    let at = state.machine.as_ref().and_then(Machine::next_timeout);
    at.map_or(-1.0, |at| to_number(at.as_nanos()) / 1e6)
}

/// The next thing to do: its kind, 0 for nothing; the record is at [`ms_output`].
#[unsafe(no_mangle)]
pub extern "C" fn ms_poll() -> u32 {
    let state = &mut *state();
    let Some(out) = state.machine.as_mut().and_then(Machine::poll) else {
        state.alive.clear();
        return Kind::None as u32;
    };
    out.encode(&mut state.output);
    state.alive = out.pieces;
    out.kind as u32
}

/// A wish, in JSON with a `type`.
#[unsafe(no_mangle)]
pub extern "C" fn ms_command(now_ms: f64, len: u32) -> u32 {
    let mut state = state();
    let json = state.take_input(len);
    let done = match &mut state.machine {
        Some(machine) => machine.command(instant(now_ms), &json),
        None => Ok(()),
    };
    match done {
        Ok(()) => 0,
        Err(reason) => state.fail(&reason),
    }
}

/// An encoder's configuration record: kind 0 video, 1 audio; codec 0 H.264, 1 Opus, 2 AAC, 3 AV1,
/// 4 VP9, 5 HEVC.
#[unsafe(no_mangle)]
pub extern "C" fn ms_config(
    now_ms: f64,
    unix_us: f64,
    kind: u32,
    number: u32,
    codec: u32,
    len: u32,
) -> u32 {
    let mut state = state();
    let record = state.take_input(len);
    let Some(codec) = codec_of(codec, record) else {
        return state.fail("the codec's configuration record cannot be read");
    };
    let time = UnixTime::from_millis(from_number(unix_us) / 1000);
    if let Some(publisher) = state.publisher() {
        publisher.configure(instant(now_ms), time, source_of(kind, number), codec);
    }
    0
}

/// What an encoder made. `duration_us` 0: it does not say.
#[unsafe(no_mangle)]
pub extern "C" fn ms_frame(
    now_ms: f64,
    unix_us: f64,
    kind: u32,
    number: u32,
    is_key: u32,
    time_us: f64,
    duration_us: f64,
    len: u32,
) {
    let mut state = state();
    let data = state.take_input(len);
    let duration = u32::try_from(from_number(duration_us)).ok();
    let encoded = Encoded {
        source: source_of(kind, number),
        is_key: is_key != 0,
        time_us: signed(time_us),
        duration_us: duration.filter(|duration| *duration > 0),
        unix_us: from_number(unix_us),
        data,
    };
    if let Some(publisher) = state.publisher() {
        publisher.frame(instant(now_ms), encoded);
    }
}

/// Bytes of fragmented MP4.
#[unsafe(no_mangle)]
pub extern "C" fn ms_recorded(now_ms: f64, unix_us: f64, len: u32) {
    let mut state = state();
    let bytes = state.take_input(len);
    if let Some(publisher) = state.publisher() {
        publisher.recorded(instant(now_ms), from_number(unix_us), bytes);
    }
}

/// Subscriptions of the relay to what is published.
#[unsafe(no_mangle)]
pub extern "C" fn ms_subscriptions() -> u32 {
    let count = state().publisher().map_or(0, |of| of.subscriptions());
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl State {
    /// The first `len` bytes of the input buffer, which is given away: no copy.
    fn take_input(&mut self, len: u32) -> Bytes {
        let mut input = std::mem::take(&mut self.input);
        input.truncate(len as usize);
        Bytes::from(input)
    }

    fn become_machine(&mut self, machine: Result<Machine, String>) -> u32 {
        match machine {
            Ok(machine) => {
                self.machine = Some(machine);
                0
            }
            Err(reason) => self.fail(&reason),
        }
    }

    fn handle(&mut self, now_ms: f64, input: Input) {
        if let Some(machine) = &mut self.machine {
            machine.handle(instant(now_ms), input);
        }
    }

    fn publisher(&mut self) -> Option<&mut Publisher> {
        self.machine.as_mut().and_then(Machine::publisher)
    }

    fn fail(&mut self, reason: &str) -> u32 {
        self.output.clear();
        self.output.extend_from_slice(reason.as_bytes());
        1
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn instant(now_ms: f64) -> Instant {
    Instant::from_nanos(from_number(now_ms * 1e6))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from f64 saturates, which is what is wanted"
)]
fn signed(value: f64) -> i64 {
    value as i64
}
