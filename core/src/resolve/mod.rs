//! Typed messages between the control plane and the programs that serve media.
//!
//! A relay or an engine never opens the control plane's database and the control plane never calls
//! a relay: they meet in these values, carried as JSON over HTTP. There is no logic here.
//!
//! | call (all with `authorization: Bearer <relay secret>`) | sends | answers |
//! |---|---|---|
//! | `POST /streams/resolve` | [`ResolveRequest`] | [`ResolveReply`], or [`Refusal`] with 4xx |
//! | `GET /internal/v1/relay/state` | - | [`RelayState`] |
//! | `GET /internal/v1/relay/changes?after=N&wait=SECONDS` | - | [`Changes`], as soon as there are any |
//! | `POST /internal/v1/presence` | [`Presence`] | [`PresenceReply`] |
//!
//! How a relay follows: it fetches the state, keeps its keys and its `cursor`, then asks for
//! changes after the cursor again and again, each time with the `cursor` of the last answer. An
//! answer with `reset` means that the feed no longer reaches back that far (or is another one):
//! fetch the state again. A relay that meets a key id it does not know may fetch the state once.
//!
//! Times are whole seconds since 1970-01-01 UTC. Unknown fields are ignored by readers, so either
//! side can be updated first. Source: CONTRACTS A1 (`/streams/resolve`, namespaces) and D.

mod jwk;
mod secret;

pub use jwk::{Jwk, JwkSet, KeyStatus};
pub use secret::Secret;

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How often a program that serves live inputs says so, in seconds.
pub const PRESENCE_INTERVAL_SECS: u64 = 5;
/// How long the control plane believes a [`Presence`], in seconds.
pub const PRESENCE_TTL_SECS: u64 = 15;
/// Most inputs in one [`Presence`].
pub const PRESENCE_INPUTS_MAX: usize = 10_000;
/// Longest wait that a reader of changes may ask for, in seconds.
pub const CHANGES_WAIT_SECS_MAX: u64 = 60;

/// What a client wants to do with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveKind {
    /// Send media into it, with its stream key.
    Publish,
    /// Watch it, with a playback token.
    Playback,
}

/// May this client use this input, and which stream is it?
///
/// A relay needs it for publishing only: playback tokens are verified from cached keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// What the client wants.
    pub kind: ResolveKind,
    /// The input as the client named it: `lv_..` (its public id) or `li_..` (its row).
    pub id: String,
    /// The stream key; needed to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sk: Option<Secret>,
    /// The playback token; needed to watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tok: Option<Secret>,
    /// The client's address, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

/// Yes, and this is the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveReply {
    /// The MoQT namespace, `stream/<org>/<lv id>`.
    pub namespace: String,
    /// The organisation that owns the input.
    pub org: String,
    /// The input's public id, `lv_..`, whichever id was asked for.
    pub input: String,
    /// When the permission ends by itself: a token's `exp`, or the end of a replaced stream key's
    /// grace; `None` when it has no end of its own.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// What was shown: the id of the stream key's version, or the token's key id. Opaque; compare
    /// with [`ChangeKind::StreamKeyRotated`].
    pub credential: String,
    /// How the client is to be treated.
    pub policy: Policy,
}

/// How a client of an input is to be treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The protocol that the input was made for.
    pub ingest: IngestKind,
    /// How long the answer may be relied on while the change feed cannot be read, in seconds.
    pub recheck_secs: u64,
}

/// A protocol by which media comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IngestKind {
    /// Fragmented MP4 over MoQT.
    #[default]
    Fmp4,
    /// WebRTC over HTTP.
    Whip,
    /// RTMP.
    Rtmp,
    /// SRT.
    Srt,
}

impl IngestKind {
    /// Every kind, the default first.
    pub const ALL: [Self; 4] = [Self::Fmp4, Self::Whip, Self::Rtmp, Self::Srt];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fmp4 => "fmp4",
            Self::Whip => "whip",
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// No, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people; holds no secret.
    pub message: String,
}

