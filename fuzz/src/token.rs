//! Tokens and keys: what a stranger shows, and what the control plane says.
//!
//! Input: kind, then a token, JSON or PEM. Laws: nothing unsigned is let through; what is minted
//! verifies, and one changed byte of it does not; a key survives JWK and PEM; a token permits nothing
//! outside its organisation; messages of the control plane survive writing.

use crate::input::Cursor;
use mainstem_core::jwt::{
    Action, Claims, KeySet, Pattern, PublicKey, Signer as _, SigningKey, VerifyingKey, mint, verify,
};
use mainstem_core::resolve::{Changes, Jwk, KeyStatus, RelayState};
use mainstem_core::time::UnixTime;
use serde_json::{from_slice, from_str, to_string};
use std::time::Duration;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const SKEW: Duration = Duration::from_secs(5);
const ORG: &str = "o";

fn key() -> SigningKey {
    SigningKey::ed25519("k1", &[7; 32])
}

fn keys() -> KeySet {
    KeySet::from_jwks(&[key().public_key().to_jwk("k1", ORG, KeyStatus::Active)]).0
}

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.below(6) {
        0 => check_token(&String::from_utf8_lossy(input.rest())),
        1 => check_claims(&mut input),
        2 => check_jwk(input.rest()),
        3 => check_pem(&String::from_utf8_lossy(input.rest())),
        4 => check_pattern(&mut input),
        _ => check_messages(input.rest()),
    }
}

fn check_token(token: &str) {
    match verify(token, &keys(), NOW, SKEW) {
        // The fuzzer has no secret key; the seeds hold one token that is signed.
        Ok(verified) => assert_eq!(verified.claims.sub, ORG),
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            let _ = (error.is_malformed(), error.is_auth_failed());
        }
    }
}

fn check_claims(input: &mut Cursor<'_>) {
    let (place, change) = (usize::from(input.short()), input.byte());
    let Ok(claims) = from_slice::<Claims>(input.rest()) else {
        return;
    };
    for action in [Action::Subscribe, Action::Publish] {
        for path in ["stream/x/lv_1", "stream/x", "stream/", "/stream/x/lv_1"] {
            let own = claims.sub == "x";
            assert!(
                own || !claims.permits(action, path),
                "{path} for {}",
                claims.sub
            );
        }
        assert_eq!(
            claims.require(action, "playback/a").is_ok(),
            claims.permits(action, "playback/a")
        );
    }
    let Ok(token) = mint(&key(), &claims, NOW) else {
        return;
    };
    if let Ok(verified) = verify(&token, &keys(), NOW, SKEW) {
        assert_eq!(
            (verified.kid.as_str(), verified.claims.ns),
            (key().kid(), claims.ns)
        );
        let mut bytes = token.into_bytes();
        let place = place % bytes.len();
        // The last character of a part holds bits that mean nothing only where they must be zero.
        bytes[place] = if bytes[place] == change % 64 + 45 {
            b'!'
        } else {
            change % 64 + 45
        };
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        assert!(verify(&changed, &keys(), NOW, SKEW).is_err(), "{changed}");
    }
}

fn check_jwk(json: &[u8]) {
    let Ok(jwk) = from_slice::<Jwk>(json) else {
        return;
    };
    let (set, rejected) = KeySet::from_jwks([&jwk]);
    assert_eq!(set.len() + rejected.len(), 1);
    let Ok(key) = VerifyingKey::from_jwk(&jwk) else {
        return;
    };
    assert_eq!(
        set.is_active(&jwk.kid),
        key.to_jwk().status == KeyStatus::Active
    );
    let again = VerifyingKey::from_jwk(&key.to_jwk()).expect("what was read can be written");
    assert_eq!(again.to_jwk(), key.to_jwk());
    let public = PublicKey::from_jwk(&jwk).expect("it was read before");
    assert!(PublicKey::from_pem(&public.to_pem()).is_ok_and(|again| again == public));
}

fn check_pem(pem: &str) {
    if let Ok(key) = PublicKey::from_pem(pem) {
        assert!(PublicKey::from_pem(&key.to_pem()).is_ok_and(|again| again == key));
    }
}

fn check_pattern(input: &mut Cursor<'_>) {
    let len = input.below(40);
    let text = String::from_utf8_lossy(input.bytes(len)).into_owned();
    let path = String::from_utf8_lossy(input.rest());
    let Some(pattern) = Pattern::new(text) else {
        return;
    };
    match pattern.as_str().strip_suffix('*') {
        None => assert_eq!(pattern.matches(&path), pattern.as_str() == path),
        Some(start) => assert!(!pattern.matches(&path) || path.starts_with(start)),
    }
    assert!(!pattern.matches(""));
}

fn check_messages(json: &[u8]) {
    if let Ok(state) = from_slice::<RelayState>(json) {
        let written = to_string(&state).expect("plain data");
        assert_eq!(from_str::<RelayState>(&written).ok(), Some(state));
    }
    if let Ok(changes) = from_slice::<Changes>(json)
        && let Ok(written) = to_string(&changes)
    {
        let again = from_str::<Changes>(&written).expect("what was written is read");
        assert_eq!(again.changes.len(), changes.changes.len());
    }
}
