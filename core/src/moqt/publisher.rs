//! An original publisher: announces namespaces to a relay and serves their tracks.
//!
//! [`Publisher`] is an [`App`] whose sessions are connections to relays. It keeps the newest groups
//! of each track, as a relay does, so that a subscription that comes in mid-group starts at a group
//! boundary. Tracks outlive sessions: after a reconnect the same tracks are announced again.
//!
//! The owner makes tracks and writes objects by commands; [`Event`]s tell what became of each
//! session. Source: draft-ietf-moq-transport-18 sections 5.1, 6.2.

mod fetches;

use super::error::{PublishDoneCode, RequestCode};
use super::message::{Message, RequestError, RequestOk};
use super::name::{FullTrackName, RequestId, TrackNamespace};
use super::object::Object;
use super::parameter::Parameters;
use super::property::Properties;
use super::session::{self, Event as SessionEvent, Sessions};
use super::track::cache::{End, SubgroupInfo};
use super::track::{self, Track};
use crate::map::{BTreeMap, BTreeSet};
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, SessionId, StreamId};
use std::collections::VecDeque;

/// What a subscription's PUBLISH_DONE says when its track is over.
const TRACK_ENDED: &str = "the publisher ended the track";

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A relay accepted all announced namespaces: subscriptions may come.
    Announced {
        /// The session.
        session: SessionId,
    },
    /// A relay refused a namespace.
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        error: RequestError,
    },
    /// A relay is going away: a session with another one, or with the one that takes its place, is
    /// to be begun; both are served until the old one ends.
    Goaway {
        /// The session.
        session: SessionId,
        /// Where to go instead; empty for the same place.
        uri: String,
    },
    /// A session is over, or never came about.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        closed: Closed,
    },
}

/// The publisher machine. See the module's description.
#[derive(Debug)]
pub struct Publisher {
    sessions: Sessions,
    limits: track::Limits,
    namespaces: BTreeSet<TrackNamespace>,
    tracks: BTreeMap<FullTrackName, Track>,
    /// Those of them that the owner ended: who asks for one gets what is retained, and its end.
    ended: BTreeSet<FullTrackName>,
    /// Which track a relay's SUBSCRIBE is for.
    subscriptions: BTreeMap<(SessionId, RequestId), FullTrackName>,
    /// Fetches and fills that wait for the transport.
    answers: BTreeMap<(SessionId, StreamId), fetches::Answer>,
    /// Announcements that are not answered yet.
    announcing: BTreeSet<(SessionId, RequestId)>,
    events: VecDeque<Event>,
    /// What sessions said that is not about publishing, for an owner that also subscribes in them;
    /// `None` drops it.
    foreign: Option<VecDeque<(SessionId, SessionEvent)>>,
}

impl Publisher {
    /// A publisher of nothing.
    pub fn new(config: session::Config, limits: track::Limits) -> Self {
        Self {
            sessions: Sessions::new(config),
            limits,
            namespaces: BTreeSet::new(),
            tracks: BTreeMap::new(),
            ended: BTreeSet::new(),
            subscriptions: BTreeMap::new(),
            answers: BTreeMap::new(),
            announcing: BTreeSet::new(),
            events: VecDeque::new(),
            foreign: None,
        }
    }

    /// One whose owner subscribes in the same sessions and takes what is about that by
    /// [`Publisher::poll_foreign`].
    pub(super) fn shared(config: session::Config, limits: track::Limits) -> Self {
        Self {
            foreign: Some(VecDeque::new()),
            ..Self::new(config, limits)
        }
    }

    /// What is not about publishing. Sessions that became ready and those that are over are told
    /// here as well.
    pub(super) fn poll_foreign(&mut self) -> Option<(SessionId, SessionEvent)> {
        self.foreign.as_mut()?.pop_front()
    }

