//! Codes that draft 16 numbers otherwise, or does not have.
//!
//! | registry | differs |
//! |---|---|
//! | session | 0x7 TOO_MANY_REQUESTS is 16's only; 0x1B is not known |
//! | REQUEST_ERROR | 0x6, 0x9, 0x31 and 0x33 to 0x36 are not known |
//! | PUBLISH_DONE | 0x5 and 0x6 are swapped; 0x9 is not known |
//! | stream reset | 0x4 is UNKNOWN_OBJECT_STATUS; 0x5 to 0x9 are not known |
//!
//! A code that 16 does not know becomes the one nearest in meaning. A peer's unknown codes are kept.
//!
//! Source: draft-ietf-moq-transport-16, Section 14.5.

use crate::moqt::error::{PublishDoneCode, RequestCode, SessionCode, StreamCode};

pub(super) fn session_to_16(code: u64) -> u64 {
    match SessionCode(code) {
        SessionCode::TOO_MANY_REQUEST_UPDATES => SessionCode::TOO_MANY_REQUESTS.0,
        SessionCode(code) => code,
    }
}

pub(super) fn request_to_16(code: RequestCode) -> RequestCode {
    match code {
        RequestCode::GOING_AWAY | RequestCode::EXCESSIVE_LOAD => RequestCode::INTERNAL_ERROR,
        RequestCode::NAMESPACE_TOO_LARGE | RequestCode::UNSUPPORTED_EXTENSION => {
            RequestCode::NOT_SUPPORTED
        }
        RequestCode::REDIRECT => RequestCode::DOES_NOT_EXIST,
        RequestCode::CONFLICTING_FILTERS | RequestCode::INVALID_FILTER => {
            RequestCode::INVALID_RANGE
        }
        code => code,
    }
}

/// A peer of draft 16 cannot mean a redirect: it would have to say where to.
pub(super) fn request_from_16(code: RequestCode) -> RequestCode {
    match code {
        RequestCode::REDIRECT => RequestCode::INTERNAL_ERROR,
        code => code,
    }
}

pub(super) fn done_to_16(code: PublishDoneCode) -> PublishDoneCode {
    match code {
        PublishDoneCode::EXCESSIVE_LOAD => PublishDoneCode::INTERNAL_ERROR,
        code => swapped(code),
    }
}

pub(super) fn done_from_16(code: PublishDoneCode) -> PublishDoneCode {
    swapped(code)
}

fn swapped(code: PublishDoneCode) -> PublishDoneCode {
    match code {
        PublishDoneCode::TOO_FAR_BEHIND => PublishDoneCode::EXPIRED,
        PublishDoneCode::EXPIRED => PublishDoneCode::TOO_FAR_BEHIND,
        code => code,
    }
}

const UNKNOWN_OBJECT_STATUS: u64 = 0x4;

pub(super) fn stream_to_16(code: u64) -> u64 {
    match StreamCode(code) {
        StreamCode::UNKNOWN_OBJECT_STATUS => UNKNOWN_OBJECT_STATUS,
        StreamCode::GOING_AWAY | StreamCode::TOO_FAR_BEHIND | StreamCode::EXPIRED_AUTH_TOKEN => {
            StreamCode::CANCELLED.0
        }
        StreamCode::EXCESSIVE_LOAD => StreamCode::INTERNAL_ERROR.0,
        StreamCode(code) => code,
    }
}

pub(super) fn stream_from_16(code: u64) -> u64 {
    match code {
        UNKNOWN_OBJECT_STATUS => StreamCode::UNKNOWN_OBJECT_STATUS.0,
        code => code,
    }
}

/// How a publisher that gives a subscription up by this stream code says so in PUBLISH_DONE.
pub(super) fn done_of_stream(code: u64) -> PublishDoneCode {
    match StreamCode(code) {
        StreamCode::CANCELLED => PublishDoneCode::TRACK_ENDED,
        StreamCode::GOING_AWAY => PublishDoneCode::GOING_AWAY,
        StreamCode::TOO_FAR_BEHIND => PublishDoneCode::TOO_FAR_BEHIND,
        StreamCode::EXPIRED_AUTH_TOKEN => PublishDoneCode::UNAUTHORIZED,
        StreamCode::MALFORMED_TRACK => PublishDoneCode::MALFORMED_TRACK,
        StreamCode(_) => PublishDoneCode::INTERNAL_ERROR,
    }
}

/// How a request that is given up by this stream code is refused or revoked.
pub(super) fn request_of_stream(code: u64) -> RequestCode {
    match StreamCode(code) {
        StreamCode::EXPIRED_AUTH_TOKEN => RequestCode::EXPIRED_AUTH_TOKEN,
        StreamCode::MALFORMED_TRACK => RequestCode::MALFORMED_TRACK,
        StreamCode::CANCELLED => RequestCode::UNINTERESTED,
        StreamCode(_) => RequestCode::INTERNAL_ERROR,
    }
}
