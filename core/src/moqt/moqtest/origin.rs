//! [`Origin`]: serves test tracks to the relays that it is connected to.
//!
//! It announces one namespace and answers each SUBSCRIBE below it by generating what the name says,
//! from the first object, each subscription for itself. The next object of a subscription is sent
//! when its time has come and the one before it is with the transport: one object per subscription
//! is all that it holds.
//!
//! | state of a playback | means | leaves by |
//! |---|---|---|
//! | waiting | for the time of its next object | the time |
//! | blocked | for the transport to take the last object | `Writable`, `Stopped` |
//! | ended | everything is sent | PUBLISH_DONE, TRACK_ENDED |
//!
//! A FETCH is answered as fast as the transport takes it: [`super::fetching`]. Forward State 0 lets the time pass and sends nothing. Limits: [`Limits`] per track; sessions and
//! requests as in the session's. Source: draft-afrind-moq-test.

use super::fetching::Fetching;
use super::{Forwarding, Limits, Plan, Step, TestTrack};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{PublishDoneCode, RequestCode};
use crate::moqt::message::{Message, RequestError, RequestOk, Subscribe};
use crate::moqt::name::{RequestId, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::session::{self, CommandError, Event as SessionEvent, Session, Sessions};
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, SessionId, StreamId};
use std::collections::VecDeque;
use std::time::Duration;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The relay accepted the announcement.
    Announced {
        /// The session.
        session: SessionId,
    },
    /// The relay refused it.
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        error: RequestError,
    },
    /// A track was asked for.
    Playing {
        /// The session.
        session: SessionId,
        /// Its fields.
        track: Box<TestTrack>,
    },
    /// A subscription has got everything.
    Played {
        /// The session.
        session: SessionId,
        /// Objects sent.
        objects: u64,
    },
    /// A session is over, or never came about.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        closed: Closed,
    },
}

pub(super) type Key = (SessionId, RequestId);

#[derive(Debug)]
struct Playback {
    plan: Plan,
    interval: Duration,
    forward: bool,
    /// The stream of each subgroup of the current group.
    streams: BTreeMap<u64, StreamId>,
    /// The stream that the transport has not taken the last object of.
    blocked_on: Option<StreamId>,
    due: Instant,
    objects: u64,
}

/// The machine. See the module's description.
#[derive(Debug)]
pub struct Origin {
    pub(super) sessions: Sessions,
    prefix: TrackNamespace,
    limits: Limits,
    playbacks: BTreeMap<Key, Playback>,
    pub(super) fetches: BTreeMap<Key, Fetching>,
    due: BTreeSet<(Instant, Key)>,
    pub(super) events: VecDeque<Event>,
}

