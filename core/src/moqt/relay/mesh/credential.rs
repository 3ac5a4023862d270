//! How relays of one mesh know each other.
//!
//! Every relay of a mesh says its id in a private Setup Option; whoever does not know the option
//! ignores it. The relay that dials shows the mesh secret in its SETUP as a token of a private type,
//! by value, and to those upstreams only that its owner named as members; it knows the other end by
//! its certificate. The relay that answers shows nothing but its id.
//!
//! | what a client's SETUP shows | it is |
//! |---|---|
//! | no relay id | a client like any other |
//! | relay id, no mesh token | a relay that is no member: a client like any other |
//! | relay id and the mesh secret | a member |
//! | a mesh token that is not the secret, or none is set here | refused: UNAUTHORIZED |
//!
//! The comparison takes a time that does not depend on where the two differ. Source:
//! draft-ietf-moq-transport-18 sections 10.2.2, 10.3.

use super::{Config, RELAY_ID_BYTES, RelayId};
use crate::moqt::message::{Setup, SetupOption};
use crate::moqt::parameter::AuthorizationToken;
use crate::moqt::session::Ready;
use bytes::Bytes;

/// The private Setup Option with the sender's relay id.
pub const RELAY_ID_OPTION: u64 = 0x6d6a_6401;
/// Token type of the mesh secret.
pub const SECRET_TOKEN_TYPE: u64 = 0x6d73_6563;

/// What a SETUP says about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing that concerns the mesh.
    Stranger,
    /// It is a member.
    Member(RelayId),
    /// It claims to be one, and cannot show it.
    Impostor,
}

/// What this relay's SETUP says beyond what all say. `shows_secret` for upstreams that are members.
pub(super) fn setup(config: &Config, shows_secret: bool) -> Setup {
    let mut setup = Setup::default();
    if let Some(secret) = &config.secret {
        let id = Bytes::copy_from_slice(&config.relay_id.0);
        setup.options.push(SetupOption::Bytes {
            key: RELAY_ID_OPTION,
            value: id,
        });
        if shows_secret {
            setup
                .authorization_tokens
                .push(AuthorizationToken::UseValue {
                    token_type: SECRET_TOKEN_TYPE,
                    value: Bytes::copy_from_slice(secret.expose().as_bytes()),
                });
        }
    }
    setup
}

/// The relay id in a SETUP.
pub(super) fn relay_id(ready: &Ready) -> Option<RelayId> {
    let mut ids = ready.options.iter().filter_map(|option| match option {
        SetupOption::Bytes { key, value } if *key == RELAY_ID_OPTION => Some(value),
        _ => None,
    });
    let id: [u8; RELAY_ID_BYTES] = ids.next()?.as_ref().try_into().ok()?;
    ids.next().is_none().then_some(RelayId(id))
}

/// Judges a client's SETUP.
pub(super) fn judge(config: &Config, ready: &Ready) -> Shown {
    let mut shown = ready.tokens.iter().filter_map(|token| match token {
        AuthorizationToken::UseValue {
            token_type: SECRET_TOKEN_TYPE,
            value,
        } => Some(value),
        _ => None,
    });
    let Some(value) = shown.next() else {
        return Shown::Stranger;
    };
    match (&config.secret, relay_id(ready)) {
        (Some(secret), Some(id)) if is_same(value, secret.expose().as_bytes()) => Shown::Member(id),
        _ => Shown::Impostor,
    }
}

fn is_same(shown: &[u8], secret: &[u8]) -> bool {
    let mut differs = u8::from(shown.len() != secret.len() || secret.is_empty());
    for (index, byte) in shown.iter().enumerate() {
        // What is longer is compared with itself: the length alone may show.
        let other = secret.get(index).unwrap_or(byte);
        differs = std::hint::black_box(differs | (byte ^ other));
    }
    differs == 0
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same(b"abc", b"abc"));
        for (shown, secret) in [("abd", "abc"), ("ab", "abc"), ("abcd", "abc"), ("", "")] {
            assert!(!is_same(shown.as_bytes(), secret.as_bytes()), "{shown}");
        }
    }
}
