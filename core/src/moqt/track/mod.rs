//! One track as its publisher sees it: what is retained, and who gets it.
//!
//! Relay and original publisher share it. Objects go into the [`Cache`]; each subscription has a
//! cursor per subgroup into that cache and a stream of its own, and is served as fast as its own
//! connection takes it. Nobody waits for anybody.
//!
//! # A slow subscriber
//!
//! One notified write per stream is in the transport at a time; what follows stays in the cache,
//! which all subscribers share. When a new group begins while more than
//! [`Limits::groups_behind_max`] older ones are unfinished for a subscriber, and not just arrived in
//! a burst, the oldest are reset: it loses old groups and goes on with new ones.
//!
//! # Order of delivery
//!
//! The transport sends the stream with the highest priority first. [`stream_priority`] packs
//! subscriber priority, publisher priority and group order into it, as the draft's scheduling
//! algorithm ranks them.
//!
//! Source: draft-ietf-moq-transport-18 sections 5.1 (subscriptions), 7 (priorities), 8 (relays),
//! 10.4.3 (closing subgroup streams).

pub mod cache;
pub mod delays;
mod delivery;
pub mod fetched;
mod history;
mod limits;
mod priority;
mod rules;
pub mod serving;
pub mod span;
mod subscription;

use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{PublishDoneCode, RequestCode};
use crate::moqt::filter::sets::FilterSets;
use crate::moqt::filter::{Filter, LocationRange};
use crate::moqt::message::RequestError;
use crate::moqt::name::{Location, RequestId};
use crate::moqt::object::Object;
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::Sessions;
use crate::time::Instant;
use crate::transport::{SessionId, StreamId};
use cache::{Cache, End, Inserted, Source, SubgroupInfo};
use delays::Delays;
use rules::Defaults;
use subscription::Subscription;

pub use limits::Limits;
pub use priority::{Ranks, stream_priority, subgroup_priority};
pub use rules::Timeouts;

/// A subscription's name: unique within a machine.
pub type SubscriberKey = (SessionId, RequestId);

/// What a track has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Objects handed to subscribers' streams.
    pub objects_sent: u64,
    /// Payload bytes of those.
    pub bytes_sent: u64,
    /// Groups that a subscriber lost because it was too far behind.
    pub groups_dropped: u64,
    /// Subgroups that a subscriber lost to a delivery time-out.
    pub groups_expired: u64,
    /// Subgroups whose stream a subscriber stopped.
    pub groups_stopped: u64,
    /// Groups that a subscriber lost because they left the cache.
    pub groups_cut: u64,
    /// How long objects waited for the transport.
    pub delays: Delays,
}

/// One track. See the module's description.
#[derive(Debug)]
pub struct Track {
    limits: Limits,
    cache: Cache,
    properties: Properties,
    defaults: Defaults,
    subscriptions: BTreeMap<SubscriberKey, Subscription>,
    /// How many of them have objects forwarded.
    forwarding: usize,
    /// Ending subscriptions and finished subgroups that have a time-out.
    deadlines: BTreeSet<(Instant, SubscriberKey)>,
    /// Subscriptions that ended and were not told to the owner yet.
    ended: Vec<SubscriberKey>,
    counters: Counters,
}

impl Track {
    /// A track without objects.
    pub fn new(properties: Properties, limits: Limits) -> Self {
        let cache = Cache::new(limits.cache);
        let counters = Counters::default();
        Self {
            limits,
            cache,
            defaults: Defaults::of(&properties),
            properties,
            subscriptions: BTreeMap::new(),
            forwarding: 0,
            deadlines: BTreeSet::new(),
            ended: Vec::new(),
            counters,
        }
    }

    /// The track's properties.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Replaces the properties: a publisher told them.
    pub fn set_properties(&mut self, properties: Properties) {
        self.defaults = Defaults::of(&properties);
        self.properties = properties;
    }

    /// The largest location published, retained or not.
    pub fn largest(&self) -> Option<Location> {
        self.cache.largest()
    }

    /// Takes over the largest location that a publisher reported.
    pub fn observe_largest(&mut self, location: Location) {
        self.cache.observe_largest(location);
    }