impl Origin {
    /// An origin of the tracks below `prefix`, which may be empty: then the first field of every
    /// test namespace is announced.
    pub fn new(config: session::Config, prefix: TrackNamespace, limits: Limits) -> Self {
        Self {
            sessions: Sessions::new(config),
            prefix,
            limits,
            playbacks: BTreeMap::new(),
            fetches: BTreeMap::new(),
            due: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// How many subscriptions are being served.
    pub fn playbacks_len(&self) -> usize {
        self.playbacks.len()
    }

    fn announced(&self) -> TrackNamespace {
        if self.prefix.is_empty() {
            TrackNamespace::from_path(super::PROTOCOL).unwrap_or_default()
        } else {
            self.prefix.clone()
        }
    }

    fn process(&mut self, now: Instant) {
        while let Some((session, event)) = self.sessions.poll_event() {
            self.take(now, session, event);
        }
    }

    fn take(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        match event {
            SessionEvent::Ready(_) => self.announce(session),
            // It asks for nothing else.
            SessionEvent::Accepted { .. } => self.events.push_back(Event::Announced { session }),
            SessionEvent::Rejected { error, .. } => {
                self.events.push_back(Event::Refused { session, error });
            }
            SessionEvent::Request { request, message } => {
                self.take_request(now, (session, request), message);
            }
            SessionEvent::Update {
                request,
                parameters,
                ..
            } => {
                if let Some(playback) = self.playbacks.get_mut(&(session, request)) {
                    playback.forward = parameters.forward.unwrap_or(playback.forward);
                }
                self.command(session, |it| {
                    it.accept_update(request, RequestOk::default())
                });
            }
            SessionEvent::Cancelled { request, .. } => self.forget((session, request)),
            SessionEvent::Writable { request, stream } => {
                if self.go_on_fetching((session, request)) {
                    return;
                }
                self.unblock(now, (session, request), stream);
            }
            SessionEvent::Stopped {
                request, stream, ..
            } => {
                self.fetches.remove(&(session, request));
                if let Some(playback) = self.playbacks.get_mut(&(session, request)) {
                    playback.streams.retain(|_, open| *open != stream);
                }
                self.unblock(now, (session, request), stream);
            }
            SessionEvent::Closed(closed) => {
                let over: Vec<Key> = self.playbacks.keys().copied().collect();
                for key in over.into_iter().filter(|(of, _)| *of == session) {
                    self.forget(key);
                }
                self.fetches.retain(|(of, _), _| *of != session);
                self.events.push_back(Event::Closed { session, closed });
            }
            // It subscribes to nothing.
            _ => {}
        }
    }

    fn announce(&mut self, session: SessionId) {
        let namespace = self.announced();
        self.command(session, |it| {
            it.publish_namespace(namespace, Parameters::default())
                .map(|_| ())
        });
    }

    fn take_request(&mut self, now: Instant, key: Key, message: Message) {
        let (session, request) = key;
        match message {
            Message::Subscribe(subscribe) => return self.subscribe(now, key, &subscribe),
            Message::Fetch(fetch) => return self.fetch(key, &fetch),
            _ => {}
        }
        let reason = "only subscriptions and fetches";
        let error = RequestError::new(RequestCode::NOT_SUPPORTED, reason);
        self.command(session, |it| it.reject(request, error));
    }

    /// The test track that a namespace stands for.
    pub(super) fn track_of(&self, namespace: &TrackNamespace) -> Result<TestTrack, RequestError> {
        let refused = |reason: String| RequestError::new(RequestCode::DOES_NOT_EXIST, reason);
        match TestTrack::below(&self.prefix, namespace, &self.limits) {
            Some(Ok(track)) => Ok(track),
            Some(Err(error)) => Err(refused(error.to_string())),
            None => Err(refused("not a test track".to_owned())),
        }
    }

    fn subscribe(&mut self, now: Instant, key: Key, subscribe: &Subscribe) {
        let (session, request) = key;
        let track = match self.track_of(&subscribe.track.namespace) {
            Ok(track) => track,
            Err(error) => return self.command(session, |it| it.reject(request, error)),
        };
        let parameters = &subscribe.parameters;
        let range = parameters
            .filter
            .unwrap_or(crate::moqt::filter::Filter::None)
            .resolve(None);
        let interval = Duration::from_millis(track.interval_ms);
        // A datagram that comes before the answer is lost; a stream waits for it.
        let begin = match track.forwarding {
            Forwarding::Datagram => now + interval,
            Forwarding::SubgroupPerGroup
            | Forwarding::SubgroupPerObject
            | Forwarding::TwoSubgroups => now,
        };
        let playback = Playback {
            plan: Plan::new(track.clone(), range),
            interval,
            forward: parameters.forward.unwrap_or(true),
            streams: BTreeMap::new(),
            blocked_on: None,
            due: begin,
            objects: 0,
        };
        let properties = track.properties();
        self.command(session, |it| {
            it.accept_subscribe(request, Parameters::default(), properties)
        });
        self.playbacks.insert(key, playback);
        self.due.insert((begin, key));
        let track = Box::new(track);
        self.events.push_back(Event::Playing { session, track });
    }

    /// Sends everything that is due now.
    fn play(&mut self, now: Instant, key: Key) {
        let (session, request) = key;
        while let Some(playback) = self.playbacks.get_mut(&key) {
            if playback.due > now || playback.blocked_on.is_some() {
                if playback.blocked_on.is_none() {
                    self.due.insert((playback.due, key));
                }
                return;
            }
            let Some(step) = playback.plan.next() else {
                let objects = playback.objects;
                self.playbacks.remove(&key);
                self.command(session, |it| {
                    it.publish_done(request, PublishDoneCode::TRACK_ENDED, "track ended")
                });
                self.events.push_back(Event::Played { session, objects });
                return;
            };
            playback.due = playback.due + playback.interval;
            let Some(open) = self.sessions.session_mut(session) else {
                return;
            };
            if playback.forward && playback.send(open, request, &step).is_err() {
                self.playbacks.remove(&key);
                return;
            }
        }
    }

    fn unblock(&mut self, now: Instant, key: Key, stream: StreamId) {
        let Some(playback) = self.playbacks.get_mut(&key) else {
            return;
        };
        if playback.blocked_on == Some(stream) {
            playback.blocked_on = None;
            self.play(now, key);
        }
    }

    fn forget(&mut self, key: Key) {
        self.fetches.remove(&key);
        if let Some(playback) = self.playbacks.remove(&key) {
            self.due.remove(&(playback.due, key));
        }
    }

    /// A command that comes too late changes nothing.
    pub(super) fn command(
        &mut self,
        session: SessionId,
        command: impl FnOnce(&mut Session) -> Result<(), CommandError>,
    ) {
        if let Some(open) = self.sessions.session_mut(session) {
            let _ = command(open);
        }
    }
}

impl Playback {
    fn send(
        &mut self,
        session: &mut Session,
        request: RequestId,
        step: &Step,
    ) -> Result<(), CommandError> {
        let Some(header) = step.header else {
            self.objects += 1;
            return session.send_datagram(request, &step.object);
        };
        let subgroup = step.object.subgroup.unwrap_or(0);
        if step.opens {
            let stream = session.open_subgroup(request, header, 0)?;
            self.streams.insert(subgroup, stream);
        }
        // A stream that was stopped takes no more; the others go on.
        let Some(stream) = self.streams.get(&subgroup).copied() else {
            return Ok(());
        };
        session.send_object(stream, &step.object, step.ends, !step.ends)?;
        self.objects += 1;
        if step.ends {
            self.streams.remove(&subgroup);
        } else {
            self.blocked_on = Some(stream);
        }
        Ok(())
    }
}

impl App for Origin {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.handle(now, input);
        self.process(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            self.play(now, key);
        }
        self.process(now);
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.sessions.poll_output() {
            return Some(Action::Transport(output));
        }
        self.events.pop_front().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.sessions.next_timeout()).min()
    }
}
