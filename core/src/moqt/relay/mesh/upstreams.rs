//! Upstreams: which there shall be, when each is dialled, and what its sessions become.
//!
//! | an upstream is | means | left by |
//! |---|---|---|
//! | waiting | not connected; a pause runs | the pause's end: [`Event::Dial`] to the owner |
//! | dialling | the owner connects | [`Relay::dialled`], the session's SETUP, or `dial_timeout` |
//! | connected | it is a member or a plain upstream | the session's end, or GOAWAY |
//!
//! Pauses double from `backoff_first` to `backoff_max` and are spread over their upper half by the
//! seed, so that the relays behind one that restarted do not come back in one moment. An upstream that says
//! GOAWAY is dialled anew at once, at the place that it names, while its old session goes on.

use super::super::access::Grant;
use super::super::{Event, Relay, Timer};
use super::{Kind, Link, MeshTimer, News, RelayId, credential, deadline};
use crate::moqt::error::SessionCode;
use crate::moqt::message::{Goaway, Setup};
use crate::moqt::session::{self, Ready};
use crate::resolve::Secret;
use crate::time::Instant;
use crate::transport::{Closed, Opened, SessionId, Side};
use std::collections::BTreeSet;
use std::time::Duration;

/// A relay to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// Where it is; the owner understands it. May hold a token in its query.
    pub url: String,
    /// Whether it is to be shown the mesh secret. A relay of another make is not.
    pub is_member: bool,
}

/// An upstream's name; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub u64);

#[derive(Debug)]
pub(super) struct Slot {
    upstream: Upstream,
    state: State,
    /// Since the last session that lasted.
    failures: u32,
    connected_at: Option<Instant>,
    /// Where it asked us to go, until that fails.
    moved_to: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Dialling(Instant),
    Connected(SessionId),
}

impl Slot {
    fn url(&self) -> &str {
        self.moved_to.as_deref().unwrap_or(&self.upstream.url)
    }

    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Dialling(at) => Some(at),
            State::Connected(_) => None,
        }
    }
}

/// Commands.
impl Relay {
    /// The set of upstreams is now this: new ones are dialled, and sessions with those that are not
    /// in it any more end. Those beyond the limit are left out.
    pub fn set_upstreams(&mut self, now: Instant, upstreams: &BTreeSet<Upstream>) {
        let gone: Vec<UpstreamId> = self
            .mesh
            .slots
            .iter()
            .filter(|(_, slot)| !upstreams.contains(&slot.upstream))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let slot = self.mesh.slots.remove(&id);
            if let Some(State::Connected(session)) = slot.map(|slot| slot.state) {
                let reason = "the relay is no upstream any more";
                self.sessions.close(session, SessionCode::NO_ERROR, reason);
            }
        }
        for upstream in upstreams {
            let is_known = |slot: &Slot| slot.upstream == *upstream;
            if self.mesh.slots.len() >= self.mesh.config.limits.upstreams_max
                || self.mesh.slots.values().any(is_known)
            {
                continue;
            }
            let id = UpstreamId(self.mesh.next_upstream);
            self.mesh.next_upstream += 1;
            let slot = Slot {
                upstream: upstream.clone(),
                state: State::Waiting(now),
                failures: 0,
                connected_at: None,
                moved_to: None,
            };
            self.mesh.slots.insert(id, slot);
            self.dial(now, id);
        }
        self.process(now);
    }

    /// What members show each other is this from now on. Sessions that rest on another secret end;
    /// upstreams are dialled anew and shown the new one.
    pub fn set_mesh_secret(&mut self, now: Instant, secret: Option<Secret>) {
        let shown = |secret: &Option<Secret>| secret.as_ref().map(|it| it.expose().to_owned());
        if shown(&self.mesh.config.secret) == shown(&secret) {
            return;
        }
        self.mesh.config.secret = secret;
        let members = self.mesh.links.iter();
        let members: Vec<SessionId> = members
            .filter(|(_, link)| link.member().is_some())
            .map(|(session, _)| *session)
            .collect();
        for session in members {
            let reason = "auth_failed: the mesh secret was replaced";
            self.sessions
                .close(session, SessionCode::UNAUTHORIZED, reason);
        }
        self.process(now);
    }

    /// The owner's answer to [`Event::Dial`]: the session that it began, or why it could not.
    pub fn dialled(&mut self, now: Instant, id: UpstreamId, begun: Result<SessionId, String>) {
        match begun {
            Ok(session) if self.mesh.slots.contains_key(&id) => {
                self.mesh.dialled.insert(session, id);
            }
            Ok(session) => {
                let reason = "the relay is no upstream any more";
                self.sessions.close(session, SessionCode::NO_ERROR, reason);
            }
            Err(reason) => self.connection_lost(now, id, reason),
        }
        self.process(now);
    }
}

