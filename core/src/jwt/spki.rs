//! Public keys as PEM: SubjectPublicKeyInfo (RFC 5280 section 4.1) of Ed25519 (RFC 8410) and RSA
//! (RFC 3279 section 2.3.1), the strict DER subset that these two need.

use super::{KeyError, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Longest PEM text that is looked at, in bytes; a 4096-bit RSA key takes 800.
const PEM_BYTES_MAX: usize = 4096;

/// AlgorithmIdentifier { 1.3.101.112 }.
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// AlgorithmIdentifier { 1.2.840.113549.1.1.1, NULL }.
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

pub(super) fn decode_pem(pem: &str) -> Result<PublicKey, KeyError> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(KeyError::Malformed("longer than 4 KiB"));
    }
    let fault = KeyError::Malformed("expected one PUBLIC KEY block in PEM");
    let body = pem
        .trim()
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    let body: String = body.ok_or(fault)?.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| fault)?;
    decode_der(&der).unwrap_or(Err(KeyError::Malformed(
        "not a SubjectPublicKeyInfo in DER",
    )))
}

pub(super) fn encode_pem_ed25519(point: &[u8; 32]) -> String {
    encode_pem(ED25519, point)
}

pub(super) fn encode_pem_rsa(n: &[u8], e: &[u8]) -> String {
    let mut numbers = Vec::new();
    for number in [n, e] {
        // DER integers are signed: a leading zero keeps a large one positive.
        let sign = number.first().is_some_and(|byte| byte & 0x80 != 0);
        let mut content = if sign { vec![0] } else { Vec::new() };
        content.extend_from_slice(number);
        write(&mut numbers, INTEGER, &content);
    }
    let mut key = Vec::new();
    write(&mut key, SEQUENCE, &numbers);
    encode_pem(RSA, &key)
}

fn encode_pem(algorithm: &[u8], key: &[u8]) -> String {
    let mut content = algorithm.to_vec();
    let mut bits = vec![0];
    bits.extend_from_slice(key);
    write(&mut content, BIT_STRING, &bits);
    let mut der = Vec::new();
    write(&mut der, SEQUENCE, &content);
    let text = STANDARD.encode(der);
    let mut pem = String::from(BEGIN);
    for (index, letter) in text.chars().enumerate() {
        if index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// `None` when the DER is broken.
fn decode_der(der: &[u8]) -> Option<Result<PublicKey, KeyError>> {
    let (info, rest) = read(der, SEQUENCE)?;
    if !rest.is_empty() {
        return None;
    }
    let (_, after) = read(info, SEQUENCE)?;
    let algorithm = info.get(..info.len().checked_sub(after.len())?)?;
    let (bits, rest) = read(after, BIT_STRING)?;
    // The first byte of a bit string counts the unused bits of its last.
    let key = bits.strip_prefix(&[0])?;
    if !rest.is_empty() {
        return None;
    }
    if algorithm == ED25519 {
        return Some(PublicKey::ed25519(key));
    }
    if algorithm != RSA {
        return Some(Err(KeyError::UnsupportedKind));
    }
    let (numbers, rest) = read(key, SEQUENCE)?;
    let (n, after) = read(numbers, INTEGER)?;
    let (e, end) = read(after, INTEGER)?;
    (rest.is_empty() && end.is_empty()).then(|| PublicKey::rsa(n, e))
}

/// The content of the first element, which must have this tag, and what follows it.
fn read(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (len, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (&len, rest) = rest.split_first()?;
            (usize::from(len), rest)
        }
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(len)).flatten()
}

fn write(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let len = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    match len {
        [0, short] if short < 0x80 => out.push(short),
        [0, long] => out.extend_from_slice(&[0x81, long]),
        long => out.extend_from_slice(&[0x82, long[0], long[1]]),
    }
    out.extend_from_slice(content);
}
