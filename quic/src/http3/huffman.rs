//! The HPACK Huffman code, decoding only: what we send is never compressed.
//!
//! The code is canonical: sorted by length and then by symbol, the codes are consecutive numbers.
//! So the lengths alone define it, and a decoder needs per length only the first code and where
//! its symbols begin.
//!
//! Limits: the caller bounds the input; output is at most 8/5 of it. Sources: RFC 7541 section 5.2
//! and appendix B, taken over by RFC 9204 section 4.1.2.

/// Code length in bits of each symbol; the last is EOS, which must not occur.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LENGTH_MAX: usize = 30;
const EOS: u16 = 256;

/// Canonical decoding tables, computed when the program is compiled.
struct Tables {
    /// First code of each length.
    first: [u32; LENGTH_MAX + 1],
    /// Number of codes of each length.
    count: [u32; LENGTH_MAX + 1],
    /// Where the symbols of each length begin in `symbols`.
    start: [u32; LENGTH_MAX + 1],
    /// Symbols by length, then by value.
    symbols: [u16; 257],
}

static TABLES: Tables = tables();

/// Not a Huffman-coded string: an unknown code, EOS, or padding that is too long or not ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidHuffman;

/// Appends the decoded bytes to `out`.
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidHuffman> {
    let mut code: u32 = 0;
    let mut length: usize = 0;
    for byte in input {
        for bit in (0..8).rev() {
            code = (code << 1) | u32::from((byte >> bit) & 1);
            length += 1;
            match symbol(code, length) {
                Some(EOS) => return Err(InvalidHuffman),
                Some(symbol) => {
                    out.push(u8::try_from(symbol).map_err(|_| InvalidHuffman)?);
                    code = 0;
                    length = 0;
                }
                None if length >= LENGTH_MAX => return Err(InvalidHuffman),
                None => {}
            }
        }
    }
    // What is left is padding: fewer than 8 bits, all ones (the beginning of EOS).
    let ones = (1_u32 << length).wrapping_sub(1);
    if length < 8 && code == ones {
        Ok(())
    } else {
        Err(InvalidHuffman)
    }
}

fn symbol(code: u32, length: usize) -> Option<u16> {
    let offset = code.checked_sub(*TABLES.first.get(length)?)?;
    if offset >= *TABLES.count.get(length)? {
        return None;
    }
    let index = usize::try_from(TABLES.start.get(length)?.checked_add(offset)?).ok()?;
    TABLES.symbols.get(index).copied()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "indexes below 257, evaluated by the compiler"
)]
const fn tables() -> Tables {
    let mut tables = Tables {
        first: [0; LENGTH_MAX + 1],
        count: [0; LENGTH_MAX + 1],
        start: [0; LENGTH_MAX + 1],
        symbols: [0; 257],
    };
    let mut next = 0_usize;
    let mut code = 0_u32;
    let mut length = 1_usize;
    while length <= LENGTH_MAX {
        code <<= 1;
        tables.first[length] = code;
        tables.start[length] = next as u32;
        let mut symbol = 0_usize;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                tables.symbols[next] = symbol as u16;
                next += 1;
                code += 1;
                tables.count[length] += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let start = usize::try_from(TABLES.start[length]).unwrap();
            let count = usize::try_from(TABLES.count[length]).unwrap();
            let at = TABLES.symbols[start..start + count]
                .iter()
                .position(|symbol| *symbol == u16::from(*byte))
                .unwrap();
            let code = TABLES.first[length] + u32::try_from(at).unwrap();
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        while bits.len() % 8 != 0 {
            bits.push(true);
        }
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |acc, bit| acc << 1 | u8::from(*bit)))
            .collect()
    }

    #[test]
    fn examples_of_the_rfc_decode() {
        // RFC 7541 appendix C.4.1 and C.6.1.
        let decoded = |input: &[u8]| {
            let mut out = Vec::new();
            decode(input, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        let example = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&example).unwrap(), "www.example.com");
        assert_eq!(decoded(&[0xae, 0xc3, 0x77, 0x1a, 0x4b]).unwrap(), "private");
        assert_eq!(decoded(&[]).unwrap(), "");
    }

    #[test]
    fn every_byte_survives_a_round_trip() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        decode(&encode(&all), &mut out).unwrap();
        assert_eq!(out, all);
    }

    #[test]
    fn bad_padding_and_eos_are_refused() {
        let mut out = Vec::new();
        // '0' is 00000, then padding of zeros.
        assert_eq!(decode(&[0x00], &mut out), Err(InvalidHuffman));
        // A whole byte of padding.
        assert_eq!(decode(&[0x07, 0xff], &mut out), Err(InvalidHuffman));
        // EOS itself.
        assert_eq!(
            decode(&[0xff, 0xff, 0xff, 0xff], &mut out),
            Err(InvalidHuffman)
        );
    }
}
