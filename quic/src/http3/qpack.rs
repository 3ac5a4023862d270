//! QPACK without a dynamic table: static table, literals, Huffman decoding.
//!
//! We advertise a table capacity of 0, so a peer's field sections can refer to the static table
//! only; anything else is QPACK_DECOMPRESSION_FAILED. What we encode is the static table's exact
//! matches and names, and plain literals.
//!
//! Limits: the section's size as RFC 9114 section 4.2.2 counts it, and [`FIELDS_MAX`] fields.
//! Source: RFC 9204.

use super::huffman;
use bytes::BufMut;

/// Fields in one section.
pub(crate) const FIELDS_MAX: usize = 128;

/// RFC 9204 appendix A.
#[rustfmt::skip]
const STATIC_TABLE: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

/// One field: name and value, not checked beyond their coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Why a field section was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QpackError {
    /// Not decodable: truncated, a reference to the dynamic table, a bad Huffman string.
    Decompression,
    /// Decodable so far, and larger than we take.
    TooLarge,
}

/// Decodes a whole field section of at most `size_max` bytes, counted with 32 per field.
pub(crate) fn decode(section: &[u8], size_max: usize) -> Result<Vec<Field>, QpackError> {
    let mut reader = Reader { bytes: section };
    // Required Insert Count must be 0, and then the Base means nothing.
    if reader.prefixed(8)?.1 != 0 {
        return Err(QpackError::Decompression);
    }
    reader.prefixed(7)?;
    let mut fields = Vec::new();
    let mut size = 0_usize;
    while let Some(first) = reader.peek() {
        let field = reader.field(first, size_max)?;
        size = size
            .saturating_add(field.name.len())
            .saturating_add(field.value.len())
            .saturating_add(32);
        if size > size_max || fields.len() >= FIELDS_MAX {
            return Err(QpackError::TooLarge);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// Encodes fields as a section; names must be lower case.
pub(crate) fn encode(fields: &[(&str, &str)], out: &mut Vec<u8>) {
    out.put_slice(&[0, 0]);
    for (name, value) in fields {
        let exact = STATIC_TABLE
            .iter()
            .position(|entry| entry == &(*name, *value));
        let named = STATIC_TABLE.iter().position(|(entry, _)| entry == name);
        if let Some(index) = exact {
            write_prefixed(0b1100_0000, 6, index, out);
        } else {
            if let Some(index) = named {
                write_prefixed(0b0101_0000, 4, index, out);
            } else {
                write_prefixed(0b0010_0000, 3, name.len(), out);
                out.put_slice(name.as_bytes());
            }
            write_prefixed(0, 7, value.len(), out);
            out.put_slice(value.as_bytes());
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// An integer with a prefix of `bits`: the bits before it, and its value.
    fn prefixed(&mut self, bits: u32) -> Result<(u8, u64), QpackError> {
        let (first, rest) = self.bytes.split_first().ok_or(QpackError::Decompression)?;
        self.bytes = rest;
        let mask = u8::try_from((1_u32 << bits) - 1).unwrap_or(u8::MAX);
        let flags = first & !mask;
        let mut value = u64::from(first & mask);
        if first & mask < mask {
            return Ok((flags, value));
        }
        // RFC 7541 section 5.1: base 128, least significant group first.
        for shift in (0..56).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or(QpackError::Decompression)?;
            self.bytes = rest;
            value = value.saturating_add(u64::from(byte & 0x7f) << shift);
            if byte & 0x80 == 0 {
                return Ok((flags, value));
            }
        }
        Err(QpackError::Decompression)
    }

    fn field(&mut self, first: u8, size_max: usize) -> Result<Field, QpackError> {
        if first & 0b1100_0000 == 0b1100_0000 {
            let (name, value) = static_entry(self.prefixed(6)?.1)?;
            return Ok(Field {
                name: name.into(),
                value: value.into(),
            });
        }
        let name = if first & 0b1101_0000 == 0b0101_0000 {
            static_entry(self.prefixed(4)?.1)?.0.into()
        } else if first & 0b1110_0000 == 0b0010_0000 {
            let (flags, len) = self.prefixed(3)?;
            self.string(flags & 0b1000 != 0, len, size_max)?
        } else {
            return Err(QpackError::Decompression);
        };
        let (flags, len) = self.prefixed(7)?;
        let value = self.string(flags & 0x80 != 0, len, size_max)?;
        Ok(Field { name, value })
    }

    fn string(&mut self, huffman: bool, len: u64, size_max: usize) -> Result<Vec<u8>, QpackError> {
        let len = usize::try_from(len).map_err(|_| QpackError::Decompression)?;
        let (bytes, rest): (&'a [u8], _) = self
            .bytes
            .split_at_checked(len)
            .ok_or(QpackError::Decompression)?;
        self.bytes = rest;
        if len > size_max {
            return Err(QpackError::TooLarge);
        }
        if !huffman {
            return Ok(bytes.to_vec());
        }
        let mut out = Vec::with_capacity(len.saturating_mul(2));
        huffman::decode(bytes, &mut out).map_err(|_| QpackError::Decompression)?;
        Ok(out)
    }
}

fn static_entry(index: u64) -> Result<(&'static str, &'static str), QpackError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| STATIC_TABLE.get(index))
        .copied()
        .ok_or(QpackError::Decompression)
}

/// Writes `value` after the bits of `flags`, with a prefix of `bits`.
fn write_prefixed(flags: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1_usize << bits) - 1;
    let low = |value: usize| u8::try_from(value & 0xff).unwrap_or_default();
    if value < mask {
        out.push(flags | low(value));
        return;
    }
    out.push(flags | low(mask));
    let mut value = value - mask;
    while value >= 128 {
        out.push(low(value & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(low(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(name: &str, value: &str) -> Field {
        Field {
            name: name.into(),
            value: value.into(),
        }
    }

    #[test]
    fn example_of_the_rfc_decodes() {
        // RFC 9204 appendix B.1: literal with name reference, :path = /index.html.
        let section = b"\x00\x00\x51\x0b/index.html";
        assert_eq!(
            decode(section, 1024),
            Ok(vec![field(":path", "/index.html")])
        );
    }

    #[test]
    fn references_to_the_dynamic_table_are_refused() {
        // RFC 9204 appendix B.2: Required Insert Count 2, post-base references.
        let refused = Err(QpackError::Decompression);
        assert_eq!(decode(b"\x03\x81\x10\x11", 1024), refused);
        assert_eq!(decode(b"\x00\x00\x10", 1024), refused, "indexed, post-base");
        assert_eq!(decode(b"\x00\x00\x80", 1024), refused, "indexed, dynamic");
        assert_eq!(decode(b"\x00\x00\x40\x00", 1024), refused, "name, dynamic");
        assert_eq!(
            decode(b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1024),
            refused
        );
        assert_eq!(decode(b"\x00", 1024), refused, "truncated prefix");
        assert_eq!(
            decode(b"\x00\x00\x51\x0b/index", 1024),
            refused,
            "truncated"
        );
    }

    #[test]
    fn large_sections_are_refused() {
        let long = "v".repeat(100);
        let mut out = Vec::new();
        encode(&[("x", &long)], &mut out);
        assert_eq!(decode(&out, 132), Err(QpackError::TooLarge));
        assert!(decode(&out, 133).is_ok());
        let many = vec![(":status", "200"); FIELDS_MAX + 1];
        out.clear();
        encode(&many, &mut out);
        assert_eq!(decode(&out, 1 << 20), Err(QpackError::TooLarge));
    }

    proptest! {
        #[test]
        fn fields_survive_the_wire(sent in proptest::collection::vec(("[a-z-]{1,200}", "[ -~]{0,300}"), 0..8)) {
            let mut fields: Vec<(&str, &str)> = sent.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            fields.extend([(":method", "CONNECT"), (":path", "/x"), (":status", "200")]);
            let mut out = Vec::new();
            encode(&fields, &mut out);
            let want: Vec<Field> = fields.iter().map(|(n, v)| field(n, v)).collect();
            prop_assert_eq!(decode(&out, 1 << 20), Ok(want));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(section in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&section, 4096);
        }
    }
}
