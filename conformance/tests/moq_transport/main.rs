//! Our codec of draft 18 against an independent one, moq-transport 0.17: both write the same bytes
//! for the same meaning, each reads what the other wrote, and what we take of damaged bytes the
//! other takes too.
//!
//! Where the two differ, the text of draft-ietf-moq-transport-18 decides:
//!
//! | what | the other codec | the text |
//! |---|---|---|
//! | answers on a request stream | its types carry a request id, which its session leaves out | 10.1: the stream names the request |
//! | GOAWAY | a URI and nothing else, as in 16 | 10.4: Timeout and, on the control stream, Request ID follow |
//! | REQUEST_OK | no Track Properties | 10.5: they end the message |
//! | REQUEST_ERROR | no Redirect | 10.6: it follows code 0x34 |
//! | TRACK_NAMESPACE_PREFIX (0x34) | an integer, by the parity of its type | 10.2: each parameter names its encoding |
//! | a track's namespace of no fields | refused | 2.4.1: more than 32 fields are refused |
//! | tokens in SETUP | four at most | 10.3.1.4: one or more |
//! | an empty datagram without a status | refused | 11.2.1.1: not to be sent, no rule against taking it |
//! | a reason that is not UTF-8 | refused | 1.4.3: UTF-8, and no rule against taking it |
//!
//! In each of them ours does what the text says. The other codec checks neither which parameters it
//! knows, nor their values, nor repeated ones: of what it takes we refuse more, so damaged bytes are
//! compared in one direction. Its reader and writer of a fetch stream's objects are private.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way of speaking"
)]

#[allow(dead_code, reason = "shared with core's own tests")]
#[path = "../../../core/tests/moqt/arbitrary.rs"]
mod arbitrary;
mod convert;
mod messages;
mod objects;
#[allow(dead_code, reason = "shared with core's own tests")]
#[path = "../../../core/tests/moqt/streams.rs"]
mod streams;
mod values;
