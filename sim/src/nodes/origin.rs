//! [`Origin`]: an original publisher, and its owner's duties.
//!
//! Object `n` of a track is due at `start_ms + n * interval_ms` in every life of the node; a node that comes
//! back goes on with the next whole group. It connects again after a pause when its last session is over,
//! and begins a second session when its relay says GOAWAY.

use super::agenda::Agenda;
use super::setting::{Backoff, BuildError, Context, WallClock, node_of_host};
use super::transport::Transport;
use super::{Meddling, Node, content};
use crate::check::{Place, Seen};
use crate::packet::{Outgoing, Packet};
use crate::plan::{NodeId, OriginPlan, TrackPlan};
use crate::random::Random;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::publisher::{Event, Publisher};
use mainstem_core::moqt::track;
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::SessionId;
use mainstem_quic::SessionUrl;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

enum Duty {
    Connect,
    Publish(usize),
    Stop,
}

/// A track under way.
struct Live {
    index: u16,
    plan: TrackPlan,
    name: FullTrackName,
    /// Objects that were due before.
    count: u64,
    is_over: bool,
}

/// See the module's description.
pub struct Origin {
    context: Context,
    plan: OriginPlan,
    transport: Transport<Publisher>,
    agenda: Agenda<Duty>,
    tracks: Vec<Live>,
    sessions: BTreeSet<SessionId>,
    /// Where the next session goes.
    target: NodeId,
    backoff: Backoff,
    random: Random,
    seen: VecDeque<Seen>,
    has_left: bool,
}

impl Origin {
    /// Begins a life.
    pub(crate) fn new(
        context: Context,
        plan: &OriginPlan,
        now: Instant,
    ) -> Result<Self, BuildError> {
        let mut limits = track::Limits::default();
        limits.cache.groups_max = context.limits.groups.unwrap_or(limits.cache.groups_max);
        let mut machine = Publisher::new(Context::sessions(), limits);
        machine.announce(now, content::namespace(context.id)?);
        let mut tracks = Vec::new();
        for (index, track) in (0..).zip(&context.setting.plan.tracks) {
            if track.origin != context.id {
                continue;
            }
            let name = content::full_name(track)?;
            machine.create_track(name.clone(), Properties::default());
            tracks.push(Live {
                index,
                plan: track.clone(),
                name,
                count: 0,
                is_over: false,
            });
        }
        let transport = Transport::dialling(&context, machine, context.unix_at_zero(now))?;
        let random = context.random();
        let mut origin = Self {
            plan: plan.clone(),
            transport,
            agenda: Agenda::new(),
            tracks,
            sessions: BTreeSet::new(),
            target: plan.relay,
            backoff: Backoff::new(),
            random,
            seen: VecDeque::new(),
            has_left: false,
            context,
        };
        origin.plan_duties(now);
        Ok(origin)
    }

    fn plan_duties(&mut self, now: Instant) {
        let start = Instant::ZERO + Duration::from_millis(self.plan.start_ms);
        self.agenda.put(now.max(start), Duty::Connect);
        if let Some(stop) = self.plan.stop_ms {
            let stop = Instant::ZERO + Duration::from_millis(stop);
            self.agenda.put(now.max(stop), Duty::Stop);
        }
        for at in 0..self.tracks.len() {
            let Some(live) = self.tracks.get_mut(at) else {
                continue;
            };
            let interval = Duration::from_millis(live.plan.interval_ms);
            let late = now.saturating_since(start).as_nanos();
            let group = (interval.as_nanos() * u128::from(live.plan.group_objects)).max(1);
            let groups = u64::try_from(late.div_ceil(group)).unwrap_or(u64::MAX);
            live.count = groups.saturating_mul(live.plan.group_objects);
            let due = start + times(interval, live.count);
            self.agenda.put(due, Duty::Publish(at));
        }
    }

    fn perform(&mut self, now: Instant, duty: Duty) {
        match duty {
            Duty::Connect => self.connect(now),
            Duty::Publish(at) => self.publish(now, at),
            Duty::Stop => {
                for at in 0..self.tracks.len() {
                    self.end_track(now, at);
                }
            }
        }
    }

    fn connect(&mut self, now: Instant) {
        let key = if self.plan.has_wrong_key {
            "sk_live_of_somebody_else".to_owned()
        } else {
            content::stream_key(self.context.id)
        };
        let path = format!("/publish/{}?sk={key}", content::input(self.context.id));
        let request = self
            .context
            .request(self.target, self.plan.carrier, self.plan.draft, path);
        match self.transport.connect(now, request) {
            Ok(session) => {
                self.sessions.insert(session);
            }
            Err(_) => self.connect_later(now),
        }
    }

