//! A subscriber: asks relays for tracks and hands their objects to its owner.
//!
//! [`Subscriber`] is an [`App`] whose sessions are connections to relays. It adds nothing to what
//! the sessions say but the track's name; what objects mean is the owner's business.
//!
//! Source: draft-ietf-moq-transport-18 section 5.1.

use super::error::{RequestCode, SessionCode, StreamCode};
use super::message::RequestError;
use super::name::{FullTrackName, Location, RequestId};
use super::object::Object;
use super::parameter::Parameters;
use super::session::{self, Accepted, CommandError, Event as SessionEvent, Sessions, StreamEnd};
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, Output, SessionId};
use std::collections::{BTreeMap, VecDeque};

/// A subscription's name.
pub type Key = (SessionId, RequestId);

/// What a subscriber sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session is ready for [`Subscriber::subscribe`].
    Ready {
        /// The session.
        session: SessionId,
    },
    /// A subscription was accepted.
    Accepted {
        /// The subscription.
        key: Key,
        /// The largest location published so far.
        largest: Option<Location>,
    },
    /// A subscription was refused; it is gone.
    Rejected {
        /// The subscription.
        key: Key,
        /// Its track.
        track: FullTrackName,
        /// Why.
        error: RequestError,
    },
    /// An object arrived.
    Object {
        /// The subscription.
        key: Key,
        /// The object; without a subgroup when it came in a datagram.
        object: Object,
    },
    /// A subgroup's stream ended.
    SubgroupEnded {
        /// The subscription.
        key: Key,
        /// The group.
        group: u64,
        /// How.
        end: StreamEnd,
    },
    /// The publisher ended the track, or the subscription was cut; it is gone.
    Ended {
        /// The subscription.
        key: Key,
        /// Its track.
        track: FullTrackName,
        /// Why, in words.
        reason: String,
    },
    /// The relay is going away.
    Goaway {
        /// The session.
        session: SessionId,
        /// Where to go instead; empty for the same place.
        uri: String,
    },
    /// A session is over, or never came about; its subscriptions are gone.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        closed: Closed,
    },
}

/// The subscriber machine. See the module's description.
#[derive(Debug)]
pub struct Subscriber {
    sessions: Sessions,
    tracks: BTreeMap<Key, FullTrackName>,
    events: VecDeque<Event>,
}

impl Subscriber {
    /// A subscriber without sessions.
    pub fn new(config: session::Config) -> Self {
        Self {
            sessions: Sessions::new(config),
            tracks: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks for a track.
    pub fn subscribe(
        &mut self,
        session: SessionId,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Result<Key, CommandError> {
        let open = self
            .sessions
            .session_mut(session)
            .ok_or(CommandError::NotReady)?;
        let request = open.subscribe(track.clone(), parameters)?;
        self.tracks.insert((session, request), track);
        Ok((session, request))
    }

    /// Gives a subscription up.
    pub fn unsubscribe(&mut self, key: Key) -> Result<(), CommandError> {
        self.tracks.remove(&key);
        let open = self
            .sessions
            .session_mut(key.0)
            .ok_or(CommandError::NotReady)?;
        open.cancel(key.1, StreamCode::CANCELLED)
    }

    /// The track of a subscription.
    pub fn track(&self, key: Key) -> Option<&FullTrackName> {
        self.tracks.get(&key)
    }

    /// Ends a session.
    pub fn close(&mut self, session: SessionId, reason: &str) {
        self.close_with(session, SessionCode::NO_ERROR, reason);
    }

    /// Ends a session with a code of its own.
    pub fn close_with(&mut self, session: SessionId, code: SessionCode, reason: &str) {
        self.sessions.close(session, code, reason);
    }

    /// The next event. For an owner that is a machine itself; a host takes them by `poll`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.process();
        self.events.pop_front()
    }

    /// The next work for the transport. For an owner that is a machine itself.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.sessions.poll_output()
    }

    fn process(&mut self) {
        while let Some((session, event)) = self.sessions.poll_event() {
            if let Some(event) = self.translate(session, event) {
                self.events.push_back(event);
            }
        }
    }

    fn ended(&mut self, key: Key, reason: String) -> Option<Event> {
        let track = self.tracks.remove(&key)?;
        Some(Event::Ended { key, track, reason })
    }

    fn translate(&mut self, session: SessionId, event: SessionEvent) -> Option<Event> {
        Some(match event {
            SessionEvent::Ready(_) => Event::Ready { session },
            SessionEvent::Accepted {
                request,
                accepted: Accepted::Subscribe(answer),
            } => Event::Accepted {
                key: (session, request),
                largest: answer.parameters.largest,
            },
            SessionEvent::Rejected { request, error } => {
                let key = (session, request);
                Event::Rejected {
                    key,
                    track: self.tracks.remove(&key)?,
                    error,
                }
            }
            SessionEvent::Object {
                request, object, ..
            }
            | SessionEvent::Datagram { request, object } => Event::Object {
                key: (session, request),
                object,
            },
            SessionEvent::SubgroupEnded {
                request,
                group,
                end,
                ..
            } => Event::SubgroupEnded {
                key: (session, request),
                group,
                end,
            },
            SessionEvent::PublishDone {
                request, reason, ..
            } => self.ended((session, request), reason)?,
            SessionEvent::Cancelled { request, .. } => {
                let reason = "the relay cut the subscription".to_owned();
                self.ended((session, request), reason)?
            }
            SessionEvent::Goaway(goaway) => Event::Goaway {
                session,
                uri: goaway.new_session_uri,
            },
            SessionEvent::Closed(closed) => {
                self.tracks.retain(|(of, _), _| *of != session);
                Event::Closed { session, closed }
            }
            SessionEvent::Request { request, .. } => {
                let open = self.sessions.session_mut(session)?;
                let error =
                    RequestError::new(RequestCode::UNINTERESTED, "this end only subscribes");
                // A request that ended meanwhile needs no answer.
                let _ = open.reject(request, error);
                return None;
            }
            // A subscriber asks for tracks only, and sends no objects.
            SessionEvent::Accepted { .. }
            | SessionEvent::Update { .. }
            | SessionEvent::Updated { .. }
            | SessionEvent::Namespace { .. }
            | SessionEvent::NamespaceDone { .. }
            | SessionEvent::PublishSkipped { .. }
            | SessionEvent::FetchObject { .. }
            | SessionEvent::FetchGap { .. }
            | SessionEvent::FetchEnded { .. }
            | SessionEvent::StateNotified { .. }
            | SessionEvent::RequestGoaway { .. }
            | SessionEvent::Writable { .. }
            | SessionEvent::Stopped { .. } => return None,
        })
    }
}

impl App for Subscriber {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.sessions.handle(now, input);
        self.process();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
        self.process();
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        if let Some(output) = self.poll_output() {
            return Some(Action::Transport(output));
        }
        self.poll_event().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }
}
