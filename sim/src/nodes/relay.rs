//! [`RelayNode`]: core's relay machine, and what the relay program does for it.
//!
//! | the machine wants | its owner does |
//! |---|---|
//! | a stream key resolved | answers as the control plane would, `resolve_ms` later |
//! | an upstream dialled | connects |
//! | the time | tells it every second, by the node's own clock |

use super::agenda::Agenda;
use super::setting::{BuildError, Context, WallClock, host_name, node_of_host};
use super::transport::Transport;
use super::{Meddling, Node, content};
use crate::check::Seen;
use crate::packet::{Outgoing, Packet};
use crate::plan::{Access, CarrierPlan, NodeId, RelayPlan, Role};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::relay::mesh::{self, RelayId, Upstream, UpstreamId};
use mainstem_core::moqt::relay::{Config, Event, OpId, Policy, Relay};
use mainstem_core::resolve::{self, Refusal, RefusalCode, ResolveReply, ResolveRequest, Secret};
use mainstem_core::time::Instant;
use mainstem_quic::SessionUrl;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What the relays of a mesh show each other.
const MESH_SECRET: &str = "the mesh of the world";
/// How often the machine is told the time.
const TICK: Duration = Duration::from_secs(1);
/// How long a name takes to become an address.
const DIAL_AFTER: Duration = Duration::from_millis(1);

enum Duty {
    Tick,
    Answer {
        op: OpId,
        request: Box<ResolveRequest>,
    },
    Dial {
        upstream: UpstreamId,
        url: String,
    },
}

/// See the module's description.
pub struct RelayNode {
    context: Context,
    plan: RelayPlan,
    transport: Transport<Relay>,
    agenda: Agenda<Duty>,
    seen: VecDeque<Seen>,
    has_left: bool,
}

impl RelayNode {
    /// Begins a life.
    pub(crate) fn new(
        context: Context,
        plan: &RelayPlan,
        now: Instant,
    ) -> Result<Self, BuildError> {
        let policy = match plan.access {
            Access::Open => Policy::Open,
            Access::Tokens => Policy::Tokens {
                keys: context.setting.tokens.keys()?,
                skew: Duration::from_millis(plan.skew_ms),
            },
        };
        let mut machine = Relay::new(config(&context), policy);
        machine.set_clock(now, context.clock.unix(now));
        let upstreams: BTreeSet<Upstream> = plan
            .upstreams
            .iter()
            .map(|id| Upstream {
                url: url_of(*id),
                is_member: true,
            })
            .collect();
        let transport = Transport::serving(&context, machine, context.unix_at_zero(now))?;
        let mut node = Self {
            plan: plan.clone(),
            transport,
            agenda: Agenda::new(),
            seen: VecDeque::new(),
            has_left: false,
            context,
        };
        node.transport.app_mut().set_upstreams(now, &upstreams);
        node.agenda.put(now + TICK, Duty::Tick);
        node.settle(now);
        Ok(node)
    }

    fn perform(&mut self, now: Instant, duty: Duty) {
        match duty {
            Duty::Tick => {
                self.tell_time(now);
                self.agenda.put(now + TICK, Duty::Tick);
            }
            Duty::Answer { op, request } => {
                let answer = self.resolve(&request);
                self.transport.app_mut().resolved(now, op, answer);
            }
            Duty::Dial { upstream, url } => {
                if let Err(reason) = self.dial(now, upstream, &url) {
                    let machine = self.transport.app_mut();
                    machine.dialled(now, upstream, Err(reason));
                }
            }
        }
    }

    fn tell_time(&mut self, now: Instant) {
        let unix = self.context.clock.unix(now);
        self.transport.app_mut().set_clock(now, unix);
        self.transport.adjust_wall_clock(now, unix);
        self.seen.push_back(Seen::Clock { unix });
    }

    /// What the control plane answers.
    fn resolve(&self, request: &ResolveRequest) -> Result<ResolveReply, Refusal> {
        let refuse = |code, message: &str| {
            Err(Refusal {
                code,
                message: message.to_owned(),
            })
        };
        let origins = self.context.setting.plan.node_ids();
        let mut origins = origins.filter(|(_, node)| matches!(node.role, Role::Origin(_)));
        let Some((origin, _)) = origins.find(|(id, _)| content::input(*id) == request.id) else {
            return refuse(RefusalCode::UnknownInput, "no such input");
        };
        let shown = request.sk.as_ref().map(Secret::expose);
        if shown != Some(content::stream_key(origin).as_str()) {
            return refuse(
                RefusalCode::WrongStreamKey,
                "the stream key is not the input's",
            );
        }
        Ok(ResolveReply {
            namespace: format!("stream/{}/{}", content::ORG, request.id),
            org: content::ORG.to_owned(),
            input: request.id.clone(),
            expires_at: None,
            credential: "credential_1".to_owned(),
            policy: resolve::Policy {
                ingest: resolve::IngestKind::Fmp4,
                recheck_secs: 60,
            },
        })
    }

