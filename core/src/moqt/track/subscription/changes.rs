//! What changes a subscription while it runs: updates, pauses, time-outs.
//!
//! | change | open streams |
//! |---|---|
//! | priority | get their new place in line |
//! | FORWARD 0, a narrower range | are reset; FORWARD 1 goes on with what comes next |
//! | a subgroup time-out | the late ones are reset, DELIVERY_TIMEOUT; those too that QUIC has all of and that have not come through |
//!
//! Source: draft-ietf-moq-transport-18 and 19, sections 5.1, 7.4, 10.4.3 (closing subgroup
//! streams), 10.9.1 (updating subscriptions).

use super::super::cache::{Cache, Subgroup};
use super::super::priority::subgroup_priority;
use super::super::rules::{Defaults, Rules, Timeouts, Verdict};
use super::super::{Limits, SubscriberKey};
use super::{Cursor, Filters, Subscription};
use crate::moqt::error::StreamCode;
use crate::moqt::filter::sets::{self, FilterError, FilterSets};
use crate::moqt::filter::{LocationRange, RangeFilter};
use crate::moqt::name::Location;
use crate::moqt::object::Object;
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::Sessions;
use crate::time::Instant;
use crate::transport::StreamId;

/// Streams of one subscription that QUIC has all of and that may still time out: those beyond it are
/// left to QUIC.
const LINGERING_MAX: usize = 64;

impl Subscription {
    pub(in crate::moqt::track) fn set_filters(
        &mut self,
        update: &[RangeFilter],
        properties: &Properties,
        limits: &Limits,
    ) -> Result<(), FilterError> {
        if update.is_empty() {
            return Ok(());
        }
        let before = self.filters.as_ref().map_or(&[][..], |it| &it.asked);
        let asked = sets::updated(before, update);
        let objects = FilterSets::parse(&asked, limits.filter_ranges_max)?.for_track(properties);
        self.filters = (!asked.is_empty()).then(|| Box::new(Filters { asked, objects }));
        Ok(())
    }

    /// Takes over what a REQUEST_UPDATE changes beside location and forward state.
    pub(in crate::moqt::track) fn update(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        update: &Parameters,
        track: (&Cache, &Properties, &Limits),
    ) -> Result<(), FilterError> {
        let (_, properties, limits) = track;
        self.set_filters(&update.range_filters, properties, limits)?;
        let said = Timeouts::of_ms(
            update.object_delivery_timeout_ms,
            update.subgroup_delivery_timeout_ms,
        );
        if update.object_delivery_timeout_ms.is_some() {
            self.timeouts.object = said.object;
        }
        if update.subgroup_delivery_timeout_ms.is_some() {
            self.timeouts.subgroup = said.subgroup;
        }
        if let Some(priority) = update.subscriber_priority
            && priority != self.priority
        {
            self.priority = priority;
            self.reprioritise(sessions, key);
        }
        Ok(())
    }

    /// A group is about to be sent that was not yet: if it changes the ranks of those that are open,
    /// their streams get their new place in line.
    pub(in crate::moqt::track) fn rank(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        group: u64,
    ) {
        let open = self.cursors.iter().filter(|(_, it)| it.stream.is_some());
        let mut groups = open.map(|((of, _), _)| *of);
        let first = groups.next().unwrap_or(group);
        let newest = groups.next_back().unwrap_or(first).max(group);
        let oldest = first.min(group);
        let open = self.cursors.iter().filter(|(_, it)| it.stream.is_some());
        let mut of_all: Vec<u64> = Vec::new();
        if newest.saturating_sub(oldest) >= 1024 {
            of_all = open.map(|((of, _), _)| *of).chain([group]).collect();
            of_all.sort_unstable();
            of_all.dedup();
        }
        if self.ranks.follow(oldest, newest, of_all.into_iter()) {
            self.reprioritise(sessions, key);
        }
    }

    /// A new subscriber priority, or new ranks, count for streams that are open as well.
    fn reprioritise(&self, sessions: &mut Sessions, key: SubscriberKey) {
        let Some(session) = sessions.session_mut(key.0) else {
            return;
        };
        for ((group, subgroup), cursor) in &self.cursors {
            if let Some(stream) = cursor.stream {
                let place = (self.ranks.of(*group), *subgroup);
                let (publisher, order) = (cursor.publisher, self.order);
                let priority = subgroup_priority(self.priority, publisher, order, place);
                session.set_stream_priority(stream, priority);
            }
        }
    }

    /// Changes the range; streams outside of the new one are reset.
    pub(in crate::moqt::track) fn set_range(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        range: LocationRange,
    ) {
        self.range = range;
        let end = range.end.map_or(u64::MAX, |end| end.group);
        let is_inside = |group: u64| (range.start.group..=end).contains(&group);
        self.pause_streams(sessions, key, |group| !is_inside(group));
    }

    /// Sends no more objects, from now on. What is open is reset; it may go on later.
    pub(in crate::moqt::track) fn pause(&mut self, sessions: &mut Sessions, key: SubscriberKey) {
        self.forward = false;
        self.pause_streams(sessions, key, |_| true);
    }

