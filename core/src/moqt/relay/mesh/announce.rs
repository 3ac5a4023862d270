//! What other relays are told: the namespaces that can be had here, and how.
//!
//! Each is told the route that is in use, and only if it does not lead through it. A route that
//! changes is announced anew before the old announcement is withdrawn, so that nobody loses it in
//! between.

use super::super::{Relay, RequestKey};
use super::{Kind, Link, Mesh, RelayId, Sent, hops};
use crate::moqt::error::StreamCode;
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
        let namespaces: Vec<TrackNamespace> = self.mesh.origins.keys().cloned().collect();
        for namespace in namespaces {
            self.announce_to(session, &namespace);
        }
    }

    /// Where a namespace can be had has changed: all other relays are told.
    pub(super) fn announce(&mut self, namespace: &TrackNamespace) {
        for session in self.mesh.link_ids() {
            self.announce_to(session, namespace);
        }
    }

    fn announce_to(&mut self, session: SessionId, namespace: &TrackNamespace) {
        let limit = self.mesh.config.limits.announcements_max;
        let Some(link) = self.mesh.links.get(&session) else {
            return;
        };
        let offer = self.mesh.offer(session, link, namespace);
        let before = link.sent.get(namespace);
        let is_same = match (&offer, before) {
            (Some(offer), Some(before)) => link.kind == Kind::Plain || before.hops == *offer,
            (None, None) => true,
            (Some(_), None) => link.sent.len() >= limit,
            (None, Some(_)) => false,
        };
        if is_same || (link.is_leaving && before.is_none()) {
            return;
        }
        let before = before.map(|sent| sent.request);
        let parameters = match (&offer, link.kind) {
            (Some(offer), Kind::Member(_)) => hops::to_parameters(offer),
            _ => Parameters::default(),
        };
        let Some(open) = self.sessions.session_mut(session) else {
            return;
        };
        let sent = offer.and_then(|hops| {
            let request = open.publish_namespace(namespace.clone(), parameters).ok()?;
            Some(Sent { request, hops })
        });
        if let Some(before) = before {
            // An announcement that ended meanwhile needs no withdrawal.
            let _ = open.cancel(before, StreamCode::CANCELLED);
            self.mesh.announcements.remove(&(session, before));
        }
        if let Some(sent) = &sent {
            let key = (session, sent.request);
            self.mesh.announcements.insert(key, namespace.clone());
        }
        if let Some(link) = self.mesh.links.get_mut(&session) {
            match sent {
                Some(sent) => link.sent.insert(namespace.clone(), sent),
                None => link.sent.remove(namespace),
            };
        }
    }

    /// An announcement of ours was refused or given up: it stays untold until its route changes.
    pub(in crate::moqt::relay) fn announcement_over(&mut self, key: RequestKey) {
        let Some(namespace) = self.mesh.announcements.remove(&key) else {
            return;
        };
        if let Some(link) = self.mesh.links.get_mut(&key.0)
            && link
                .sent
                .get(&namespace)
                .is_some_and(|sent| sent.request == key.1)
        {
            link.sent.remove(&namespace);
        }
    }
}
