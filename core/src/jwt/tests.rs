//! Known answers, algorithm confusion, times, patterns and mutations.

use super::*;
use crate::resolve::{Jwk, KeyStatus};
use crate::time::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const RFC7515_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-\
    Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7O\
    Mg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo\
    5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn signer() -> SigningKey {
    SigningKey::ed25519("rk_live_a", &[7; 32])
}

fn rsa_key() -> PublicKey {
    PublicKey::rsa(&unb64(RFC7515_N), &[1, 0, 1]).unwrap()
}

fn keys() -> KeySet {
    let active = KeyStatus::Active;
    let ed = signer().public_key();
    let jwks = [
        ed.to_jwk("rk_live_a", "org_a", active),
        ed.to_jwk("rk_live_off", "org_a", KeyStatus::Inactive),
        ed.to_jwk("rk_live_b", "org_b", active),
        rsa_key().to_jwk("rk_live_rsa", "org_a", active),
    ];
    let (keys, rejected) = KeySet::from_jwks(&jwks);
    assert!(rejected.is_empty());
    keys
}

fn claims() -> Claims {
    Claims::playback("test", "org_a", &["lv_1", "li_1"], NOW, TTL_DEFAULT)
}

/// A token with any header and claims, correctly signed by `rk_live_a`'s key.
fn forge(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = signer().sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature))
}

fn check(token: &str) -> Result<Verified, TokenError> {
    verify(token, &keys(), NOW, SKEW_DEFAULT)
}

