//! [`RelayServer`]: a shard with the relay machine, and the tasks that keep it informed.
//!
//! | task | wakes | does |
//! |---|---|---|
//! | shard thread | packets, deadlines | runs the machine; its questions go into a channel |
//! | questions | a question | asks the control plane, hands the answer back |
//! | changes | a change, or a while without one | keys, rotations, deletions |
//! | presence | every [`PRESENCE_INTERVAL_SECS`] | tells which inputs are live |
//! | clock | every second | tells the machine the wall clock |
//! | discovery | a new set of upstreams | tells the machine |
//! | dialler | the machine's wish | connects to an upstream |

use crate::control::{ControlClient, unavailable};
use crate::event_log::{EventLog, EventLogConfig};
use crate::follow::{Follower, Machine};
use crate::mesh::{self, Upstreams};
use crate::metrics::Figures;
use mainstem_core::jwt::KeySet;
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::relay::mesh::{News, RelayId, UpstreamId};
use mainstem_core::moqt::relay::{self, Event, OpId, Policy, Relay, SessionSummary};
use mainstem_core::resolve::{
    PRESENCE_INPUTS_MAX, PRESENCE_INTERVAL_SECS, Presence, Refusal, ResolveReply, ResolveRequest,
    Secret,
};
use mainstem_core::transport::{Closed, Origin};
use mainstem_net::{
    CallError, Clock, Handle, NoEntropy, Shard, ShardConfig, ShardError, SocketOptions,
};
use mainstem_quic::{Certificates, Server};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Questions that may wait for the control plane; more are refused by their time-out.
const QUESTIONS_MAX: usize = 1024;

/// How long a publisher waits for a relay that has not heard from the control plane yet.
const INFORMED_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests that a peer may have open.
const PEER_BIDI_STREAMS_MAX: u32 = 1024;
/// How much longer than asked for a drain may take.
const DRAIN_SLACK: Duration = Duration::from_secs(2);

/// Who may publish and watch.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody: for peers that have no token, on this machine only.
    Open,
    /// Whoever this control plane lets in.
    Control(ControlClient),
}

/// What a relay is made of.
pub struct Config {
    /// UDP address to serve; port 0 for a free one.
    pub listen: SocketAddr,
    /// Certificates; replaceable while it runs.
    pub certificates: Certificates,
    /// Who may publish and watch.
    pub access: Access,
    /// Bounds and habits of the machine.
    pub relay: relay::Config,
    /// A name that is this process's own, for the presence of its inputs.
    pub name: String,
    /// Difference between clocks that is forgiven when a token is judged.
    pub clock_skew: Duration,
    /// The relays that this one takes from, and gives to.
    pub upstreams: Upstreams,
    /// Keys stateless resets. Kept over restarts, so that the connections of a relay that was
    /// killed end at once instead of timing out; `None` draws a new one.
    pub reset_key: Option<[u8; 32]>,
    /// Connections that one address may have; 0 for no bound.
    pub connections_per_address_max: usize,
    /// Bytes that may wait for slow sessions, all together; past it those with most are closed.
    pub unsent_bytes_max: usize,
    /// Where the event logs of sessions go; `None` keeps none.
    pub event_log: Option<EventLogConfig>,
}

