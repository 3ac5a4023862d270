//! One subscriber of a track: which subgroups it has been sent, and how far.
//!
//! | cursor | stream | means |
//! |---|---|---|
//! | waiting | open | the last write is with the transport, not yet taken |
//! | idle | open | caught up with the cache, or about to be served |
//! | - | none | nothing sent yet, or the stream was reset and could be opened again |
//! | over | none | finished, stopped by the subscriber, or dropped because it was too late |

mod changes;

use super::cache::{End, Subgroup};
use super::fetched::Joined;
use super::priority::{Ranks, subgroup_priority};
use super::rules::{Defaults, Rules, Timeouts, Verdict};
use super::{Limits, SubscriberKey};
use crate::canary::{self, Canary};
use crate::map::BTreeMap;
use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::moqt::filter::sets::ObjectFilter;
use crate::moqt::filter::{GroupOrder, LocationRange, RangeFilter};
use crate::moqt::name::{Location, RequestId, TrackAlias};
use crate::moqt::object::{Framed, Object, SubgroupHeader, SubgroupId};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::{CommandError, Session, Sessions};
use crate::time::Instant;
use crate::transport::StreamId;
use std::collections::VecDeque;

/// One subscriber's state.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) range: LocationRange,
    pub(super) priority: u8,
    order: GroupOrder,
    pub(super) forward: bool,
    timeouts: Timeouts,
    /// Range filters, as asked and as they are for this track; most subscriptions have none.
    filters: Option<Box<Filters>>,
    /// When the transport last took anything, or the subscription began.
    progressed: Instant,
    cursors: BTreeMap<(u64, u64), Cursor>,
    /// Where the groups of open streams stand in line.
    ranks: Ranks,
    /// Streams that QUIC has all of, to be reset at their time-out: it may not have come through.
    lingering: VecDeque<(Instant, StreamId)>,
    /// What fetches that join it, and fills, rest on.
    pub(super) joined: Joined,
    /// Fills of it that are being sent.
    pub(super) fills: usize,
    /// Why and by when the subscription ends, once its streams are sent.
    pub(super) ending: Option<(PublishDoneCode, &'static str, Instant)>,
}

#[derive(Debug)]
struct Filters {
    asked: Vec<RangeFilter>,
    objects: Option<Box<ObjectFilter>>,
}

#[derive(Debug, Default)]
struct Cursor {
    /// When this subscriber's group began.
    began: Instant,
    stream: Option<StreamId>,
    /// Index of the next object in the cached subgroup.
    next: usize,
    waiting: bool,
    /// Since when the write that waits could have been sent.
    since: Instant,
    /// Since when objects are here that wait for that write.
    behind: Option<Instant>,
    /// The end of the stream went with the last write.
    fin_sent: bool,
    /// The stream goes on behind a hole: its end says nothing of the whole subgroup, so that it must
    /// not be a good one.
    follows_hole: bool,
    is_over: bool,
    /// Publisher priority of its stream.
    publisher: u8,
}

impl Cursor {
    /// Everything was sent: ends the stream as the subgroup ended. Returns one that ended well.
    fn settle(&mut self, session: &mut Session, end: End) -> Option<StreamId> {
        let stream = self.stream?;
        match end {
            End::Open => {}
            End::Finished if canary::is_on(Canary::FinLost) => {}
            End::Finished => {
                if self.follows_hole {
                    session.reset_stream(stream, StreamCode::CANCELLED);
                } else {
                    // The stream may be gone; then it has ended already.
                    let _ = session.finish_stream(stream);
                }
                self.stream = None;
                self.is_over = true;
                return Some(stream).filter(|_| !self.follows_hole);
            }
            End::Abandoned => {
                session.reset_stream(stream, StreamCode::CANCELLED);
                self.stream = None;
            }
        }
        None
    }
}

/// What one call has handed to the transport.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Subgroups that were given up for being late.
    pub(super) late: u64,
    /// When a stream that QUIC has all of is late.
    pub(super) until: Option<Instant>,
}

