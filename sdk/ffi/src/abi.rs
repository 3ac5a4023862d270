//! The exported functions: all that is unsafe stands here.
//!
//! Each function reads what C gave it into values of Rust and calls [`crate::tracks`]; a panic is
//! caught, and answered like a wrong handle. Handles are numbers and are never dereferenced. What is
//! believed of a caller, as the header asks for it:
//!
//! - a string is NULL or ends with a zero byte, and stays as it is during the call;
//! - `data` is NULL or points to `len` readable bytes during the call;
//! - a callback is NULL or a function of the type that the header names, and may be called with its
//!   `user` from another thread, until the close function of its owner has returned.
//!
//! Strings that are not UTF-8 are refused like wrong handles. NULL strings are empty.

#![expect(
    unsafe_code,
    reason = "reads what C hands over, and calls back; each place says why it may"
)]
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "the callers are C, where everything is unsafe; the module says what is believed"
)]

use crate::tracks::{self, Kind, LARGEST_OBJECT};
use bytes::Bytes;
use mainstem_client::Frame;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `void (*)(void *user, int32_t state)`
pub type StateCallback = Option<unsafe extern "C" fn(*mut c_void, i32)>;
/// `void (*)(void *user, uint64_t timestamp_us, const uint8_t *data, size_t len)`
pub type FrameCallback = Option<unsafe extern "C" fn(*mut c_void, u64, *const u8, usize)>;
/// `void (*)(void *user, uint64_t timestamp_us, uint8_t priority, const uint8_t *data, size_t len)`
pub type ObjectCallback = Option<unsafe extern "C" fn(*mut c_void, u64, u8, *const u8, usize)>;
/// `void (*)(void *user, uint64_t timestamp_us, int32_t is_keyframe, const uint8_t *data, size_t len)`
pub type VideoCallback = Option<unsafe extern "C" fn(*mut c_void, u64, i32, *const u8, usize)>;
/// A handle, as C sees it.
pub type Handle = *mut c_void;

/// What a callback is given back.
#[derive(Clone, Copy)]
struct User(*mut c_void);

// SAFETY: it is never looked into here, and the header asks that callbacks may be called with it from
// another thread.
unsafe impl Send for User {}

impl User {
    /// By a method, so that a closure takes the whole of it along.
    fn pointer(&self) -> *mut c_void {
        self.0
    }
}

/// A string of C; empty for NULL.
fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return Some("");
    }
    // SAFETY: not NULL, and the caller's string ends with a zero byte and outlives the call; the
    // result is used during the call only.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().ok()
}

/// A copy of bytes of C; empty for NULL.
fn bytes(data: *const u8, len: usize) -> Bytes {
    if data.is_null() || len == 0 || isize::try_from(len).is_err() {
        return Bytes::new();
    }
    // SAFETY: not NULL, and the caller's bytes are readable for `len` during the call, at the end of
    // which nothing refers to them.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    Bytes::copy_from_slice(data)
}

/// Runs a function; a panic gives what a wrong handle gives.
fn guarded<R: Default>(run: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_default()
}

/// A handle of ours as a number.
fn number(handle: Handle) -> usize {
    handle.addr()
}

/// A number as a handle.
fn handle(number: usize) -> Handle {
    std::ptr::without_provenance_mut(number)
}