/// Forgiven difference between clocks, unless [`Config::clock_skew`] says otherwise.
pub const CLOCK_SKEW_DEFAULT: Duration = Duration::from_secs(2);

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An open relay that others can reach.
    #[error("an open relay may listen on a loopback address only, not on {0}")]
    OpenToOthers(SocketAddr),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The socket or TLS.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The folder of the event logs.
    #[error("cannot keep event logs in {folder}: {source}")]
    EventLog {
        /// The folder.
        folder: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The shard ended at once.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A running relay. Dropping it ends it without a goodbye; [`RelayServer::stop`] says one.
pub struct RelayServer {
    shard: Shard<Relay>,
    clock: Clock,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    is_informed: watch::Receiver<bool>,
    drained: watch::Receiver<Option<usize>>,
    event_log: Option<EventLog>,
}

impl RelayServer {
    /// Opens the socket and serves.
    pub fn start(config: Config) -> Result<Self, StartError> {
        if matches!(config.access, Access::Open) && !config.listen.ip().is_loopback() {
            return Err(StartError::OpenToOthers(config.listen));
        }
        let clock = Clock::start();
        let seed = mainstem_net::os_seed()?;
        let mut host = host_config(&clock, config.certificates, config.reset_key)?;
        host.limits.connections_per_address_max = config.connections_per_address_max;
        host.limits.unsent_bytes_total_max = config.unsent_bytes_max;
        let logs_all = config.event_log.as_ref().is_some_and(|log| log.is_of_all);
        let event_log = config
            .event_log
            .map(|log| start_log(log, clock))
            .transpose()?;
        let skew = config.clock_skew;
        let policy = first_policy(&config.access, skew);
        let mut machine = Relay::new(config.relay, policy);
        machine.set_clock(clock.now(), clock.unix_time(clock.now()));
        machine.log_all(logs_all);
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (dials, wishes) = mpsc::channel(mesh::DIALS_MAX);
        let (told_drained, drained) = watch::channel(None);
        let outlets = Outlets {
            questions,
            dials,
            drained: told_drained,
            event_log: event_log.clone(),
        };
        let shard = Shard::spawn(
            ShardConfig {
                name: "relay-0".to_owned(),
                socket: SocketOptions::new(config.listen),
                host,
                clock,
            },
            machine,
            move |event| outlets.take(event),
        )?;
        let (informed, is_informed) = watch::channel(matches!(config.access, Access::Open));
        let handle = shard.handle();
        let Upstreams { discovery, trust } = config.upstreams;
        let dialler = mesh::dial(handle.clone(), shard.local_addr(), trust, wishes);
        let mut tasks = vec![
            tokio::spawn(tell_time(handle.clone(), clock)),
            tokio::spawn(dialler),
            tokio::spawn(mesh::follow_discovery(handle.clone(), discovery)),
        ];
        if let Access::Control(control) = config.access {
            let machine = Machine {
                handle: handle.clone(),
                skew,
            };
            let follower = Follower::new(machine, control.clone(), seed);
            tasks.push(tokio::spawn(follower.run(informed)));
            let questions =
                answer_questions(handle.clone(), control.clone(), asked, is_informed.clone());
            tasks.push(tokio::spawn(questions));
            tasks.push(tokio::spawn(tell_presence(handle, control, config.name)));
        }
        Ok(Self {
            shard,
            clock,
            tasks,
            is_informed,
            drained,
            event_log,
        })
    }

    /// The socket's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.shard.local_addr()
    }

    /// The time that the shard runs on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until the keys are known, so that viewers are not refused for a relay's youth.
    pub async fn informed(&self) {
        let mut is_informed = self.is_informed.clone();
        // An error says that the task ended, which it does with the relay only.
        let _ = is_informed.wait_for(|informed| *informed).await;
    }

    /// A way to read the relay's figures from any thread.
    pub fn metrics_source(&self) -> MetricsSource {
        MetricsSource {
            handle: self.shard.handle(),
        }
    }

    /// A way to tell the relay of changes to its mesh.
    pub fn mesh_control(&self) -> MeshControl {
        MeshControl {
            handle: self.shard.handle(),
        }
    }

    /// What [`crate::Admin`] looks at, from any thread.
    pub(crate) fn inside(&self) -> Inside {
        Inside {
            handle: self.shard.handle(),
            event_log: self.event_log.clone(),
        }
    }

    /// Goes away in order: newcomers are refused, everybody is sent to `uri` (empty: to this same
    /// address) and served until they have moved, for at most `timeout`. Returns how many sessions
    /// had not moved by then; `None` when the relay has ended before.
    pub async fn drain(&self, uri: &str, timeout: Duration) -> Option<usize> {
        let uri = uri.to_owned();
        let begun = self.shard.handle().call(move |host, now| {
            host.stop_accepting();
            host.app_mut().drain(now, &uri, timeout);
        });
        begun.ok()?;
        let mut drained = self.drained.clone();
        let over = drained.wait_for(Option::is_some);
        match tokio::time::timeout(timeout + DRAIN_SLACK, over).await {
            Ok(Ok(late)) => *late,
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Closes every session and waits, up to `patience`, until the peers know.
    pub async fn stop(self, reason: &str, patience: Duration) {
        for task in &self.tasks {
            task.abort();
        }
        let (shard, reason) = (self.shard, reason.to_owned());
        // A failed join means that the shard panicked, which its thread has reported.
        let _ = tokio::task::spawn_blocking(move || shard.stop(0, &reason, patience)).await;
    }
}

/// Tells a running relay what changed about its mesh.
#[derive(Clone)]
pub struct MeshControl {
    handle: Handle<Relay>,
}

impl MeshControl {
    /// What members show each other is this from now on; sessions that rest on another secret end.
    pub async fn set_secret(&self, secret: Secret) {
        command(&self.handle, move |relay, now| {
            relay.set_mesh_secret(now, Some(secret));
        })
        .await;
    }
}

/// What somebody who operates a relay may look at and change.
#[derive(Clone)]
pub(crate) struct Inside {
    pub(crate) handle: Handle<Relay>,
    pub(crate) event_log: Option<EventLog>,
}

/// Reads a relay's figures.
#[derive(Clone)]
pub struct MetricsSource {
    handle: Handle<Relay>,
}

impl MetricsSource {
    /// The figures now; `None` when the relay has ended.
    pub fn read(&self) -> Option<Figures> {
        self.handle.ask(|host, _| Figures::of(host)).ok()
    }
}

/// What is in force until the control plane was heard.
fn first_policy(access: &Access, skew: Duration) -> Policy {
    match access {
        Access::Open => Policy::Open,
        Access::Control(_) => Policy::Tokens {
            keys: KeySet::new(),
            skew,
        },
    }
}

fn host_config(
    clock: &Clock,
    certificates: Certificates,
    reset_key: Option<[u8; 32]>,
) -> Result<mainstem_quic::Config, NoEntropy> {
    let mut host = mainstem_net::host_config(clock)?;
    if let Some(reset_key) = reset_key {
        host.entropy.reset_key = reset_key;
    }
    host.limits.client_liveness = Some(mesh::LIVENESS);
    // A relay behind this one has a request open for everything that it is told and takes.
    host.limits.peer_bidi_streams_max = PEER_BIDI_STREAMS_MAX;
    let protocols = Draft::ALL.iter().map(|draft| draft.protocol().to_owned());
    host.server = Some(Server {
        protocols: protocols.collect(),
        web_transport: true,
        certificates,
    });
    Ok(host)
}

/// Where the machine's events go. On the shard's thread: nothing here may block.
struct Outlets {
    questions: mpsc::Sender<(OpId, ResolveRequest)>,
    dials: mpsc::Sender<(UpstreamId, String)>,
    drained: watch::Sender<Option<usize>>,
    event_log: Option<EventLog>,
}

impl Outlets {
    fn take(&self, event: Event) {
        match event {
            Event::Resolve { op, request } => {
                if self.questions.try_send((op, request)).is_err() {
                    tracing::warn!("too many publishers wait for the control plane");
                }
            }
            // The feed of changes brings a new key within milliseconds of its making, and the
            // machine waits for it; asking for all keys would only be slower.
            Event::UnknownKey => tracing::debug!("a token names a key that is not known yet"),
            Event::Denied {
                session,
                remote,
                reason,
            } => {
                tracing::info!(session = session.0, %remote, %reason, "session denied");
            }
            Event::Malformed {
                session,
                remote,
                reason,
            } => {
                tracing::info!(session = session.0, %remote, %reason, "upload refused");
            }
            Event::Dial { upstream, url } => {
                if self.dials.try_send((upstream, url)).is_err() {
                    tracing::warn!("too many upstreams wait to be connected to");
                }
            }
            Event::Mesh(news) => tell_mesh_news(news),
            Event::Drained { late } => {
                self.drained.send_replace(Some(late));
            }
            Event::Logged { session, record } => {
                if let Some(log) = &self.event_log {
                    log.put(session, record);
                }
            }
            Event::Opened { summary } => log_opened(&summary),
            Event::Closed { summary, closed } => log_closed(&summary, &closed),
        }
    }
}

fn tell_mesh_news(news: News) {
    match news {
        News::MemberUp { relay, is_upstream } => {
            tracing::info!(%relay, is_upstream, "a relay of the mesh is there");
        }
        News::MemberDown { relay } => tracing::info!(%relay, "a relay of the mesh is gone"),
        News::PlainUp => tracing::info!("an upstream outside the mesh is there"),
        News::UpstreamLost { url, reason } => {
            tracing::warn!(%url, %reason, "not connected to an upstream");
        }
        News::UpstreamLeaving { url } => tracing::info!(%url, "an upstream is going away"),
        News::RouteRefused { relay, reason } => {
            tracing::warn!(%relay, %reason, "an announcement was refused");
        }
        News::AnnouncementsFull { relay, told } => {
            let relay = name_of(relay);
            tracing::warn!(
                relay,
                told,
                "another relay is told of no more namespaces: the others cannot be watched there"
            );
        }
        News::AnnouncementRefused { relay, code } => {
            let (relay, code) = (name_of(relay), code.0);
            tracing::warn!(relay, code, "another relay refused an announcement of ours");
        }
    }
}

fn name_of(relay: Option<RelayId>) -> String {
    relay.map_or_else(|| "outside the mesh".to_owned(), |relay| relay.to_string())
}

fn start_log(config: EventLogConfig, clock: Clock) -> Result<EventLog, StartError> {
    let folder = config.folder.display().to_string();
    EventLog::start(config, clock.unix_time_at_epoch())
        .map_err(|source| StartError::EventLog { folder, source })
}

fn carrier(summary: &SessionSummary) -> &'static str {
    if summary.is_web_transport {
        "webtransport"
    } else {
        "quic"
    }
}

fn log_opened(summary: &SessionSummary) {
    tracing::info!(
        session = summary.session.0,
        remote = %summary.remote,
        protocol = %summary.protocol,
        carrier = carrier(summary),
        "session opened"
    );
}

fn log_closed(summary: &SessionSummary, closed: &Closed) {
    let (by, code, reason) = match closed {
        Closed::Application { by, code, reason } => {
            let by = match by {
                Origin::Local => "us",
                Origin::Peer => "peer",
            };
            (by, Some(*code), reason)
        }
        Closed::Transport { reason } => ("transport", None, reason),
    };
    tracing::info!(
        session = summary.session.0,
        remote = %summary.remote,
        protocol = %summary.protocol,
        carrier = carrier(summary),
        seconds = summary.age.as_secs(),
        bytes_in = summary.bytes_in,
        bytes_out = summary.bytes_out,
        by,
        code,
        reason = ?reason,
        "session closed"
    );
}

async fn answer_questions(
    handle: Handle<Relay>,
    control: ControlClient,
    mut asked: mpsc::Receiver<(OpId, ResolveRequest)>,
    is_informed: watch::Receiver<bool>,
) {
    while let Some((op, request)) = asked.recv().await {
        let (handle, control, is_informed) = (handle.clone(), control.clone(), is_informed.clone());
        // Publishers do not wait for each other's answer; the machine bounds how many there are.
        tokio::spawn(async move {
            let answer = resolve(&control, &request, is_informed).await;
            command(&handle, move |relay, now| relay.resolved(now, op, answer)).await;
        });
    }
}

/// Asks once the feed of changes is followed: what is answered before could be taken back before
/// anybody here would hear of it.
async fn resolve(
    control: &ControlClient,
    request: &ResolveRequest,
    mut is_informed: watch::Receiver<bool>,
) -> Result<ResolveReply, Refusal> {
    let informed = is_informed.wait_for(|informed| *informed);
    match tokio::time::timeout(INFORMED_TIMEOUT, informed).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Err(unavailable("it is not reachable")),
    }
    control.resolve(request).await
}

