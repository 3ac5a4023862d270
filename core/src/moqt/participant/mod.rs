//! A client that publishes and subscribes in one session, with tracks that outlive sessions.
//!
//! [`Participant`] is an [`App`] over a [`Publisher`], whose sessions it shares, and subscriptions that
//! are asked for again in each session, from where they stand. One session counts at a time: the one
//! that became ready last. An old one that a GOAWAY asks to leave is closed once another has taken its place.
//!
//! | a subscription is | means | left by |
//! |---|---|---|
//! | waiting | no session is ready, or the last answer was a refusal | a session; [`RETRY`] after the refusal |
//! | asked | the relay has been asked; objects may come | its answer, the session's end |
//! | over | the publisher ended the track, or permission lacks: [`Event::Ended`] | - |
//!
//! A refusal for another reason than permission means "not yet", and so does an end that is not the
//! track's: the relay is asked again.
//! Objects of a subscription come in order ([`line`]); what came twice is dropped.
//!
//! Limits: [`SUBSCRIPTIONS_MAX`], those of the publisher and the sessions, and those of [`line`].
//! Source: draft-ietf-moq-transport-18 sections 3.6 (migration), 5.1, 6.2; CONTRACTS A1 (C interface:
//! tracks are attached again after a reconnect).

mod line;

use super::error::{PublishDoneCode, SessionCode, StreamCode};
use super::filter::Filter;
use super::message::RequestError;
use super::name::{FullTrackName, Location, TrackNamespace};
use super::object::Object;
use super::parameter::Parameters;
use super::property::Properties;
use super::publisher::{self, Publisher};
use super::session::{self, Accepted, Event as SessionEvent};
use super::subscriber::Key;
use super::track;
use super::track::cache::SubgroupInfo;
use crate::map::{BTreeMap, BTreeSet};
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, SessionId};
use line::Line;
use std::collections::VecDeque;
use std::time::Duration;

/// Pause before a refused subscription is asked for again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a relay may wait for a publisher of what we ask for.
const RENDEZVOUS_MS: u64 = 2000;
/// How long the relay that is left may still send what the new one does not.
const LEAVE_AFTER: Duration = Duration::from_secs(1);
/// Subscriptions at a time.
pub const SUBSCRIPTIONS_MAX: usize = 1024;
/// The first word of a refusal for lack of permission.
const AUTH_FAILED: &str = "auth_failed";

/// A subscription's name, for as long as the participant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// As many subscriptions as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SUBSCRIPTIONS_MAX} subscriptions are open, the limit")]
pub struct TooManySubscriptions;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session is ready, and counts from now on.
    Ready {
        /// The session.
        session: SessionId,
    },
    /// The relay accepted all announced namespaces.
    Announced {
        /// The session.
        session: SessionId,
    },
    /// The relay refused a namespace.
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        error: RequestError,
    },
    /// An object of a subscription, in order.
    Object {
        /// The subscription.
        subscription: SubscriptionId,
        /// The object; its priority is set.
        object: Object,
    },
    /// The relay does not serve the track yet; it will be asked again.
    Waiting {
        /// The subscription.
        subscription: SubscriptionId,
        /// Why, in words.
        reason: String,
    },
    /// A subscription is over: the publisher ended the track, or permission lacks.
    Ended {
        /// The subscription.
        subscription: SubscriptionId,
        /// Why, in words; begins with `auth_failed` when permission is what lacks.
        reason: String,
    },
    /// The relay is going away: begin a session where it says, beside the one that lasts.
    Goaway {
        /// The session.
        session: SessionId,
        /// Where; empty for the same place.
        uri: String,
    },
    /// A session is over, or never came about.
    Closed {
        /// The session.
        session: SessionId,
        /// Whether it is the one that counts, or would have.
        is_current: bool,
        /// Why.
        closed: Closed,
    },
}

#[derive(Debug)]
struct Subscription {
    track: FullTrackName,
    filter: Option<Filter>,
    key: Option<Key>,
    line: Line,
    retry_at: Option<Instant>,
}