    /// What is retained.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What the track has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Who subscribes.
    pub fn subscribers(&self) -> impl Iterator<Item = SubscriberKey> {
        self.subscriptions.keys().copied()
    }

    /// Whether that subscription is being served.
    pub fn is_subscribed(&self, key: SubscriberKey) -> bool {
        self.subscriptions.contains_key(&key)
    }

    /// Whether any subscription of a session is being served.
    pub fn has_subscriber_of(&self, session: SessionId) -> bool {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.subscriptions.range(of_session).next().is_some()
    }

    /// What a subscription says that a joining FETCH or a fill rests on; it may do so until PUBLISH_DONE
    /// is sent, also when the track has ended.
    pub fn joined(&self, key: SubscriberKey) -> Option<fetched::Joined> {
        let subscription = self.subscriptions.get(&key)?;
        Some(fetched::Joined {
            forward: subscription.forward,
            priority: subscription.priority,
            ..subscription.joined
        })
    }

    /// A fill of a subscription began, or ended: PUBLISH_DONE waits for it.
    pub fn count_fill(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        begins: bool,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            return;
        };
        let fills = subscription.fills;
        subscription.fills = if begins {
            fills.saturating_add(1)
        } else {
            fills.saturating_sub(1)
        };
        self.settle(now, sessions, key);
    }

    /// Keeps an object that was fetched or came in a datagram. Returns whether it was new and kept.
    /// `evicted` gets the groups that went to make room for it.
    pub fn keep_fetched(
        &mut self,
        now: Instant,
        object: Object,
        evicted: &mut Vec<u64>,
    ) -> Inserted {
        self.cache.insert_fetched(now, object, evicted)
    }

    /// Remembers that none of these places has an object.
    pub fn learn_absent(&mut self, span: span::Span) {
        self.cache.learn_absent(span);
    }

    /// Drops the fetched objects of a group. Returns how many bytes that freed.
    pub fn evict_history(&mut self, group: u64) -> usize {
        self.cache.evict_history(group)
    }

    /// Nobody feeds the track any more and nobody subscribes: what is here becomes history. Returns
    /// its groups and when they came.
    pub fn retire(&mut self) -> Vec<(Instant, u64)> {
        if self.subscriptions.is_empty() {
            return self.cache.retire();
        }
        Vec::new()
    }

    /// How many bytes a stream is handed beyond what the transport has taken.
    pub fn burst_bytes(&self) -> usize {
        self.limits.burst_bytes
    }

    /// How many subscribe.
    pub fn subscribers_len(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether any subscriber has objects forwarded.
    pub fn is_forwarding(&self) -> bool {
        self.forwarding > 0
    }

    /// Whether [`Self::take_ended`] has anything to tell.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Subscriptions that ended since the last call: PUBLISH_DONE is sent.
    pub fn take_ended(&mut self) -> Vec<SubscriberKey> {
        std::mem::take(&mut self.ended)
    }

    /// Whether a subscription can be accepted as its parameters ask for it.
    pub fn check(&self, parameters: &Parameters) -> Result<(), RequestError> {
        let max = self.limits.filter_ranges_max;
        if let Err(error) = FilterSets::parse_for_objects(&parameters.range_filters, max) {
            let code = RequestCode::INVALID_FILTER;
            return Err(RequestError::new(code, error.to_string()));
        }
        let (Some(filter), Some(largest)) = (parameters.filter, self.cache.largest()) else {
            return Ok(());
        };
        let range = filter.resolve(Some(largest));
        let is_past = range.end.is_some_and(|end| {
            let mut kept = self.cache.groups_from(range.start.group);
            end.group < largest.group && kept.next().is_none_or(|(group, _)| group > end.group)
        });
        if is_past {
            let reason = "the range was published already: fetch it";
            return Err(RequestError::new(RequestCode::INVALID_RANGE, reason));
        }
        Ok(())
    }

    /// Adds a subscription that has been accepted, and serves it what is retained and wanted.
    ///
    /// Without a filter it starts at the newest group boundary, so that a late joiner can decode
    /// at once.
    pub fn subscribe(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        parameters: &Parameters,
    ) {
        let largest = self.cache.largest();
        self.subscribe_at(now, sessions, key, parameters, largest);
    }

    /// The same, of a subscriber that was told this largest location, which may have grown since.
    pub fn subscribe_at(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        parameters: &Parameters,
        told: Option<Location>,
    ) {
        let range = self.resolve(parameters.filter, told);
        let subscription =
            Subscription::new(now, range, parameters, &self.properties, &self.limits);
        let subscription = subscription.joined_at(told, parameters);
        self.forwarding += usize::from(subscription.forward);
        if let Some(before) = self.subscriptions.insert(key, subscription) {
            self.forwarding -= usize::from(before.forward);
        }
        self.offer_retained(now, sessions, key);
    }

    /// Changes a subscription as a REQUEST_UPDATE asks. A refusal leaves it as it was.
    pub fn update(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        parameters: &Parameters,
    ) -> Result<(), RequestError> {
        let largest = self.cache.largest();
        let range = parameters
            .filter
            .map(|filter| self.resolve(Some(filter), largest));
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            return Ok(());
        };
        let track = (&self.cache, &self.properties, &self.limits);
        subscription
            .update(sessions, key, parameters, track)
            .map_err(|error| RequestError::new(RequestCode::INVALID_FILTER, error.to_string()))?;
        if let Some(range) = range {
            subscription.set_range(sessions, key, range);
        }
        match parameters.forward {
            Some(true) if !subscription.forward => {
                subscription.resume(now, &self.cache);
                subscription.joined.location = self.cache.largest();
                self.forwarding += 1;
            }
            Some(false) if subscription.forward => {
                subscription.pause(sessions, key);
                self.forwarding -= 1;
            }
            Some(_) | None => {}
        }
        subscription.joined.filter = parameters.filter.or(subscription.joined.filter);
        self.offer_retained(now, sessions, key);
        Ok(())
    }

    /// Removes a subscription whose request is over.
    pub fn unsubscribe(&mut self, key: SubscriberKey) -> bool {
        let Some(subscription) = self.subscriptions.remove(&key) else {
            return false;
        };
        self.forwarding -= usize::from(subscription.forward);
        true
    }

    /// Publishes an object of a subgroup, which this stream brought; `None` for one that is made here.
    pub fn publish(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        info: SubgroupInfo,
        object: Object,
        source: Option<Source>,
    ) -> Inserted {
        self.publish_begun(now, now, sessions, info, object, source)
    }

    /// The same, of an object that began to arrive earlier: its age counts from there.
    pub fn publish_begun(
        &mut self,
        now: Instant,
        began: Instant,
        sessions: &mut Sessions,
        info: SubgroupInfo,
        object: Object,
        source: Option<Source>,
    ) -> Inserted {
        let Some(subgroup) = object.subgroup else {
            return Inserted::Stale;
        };
        let (group, size) = (object.group, object.payload.len());
        let inserted = self.cache.insert(began, info, object, source);
        if inserted == Inserted::New {
            if self.forwarding >= self.limits.framed_from && size <= self.limits.framed_bytes_max {
                self.cache.frame_newest(group, subgroup);
            }
            self.serve_all(now, sessions, group, subgroup);
            while (self.cache.is_over_limit() || self.is_oldest_stale(now))
                && self.evict_oldest(sessions).is_some()
            {}
        }
        inserted
    }

    /// Whether the oldest group is past MAX_CACHE_DURATION.
    fn is_oldest_stale(&self, now: Instant) -> bool {
        self.defaults.cache_duration.is_some_and(|max| {
            let arrival = self.cache.oldest_arrival();
            arrival.is_some_and(|at| now.saturating_since(at) > max)
        })
    }

    /// Publishes an object by datagram: to those who subscribe now.
    pub fn publish_datagram(&mut self, now: Instant, sessions: &mut Sessions, object: &Object) {
        let location = Location::new(object.group, object.object);
        self.cache.observe_largest(location);
        for ((session, request), subscription) in &self.subscriptions {
            if !subscription.wants_datagram(now, object, &self.defaults) {
                continue;
            }
            let until = subscription.datagram_deadline(now, object, &self.defaults);
            let sent = sessions.session_mut(*session).is_some_and(|session| {
                let sent = session.send_datagram_until(*request, object, until);
                sent.is_ok()
            });
            if sent {
                self.counters.objects_sent += 1;
                self.counters.bytes_sent += object.payload.len() as u64;
            }
        }
    }

    /// Records how a subgroup ended and ends its streams once they have caught up.
    pub fn end_subgroup(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        group: u64,
        subgroup: u64,
        end: End,
    ) {
        self.cache.end_subgroup(now, group, subgroup, end);
        self.serve_all(now, sessions, group, subgroup);
    }

    /// The publisher is gone in mid-stream: what was open stays incomplete.
    pub fn abandon_open(&mut self, now: Instant, sessions: &mut Sessions) {
        for (group, subgroup) in self.cache.abandon_open() {
            self.serve_all(now, sessions, group, subgroup);
        }
    }

    /// Forgets all retained objects; streams that were sending them are reset.
    pub fn clear(&mut self, sessions: &mut Sessions) {
        while self.cache.oldest_group().is_some() {
            if self.evict_oldest(sessions).is_none() {
                break;
            }
        }
        if let Some(group) = self.cache.newest_group() {
            self.drop_group(sessions, group);
        }
        self.cache.clear();
    }

    /// Drops the oldest retained group unless it is the newest as well.
    pub fn evict_oldest(&mut self, sessions: &mut Sessions) -> Option<u64> {
        let group = self.cache.evict_oldest()?;
        self.drop_group(sessions, group);
        Some(group)
    }

    /// The transport took the last notified write of a stream.
    pub fn handle_writable(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        stream: StreamId,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            return;
        };
        let Some(((group, subgroup), since)) = subscription.written(now, sessions, key, stream)
        else {
            return;
        };
        self.counters.delays.add(now.saturating_since(since));
        if let Some(cached) = self.cache.subgroup(group, subgroup) {
            let place = (group, subgroup);
            let at = subscription.linger(now, place, stream, cached, &self.defaults);
            self.deadlines.extend(at.map(|at| (at, key)));
        }
        self.serve(now, sessions, key, group, subgroup);
    }

    /// The subscriber wants no more of a stream.
    pub fn handle_stopped(&mut self, key: SubscriberKey, stream: StreamId) {
        if let Some(subscription) = self.subscriptions.get_mut(&key) {
            subscription.stopped(stream);
            self.counters.groups_stopped += 1;
        }
    }

    /// Ends all subscriptions, each once its streams have been sent. Subscriptions that are over
    /// at once are removed; [`Self::next_timeout`] names the deadline of the others.
    pub fn finish(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        code: PublishDoneCode,
        reason: &'static str,
    ) {
        let keys: Vec<SubscriberKey> = self.subscribers().collect();
        for key in keys {
            self.finish_one(now, sessions, key, code, reason);
        }
    }

    /// Ends one subscription, likewise.
    pub fn finish_one(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        code: PublishDoneCode,
        reason: &'static str,
    ) {
        let deadline = now + self.limits.end_timeout;
        if let Some(subscription) = self.subscriptions.get_mut(&key) {
            subscription.ending = Some((code, reason, deadline));
            self.deadlines.insert((deadline, key));
        }
        self.settle(now, sessions, key);
    }

    /// The next deadline of an ending subscription or of a finished subgroup.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends subscriptions whose last streams took too long, and resets subgroups that did.
    pub fn handle_timeout(&mut self, now: Instant, sessions: &mut Sessions) {
        while let Some((at, key)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(subscription) = self.subscriptions.get_mut(&key) {
                let (next, late) =
                    subscription.expire_subgroups(now, sessions, key, &self.cache, &self.defaults);
                self.counters.groups_expired += late;
                self.deadlines.extend(next.map(|at| (at, key)));
            }
            self.settle(now, sessions, key);
        }
    }

    fn resolve(&self, filter: Option<Filter>, largest: Option<Location>) -> LocationRange {
        match filter {
            None | Some(Filter::None) => {
                let newest = self.cache.newest_group();
                let group = newest.or(largest.map(|largest| largest.group));
                let start = Location::new(group.unwrap_or(0), 0);
                LocationRange { start, end: None }
            }
            Some(filter) => filter.resolve(largest),
        }
    }
}
