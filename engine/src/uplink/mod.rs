//! The way from broadcasts to a relay: one shard, a session per broadcast.
//!
//! [`Uplink`] runs a [`Fleet`] on a shard's thread. [`Broadcast`] is one of its members with a task
//! that keeps it connected:
//!
//! | status | means | left by |
//! |---|---|---|
//! | connecting | no session yet, or a pause after one was lost; media is kept within bounds | an accepted namespace |
//! | live | the relay has accepted the namespace | the end of the session |
//! | refused | the relay does not let it in: trying again would change nothing | - |
//! | ended | finished, and everything was handed over | - |
//!
//! Pauses between attempts grow from [`BACKOFF_FIRST`] to [`BACKOFF_MAX`] and begin anew after a
//! session that lasted. Limits: the number of broadcasts; of media kept, those of the broadcaster.

mod connection;
mod trust;

pub use connection::{BACKOFF_FIRST, BACKOFF_MAX};
pub use trust::Trust;

use crate::wall;
use connection::Link;
use mainstem_core::broadcast::{self, BroadcastId, Broadcaster, Event, Fleet, FleetFull};
use mainstem_core::moqt::TrackNamespace;
use mainstem_core::packager::Output;
use mainstem_core::time::Instant;
use mainstem_net::{Clock, Handle, NoEntropy, Shard, ShardConfig, ShardError, SocketOptions};
use mainstem_quic::{Host, SessionUrl};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Events of one broadcast that may wait for its task.
const EVENTS_MAX: usize = 64;
/// Pause before a full queue of commands is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);
/// Silence after which a relay counts as lost, and how often its life is asked for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Where a broadcast goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The relay, with the path that says which input it is. May hold a stream key.
    pub url: SessionUrl,
    /// How to recognise the relay.
    pub trust: Trust,
}

/// How a broadcast stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not connected; why the last attempt failed.
    Connecting {
        /// In words, without secrets.
        reason: Option<String>,
    },
    /// The relay accepted the namespace.
    Live,
    /// The relay refused it for good.
    Refused {
        /// In words, without secrets; begins with `auth_failed` when permission is what lacks.
        reason: String,
        /// Whether permission is what lacks.
        is_auth_failed: bool,
    },
    /// It is over.
    Ended,
}

