//! What other relays are told: the namespaces that can be had here, and how.
//!
//! Each is told the route that is in use, and only if it does not lead through it. A route that
//! changes is announced anew before the old announcement is withdrawn, so that nobody loses it in
//! between.
//!
//! | a namespace is, to another relay | leaves by |
//! |---|---|
//! | untold | room: fewer unanswered announcements than [`Limits::announcements_in_flight_max`], and fewer told than it may be |
//! | told, unanswered | its answer; a refused one stays away until its route changes |
//! | told | a change of route, its end |
//!
//! An announcement holds a request for as long as it lasts. Members let each other have as many as
//! [`Limits::announcements_max`] and more; a plain upstream is told a few. Whoever is told all that it
//! may be told is news, [`News::AnnouncementsFull`]; nothing is left out in silence.

use super::super::{Event, Relay, RequestKey};
use super::{Kind, Limits, Link, Mesh, News, RelayId, Sent, hops};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::name::TrackNamespace;
use crate::moqt::parameter::Parameters;
use crate::transport::SessionId;

impl Mesh {
    /// The hop list by which a session is to be told of a namespace, if it is.
    fn offer(
        &self,
        session: SessionId,
        link: &Link,
        namespace: &TrackNamespace,
    ) -> Option<Vec<RelayId>> {
        if link.is_leaving {
            return None;
        }
        let origins = self.origins.get(namespace)?;
        let is_staying = |key: &RequestKey| !self.is_leaving(key.0);
        let used = origins
            .iter()
            .find(|(_, key)| is_staying(key))
            .or_else(|| origins.first());
        let (_, key) = used?;
        if key.0 == session {
            return None;
        }
        let mut offered = vec![self.config.relay_id];
        offered.extend(self.routes.get(key).into_iter().flatten());
        let leads_through = match link.kind {
            Kind::Member(relay) => offered.contains(&relay),
            Kind::Plain => false,
        };
        (!leads_through && offered.len() <= self.config.limits.hops_max).then_some(offered)
    }
}

impl Relay {
    /// A new session with another relay is told everything.
    pub(super) fn announce_all(&mut self, session: SessionId) {
        if let Some(link) = self.mesh.links.get_mut(&session) {
            link.untold.extend(self.mesh.origins.keys().cloned());
        }
        self.announce_waiting(session);
    }

    /// Where a namespace can be had has changed: all other relays are told.
    pub(super) fn announce(&mut self, namespace: &TrackNamespace) {
        for session in self.mesh.link_ids() {
            self.announce_to(session, namespace);
            self.announce_waiting(session);
        }
    }