async fn tell_presence(handle: Handle<Relay>, control: ControlClient, name: String) {
    let mut ticks = tokio::time::interval(Duration::from_secs(PRESENCE_INTERVAL_SECS) / 5);
    let mut told = None;
    let mut silent_ticks = 0;
    loop {
        ticks.tick().await;
        let asked = handle.clone();
        let live = tokio::task::spawn_blocking(move || {
            asked
                .ask(|host, _| host.app().live_inputs())
                .unwrap_or_default()
        });
        let Ok(live) = live.await else { return };
        silent_ticks += 1;
        if told.as_ref() == Some(&live) && silent_ticks < 5 {
            continue;
        }
        let listed = live.iter().take(PRESENCE_INPUTS_MAX).cloned().collect();
        let presence = Presence {
            relay: name.clone(),
            live: listed,
        };
        if control.presence(&presence).await.is_ok() {
            told = Some(live);
            silent_ticks = 0;
        }
    }
}

async fn tell_time(handle: Handle<Relay>, clock: Clock) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let unix = Clock::start().unix_time_at_epoch();
        let at = clock.now();
        command(&handle, move |relay, _| relay.set_clock(at, unix)).await;
    }
}

/// Runs a command on the machine. A full queue means an overloaded shard: the command is worth a wait.
pub(crate) async fn command(
    handle: &Handle<Relay>,
    command: impl FnOnce(&mut Relay, mainstem_core::time::Instant) + Send + 'static,
) {
    let handle = handle.clone();
    let run = move || {
        // A stopped shard has nothing left to be told.
        let _ = handle.ask(move |host, now| command(host.app_mut(), now));
    };
    // A failed join means that the runtime is going down.
    let _ = tokio::task::spawn_blocking(run).await;
}