    fn connect_later(&mut self, now: Instant) {
        if !self.has_left {
            let pause = self.backoff.next(&mut self.random);
            self.agenda.put(now + pause, Duty::Connect);
        }
    }

    fn publish(&mut self, now: Instant, at: usize) {
        let Some(live) = self.tracks.get_mut(at) else {
            return;
        };
        if live.is_over {
            return;
        }
        let plan = &live.plan;
        let place = Place {
            track: live.index,
            group: live.count / plan.group_objects,
            object: live.count % plan.group_objects,
        };
        if plan.groups.is_some_and(|groups| place.group >= groups) {
            self.end_track(now, at);
            return;
        }
        let subgroup = place.object % plan.subgroups;
        let left = plan.group_objects - 1 - place.object;
        let bytes = content::payload(plan, live.index, place.group, place.object);
        self.seen.push_back(Seen::Published {
            place,
            subgroup,
            ends_group: left == 0,
            bytes: bytes.len(),
        });
        let info = SubgroupInfo {
            priority: Some(plan.priority),
            has_properties: false,
            end_of_group: subgroup == (plan.group_objects - 1) % plan.subgroups,
            first_object: true,
        };
        let object = Object {
            group: place.group,
            object: place.object,
            subgroup: Some(subgroup),
            priority: Some(plan.priority),
            payload: Payload::from(bytes),
            ..Object::default()
        };
        let machine = self.transport.app_mut();
        machine.publish(now, &live.name, info, object);
        if left < plan.subgroups {
            machine.end_subgroup(now, &live.name, place.group, subgroup);
        }
        self.seen.push_back(Seen::Serving {
            track: live.index,
            subscriptions: machine.subscribers_len(&live.name),
            sessions: self.sessions.len(),
        });
        live.count += 1;
        let start = Instant::ZERO + Duration::from_millis(self.plan.start_ms);
        let due = start + times(Duration::from_millis(plan.interval_ms), live.count);
        self.agenda.put(due, Duty::Publish(at));
    }

    fn end_track(&mut self, now: Instant, at: usize) {
        if let Some(live) = self.tracks.get_mut(at)
            && !live.is_over
        {
            live.is_over = true;
            self.transport.app_mut().end_track(now, &live.name);
            self.seen.push_back(Seen::TrackEnded {
                track: live.index,
                groups: live.count.div_ceil(live.plan.group_objects),
            });
        }
    }

    /// Works off what the machine has to tell.
    fn settle(&mut self, now: Instant) {
        self.transport.drive(now);
        while let Some(event) = self.transport.poll_event() {
            match event {
                Event::Announced { session } => {
                    self.backoff.reset();
                    self.seen.push_back(Seen::Ready { session });
                }
                Event::Refused { session, error } => {
                    self.seen
                        .push_back(Seen::NamespaceRefused { session, error });
                }
                Event::Goaway { session, uri } => {
                    self.target = uri
                        .parse()
                        .ok()
                        .and_then(|url: SessionUrl| node_of_host(&url.host))
                        .unwrap_or(self.target);
                    self.seen.push_back(Seen::Goaway { session, uri });
                    self.connect_later(now);
                }
                Event::Closed { session, closed } => {
                    self.sessions.remove(&session);
                    self.seen.push_back(Seen::Closed { session, closed });
                    if self.sessions.is_empty() {
                        self.target = self.plan.relay;
                        self.connect_later(now);
                    }
                }
            }
        }
    }
}

/// So many intervals.
fn times(interval: Duration, count: u64) -> Duration {
    let nanos = interval.as_nanos() * u128::from(count);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Node for Origin {
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, packet: Packet) {
        self.transport.handle_packet(now, from, packet);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.transport.next_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
        }
        while let Some(duty) = self.agenda.due(now) {
            self.perform(now, duty);
        }
        self.settle(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let transport = self.transport.next_timeout();
        transport.into_iter().chain(self.agenda.next_at()).min()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        self.transport.poll_transmit(now)
    }

    fn poll_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn set_clock(&mut self, now: Instant, clock: WallClock) {
        self.context.clock = clock;
        self.transport.adjust_wall_clock(now, clock.unix(now));
    }

    fn meddle(&mut self, meddling: Meddling) {
        self.transport.meddle(meddling);
    }

    fn leave(&mut self, now: Instant) {
        self.has_left = true;
        self.agenda.clear();
        self.transport.close_all(now, 0, "leaving");
        self.settle(now);
    }

    fn residue(&self) -> Option<&'static str> {
        if !self.transport.is_idle() {
            Some("a connection")
        } else if self.next_timeout().is_some() {
            Some("a timer")
        } else {
            None
        }
    }
}
