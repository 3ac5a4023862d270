//! Failures that have been looked into: whose they are, and why.
//!
//! A line holds for the relay, the client and the case that it names (`*`: any), and for the drafts
//! up to and from those it names. A line that nothing matches any more goes.

/// One failure and its reason.
pub(crate) struct Known {
    relay: &'static str,
    client: &'static str,
    /// A case, or the beginning of several with `*` at the end.
    case: &'static str,
    /// Drafts from and to, both included.
    drafts: (u8, u8),
    /// Whose fault it is.
    pub(crate) whose: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

const ANY: (u8, u8) = (0, u8::MAX);

/// The reason for a failure, if it is known.
pub(crate) fn find(relay: &str, client: &str, draft: u8, case: &str) -> Option<&'static Known> {
    let fits = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    KNOWN.iter().find(|known| {
        fits(known.relay, relay)
            && fits(known.client, client)
            && fits(known.case, case)
            && (known.drafts.0..=known.drafts.1).contains(&draft)
    })
}

const fn known(
    relay: &'static str,
    client: &'static str,
    case: &'static str,
    whose: &'static str,
    reason: &'static str,
) -> Known {
    Known {
        relay,
        client,
        case,
        drafts: ANY,
        whose,
        reason,
    }
}

const KNOWN: &[Known] = &[known(
    "moq-rel*",
    "mainstem",
    "update-priority",
    "relay",
    "REQUEST_UPDATE gets no answer, or an error",
)];
