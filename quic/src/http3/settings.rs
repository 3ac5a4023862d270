//! The SETTINGS frame: what both ends must say before there can be a WebTransport session.
//!
//! Several generations of WebTransport over HTTP/3 are in use, each with a setting of its own;
//! ours names them all, and a peer needs to name one.
//!
//! Sources: RFC 9114 section 7.2.4, RFC 9220, RFC 9297 section 2.1.1, draft-ietf-webtrans-http3
//! (drafts 02, 07 and 13 for the three numbers).

use super::code::Code;
use super::wire::{read_varint, write_frame, write_varint};

/// The frame type.
pub(crate) const SETTINGS: u64 = 0x4;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
const H3_DATAGRAM: u64 = 0x33;
const H3_DATAGRAM_DRAFT: u64 = 0xff_d277;
const ENABLE_WEBTRANSPORT: u64 = 0x2b60_3742;
const WT_MAX_SESSIONS_DRAFT_02: u64 = 0x2b60_3743;
const WT_MAX_SESSIONS_DRAFT_07: u64 = 0xc671_706a;
const WT_MAX_SESSIONS_DRAFT_13: u64 = 0x14e9_cd29;
const WT_ENABLED: u64 = 0x2c7c_f000;

/// Settings in one frame that are looked at.
const SETTINGS_MAX: usize = 64;

/// What the peer's settings say about WebTransport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) connect_protocol: bool,
    pub(crate) web_transport: bool,
}

/// Our settings as a frame.
pub(crate) fn encode(field_section_max: usize, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    let section_max = u64::try_from(field_section_max).unwrap_or(u64::MAX);
    for (id, value) in [
        (QPACK_MAX_TABLE_CAPACITY, 0),
        (MAX_FIELD_SECTION_SIZE, section_max),
        (QPACK_BLOCKED_STREAMS, 0),
        (ENABLE_CONNECT_PROTOCOL, 1),
        (H3_DATAGRAM, 1),
        (H3_DATAGRAM_DRAFT, 1),
        (ENABLE_WEBTRANSPORT, 1),
        (WT_MAX_SESSIONS_DRAFT_02, 1),
        (WT_MAX_SESSIONS_DRAFT_07, 1),
        (WT_MAX_SESSIONS_DRAFT_13, 1),
    ] {
        write_varint(id, &mut payload);
        write_varint(value, &mut payload);
    }
    write_frame(SETTINGS, &payload, out);
}

/// Understands the payload of a peer's SETTINGS frame; unknown settings are ignored.
pub(crate) fn decode(mut payload: &[u8]) -> Result<Settings, (Code, &'static str)> {
    let mut settings = Settings::default();
    let mut seen: Vec<u64> = Vec::new();
    while !payload.is_empty() {
        let (id, value) = read_pair(&mut payload).ok_or((
            Code::FRAME_ERROR,
            "the SETTINGS frame ends inside a setting",
        ))?;
        if seen.contains(&id) {
            return Err((Code::SETTINGS_ERROR, "a setting occurs twice"));
        }
        if seen.len() >= SETTINGS_MAX {
            return Err((Code::EXCESSIVE_LOAD, "more settings than are taken"));
        }
        seen.push(id);
        match id {
            0x2..=0x5 => return Err((Code::SETTINGS_ERROR, "a setting of HTTP/2")),
            ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => {
                return Err((Code::SETTINGS_ERROR, "a switch is neither 0 nor 1"));
            }
            ENABLE_CONNECT_PROTOCOL => settings.connect_protocol = value == 1,
            ENABLE_WEBTRANSPORT
            | WT_MAX_SESSIONS_DRAFT_02
            | WT_MAX_SESSIONS_DRAFT_07
            | WT_MAX_SESSIONS_DRAFT_13
            | WT_ENABLED => settings.web_transport |= value > 0,
            _ => {}
        }
    }
    Ok(settings)
}

fn read_pair(payload: &mut &[u8]) -> Option<(u64, u64)> {
    let mut next = || {
        let (value, len) = read_varint(payload)?;
        *payload = payload.get(len..)?;
        Some(value)
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, value) in pairs {
            write_varint(*id, &mut out);
            write_varint(*value, &mut out);
        }
        out
    }

    #[test]
    fn our_own_settings_offer_web_transport() {
        let mut frame = Vec::new();
        encode(16_384, &mut frame);
        let both = Settings {
            connect_protocol: true,
            web_transport: true,
        };
        assert_eq!(decode(&frame[2..]), Ok(both));
    }

    #[test]
    fn settings_that_http3_forbids_are_errors() {
        let code = |pairs: &[(u64, u64)]| decode(&payload(pairs)).map_err(|(code, _)| code);
        assert_eq!(code(&[(0x3, 1)]), Err(Code::SETTINGS_ERROR));
        assert_eq!(code(&[(0x21, 1), (0x21, 1)]), Err(Code::SETTINGS_ERROR));
        assert_eq!(
            code(&[(ENABLE_CONNECT_PROTOCOL, 2)]),
            Err(Code::SETTINGS_ERROR)
        );
        assert_eq!(
            decode(&[0x21]),
            Err((
                Code::FRAME_ERROR,
                "the SETTINGS frame ends inside a setting"
            ))
        );
        let many: Vec<(u64, u64)> = (0..65).map(|n| (0x1f * n + 0x21, 0)).collect();
        assert_eq!(code(&many), Err(Code::EXCESSIVE_LOAD));
    }
}
