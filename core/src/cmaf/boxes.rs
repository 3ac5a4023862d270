//! ISO base media boxes: header, bounded field reader, child walk, box writer.
//!
//! Leaf boxes of `moov` are decoded and encoded by `mp4-atom`; what is here is what lies around
//! them. Every read is checked against the end of its box, nothing is allocated from a claimed
//! size. Source: ISO/IEC 14496-12, sections 4.2 and 8.

use super::error::Error;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// A four-character code: the kind of a box, a brand, a handler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    /// As text; bytes that are not printable ASCII become `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            let shown = if byte.is_ascii_graphic() || byte == b' ' {
                char::from(byte)
            } else {
                '?'
            };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! kinds {
    ($($name:ident = $text:literal,)*) => {
        #[allow(missing_docs, reason = "the name is the code")]
        impl FourCc { $(pub const $name: Self = Self(*$text);)* }
    };
}

kinds! {
    AV01 = b"av01", AV1C = b"av1C", AVC1 = b"avc1", AVC3 = b"avc3", AVCC = b"avcC", CO64 = b"co64",
    CTTS = b"ctts", DFLA = b"dfLa", DINF = b"dinf", DOPS = b"dOps", DREF = b"dref", EDTS = b"edts",
    ELST = b"elst", EMSG = b"emsg", ESDS = b"esds", FLAC = b"fLaC", FTYP = b"ftyp", HDLR = b"hdlr",
    HEV1 = b"hev1", HVC1 = b"hvc1", HVCC = b"hvcC", MDAT = b"mdat", MDHD = b"mdhd", MDIA = b"mdia",
    MFHD = b"mfhd", MINF = b"minf", MOOF = b"moof", MOOV = b"moov", MP4A = b"mp4a", MVEX = b"mvex",
    MVHD = b"mvhd", OPUS = b"Opus", PRFT = b"prft", SIDX = b"sidx", SMHD = b"smhd", SOUN = b"soun",
    STBL = b"stbl", STCO = b"stco", STSC = b"stsc", STSD = b"stsd", STSS = b"stss", STSZ = b"stsz",
    STTS = b"stts", STYP = b"styp", STZ2 = b"stz2", TFDT = b"tfdt", TFHD = b"tfhd", TKHD = b"tkhd",
    TRAF = b"traf", TRAK = b"trak", TREX = b"trex", TRUN = b"trun", VIDE = b"vide", VMHD = b"vmhd",
    VP09 = b"vp09", VPCC = b"vpcC", WAVE = b"wave", MEHD = b"mehd",
}

/// The head of a box: kind, length of the head itself, size of the whole box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FourCc,
    /// 8, or 16 with a 64-bit size.
    pub(crate) len: usize,
    /// Size with the head; `None` when the box runs to the end of the file.
    pub(crate) size: Option<u64>,
}

impl Header {
    /// Longest header: 32-bit size, kind, 64-bit size.
    pub(crate) const LEN_MAX: usize = 16;

    /// Reads a header at the start of `bytes`; `None` when more bytes are needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((kind, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let kind = FourCc(*kind);
        let (len, size) = match u32::from_be_bytes(*size) {
            0 => {
                return Ok(Some(Self {
                    kind,
                    len: 8,
                    size: None,
                }));
            }
            1 => match rest.first_chunk::<8>() {
                Some(large) => (16, u64::from_be_bytes(*large)),
                None => return Ok(None),
            },
            size => (8, u64::from(size)),
        };
        if size < len as u64 {
            return Err(Error::BoxTooSmall { kind, size });
        }
        Ok(Some(Self {
            kind,
            len,
            size: Some(size),
        }))
    }
}

/// One child of a container box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<'a> {
    pub(crate) kind: FourCc,
    /// The box with its header.
    pub(crate) whole: &'a [u8],
    /// The box without its header.
    pub(crate) body: &'a [u8],
}

/// Walks the boxes that make up `body`, the content of a `parent`.
///
/// Fewer than eight bytes at the end are padding (old QuickTime files end containers with a zero
/// word) and end the walk.
pub(crate) fn children(parent: FourCc, body: &[u8]) -> Children<'_> {
    Children {
        parent,
        body,
        offset: 0,
    }
}

/// See [`children`].
pub(crate) struct Children<'a> {
    parent: FourCc,
    body: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Child<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.body.get(self.offset..)?;
        if rest.len() < 8 {
            return None;
        }
        let child = child_at(self.parent, rest);
        self.offset = match &child {
            Ok(child) => self.offset.saturating_add(child.whole.len()),
            Err(_) => usize::MAX,
        };
        Some(child)
    }
}