/// The machine. See the module's description.
#[derive(Debug)]
pub struct Participant {
    publisher: Publisher,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    keys: BTreeMap<Key, SubscriptionId>,
    next_id: u64,
    /// The session that counts.
    current: Option<SessionId>,
    /// One that another took the place of, and when it is closed.
    leaving: Option<(SessionId, Instant)>,
    /// Sessions that were left and are being closed: their end is no news.
    left: BTreeSet<SessionId>,
    /// The newest group and subgroup of each track of ours, for its end.
    newest: BTreeMap<FullTrackName, (u64, u64)>,
    /// Tracks that were ended, to be forgotten once nobody subscribes to them.
    ending: BTreeSet<FullTrackName>,
    events: VecDeque<Event>,
}

impl Participant {
    /// A participant without tracks.
    pub fn new(config: session::Config, limits: track::Limits) -> Self {
        Self {
            publisher: Publisher::shared(config, limits),
            subscriptions: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_id: 0,
            current: None,
            leaving: None,
            left: BTreeSet::new(),
            newest: BTreeMap::new(),
            ending: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// Announces a namespace, in all sessions.
    pub fn announce(&mut self, now: Instant, namespace: TrackNamespace) {
        self.publisher.announce(now, namespace);
        self.process(now);
    }

    /// Makes a track, or gives one new properties. `false` when one of that name is still being ended.
    pub fn create_track(&mut self, name: FullTrackName, properties: Properties) -> bool {
        if self.ending.contains(&name) {
            return false;
        }
        self.newest.entry(name.clone()).or_default();
        self.publisher.create_track(name, properties);
        true
    }

    /// Publishes an object of a track that was made.
    pub fn publish(
        &mut self,
        now: Instant,
        name: &FullTrackName,
        info: SubgroupInfo,
        object: Object,
    ) {
        let place = (object.group, object.subgroup.unwrap_or(0));
        if let Some(newest) = self.newest.get_mut(name) {
            *newest = place.max(*newest);
        }
        self.publisher.publish(now, name, info, object);
        self.process(now);
    }

    /// Ends a subgroup: all of its objects have been published.
    pub fn end_subgroup(&mut self, now: Instant, name: &FullTrackName, group: u64, subgroup: u64) {
        self.publisher.end_subgroup(now, name, group, subgroup);
        self.process(now);
    }

    /// Ends a track and its newest group; it is forgotten once its subscriptions are over.
    pub fn end_track(&mut self, now: Instant, name: &FullTrackName) {
        if let Some((group, subgroup)) = self.newest.remove(name) {
            self.publisher.end_subgroup(now, name, group, subgroup);
            self.publisher.end_track(now, name);
            self.ending.insert(name.clone());
        }
        self.process(now);
    }

    /// How many subscriptions a track of ours has, over all sessions.
    pub fn subscribers_len(&self, name: &FullTrackName) -> usize {
        self.publisher.subscribers_len(name)
    }

    /// Whether no track of ours has a subscription left.
    pub fn is_drained(&self) -> bool {
        self.publisher.is_drained()
    }

    /// Subscribes, now or as soon as there is a session, until [`Participant::unsubscribe`].
    /// Without a filter it begins at the newest group.
    pub fn subscribe(
        &mut self,
        now: Instant,
        track: FullTrackName,
        filter: Option<Filter>,
    ) -> Result<SubscriptionId, TooManySubscriptions> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(TooManySubscriptions);
        }
        let id = SubscriptionId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let subscription = Subscription {
            track,
            filter,
            key: None,
            line: Line::default(),
            retry_at: None,
        };
        self.subscriptions.insert(id, subscription);
        self.ask(now, id);
        Ok(id)
    }

