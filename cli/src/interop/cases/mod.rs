//! The cases, by name.
//!
//! | set | cases |
//! |---|---|
//! | `runner` | those of the public interoperability runner, and of clients that follow it |
//! | `data` | test tracks through the relay, object by object |
//! | `more` | what the specification lets one ask of a relay beyond that |
//!
//! A case connects its own sessions under names of its own, ends within a few seconds and looks at
//! what arrived, not only at whether something failed. Other clients' names for the same case are
//! aliases. Sources: the moq-interop-runner's case documents; draft-ietf-moq-transport-18.

mod auth;
mod data;
mod history;
mod more;
mod namespaces;
mod publish;
mod setup;
mod subscribe;

use super::bench::Bench;
use super::fault::Fault;
use mainstem_core::moqt::Draft;

/// Where a case comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// The public runner's.
    Runner,
    /// Test tracks.
    Data,
    /// Ours.
    More,
}

impl Set {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Data => "data",
            Self::More => "more",
        }
    }
}

/// One case.
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    /// Others' names for it.
    pub(crate) aliases: &'static [&'static str],
    /// Where it comes from.
    pub(crate) set: Set,
    /// First draft that has what it tests.
    pub(crate) since: u8,
    /// What it does; in words, what it saw.
    pub(crate) run: fn(&mut Bench) -> Result<String, Fault>,
}

impl Case {
    /// Why it cannot be run with this draft, if it cannot.
    pub(crate) fn skipped_at(&self, draft: Draft) -> Option<String> {
        let number = draft.number();
        (number < self.since)
            .then(|| format!("since draft {}; the session speaks {number}", self.since))
    }

    /// Whether `name` names it.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

const fn case(
    set: Set,
    name: &'static str,
    aliases: &'static [&'static str],
    since: u8,
    run: fn(&mut Bench) -> Result<String, Fault>,
) -> Case {
    Case {
        name,
        aliases,
        set,
        since,
        run,
    }
}

/// Every case, in the order of running.
pub(crate) const CASES: &[Case] = &[
    case(Set::Runner, "setup-only", &[], 0, setup::setup_only),
    case(
        Set::Runner,
        "announce-only",
        &["publish-namespace-only"],
        0,
        namespaces::announce_only,
    ),
    case(
        Set::Runner,
        "publish-namespace-done",
        &[],
        0,
        namespaces::publish_namespace_done,
    ),
    case(
        Set::Runner,
        "subscribe-error",
        &[],
        0,
        subscribe::subscribe_error,
    ),
    case(
        Set::Runner,
        "rendezvous-timeout",
        &[],
        18,
        subscribe::rendezvous_timeout,
    ),
    case(
        Set::Runner,
        "announce-subscribe",
        &["publish-namespace-subscribe"],
        0,
        subscribe::announce_subscribe,
    ),
    case(
        Set::Runner,
        "subscribe-before-announce",
        &["subscribe-before-publish-namespace"],
        0,
        subscribe::subscribe_before_announce,
    ),
    case(
        Set::Runner,
        "data-subgroup-basic",
        &[],
        0,
        data::subgroup_basic,
    ),
    case(Set::Runner, "fetch", &[], 0, history::fetch),
    case(Set::Runner, "join", &[], 0, history::join),
    case(
        Set::Runner,
        "subscribe-namespace-lifecycle",
        &[],
        16,
        namespaces::lifecycle,
    ),
    case(
        Set::Runner,
        "namespace-discovery",
        &[],
        18,
        namespaces::discovery,
    ),
    case(
        Set::Runner,
        "publish-track-only",
        &["publish-without-subscriber"],
        0,
        publish::track_only,
    ),
    case(
        Set::Runner,
        "publish-track-subscribe",
        &["publish-to-pending-subscription"],
        0,
        publish::track_subscribe,
    ),
    case(
        Set::Data,
        "moq-test-subgroup-per-group-eog",
        &[],
        0,
        data::subgroup_per_group_marked,
    ),
    case(
        Set::Data,
        "moq-test-subgroup-per-object",
        &[],
        0,
        data::subgroup_per_object,
    ),
    case(
        Set::Data,
        "moq-test-two-subgroups-eog",
        &[],
        0,
        data::two_subgroups_marked,
    ),
    case(Set::Data, "moq-test-datagram", &[], 0, data::datagram),
    case(
        Set::Data,
        "moq-test-datagram-eog",
        &[],
        0,
        data::datagram_marked,
    ),
    case(Set::Data, "moq-test-extensions", &[], 0, data::extensions),
    case(Set::Data, "moq-test-increments", &[], 0, data::increments),
    case(
        Set::Data,
        "moq-test-forward-zero",
        &[],
        0,
        data::forward_zero,
    ),
    case(Set::Data, "data-large-objects", &[], 0, data::large_objects),
    case(
        Set::More,
        "largest-location",
        &[],
        0,
        more::largest_location,
    ),
    case(Set::More, "track-status", &[], 0, more::track_status),
    case(Set::More, "fetch-range", &[], 0, history::fetch_range),
    case(
        Set::More,
        "fetch-descending",
        &[],
        0,
        history::fetch_descending,
    ),
    case(Set::More, "fetch-error", &[], 0, history::fetch_error),
    case(Set::More, "next-group", &[], 0, history::next_group),
    case(
        Set::More,
        "one-upstream-subscription",
        &[],
        0,
        more::one_upstream_subscription,
    ),
    case(Set::More, "forward-state", &[], 0, more::forward_state),
    case(
        Set::More,
        "filter-absolute-range",
        &[],
        0,
        more::filter_absolute_range,
    ),
    case(Set::More, "update-priority", &[], 0, more::update_priority),
    case(
        Set::More,
        "multiple-publishers",
        &[],
        18,
        more::multiple_publishers,
    ),
    case(Set::More, "publisher-lost", &[], 0, more::publisher_lost),
    case(Set::More, "token-missing", &[], 0, auth::token_missing),
    case(Set::More, "token-refused", &[], 0, auth::token_refused),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_and_alias_means_one_case() {
        let names = CASES
            .iter()
            .flat_map(|case| case.aliases.iter().copied().chain([case.name]));
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name} means two cases");
        }
    }
}