/// `None` of a string that cannot be read becomes NULL.
fn made(number: Option<usize>) -> Handle {
    handle(number.unwrap_or(0))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_connect(
    url: *const c_char,
    token: *const c_char,
    state_cb: StateCallback,
    user: *mut c_void,
) -> Handle {
    let user = User(user);
    let connect = || {
        let on_state = move |state: mainstem_client::State| {
            if let Some(callback) = state_cb {
                // SAFETY: a function of that type, which may be called from this thread.
                unsafe { callback(user.pointer(), state as i32) };
            }
        };
        Some(tracks::connect(text(url)?, text(token)?, on_state))
    };
    made(guarded(connect))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_client_close(client: Handle) {
    guarded(|| tracks::close_client(number(client)));
}

fn publish(client: Handle, kind: Kind, names: [*const c_char; 4], priority: u8) -> Handle {
    let publish = || {
        let [namespace, name, capability, schema] = names;
        let track = (text(namespace)?, text(name)?);
        let about = (text(capability)?, text(schema)?);
        let client = number(client);
        Some(tracks::publish(client, kind, track, about, priority))
    };
    made(guarded(publish))
}

fn subscribe(
    client: Handle,
    kind: Kind,
    names: [*const c_char; 2],
    filter: u32,
    on_frame: impl FnMut(Frame) + Send + 'static,
) -> Handle {
    let subscribe = move || {
        let track = (text(names[0])?, text(names[1])?);
        let client = number(client);
        Some(tracks::subscribe(client, kind, track, filter, on_frame))
    };
    made(guarded(subscribe))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_publish_audio(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    capability: *const c_char,
    sample_rate: u32,
    channels: u8,
    frame_ms: u16,
) -> Handle {
    let schema = format!("audio;rate={sample_rate};channels={channels};frame_ms={frame_ms}\0");
    let names = [ns, name, capability, schema.as_ptr().cast()];
    publish(client, Kind::Audio, names, 64)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_pub_write(
    publication: Handle,
    timestamp_us: u64,
    data: *const u8,
    len: usize,
) {
    guarded(|| tracks::write_audio(number(publication), timestamp_us, bytes(data, len)));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_pub_subscriber_count(publication: Handle) -> usize {
    guarded(|| tracks::subscriber_count(number(publication), Kind::Audio))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_pub_close(publication: Handle) {
    guarded(|| tracks::close_publication(number(publication), Kind::Audio));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_audio(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: FrameCallback,
    user: *mut c_void,
) -> Handle {
    clutch_moqt_subscribe_audio_filtered(client, ns, name, callback, user, LARGEST_OBJECT)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_audio_filtered(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: FrameCallback,
    user: *mut c_void,
    filter: u32,
) -> Handle {
    let user = User(user);
    let on_frame = move |frame: Frame| {
        if let Some(callback) = callback {
            let (at, data) = (frame.timestamp_us, &frame.data);
            // SAFETY: a function of that type, which may be called from this thread.
            unsafe { callback(user.pointer(), at, data.as_ptr(), data.len()) };
        }
    };
    subscribe(client, Kind::Audio, [ns, name], filter, on_frame)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_sub_close(subscription: Handle) {
    guarded(|| tracks::close_subscription(number(subscription), Kind::Audio));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_publish_frame(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    capability: *const c_char,
    schema_tag: *const c_char,
    default_priority: u8,
) -> Handle {
    let names = [ns, name, capability, schema_tag];
    publish(client, Kind::Frame, names, default_priority)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_frame_write(
    publication: Handle,
    timestamp_us: u64,
    data: *const u8,
    len: usize,
    priority: u8,
) {
    guarded(|| {
        tracks::write_frame(
            number(publication),
            timestamp_us,
            priority,
            bytes(data, len),
        );
    });
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_frame_pub_subscriber_count(publication: Handle) -> usize {
    guarded(|| tracks::subscriber_count(number(publication), Kind::Frame))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_frame_pub_close(publication: Handle) {
    guarded(|| tracks::close_publication(number(publication), Kind::Frame));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_frame(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: ObjectCallback,
    user: *mut c_void,
) -> Handle {
    clutch_moqt_subscribe_frame_filtered(client, ns, name, callback, user, LARGEST_OBJECT)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_frame_filtered(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: ObjectCallback,
    user: *mut c_void,
    filter: u32,
) -> Handle {
    let user = User(user);
    let on_frame = move |frame: Frame| {
        if let Some(callback) = callback {
            let (at, priority, data) = (frame.timestamp_us, frame.priority, &frame.data);
            // SAFETY: a function of that type, which may be called from this thread.
            unsafe { callback(user.pointer(), at, priority, data.as_ptr(), data.len()) };
        }
    };
    subscribe(client, Kind::Frame, [ns, name], filter, on_frame)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_frame_sub_close(subscription: Handle) {
    guarded(|| tracks::close_subscription(number(subscription), Kind::Frame));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_publish_video(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    capability: *const c_char,
    codec: i32,
    width: u32,
    height: u32,
    fps: u32,
) -> Handle {
    let schema = format!("video;codec={codec};width={width};height={height};fps={fps}\0");
    let names = [ns, name, capability, schema.as_ptr().cast()];
    publish(client, Kind::Video, names, 128)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_video_write(
    publication: Handle,
    timestamp_us: u64,
    is_keyframe: i32,
    data: *const u8,
    len: usize,
) {
    guarded(|| {
        let (publication, data) = (number(publication), bytes(data, len));
        tracks::write_video(publication, timestamp_us, is_keyframe != 0, data);
    });
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_video_pub_subscriber_count(publication: Handle) -> usize {
    guarded(|| tracks::subscriber_count(number(publication), Kind::Video))
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_video_pub_close(publication: Handle) {
    guarded(|| tracks::close_publication(number(publication), Kind::Video));
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_video(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: VideoCallback,
    user: *mut c_void,
) -> Handle {
    clutch_moqt_subscribe_video_filtered(client, ns, name, callback, user, LARGEST_OBJECT)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_subscribe_video_filtered(
    client: Handle,
    ns: *const c_char,
    name: *const c_char,
    callback: VideoCallback,
    user: *mut c_void,
    filter: u32,
) -> Handle {
    let user = User(user);
    let on_frame = move |frame: Frame| {
        if let Some(callback) = callback {
            let (at, is_key, data) = (frame.timestamp_us, frame.is_key, &frame.data);
            let is_key = i32::from(is_key);
            // SAFETY: a function of that type, which may be called from this thread.
            unsafe { callback(user.pointer(), at, is_key, data.as_ptr(), data.len()) };
        }
    };
    subscribe(client, Kind::Video, [ns, name], filter, on_frame)
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn clutch_moqt_video_sub_close(subscription: Handle) {
    guarded(|| tracks::close_subscription(number(subscription), Kind::Video));
}
