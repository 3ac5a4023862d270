//! Failures that have been looked into: whose they are, and why.
//!
//! A line holds for the relays, the client and the cases that it names (`*`: any, `|`: or), and for the drafts
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
    let fits_one = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    let fits = |patterns: &str, name: &str| patterns.split('|').any(|each| fits_one(each, name));
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

const KNOWN: &[Known] = &[
    known(
        "aiomoqt",
        "mainstem",
        "data-large-objects",
        "relay",
        "objects of more than 1 MiB are not passed on; up to 1 MB they are",
    ),
    known(
        "mainstem|aiomoqt",
        "moq-test-client",
        "publish-track-subscribe",
        "client",
        "its library (moq-transport 0.17.0, `apply_new_group_update`) takes nothing but NEW_GROUP_REQUEST in a \
         REQUEST_UPDATE of its PUBLISH: it refuses FORWARD 1 and ends the track with UPDATE_FAILED",
    ),
    known(
        "mainstem|aiomoqt",
        "moq-test-client",
        "moq-test-forward-zero",
        "client",
        "its publisher gives up (`failed to create subgroup: cancelled`) when the answer to PUBLISH says FORWARD 0, \
         which is what the only subscriber asked for",
    ),
    known(
        "aiomoqt",
        "publish/watch",
        "media",
        "relay",
        "serves WebTransport at the path `/` only, and our publisher's namespace is the path",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "publish-namespace-done",
        "relay",
        "closes the session over raw QUIC when a request stream is reset: it takes the code for a WebTransport one",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "subscribe-error",
        "relay",
        "resets the request before its REQUEST_ERROR is read",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "forward-state",
        "relay",
        "REQUEST_UPDATE of a subscription is refused with NOT_SUPPORTED",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "update-priority",
        "relay",
        "REQUEST_UPDATE of a subscription is refused with NOT_SUPPORTED",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "filter-absolute-range",
        "relay",
        "an AbsoluteRange subscription gets no objects",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "multiple-publishers",
        "relay",
        "a namespace has one publisher: the second announcement is reset",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "rendezvous-timeout",
        "relay",
        "does not hold a SUBSCRIBE: DOES_NOT_EXIST at once",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "namespace-discovery",
        "relay",
        "PUBLISH and SUBSCRIBE_TRACKS are not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "publish-track-*",
        "relay",
        "PUBLISH is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "moq-test-*",
        "relay",
        "PUBLISH is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "track-status",
        "relay",
        "TRACK_STATUS is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "fetch-range",
        "relay",
        "FETCH of more than one group is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "fetch-descending",
        "relay",
        "FETCH of more than one group is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "fetch",
        "relay",
        "up to draft 18 FETCH_OK ends with the group after the one asked for; from 20 on each fetched object has priority 0",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "join",
        "relay",
        "FETCH of more than one group is not supported, and such a fill is reset before its header",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "forward-state",
        "relay",
        "a SUBSCRIBE with FORWARD 0 is not passed on",
    ),
    known(
        "moq-rs|moq-relay",
        "aiomoqt",
        "rendezvous-timeout",
        "relay",
        "does not hold a SUBSCRIBE: DOES_NOT_EXIST at once",
    ),
    known(
        "moq-rs|moq-relay",
        "aiomoqt",
        "namespace-discovery",
        "relay",
        "PUBLISH and SUBSCRIBE_TRACKS are not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "aiomoqt",
        "publish-track-*",
        "relay",
        "PUBLISH is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "moq-test-client",
        "rendezvous-timeout",
        "relay",
        "does not hold a SUBSCRIBE: DOES_NOT_EXIST at once",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "filter-absolute-range",
        "relay",
        "delivers whole groups, and more of them than the filter asks for",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "largest-location",
        "relay",
        "begins with the group under way when the next one was asked for",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "next-group",
        "relay",
        "begins with the group under way when the next one was asked for",
    ),
    known(
        "moq-rs|moq-relay",
        "aiomoqt",
        "join",
        "relay",
        "FETCH of more than one group is not supported, and such a fill is reset before its header",
    ),
    known(
        "moq-rs|moq-relay",
        "moq-test-client",
        "publish-track-*|moq-test-*",
        "relay",
        "PUBLISH is not supported",
    ),
    known(
        "moq-rs|moq-relay",
        "moq-test-client",
        "data-subgroup-basic",
        "relay",
        "adds a property of its own (a timestamp) to each object of a track that has none",
    ),
    known(
        "moq-rs|moq-relay",
        "mainstem",
        "update-priority",
        "relay",
        "answers REQUEST_UPDATE from draft 17 on; at draft 16 it says nothing",
    ),
    known(
        "moq-rs|moq-relay",
        "moq-pub/moq-sub",
        "media",
        "client",
        "moq-pub refuses the joining FETCH by which this relay gets an initialization segment that was sent already \
         (NOT_SUPPORTED, \"FETCH history is disabled\")",
    ),
    known(
        "*",
        "moq-test-client",
        "moq-test-datagram*",
        "client",
        "reads datagrams by latest value: what comes while it is busy is lost (said so in its moqtest.rs)",
    ),
    known(
        "moq-relay-ietf",
        "mainstem",
        "moq-test-datagram*",
        "unsettled",
        "differs from run to run on a busy machine, and passed on a quieter one; who loses it is not traced",
    ),
    known(
        "moq-relay-ietf",
        "moq-test-client",
        "moq-test-extensions|moq-test-increments|moq-test-subgroup-per-object",
        "unsettled",
        "differs from run to run on a busy machine, and passed on a quieter one; who loses it is not traced",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_one_or_several_cases() {
        let whose = |relay: &str, case: &str| find(relay, "mainstem", 18, case).map(|k| k.whose);
        assert_eq!(whose("moq-relay", "moq-test-datagram"), Some("relay"));
        assert_eq!(whose("moq-rs", "publish-track-only"), Some("relay"));
        assert_eq!(whose("moq-relay-ietf", "publish-track-only"), None);
    }
}
