//! What the relay asks of a track's publishers on behalf of all of its viewers.
//!
//! | asked | is | changes by |
//! |---|---|---|
//! | FORWARD | 1 while any viewer has objects forwarded, or the relay reads an upload, or keeps what is published | REQUEST_UPDATE, one at a time |
//! | LOCATION_FILTER | none: one subscription covers every viewer; where viewers know a place, from there | when that place is not there yet: others may want what is |
//! | NEW_GROUP_REQUEST | the largest that a viewer asked for | once until the largest group rises |
//!
//! The last viewer's `subscriber_linger` counts here too: until it is over, what was asked stays.
//!
//! Source: draft-ietf-moq-transport-18 and 19, sections 8.2 (forward handling), 8.4, 8.5,
//! 10.2.13 (NEW GROUP REQUEST).

use super::super::{Relay, RequestKey, TrackId};
use super::{Entry, Upstream};
use crate::moqt::filter::Filter;
use crate::moqt::name::Location;
use crate::moqt::parameter::Parameters;

/// What one publisher of a track was asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::moqt::relay) struct Asked {
    /// The forward state that it was told last.
    pub(super) forward: bool,
    /// It has an update to answer.
    is_outstanding: bool,
    /// Where the subscription begins, if it says so.
    start: Option<Location>,
}

impl Asked {
    pub(super) fn new(forward: bool) -> Self {
        Self {
            forward,
            is_outstanding: false,
            start: None,
        }
    }

    /// The same, of a subscription with this filter.
    pub(super) fn from(self, filter: Option<Filter>) -> Self {
        let start = match filter {
            Some(Filter::Absolute { start }) => Some(start),
            _ => None,
        };
        Self { start, ..self }
    }
}

/// A NEW_GROUP_REQUEST that publishers were sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::moqt::relay) struct NewGroup {
    value: u64,
    /// The largest location then: the request is outstanding until its group is passed.
    largest: Option<Location>,
}

impl Entry {
    /// The forward state that the viewers need; `None` leaves it as it is.
    pub(super) fn wanted_forward(&self) -> Option<bool> {
        let wants = |parameters: &Parameters| parameters.forward != Some(false);
        let waits = self.waiting.values().any(|it| wants(&it.parameters));
        if self.track.is_forwarding() || waits {
            Some(true)
        } else if !self.has_viewers() && self.idle_until.is_some() {
            None
        } else {
            Some(false)
        }
    }

    /// What a SUBSCRIBE to a publisher says for those who wait for it.
    pub(super) fn add_wishes(&self, parameters: &mut Parameters) {
        let asked = |it: &super::Waiting| it.parameters.new_group_request;
        parameters.forward = self.wanted_forward().filter(|forward| !forward);
        parameters.new_group_request = self.waiting.values().filter_map(asked).max();
    }
}

impl Relay {
    /// Tells the publishers of a track the forward state that its viewers need now.
    pub(in crate::moqt::relay) fn refresh_forward(&mut self, id: TrackId) {
        let Some(wanted) = self.entries.get(&id).and_then(Entry::wanted_forward) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        for (key, upstream) in &entry.upstreams {
            let is_upload = self.uploads.contains_key(key);
            let Some(asked) = entry.asked.get_mut(key) else {
                continue;
            };
            let is_kept = self.config.forward_published && *upstream == Upstream::Published;
            let is_right = asked.forward == wanted || !wanted && is_kept;
            let is_due = !is_right && !asked.is_outstanding && !is_upload;
            if !is_due || *upstream == Upstream::Pending {
                continue;
            }
            let forward = Parameters {
                forward: Some(wanted),
                ..Parameters::default()
            };
            let session = self.sessions.session_mut(key.0);
            if session.is_some_and(|session| session.update(key.1, forward).is_ok()) {
                asked.forward = wanted;
                asked.is_outstanding = true;
            }
        }
    }

    /// A publisher agreed and told how far its track has come. A place that a viewer named, and that
    /// is not there yet, must not keep from others what is.
    pub(super) fn widen_start(&mut self, id: TrackId, key: RequestKey, largest: Option<Location>) {
        let entry = self.entries.get_mut(&id);
        let Some(asked) = entry.and_then(|entry| entry.asked.get_mut(&key)) else {
            return;
        };
        let newest = Location::new(largest.map_or(0, |largest| largest.group), 0);
        if asked.start.take().is_none_or(|start| start <= newest) {
            return;
        }
        let filter = Parameters {
            filter: Some(Filter::Absolute { start: newest }),
            ..Parameters::default()
        };
        let session = self.sessions.session_mut(key.0);
        asked.is_outstanding = session.is_some_and(|session| session.update(key.1, filter).is_ok());
    }

    /// A publisher answered an update. A refusal ends the subscription, which it tells by itself.
    pub(in crate::moqt::relay) fn upstream_updated(&mut self, key: RequestKey) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        let entry = self.entries.get_mut(&id);
        if let Some(asked) = entry.and_then(|entry| entry.asked.get_mut(&key)) {
            asked.is_outstanding = false;
        }
        self.refresh_forward(id);
    }

    /// A viewer of an established track asks for a new group.
    pub(in crate::moqt::relay) fn ask_new_group(&mut self, id: TrackId, value: Option<u64>) {
        let (Some(value), Some(entry)) = (value, self.entries.get_mut(&id)) else {
            return;
        };
        let largest = entry.track.largest();
        let is_past = value != 0 && largest.is_some_and(|largest| value <= largest.group);
        let is_outstanding = entry.new_group.is_some_and(|sent| {
            sent.largest.map(|it| it.group) == largest.map(|it| it.group) && sent.value >= value
        });
        if !entry.track.properties().dynamic_groups() || is_past || is_outstanding {
            return;
        }
        entry.new_group = Some(NewGroup { value, largest });
        for (key, upstream) in &entry.upstreams {
            if *upstream == Upstream::Pending {
                continue;
            }
            let request = Parameters {
                new_group_request: Some(value),
                ..Parameters::default()
            };
            if let Some(session) = self.sessions.session_mut(key.0) {
                // A publisher that cannot be asked now begins groups by itself.
                let _ = session.update(key.1, request);
            }
        }
    }
}
