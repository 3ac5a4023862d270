//! Reads an MP4 file's boxes, as far as a check of a recording needs: tracks and media bytes.
//!
//! Written apart from the product's own reader on purpose: a check by the code that wrote the file
//! would agree with its mistakes. Source: ISO/IEC 14496-12, sections 4.2 (boxes) and 8 (movie).

use anyhow::{Context as _, Result, bail};
use std::fmt;

/// Boxes that hold boxes, on the way to a track's handler and its fragments.
const CONTAINERS: [&[u8; 4]; 5] = [b"moov", b"trak", b"mdia", b"moof", b"traf"];
/// Deeper nesting than any real file has.
const DEPTH_MAX: u32 = 8;

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Handler types in order of tracks: `vide`, `soun`.
    pub(crate) handlers: Vec<String>,
    /// Number of movie fragments.
    pub(crate) fragments: usize,
    /// Bytes inside `mdat`.
    pub(crate) media_bytes: usize,
    has_file_type: bool,
}

impl Summary {
    pub(crate) fn has_video(&self) -> bool {
        self.handlers.iter().any(|handler| handler == "vide")
    }

    pub(crate) fn has_audio(&self) -> bool {
        self.handlers.iter().any(|handler| handler == "soun")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tracks {:?}, {} fragments, {} media bytes",
            self.handlers, self.fragments, self.media_bytes
        )
    }
}

/// Reads a whole file. A box that passes the end of its parent is an error.
pub(crate) fn read(bytes: &[u8]) -> Result<Summary> {
    let mut summary = Summary::default();
    boxes(bytes, &mut summary, DEPTH_MAX)?;
    if !summary.has_file_type {
        bail!("not an MP4 file: no ftyp box");
    }
    Ok(summary)
}

fn boxes(mut rest: &[u8], summary: &mut Summary, depth: u32) -> Result<()> {
    if depth == 0 {
        bail!("boxes are nested deeper than {DEPTH_MAX}");
    }
    while !rest.is_empty() {
        let (kind, body, after) = next_box(rest)?;
        match &kind {
            b"ftyp" => summary.has_file_type = true,
            b"mdat" => summary.media_bytes += body.len(),
            b"hdlr" => {
                let handler = body.get(8..12).context("a handler box is too short")?;
                summary
                    .handlers
                    .push(String::from_utf8_lossy(handler).into_owned());
            }
            kind if CONTAINERS.contains(&kind) => {
                summary.fragments += usize::from(*kind == *b"moof");
                boxes(body, summary, depth - 1)?;
            }
            _ => {}
        }
        rest = after;
    }
    Ok(())
}

/// Type, content, and what follows.
fn next_box(bytes: &[u8]) -> Result<([u8; 4], &[u8], &[u8])> {
    let short = "the file ends inside a box header";
    let size: [u8; 4] = *bytes.first_chunk().context(short)?;
    let kind: [u8; 4] = *bytes
        .get(4..)
        .and_then(<[u8]>::first_chunk)
        .context(short)?;
    let (header, size) = match u32::from_be_bytes(size) {
        0 => (8, bytes.len()),
        1 => {
            let large: [u8; 8] = *bytes
                .get(8..)
                .and_then(<[u8]>::first_chunk)
                .context(short)?;
            (16, usize::try_from(u64::from_be_bytes(large))?)
        }
        size => (8, usize::try_from(size)?),
    };
    let name = String::from_utf8_lossy(&kind).into_owned();
    let whole = bytes
        .get(..size)
        .with_context(|| format!("box {name} says {size} bytes, {} are left", bytes.len()))?;
    let body = whole
        .get(header..)
        .with_context(|| format!("box {name} is shorter than its header"))?;
    Ok((kind, body, bytes.get(size..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        [&size, kind.as_slice(), body].concat()
    }

    fn handler(kind: [u8; 4]) -> Vec<u8> {
        let body = [&[0; 8], kind.as_slice(), &[0; 13]].concat();
        make(*b"trak", &make(*b"mdia", &make(*b"hdlr", &body)))
    }

    #[test]
    fn tracks_fragments_and_media_are_counted() {
        let file = [
            make(*b"ftyp", b"isom\0\0\0\0"),
            make(*b"moov", &[handler(*b"vide"), handler(*b"soun")].concat()),
            make(*b"moof", &make(*b"traf", &[])),
            make(*b"mdat", &[7; 100]),
        ]
        .concat();
        let summary = read(&file).unwrap();
        assert!(summary.has_video() && summary.has_audio());
        assert_eq!((summary.fragments, summary.media_bytes), (1, 100));
        for len in 1..file.len() {
            // A cut between boxes leaves a shorter file; a cut inside one is an error.
            let cut = read(&file[..len]);
            assert!(cut.is_err() || cut.unwrap() != summary, "cut at {len}");
        }
    }
}