/// Why a call was refused, with the HTTP status that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The caller's own credential is missing or wrong, or none is set up at all (401).
    CallerRefused,
    /// The request does not make sense (400).
    BadRequest,
    /// The request is larger than allowed (413).
    TooLarge,
    /// There is no such input (404).
    UnknownInput,
    /// The stream key is not, or no longer, the input's (403).
    WrongStreamKey,
    /// The playback token was refused (403).
    TokenRefused,
    /// Come back later (503) or report a fault (500).
    Unavailable,
}

impl RefusalCode {
    /// Whether the client of the relay showed a bad credential: report `auth_failed` to it.
    pub const fn is_auth_failed(self) -> bool {
        matches!(
            self,
            Self::UnknownInput | Self::WrongStreamKey | Self::TokenRefused
        )
    }
}

/// What a relay needs to verify tokens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayState {
    /// The last change that the keys below include.
    pub cursor: u64,
    /// Every playback key of every organisation, active or not.
    pub keys: Vec<Jwk>,
}

/// What changed after the asked-for cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Ask for changes after this next time.
    pub cursor: u64,
    /// The feed cannot tell what happened since the asked-for cursor: fetch [`RelayState`].
    #[serde(default)]
    pub reset: bool,
    /// Oldest first; at most a few hundred at a time.
    pub changes: Vec<Change>,
}

/// One durable event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the feed; grows, may skip.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeKind {
    /// A stream key was replaced: end publishers of `input` whose credential is neither
    /// `credential` nor still in its grace.
    StreamKeyRotated {
        /// The owner.
        org: String,
        /// The input, `lv_..`.
        input: String,
        /// The version that is valid from now on.
        credential: String,
        /// The replaced version, if it stays valid for a while.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Grace>,
    },
    /// A signing key was made or deactivated. End viewers whose token it signed if it is inactive.
    SigningKeyChanged {
        /// The key's id.
        kid: String,
        /// The key as it is now.
        key: Jwk,
    },
    /// An input is gone: end its publishers and viewers.
    InputDeleted {
        /// The owner.
        org: String,
        /// The input, `lv_..`.
        input: String,
    },
    /// A kind that this version does not know; skip it.
    #[serde(other)]
    Unknown,
}

/// A replaced credential that stays valid for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grace {
    /// The replaced version.
    pub credential: String,
    /// When it ends.
    pub until: u64,
}

/// Which inputs a program is receiving media for. Sent every [`PRESENCE_INTERVAL_SECS`] and at
/// once when the set changes; it replaces what the same program said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// A name of the program that is its own among all, at most 128 characters.
    pub relay: String,
    /// Public ids, `lv_..`, at most [`PRESENCE_INPUTS_MAX`].
    pub live: Vec<String>,
}

/// Heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceReply {
    /// Say it again within this many seconds.
    pub ttl_secs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_flat_and_unknown_kinds_are_skipped() {
        let change: Change = serde_json::from_str(
            r#"{"seq":7,"kind":"input_deleted","org":"org_a","input":"lv_b"}"#,
        )
        .unwrap();
        assert_eq!(change.seq, 7);
        assert!(matches!(change.kind, ChangeKind::InputDeleted { .. }));
        let json = serde_json::to_string(&change).unwrap();
        assert_eq!(
            json,
            r#"{"seq":7,"kind":"input_deleted","org":"org_a","input":"lv_b"}"#
        );
        let later: Change =
            serde_json::from_str(r#"{"seq":8,"kind":"moon_phase","phase":3}"#).unwrap();
        assert_eq!(later.kind, ChangeKind::Unknown);
    }

    #[test]
    fn a_request_shows_no_secret_but_on_the_wire() {
        let request: ResolveRequest = serde_json::from_str(
            r#"{"kind":"publish","id":"lv_a","sk":"sk_live_verysecret","ip":"127.0.0.1"}"#,
        )
        .unwrap();
        assert!(!format!("{request:?}").contains("verysecret"));
        assert!(
            serde_json::to_string(&request)
                .unwrap()
                .contains("sk_live_verysecret")
        );
    }
}
