//! Error codes of HTTP/3, QPACK and WebTransport, and the mapping of application codes.
//!
//! WebTransport shares the code space of HTTP/3, so a 32-bit application code becomes a number in
//! a range that skips HTTP/3's reserved values (0x1f * N + 0x21).
//!
//! Sources: RFC 9114 section 8.1, RFC 9204 section 6, draft-ietf-webtrans-http3 section 4.

/// A number on the wire: the code of a CONNECTION_CLOSE, RESET_STREAM or STOP_SENDING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u64);

impl Code {
    pub(crate) const NO_ERROR: Self = Self(0x100);
    pub(crate) const STREAM_CREATION_ERROR: Self = Self(0x103);
    pub(crate) const CLOSED_CRITICAL_STREAM: Self = Self(0x104);
    pub(crate) const FRAME_UNEXPECTED: Self = Self(0x105);
    pub(crate) const FRAME_ERROR: Self = Self(0x106);
    pub(crate) const EXCESSIVE_LOAD: Self = Self(0x107);
    pub(crate) const ID_ERROR: Self = Self(0x108);
    pub(crate) const SETTINGS_ERROR: Self = Self(0x109);
    pub(crate) const MISSING_SETTINGS: Self = Self(0x10a);
    pub(crate) const REQUEST_REJECTED: Self = Self(0x10b);
    pub(crate) const REQUEST_CANCELLED: Self = Self(0x10c);
    pub(crate) const REQUEST_INCOMPLETE: Self = Self(0x10d);
    pub(crate) const MESSAGE_ERROR: Self = Self(0x10e);
    pub(crate) const QPACK_DECOMPRESSION_FAILED: Self = Self(0x200);
    pub(crate) const QPACK_ENCODER_STREAM_ERROR: Self = Self(0x201);
    pub(crate) const QPACK_DECODER_STREAM_ERROR: Self = Self(0x202);
    /// A stream whose session is not known and could not be kept until it is.
    pub(crate) const WT_BUFFERED_STREAM_REJECTED: Self = Self(0x3994_bd84);
    /// A stream whose session is over.
    pub(crate) const WT_SESSION_GONE: Self = Self(0x170d_7b68);
}

const FIRST: u64 = 0x52e4_a40f_a8db;
const LAST: u64 = 0x52e5_ac98_3162;

/// The wire code of an application code; codes over 32 bits become the largest one that fits.
pub(crate) fn to_wire(code: u64) -> u64 {
    let code = code.min(u64::from(u32::MAX));
    FIRST + code + code / 0x1e
}

/// The application code of a wire code; 0 for a code outside the range, as a peer that resets for
/// reasons of its own transport sends.
pub(crate) fn from_wire(code: u64) -> u64 {
    if !(FIRST..=LAST).contains(&code) || (code - 0x21).is_multiple_of(0x1f) {
        return 0;
    }
    let shifted = code - FIRST;
    shifted - shifted / 0x1f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_codes_survive_the_wire() {
        for code in (0..100_000).chain(u64::from(u32::MAX) - 100_000..=u64::from(u32::MAX)) {
            let wire = to_wire(code);
            assert!((FIRST..=LAST).contains(&wire));
            assert!(!(wire - 0x21).is_multiple_of(0x1f), "reserved value");
            assert_eq!(from_wire(wire), code);
        }
        assert_eq!(to_wire(0), 0x52e4_a40f_a8db);
        assert_eq!(to_wire(u64::MAX), LAST);
        assert_eq!(from_wire(Code::WT_SESSION_GONE.0), 0);
    }
}
