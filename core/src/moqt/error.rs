//! Wire codes, and the two kinds of codec error.
//!
//! Codes are newtypes: an unknown value is kept as it came, because a peer's unknown code must not
//! end a session and counts as INTERNAL_ERROR in its context (draft 18, Section 14 "Grease").
//!
//! [`ProtocolError`] is the peer's fault and names the code to close the session with.
//! [`EncodeError`] is the owner's fault: a value that the draft cannot carry.
//!
//! Source: draft-ietf-moq-transport-18, Sections 3.5, 10.6, 10.11, 15.10; changes up to 22.

use super::draft::Draft;
use std::fmt;
use thiserror::Error;

macro_rules! codes {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u64);

        impl $type {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The specification's name, or `None` for a value that is not assigned.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name} (0x{:x})", self.0),
                    None => write!(f, "0x{:x}", self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// Why a session is closed. Source: 18, Section 3.5; 0x1B since 19, 0x15 until 19, 0x7 until 16.
    SessionCode {
        /// Closed without an error.
        NO_ERROR = 0x0,
        /// An implementation specific error.
        INTERNAL_ERROR = 0x1,
        /// The client may not establish a session.
        UNAUTHORIZED = 0x2,
        /// The peer did what the specification forbids.
        PROTOCOL_VIOLATION = 0x3,
        /// A request id of the wrong parity, or a repeated one.
        INVALID_REQUEST_ID = 0x4,
        /// A track alias that is already in use.
        DUPLICATE_TRACK_ALIAS = 0x5,
        /// A key-value pair that cannot be read.
        KEY_VALUE_FORMATTING_ERROR = 0x6,
        /// A request id beyond what was granted (until 16).
        TOO_MANY_REQUESTS = 0x7,
        /// PATH used where it must not be, or not served here.
        INVALID_PATH = 0x8,
        /// PATH is not a path.
        MALFORMED_PATH = 0x9,
        /// The peer stayed too long after GOAWAY.
        GOAWAY_TIMEOUT = 0x10,
        /// The peer took too long to answer.
        CONTROL_MESSAGE_TIMEOUT = 0x11,
        /// The peer took too long on a data stream.
        DATA_STREAM_TIMEOUT = 0x12,
        /// More registered tokens than the offered cache holds.
        AUTH_TOKEN_CACHE_OVERFLOW = 0x13,
        /// An alias registered twice.
        DUPLICATE_AUTH_TOKEN_ALIAS = 0x14,
        /// No common version (until 19).
        VERSION_NEGOTIATION_FAILED = 0x15,
        /// A token that cannot be read.
        MALFORMED_AUTH_TOKEN = 0x16,
        /// An alias that is not registered.
        UNKNOWN_AUTH_TOKEN_ALIAS = 0x17,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x18,
        /// AUTHORITY used where it must not be, or not served here.
        INVALID_AUTHORITY = 0x19,
        /// AUTHORITY is not an authority.
        MALFORMED_AUTHORITY = 0x1A,
        /// More outstanding REQUEST_UPDATEs than MAX_REQUEST_UPDATES allows (since 19).
        TOO_MANY_REQUEST_UPDATES = 0x1B,
    }
}

codes! {
    /// Why a request is refused (REQUEST_ERROR). Source: 18, Section 10.6; 0x35 and 0x36 since 19.
    RequestCode {
        /// An implementation specific error.
        INTERNAL_ERROR = 0x0,
        /// Not allowed, or not yet.
        UNAUTHORIZED = 0x1,
        /// Not completed in time.
        TIMEOUT = 0x2,
        /// This kind of request is not supported.
        NOT_SUPPORTED = 0x3,
        /// A token that is well formed and not valid.
        MALFORMED_AUTH_TOKEN = 0x4,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x5,
        /// A GOAWAY was sent or received.
        GOING_AWAY = 0x6,
        /// Overloaded; the retry interval says when to come back.
        EXCESSIVE_LOAD = 0x9,
        /// No such track or namespace at the publisher.
        DOES_NOT_EXIST = 0x10,
        /// The filter or range cannot be satisfied.
        INVALID_RANGE = 0x11,
        /// The track broke MoQT's rules.
        MALFORMED_TRACK = 0x12,
        /// A second subscription to the same track (until 18).
        DUPLICATE_SUBSCRIPTION = 0x19,
        /// The subscriber does not want this track or namespace.
        UNINTERESTED = 0x20,
        /// The namespace prefix overlaps that of another subscription of the same kind.
        PREFIX_OVERLAP = 0x30,
        /// The prefix matches more publishers than are enumerated.
        NAMESPACE_TOO_LARGE = 0x31,
        /// The joined subscription does not exist (until 19).
        INVALID_JOINING_REQUEST_ID = 0x32,
        /// A mandatory track property that is not understood.
        UNSUPPORTED_EXTENSION = 0x33,
        /// To be found elsewhere; a redirect follows.
        REDIRECT = 0x34,
        /// Filters of several subscribers that cannot be aggregated (since 19).
        CONFLICTING_FILTERS = 0x35,
        /// A range filter that is not valid, or too many ranges (since 19).
        INVALID_FILTER = 0x36,
    }
}

codes! {
    /// Why a publisher ended a subscription (PUBLISH_DONE). Source: 18, Section 10.11.
    PublishDoneCode {
        /// An implementation specific error.
        INTERNAL_ERROR = 0x0,
        /// No longer allowed.
        UNAUTHORIZED = 0x1,
        /// The track is no longer published.
        TRACK_ENDED = 0x2,
        /// The end of the filter was reached (until 19; not assigned since 20).
        SUBSCRIPTION_ENDED = 0x3,
        /// A GOAWAY was sent or received.
        GOING_AWAY = 0x4,
        /// The subscriber's queue passed its limit.
        TOO_FAR_BEHIND = 0x5,
        /// The announced expiry was reached.
        EXPIRED = 0x6,
        /// A REQUEST_UPDATE failed.
        UPDATE_FAILED = 0x8,
        /// Overloaded.
        EXCESSIVE_LOAD = 0x9,
        /// The track broke MoQT's rules.
        MALFORMED_TRACK = 0x12,
    }
}

codes! {
    /// Why a stream is reset or stopped. Source: 18, Section 3.3.1.
    StreamCode {
        /// An implementation specific error.
        INTERNAL_ERROR = 0x0,
        /// Cancelled by either end.
        CANCELLED = 0x1,
        /// A delivery timeout passed.
        DELIVERY_TIMEOUT = 0x2,
        /// The session is being closed.
        SESSION_CLOSED = 0x3,
        /// Refused because of a GOAWAY.
        GOING_AWAY = 0x4,
        /// The subscription passed the publisher's limits.
        TOO_FAR_BEHIND = 0x5,
        /// The state of the next object of a fetch is not known.
        UNKNOWN_OBJECT_STATUS = 0x6,
        /// The request's token has expired.
        EXPIRED_AUTH_TOKEN = 0x7,
        /// Overloaded.
        EXCESSIVE_LOAD = 0x9,
        /// The track broke MoQT's rules.
        MALFORMED_TRACK = 0x12,
    }
}

/// The peer's fault: the session must be closed with this code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{code}: {reason}")]
pub struct ProtocolError {
    /// What to close the session with.
    pub code: SessionCode,
    /// What was wrong, for the close frame and for logs; never holds a peer's data.
    pub reason: &'static str,
}

impl ProtocolError {
    /// A fault with this code.
    pub const fn new(code: SessionCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// A PROTOCOL_VIOLATION.
    pub const fn violation(reason: &'static str) -> Self {
        Self::new(SessionCode::PROTOCOL_VIOLATION, reason)
    }

    /// A KEY_VALUE_FORMATTING_ERROR.
    pub const fn key_value(reason: &'static str) -> Self {
        Self::new(SessionCode::KEY_VALUE_FORMATTING_ERROR, reason)
    }
}

/// The owner's fault: this value cannot be written in this draft. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The draft has no way to say this.
    #[error("{draft} cannot express {what}")]
    NotExpressible {
        /// The session's draft.
        draft: Draft,
        /// What was to be said.
        what: &'static str,
    },
    /// A parameter that the message must not carry.
    #[error("parameter 0x{parameter:x} must not appear in {message}")]
    OutOfScope {
        /// The parameter's type.
        parameter: u64,
        /// The message.
        message: &'static str,
    },
    /// Longer than the wire allows.
    #[error("{what} is {len} bytes long, at most {max} are allowed")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Values that contradict each other or the protocol's rules.
    #[error("{0}")]
    Invalid(&'static str),
}
