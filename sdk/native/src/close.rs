//! How a client stands, and why it came to its end.
//!
//! The words are those of every SDK. Source: seed document 000 (close reasons); CONTRACTS A1 (states).

use std::fmt;

/// How a client stands; the numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum State {
    /// No session yet.
    Connecting = 0,
    /// A session is ready.
    Connected = 1,
    /// The session was lost, the next one is on its way.
    Reconnecting = 2,
    /// Over: closed by its owner, or everything that was watched has ended.
    Closed = 3,
    /// Over: the relay refuses for lack of permission.
    Failed = 4,
}

/// Why something is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The publisher ended what was watched.
    Complete,
    /// A key or token is wrong, expired or for something else.
    AuthFailed,
    /// The relay cannot be reached, or does not have the stream.
    Network,
    /// Its owner closed it.
    ClosedByCaller,
    /// A publisher's owner said that it is done.
    Finished,
}

/// The end of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why, as a program reads it.
    pub reason: CloseReason,
    /// Why, as a person does; without secrets.
    pub detail: Option<String>,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Complete,
        Self::AuthFailed,
        Self::Network,
        Self::ClosedByCaller,
        Self::Finished,
    ];

    /// The word that SDKs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::AuthFailed => "auth_failed",
            Self::Network => "network",
            Self::ClosedByCaller => "closed_by_caller",
            Self::Finished => "finished",
        }
    }

    /// The reason of that word.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Close {
    /// Closed by its owner.
    pub(crate) const fn by_caller(reason: CloseReason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }

    pub(crate) fn new(reason: CloseReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: Some(detail.into()),
        }
    }

    /// Whether a peer's words say that permission is what lacks.
    pub(crate) fn is_auth_failed(words: &str) -> bool {
        words.starts_with(CloseReason::AuthFailed.as_str())
    }

    /// The state that a client ends in.
    pub(crate) const fn state(&self) -> State {
        match self.reason {
            CloseReason::AuthFailed => State::Failed,
            CloseReason::Complete
            | CloseReason::Network
            | CloseReason::ClosedByCaller
            | CloseReason::Finished => State::Closed,
        }
    }
}
