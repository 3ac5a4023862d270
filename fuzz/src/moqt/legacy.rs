//! The control stream of draft 16.
//!
//! Input: cut seed (2), then the stream. Laws as for the later drafts (see [`super::control`]), but for
//! codes and options that are translated to the nearest one when written.
//! Source: draft-ietf-moq-transport-16, Section 9.

use super::control::Said;
use crate::input::{Cursor, cut};
use crate::laws::{check_fault, check_unwritable};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::legacy::{Control, LegacyReader};

/// A message of the longest body with its head: type of 8 bytes, length of 2.
const BUFFERED_MAX: usize = 65_535 + 10;

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let seed = input.short();
    let stream = Bytes::copy_from_slice(input.rest());
    let whole = read(std::slice::from_ref(&stream));
    assert_eq!(whole, read(&cut(&stream, seed)));
    let (messages, end) = whole;
    if let Err(fault) = &end {
        check_fault(fault);
    }
    messages.iter().for_each(check_message);
}

fn read(pieces: &[Bytes]) -> Said<Control> {
    let mut reader = LegacyReader::default();
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.poll() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(fault) => return (messages, Err(fault)),
            }
        }
        assert!(reader.buffered() < BUFFERED_MAX, "{}", reader.buffered());
    }
    (messages, Ok(reader.is_mid_message()))
}

fn check_message(message: &Control) {
    let _ = format!("{message:?}");
    let mut first = BytesMut::new();
    if let Err(error) = message.encode(&mut first) {
        check_unwritable(&error);
        return;
    }
    let first = first.freeze();
    let (mut again, end) = read(std::slice::from_ref(&first));
    assert_eq!(end, Ok(false), "{message:?}");
    // What draft 16 has no word for is said by the nearest one, so the message may differ; once said
    // it stays.
    let again = again.pop().expect("one message was written");
    let mut second = BytesMut::new();
    again.encode(&mut second).expect("it was written before");
    assert_eq!(first, second.freeze(), "{message:?}");
}
