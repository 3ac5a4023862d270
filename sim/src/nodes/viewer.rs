//! [`Viewer`]: core's subscriber machine, and what an application does around it.
//!
//! | state | means | left by |
//! |---|---|---|
//! | away | before `join_ms`, or after `leave_ms` | the time |
//! | connecting | no session is ready | SETUP; a pause after each failure |
//! | watching | every track is asked for, again after a pause when it is refused or ends | the session's end |
//! | moving | GOAWAY: a second session, and the first one until the second delivers | all tracks accepted there |

use super::agenda::Agenda;
use super::setting::{Backoff, BuildError, Context, WallClock, node_of_host};
use super::transport::Transport;
use super::{Meddling, Node, content};
use crate::check::{Expectation, Place, Seen};
use crate::packet::{Outgoing, Packet};
use crate::plan::{Access, NodeId, Role, TokenPlan, ViewerPlan};
use crate::quic::deterministic::UNIX_TIME_AT_EPOCH;
use crate::random::Random;
use mainstem_core::moqt::name::{FullTrackName, RequestId};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::subscriber::{Event, JoinStart, Key, Subscriber};
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::SessionId;
use mainstem_quic::SessionUrl;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Pause before a refused or ended track is asked for again, at least and at most.
const ASK_AGAIN_MS: (u64, u64) = (200, 500);
/// Stands for a track that was not asked for.
const UNASKED: u16 = u16::MAX;

enum Duty {
    Connect,
    Leave,
    Ask(SessionId, u16),
}

/// A request under way.
struct Asked {
    track: u16,
    is_past: bool,
    is_accepted: bool,
}

/// See the module's description.
pub struct Viewer {
    context: Context,
    plan: ViewerPlan,
    path: String,
    names: BTreeMap<u16, FullTrackName>,
    /// Those of them that their publisher never ends.
    endless: BTreeSet<u16>,
    expected: Expectation,
    transport: Transport<Subscriber>,
    agenda: Agenda<Duty>,
    requests: BTreeMap<Key, Asked>,
    /// The session that is watched, and whether it was ready.
    current: Option<(SessionId, bool)>,
    /// The session that it moves to.
    next: Option<SessionId>,
    /// Where the next session goes.
    target: NodeId,
    backoff: Backoff,
    random: Random,
    seen: VecDeque<Seen>,
    has_left: bool,
}

impl Viewer {
    /// Begins a life.
    pub(crate) fn new(
        context: Context,
        plan: &ViewerPlan,
        now: Instant,
    ) -> Result<Self, BuildError> {
        let mut names = BTreeMap::new();
        let mut origin = None;
        for index in &plan.tracks {
            if let Some(track) = context.setting.plan.tracks.get(usize::from(*index)) {
                names.insert(*index, content::full_name(track)?);
                origin = Some(track.origin);
            }
        }
        let token = match origin {
            Some(origin) => context.setting.tokens.mint(origin, plan.token)?,
            None => None,
        };
        let path = match (origin, token) {
            (Some(origin), Some(token)) => {
                format!("/playback/{}?tok={token}", content::input(origin))
            }
            (Some(origin), None) => format!("/playback/{}", content::input(origin)),
            (None, _) => "/".to_owned(),
        };
        let machine = Subscriber::new(Context::sessions());
        let transport = Transport::dialling(&context, machine, context.unix_at_zero(now))?;
        let mut viewer = Self {
            expected: expectation(&context, plan),
            random: context.random(),
            plan: plan.clone(),
            path,
            endless: endless(&context, plan),
            names,
            transport,
            agenda: Agenda::new(),
            requests: BTreeMap::new(),
            current: None,
            next: None,
            target: plan.relay,
            backoff: Backoff::new(),
            seen: VecDeque::new(),
            has_left: false,
            context,
        };
        let join = Instant::ZERO + Duration::from_millis(plan.join_ms);
        viewer.agenda.put(now.max(join), Duty::Connect);
        if let Some(leave) = plan.leave_ms {
            let leave = Instant::ZERO + Duration::from_millis(leave);
            viewer.agenda.put(now.max(leave), Duty::Leave);
        }
        Ok(viewer)
    }

    fn perform(&mut self, now: Instant, duty: Duty) {
        match duty {
            Duty::Connect => self.connect(now),
            Duty::Leave => self.leave(now),
            Duty::Ask(session, track) => self.ask(session, track),
        }
    }

