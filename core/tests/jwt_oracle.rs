//! Tokens against an independent implementation: the crate `jsonwebtoken`.
//!
//! What it signs we accept, what we sign it accepts, and what it is made to sign under another
//! algorithm we refuse.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use mainstem_core::jwt::{
    Claims, KeySet, PublicKey, SigningKey, TokenError, VerifyingKey, mint, verify,
};
use mainstem_core::time::UnixTime;
use std::time::Duration;

const SEED: [u8; 32] = [7; 32];
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// The seed as PKCS#8, RFC 8410 section 7.
fn pkcs8_pem() -> String {
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend(SEED);
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    )
}

fn keys() -> (KeySet, String) {
    let public = ed25519_dalek::SigningKey::from_bytes(&SEED).verifying_key();
    let key = PublicKey::ed25519(public.as_bytes()).expect("a public key");
    let pem = key.to_pem();
    let mut keys = KeySet::new();
    let (kid, org) = ("rk_live_1".to_owned(), "org_1".to_owned());
    keys.insert(VerifyingKey {
        kid,
        org,
        active: true,
        key,
    })
    .expect("room for a key");
    (keys, pem)
}

fn claims() -> Claims {
    Claims::playback("mainstem", "org_1", &["lv_1"], NOW, Duration::from_mins(10))
}

fn header(algorithm: Algorithm) -> Header {
    Header {
        kid: Some("rk_live_1".to_owned()),
        ..Header::new(algorithm)
    }
}

#[test]
fn tokens_of_the_other_implementation_are_accepted() {
    let key = EncodingKey::from_ed_pem(pkcs8_pem().as_bytes()).expect("a private key");
    let token = jsonwebtoken::encode(&header(Algorithm::EdDSA), &claims(), &key).expect("a token");
    let verified = verify(&token, &keys().0, NOW, Duration::ZERO).expect("it holds");
    assert_eq!(verified.claims, claims());
}

#[test]
fn our_tokens_are_accepted_by_the_other_implementation() {
    let signer = SigningKey::ed25519("rk_live_1", &SEED);
    let token = mint(&signer, &claims(), NOW).expect("a token");
    let key = DecodingKey::from_ed_pem(keys().1.as_bytes()).expect("a public key");
    let mut rules = Validation::new(Algorithm::EdDSA);
    // Its clock is the machine's; ours is an argument.
    rules.validate_exp = false;
    rules.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(&token, &key, &rules).expect("it holds");
    assert_eq!(decoded.header.kid.as_deref(), Some("rk_live_1"));
    assert_eq!(decoded.claims.sub, "org_1");
    assert_eq!(decoded.claims.exp, claims().exp);
}

#[test]
fn mac_over_the_public_key_is_refused() {
    let (keys, pem) = keys();
    let mac = EncodingKey::from_secret(pem.as_bytes());
    let token = jsonwebtoken::encode(&header(Algorithm::HS256), &claims(), &mac).expect("a token");
    assert_eq!(
        verify(&token, &keys, NOW, Duration::ZERO),
        Err(TokenError::UnsupportedAlgorithm)
    );
}
