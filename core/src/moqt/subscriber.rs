//! A subscriber: asks relays for tracks, and for their past, and hands the objects to its owner.
//!
//! A late joiner that wants what came before asks with [`Subscriber::join`]: that is a joining FETCH
//! at draft 18, with a key of its own, and a fill from 20 on, under the subscription's key.
//!
//! [`Subscriber`] is an [`App`] whose sessions are connections to relays. It adds nothing to what
//! the sessions say but the track's name; what objects mean is the owner's business.
//!
//! Source: draft-ietf-moq-transport-18 section 5.1.

use super::draft::FetchForm;
use super::error::{RequestCode, SessionCode, StreamCode};
use super::filter::Filter;
use super::message::{Fetch, FetchTarget, RequestError};
use super::name::{FullTrackName, Location, RequestId};
use super::object::{GapKind, Object};
use super::parameter::{FillParameters, Parameters};
use super::session::{self, Accepted, CommandError, Event as SessionEvent, Sessions, StreamEnd};
use crate::canary::{self, Canary};
use crate::map::BTreeMap;
use crate::time::Instant;
use crate::transport::{Action, App, Closed, Input, Output, SessionId};
use std::collections::VecDeque;

/// From where on a subscriber that joins wants the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStart {
    /// So many groups before the current one.
    Relative(u64),
    /// From this group on.
    Absolute(u64),
}

/// A subscription's or fetch's name.
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
    /// A fetch was accepted.
    FetchAccepted {
        /// The fetch.
        key: Key,
        /// The last place that it covers; object 2^64 - 1 is "to the end of the group".
        end: Location,
        /// Whether that is the end of the track.
        end_of_track: bool,
    },
    /// The publisher agreed to fill a subscription. A stream of it that is abandoned before its first
    /// byte arrived says nothing: objects and [`Self::FetchEnded`] may not come.
    FillAccepted {
        /// The subscription that is to be filled.
        key: Key,
    },
    /// An object arrived that was fetched, or that fills a subscription.
    FetchObject {
        /// The fetch, or the subscription that is filled.
        key: Key,
        /// The object.
        object: Object,
    },
    /// Objects that were fetched are missing: what follows the last item, up to `end`.
    FetchGap {
        /// The fetch, or the subscription that is filled.
        key: Key,
        /// Why.
        kind: GapKind,
        /// The last missing place.
        end: Location,
    },
    /// The stream of a fetch or a fill ended.
    FetchEnded {
        /// The fetch, or the subscription that was filled.
        key: Key,
        /// How.
        end: StreamEnd,
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
    /// Whether a fetch has been accepted, and whether its stream is over.
    fetches: BTreeMap<Key, (bool, bool)>,
    events: VecDeque<Event>,
}

