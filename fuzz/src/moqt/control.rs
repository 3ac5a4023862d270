//! Control and request streams of drafts 18 and later.
//!
//! Input: draft, role, cut seed (2), then the stream. Laws: cuts change nothing; a fault has a code;
//! no more is kept than one message and its head; what was read is written and reads the same.
//! Source: draft-ietf-moq-transport-18, Section 10.

use crate::input::{Cursor, cut};
use crate::laws::{check_fault, check_unwritable};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::message::{Message, MessageKind, RequestKind, StreamRole};
use mainstem_core::moqt::{Draft, ProtocolError};

/// A message of the longest body with its head: type of 9 bytes, length of 2.
const BUFFERED_MAX: usize = 65_535 + 11;

/// What a stream said, and how it stands: inside a message or not, or the fault that ended it.
pub type Said<M> = (Vec<M>, Result<bool, ProtocolError>);

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let draft = input.one_of(&Draft::CANONICAL);
    let role = input.one_of(&[StreamRole::Request, StreamRole::Control]);
    let seed = input.short();
    let stream = Bytes::copy_from_slice(input.rest());
    let whole = read(draft, role, std::slice::from_ref(&stream));
    assert_eq!(whole, read(draft, role, &cut(&stream, seed)));
    let (messages, end) = whole;
    if let Err(fault) = &end {
        check_fault(fault);
    }
    for message in messages {
        check_message(draft, role, &message);
    }
}

/// Reads a stream that arrives in these pieces.
pub fn read(draft: Draft, role: StreamRole, pieces: &[Bytes]) -> Said<Message> {
    let mut reader = ControlReader::new(role);
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.poll(draft) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(fault) => return (messages, Err(fault)),
            }
        }
        assert!(reader.buffered() < BUFFERED_MAX, "{}", reader.buffered());
    }
    (messages, Ok(reader.is_mid_message()))
}

/// What a draft said can be written in it, and reads the same.
fn check_message(draft: Draft, role: StreamRole, message: &Message) {
    assert!(message.kind().exists_in(draft) && message.kind().is_allowed_on(role));
    let _ = format!("{message:?}");
    let mut first = BytesMut::new();
    if let Err(error) = message.encode(draft, &mut first) {
        check_unwritable(&error);
        assert!(first.is_empty(), "a failed encode leaves the buffer alone");
        return;
    }
    let first = first.freeze();
    let (mut again, end) = read(draft, role, std::slice::from_ref(&first));
    assert_eq!(end, Ok(false), "{message:?}");
    let again = again.pop().expect("one message was written");
    // Words are cut to the wire's limit, which bytes that are no text may pass once replaced.
    if first.len() < 1024 {
        assert_eq!(&again, message);
    }
    let mut second = BytesMut::new();
    again
        .encode(draft, &mut second)
        .expect("it was written before");
    assert_eq!(first, second.freeze(), "{message:?}");
    check_scopes(draft, message);
}

/// Which parameters an answer or an update may carry is decided without panic, with a code.
fn check_scopes(draft: Draft, message: &Message) {
    const REQUESTS: [RequestKind; 5] = [
        RequestKind::Subscribe,
        RequestKind::Publish,
        RequestKind::Fetch,
        RequestKind::TrackStatus,
        RequestKind::SubscribeNamespace,
    ];
    let Some(parameters) = message.parameters() else {
        return;
    };
    for request in REQUESTS {
        let check = match message.kind() {
            MessageKind::RequestUpdate => parameters.check_update_of(draft, request),
            _ => parameters.check_ok_of(draft, request),
        };
        if let Err(fault) = check {
            check_fault(&fault);
        }
    }
}