impl Relay {
    fn dial(&mut self, now: Instant, id: UpstreamId) {
        if self.is_draining() {
            return;
        }
        let timeout = self.mesh.config.limits.dial_timeout;
        if let Some(slot) = self.mesh.slots.get_mut(&id) {
            slot.state = State::Dialling(deadline(now, timeout));
            let url = slot.url().to_owned();
            self.events.push_back(Event::Dial { upstream: id, url });
            self.arm_dial(id);
        }
    }

    fn arm_dial(&mut self, id: UpstreamId) {
        if let Some(at) = self.mesh.slots.get(&id).and_then(Slot::deadline) {
            self.timers.insert((at, Timer::Mesh(MeshTimer::Dial(id))));
        }
    }

    pub(super) fn take_dial_timer(&mut self, now: Instant, id: UpstreamId) {
        let Some(slot) = self.mesh.slots.get(&id) else {
            return;
        };
        match slot.state {
            State::Waiting(at) if at <= now => self.dial(now, id),
            State::Dialling(at) if at <= now => {
                let begun: Vec<SessionId> = self
                    .mesh
                    .dialled
                    .iter()
                    .filter(|(session, of)| **of == id && !self.mesh.is_link(**session))
                    .map(|(session, _)| *session)
                    .collect();
                for session in begun {
                    self.mesh.dialled.remove(&session);
                    let reason = "the session took too long to begin";
                    self.sessions
                        .close(session, SessionCode::CONTROL_MESSAGE_TIMEOUT, reason);
                }
                let reason = "the attempt to connect took too long".to_owned();
                self.connection_lost(now, id, reason);
            }
            State::Waiting(_) | State::Dialling(_) | State::Connected(_) => {}
        }
    }

    /// An attempt failed or a session is over: another attempt follows after a pause.
    fn connection_lost(&mut self, now: Instant, id: UpstreamId, reason: String) {
        let pause = self.next_pause(now, id);
        let Some(slot) = self.mesh.slots.get_mut(&id) else {
            return;
        };
        let url = without_query(slot.url());
        slot.failures = slot.failures.saturating_add(1);
        slot.moved_to = None;
        slot.state = State::Waiting(now + pause);
        let news = News::UpstreamLost { url, reason };
        self.events.push_back(Event::Mesh(news));
        self.arm_dial(id);
    }