impl Subscriber {
    /// A subscriber without sessions.
    pub fn new(config: session::Config) -> Self {
        Self {
            sessions: Sessions::new(config),
            tracks: BTreeMap::new(),
            fetches: BTreeMap::new(),
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

    /// Asks for objects of the past. The range is the parameters' filter, ends inclusive.
    pub fn fetch(
        &mut self,
        session: SessionId,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Result<Key, CommandError> {
        let target = FetchTarget::Track(track.clone());
        self.send_fetch(session, track, target, parameters)
    }

    /// Asks for what came before a subscription. Returns the key under which it comes.
    pub fn join(&mut self, subscription: Key, start: JoinStart) -> Result<Key, CommandError> {
        let (session, joining) = subscription;
        let track = self.tracks.get(&subscription).cloned();
        let track = track.ok_or(CommandError::UnknownRequest(joining))?;
        let open = self
            .sessions
            .session_mut(session)
            .ok_or(CommandError::NotReady)?;
        if open.draft().profile().fetch_form == FetchForm::Typed {
            let target = match start {
                JoinStart::Relative(groups) => FetchTarget::RelativeJoin { joining, groups },
                JoinStart::Absolute(group) => FetchTarget::AbsoluteJoin { joining, group },
            };
            return self.send_fetch(session, track, target, Parameters::default());
        }
        let fill = FillParameters {
            filter: Some(start.filter()),
            ..FillParameters::default()
        };
        let update = Parameters {
            fill: Some(Box::new(fill)),
            ..Parameters::default()
        };
        open.update(joining, update)?;
        Ok(subscription)
    }

    fn send_fetch(
        &mut self,
        session: SessionId,
        track: FullTrackName,
        target: FetchTarget,
        parameters: Parameters,
    ) -> Result<Key, CommandError> {
        let open = self
            .sessions
            .session_mut(session)
            .ok_or(CommandError::NotReady)?;
        let request = open.fetch(Fetch {
            request_id: RequestId(0),
            target,
            parameters,
        })?;
        let key = (session, request);
        self.tracks.insert(key, track);
        self.fetches.insert(key, (false, false));
        Ok(key)
    }

    /// A fetch is over once it is accepted and its stream is.
    fn settle_fetch(&mut self, key: Key, accepted: bool, ended: bool) {
        if let Some(state) = self.fetches.get_mut(&key) {
            *state = (state.0 || accepted, state.1 || ended);
            if *state == (true, true) {
                self.fetches.remove(&key);
                self.tracks.remove(&key);
            }
        }
    }

    /// Gives a subscription or fetch up.
    pub fn unsubscribe(&mut self, key: Key) -> Result<(), CommandError> {
        self.tracks.remove(&key);
        self.fetches.remove(&key);
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
                let at = self.place_of(&event);
                self.spoil(&event);
                self.events.insert(at, event);
            }
        }
    }

    /// Where an event goes in line: last, unless a fault is on.
    fn place_of(&self, event: &Event) -> usize {
        let is_wrong = canary::is_on(Canary::ObjectsSwapped)
            && matches!(event, Event::Object { .. })
            && matches!(self.events.back(), Some(Event::Object { .. }));
        self.events.len().saturating_sub(usize::from(is_wrong))
    }

    /// What faults say before an event.
    fn spoil(&mut self, event: &Event) {
        let Event::Object { key, object } = event else {
            return;
        };
        if canary::is_on(Canary::ObjectTwice) {
            self.events.push_back(event.clone());
        }
        if canary::is_on(Canary::EndToldEarly) {
            self.events.push_back(Event::SubgroupEnded {
                key: *key,
                group: object.group,
                end: StreamEnd::Finished,
            });
        }
    }

    fn ended(&mut self, key: Key, reason: String) -> Option<Event> {
        self.fetches.remove(&key);
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
            event @ (SessionEvent::Accepted {
                accepted: Accepted::Fetch(_),
                ..
            }
            | SessionEvent::Updated { .. }
            | SessionEvent::FetchObject { .. }
            | SessionEvent::FetchGap { .. }
            | SessionEvent::FetchEnded { .. }) => self.translate_fetch(session, event)?,
            SessionEvent::Rejected { request, error } => {
                let key = (session, request);
                self.fetches.remove(&key);
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
            SessionEvent::Goaway(_) if canary::is_on(Canary::GoawayIgnored) => return None,
            SessionEvent::Goaway(goaway) => Event::Goaway {
                session,
                uri: goaway.new_session_uri,
            },
            SessionEvent::Closed(closed) => self.closed(session, closed),
            SessionEvent::Request { request, .. } => {
                self.refuse(session, request);
                return None;
            }
            // A subscriber asks for tracks only, and sends no objects.
            SessionEvent::Accepted { .. }
            | SessionEvent::Update { .. }
            | SessionEvent::Namespace { .. }
            | SessionEvent::NamespaceDone { .. }
            | SessionEvent::PublishSkipped { .. }
            | SessionEvent::StateNotified { .. }
            | SessionEvent::RequestGoaway { .. }
            | SessionEvent::Writable { .. }
            | SessionEvent::Stopped { .. } => return None,
        })
    }
}

impl Subscriber {
    fn closed(&mut self, session: SessionId, closed: Closed) -> Event {
        self.tracks.retain(|(of, _), _| *of != session);
        self.fetches.retain(|(of, _), _| *of != session);
        Event::Closed { session, closed }
    }

    fn translate_fetch(&mut self, session: SessionId, event: SessionEvent) -> Option<Event> {
        Some(match event {
            SessionEvent::Accepted {
                request,
                accepted: Accepted::Fetch(answer),
            } => {
                let key = (session, request);
                self.settle_fetch(key, true, false);
                Event::FetchAccepted {
                    key,
                    end: super::track::fetched::end_of(&answer),
                    end_of_track: answer.end_of_track,
                }
            }
            // Updates of ours ask for fills; one that is refused ends its subscription.
            SessionEvent::Updated {
                request,
                answer: Ok(_),
            } => Event::FillAccepted {
                key: (session, request),
            },
            SessionEvent::FetchObject {
                request, object, ..
            } => Event::FetchObject {
                key: (session, request),
                object,
            },
            SessionEvent::FetchGap {
                request, kind, end, ..
            } => Event::FetchGap {
                key: (session, request),
                kind,
                end: super::track::fetched::whole_group_end(end),
            },
            SessionEvent::FetchEnded { request, end, .. } => {
                let key = (session, request);
                self.settle_fetch(key, false, true);
                Event::FetchEnded { key, end }
            }
            _ => return None,
        })
    }

    fn refuse(&mut self, session: SessionId, request: RequestId) {
        if let Some(open) = self.sessions.session_mut(session) {
            let error = RequestError::new(RequestCode::UNINTERESTED, "this end only subscribes");
            // A request that ended meanwhile needs no answer.
            let _ = open.reject(request, error);
        }
    }
}

impl JoinStart {
    /// The filter of a fill that begins here.
    pub fn filter(self) -> Filter {
        match self {
            Self::Relative(groups) => Filter::RelativeStart {
                groups: groups.saturating_add(1),
            },
            Self::Absolute(group) => Filter::Absolute {
                start: Location::new(group, 0),
            }
            .canonical(),
        }
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