fn child_at(parent: FourCc, rest: &[u8]) -> Result<Child<'_>, Error> {
    let short = Error::Truncated { kind: parent };
    let header = Header::parse(rest)?.ok_or_else(|| short.clone())?;
    let size = match header.size {
        None => rest.len(),
        Some(size) => usize::try_from(size).map_err(|_| short.clone())?,
    };
    let whole = rest.get(..size).ok_or_else(|| short.clone())?;
    let body = whole.get(header.len..).ok_or(short)?;
    Ok(Child {
        kind: header.kind,
        whole,
        body,
    })
}

/// The first child of `kind`, if any.
pub(crate) fn find(parent: FourCc, body: &[u8], kind: FourCc) -> Result<Option<Child<'_>>, Error> {
    for child in children(parent, body) {
        let child = child?;
        if child.kind == kind {
            return Ok(Some(child));
        }
    }
    Ok(None)
}

/// The first child of `kind`, which must be there.
pub(crate) fn require(parent: FourCc, body: &[u8], kind: FourCc) -> Result<Child<'_>, Error> {
    find(parent, body, kind)?.ok_or(Error::MissingBox { kind, parent })
}

/// Reads big-endian fields of one box, in order, never past its end.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    kind: FourCc,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(kind: FourCc, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Error::Truncated { kind: self.kind })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub(crate) fn version_flags(&mut self) -> Result<(u8, u32), Error> {
        let word = self.u32()?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0x00ff_ffff))
    }

    /// 64 bits in version 1, else 32.
    pub(crate) fn sized(&mut self, version: u8) -> Result<u64, Error> {
        if version == 1 {
            self.u64()
        } else {
            self.u32().map(u64::from)
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Error::Truncated { kind: self.kind })?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn skip(&mut self, len: usize) -> Result<(), Error> {
        self.take(len).map(|_| ())
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Decodes the body of a leaf box with `mp4-atom`; trailing bytes are tolerated.
pub(crate) fn decode_leaf<A: mp4_atom::Atom>(kind: FourCc, mut body: &[u8]) -> Result<A, Error> {
    A::decode_body(&mut body).map_err(|_| Error::Truncated { kind })
}

/// Appends boxes to a buffer; sizes are filled in when a box is closed.
#[derive(Default)]
pub(crate) struct BoxWriter {
    out: BytesMut,
}

impl BoxWriter {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: BytesMut::with_capacity(bytes),
        }
    }

    /// Writes a box of `kind` whose body is written by `body`.
    pub(crate) fn boxed(&mut self, kind: FourCc, body: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.out.put_u32(0);
        self.out.put_slice(&kind.0);
        body(self);
        let size = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.out.get_mut(start..start + 4) {
            field.copy_from_slice(&size.to_be_bytes());
        }
    }

    /// Writes a box with version and flags.
    pub(crate) fn full(
        &mut self,
        kind: FourCc,
        version: u8,
        flags: u32,
        body: impl FnOnce(&mut Self),
    ) {
        self.boxed(kind, |w| {
            w.out
                .put_u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
            body(w);
        });
    }

    /// Writes a leaf box with `mp4-atom`.
    pub(crate) fn leaf(&mut self, leaf: &impl mp4_atom::Encode) {
        let mut encoded = Vec::new();
        // Encoding fails only for sizes past 32 bits, which no box of an init segment reaches.
        if leaf.encode(&mut encoded).is_ok() {
            self.out.put_slice(&encoded);
        }
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.put_u16(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.put_u32(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.out.put_u64(value);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Overwrites four bytes that were written before.
    pub(crate) fn set_u32(&mut self, at: usize, value: u32) {
        if let Some(field) = self.out.get_mut(at..at.saturating_add(4)) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_reads_all_three_size_forms() {
        let plain = Header::parse(b"\0\0\0\x10mdat").unwrap().unwrap();
        assert_eq!((plain.len, plain.size), (8, Some(16)));
        let large = Header::parse(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0").unwrap();
        assert_eq!(large.map(|h| (h.len, h.size)), Some((16, Some(1 << 32))));
        let to_end = Header::parse(b"\0\0\0\0mdat").unwrap().unwrap();
        assert_eq!((to_end.len, to_end.size), (8, None));
        assert_eq!(Header::parse(b"\0\0\0\x01mdat\0\0"), Ok(None));
        assert!(Header::parse(b"\0\0\0\x07mdat").is_err());
    }

    #[test]
    fn children_stop_at_padding_and_refuse_overrun() {
        let body = b"\0\0\0\x08free\0\0\0\x0aabcdxy\0\0\0\0";
        let found: Vec<_> = children(FourCc::MOOV, body)
            .map(|child| child.map(|c| (c.kind, c.body.len())))
            .collect();
        assert_eq!(
            found,
            [Ok((FourCc(*b"free"), 0)), Ok((FourCc(*b"abcd"), 2))]
        );
        let overrun = children(FourCc::MOOV, b"\0\0\0\x09free").next();
        assert!(matches!(overrun, Some(Err(Error::Truncated { .. }))));
    }
}