/// What is served, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served<'a> {
    pub(super) place: (u64, u64),
    pub(super) cached: &'a Subgroup,
    pub(super) defaults: &'a Defaults,
    /// Bytes handed to the stream in one go.
    pub(super) burst: usize,
}

impl Cursor {
    fn new(began: Instant) -> Self {
        Self {
            began,
            ..Self::default()
        }
    }

    /// The stream that is open, or a new one for what comes next.
    fn open(
        &mut self,
        session: &mut Session,
        request: RequestId,
        served: &Served<'_>,
        priority: i32,
    ) -> Option<StreamId> {
        if served.cached.is_break(self.next)
            && let Some(stream) = self.stream.take()
        {
            // Whether it is the next object is not known: it goes on a stream of its own.
            session.reset_stream(stream, StreamCode::CANCELLED);
            self.follows_hole = true;
        }
        if self.stream.is_none() {
            let header = header(served.place, served.cached, self.next);
            self.stream = session.open_subgroup(request, header, priority).ok();
            self.is_over = self.stream.is_none();
        }
        self.stream
    }

    /// Notes what was handed to the transport.
    fn sent(&mut self, fin: bool, notify: bool, is_last: bool) {
        self.next += 1;
        self.fin_sent = fin;
        self.waiting = notify;
        if notify && !is_last {
            self.behind = Some(self.since);
        }
    }

    /// Returns whether a stream was open.
    fn abandon_late(&mut self, session: &mut Session) -> bool {
        self.is_over = true;
        let stream = self.stream.take();
        if let Some(stream) = stream {
            session.reset_stream(stream, StreamCode::DELIVERY_TIMEOUT);
        }
        stream.is_some()
    }

    fn give_up(&mut self, sessions: &mut Sessions, key: SubscriberKey, code: StreamCode) {
        self.is_over = true;
        if let Some(stream) = self.stream.take()
            && let Some(session) = sessions.session_mut(key.0)
        {
            session.reset_stream(stream, code);
        }
    }
}

impl Subscription {
    /// A subscription as its parameters ask for it. Filters that cannot be read are none: whoever
    /// accepts a subscription has read them before.
    pub(super) fn new(
        now: Instant,
        range: LocationRange,
        parameters: &Parameters,
        properties: &Properties,
        limits: &Limits,
    ) -> Self {
        let order = parameters.group_order;
        let mut subscription = Self {
            range,
            priority: parameters.subscriber_priority.unwrap_or(128),
            order: order.unwrap_or_else(|| properties.default_publisher_group_order()),
            forward: parameters.forward.unwrap_or(true),
            timeouts: Timeouts::of_ms(
                parameters.object_delivery_timeout_ms,
                parameters.subgroup_delivery_timeout_ms,
            ),
            filters: None,
            progressed: now,
            cursors: BTreeMap::new(),
            ranks: Ranks::default(),
            lingering: VecDeque::new(),
            joined: Joined::default(),
            fills: 0,
            ending: None,
        };
        let read = subscription.set_filters(&parameters.range_filters, properties, limits);
        debug_assert!(read.is_ok());
        subscription
    }

    /// Remembers what was asked, and the largest location when it was granted.
    pub(super) fn joined_at(self, largest: Option<Location>, parameters: &Parameters) -> Self {
        let joined = Joined {
            location: largest,
            filter: parameters.filter,
            order: parameters.group_order,
            ..Joined::default()
        };
        Self { joined, ..self }
    }

    pub(super) fn wants(&self, location: Location) -> bool {
        self.forward && self.ending.is_none() && self.range.contains(location)
    }

    /// Whether any stream is open.
    pub(super) fn is_sending(&self) -> bool {
        self.fills > 0 || self.cursors.values().any(|cursor| cursor.stream.is_some())
    }

