//! The track registry: who feeds a track, who waits for it, who gets it.
//!
//! What viewers and publishers do to a track is in `viewers` and `publishers`; here are the entry
//! itself and what time does to it.

mod forward;
mod malformed;
mod offers;
mod publishers;
mod status;
mod viewers;

pub(in crate::moqt::relay) use offers::Offers;
pub(in crate::moqt::relay) use publishers::refusal_downstream;
pub(in crate::moqt::relay) use status::Questions;

use super::ahead::Ahead;
use super::{Relay, RequestKey, Timer, TrackId};
use crate::canary::{self, Canary};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use crate::moqt::filter::Filter;
use crate::moqt::name::{FullTrackName, RequestId};
use crate::moqt::parameter::Parameters;
use crate::moqt::track::Track;
use crate::time::Instant;
use crate::transport::SessionId;

/// A track that the relay knows.
#[derive(Debug)]
pub(in crate::moqt::relay) struct Entry {
    pub(in crate::moqt::relay) name: FullTrackName,
    pub(in crate::moqt::relay) track: Track,
    pub(in crate::moqt::relay) upstreams: BTreeMap<RequestKey, Upstream>,
    /// What each of them was asked for.
    asked: BTreeMap<RequestKey, forward::Asked>,
    /// The last NEW_GROUP_REQUEST that they were sent.
    new_group: Option<forward::NewGroup>,
    /// The upload that feeds it, where it is a track of the relay's own making.
    pub(in crate::moqt::relay) made_by: Option<RequestKey>,
    /// It is to be read as an upload once its publisher agrees.
    pub(in crate::moqt::relay) is_wanted: bool,
    /// Viewers whose SUBSCRIBE waits for the upstream's answer, or for a publisher.
    waiting: BTreeMap<RequestKey, Waiting>,
    /// Viewers that were sent a PUBLISH and did not answer yet, with what they asked for.
    offered: BTreeMap<RequestKey, Parameters>,
    /// When the viewers of a lost publisher are let go.
    orphaned_until: Option<Instant>,
    /// When an upstream subscription without viewers is given up.
    pub(in crate::moqt::relay) idle_until: Option<Instant>,
    is_ending: bool,
    /// Relays that were asked since the last one agreed.
    pub(in crate::moqt::relay) tried: BTreeSet<SessionId>,
    /// Subgroups that another relay is to go on with, and whether it sends what is here already.
    pub(in crate::moqt::relay) takeover: BTreeMap<(u64, u64), bool>,
    pub(in crate::moqt::relay) takeover_until: Option<Instant>,
    /// Objects that came before those that belong in front of them.
    pub(in crate::moqt::relay) ahead: Ahead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::moqt::relay) enum Upstream {
    /// Our SUBSCRIBE is not answered yet.
    Pending,
    /// Our SUBSCRIBE was accepted.
    Subscribed,
    /// The peer's PUBLISH was accepted: it is the peer's to end.
    Published,
}

#[derive(Debug)]
struct Waiting {
    parameters: Parameters,
    /// How long it waits for a publisher; `None` while an upstream is being asked.
    until: Option<Instant>,
}

impl Entry {
    pub(in crate::moqt::relay) fn is_fed(&self) -> bool {
        let is_answered = |upstream: &Upstream| *upstream != Upstream::Pending;
        self.made_by.is_some() || self.upstreams.values().any(is_answered)
    }

    pub(in crate::moqt::relay) fn has_viewers(&self) -> bool {
        self.track.subscribers_len() > 0 || !self.waiting.is_empty() || !self.offered.is_empty()
    }

    /// Who watches, waits, or was offered the track.
    pub(in crate::moqt::relay) fn viewers(&self) -> impl Iterator<Item = RequestKey> {
        let asking = self.waiting.keys().chain(self.offered.keys());
        self.track.subscribers().chain(asking.copied())
    }

    /// Whether it has ended and nobody asked for it again since.
    pub(in crate::moqt::relay) fn is_ending(&self) -> bool {
        self.is_ending && self.waiting.is_empty()
    }

    /// Whether a session has the track from here, or waits for it.
    pub(in crate::moqt::relay) fn is_taken_by(&self, session: SessionId) -> bool {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.track.has_subscriber_of(session) || self.waiting.range(of_session).next().is_some()
    }

    /// The smallest group that a viewer who waits asks for by its number.
    pub(in crate::moqt::relay) fn waiting_from(&self) -> Option<u64> {
        let filters = self
            .waiting
            .values()
            .map(|waiting| waiting.parameters.filter);
        let starts = filters.filter_map(|filter| match filter {
            Some(Filter::Absolute { start } | Filter::AbsoluteRange { start, .. }) => {
                Some(start.group)
            }
            _ => None,
        });
        starts.min()
    }