    fn connect(&mut self, now: Instant) {
        let plan = &self.plan;
        let request =
            self.context
                .request(self.target, plan.carrier, plan.draft, self.path.clone());
        match self.transport.connect(now, request) {
            Ok(session) if self.current.is_none() => self.current = Some((session, false)),
            Ok(session) => self.next = Some(session),
            Err(_) => self.connect_later(now),
        }
    }

    fn connect_later(&mut self, now: Instant) {
        if !self.has_left {
            let pause = self.backoff.next(&mut self.random);
            self.agenda.put(now + pause, Duty::Connect);
        }
    }

    fn is_ours(&self, session: SessionId) -> bool {
        self.next == Some(session) || self.current.is_some_and(|(of, _)| of == session)
    }

    fn ask(&mut self, session: SessionId, track: u16) {
        let Some(name) = self.names.get(&track) else {
            return;
        };
        if self.has_left || !self.is_ours(session) {
            return;
        }
        let parameters = Parameters {
            object_delivery_timeout_ms: self.plan.object_timeout_ms,
            subgroup_delivery_timeout_ms: self.plan.subgroup_timeout_ms,
            ..Parameters::default()
        };
        let app = self.transport.app_mut();
        let asked = app.subscribe(session, name.clone(), parameters);
        // A session that goes away takes no more requests; its successor does.
        if let Ok(key) = asked {
            let request = Asked {
                track,
                is_past: false,
                is_accepted: false,
            };
            self.requests.insert(key, request);
            self.seen.push_back(Seen::Asked {
                key,
                track,
                expected: self.expected,
            });
        }
    }

    fn ask_later(&mut self, now: Instant, session: SessionId, track: u16) {
        let pause = self.random.between(ASK_AGAIN_MS.0, ASK_AGAIN_MS.1);
        let at = now + Duration::from_millis(pause);
        self.agenda.put(at, Duty::Ask(session, track));
    }

    fn settle(&mut self, now: Instant) {
        self.transport.drive(now);
        let mut has_commands = false;
        while let Some(event) = self.transport.poll_event() {
            has_commands |= self.take(now, event);
        }
        if has_commands {
            self.transport.drive(now);
        }
    }

    /// Takes an event of the machine; true when the machine was given a command.
    fn take(&mut self, now: Instant, event: Event) -> bool {
        match event {
            Event::Ready { session } => self.ready(now, session),
            Event::Accepted { key, largest } => return self.accepted(key, largest),
            Event::Rejected { key, error, .. } => {
                self.seen.push_back(Seen::Rejected {
                    key,
                    code: error.code,
                    reason: error.reason.clone(),
                });
                if let Some(asked) = self.requests.remove(&key)
                    && !asked.is_past
                {
                    self.ask_later(now, key.0, asked.track);
                }
            }
            Event::Object { key, object } => self.delivered(key, object, false),
            Event::FetchObject { key, object } => self.delivered(key, object, true),
            Event::SubgroupEnded { key, group, end } => {
                self.seen.push_back(Seen::SubgroupEnded { key, group, end });
            }
            Event::FetchEnded { key, end } => {
                self.seen.push_back(Seen::PastEnded { key, end });
            }
            Event::Ended { key, reason, .. } => {
                let asked = self.requests.remove(&key);
                let track = asked.as_ref().map_or(UNASKED, |asked| asked.track);
                self.seen.push_back(Seen::Ended { key, track, reason });
                // Of a track that its publisher ended, relays hold the last group still: asked for
                // again, it would come again.
                let goes_on = self.endless.contains(&track);
                if asked.is_some_and(|asked| !asked.is_past) && goes_on {
                    self.ask_later(now, key.0, track);
                }
            }
            Event::Goaway { session, uri } => self.told_to_go(now, session, uri),
            Event::Closed { session, closed } => {
                self.seen.push_back(Seen::Closed { session, closed });
                self.closed(now, session);
            }
            Event::FetchAccepted { key, .. } => {
                self.seen.push_back(Seen::Accepted { key, largest: None });
            }
            Event::FillAccepted { key } => self.seen.push_back(Seen::FillAccepted { key }),
            Event::FetchGap { .. } => {}
        }
        false
    }

    fn ready(&mut self, now: Instant, session: SessionId) {
        self.seen.push_back(Seen::Ready { session });
        self.backoff.reset();
        if let Some((current, is_ready)) = &mut self.current
            && *current == session
        {
            *is_ready = true;
        }
        for track in self.plan.tracks.clone() {
            self.agenda.put(now, Duty::Ask(session, track));
        }
    }