    fn announce_to(&mut self, session: SessionId, namespace: &TrackNamespace) {
        let limits = self.mesh.config.limits;
        let Some(link) = self.mesh.links.get(&session) else {
            return;
        };
        let offer = self.mesh.offer(session, link, namespace);
        let before = link.sent.get(namespace);
        let is_same = match (&offer, before) {
            (Some(offer), Some(before)) => link.kind == Kind::Plain || before.hops == *offer,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let before = before.map(|sent| sent.request);
        let Some(link) = self.mesh.links.get_mut(&session) else {
            return;
        };
        let Some(hops) = offer.filter(|_| !is_same) else {
            link.forget_waiting(namespace);
            if let Some(request) = before.filter(|_| !is_same) {
                link.sent.remove(namespace);
                self.cancel_announcement((session, request));
            }
            return;
        };
        let is_full = before.is_none() && link.is_full(&limits);
        if is_full || link.unanswered.len() >= limits.announcements_in_flight_max {
            link.forget_waiting(namespace);
            let waiting = match before {
                Some(_) => &mut link.changed,
                None => &mut link.untold,
            };
            waiting.insert(namespace.clone());
            if is_full && !link.was_full {
                link.was_full = true;
                let (relay, told) = (link.member(), link.sent.len());
                let news = News::AnnouncementsFull { relay, told };
                self.events.push_back(Event::Mesh(news));
            }
            return;
        }
        link.forget_waiting(namespace);
        self.send_announcement(session, namespace, hops);
        if let Some(request) = before {
            // Nobody loses it in between.
            self.cancel_announcement((session, request));
        }
    }

    fn send_announcement(
        &mut self,
        session: SessionId,
        namespace: &TrackNamespace,
        hops: Vec<RelayId>,
    ) {
        let (Some(link), Some(open)) = (
            self.mesh.links.get_mut(&session),
            self.sessions.session_mut(session),
        ) else {
            return;
        };
        let parameters = match link.kind {
            Kind::Member(_) => hops::to_parameters(&hops),
            Kind::Plain => Parameters::default(),
        };
        let Ok(request) = open.publish_namespace(namespace.clone(), parameters) else {
            link.sent.remove(namespace);
            return self.count_refused(session, RequestCode::INTERNAL_ERROR);
        };
        link.unanswered.insert(request);
        link.sent.insert(namespace.clone(), Sent { request, hops });
        let key = (session, request);
        self.mesh.announcements.insert(key, namespace.clone());
    }

    fn cancel_announcement(&mut self, key: RequestKey) {
        if let Some(open) = self.sessions.session_mut(key.0) {
            // An announcement that ended meanwhile needs no withdrawal.
            let _ = open.cancel(key.1, StreamCode::CANCELLED);
        }
        self.mesh.announcements.remove(&key);
        if let Some(link) = self.mesh.links.get_mut(&key.0) {
            link.unanswered.remove(&key.1);
        }
    }

    /// Tells another relay what it is still to be told, as far as there is room.
    fn announce_waiting(&mut self, session: SessionId) {
        let limits = self.mesh.config.limits;
        while let Some(link) = self.mesh.links.get_mut(&session) {
            if link.unanswered.len() >= limits.announcements_in_flight_max {
                return;
            }
            let Some(next) = link.changed.first().or(link.untold.first()).cloned() else {
                link.was_full = false;
                return;
            };
            self.announce_to(session, &next);
            let is_stuck = |link: &Link| link.changed.is_empty() && link.is_full(&limits);
            if self.mesh.links.get(&session).is_none_or(is_stuck) {
                return;
            }
        }
    }

    /// An announcement of ours was accepted: there is room for the next.
    pub(in crate::moqt::relay) fn announcement_accepted(&mut self, key: RequestKey) {
        if let Some(link) = self.mesh.links.get_mut(&key.0)
            && link.unanswered.remove(&key.1)
        {
            self.announce_waiting(key.0);
        }
    }

    /// An announcement of ours was refused.
    pub(in crate::moqt::relay) fn announcement_refused(
        &mut self,
        key: RequestKey,
        code: RequestCode,
    ) {
        if self.mesh.announcements.contains_key(&key) {
            self.count_refused(key.0, code);
        }
        self.announcement_over(key);
    }

    fn count_refused(&mut self, session: SessionId, code: RequestCode) {
        let Some(link) = self.mesh.links.get_mut(&session) else {
            return;
        };
        self.mesh.refused += 1;
        if !std::mem::replace(&mut link.has_refused, true) {
            let relay = link.member();
            let news = News::AnnouncementRefused { relay, code };
            self.events.push_back(Event::Mesh(news));
        }
    }

    /// An announcement of ours was refused or given up: it stays untold until its route changes.
    pub(in crate::moqt::relay) fn announcement_over(&mut self, key: RequestKey) {
        let Some(namespace) = self.mesh.announcements.remove(&key) else {
            return;
        };
        if let Some(link) = self.mesh.links.get_mut(&key.0) {
            link.unanswered.remove(&key.1);
            let is_current = |sent: &Sent| sent.request == key.1;
            if link.sent.get(&namespace).is_some_and(is_current) {
                link.sent.remove(&namespace);
            }
        }
        self.announce_waiting(key.0);
    }
}

impl Link {
    /// Whether the other end is told of as many namespaces as it may be.
    fn is_full(&self, limits: &Limits) -> bool {
        let most = match self.kind {
            Kind::Member(_) => limits.announcements_max,
            Kind::Plain => limits.plain_announcements_max,
        };
        self.sent.len() >= most
    }

    fn forget_waiting(&mut self, namespace: &TrackNamespace) {
        self.untold.remove(namespace);
        self.changed.remove(namespace);
    }
}