fn with_claims(claims: &str) -> Result<Verified, TokenError> {
    check(&forge(r#"{"alg":"EdDSA","kid":"rk_live_a"}"#, claims))
}

#[test]
fn eddsa_gives_the_answer_of_rfc_8037() {
    let secret = unb64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let key = SigningKey::ed25519("k", &secret.try_into().unwrap());
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvp\
                     Ar_MuM0KAg";
    assert_eq!(b64(key.sign(message).unwrap()), signature);
    let jwk = key.public_key().to_jwk("k", "o", KeyStatus::Active);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert_eq!(jwk.x.as_deref(), Some(x));
    let public = PublicKey::ed25519(&unb64(x)).unwrap();
    assert_eq!(public.verify(message, &unb64(signature)), Ok(()));
    assert_eq!(
        public.verify(b"other", &unb64(signature)),
        Err(TokenError::BadSignature)
    );
}

#[test]
fn rs256_gives_the_answer_of_rfc_7515() {
    let message =
        b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly\
        9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = unb64(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F\
         p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQB\
         MHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeY\
         I2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    assert_eq!(rsa_key().verify(message, &signature), Ok(()));
    let mut wrong = signature;
    wrong[40] ^= 1;
    assert_eq!(
        rsa_key().verify(message, &wrong),
        Err(TokenError::BadSignature)
    );
}

#[test]
fn a_minted_token_verifies_and_says_what_was_minted() {
    let token = mint(&signer(), &claims(), NOW).unwrap();
    let verified = check(&token).unwrap();
    assert_eq!(verified.kid, "rk_live_a");
    assert_eq!(verified.claims.ns, claims().ns);
    assert_eq!(verified.claims.expires_at(), NOW + TTL_DEFAULT);
    assert_eq!(verified.claims.iat, Some(NOW.as_secs()));
    let header = String::from_utf8(unb64(token.split('.').next().unwrap())).unwrap();
    assert_eq!(header, r#"{"alg":"EdDSA","kid":"rk_live_a","typ":"JWT"}"#);
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens() {
    use TokenError::*;
    let body = serde_json::to_string(&claims()).unwrap();
    let refused = |header: &str| check(&forge(header, &body)).unwrap_err();
    for alg in [
        "none", "None", "HS256", "ES256", "RS512", "PS256", "eddsa", "",
    ] {
        let header = format!(r#"{{"alg":"{alg}","kid":"rk_live_a"}}"#);
        assert_eq!(refused(&header), UnsupportedAlgorithm, "{alg}");
    }
    let unsigned = format!(
        "{}.{}.",
        b64(r#"{"alg":"none","kid":"rk_live_a"}"#),
        b64(&body)
    );
    assert_eq!(check(&unsigned).unwrap_err(), UnsupportedAlgorithm);
    assert_eq!(
        refused(r#"{"alg":"EdDSA","kid":"rk_live_rsa"}"#),
        WrongAlgorithm {
            key: Algorithm::Rs256
        }
    );
    assert_eq!(
        refused(r#"{"alg":"RS256","kid":"rk_live_a"}"#),
        WrongAlgorithm {
            key: Algorithm::EdDsa
        }
    );
    assert_eq!(
        refused(r#"{"alg":"RS256","kid":"rk_live_rsa"}"#),
        BadSignature
    );
    assert_eq!(refused(r#"{"alg":"EdDSA","kid":"rk_live_z"}"#), UnknownKey);
    assert_eq!(
        refused(r#"{"alg":"EdDSA","kid":"rk_live_off"}"#),
        InactiveKey
    );
    assert_eq!(refused(r#"{"alg":"EdDSA","kid":"rk_live_b"}"#), WrongOwner);
    // HS256 keyed with the public key, the classic confusion.
    let signed = format!(
        "{}.{}",
        b64(r#"{"alg":"HS256","kid":"rk_live_rsa"}"#),
        b64(&body)
    );
    let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa_key().to_pem().as_bytes());
    let token = format!(
        "{signed}.{}",
        b64(ring::hmac::sign(&mac, signed.as_bytes()))
    );
    assert_eq!(check(&token).unwrap_err(), UnsupportedAlgorithm);
}

#[test]
fn headers_with_demands_or_without_a_key_are_refused() {
    let body = serde_json::to_string(&claims()).unwrap();
    let refused = |header: &str| check(&forge(header, &body)).unwrap_err();
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":null"#,
        r#""crit":[]"#,
        r#""b64":false"#,
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"rk_live_a",{member}}}"#);
        assert_eq!(refused(&header), TokenError::CriticalHeader, "{member}");
    }
    for header in [
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":7}"#,
        r#"{"kid":"rk_live_a"}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"rk_live_a"}"#,
        r#"["EdDSA","rk_live_a",null,false,false]"#,
        r#"{"alg":"EdDSA","kid":"rk_live_a","typ":"JOSE"}"#,
        "",
    ] {
        assert!(refused(header).is_malformed(), "{header}");
    }
    // A key inside the token is not looked at.
    let own = r#"{"alg":"EdDSA","kid":"rk_live_a","jwk":{"kty":"oct","k":"AA"},"jku":"https://x"}"#;
    assert!(check(&forge(own, &body)).is_ok());
}

#[test]
fn claims_out_of_bounds_are_malformed() {
    let exp = NOW.as_secs() + 60;
    let ok = format!(r#"{{"sub":"org_a","ns":["playback/lv_1"],"exp":{exp}}}"#);
    assert!(with_claims(&ok).is_ok());
    let many = vec![r#""playback/x""#; PATTERNS_MAX + 1].join(",");
    for bad in [
        format!(r#"{{"sub":"org_a","ns":[],"exp":{exp}}}"#),
        format!(r#"{{"sub":"org_a","ns":["*"],"exp":{exp}}}"#),
        format!(r#"{{"sub":"org_a","ns":["a*/b"],"exp":{exp}}}"#),
        format!(r#"{{"sub":"org_a","ns":[{many}],"exp":{exp}}}"#),
        format!(r#"{{"sub":"","ns":["playback/x"],"exp":{exp}}}"#),
        format!(r#"{{"ns":["playback/x"],"exp":{exp}}}"#),
        r#"{"sub":"org_a","ns":["playback/x"]}"#.to_owned(),
        r#"{"sub":"org_a","ns":["playback/x"],"exp":"soon"}"#.to_owned(),
        r#"{"sub":"org_a","ns":["playback/x"],"exp":-1}"#.to_owned(),
        format!(r#"{{"sub":"org_a","sub":"org_a","ns":["playback/x"],"exp":{exp}}}"#),
        "[]".to_owned(),
        "null".to_owned(),
    ] {
        assert!(with_claims(&bad).unwrap_err().is_malformed(), "{bad}");
    }
    let aud = |aud: &str| {
        with_claims(&format!(
            r#"{{"sub":"org_a","ns":["playback/x"],"exp":{exp},"aud":{aud}}}"#
        ))
    };
    assert!(aud(r#""mainstem-relay""#).is_ok());
    assert!(aud(r#"["other","mainstem-relay"]"#).is_ok());
    assert_eq!(aud(r#""other""#).unwrap_err(), TokenError::WrongAudience);
    let token = forge(
        r#"{"alg":"EdDSA","kid":"rk_live_a"}"#,
        &" ".repeat(TOKEN_BYTES_MAX),
    );
    assert_eq!(check(&token).unwrap_err(), TokenError::TooLarge);
    for text in ["", ".", "..", "...", "a.b", "a.b.c.d", "é.é.é"] {
        assert!(check(text).unwrap_err().is_malformed(), "{text}");
    }
}

#[test]
fn a_token_lives_from_nbf_to_exp_and_the_skew_forgives_both_ways() {
    let token = mint(&signer(), &claims(), NOW).unwrap();
    let (start, end) = (NOW.as_secs(), claims().exp);
    let at = |secs: u64, skew: u64| {
        let skew = std::time::Duration::from_secs(skew);
        verify(&token, &keys(), UnixTime::from_secs(secs), skew).err()
    };
    assert_eq!(at(start, 0), None);
    assert_eq!(at(start - 1, 0), Some(TokenError::NotYetValid));
    assert_eq!(at(start - 30, 30), None);
    assert_eq!(at(start - 31, 30), Some(TokenError::NotYetValid));
    assert_eq!(at(end - 1, 0), None);
    assert_eq!(at(end, 0), Some(TokenError::Expired));
    assert_eq!(at(end + 29, 30), None);
    assert_eq!(at(end + 30, 30), Some(TokenError::Expired));
    let forever = format!(
        r#"{{"sub":"org_a","ns":["playback/x"],"exp":{}}}"#,
        u64::MAX
    );
    assert!(with_claims(&forever).is_ok());
    let mut late = claims();
    late.exp = NOW.as_secs();
    assert_eq!(mint(&signer(), &late, NOW), Err(MintError::Expired));
}

#[test]
fn a_life_is_clamped_to_half_a_minute_and_a_day() {
    let secs = |ttl| clamp_ttl(ttl).as_secs();
    assert_eq!(
        [
            secs(None),
            secs(Some(-5)),
            secs(Some(29)),
            secs(Some(900)),
            secs(Some(i64::MAX))
        ],
        [3600, 30, 30, 900, 86_400]
    );
}

#[test]
fn a_token_permits_its_inputs_and_nothing_else() {
    use Action::{Publish, Subscribe};
    let watch = claims();
    for path in [
        "playback/lv_1",
        "/playback/lv_1",
        "playback/li_1",
        "stream/org_a/lv_1",
    ] {
        assert!(watch.permits(Subscribe, path), "{path}");
        assert_eq!(
            watch.require(Publish, path),
            Err(TokenError::WrongInput),
            "{path}"
        );
    }
    for path in [
        "playback/lv_10",
        "playback/lv_",
        "playback/lv_1/x",
        "playback/",
        "playback",
        "",
        "stream/org_b/lv_1",
        "stream/org_a/lv_2",
        "stream/org_a",
        "publish/lv_1",
        "voice/lv_1",
        "//playback/lv_1",
    ] {
        assert!(!watch.permits(Subscribe, path), "{path}");
    }
    let mut all = claims();
    let patterns = ["playback/*", "publish/lv_1", "voice/sid_1/*"];
    all.ns = patterns
        .iter()
        .map(|text| Pattern::new(*text).unwrap())
        .collect();
    assert!(all.permits(Subscribe, "stream/org_a/lv_9"));
    assert!(!all.permits(Subscribe, "stream/org_b/lv_9"));
    assert!(!all.permits(Subscribe, "playback/"));
    assert!(all.permits(Publish, "publish/lv_1") && all.permits(Publish, "stream/org_a/lv_1"));
    assert!(!all.permits(Publish, "publish/lv_2") && !all.permits(Publish, "stream/org_b/lv_1"));
    assert!(all.permits(Subscribe, "voice/sid_1/a/b") && !all.permits(Publish, "voice/sid_1/a"));
    for bad in ["", "*", "lv*", "/x", "x/", "a//b", "a/b c", "a/*b", "a/é"] {
        assert!(Pattern::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn public_keys_pass_through_pem_and_jwk() {
    for key in [signer().public_key(), rsa_key()] {
        assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
        let jwk = key.to_jwk("k", "o", KeyStatus::Inactive);
        let text = serde_json::to_string(&jwk).unwrap();
        let back = VerifyingKey::from_jwk(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((back.key, back.active), (key, false));
    }
    // RFC 8410 section 10.1.
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
               -----END PUBLIC KEY-----\n";
    assert_eq!(PublicKey::from_pem(pem).unwrap().to_pem(), pem);
}

#[test]
fn weak_and_broken_keys_are_refused_and_do_not_harm_the_others() {
    assert_eq!(
        PublicKey::ed25519(&[0; 31]).unwrap_err(),
        KeyError::Malformed("expected 32 bytes")
    );
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(matches!(
        PublicKey::ed25519(&identity),
        Err(KeyError::Weak(_))
    ));
    assert!(matches!(
        PublicKey::rsa(&[0xff; 128], &[1, 0, 1]),
        Err(KeyError::Weak(_))
    ));
    assert!(matches!(
        PublicKey::rsa(&[0xff; 256], &[3]),
        Err(KeyError::Weak(_))
    ));
    let good = signer().public_key().to_jwk("good", "o", KeyStatus::Active);
    let confused = Jwk {
        kid: "confused".into(),
        alg: "RS256".into(),
        ..good.clone()
    };
    let nameless = Jwk {
        kid: String::new(),
        ..good.clone()
    };
    let (keys, rejected) = KeySet::from_jwks([&confused, &nameless, &good]);
    assert_eq!((keys.len(), rejected.len()), (1, 2));
    assert!(keys.is_active("good") && !keys.is_active("confused"));
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let text = format!("{:?} {:?}", signer(), keys());
    assert!(!text.contains("7, 7"), "{text}");
}

proptest! {
    /// One changed, removed or added byte anywhere: never a panic, never accepted.
    #[test]
    fn only_the_untouched_token_verifies(at in any::<prop::sample::Index>(), to in any::<char>(), how in 0..3) {
        let token = mint(&signer(), &claims(), NOW).unwrap();
        let at = at.index(token.len());
        let mut changed: Vec<char> = token.chars().collect();
        match how {
            0 => changed[at] = to,
            1 => changed.insert(at, to),
            _ => { changed.remove(at); }
        }
        let changed: String = changed.into_iter().collect();
        prop_assert_eq!(check(&changed).is_ok(), changed == token);
    }

    #[test]
    fn any_text_and_any_signed_json_are_survived(text in ".{0,200}", json in r#"[\[\]{}":,a-z0-9]{0,80}"#) {
        prop_assert!(check(&text).is_err());
        prop_assert!(with_claims(&json).is_err());
        let odd_header = forge(&json, "null");
        prop_assert!(check(&odd_header).is_err());
        prop_assert!(PublicKey::from_pem(&text).is_err());
    }

    #[test]
    fn mutated_pem_keys_never_panic(at in 27_usize..400, to in "[A-Za-z0-9+/=\n]") {
        let mut pem = rsa_key().to_pem();
        pem.replace_range(at..=at, &to);
        let _ = PublicKey::from_pem(&pem);
    }
}