    fn next_pause(&mut self, now: Instant, id: UpstreamId) -> Duration {
        let limits = self.mesh.config.limits;
        let mut failures = 0;
        if let Some(slot) = self.mesh.slots.get_mut(&id) {
            let lasted = |at: Instant| now.saturating_since(at) >= limits.backoff_max;
            if slot.connected_at.take().is_some_and(lasted) {
                slot.failures = 0;
            }
            failures = slot.failures;
        }
        let doubled = limits
            .backoff_first
            .saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(1));
        let longest = doubled.min(limits.backoff_max);
        let half = longest / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(self.mesh.draw(spread))
    }

    /// A session opens: what shall our SETUP say?
    pub(in crate::moqt::relay) fn prepare_mesh(&mut self, session: SessionId, opened: &Opened) {
        let shows_secret = match opened.side {
            Side::Server => Some(false),
            Side::Client => self
                .mesh
                .dialled
                .get(&session)
                .and_then(|id| self.mesh.slots.get(id))
                .and_then(|slot| slot.upstream.is_member.then_some(true)),
        };
        let setup = shows_secret.map(|shows| credential::setup(&self.mesh.config, shows));
        if let Some(setup) = setup.filter(|setup| *setup != Setup::default()) {
            self.sessions.prepare(session, setup);
        }
    }

    /// The peer's SETUP is here. Whether the session is one with another relay, or refused as such.
    pub(in crate::moqt::relay) fn admit_mesh(
        &mut self,
        now: Instant,
        session: SessionId,
        ready: &Ready,
    ) -> bool {
        if let Some(id) = self.mesh.dialled.get(&session).copied() {
            self.admit_upstream(now, session, id, ready);
            return true;
        }
        match credential::judge(&self.mesh.config, ready) {
            credential::Shown::Stranger => false,
            credential::Shown::Impostor => {
                let reason = "auth_failed: the mesh credential is not valid here";
                self.deny_session(session, SessionCode::UNAUTHORIZED, reason);
                true
            }
            credential::Shown::Member(relay) => {
                self.admit_member(now, session, None, relay);
                true
            }
        }
    }

    fn admit_upstream(&mut self, now: Instant, session: SessionId, id: UpstreamId, ready: &Ready) {
        let Some(slot) = self.mesh.slots.get_mut(&id) else {
            return;
        };
        slot.state = State::Connected(session);
        slot.connected_at = Some(now);
        let is_member = slot.upstream.is_member && self.mesh.config.secret.is_some();
        if let Some(relay) = credential::relay_id(ready).filter(|_| is_member) {
            self.admit_member(now, session, Some(id), relay);
        } else {
            self.events.push_back(Event::Mesh(News::PlainUp));
            self.link_up(now, session, Kind::Plain, Some(id));
        }
    }

    fn admit_member(
        &mut self,
        now: Instant,
        session: SessionId,
        upstream: Option<UpstreamId>,
        relay: RelayId,
    ) {
        if relay == self.mesh.config.relay_id {
            let reason = "this relay is its own upstream";
            self.sessions.close(session, SessionCode::NO_ERROR, reason);
            return;
        }
        // A relay that comes back may be quicker than the loss of its old session.
        let replaced: Vec<SessionId> = self
            .mesh
            .links
            .iter()
            .filter(|(_, link)| {
                link.kind == Kind::Member(relay)
                    && upstream.is_none()
                    && link.upstream.is_none()
                    && !link.is_leaving
            })
            .map(|(session, _)| *session)
            .collect();
        let is_full = self.mesh.links.len() >= self.mesh.config.limits.members_max;
        if is_full && replaced.is_empty() {
            let reason = "too many relays of the mesh";
            self.sessions
                .close(session, SessionCode::INTERNAL_ERROR, reason);
            return;
        }
        let news = News::MemberUp {
            relay,
            is_upstream: upstream.is_some(),
        };
        self.events.push_back(Event::Mesh(news));
        self.link_up(now, session, Kind::Member(relay), upstream);
        for old in replaced {
            let reason = "replaced by a newer session";
            self.sessions.close(old, SessionCode::NO_ERROR, reason);
        }
    }

    fn link_up(
        &mut self,
        now: Instant,
        session: SessionId,
        kind: Kind,
        upstream: Option<UpstreamId>,
    ) {
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.grant = Grant::Open;
        }
        let limits = session::Limits {
            requests_max: self.mesh.config.limits.requests_max,
            incoming_streams_max: self.mesh.config.limits.requests_max,
            ..self.config.sessions.limits
        };
        if let Some(open) = self.sessions.session_mut(session) {
            open.set_limits(limits);
            if let Kind::Member(_) = kind {
                open.allow_requests(self.mesh.config.limits.member_requests_max);
            }
        }
        self.mesh.links.insert(session, Link::new(kind, upstream));
        self.announce_all(session);
        if kind == Kind::Plain {
            self.default_route_up(now, session);
        }
    }

    /// A session of ours to an upstream, or of another relay to us, is over.
    pub(in crate::moqt::relay) fn mesh_session_over(
        &mut self,
        now: Instant,
        session: SessionId,
        closed: &Closed,
    ) {
        if self.mesh.is_link(session) {
            self.await_takeover(now, session);
        }
        for key in self.mesh.holes_of(session) {
            self.hole_ended(now, key, false);
        }
        let dialled = self.mesh.dialled.remove(&session);
        let link = self.mesh.links.remove(&session);
        if let Some(link) = &link {
            for sent in link.sent.values() {
                self.mesh.announcements.remove(&(session, sent.request));
            }
            if let Kind::Member(relay) = link.kind {
                self.events
                    .push_back(Event::Mesh(News::MemberDown { relay }));
            }
        }
        let Some(id) = dialled else { return };
        let is_current = self.mesh.slots.get(&id).is_some_and(|slot| {
            slot.state == State::Connected(session)
                || (link.is_none() && matches!(slot.state, State::Dialling(_)))
        });
        if is_current {
            let reason = match closed {
                Closed::Application { reason, .. } | Closed::Transport { reason } => reason,
            };
            self.connection_lost(now, id, reason.clone());
        }
    }

    /// Another relay goes away: what it serves moves, and an upstream is looked for where it says.
    pub(in crate::moqt::relay) fn take_goaway(
        &mut self,
        now: Instant,
        session: SessionId,
        goaway: &Goaway,
    ) {
        let Some(link) = self.mesh.links.get_mut(&session) else {
            return;
        };
        link.is_leaving = true;
        let upstream = link.upstream;
        self.leave_session(now, session);
        let Some(id) = upstream else { return };
        let Some(slot) = self.mesh.slots.get_mut(&id) else {
            return;
        };
        let url = without_query(slot.url());
        if !goaway.new_session_uri.is_empty() {
            slot.moved_to = Some(goaway.new_session_uri.clone());
        }
        let news = News::UpstreamLeaving { url };
        self.events.push_back(Event::Mesh(news));
        // Relays that send each other's clients back and forth are not to be followed at any speed.
        let pause = self.next_pause(now, id);
        if let Some(slot) = self.mesh.slots.get_mut(&id) {
            slot.failures = slot.failures.saturating_add(1);
            if slot.failures > 1 {
                slot.state = State::Waiting(now + pause);
                self.arm_dial(id);
            } else {
                self.dial(now, id);
            }
        }
    }
}

fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
