//! What a track hands to its subscribers: each is served from the cache as far as its transport takes
//! it, and told when it is over.

use super::subscription::Served;
use super::{SubscriberKey, Track};
use crate::moqt::error::{PublishDoneCode, StreamCode};
use crate::moqt::session::Sessions;
use crate::time::Instant;

impl Track {
    pub(super) fn offer_retained(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
    ) {
        let Some(subscription) = self.subscriptions.get(&key) else {
            return;
        };
        let from = subscription.range.start.group;
        let retained: Vec<(u64, u64)> = self
            .cache
            .groups_from(from)
            .flat_map(|(id, group)| group.subgroups.keys().map(move |subgroup| (id, *subgroup)))
            .collect();
        for (group, subgroup) in retained {
            if let Some(subscription) = self.subscriptions.get_mut(&key) {
                subscription.rank(sessions, key, group);
            }
            self.serve(now, sessions, key, group, subgroup);
        }
    }

    pub(super) fn serve_all(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        group: u64,
        subgroup: u64,
    ) {
        let Some(cached) = self.cache.subgroup(group, subgroup) else {
            return;
        };
        let served = Served {
            place: (group, subgroup),
            cached,
            defaults: &self.defaults,
            burst: self.limits.burst_bytes,
        };
        let mut settled = Vec::new();
        for (key, subscription) in &mut self.subscriptions {
            let lost = subscription.make_room(now, sessions, *key, group, &self.limits);
            if lost > 0 {
                self.counters.groups_dropped += lost;
                if subscription.is_hopeless(now, &self.limits) {
                    subscription.reset_all(sessions, *key, StreamCode::TOO_FAR_BEHIND);
                    let reason = "the viewer takes nothing";
                    let code = PublishDoneCode::TOO_FAR_BEHIND;
                    subscription.ending = Some((code, reason, now));
                    settled.push(*key);
                    continue;
                }
            }
            let sent = subscription.serve(now, sessions, *key, &served);
            self.counters.objects_sent += sent.objects;
            self.counters.bytes_sent += sent.bytes;
            self.counters.groups_expired += sent.late;
            self.deadlines.extend(sent.until.map(|at| (at, *key)));
            if cached.finished.is_some()
                && let Some(at) =
                    subscription.subgroup_deadline((group, subgroup), cached, &self.defaults)
            {
                self.deadlines.insert((at, *key));
            }
            if subscription.ending.is_some() {
                settled.push(*key);
            }
        }
        for key in settled {
            self.settle(now, sessions, key);
        }
    }

    pub(super) fn serve(
        &mut self,
        now: Instant,
        sessions: &mut Sessions,
        key: SubscriberKey,
        group: u64,
        subgroup: u64,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            return;
        };
        if let Some(cached) = self.cache.subgroup(group, subgroup) {
            let served = Served {
                place: (group, subgroup),
                cached,
                defaults: &self.defaults,
                burst: self.limits.burst_bytes,
            };
            let sent = subscription.serve(now, sessions, key, &served);
            self.counters.objects_sent += sent.objects;
            self.counters.bytes_sent += sent.bytes;
            self.counters.groups_expired += sent.late;
            self.deadlines.extend(sent.until.map(|at| (at, key)));
            if cached.finished.is_some()
                && let Some(at) =
                    subscription.subgroup_deadline((group, subgroup), cached, &self.defaults)
            {
                self.deadlines.insert((at, key));
            }
        }
        self.settle(now, sessions, key);
    }

    pub(super) fn drop_group(&mut self, sessions: &mut Sessions, group: u64) {
        for (key, subscription) in &mut self.subscriptions {
            self.counters.groups_cut += subscription.drop_group(sessions, *key, group);
        }
    }

    /// Sends PUBLISH_DONE to an ending subscription that has nothing left to send.
    pub(super) fn settle(&mut self, now: Instant, sessions: &mut Sessions, key: SubscriberKey) {
        let Some(subscription) = self.subscriptions.get(&key) else {
            return;
        };
        let Some((code, reason, deadline)) = subscription.ending else {
            return;
        };
        if subscription.is_sending() && now < deadline {
            return;
        }
        self.unsubscribe(key);
        self.ended.push(key);
        let (session, request) = key;
        if let Some(session) = sessions.session_mut(session) {
            // The request may be gone already; then nobody is left to be told.
            let _ = session.publish_done(request, code, reason);
        }
    }
}
