//! Takes a playback token (a JWS in compact form, RFC 7515) apart, to forge wrong ones from it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde_json::{Value, json};

/// A token's three parts.
#[derive(Clone, Debug)]
pub struct Token {
    /// The header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
    signature: String,
}

impl Token {
    /// Reads a token.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('.');
        let mut next = || parts.next().expect("a token has three parts");
        let json = |part: &str| {
            let bytes = BASE64.decode(part).expect("a token's part is base64url");
            serde_json::from_slice(&bytes).expect("a token's part is JSON")
        };
        Self {
            header: json(next()),
            claims: json(next()),
            signature: next().to_owned(),
        }
    }

    /// The same claims with `alg` `none` and no signature (RFC 7519, section 6).
    pub fn unsigned(&self) -> String {
        format!("{}.", self.signing_input("none"))
    }

    /// The same claims signed with HMAC, the public key's text as the shared secret.
    pub fn signed_with_public_key(&self, public_key_pem: &str) -> String {
        let input = self.signing_input("HS256");
        let key = hmac::Key::new(hmac::HMAC_SHA256, public_key_pem.as_bytes());
        let signature = hmac::sign(&key, input.as_bytes());
        format!("{input}.{}", BASE64.encode(signature.as_ref()))
    }

    /// Other claims under the true signature.
    pub fn with_claim(&self, name: &str, value: Value) -> String {
        let mut other = self.clone();
        if let Some(claims) = other.claims.as_object_mut() {
            claims.insert(name.to_owned(), value);
        }
        let algorithm = self.header["alg"].as_str().unwrap_or_default();
        format!("{}.{}", other.signing_input(algorithm), self.signature)
    }

    fn signing_input(&self, algorithm: &str) -> String {
        let mut header = self.header.clone();
        if let Some(header) = header.as_object_mut() {
            header.insert("alg".to_owned(), json!(algorithm));
        }
        let part = |value: &Value| BASE64.encode(value.to_string());
        format!("{}.{}", part(&header), part(&self.claims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgeries_keep_what_they_do_not_change() {
        let part = |value: Value| BASE64.encode(value.to_string());
        let header = part(json!({"alg": "EdDSA", "kid": "k"}));
        let text = format!("{header}.{}.c2ln", part(json!({"exp": 5})));
        let token = Token::parse(&text);
        assert_eq!(token.with_claim("exp", json!(5)), text);
        let unsigned = Token::parse(&token.unsigned());
        assert_eq!(unsigned.header, json!({"alg": "none", "kid": "k"}));
        assert!(token.unsigned().ends_with('.'));
        let hmac = Token::parse(&token.signed_with_public_key("PEM"));
        assert_eq!(hmac.claims, json!({"exp": 5}));
    }
}
