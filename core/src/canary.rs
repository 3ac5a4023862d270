//! Deliberate faults, which prove that the checkers of the simulator look.
//!
//! A checker that never found anything may be blind. Each [`Canary`] is one fault of the kind that a checker
//! is for, in the machine where the real one would be. They are compiled in with the feature `canaries`
//! alone, which no crate asks for by default and a tidy test holds off the workspace's builds; without it
//! [`is_on`] is a constant `false` and costs nothing.
//!
//! | state | [`is_on`] |
//! |---|---|
//! | feature off | never |
//! | feature on, nothing selected | never |
//! | feature on, [`select`]ed on this thread | for the one selected |
//!
//! `cargo xtask canaries` selects one after the other and fails when one is not caught by its checker.

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// The relay lets sessions and subscriptions outlive their token.
    TokenExpiryIgnored,
    /// The relay takes a good token for any input.
    TokenScopeIgnored,
    /// A session whose token ended is closed with another code than the draft's.
    CloseWithWrongCode,
    /// The relay changes a byte of each payload.
    PayloadCorrupted,
    /// The subscriber hands each object to its owner twice.
    ObjectTwice,
    /// The subscriber hands objects that came together to its owner in the wrong order.
    ObjectsSwapped,
    /// A track leaves out an object in the middle of a subgroup, without a word.
    ObjectLeftOut,
    /// The subscriber tells the end of a subgroup when it has its first object.
    EndToldEarly,
    /// A track never ends the streams of finished subgroups.
    FinLost,
    /// The relay keeps its upstream subscription after the last viewer left.
    UpstreamLeaked,
    /// The relay subscribes to a publisher twice for one track.
    UpstreamTwice,
    /// The relay does not look for another publisher when one is lost, nor asks one that comes back.
    ResubscribeForgotten,
    /// The relay does not tell its viewers that a track has ended.
    TrackEndForgotten,
    /// Every stream has the same priority.
    PriorityIgnored,
    /// The relay keeps retained groups beyond its budget.
    CacheBoundPassed,
    /// The relay counts the bytes of its cache twice when they come and once when they go.
    CacheBytesCountedTwice,
    /// The relay never answers a joining FETCH or a fill.
    PastUnanswered,
    /// The subscriber does not tell its owner of GOAWAY.
    GoawayIgnored,
    /// The relay forgets its own timers and remembers its sessions' alone.
    TimerForgotten,
    /// The host never tells that a stream takes bytes again.
    WritableLost,
    /// An update of a catalog leaves out a change.
    CatalogChangeLeftOut,
    /// A track knows no delivery time-out.
    DeliveryTimeoutIgnored,
}

impl Canary {
    /// Every canary.
    pub const ALL: [Self; 22] = [
        Self::TokenExpiryIgnored,
        Self::TokenScopeIgnored,
        Self::CloseWithWrongCode,
        Self::PayloadCorrupted,
        Self::ObjectTwice,
        Self::ObjectsSwapped,
        Self::ObjectLeftOut,
        Self::EndToldEarly,
        Self::FinLost,
        Self::UpstreamLeaked,
        Self::UpstreamTwice,
        Self::ResubscribeForgotten,
        Self::TrackEndForgotten,
        Self::PriorityIgnored,
        Self::CacheBoundPassed,
        Self::CacheBytesCountedTwice,
        Self::PastUnanswered,
        Self::GoawayIgnored,
        Self::TimerForgotten,
        Self::WritableLost,
        Self::CatalogChangeLeftOut,
        Self::DeliveryTimeoutIgnored,
    ];

    /// Its name, stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenExpiryIgnored => "token-expiry-ignored",
            Self::TokenScopeIgnored => "token-scope-ignored",
            Self::CloseWithWrongCode => "close-with-wrong-code",
            Self::PayloadCorrupted => "payload-corrupted",
            Self::ObjectTwice => "object-twice",
            Self::ObjectsSwapped => "objects-swapped",
            Self::ObjectLeftOut => "object-left-out",
            Self::EndToldEarly => "end-told-early",
            Self::FinLost => "fin-lost",
            Self::UpstreamLeaked => "upstream-leaked",
            Self::UpstreamTwice => "upstream-twice",
            Self::ResubscribeForgotten => "resubscribe-forgotten",
            Self::TrackEndForgotten => "track-end-forgotten",
            Self::PriorityIgnored => "priority-ignored",
            Self::CacheBoundPassed => "cache-bound-passed",
            Self::CacheBytesCountedTwice => "cache-bytes-counted-twice",
            Self::PastUnanswered => "past-unanswered",
            Self::GoawayIgnored => "goaway-ignored",
            Self::TimerForgotten => "timer-forgotten",
            Self::WritableLost => "writable-lost",
            Self::CatalogChangeLeftOut => "catalog-change-left-out",
            Self::DeliveryTimeoutIgnored => "delivery-timeout-ignored",
        }
    }

    /// The canary of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|canary| canary.name() == name)
    }
}

#[cfg(feature = "canaries")]
thread_local! {
    static SELECTED: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// Whether the fault is on.
#[cfg(feature = "canaries")]
pub fn is_on(canary: Canary) -> bool {
    SELECTED.get() == Some(canary)
}

/// Whether the fault is on: without the feature, never.
#[cfg(not(feature = "canaries"))]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the constant has to disappear, in builds without optimisation too"
)]
pub const fn is_on(canary: Canary) -> bool {
    let _ = canary;
    false
}

/// Switches one fault on for this thread, and all others off.
#[cfg(feature = "canaries")]
pub fn select(canary: Option<Canary>) {
    SELECTED.set(canary);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for canary in Canary::ALL {
            assert_eq!(Canary::from_name(canary.name()), Some(canary));
        }
    }

    #[test]
    fn nothing_is_on_that_was_not_selected() {
        assert!(!Canary::ALL.into_iter().any(is_on));
    }

    #[cfg(feature = "canaries")]
    #[test]
    fn a_selection_is_of_one_canary_and_one_thread() {
        select(Some(Canary::FinLost));
        let on: Vec<Canary> = Canary::ALL.into_iter().filter(|it| is_on(*it)).collect();
        select(None);
        assert_eq!(on, [Canary::FinLost]);
    }
}
