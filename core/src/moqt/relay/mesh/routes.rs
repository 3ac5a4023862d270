//! Who offers which namespace: original publishers, and members that can get at one.
//!
//! Both stand in one table by namespace, ordered by hops, original publishers first. Which of them
//! a track is asked of is [`super::moves`]' matter.

use super::super::{Relay, RequestKey};
use super::{Kind, News, hops};
use crate::moqt::error::RequestCode;
use crate::moqt::message::PublishNamespace;
use crate::moqt::name::TrackNamespace;
use crate::time::Instant;

/// What an announcement is.
pub(in crate::moqt::relay) enum Offer {
    /// An original publisher's.
    Original,
    /// A member's; its hops are kept.
    Route,
    /// Not accepted.
    Refused(RequestCode, &'static str),
}

impl Relay {
    /// Judges an announcement before it is accepted; a member's hops are kept.
    pub(in crate::moqt::relay) fn judge_announcement(
        &mut self,
        key: RequestKey,
        request: &PublishNamespace,
    ) -> Offer {
        let config = &self.mesh.config;
        let (own, limits) = (config.relay_id, config.limits);
        let Some(link) = self.mesh.links.get_mut(&key.0) else {
            return Offer::Original;
        };
        let Kind::Member(relay) = link.kind else {
            return Offer::Original;
        };
        let read = if link.routes >= limits.announcements_max {
            Err((
                RequestCode::EXCESSIVE_LOAD,
                "too many namespaces (namespaces_max)",
            ))
        } else {
            hops::from_parameters(&request.parameters, relay, own, limits.hops_max)
        };
        match read {
            Ok(hops) => {
                link.routes += 1;
                self.mesh.routes.insert(key, hops);
                Offer::Route
            }
            Err((code, reason)) => {
                self.mesh.routes_refused += 1;
                if !std::mem::replace(&mut link.was_refused, true) {
                    let news = News::RouteRefused { relay, reason };
                    self.events.push_back(super::super::Event::Mesh(news));
                }
                Offer::Refused(code, reason)
            }
        }
    }

    /// A namespace is offered: by a publisher's announcement or track, or by a member.
    pub(in crate::moqt::relay) fn offered(
        &mut self,
        now: Instant,
        key: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let hops = self.mesh.routes.get(&key).map_or(0, Vec::len);
        let origins = self.mesh.origins.entry(namespace.clone()).or_default();
        origins.insert((hops, key));
        if hops > 0 {
            self.take_better_route(now, key, namespace);
        }
        self.announce(namespace);
    }

    /// It is no longer.
    pub(in crate::moqt::relay) fn withdrawn(
        &mut self,
        now: Instant,
        key: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let hops = self.mesh.routes.remove(&key);
        if hops.is_some()
            && let Some(link) = self.mesh.links.get_mut(&key.0)
        {
            link.routes = link.routes.saturating_sub(1);
        }
        if let Some(origins) = self.mesh.origins.get_mut(namespace) {
            origins.remove(&(hops.as_ref().map_or(0, Vec::len), key));
            if origins.is_empty() {
                self.mesh.origins.remove(namespace);
            }
        }
        self.announce(namespace);
        if hops.is_some() {
            self.leave_route(now, key.0, namespace);
        }
    }
}