    fn dial(&mut self, now: Instant, upstream: UpstreamId, url: &str) -> Result<(), String> {
        let url: SessionUrl = url.parse().map_err(|error| format!("{error:?}"))?;
        let relay = node_of_host(&url.host).ok_or("the name was not resolved")?;
        let newest = Draft::ALL.first().map_or(0, |draft| draft.number());
        let path = url.target.path.clone();
        let mut request = self.context.request(relay, CarrierPlan::Quic, newest, path);
        request.protocols = Draft::ALL
            .iter()
            .map(|draft| draft.protocol().to_owned())
            .collect();
        let begun = self.transport.connect(now, request);
        let session = begun.map_err(|error| error.to_string())?;
        let machine = self.transport.app_mut();
        machine.dialled(now, upstream, Ok(session));
        Ok(())
    }

    /// Works off what the machine has to tell.
    fn settle(&mut self, now: Instant) {
        self.transport.drive(now);
        while let Some(event) = self.transport.poll_event() {
            match &event {
                Event::Resolve { op, request } if !self.has_left => {
                    let at = now + Duration::from_millis(self.plan.resolve_ms);
                    let request = Box::new(request.clone());
                    self.agenda.put(at, Duty::Answer { op: *op, request });
                }
                Event::Dial { upstream, url } if !self.has_left => {
                    let duty = Duty::Dial {
                        upstream: *upstream,
                        url: url.clone(),
                    };
                    self.agenda.put(now + DIAL_AFTER, duty);
                }
                _ => {}
            }
            self.seen.push_back(Seen::Relay(Box::new(event)));
        }
    }
}

/// Where a relay is.
fn url_of(id: NodeId) -> String {
    format!("moqt://{}:4433/", host_name(id))
}

/// The relay program's configuration, with the plan's bounds.
fn config(context: &Context) -> Config {
    let mut random = context.random();
    let mut relay_id = [0; mesh::RELAY_ID_BYTES];
    random.fill(&mut relay_id);
    let limits = &context.limits;
    let mut config = Config {
        mesh: mesh::Config {
            relay_id: RelayId(relay_id),
            secret: Some(Secret::new(MESH_SECRET)),
            seed: random.bits(),
            limits: mesh::Limits::default(),
        },
        ..Config::default()
    };
    config.cache_bytes_max = limits.cache_bytes.unwrap_or(config.cache_bytes_max);
    config.cache_bytes_hard_max = limits
        .cache_bytes_hard
        .unwrap_or(config.cache_bytes_hard_max);
    config.track.cache.groups_max = limits.groups.unwrap_or(config.track.cache.groups_max);
    if let Some(ms) = limits.publisher_linger_ms {
        config.publisher_linger = Duration::from_millis(ms);
    }
    if let Some(ms) = limits.subscriber_linger_ms {
        config.subscriber_linger = Duration::from_millis(ms);
    }
    config
}

impl Node for RelayNode {
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
        self.tell_time(now);
        self.settle(now);
    }

    fn drain(&mut self, now: Instant, to: Option<NodeId>, timeout: Duration) {
        let uri = to.map(url_of).unwrap_or_default();
        self.transport.stop_accepting();
        self.transport.app_mut().drain(now, &uri, timeout);
        self.settle(now);
    }

    fn meddle(&mut self, meddling: Meddling) {
        self.transport.meddle(meddling);
    }

    fn leave(&mut self, now: Instant) {
        self.has_left = true;
        self.agenda.clear();
        self.transport.stop_accepting();
        let machine = self.transport.app_mut();
        machine.set_upstreams(now, &BTreeSet::new());
        machine.close_all("leaving");
        self.transport.close_all(now, 0, "leaving");
        self.settle(now);
    }

    fn metrics(&self) -> Option<Seen> {
        Some(Seen::Metrics {
            relay: Box::new(self.transport.app().metrics()),
            host: self.transport.figures().map(Box::new),
            counters: Some(Box::new(self.transport.counters())),
        })
    }

    fn residue(&self) -> Option<&'static str> {
        let metrics = self.transport.app().metrics();
        if !self.transport.is_idle() {
            Some("a connection")
        } else if metrics.sessions > 0 {
            Some("a session")
        } else if metrics.downstream_subscriptions > 0 || metrics.upstream_subscriptions > 0 {
            Some("a subscription")
        } else if metrics.fetches > 0 {
            Some("a fetch")
        } else if metrics.namespaces > 0 {
            Some("a namespace")
        } else if self.next_timeout().is_some() {
            Some("a timer")
        } else if metrics.tracks > 0 {
            Some("a track")
        } else {
            None
        }
    }
}
