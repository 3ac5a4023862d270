//! Capsules on the CONNECT stream: how a WebTransport session ends.
//!
//! Only CLOSE_WEBTRANSPORT_SESSION is kept (at most 1028 bytes); every other capsule is skipped,
//! however long it is.
//!
//! Sources: RFC 9297 section 3.2, draft-ietf-webtrans-http3 sections 4.7 and 6.

use super::wire::{Frames, Part, write_frame};
use bytes::{Buf, Bytes, BytesMut};

const CLOSE_SESSION: u64 = 0x2843;
const DRAIN_SESSION: u64 = 0x78ae;

/// Bytes of a close reason.
pub(crate) const REASON_MAX: usize = 1024;

/// What a capsule said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capsule {
    /// The session is over.
    Close {
        /// Application code.
        code: u32,
        /// Application reason, lossily decoded.
        reason: String,
    },
    /// The peer would like the session to end soon.
    Drain,
}

/// A capsule that breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadCapsule(pub(crate) &'static str);

/// Reads capsules from bytes cut anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capsules {
    frames: Frames,
    close: BytesMut,
}

impl Capsules {
    /// The next capsule of interest in `data`; `None` when `data` is used up.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<Capsule>, BadCapsule> {
        while let Some(part) = self.frames.next(data) {
            match part {
                Part::Head { kind, len } if kind == CLOSE_SESSION => {
                    if !(4..=4 + 1024).contains(&len) {
                        return Err(BadCapsule("a close capsule is not 4 to 1028 bytes long"));
                    }
                    self.close.clear();
                }
                Part::Body { kind, bytes, last } if kind == CLOSE_SESSION => {
                    self.close.extend_from_slice(&bytes);
                    if last && let Ok(code) = self.close.try_get_u32() {
                        let reason = String::from_utf8_lossy(&self.close).into_owned();
                        return Ok(Some(Capsule::Close { code, reason }));
                    }
                }
                Part::Body {
                    kind, last: true, ..
                } if kind == DRAIN_SESSION => {
                    return Ok(Some(Capsule::Drain));
                }
                Part::Head { .. } | Part::Body { .. } => {}
            }
        }
        Ok(None)
    }

    /// Whether the stream may end here.
    pub(crate) fn is_between_capsules(&self) -> bool {
        self.frames.is_between_frames()
    }
}

/// A close capsule; the reason is cut to what the capsule can hold, at a character.
pub(crate) fn encode_close(code: u64, reason: &str, out: &mut Vec<u8>) {
    let code = u32::try_from(code).unwrap_or(u32::MAX);
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    write_frame(CLOSE_SESSION, &payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Capsule>, BadCapsule> {
        let mut capsules = Capsules::default();
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut data = Bytes::copy_from_slice(piece);
            while let Some(capsule) = capsules.next(&mut data)? {
                out.push(capsule);
            }
        }
        Ok(out)
    }

    #[test]
    fn closes_are_read_among_other_capsules_however_cut() {
        let mut wire = Vec::new();
        write_frame(0x21, &[7; 5000], &mut wire);
        write_frame(DRAIN_SESSION, &[], &mut wire);
        encode_close(7, "bye", &mut wire);
        for piece in 1..30 {
            let want = vec![
                Capsule::Drain,
                Capsule::Close {
                    code: 7,
                    reason: "bye".into(),
                },
            ];
            assert_eq!(read(&wire, piece), Ok(want));
        }
    }

    #[test]
    fn long_reasons_are_cut_at_a_character_and_longer_capsules_refused() {
        let mut wire = Vec::new();
        encode_close(u64::MAX, &"é".repeat(600), &mut wire);
        let want = Capsule::Close {
            code: u32::MAX,
            reason: "é".repeat(512),
        };
        assert_eq!(read(&wire, 100), Ok(vec![want]));
        let mut long = Vec::new();
        write_frame(CLOSE_SESSION, &[0; 1029], &mut long);
        assert!(read(&long, 100).is_err());
        let mut short = Vec::new();
        write_frame(CLOSE_SESSION, &[0; 3], &mut short);
        assert!(read(&short, 100).is_err());
    }
}
