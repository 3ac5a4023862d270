//! Which drafts of MoQT are spoken, and how they differ.
//!
//! Code that depends on the draft asks the [`Profile`] for a capability, it does not compare draft
//! numbers. Where a form has to be chosen, the choice is an exhaustive `match` on the form, so that
//! a new form is a compile error at every place that must know it.
//!
//! | draft | filter | fetch | unknown stream count | GOAWAY request id | since 19/20 |
//! |---|---|---|---|---|---|
//! | 16 | as 18 | as 18 | as 18 | never | - |
//! | 18 | typed, end by group | typed, joining | 2^62 - 1 | on the control stream | - |
//! | 20, 21 | fields counted by length | inline, by filter | 2^64 - 1 | never | fill, range filters, state notify |
//! | 22 | tagged by type, no length | inline, by filter | 2^64 - 1 | never | as 20 |
//!
//! Draft 16 is another protocol on the wire. What stands here about it is the form that its sessions
//! have inside, which is 18's; [`super::legacy`] translates between the two.
//!
//! Source: draft-ietf-moq-transport-18 (text); 20, 21 and 22 by their changes against it.

use std::fmt;

/// A draft of draft-ietf-moq-transport that this implementation speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Draft {
    /// draft-ietf-moq-transport-16, by [`super::legacy`].
    D16,
    /// draft-ietf-moq-transport-18.
    D18,
    /// draft-ietf-moq-transport-20.
    D20,
    /// draft-ietf-moq-transport-21: the wire of 20.
    D21,
    /// draft-ietf-moq-transport-22.
    D22,
}

impl Draft {
    /// Every draft spoken, most preferred first; the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::D22, Self::D20, Self::D21, Self::D18, Self::D16];

    /// The drafts whose wire the codec writes itself.
    pub const CANONICAL: [Self; 4] = [Self::D22, Self::D20, Self::D21, Self::D18];

    /// The draft of an ALPN or `WT-Available-Protocols` name such as `moqt-22`.
    pub fn from_protocol(protocol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.protocol() == protocol)
    }

    /// The ALPN and `WT-Available-Protocols` name.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::D16 => "moqt-16",
            Self::D18 => "moqt-18",
            Self::D20 => "moqt-20",
            Self::D21 => "moqt-21",
            Self::D22 => "moqt-22",
        }
    }

    /// The draft's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::D16 => 16,
            Self::D18 => 18,
            Self::D20 => 20,
            Self::D21 => 21,
            Self::D22 => 22,
        }
    }

    /// How this draft differs from the others.
    pub const fn profile(self) -> &'static Profile {
        match self {
            Self::D16 => &PROFILE_16,
            Self::D18 => &PROFILE_18,
            Self::D20 | Self::D21 => &PROFILE_20,
            Self::D22 => &PROFILE_22,
        }
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol())
    }
}

/// How the LOCATION_FILTER parameter (0x21, SUBSCRIPTION_FILTER in 18) is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterForm {
    /// 18: length, then one of the types 1..=4.
    Typed,
    /// 20 and 21: length, then 0..=4 integers whose number tells the form; two zeros are special.
    CountedFields,
    /// 22: one of the types 0..=5 and the fields it names, no length.
    TaggedByType,
}

/// How FETCH names its track and range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchForm {
    /// 18: a fetch type; standalone with an end one past the last object, or joining a subscription.
    Typed,
    /// 20 and later: the track in the message, the range in the location filter, ends inclusive.
    Inline,
}

/// Which table of Message Parameters applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterTable {
    /// draft 18, Section 10.2.
    Eighteen,
    /// drafts 20 and later.
    Twenty,
}

/// What a draft can do and how it writes things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How the location filter is written.
    pub filter_form: FilterForm,
    /// How FETCH is written, and whether joining fetches exist ([`FetchForm::Typed`]).
    pub fetch_form: FetchForm,
    /// Which Message Parameters exist and where they may appear.
    pub parameter_table: ParameterTable,
    /// GOAWAY on the control stream names the smallest request that was not processed.
    pub goaway_request_id: bool,
    /// PUBLISH_STATE_NOTIFY (0x22) exists.
    pub publish_state_notify: bool,
    /// FILL_PARAMETERS (0x23) and fill fetch streams exist.
    pub fill: bool,
    /// Range filters (0x25 to 0x29) and the MAX_FILTER_RANGES option exist.
    pub range_filters: bool,
    /// INCLUDE_PROPERTIES (0x35) exists.
    pub include_properties: bool,
    /// SUBSCRIBE_TRACKS (0x51) exists.
    pub subscribe_tracks: bool,
    /// A session may subscribe to one track several times.
    pub concurrent_subscriptions: bool,
    /// The MAX_REQUEST_UPDATES option exists.
    pub max_request_updates: bool,
    /// Fetch streams can mark a timed-out range (0x20C).
    pub timed_out_ranges: bool,
    /// PUBLISH_OK has a type of its own (0x1E) beside REQUEST_OK in the message table.
    pub publish_ok_type: bool,
    /// The Stream Count of PUBLISH_DONE that means "not known".
    pub stream_count_unknown: u64,
}

const PROFILE_16: Profile = Profile {
    goaway_request_id: false,
    ..PROFILE_18
};

const PROFILE_18: Profile = Profile {
    filter_form: FilterForm::Typed,
    fetch_form: FetchForm::Typed,
    parameter_table: ParameterTable::Eighteen,
    goaway_request_id: true,
    publish_state_notify: false,
    fill: false,
    range_filters: false,
    include_properties: false,
    subscribe_tracks: true,
    concurrent_subscriptions: false,
    max_request_updates: false,
    timed_out_ranges: false,
    publish_ok_type: true,
    stream_count_unknown: (1 << 62) - 1,
};

const PROFILE_20: Profile = Profile {
    filter_form: FilterForm::CountedFields,
    fetch_form: FetchForm::Inline,
    parameter_table: ParameterTable::Twenty,
    goaway_request_id: false,
    publish_state_notify: true,
    fill: true,
    range_filters: true,
    include_properties: true,
    subscribe_tracks: true,
    concurrent_subscriptions: true,
    max_request_updates: true,
    timed_out_ranges: true,
    publish_ok_type: false,
    stream_count_unknown: u64::MAX,
};

const PROFILE_22: Profile = Profile {
    filter_form: FilterForm::TaggedByType,
    ..PROFILE_20
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draft_is_found_by_its_protocol_name() {
        for draft in Draft::ALL {
            assert_eq!(Draft::from_protocol(draft.protocol()), Some(draft));
            assert_eq!(draft.protocol(), format!("moqt-{}", draft.number()));
        }
        assert_eq!(Draft::from_protocol("moqt-19"), None);
        assert_eq!(Draft::from_protocol("moqt"), None);
    }

    #[test]
    fn drafts_20_and_21_share_one_wire() {
        assert_eq!(Draft::D20.profile(), Draft::D21.profile());
        assert_ne!(Draft::D21.profile(), Draft::D22.profile());
    }
}