    /// The next event, for an owner that is a machine itself.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The sessions, for what is not about publishing.
    pub(super) fn sessions_mut(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// Announces a namespace on all sessions, present and future.
    pub fn announce(&mut self, now: Instant, namespace: TrackNamespace) {
        if self.namespaces.insert(namespace.clone()) {
            let ready: Vec<SessionId> = self
                .sessions
                .ids()
                .filter(|id| {
                    self.sessions
                        .session(*id)
                        .is_some_and(session::Session::is_ready)
                })
                .collect();
            for session in ready {
                self.announce_on(session, &namespace);
            }
        }
        self.process(now);
    }

    /// Makes a track, or gives an existing one new properties; one that was ended goes on.
    pub fn create_track(&mut self, name: FullTrackName, properties: Properties) {
        let limits = self.limits;
        self.ended.remove(&name);
        self.tracks
            .entry(name)
            .and_modify(|track| track.set_properties(properties.clone()))
            .or_insert_with(|| Track::new(properties, limits));
    }

    /// Whether there is a track of that name.
    pub fn has_track(&self, name: &FullTrackName) -> bool {
        self.tracks.contains_key(name)
    }

    /// How many subscriptions a track has, over all sessions.
    pub fn subscribers_len(&self, name: &FullTrackName) -> usize {
        self.tracks.get(name).map_or(0, Track::subscribers_len)
    }

    /// Publishes an object. An unknown or ended track is the caller's error and changes nothing.
    /// Whoever publishes here is the original publisher: the first object of a subgroup is said to be it.
    pub fn publish(
        &mut self,
        now: Instant,
        name: &FullTrackName,
        info: SubgroupInfo,
        object: Object,
    ) {
        if let Some(track) = self.tracks.get_mut(name)
            && !self.ended.contains(name)
        {
            let info = SubgroupInfo {
                first_object: true,
                ..info
            };
            track.publish(now, &mut self.sessions, info, object, None);
            let ended = track.take_ended();
            self.forget(ended);
        }
        self.process(now);
    }

    /// Ends a subgroup: all of its objects have been published.
    pub fn end_subgroup(&mut self, now: Instant, name: &FullTrackName, group: u64, subgroup: u64) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.end_subgroup(now, &mut self.sessions, group, subgroup, End::Finished);
            let ended = track.take_ended();
            self.forget(ended);
        }
        self.process(now);
    }

    /// Ends a track: its subscriptions, also those that come later, get PUBLISH_DONE once all that
    /// is retained and wanted is sent.
    pub fn end_track(&mut self, now: Instant, name: &FullTrackName) {
        if let Some(track) = self.tracks.get_mut(name) {
            self.ended.insert(name.clone());
            track.finish(
                now,
                &mut self.sessions,
                PublishDoneCode::TRACK_ENDED,
                TRACK_ENDED,
            );
            let ended = track.take_ended();
            self.forget(ended);
        }
        self.process(now);
    }

    /// Forgets a track and what it retains, unless somebody subscribes to it. Returns whether the
    /// track is gone.
    pub fn remove_track(&mut self, name: &FullTrackName) -> bool {
        if self.subscribers_len(name) > 0 {
            return false;
        }
        self.tracks.remove(name);
        self.ended.remove(name);
        true
    }

    /// Whether everything that was published has been handed to the transport and all
    /// subscriptions are over.
    pub fn is_drained(&self) -> bool {
        self.tracks
            .values()
            .all(|track| track.subscribers_len() == 0)
    }

    /// Ends every session.
    pub fn close_all(&mut self, reason: &str) {
        let ids: Vec<SessionId> = self.sessions.ids().collect();
        for id in ids {
            self.sessions
                .close(id, super::error::SessionCode::NO_ERROR, reason);
        }
    }

    fn announce_on(&mut self, session: SessionId, namespace: &TrackNamespace) {
        let Some(open) = self.sessions.session_mut(session) else {
            return;
        };
        match open.publish_namespace(namespace.clone(), Parameters::default()) {
            Ok(request) => {
                self.announcing.insert((session, request));
            }
            Err(error) => {
                let error = RequestError::new(RequestCode::INTERNAL_ERROR, error.to_string());
                self.events.push_back(Event::Refused { session, error });
            }
        }
    }

    fn process(&mut self, now: Instant) {
        while let Some((session, event)) = self.sessions.poll_event() {
            self.take(now, session, event);
        }
    }

    /// Leaves an event to an owner that shares the sessions.
    fn pass_on(&mut self, session: SessionId, event: SessionEvent) {
        if let Some(foreign) = &mut self.foreign {
            foreign.push_back((session, event));
        }
    }

    fn take(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Ready(ready) => {
                for namespace in self.namespaces.clone() {
                    self.announce_on(session, &namespace);
                }
                self.pass_on(session, SessionEvent::Ready(ready));
            }
            event @ (SessionEvent::Accepted { request, .. }
            | SessionEvent::Rejected { request, .. })
                if self.foreign.is_some() && !self.announcing.contains(&(session, request)) =>
            {
                self.pass_on(session, event);
            }
            SessionEvent::Accepted { request, .. } => {
                self.announcing.remove(&(session, request));
                let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
                if self.announcing.range(of_session).next().is_none() {
                    self.events.push_back(Event::Announced { session });
                }
            }
            SessionEvent::Rejected { request, error } => {
                self.announcing.remove(&(session, request));
                self.events.push_back(Event::Refused { session, error });
            }
            SessionEvent::Closed(closed) => {
                self.pass_on(session, SessionEvent::Closed(closed.clone()));
                self.session_over(session, closed);
            }
            SessionEvent::Goaway(goaway) => {
                let uri = goaway.new_session_uri;
                self.events.push_back(Event::Goaway { session, uri });
            }
            event => self.take_served(now, session, event),
        }
    }

    /// What is about a request of the relay. The rest is about subscribing, which a publisher does not.
    fn take_served(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Request { request, message } => {
                self.take_request(now, session, request, message);
            }
            SessionEvent::Update {
                request,
                update,
                parameters,
            } => {
                self.take_update(now, (session, request), update, &parameters);
            }
            SessionEvent::Cancelled { request, code } => {
                self.fetches_over(session, Some(request));
                self.unsubscribe((session, request));
                self.pass_on(session, SessionEvent::Cancelled { request, code });
            }
            SessionEvent::Writable { request, stream } => {
                let key = (session, request);
                if !self.fetch_writable(now, (session, stream))
                    && let Some((track, sessions)) = self.track_of(key)
                {
                    track.handle_writable(now, sessions, key, stream);
                    let ended = track.take_ended();
                    self.forget(ended);
                }
            }
            SessionEvent::Stopped {
                request, stream, ..
            } => {
                let key = (session, request);
                if !self.fetch_stopped(now, (session, stream))
                    && let Some((track, _)) = self.track_of(key)
                {
                    track.handle_stopped(key, stream);
                }
            }
            event => self.pass_on(session, event),
        }
    }

    fn take_update(
        &mut self,
        now: Instant,
        key: (SessionId, RequestId),
        update: RequestId,
        parameters: &Parameters,
    ) {
        let mut answer = RequestOk::default();
        let updated = self.track_of(key).map_or(Ok(()), |(track, sessions)| {
            answer.parameters.largest = track.largest();
            track.update(now, sessions, key, parameters)
        });
        let Some(open) = self.sessions.session_mut(key.0) else {
            return;
        };
        // An update of a request that is over needs no answer.
        let _ = match &updated {
            Ok(()) => open.accept_update(key.1, answer),
            Err(error) => open.reject_update(key.1, error.clone()),
        };
        if updated.is_ok() {
            self.fill(now, key, update, parameters);
        } else {
            self.fetches_over(key.0, Some(key.1));
            self.unsubscribe(key);
        }
    }

    fn session_over(&mut self, session: SessionId, closed: Closed) {
        let of_session: Vec<_> = self
            .subscriptions
            .range((session, RequestId(0))..=(session, RequestId(u64::MAX)))
            .map(|(key, _)| *key)
            .collect();
        for key in of_session {
            self.unsubscribe(key);
        }
        self.fetches_over(session, None);
        self.announcing.retain(|(of, _)| *of != session);
        self.events.push_back(Event::Closed { session, closed });
    }

    fn take_request(
        &mut self,
        now: Instant,
        session: SessionId,
        request: RequestId,
        message: Message,
    ) {
        let Some(open) = self.sessions.session_mut(session) else {
            return;
        };
        let refusal = match message {
            Message::Subscribe(subscribe) => match self.tracks.get_mut(&subscribe.track) {
                Some(track) => {
                    if let Err(error) = track.check(&subscribe.parameters) {
                        // A request that ended meanwhile needs no answer.
                        let _ = open.reject(request, error);
                        return;
                    }
                    let answer = Parameters {
                        largest: track.largest(),
                        ..Parameters::default()
                    };
                    let properties = track.properties().clone();
                    if open.accept_subscribe(request, answer, properties).is_ok() {
                        let key = (session, request);
                        self.subscriptions.insert(key, subscribe.track.clone());
                        track.subscribe(now, &mut self.sessions, key, &subscribe.parameters);
                        self.fill(now, key, request, &subscribe.parameters);
                        self.end_late(now, key);
                    }
                    return;
                }
                None => RequestError::new(RequestCode::DOES_NOT_EXIST, "no such track"),
            },
            Message::TrackStatus(question) => match self.tracks.get(&question.track) {
                Some(track) => {
                    let mut answer = RequestOk::default();
                    answer.parameters.largest = track.largest();
                    answer.properties = track.properties().clone();
                    // A request that ended meanwhile needs no answer.
                    let _ = open.accept(request, answer);
                    return;
                }
                None => RequestError::new(RequestCode::DOES_NOT_EXIST, "no such track"),
            },
            Message::Fetch(fetch) => {
                self.take_fetch(now, (session, request), &fetch);
                return;
            }
            Message::Publish(_) | Message::PublishNamespace(_) => {
                RequestError::new(RequestCode::UNINTERESTED, "this end only publishes")
            }
            _ => RequestError::new(RequestCode::NOT_SUPPORTED, "this request is not served"),
        };
        // A request that ended meanwhile needs no answer.
        let _ = open.reject(request, refusal);
    }

    /// A subscription to a track that was ended before hears so after what is retained.
    fn end_late(&mut self, now: Instant, key: (SessionId, RequestId)) {
        let code = PublishDoneCode::TRACK_ENDED;
        if let Some(name) = self.subscriptions.get(&key)
            && self.ended.contains(name)
            && let Some(track) = self.tracks.get_mut(name)
        {
            track.finish_one(now, &mut self.sessions, key, code, TRACK_ENDED);
            let ended = track.take_ended();
            self.forget(ended);
        }
    }

    /// These subscriptions were sent PUBLISH_DONE.
    fn forget(&mut self, ended: Vec<(SessionId, RequestId)>) {
        for key in ended {
            self.subscriptions.remove(&key);
        }
    }

    /// The track that a relay's subscription is for, and the sessions to send it on.
    fn track_of(&mut self, key: (SessionId, RequestId)) -> Option<(&mut Track, &mut Sessions)> {
        let name = self.subscriptions.get(&key)?;
        Some((self.tracks.get_mut(name)?, &mut self.sessions))
    }

    fn unsubscribe(&mut self, key: (SessionId, RequestId)) {
        if let Some(name) = self.subscriptions.remove(&key)
            && let Some(track) = self.tracks.get_mut(&name)
        {
            track.unsubscribe(key);
        }
    }
}

impl App for Publisher {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.handle(now, input);
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
        self.process(now);
        let mut ended = Vec::new();
        for track in self.tracks.values_mut() {
            if track.next_timeout().is_some_and(|at| at <= now) {
                track.handle_timeout(now, &mut self.sessions);
                ended.append(&mut track.take_ended());
            }
        }
        self.forget(ended);
        self.process(now);
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.sessions.poll_output() {
            return Some(Action::Transport(output));
        }
        self.events.pop_front().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let tracks = self.tracks.values().filter_map(Track::next_timeout);
        tracks.chain(self.sessions.next_timeout()).min()
    }
}