    /// Sends what the cache holds of a subgroup and this subscriber has not been sent, up to a
    /// burst, then waits for the transport.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        served: &Served<'_>,
    ) -> Sent {
        let mut sent = Sent::default();
        let (place, cached) = (served.place, served.cached);
        let is_outside = self.is_outside(place.0);
        if !self.forward || (is_outside && !self.cursors.contains_key(&place)) {
            return sent;
        }
        let range = self.range;
        let (publisher, priority) = self.priority_of(served);
        let timeout = self.object_timeout(cached, served.defaults);
        let rules = rules_of(self.filters.as_deref(), timeout, publisher, served.defaults);
        let has_rules = rules.are_any();
        let cursor = self
            .cursors
            .entry(place)
            .or_insert_with(|| Cursor::new(now));
        if cursor.is_over || cursor.waiting {
            cursor.behind.get_or_insert(now);
            return sent;
        }
        cursor.since = cursor.behind.take().unwrap_or(now);
        cursor.publisher = publisher;
        let (session, request) = key;
        let Some(session) = sessions.session_mut(session) else {
            return sent;
        };
        let mut budget = served.burst;
        while let Some(object) = cached.objects.get(cursor.next) {
            let is_lost = canary::is_on(Canary::ObjectLeftOut) && object.object % 5 == 2;
            if is_lost || !range.contains(Location::new(object.group, object.object)) {
                cursor.next += 1;
                continue;
            }
            if has_rules {
                let received = cached.received.get(cursor.next).copied().unwrap_or(now);
                let verdict = rules.judge(now, received, object);
                if verdict.leaves_out(cursor.stream.is_some()) {
                    cursor.next += 1;
                    continue;
                }
                if verdict != Verdict::Send {
                    sent.late += u64::from(cursor.abandon_late(session));
                    return sent;
                }
            }
            let Some(stream) = cursor.open(session, request, served, priority) else {
                return sent;
            };
            let size = object.payload.len();
            budget = budget.saturating_sub(size.max(1));
            let is_last = cursor.next + 1 == cached.objects.len();
            let is_end = cached.end == End::Finished && !cursor.follows_hole;
            let fin = is_last && is_end && !canary::is_on(Canary::FinLost);
            let notify = is_last || budget == 0 || cached.is_break(cursor.next + 1);
            let framed = cached.framed(cursor.next);
            if send(session, stream, object, framed, (fin, notify)).is_err() {
                cursor.stream = None;
                cursor.is_over = true;
                return sent;
            }
            cursor.sent(fin, notify, is_last);
            sent.objects += 1;
            sent.bytes += size as u64;
            if notify {
                return sent;
            }
        }
        if let Some(stream) = cursor.settle(session, cached.end) {
            sent.until = self.linger(now, place, stream, cached, served.defaults);
        }
        sent
    }

    /// The publisher's priority of a subgroup, and that of its stream.
    fn priority_of(&self, served: &Served<'_>) -> (u8, i32) {
        let (group, subgroup) = served.place;
        let publisher = served.cached.info.priority;
        let publisher = publisher.unwrap_or(served.defaults.priority);
        let place = (self.ranks.of(group), subgroup);
        let priority = subgroup_priority(self.priority, publisher, self.order, place);
        (publisher, priority)
    }

    fn object_timeout(
        &self,
        cached: &Subgroup,
        defaults: &Defaults,
    ) -> Option<std::time::Duration> {
        let first = cached.objects.first().map(|object| &object.properties);
        let publisher = match first {
            Some(first) if cached.info.has_properties => defaults.timeouts.overridden(first),
            _ => defaults.timeouts,
        };
        self.timeouts.smaller(publisher).object
    }

    /// The transport took a stream's last write. Returns which subgroup may go on, and since when
    /// that write could have been sent.
    pub(super) fn written(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        stream: StreamId,
    ) -> Option<((u64, u64), Instant)> {
        let (place, cursor) = self
            .cursors
            .iter_mut()
            .rev()
            .find(|(_, cursor)| cursor.stream == Some(stream))?;
        cursor.waiting = false;
        self.progressed = now;
        if cursor.fin_sent {
            cursor.stream = None;
            cursor.is_over = true;
            if let Some(session) = sessions.session_mut(key.0) {
                session.release_stream(stream);
            }
        }
        Some((*place, cursor.since))
    }

    /// The subscriber stopped a stream: it wants no more of this subgroup.
    pub(super) fn stopped(&mut self, stream: StreamId) {
        if let Some(cursor) = self
            .cursors
            .values_mut()
            .rev()
            .find(|cursor| cursor.stream == Some(stream))
        {
            *cursor = Cursor {
                is_over: true,
                ..Cursor::default()
            };
        }
    }

    /// Before a group is served that is new to this subscriber: drops the oldest unfinished ones
    /// beyond `behind_max` that began at least `late_after` ago, and any beyond `burst_max`.
    /// Returns how many groups were lost.
    pub(super) fn make_room(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        group: u64,
        limits: &Limits,
    ) -> u64 {
        // Nearly always the newest.
        let newest = self.cursors.last_key_value();
        let is_newest = newest.is_some_and(|((of, _), _)| *of == group);
        let of_group = (group, 0)..=(group, u64::MAX);
        if is_newest || self.cursors.range(of_group).next().is_some() {
            return 0;
        }
        self.rank(sessions, key, group);
        let mut unfinished: BTreeMap<u64, Instant> = BTreeMap::new();
        for ((of, _), cursor) in self.cursors.range(..(group, 0)) {
            if cursor.stream.is_some() {
                unfinished.entry(*of).or_insert(cursor.began);
            }
        }
        let mut dropped = 0;
        let mut behind = unfinished.len();
        for (old, began) in unfinished {
            let is_late = now.saturating_since(began) >= limits.late_after;
            let is_too_much = behind > limits.burst_groups_max;
            if behind <= limits.groups_behind_max || !(is_late || is_too_much) {
                break;
            }
            dropped += self.reset_group(sessions, key, old, false);
            behind -= 1;
        }
        dropped
    }

    /// A group left the cache.
    pub(super) fn drop_group(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        group: u64,
    ) -> u64 {
        self.reset_group(sessions, key, group, true)
    }

    fn reset_group(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        group: u64,
        forget: bool,
    ) -> u64 {
        let mut lost = false;
        for (_, cursor) in self.cursors.range_mut((group, 0)..=(group, u64::MAX)) {
            cursor.is_over = true;
            if let Some(stream) = cursor.stream.take() {
                lost = true;
                if let Some(session) = sessions.session_mut(key.0) {
                    session.reset_stream(stream, StreamCode::DELIVERY_TIMEOUT);
                }
            }
        }
        if forget {
            self.cursors.retain(|(of, _), _| *of != group);
        }
        u64::from(lost)
    }

    fn is_outside(&self, group: u64) -> bool {
        group < self.range.start.group || self.range.end.is_some_and(|end| group > end.group)
    }
}

