//! Going away: sessions are told where to go, served while they move, and then closed.
//!
//! | state | means | left by |
//! |---|---|---|
//! | serving | - | [`Relay::drain`] |
//! | edge leaves | publishers and viewers have GOAWAY; relays of the mesh go on, so that what moves to them finds its history | the last viewer's leave, or half the time |
//! | mesh leaves | relays that dialled us have GOAWAY as well | the last subscription's end, or the time's |
//! | gone | subscriptions left get PUBLISH_DONE with GOING_AWAY, sessions are closed | [`Event::Drained`] |
//!
//! Sessions that opened too late are sent on as soon as they are ready, and requests after GOAWAY
//! are refused with GOING_AWAY. A session that was left in time is closed with NO_ERROR, one that
//! still had subscriptions with GOAWAY_TIMEOUT. A publisher is kept for a moment after the last
//! viewer left, until it has announced itself elsewhere.
//!
//! Source: draft-ietf-moq-transport-18 sections 3.6 (migration), 10.4 (GOAWAY).

use super::mesh::Mesh;
use super::{Event, Relay, RequestKey, Timer};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{PublishDoneCode, SessionCode};
use crate::moqt::name::RequestId;
use crate::time::Instant;
use crate::transport::{SessionId, Side};
use std::ops::Bound;
use std::time::Duration;

/// How long after the last viewer's leave publishers are kept, at most.
const PUBLISHERS_STAY: Duration = Duration::from_secs(1);
/// How long an upstream subscription outlives its last viewer then.
const SUBSCRIBER_LINGER: Duration = Duration::from_millis(20);
/// Why a relay ends what it serves.
const REASON: &str = "the relay is going away";

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Where clients shall go; empty for the same address.
    uri: String,
    deadline: Instant,
    mesh_at: Instant,
    /// When publishers are not waited for any more.
    publishers_until: Option<Instant>,
    is_over: bool,
}

impl Relay {
    /// Goes away: everybody is sent to `uri` (empty: to this same address, for a relay that is
    /// replaced) and served for at most `timeout` longer. [`Event::Drained`] follows.
    pub fn drain(&mut self, now: Instant, uri: &str, timeout: Duration) {
        if self.drain.is_some() {
            return;
        }
        let drain = Drain {
            uri: uri.to_owned(),
            deadline: now + timeout,
            mesh_at: now + timeout / 2,
            publishers_until: None,
            is_over: false,
        };
        let (deadline, mesh_at) = (drain.deadline, drain.mesh_at);
        self.drain = Some(drain);
        self.config.subscriber_linger = SUBSCRIBER_LINGER;
        self.timers.insert((deadline, Timer::Drain));
        self.timers.insert((mesh_at, Timer::Drain));
        let ids: Vec<SessionId> = self.sessions.ids().collect();
        for id in ids {
            if !self.mesh.is_link(id) {
                self.say_goaway(now, id);
            }
        }
        self.process(now);
    }

    /// Whether the relay goes away.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn say_goaway(&mut self, now: Instant, id: SessionId) {
        let Some(drain) = &self.drain else { return };
        let Some(session) = self.sessions.session_mut(id) else {
            return;
        };
        // A server cannot be sent elsewhere.
        let uri = match session.side() {
            Side::Server => drain.uri.as_str(),
            Side::Client => "",
        };
        let left = drain.deadline.saturating_since(now);
        if session.is_ready() && session.goaway(now, uri, left).is_err() {
            session.close(SessionCode::INTERNAL_ERROR, "the new address is too long");
        }
    }

    /// Looks whether the drain may go on; after everything that happens.
    pub(super) fn step_drain(&mut self, now: Instant) {
        let Some(drain) = &self.drain else { return };
        if drain.is_over {
            return;
        }
        let (deadline, mesh_at) = (drain.deadline, drain.mesh_at);
        if now >= deadline {
            return self.end_drain(now);
        }
        let edge_left = !has_edge(&self.downstreams, &self.mesh);
        if edge_left || now >= mesh_at {
            for id in self.mesh.link_ids() {
                let dialled_us = self
                    .sessions
                    .session(id)
                    .is_some_and(|open| open.side() == Side::Server && !open.has_sent_goaway());
                if dialled_us {
                    self.say_goaway(now, id);
                }
            }
        }
        if !self.downstreams.is_empty() {
            return;
        }
        let has_publishers =
            has_edge(&self.announced, &self.mesh) || has_edge(&self.upstreams, &self.mesh);
        let until = now + PUBLISHERS_STAY;
        let Some(drain) = &mut self.drain else { return };
        let until = *drain.publishers_until.get_or_insert(until);
        if has_publishers && now < until {
            self.timers.insert((until, Timer::Drain));
            return;
        }
        self.end_drain(now);
    }

    fn end_drain(&mut self, now: Instant) {
        if let Some(drain) = &mut self.drain {
            drain.is_over = true;
        }
        let subscribed: Vec<RequestKey> = self.downstreams.keys().copied().collect();
        let mut late: BTreeSet<SessionId> = BTreeSet::new();
        for key in subscribed {
            late.insert(key.0);
            if let Some(session) = self.sessions.session_mut(key.0) {
                // One that still waits for its answer ends with the session.
                let _ = session.publish_done(key.1, PublishDoneCode::GOING_AWAY, REASON);
            }
        }
        let ids: Vec<SessionId> = self.sessions.ids().collect();
        for id in ids {
            let code = if late.contains(&id) {
                SessionCode::GOAWAY_TIMEOUT
            } else {
                SessionCode::NO_ERROR
            };
            self.sessions.close(id, code, REASON);
        }
        self.events.push_back(Event::Drained { late: late.len() });
        self.process(now);
    }
}

/// Whether any request is of a session that is not another relay's. Steps from session to session:
/// relays have many requests and are few.
fn has_edge<V>(requests: &BTreeMap<RequestKey, V>, mesh: &Mesh) -> bool {
    let mut from = Bound::Unbounded;
    while let Some((key, _)) = requests.range((from, Bound::Unbounded)).next() {
        if !mesh.is_link(key.0) {
            return true;
        }
        from = Bound::Excluded((key.0, RequestId(u64::MAX)));
    }
    false
}