    /// Somebody was asked: nobody's patience for a publisher runs out any more.
    pub(in crate::moqt::relay) fn stop_rendezvous(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.until = None;
        }
    }

    /// The requests that feed the track.
    pub(in crate::moqt::relay) fn established_upstreams(&self) -> impl Iterator<Item = RequestKey> {
        let established = |upstream: &Upstream| *upstream != Upstream::Pending;
        let of_track = self.upstreams.iter();
        of_track
            .filter(move |(_, upstream)| established(upstream))
            .map(|(key, _)| *key)
    }

    /// What a session feeds the track by, and whether it agreed to.
    pub(in crate::moqt::relay) fn upstream_of(
        &self,
        session: SessionId,
    ) -> Option<(RequestKey, bool)> {
        let of_session = self.upstreams.iter().find(|(key, _)| key.0 == session);
        of_session.map(|(key, upstream)| (*key, *upstream != Upstream::Pending))
    }

    fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.values().filter_map(|waiting| waiting.until);
        let track = self.track.next_timeout();
        waiting
            .chain(track)
            .chain(self.orphaned_until)
            .chain(self.idle_until)
            .min()
    }
}

/// Time.
impl Relay {
    pub(in crate::moqt::relay) fn arm_track(&mut self, id: TrackId) {
        if let Some(at) = self.entries.get(&id).and_then(Entry::next_timeout) {
            self.timers.insert((at, Timer::Track(id)));
        }
    }

    pub(in crate::moqt::relay) fn take_track_timer(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let given_up: Vec<RequestKey> = entry
            .waiting
            .iter()
            .filter(|(_, waiting)| due(waiting.until))
            .map(|(key, _)| *key)
            .collect();
        for key in &given_up {
            entry.waiting.remove(key);
        }
        let (is_idle, is_orphaned) = (due(entry.idle_until), due(entry.orphaned_until));
        entry.track.handle_timeout(now, &mut self.sessions);
        for key in given_up {
            self.downstreams.remove(&key);
            self.refuse(
                key,
                RequestCode::TIMEOUT,
                "nobody published the track in time",
            );
        }
        if is_orphaned {
            let reason = "the publisher was lost and did not come back";
            self.end_track(now, id, PublishDoneCode::TRACK_ENDED, reason);
        } else {
            self.drop_ended(id);
        }
        if is_idle {
            self.give_up_idle(now, id);
        }
        self.remove_if_unused(id);
        self.arm_track(id);
    }

    /// No viewer is left: ends our upstream subscriptions and forgets what they brought.
    pub(super) fn give_up_idle(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.idle_until = None;
        if entry.has_viewers() || canary::is_on(Canary::UpstreamLeaked) {
            return;
        }
        if let Some(upload) = entry.made_by {
            // With the last viewer of what is made of it, the upload may have lost its last.
            if let Some(broadcast) = self.uploaded_track(upload) {
                self.give_up_idle(now, broadcast);
            }
            return;
        }
        let ours: Vec<RequestKey> = entry
            .upstreams
            .iter()
            .filter(|(_, upstream)| **upstream != Upstream::Published)
            .map(|(key, _)| *key)
            .collect();
        self.refresh_forward(id);
        for key in ours {
            if !self.has_viewers_of_made(key) {
                self.detach(now, key);
                self.cancel(key, StreamCode::CANCELLED);
                self.lose_upload(now, key);
            }
        }
        self.remove_if_unused(id);
    }

    /// Forgets a track that nobody feeds and nobody wants.
    pub(in crate::moqt::relay) fn remove_if_unused(&mut self, id: TrackId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if entry.is_fed() || !entry.upstreams.is_empty() || entry.has_viewers() {
            return;
        }
        if self.fetches.hold(id) {
            if let Some(entry) = self.entries.get_mut(&id) {
                let before = entry.track.cache().bytes();
                let retired = entry.track.retire();
                let after = entry.track.cache().bytes();
                self.cache_bytes = self
                    .cache_bytes
                    .saturating_sub(before)
                    .saturating_add(after);
                self.ages.forget_track(id);
                for (received, group) in retired {
                    self.fetches.ages.insert((received, id, group));
                }
                // Kept for fetches it counts for more, and all of it may go now.
                self.evict();
            }
            return;
        }
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.names.remove(&entry.name);
        self.viewed.remove(&entry.name);
        self.ages.forget_track(id);
        self.fetches.ages.forget_track(id);
        self.cache_bytes = self.cache_bytes.saturating_sub(entry.track.cache().bytes());
        let counters = entry.track.counters();
        self.metrics.objects_sent += counters.objects_sent;
        self.metrics.bytes_sent += counters.bytes_sent;
        self.metrics.groups_dropped += counters.groups_dropped;
        self.metrics.groups_cut += counters.groups_cut;
        self.metrics.groups_expired += counters.groups_expired;
        self.metrics.groups_stopped += counters.groups_stopped;
        self.metrics.delays.merge(&counters.delays);
    }
}