fn send(
    session: &mut Session,
    stream: StreamId,
    object: &Object,
    framed: Option<&Framed>,
    (fin, notify): (bool, bool),
) -> Result<(), CommandError> {
    match framed {
        Some(framed) => session.send_framed(stream, object, framed, fin, notify),
        None => session.send_object(stream, object, fin, notify),
    }
}

fn rules_of<'a>(
    filters: Option<&'a Filters>,
    timeout: Option<std::time::Duration>,
    priority: u8,
    defaults: &Defaults,
) -> Rules<'a> {
    Rules {
        filter: filters.and_then(|it| it.objects.as_deref()),
        timeout,
        cache_duration: defaults.cache_duration,
        priority,
    }
}

fn header(place: (u64, u64), cached: &Subgroup, next: usize) -> SubgroupHeader {
    let (group, subgroup) = place;
    SubgroupHeader {
        // The session puts the subscription's own alias here.
        track_alias: TrackAlias(0),
        group,
        subgroup: if subgroup == 0 {
            SubgroupId::Zero
        } else {
            SubgroupId::Explicit(subgroup)
        },
        priority: cached.info.priority,
        has_properties: cached.info.has_properties,
        end_of_group: cached.info.end_of_group,
        first_object: cached.info.first_object && next == 0,
    }
}