    fn pause_streams(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        concerns: impl Fn(u64) -> bool,
    ) {
        for ((group, _), cursor) in &mut self.cursors {
            if !concerns(*group) || cursor.fin_sent {
                continue;
            }
            if let Some(stream) = cursor.stream.take() {
                cursor.waiting = false;
                if let Some(session) = sessions.session_mut(key.0) {
                    session.reset_stream(stream, StreamCode::CANCELLED);
                }
            }
        }
    }

    /// Sends objects again: those that come from now on. What came in between did not pass, and can
    /// be had by a fetch or a fill that ends where the subscription goes on.
    pub(in crate::moqt::track) fn resume(&mut self, now: Instant, cache: &Cache) {
        self.forward = true;
        for (group, kept) in cache.groups_from(self.range.start.group) {
            for (subgroup, kept) in &kept.subgroups {
                let cursor = self.cursors.entry((group, *subgroup));
                cursor.or_insert_with(|| Cursor::new(now)).next = kept.objects.len();
            }
        }
    }

    /// Whether an object in a datagram passes.
    pub(in crate::moqt::track) fn wants_datagram(
        &self,
        now: Instant,
        object: &Object,
        defaults: &Defaults,
    ) -> bool {
        let filter = self.filters.as_ref().and_then(|it| it.objects.as_deref());
        let rules = Rules {
            filter,
            timeout: None,
            cache_duration: None,
            priority: object.priority.unwrap_or(defaults.priority),
        };
        self.wants(Location::new(object.group, object.object))
            && (filter.is_none() || rules.judge(now, now, object) == Verdict::Send)
    }

    /// When an object in a datagram is late: either time-out counts from its arrival.
    pub(in crate::moqt::track) fn datagram_deadline(
        &self,
        now: Instant,
        object: &Object,
        defaults: &Defaults,
    ) -> Option<Instant> {
        let publisher = defaults.timeouts.overridden(&object.properties);
        let Timeouts { object, subgroup } = self.timeouts.smaller(publisher);
        let timeout = object.into_iter().chain(subgroup).min()?;
        Some(now + timeout)
    }

    /// When the stream of a finished subgroup is late, if this subscription has it open.
    pub(in crate::moqt::track) fn subgroup_deadline(
        &self,
        place: (u64, u64),
        cached: &Subgroup,
        defaults: &Defaults,
    ) -> Option<Instant> {
        let cursor = self.cursors.get(&place)?;
        cursor.stream?;
        self.deadline_of(cursor, cached, defaults)
    }

    fn deadline_of(
        &self,
        cursor: &Cursor,
        cached: &Subgroup,
        defaults: &Defaults,
    ) -> Option<Instant> {
        let finished = cached.finished?;
        let first = cached.objects.first().map(|object| &object.properties);
        let publisher = first.map_or(defaults.timeouts, |first| {
            defaults.timeouts.overridden(first)
        });
        let timeout = self.timeouts.smaller(publisher).subgroup?;
        Some(finished.max(cursor.began) + timeout)
    }

    /// QUIC has all of a stream, its end included. What is lost on its way is sent again until the
    /// time-out is over. Returns when that is.
    pub(in crate::moqt::track) fn linger(
        &mut self,
        now: Instant,
        place: (u64, u64),
        stream: StreamId,
        cached: &Subgroup,
        defaults: &Defaults,
    ) -> Option<Instant> {
        let cursor = self.cursors.get(&place)?;
        if cursor.stream.is_some() || !cursor.is_over {
            return None;
        }
        let at = self.deadline_of(cursor, cached, defaults)?;
        if at > now {
            if self.lingering.len() >= LINGERING_MAX {
                self.lingering.pop_front();
            }
            self.lingering.push_back((at, stream));
        }
        Some(at)
    }

    /// Resets the streams whose subgroup time-out is over. Returns the next deadline and how many
    /// groups were hit; of those that QUIC has all of, nobody here knows.
    pub(in crate::moqt::track) fn expire_subgroups(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        cache: &Cache,
        defaults: &Defaults,
    ) -> (Option<Instant>, u64) {
        let mut next: Option<Instant> = None;
        let mut late = Vec::new();
        for place in self.cursors.keys() {
            let cached = cache.subgroup(place.0, place.1);
            let deadline = cached.and_then(|it| self.subgroup_deadline(*place, it, defaults));
            match deadline {
                Some(at) if at <= now => late.push(*place),
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        let count = late.len() as u64;
        self.lingering.retain(|(at, stream)| {
            let is_late = *at <= now;
            if !is_late {
                next = Some(next.map_or(*at, |next| next.min(*at)));
            } else if let Some(session) = sessions.session_mut(key.0) {
                session.expire_stream(*stream);
            }
            !is_late
        });
        for place in late {
            if let Some(cursor) = self.cursors.get_mut(&place) {
                cursor.give_up(sessions, key, StreamCode::DELIVERY_TIMEOUT);
            }
        }
        (next, count)
    }

    /// Whether a slow subscriber is past hope: the transport took nothing for so long.
    pub(in crate::moqt::track) fn is_hopeless(&self, now: Instant, limits: &Limits) -> bool {
        now.saturating_since(self.progressed) >= limits.hopeless_after
    }

    /// Resets all streams: the subscription ends for want of progress.
    pub(in crate::moqt::track) fn reset_all(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        code: StreamCode,
    ) {
        for cursor in self.cursors.values_mut() {
            cursor.give_up(sessions, key, code);
        }
    }
}
