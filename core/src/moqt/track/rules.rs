//! Time-outs of delivery and of the cache, and what a subscription asks of each object.
//!
//! | rule | whose | beyond it |
//! |---|---|---|
//! | OBJECT_DELIVERY_TIMEOUT | subscriber, track, first object of a subgroup | the stream is reset, DELIVERY_TIMEOUT |
//! | SUBGROUP_DELIVERY_TIMEOUT | the same | the same, when the whole subgroup is known that long |
//! | either, for a datagram | the same | the transport drops it |
//! | MAX_CACHE_DURATION | track | the object is not sent; a stream in mid-subgroup is reset |
//! | range filters | subscriber | the object is left out |
//!
//! Of the publisher's and the subscriber's time-out the smaller rules; 0 is none. An object's time is
//! when its header was here. A subscription that none of these applies to pays one branch per object.
//!
//! Source: draft-ietf-moq-transport-19, sections 5.1.3 (range filters), 7.4 (delivery timeouts),
//! 12.3 (MAX_CACHE_DURATION).

use crate::canary::{self, Canary};
use crate::moqt::filter::sets::{Fields, ObjectFilter};
use crate::moqt::object::Object;
use crate::moqt::property::Properties;
use crate::time::Instant;
use std::time::Duration;

/// The two delivery time-outs of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From an object's arrival until it is handed to the transport.
    pub object: Option<Duration>,
    /// From the end of a subgroup until its stream is handed to the transport.
    pub subgroup: Option<Duration>,
}

impl Timeouts {
    /// Time-outs in ms, 0 being none.
    pub fn of_ms(object: Option<u64>, subgroup: Option<u64>) -> Self {
        if canary::is_on(Canary::DeliveryTimeoutIgnored) {
            return Self::default();
        }
        let duration = |ms: Option<u64>| ms.filter(|ms| *ms > 0).map(Duration::from_millis);
        Self {
            object: duration(object),
            subgroup: duration(subgroup),
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn smaller(self, other: Self) -> Self {
        let smaller = |a: Option<Duration>, b| a.into_iter().chain(b).min();
        Self {
            object: smaller(self.object, other.object),
            subgroup: smaller(self.subgroup, other.subgroup),
        }
    }

    /// What the first object of a subgroup says for that subgroup, where it says anything.
    #[must_use]
    pub fn overridden(self, by: &Properties) -> Self {
        if by.is_empty() {
            return self;
        }
        let (object, subgroup) = (
            by.object_delivery_timeout_ms(),
            by.subgroup_delivery_timeout_ms(),
        );
        let said = Self::of_ms(object, subgroup);
        Self {
            object: if object.is_some() {
                said.object
            } else {
                self.object
            },
            subgroup: if subgroup.is_some() {
                said.subgroup
            } else {
                self.subgroup
            },
        }
    }
}

/// What the track's publisher says for all of its objects, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    /// Publisher priority of what states none.
    pub priority: u8,
    /// Delivery time-outs of what states none.
    pub timeouts: Timeouts,
    /// How long an object may be served from the cache.
    pub cache_duration: Option<Duration>,
}

impl Defaults {
    /// Those of a track with these properties.
    pub(super) fn of(properties: &Properties) -> Self {
        Self {
            priority: properties.default_publisher_priority(),
            timeouts: Timeouts::of_ms(
                properties.object_delivery_timeout_ms(),
                properties.subgroup_delivery_timeout_ms(),
            ),
            cache_duration: properties
                .max_cache_duration_ms()
                .map(Duration::from_millis),
        }
    }
}

/// What is asked of each object before it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) filter: Option<&'a ObjectFilter>,
    pub(super) timeout: Option<Duration>,
    pub(super) cache_duration: Option<Duration>,
    pub(super) priority: u8,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// It did not pass a filter.
    LeaveOut,
    /// It stayed in the cache for too long.
    Stale,
    /// Its delivery time is over.
    Late,
}

impl Verdict {
    /// Whether the object is passed over and the subgroup goes on after it.
    pub(super) fn leaves_out(self, is_open: bool) -> bool {
        match self {
            Self::LeaveOut => true,
            Self::Stale => !is_open,
            Self::Send | Self::Late => false,
        }
    }
}

impl Rules<'_> {
    /// Whether there is anything to ask.
    pub(super) fn are_any(&self) -> bool {
        self.filter.is_some() || self.timeout.is_some() || self.cache_duration.is_some()
    }

    pub(super) fn judge(&self, now: Instant, received: Instant, object: &Object) -> Verdict {
        let age = now.saturating_since(received);
        if self.timeout.is_some_and(|timeout| age > timeout) {
            return Verdict::Late;
        }
        if self.cache_duration.is_some_and(|max| age > max) {
            return Verdict::Stale;
        }
        let fields = Fields {
            subgroup: object.subgroup,
            object: object.object,
            priority: self.priority,
            properties: &object.properties,
        };
        if self.filter.is_none_or(|filter| filter.passes(fields)) {
            Verdict::Send
        } else {
            Verdict::LeaveOut
        }
    }
}
