//! One subscriber of a track: which subgroups it has been sent, and how far.
//!
//! | cursor | stream | means |
//! |---|---|---|
//! | waiting | open | the last write is with the transport, not yet taken |
//! | idle | open | caught up with the cache, or about to be served |
//! | - | none | nothing sent yet, or the stream was reset and could be opened again |
//! | over | none | finished, stopped by the subscriber, or dropped because it was too late |

use super::cache::{End, Subgroup};
use super::fetched::Joined;
use super::{SubscriberKey, stream_priority};
use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::moqt::filter::{GroupOrder, LocationRange};
use crate::moqt::name::{Location, TrackAlias};
use crate::moqt::object::{SubgroupHeader, SubgroupId};
use crate::moqt::parameter::Parameters;
use crate::moqt::session::{Session, Sessions};
use crate::time::Instant;
use crate::transport::StreamId;
use std::collections::BTreeMap;

/// One subscriber's state.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) range: LocationRange,
    pub(super) priority: u8,
    order: GroupOrder,
    pub(super) forward: bool,
    cursors: BTreeMap<(u64, u64), Cursor>,
    /// What fetches that join it, and fills, rest on.
    pub(super) joined: Joined,
    /// Fills of it that are being sent.
    pub(super) fills: usize,
    /// Why and by when the subscription ends, once its streams are sent.
    pub(super) ending: Option<(PublishDoneCode, &'static str, Instant)>,
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
    is_over: bool,
}

impl Cursor {
    /// Everything was sent: ends the stream as the subgroup ended.
    fn settle(&mut self, session: &mut Session, end: End) {
        let Some(stream) = self.stream else {
            return;
        };
        match end {
            End::Open => {}
            End::Finished => {
                // The stream may be gone; then it has ended already.
                let _ = session.finish_stream(stream);
                self.stream = None;
                self.is_over = true;
            }
            End::Abandoned => {
                session.reset_stream(stream, StreamCode::CANCELLED);
                self.stream = None;
            }
        }
    }
}

/// What one call has handed to the transport.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Subscription {
    pub(super) fn new(
        range: LocationRange,
        priority: u8,
        order: GroupOrder,
        forward: bool,
    ) -> Self {
        Self {
            range,
            priority,
            order,
            forward,
            cursors: BTreeMap::new(),
            joined: Joined::default(),
            fills: 0,
            ending: None,
        }
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

    #[expect(
        clippy::too_many_arguments,
        reason = "what to send, to whom and how: a struct would only hide the same list"
    )]
    /// Sends what the cache holds of a subgroup and this subscriber has not been sent, up to
    /// `burst` bytes, then waits for the transport.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        place: (u64, u64),
        cached: &Subgroup,
        default_priority: u8,
        burst: usize,
    ) -> Sent {
        let mut sent = Sent::default();
        let is_new = !self.cursors.contains_key(&place);
        if is_new && (!self.forward || self.is_outside(place.0)) {
            return sent;
        }
        let range = self.range;
        let publisher = cached.info.priority.unwrap_or(default_priority);
        let priority = stream_priority(self.priority, publisher, self.order, place.0);
        let cursor = self.cursors.entry(place).or_insert_with(|| Cursor {
            began: now,
            ..Cursor::default()
        });
        if cursor.is_over || cursor.waiting {
            cursor.behind.get_or_insert(now);
            return sent;
        }
        cursor.since = cursor.behind.take().unwrap_or(now);
        let (session, request) = key;
        let Some(session) = sessions.session_mut(session) else {
            return sent;
        };
        let mut budget = burst;
        while let Some(object) = cached.objects.get(cursor.next) {
            if !range.contains(Location::new(object.group, object.object)) {
                cursor.next += 1;
                continue;
            }
            let stream = if let Some(stream) = cursor.stream {
                stream
            } else {
                let header = header(place, cached, cursor.next);
                let Ok(stream) = session.open_subgroup(request, header, priority) else {
                    cursor.is_over = true;
                    return sent;
                };
                *cursor.stream.insert(stream)
            };
            let size = object.payload.len();
            budget = budget.saturating_sub(size.max(1));
            let is_last = cursor.next + 1 == cached.objects.len();
            let fin = is_last && cached.end == End::Finished;
            let notify = is_last || budget == 0;
            if session.send_object(stream, object, fin, notify).is_err() {
                cursor.stream = None;
                cursor.is_over = true;
                return sent;
            }
            cursor.next += 1;
            cursor.fin_sent = fin;
            sent.objects += 1;
            sent.bytes += size as u64;
            if notify {
                cursor.waiting = true;
                if !is_last {
                    cursor.behind = Some(cursor.since);
                }
                return sent;
            }
        }
        cursor.settle(session, cached.end);
        sent
    }

    /// The transport took a stream's last write. Returns which subgroup may go on, and since when that
    /// write could have been sent.
    pub(super) fn written(
        &mut self,
        sessions: &mut Sessions,
        key: SubscriberKey,
        stream: StreamId,
    ) -> Option<((u64, u64), Instant)> {
        let (place, cursor) = self
            .cursors
            .iter_mut()
            .find(|(_, cursor)| cursor.stream == Some(stream))?;
        cursor.waiting = false;
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
        limits: &super::Limits,
    ) -> u64 {
        let is_known = self
            .cursors
            .range((group, 0)..=(group, u64::MAX))
            .next()
            .is_some();
        if is_known {
            return 0;
        }
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