    /// Gives a subscription up. One that is over is none.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(key) = self.subscriptions.remove(&id).and_then(|it| it.key) else {
            return;
        };
        self.keys.remove(&key);
        if let Some(open) = self.publisher.sessions_mut().session_mut(key.0) {
            // One that ended meanwhile needs no cancel.
            let _ = open.cancel(key.1, StreamCode::CANCELLED);
        }
    }

    /// Ends every session.
    pub fn close_all(&mut self, reason: &str) {
        self.publisher.close_all(reason);
    }

    /// Ends one session.
    pub fn close(&mut self, session: SessionId, reason: &str) {
        let sessions = self.publisher.sessions_mut();
        sessions.close(session, SessionCode::NO_ERROR, reason);
    }

    fn ask(&mut self, now: Instant, id: SubscriptionId) {
        let Some(session) = self.current else { return };
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        let resume = subscription.line.resume_at();
        let filter = resume.map(|start| Filter::Absolute { start });
        let parameters = Parameters {
            filter: filter.or(subscription.filter),
            rendezvous_timeout_ms: Some(RENDEZVOUS_MS),
            ..Parameters::default()
        };
        let track = subscription.track.clone();
        let open = self.publisher.sessions_mut().session_mut(session);
        match open.and_then(|open| open.subscribe(track, parameters).ok()) {
            Some(request) => {
                subscription.retry_at = None;
                subscription.key = Some((session, request));
                self.keys.insert((session, request), id);
            }
            None => subscription.retry_at = Some(now + RETRY),
        }
    }

    fn process(&mut self, now: Instant) {
        while let Some((session, event)) = self.publisher.poll_foreign() {
            self.take(now, session, event);
        }
        while let Some(event) = self.publisher.poll_event() {
            match event {
                publisher::Event::Announced { session } => {
                    self.events.push_back(Event::Announced { session });
                }
                publisher::Event::Refused { session, error } => {
                    self.events.push_back(Event::Refused { session, error });
                }
                publisher::Event::Goaway { session, uri } => {
                    self.events.push_back(Event::Goaway { session, uri });
                }
                // Told by the foreign events, in their order.
                publisher::Event::Closed { .. } => {}
            }
        }
        let publisher = &mut self.publisher;
        self.ending.retain(|name| !publisher.remove_track(name));
    }

    fn take(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Ready(_) => self.take_ready(now, session),
            SessionEvent::Accepted {
                request,
                accepted: Accepted::Subscribe(answer),
            } => self.check_resumed(now, (session, request), answer.parameters.largest),
            SessionEvent::Rejected { request, error } => {
                self.refused(now, (session, request), error.reason);
            }
            SessionEvent::Object {
                request,
                object,
                header,
                ..
            } => {
                let priority = object.priority.or(header.priority);
                let object = Object { priority, ..object };
                self.take_object(now, (session, request), object);
            }
            SessionEvent::Datagram { request, object } => {
                self.take_object(now, (session, request), object);
            }
            SessionEvent::SubgroupEnded { request, group, .. } => {
                let id = self.keys.get(&(session, request)).copied();
                if let Some(line) = id.and_then(|id| self.line(id)) {
                    line.ended(now, group);
                }
                self.drain(id);
            }
            SessionEvent::PublishDone {
                request,
                code: PublishDoneCode::TRACK_ENDED,
                reason,
            } => self.ended((session, request), reason),
            SessionEvent::PublishDone {
                request, reason, ..
            } => self.refused(now, (session, request), reason),
            SessionEvent::Cancelled { request, .. } => {
                let reason = "the relay cut the subscription".to_owned();
                self.refused(now, (session, request), reason);
            }
            SessionEvent::Closed(closed) => self.take_closed(session, closed),
            _ => {}
        }
    }

    fn take_ready(&mut self, now: Instant, session: SessionId) {
        if let Some(old) = self.current.replace(session).filter(|old| *old != session) {
            self.close_left();
            self.leaving = Some((old, now + LEAVE_AFTER));
        }
        self.events.push_back(Event::Ready { session });
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            self.detach(id);
            self.ask(now, id);
        }
    }

    /// The old session's subscription, if there is one, is heard no more.
    fn detach(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        subscription.line.cut();
        let Some(key) = subscription.key.take() else {
            return;
        };
        self.keys.remove(&key);
        if let Some(open) = self.publisher.sessions_mut().session_mut(key.0) {
            // One that ended meanwhile needs no cancel.
            let _ = open.cancel(key.1, StreamCode::CANCELLED);
        }
    }

    fn close_left(&mut self) {
        if let Some((old, _)) = self.leaving.take() {
            self.left.insert(old);
            self.close(old, "moved");
        }
    }

    /// A relay that counts less than we saw has a publisher that began anew.
    fn check_resumed(&mut self, now: Instant, key: Key, largest: Option<Location>) {
        let Some(id) = self.keys.get(&key).copied() else {
            return;
        };
        let Some(line) = self.line(id) else { return };
        let is_behind = line.resume_at().is_some_and(|next| {
            largest.is_none_or(|largest| largest.group.saturating_add(1) < next.group)
        });
        if is_behind {
            line.begin_anew();
            self.detach(id);
            self.ask(now, id);
        }
    }

    fn refused(&mut self, now: Instant, key: Key, reason: String) {
        let Some(id) = self.keys.remove(&key) else {
            return;
        };
        if reason.starts_with(AUTH_FAILED) {
            self.subscriptions.remove(&id);
            let subscription = id;
            self.events.push_back(Event::Ended {
                subscription,
                reason,
            });
            return;
        }
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.key = None;
            subscription.line.cut();
            subscription.retry_at = Some(now + RETRY);
        }
        let subscription = id;
        self.events.push_back(Event::Waiting {
            subscription,
            reason,
        });
    }

    fn ended(&mut self, key: Key, reason: String) {
        let Some(id) = self.keys.remove(&key) else {
            return;
        };
        if let Some(line) = self.line(id) {
            line.finish();
        }
        self.drain(Some(id));
        self.subscriptions.remove(&id);
        let subscription = id;
        self.events.push_back(Event::Ended {
            subscription,
            reason,
        });
    }

    fn take_object(&mut self, now: Instant, key: Key, object: Object) {
        let id = self.keys.get(&key).copied();
        if let Some(line) = id.and_then(|id| self.line(id)) {
            line.object(now, object);
        }
        self.drain(id);
    }

    fn take_closed(&mut self, session: SessionId, closed: Closed) {
        let is_leaving = self.leaving.take_if(|(left, _)| *left == session).is_some();
        if self.left.remove(&session) || is_leaving {
            return;
        }
        let is_current = self.current.is_none_or(|current| current == session);
        if self.current == Some(session) {
            self.current = None;
            let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
            for id in ids {
                self.detach(id);
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.retry_at = None;
                }
            }
        }
        self.events.push_back(Event::Closed {
            session,
            is_current,
            closed,
        });
    }

    fn line(&mut self, id: SubscriptionId) -> Option<&mut Line> {
        Some(&mut self.subscriptions.get_mut(&id)?.line)
    }

    fn drain(&mut self, id: Option<SubscriptionId>) {
        let Some(subscription) = id else { return };
        while let Some(object) = self.line(subscription).and_then(Line::poll) {
            self.events.push_back(Event::Object {
                subscription,
                object,
            });
        }
    }
}

impl App for Participant {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.publisher.handle(now, input);
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.publisher.handle_timeout(now);
        self.process(now);
        if self.leaving.is_some_and(|(_, at)| at <= now) {
            self.close_left();
        }
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            let Some(subscription) = self.subscriptions.get_mut(&id) else {
                continue;
            };
            subscription.line.handle_timeout(now);
            if subscription.retry_at.is_some_and(|at| at <= now) {
                self.ask(now, id);
            }
            self.drain(Some(id));
        }
        self.process(now);
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.publisher.sessions_mut().poll_output() {
            return Some(Action::Transport(output));
        }
        self.events.pop_front().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let own = self.subscriptions.values().flat_map(|subscription| {
            [subscription.line.next_timeout(), subscription.retry_at]
                .into_iter()
                .flatten()
        });
        let leaving = self.leaving.map(|(_, at)| at);
        own.chain(leaving)
            .chain(self.publisher.next_timeout())
            .min()
    }
}