impl Status {
    /// Whether nothing will change any more.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Ended)
    }
}

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// The shard's thread has ended.
    #[error("the engine is stopping")]
    Stopped,
    /// All broadcasts are in use.
    #[error(transparent)]
    Full(#[from] FleetFull),
    /// The broadcaster does not take it.
    #[error(transparent)]
    Broadcast(#[from] broadcast::Error),
}

/// Why an uplink did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkStartError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The socket or TLS.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// A shard with all broadcasts of this program.
pub struct Uplink {
    shard: Shard<Fleet>,
    inner: Arc<Inner>,
}

/// What broadcasts need of their uplink.
pub(crate) struct Inner {
    handle: Handle<Fleet>,
    local: SocketAddr,
    events: Mutex<BTreeMap<BroadcastId, mpsc::Sender<Event>>>,
}

/// One broadcast. Dropping it ends its sessions without a goodbye.
pub struct Broadcast {
    id: BroadcastId,
    inner: Arc<Inner>,
    target: watch::Sender<Target>,
    status: watch::Receiver<Status>,
    task: tokio::task::JoinHandle<()>,
}

impl Uplink {
    /// Opens a socket for at most `broadcasts_max` broadcasts.
    pub fn start(broadcasts_max: usize) -> Result<Self, UplinkStartError> {
        let dual_stack = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        match Self::start_on(dual_stack, broadcasts_max) {
            // A machine without IPv6.
            Err(UplinkStartError::Shard(ShardError::Bind { .. })) => {
                Self::start_on((Ipv4Addr::UNSPECIFIED, 0).into(), broadcasts_max)
            }
            other => other,
        }
    }

    fn start_on(bind: SocketAddr, broadcasts_max: usize) -> Result<Self, UplinkStartError> {
        let clock = Clock::start();
        let mut host = mainstem_net::host_config(&clock)?;
        host.limits.connections_max = broadcasts_max.saturating_mul(2).max(2);
        host.limits.idle_timeout = IDLE_TIMEOUT;
        host.limits.keep_alive = Some(KEEP_ALIVE);
        let (routes, route) = watch::channel(None::<std::sync::Weak<Inner>>);
        let shard = Shard::spawn(
            ShardConfig {
                name: "uplink".to_owned(),
                socket: SocketOptions::new(bind),
                host,
                clock,
            },
            Fleet::new(broadcasts_max),
            move |(id, event)| {
                let inner = route.borrow().as_ref().and_then(std::sync::Weak::upgrade);
                if let Some(inner) = inner {
                    inner.pass(id, event);
                }
            },
        )?;
        let inner = Arc::new(Inner {
            handle: shard.handle(),
            local: shard.local_addr(),
            events: Mutex::new(BTreeMap::new()),
        });
        routes.send_replace(Some(Arc::downgrade(&inner)));
        Ok(Self { shard, inner })
    }

    /// A broadcast in `namespace`, which connects to `target` at once. Its groups begin with the
    /// wall clock's milliseconds.
    pub async fn open(
        &self,
        config: broadcast::Config,
        namespace: TrackNamespace,
        target: Target,
    ) -> Result<Broadcast, UplinkError> {
        self.opener().open(config, namespace, target).await
    }

    /// Opens broadcasts; cheap to clone, and outlives the uplink without use.
    pub(crate) fn opener(&self) -> Opener {
        Opener {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Closes every session and ends the thread; waits up to `patience` for the goodbyes.
    pub async fn stop(self, reason: &str, patience: Duration) {
        let (shard, reason) = (self.shard, reason.to_owned());
        // A failed join means that the shard panicked, which its thread has reported.
        let _ = tokio::task::spawn_blocking(move || shard.stop(0, &reason, patience)).await;
    }
}

/// Opens broadcasts on an uplink.
#[derive(Clone)]
pub(crate) struct Opener {
    inner: Arc<Inner>,
}

impl Opener {
    /// Whether the shard answers; blocks until it does.
    pub(crate) fn is_responsive(&self) -> bool {
        self.inner.handle.ask(|_, _| ()).is_ok()
    }

    pub(crate) async fn open(
        &self,
        config: broadcast::Config,
        namespace: TrackNamespace,
        target: Target,
    ) -> Result<Broadcast, UplinkError> {
        let first_group = wall::unix_millis();
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let routed = Arc::clone(&self.inner);
        let id = self
            .inner
            .run(move |host, now| {
                let member = Broadcaster::new(now, config, namespace, first_group);
                let id = host.app_mut().add(member)?;
                routed.routes().insert(id, sender);
                Ok::<_, FleetFull>(id)
            })
            .await??;
        let (target, wanted) = watch::channel(target);
        let (told, status) = watch::channel(Status::Connecting { reason: None });
        let link = Link {
            id,
            inner: Arc::clone(&self.inner),
            target: wanted,
            status: told,
            events,
        };
        Ok(Broadcast {
            id,
            inner: Arc::clone(&self.inner),
            target,
            status,
            task: tokio::spawn(link.keep()),
        })
    }
}

impl Broadcast {
    /// How it stands, to read and to await.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Connects elsewhere, or with another key, from the next attempt on.
    pub fn set_target(&self, target: Target) {
        self.target.send_replace(target);
    }

    /// Publishes what a packager put out, in order. Returns once the shard has taken it; what the
    /// relay is doing plays no role.
    pub async fn publish(&self, outputs: Vec<Output>) -> Result<(), UplinkError> {
        let id = self.id;
        let time = wall::unix_now();
        let published = self
            .inner
            .run(move |host, now| {
                let Some(member) = host.app_mut().member_mut(id) else {
                    return Err(broadcast::Error::Finished);
                };
                for output in outputs {
                    match output {
                        Output::Tracks(tracks) => member.set_tracks(now, time, &tracks)?,
                        Output::Chunk(chunk) => member.publish(now, &chunk)?,
                        Output::Fault(_) => {}
                    }
                }
                Ok(())
            })
            .await?;
        Ok(published?)
    }

    /// The encoder vanished: tracks and viewers stay for a while.
    pub async fn lose(&self) -> Result<(), UplinkError> {
        self.command(Broadcaster::lose).await
    }

    /// The encoder is done. The status becomes [`Status::Ended`] once everything was handed over.
    pub async fn finish(&self) -> Result<(), UplinkError> {
        let time = wall::unix_now();
        self.command(move |member, now| member.finish(now, time))
            .await
    }

    /// Subscriptions of the relay.
    pub async fn subscriptions(&self) -> usize {
        let id = self.id;
        let count = self.inner.run(move |host, _| {
            let member = host.app().member(id);
            member.map_or(0, Broadcaster::subscriptions)
        });
        count.await.unwrap_or(0)
    }

    /// Waits until nothing will change any more.
    pub async fn ended(&self) -> Status {
        let mut status = self.status.clone();
        match status.wait_for(Status::is_final).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Ended,
        }
    }

    async fn command(
        &self,
        command: impl FnOnce(&mut Broadcaster, Instant) + Send + 'static,
    ) -> Result<(), UplinkError> {
        let id = self.id;
        let run = move |host: &mut Host<Fleet>, now| {
            if let Some(member) = host.app_mut().member_mut(id) {
                command(member, now);
            }
        };
        self.inner.run(run).await
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.routes().remove(&self.id);
        let id = self.id;
        // A shard that stopped, or is too busy to be told, ends the session by its own means.
        let _ = self.inner.handle.call(move |host, _| {
            host.app_mut().remove(id, "the broadcast is over");
        });
    }
}

impl Inner {
    fn routes(&self) -> MutexGuard<'_, BTreeMap<BroadcastId, mpsc::Sender<Event>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the shard's thread: must not block.
    fn pass(&self, id: BroadcastId, event: Event) {
        if let Some(sender) = self.routes().get(&id)
            && sender.try_send(event).is_err()
        {
            tracing::warn!(broadcast = id.0, "news of a session was lost");
        }
    }

    /// Runs a command on the shard and waits for its result, without blocking a thread.
    async fn run<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Host<Fleet>, Instant) -> R + Send + 'static,
    ) -> Result<R, UplinkError> {
        let (answer, result) = oneshot::channel();
        let waiting = Arc::new(Mutex::new(Some((command, answer))));
        loop {
            let waiting = Arc::clone(&waiting);
            let run = move |host: &mut Host<Fleet>, now| {
                let taken = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                if let Some((command, answer)) = taken {
                    // Whoever asked may have gone.
                    let _ = answer.send(command(host, now));
                }
            };
            match self.handle.call(run) {
                Ok(()) => return result.await.map_err(|_| UplinkError::Stopped),
                Err(mainstem_net::CallError::Full) => tokio::time::sleep(QUEUE_PAUSE).await,
                Err(_) => return Err(UplinkError::Stopped),
            }
        }
    }
}
