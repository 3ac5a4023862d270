//! Deadlines: tokens that end, questions that take too long, tracks that wait.

use super::{Relay, RequestKey, Timer};
use crate::canary::{self, Canary};
use crate::moqt::error::{PublishDoneCode, SessionCode};
use crate::resolve::{Refusal, RefusalCode};
use crate::time::{Instant, UnixTime};
use crate::transport::SessionId;
use std::time::Duration;

/// How far the wall clock may be from where it was to be before all deadlines are armed anew: a
/// token ends by at most so much too late.
const CLOCK_SLACK: Duration = Duration::from_millis(50);

impl Relay {
    /// Ends a session when its permission ends; the earliest end counts.
    pub(super) fn expire_session_at(
        &mut self,
        now: Instant,
        session: SessionId,
        expires: UnixTime,
    ) {
        let Some(peer) = self.peers.get_mut(&session) else {
            return;
        };
        let expires = peer.expires.map_or(expires, |before| before.min(expires));
        peer.expires = Some(expires);
        if let Some(at) = self.instant_of(now, expires) {
            self.arm(at, Timer::SessionExpiry(session));
        }
    }

    /// Ends one subscription when the token that it was asked with ends.
    pub(super) fn expire_subscription_at(
        &mut self,
        now: Instant,
        key: RequestKey,
        expires: UnixTime,
    ) {
        self.subscription_expiry.insert(key, expires);
        if let Some(at) = self.instant_of(now, expires) {
            self.arm(at, Timer::SubscriptionExpiry(key));
        }
    }

    /// The wall clock was told again: when it was set, and does not just go on, deadlines move.
    pub(super) fn keep_expiries(&mut self, now: Instant, unix: UnixTime) {
        let expected = self
            .armed_by
            .map(|(at, unix)| unix + now.saturating_since(at));
        let is_steady = expected.is_some_and(|expected| {
            let ahead = unix.saturating_since(expected);
            let behind = expected.saturating_since(unix);
            ahead.max(behind) <= CLOCK_SLACK
        });
        if !is_steady {
            self.armed_by = Some((now, unix));
            self.rearm_expiries(now);
        }
    }

    fn rearm_expiries(&mut self, now: Instant) {
        for (timer, at) in std::mem::take(&mut self.armed) {
            self.timers.remove(&(at, timer));
        }
        let sessions: Vec<(UnixTime, Timer)> = self
            .peers
            .iter()
            .filter_map(|(session, peer)| Some((peer.expires?, Timer::SessionExpiry(*session))))
            .chain(
                self.subscription_expiry
                    .iter()
                    .map(|(key, expires)| (*expires, Timer::SubscriptionExpiry(*key))),
            )
            .collect();
        for (expires, timer) in sessions {
            if let Some(at) = self.instant_of(now, expires) {
                self.arm(at, timer);
            }
        }
    }

    /// Waits for a token's end, and no longer for another one of the same session or request.
    fn arm(&mut self, at: Instant, timer: Timer) {
        self.disarm(timer);
        self.armed.insert(timer, at);
        self.timers.insert((at, timer));
    }

    /// What the timer would end is over. Tokens may hold for days: a timer that stayed as long would
    /// cost memory for every viewer that ever came.
    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.timers.remove(&(at, timer));
        }
    }

    /// A request is over, and with it the wait for the end of its token.
    pub(super) fn forget_expiry(&mut self, key: RequestKey) {
        self.subscription_expiry.remove(&key);
        self.disarm(Timer::SubscriptionExpiry(key));
    }

    /// The value of EXPIRES for a request: when its permission or its session's ends.
    pub(super) fn request_expires_ms(&self, now: Instant, key: RequestKey) -> Option<u64> {
        let of_request = self.subscription_expiry.get(&key).copied();
        let of_session = self.peers.get(&key.0).and_then(|peer| peer.expires);
        let earliest = of_request.into_iter().chain(of_session).min()?;
        self.expires_ms(now, earliest)
    }

    /// The value of EXPIRES for a permission that ends then; 0 would mean "not known".
    pub(super) fn expires_ms(&self, now: Instant, expires: UnixTime) -> Option<u64> {
        let left = expires.saturating_since(self.unix_now(now)?);
        u64::try_from(left.as_millis()).ok().map(|ms| ms.max(1))
    }

    fn instant_of(&self, now: Instant, unix: UnixTime) -> Option<Instant> {
        let unix_now = self.unix_now(now)?;
        Some(now + unix.saturating_since(unix_now))
    }

    pub(super) fn take_timer(&mut self, now: Instant, timer: Timer) {
        self.armed.remove(&timer);
        match timer {
            // A fault: see `canary`.
            Timer::SessionExpiry(_) | Timer::SubscriptionExpiry(_)
                if canary::is_on(Canary::TokenExpiryIgnored) => {}
            Timer::SessionExpiry(session) if canary::is_on(Canary::CloseWithWrongCode) => {
                let reason = "auth_failed: the token has expired";
                self.deny_session(session, SessionCode::PROTOCOL_VIOLATION, reason);
            }
            Timer::SessionExpiry(session) => {
                let expires = self.peers.get(&session).and_then(|peer| peer.expires);
                if self.is_past(now, expires) {
                    let reason = "auth_failed: the token has expired";
                    self.deny_session(session, SessionCode::EXPIRED_AUTH_TOKEN, reason);
                } else {
                    self.arm_expiry(now, expires, timer);
                }
            }
            Timer::SubscriptionExpiry(key) => {
                let expires = self.subscription_expiry.get(&key).copied();
                if !self.is_past(now, expires) {
                    self.arm_expiry(now, expires, timer);
                } else if !self.expire_fetch(now, key) {
                    self.end_subscription(now, key, PublishDoneCode::EXPIRED);
                }
            }
            Timer::Resolve(op) => {
                let refusal = Refusal {
                    code: RefusalCode::Unavailable,
                    message: "the control plane did not answer in time".to_owned(),
                };
                self.take_resolution(now, op, Err(refusal));
            }
            Timer::Track(track) => self.take_track_timer(now, track),
            Timer::Fetch(fetch) => self.fetch_due(now, fetch),
            Timer::FetchedTrack(track) => self.fetched_track_due(now, track),
            Timer::UnknownKey(key) => self.judge_late(now, key),
            Timer::Upload(key) => self.take_upload_timer(now, key),
            Timer::Mesh(timer) => self.take_mesh_timer(now, timer),
            // Every turn looks at the drain.
            Timer::Drain => {}
        }
    }

    /// The wall clock is a little behind the one by which the timer was armed.
    fn arm_expiry(&mut self, now: Instant, expires: Option<UnixTime>, timer: Timer) {
        if let Some(at) = expires.and_then(|expires| self.instant_of(now, expires)) {
            self.arm(at, timer);
        }
    }

    fn is_past(&self, now: Instant, expires: Option<UnixTime>) -> bool {
        match (expires, self.unix_now(now)) {
            (Some(expires), Some(unix_now)) => expires <= unix_now,
            _ => false,
        }
    }
}
