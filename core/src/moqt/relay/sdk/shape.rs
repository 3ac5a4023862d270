//! What an object is, told from the heads of its boxes without parsing them.
//!
//! Source: ISO/IEC 14496-12 section 4.2 (boxes); CONTRACTS A1 (what SDKs upload).

use crate::payload::Payload;

/// Whether the object begins with the box that a file begins with.
pub(super) fn begins_file(payload: &Payload) -> bool {
    head(payload, 0).is_some_and(|(kind, _)| &kind == b"ftyp")
}

/// Whether the object begins an init segment.
pub(super) fn begins_init(payload: &Payload) -> bool {
    head(payload, 0).is_some_and(|(kind, _)| matches!(&kind, b"ftyp" | b"moov"))
}

/// Whether reading can begin at this object: it starts with a box that may stand before media.
pub(super) fn begins_segment(payload: &Payload) -> bool {
    head(payload, 0).is_some_and(|(kind, _)| {
        let kinds = [
            b"ftyp", b"moov", b"moof", b"styp", b"prft", b"emsg", b"sidx",
        ];
        kinds.contains(&&kind)
    })
}

/// Whether the object is `ftyp` and `moov` and nothing else, as the first object of a group of a
/// normalised `broadcast` track is.
pub(super) fn is_whole_init(payload: &Payload) -> bool {
    let Some((kind, size)) = head(payload, 0) else {
        return false;
    };
    let rest = if &kind == b"ftyp" {
        head(payload, size).map(|(kind, moov)| (kind, size.saturating_add(moov)))
    } else {
        Some((kind, size))
    };
    rest.is_some_and(|(kind, end)| &kind == b"moov" && end == payload.len())
}

/// Kind and size of the box at `at`; `None` when its head is not all there. Boxes of 64-bit size
/// are none that an init segment has.
fn head(payload: &Payload, at: usize) -> Option<([u8; 4], usize)> {
    let mut head = [0; 8];
    let mut filled = 0;
    let mut skip = at;
    for piece in payload.pieces() {
        let seen = piece.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(piece.len());
        for (to, from) in head.iter_mut().skip(filled).zip(seen) {
            *to = *from;
            filled += 1;
        }
    }
    if filled < head.len() {
        return None;
    }
    let [a, b, c, d, kind @ ..] = head;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (size >= head.len()).then_some((kind, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn payload(bytes: &[u8], cut: usize) -> Payload {
        let bytes = Bytes::copy_from_slice(bytes);
        let pieces: Vec<Bytes> = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
        Payload::from_pieces(pieces)
    }

    #[test]
    fn heads_are_read_across_pieces() {
        let ftyp = b"\0\0\0\x0cftyp1234";
        let moov = b"\0\0\0\x08moov";
        let both = [&ftyp[..], &moov[..]].concat();
        let more = [&both[..], &b"\0\0\0\x08moof"[..]].concat();
        for cut in 1..24 {
            assert!(is_whole_init(&payload(&both, cut)), "cut at {cut}");
            assert!(is_whole_init(&payload(moov, cut)));
            assert!(!is_whole_init(&payload(&more, cut)));
            assert!(!is_whole_init(&payload(ftyp, cut)));
            assert!(begins_init(&payload(ftyp, cut)));
            assert!(begins_segment(&payload(b"\0\0\0\x08moof", cut)));
            assert!(!begins_segment(&payload(b"\0\0\0\x08mdat", cut)));
        }
        assert!(!begins_init(&Payload::default()));
        assert!(!begins_init(&payload(b"\0\0\0\x01moov", 8)));
    }
}