    fn accepted(&mut self, key: Key, largest: Option<mainstem_core::moqt::name::Location>) -> bool {
        self.seen.push_back(Seen::Accepted { key, largest });
        let Some(asked) = self.requests.get_mut(&key) else {
            return false;
        };
        asked.is_accepted = true;
        let track = asked.track;
        let mut has_commands = false;
        if let (Some(groups), Some(_)) = (self.plan.past_groups, largest) {
            let joined = self
                .transport
                .app_mut()
                .join(key, JoinStart::Relative(groups));
            if let Ok(past) = joined {
                has_commands = true;
                if past != key {
                    let request = Asked {
                        track,
                        is_past: true,
                        is_accepted: true,
                    };
                    self.requests.insert(past, request);
                }
                self.seen.push_back(Seen::AskedPast { key: past, track });
            }
        }
        if self.next == Some(key.0) && self.has_moved() {
            if let Some((old, _)) = self.current.take() {
                self.transport.app_mut().close(old, "moved");
                self.forget(old);
            }
            self.current = self.next.take().map(|session| (session, true));
            has_commands = true;
        }
        has_commands
    }

    /// Whether the next session has accepted every track.
    fn has_moved(&self) -> bool {
        let Some(next) = self.next else { return false };
        let of_next = (next, RequestId(0))..=(next, RequestId(u64::MAX));
        let accepted = self
            .requests
            .range(of_next)
            .filter(|(_, asked)| asked.is_accepted && !asked.is_past);
        accepted.count() >= self.plan.tracks.len()
    }

    fn delivered(&mut self, key: Key, object: Object, is_past: bool) {
        let track = self.requests.get(&key).map_or(UNASKED, |asked| asked.track);
        let place = Place {
            track,
            group: object.group,
            object: object.object,
        };
        self.seen.push_back(Seen::Delivered {
            key,
            place,
            object: Box::new(object),
            is_past,
        });
    }

    fn told_to_go(&mut self, now: Instant, session: SessionId, uri: String) {
        let is_current = self.current.is_some_and(|(of, _)| of == session);
        if is_current && self.next.is_none() {
            self.target = uri
                .parse()
                .ok()
                .and_then(|url: SessionUrl| node_of_host(&url.host))
                .unwrap_or(self.target);
            self.connect_later(now);
        }
        self.seen.push_back(Seen::Goaway { session, uri });
    }

    fn closed(&mut self, now: Instant, session: SessionId) {
        self.forget(session);
        if self.next == Some(session) {
            self.next = None;
            self.target = self.plan.relay;
            self.connect_later(now);
        } else if self.current.is_some_and(|(of, _)| of == session) {
            self.current = self.next.take().map(|next| (next, true));
            if self.current.is_none() {
                self.target = self.plan.relay;
                self.connect_later(now);
            }
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.requests.retain(|(of, _), _| *of != session);
    }
}

/// The tracks that a viewer watches and that their publisher never ends.
fn endless(context: &Context, plan: &ViewerPlan) -> BTreeSet<u16> {
    let whole = &context.setting.plan;
    let goes_on = |index: &u16| {
        let Some(track) = whole.tracks.get(usize::from(*index)) else {
            return false;
        };
        let origin = whole.node(track.origin).map(|node| &node.role);
        let stops = matches!(origin, Some(Role::Origin(origin)) if origin.stop_ms.is_some());
        track.groups.is_none() && !stops
    };
    plan.tracks.iter().copied().filter(goes_on).collect()
}

/// What the plan says about this viewer's requests.
fn expectation(context: &Context, plan: &ViewerPlan) -> Expectation {
    let relay = context.setting.plan.node(plan.relay).map(|node| &node.role);
    let is_open = matches!(relay, Some(Role::Relay(relay)) if relay.access == Access::Open);
    if is_open {
        return Expectation::Permitted;
    }
    let at = |seconds| UNIX_TIME_AT_EPOCH + Duration::from_secs(seconds);
    match plan.token {
        TokenPlan::Good => Expectation::Permitted,
        TokenPlan::None | TokenPlan::WrongInput => Expectation::Refused,
        TokenPlan::Until { seconds } => Expectation::PermittedWhile {
            from: UnixTime::from_secs(0),
            until: at(seconds.max(1)),
        },
        TokenPlan::From { seconds } => Expectation::PermittedWhile {
            from: at(seconds),
            until: UnixTime::from_millis(u64::MAX),
        },
    }
}

impl Node for Viewer {
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, packet: Packet) {
        self.transport.handle_packet(now, from, packet);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.transport.next_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
        }
        self.settle(now);
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
