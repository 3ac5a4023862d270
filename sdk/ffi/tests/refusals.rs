//! What C may do wrong, and what comes of it.
#![expect(unsafe_code, reason = "a caller of the C interface")]
#![allow(clippy::unwrap_used, reason = "a test's way of speaking")]

use mainstem_ffi::*;
use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicI32, Ordering};

unsafe extern "C" fn ignore(_: *mut c_void, _: u64, _: u8, _: *const u8, _: usize) {}

unsafe extern "C" fn keep_state(user: *mut c_void, state: i32) {
    // SAFETY: the test's own variable, which outlives the client.
    let last = unsafe { &*user.cast::<AtomicI32>() };
    last.store(state, Ordering::SeqCst);
}

/// Every function that takes a handle, with one that is wrong.
fn use_all(handle: *mut c_void) {
    let text = CString::new("a/b").unwrap();
    let (text, bytes) = (text.as_ptr(), b"data".as_ptr());
    let made = [
        clutch_moqt_publish_audio(handle, text, text, text, 48_000, 2, 20),
        clutch_moqt_publish_frame(handle, text, text, text, text, 128),
        clutch_moqt_publish_video(handle, text, text, text, 0, 1, 1, 1),
        clutch_moqt_subscribe_audio(handle, text, text, None, null_mut()),
        clutch_moqt_subscribe_frame(handle, text, text, Some(ignore), null_mut()),
        clutch_moqt_subscribe_video(handle, text, text, None, null_mut()),
        clutch_moqt_subscribe_frame_filtered(handle, text, text, None, null_mut(), 1),
    ];
    assert!(made.iter().all(|handle| handle.is_null()));
    clutch_moqt_pub_write(handle, 0, bytes, 4);
    clutch_moqt_frame_write(handle, 0, bytes, 4, 0);
    clutch_moqt_video_write(handle, 0, 1, bytes, 4);
    assert_eq!(clutch_moqt_pub_subscriber_count(handle), 0);
    assert_eq!(clutch_moqt_frame_pub_subscriber_count(handle), 0);
    assert_eq!(clutch_moqt_video_pub_subscriber_count(handle), 0);
    clutch_moqt_pub_close(handle);
    clutch_moqt_frame_pub_close(handle);
    clutch_moqt_video_pub_close(handle);
    clutch_moqt_sub_close(handle);
    clutch_moqt_frame_sub_close(handle);
    clutch_moqt_video_sub_close(handle);
    clutch_moqt_client_close(handle);
}

#[test]
fn wrong_handles_are_refused() {
    for wrong in [0, 1, 0x10_0010, usize::MAX] {
        use_all(without_provenance_mut(wrong));
    }
}

#[test]
fn wrong_arguments_are_refused_and_a_closed_client_is_no_more() {
    let refused = |url: *const _| clutch_moqt_connect(url, null(), None, null_mut()).is_null();
    let not_utf8 = CString::new([0xff, 0xfe]).unwrap();
    let http = CString::new("http://127.0.0.1/").unwrap();
    assert!(refused(null()) && refused(not_utf8.as_ptr()) && refused(http.as_ptr()));

    // Whether the system has roots is not what is shown here.
    // SAFETY: this program's other test reads no variable.
    unsafe { std::env::set_var("MAINSTEM_INSECURE", "1") };
    let state = AtomicI32::new(-1);
    // Nobody listens on the discard port of this machine.
    let url = CString::new("moqt://127.0.0.1:9/playback/lv_1").unwrap();
    let user = (&raw const state).cast_mut().cast();
    let client = clutch_moqt_connect(url.as_ptr(), null(), Some(keep_state), user);
    assert!(!client.is_null());
    let (name, bad) = (CString::new("a").unwrap(), not_utf8.as_ptr());
    let name = name.as_ptr();
    let publish = |ns| clutch_moqt_publish_frame(client, ns, name, null(), null(), 128);
    let (good, wrong) = (publish(name), publish(bad));
    assert!(!good.is_null() && wrong.is_null());
    let of_filter =
        |filter| clutch_moqt_subscribe_frame_filtered(client, name, name, None, null_mut(), filter);
    assert!(of_filter(0).is_null() && of_filter(5).is_null() && !of_filter(4).is_null());
    // A handle of another kind.
    clutch_moqt_pub_write(good, 0, name.cast(), 1);
    clutch_moqt_frame_write(good, 0, null(), 9, 0);
    clutch_moqt_client_close(client);
    assert_eq!(state.load(Ordering::SeqCst), 3);
    use_all(client);
    use_all(good);
}
