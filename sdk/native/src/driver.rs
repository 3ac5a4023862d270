//! The thread behind a [`Client`](crate::Client): connects, keeps at it, and calls back.
//!
//! | state | entered when | left when |
//! |---|---|---|
//! | connecting | started | a session is ready |
//! | connected | a session is ready | it is lost |
//! | reconnecting | a session was lost, or could not be begun | a session is ready |
//! | closed, failed | the owner closes, permission lacks, what was watched has ended, patience is over | - |
//!
//! A client of `/playback/..` exists for what it watches: it closes as complete when the last of its
//! subscriptions has ended, and fails when one is refused for lack of permission. Another goes on.
//!
//! Limits: pauses of [`backoff`](crate::backoff); a goodbye takes [`DRAIN_PATIENCE`] at most.
//! Source: CONTRACTS A1 (states, reconnect with capped pauses, tracks attached again).

use crate::backoff::Backoff;
use crate::client::{Arrival, Error, Handler, OnState};
use crate::close::{Close, CloseReason, State};
use crate::config::{Config, ConfigError, text_of};
use crate::decoding::Decoder;
use crate::queue::{Popped, Queue};
use mainstem_core::moqt::participant::{Event, Participant, SubscriptionId};
use mainstem_core::moqt::{Draft, FullTrackName, session, track};
use mainstem_core::time::Instant as ShardInstant;
use mainstem_core::transport::Closed;
use mainstem_net::{CallError, Client as Net, ClientConfig, Clock, Handle};
use mainstem_quic::{Host, SessionUrl};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// How long the last bytes of published tracks may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);
/// A session that lasted so long was a good one: after it, pauses are short again.
const STABLE_AFTER: Duration = Duration::from_secs(2);
/// Pause between two looks at whether they are gone.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// What a client's handles and its thread share.
pub(crate) struct Shared {
    handle: Handle<Participant>,
    pub(crate) queue: Arc<Queue>,
    slots: Mutex<BTreeMap<SubscriptionId, Arc<Slot>>>,
    /// Tracks that are published and not ended.
    tracks: Mutex<BTreeSet<FullTrackName>>,
    closing: Mutex<Option<Close>>,
    state: AtomicI32,
    driver: OnceLock<ThreadId>,
    join: Mutex<Option<JoinHandle<()>>>,
    is_over: AtomicBool,
}

/// Where a subscription's frames go.
pub(crate) struct Slot {
    is_closed: AtomicBool,
    inner: Mutex<(Option<Handler>, Decoder)>,
}

impl Slot {
    pub(crate) fn new(handler: Handler, decoder: Decoder) -> Self {
        Self {
            is_closed: AtomicBool::new(false),
            inner: Mutex::new((Some(handler), decoder)),
        }
    }

    /// Nothing is told any more. Waits for a call under way, unless this is the thread it is on.
    pub(crate) fn close(&self, is_driver: bool) {
        self.is_closed.store(true, Ordering::SeqCst);
        if !is_driver {
            locked(&self.inner).0 = None;
        }
    }

    fn tell(&self, arrival: impl FnOnce(&mut Decoder) -> Option<Arrival>) {
        let mut inner = locked(&self.inner);
        let (handler, decoder) = &mut *inner;
        if self.is_closed.load(Ordering::SeqCst) {
            *handler = None;
            return;
        }
        if let (Some(arrival), Some(handler)) = (arrival(decoder), handler) {
            guarded(|| handler(arrival));
        }
    }
}

/// Runs what belongs to others: its panic is its own, and ends nothing here.
fn guarded(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a callback panicked");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn slots(&self) -> MutexGuard<'_, BTreeMap<SubscriptionId, Arc<Slot>>> {
        locked(&self.slots)
    }

    pub(crate) fn tracks(&self) -> MutexGuard<'_, BTreeSet<FullTrackName>> {
        locked(&self.tracks)
    }

    /// A track is published from now on, until it is ended.
    pub(crate) fn add_track(&self, track: FullTrackName) {
        self.tracks().insert(track);
    }

    pub(crate) fn is_driver(&self) -> bool {
        self.driver.get() == Some(&std::thread::current().id())
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            0 => State::Connecting,
            1 => State::Connected,
            2 => State::Reconnecting,
            4 => State::Failed,
            _ => State::Closed,
        }
    }

    /// Runs a command on the shard, and waits for it.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Host<Participant>, ShardInstant) -> R + Send + 'static,
    ) -> Result<R, Error> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        self.handle.ask(command).map_err(|error| match error {
            CallError::Full => Error::Overloaded,
            _ => Error::Closed,
        })
    }

    /// Runs a command on the shard soon.
    pub(crate) fn call(
        &self,
        command: impl FnOnce(&mut Host<Participant>, ShardInstant) + Send + 'static,
    ) -> Result<(), CallError> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(CallError::Stopped);
        }
        self.handle.call(command)
    }

    /// Ends the client, and waits for that unless this is its thread.
    pub(crate) fn close(&self, close: Close) {
        locked(&self.closing).get_or_insert(close);
        self.queue.wake();
        if self.is_driver() {
            return;
        }
        // Whoever comes second waits for the first here.
        let mut join = locked(&self.join);
        if let Some(thread) = join.take() {
            // The driver catches what its callbacks do.
            let _ = thread.join();
        }
    }
}

/// The thread's own state.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    net: Net<Participant>,
    on_state: OnState,
    /// Where the relay said to go.
    url: SessionUrl,
    backoff: Backoff,
    attempts: u64,
    retry_at: Option<Instant>,
    patience: Option<Duration>,
    /// Since when there has been nothing to watch, or nobody to publish to, and why.
    idle: Option<(Instant, String)>,
    /// The client lives as long as what it watches.
    is_playback: bool,
    /// When the session that counts became ready.
    ready_at: Option<Instant>,
}

impl Driver {
    /// Opens a socket and starts the thread.
    pub(crate) fn start(config: &Config, on_state: OnState) -> Result<Arc<Shared>, Error> {
        let url = config.session_url().map_err(ConfigError::from)?;
        let machine = session::Config {
            sessions_max: 4,
            implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
            grease: mainstem_net::os_seed().ok(),
            ..session::Config::default()
        };
        let machine = Participant::new(machine, track::Limits::default());
        let queue = Arc::new(Queue::default());
        let client = ClientConfig {
            url: text_of(&url),
            trust: config.trust.resolve().map_err(ConfigError::from)?,
            protocols: Draft::ALL
                .iter()
                .map(|draft| draft.protocol().to_owned())
                .collect(),
        };
        let arrivals = Arc::clone(&queue);
        let net = Net::open(client, Clock::start(), machine, move |event| {
            arrivals.push(event);
        })?;
        let shared = Arc::new(Shared {
            handle: net.handle(),
            queue,
            slots: Mutex::new(BTreeMap::new()),
            tracks: Mutex::new(BTreeSet::new()),
            closing: Mutex::new(None),
            state: AtomicI32::new(State::Connecting as i32),
            driver: OnceLock::new(),
            join: Mutex::new(None),
            is_over: AtomicBool::new(false),
        });
        let driver = Self {
            shared: Arc::clone(&shared),
            net,
            on_state,
            is_playback: url.target.path.starts_with("/playback/"),
            url,
            backoff: Backoff::new(mainstem_net::os_seed().unwrap_or(1)),
            attempts: 0,
            retry_at: None,
            patience: config.patience,
            idle: Some((Instant::now(), "the relay cannot be reached".to_owned())),
            ready_at: None,
        };
        let thread = std::thread::Builder::new().name("mainstem-client".to_owned());
        let thread = thread.spawn(move || driver.run()).map_err(Error::Thread)?;
        *locked(&shared.join) = Some(thread);
        Ok(shared)
    }

    fn run(mut self) {
        // Set once, by this thread alone.
        let _ = self.shared.driver.set(std::thread::current().id());
        self.tell(State::Connecting, None);
        self.connect();
        let close = loop {
            if let Some(close) = locked(&self.shared.closing).clone() {
                break close;
            }
            let give_up_at = self.give_up_at();
            let deadline = self.retry_at.into_iter().chain(give_up_at).min();
            let end = match self.shared.queue.pop(deadline) {
                Popped::Event(event) => self.take(*event),
                Popped::Woken => None,
                Popped::TimedOut => self.timed_out(),
            };
            if let Some(close) = end {
                break close;
            }
        };
        self.end(&close);
    }

    fn give_up_at(&self) -> Option<Instant> {
        let (since, _) = self.idle.as_ref()?;
        Some(*since + self.patience?)
    }

    fn timed_out(&mut self) -> Option<Close> {
        let now = Instant::now();
        if self.give_up_at().is_some_and(|at| at <= now) {
            let (_, reason) = self.idle.take()?;
            return Some(Close::new(CloseReason::Network, reason));
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.connect();
        }
        None
    }

    /// The relay that was asked for and the one that it named, in turn.
    fn connect(&mut self) {
        let first = self.net.url().clone();
        let url = if self.attempts.is_multiple_of(2) {
            &self.url
        } else {
            &first
        };
        self.attempts = self.attempts.wrapping_add(1);
        if let Err(error) = self.net.connect_to(url) {
            tracing::debug!(%error, "cannot connect");
            self.idle_since_now(&error.to_string());
            self.retry_at = Some(Instant::now() + self.backoff.pause());
        }
    }

    fn idle_since_now(&mut self, reason: &str) {
        let since = self
            .idle
            .take()
            .map_or_else(Instant::now, |(since, _)| since);
        self.idle = Some((since, reason.to_owned()));
    }

    fn take(&mut self, event: Event) -> Option<Close> {
        match event {
            Event::Ready { .. } => {
                self.ready_at = Some(Instant::now());
                self.retry_at = None;
                self.attempts = 0;
                if self.is_playback {
                    self.idle_since_now("the stream is not live");
                } else {
                    self.idle = None;
                }
                self.tell(State::Connected, None);
            }
            Event::Object {
                subscription,
                object,
            } => {
                self.idle = None;
                if let Some(slot) = self.slot(subscription) {
                    slot.tell(|decoder| decoder.frame(&object).map(Arrival::Frame));
                }
            }
            Event::Waiting {
                subscription,
                reason,
            } => {
                if self.is_playback {
                    self.idle_since_now(&reason);
                }
                if let Some(slot) = self.slot(subscription) {
                    slot.tell(|_| Some(Arrival::Waiting(reason)));
                }
            }
            Event::Ended {
                subscription,
                reason,
            } => return self.subscription_ended(subscription, reason),
            Event::Goaway { uri, .. } => self.follow_relay(&uri),
            Event::Refused { session, error } => {
                if Close::is_auth_failed(&error.reason) {
                    return Some(Close::new(CloseReason::AuthFailed, error.reason));
                }
                tracing::info!(reason = %error.reason, "the relay refused a namespace");
                // A new attempt begins with a new session. A shard that stopped has none.
                let close = move |host: &mut Host<Participant>, _| {
                    host.app_mut().close(session, "refused");
                };
                let _ = self.shared.call(close);
            }
            Event::Closed {
                is_current, closed, ..
            } => return self.session_closed(is_current, &closed),
            Event::Announced { .. } => {}
        }
        None
    }

    fn slot(&self, subscription: SubscriptionId) -> Option<Arc<Slot>> {
        self.shared.slots().get(&subscription).cloned()
    }

    fn subscription_ended(&mut self, id: SubscriptionId, reason: String) -> Option<Close> {
        let is_auth_failed = Close::is_auth_failed(&reason);
        let why = if is_auth_failed {
            CloseReason::AuthFailed
        } else {
            CloseReason::Complete
        };
        let close = Close::new(why, reason);
        let slot = self.shared.slots().remove(&id);
        if let Some(slot) = slot {
            let told = close.clone();
            slot.tell(|_| Some(Arrival::Ended(told)));
        }
        let is_last = self.shared.slots().is_empty() && self.shared.tracks().is_empty();
        (self.is_playback && (is_auth_failed || is_last)).then_some(close)
    }

    fn session_closed(&mut self, is_current: bool, closed: &Closed) -> Option<Close> {
        let reason = match closed {
            Closed::Application { reason, .. } | Closed::Transport { reason } => reason,
        };
        if Close::is_auth_failed(reason) {
            return Some(Close::new(CloseReason::AuthFailed, reason));
        }
        if is_current {
            tracing::debug!(%reason, "the session is lost");
            self.idle_since_now(reason);
            let lasted = self.ready_at.take().map(|at| at.elapsed());
            if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) {
                self.backoff.reset();
            }
            self.tell(State::Reconnecting, None);
            self.retry_at = Some(Instant::now() + self.backoff.pause());
        }
        None
    }

    /// Begins a session where the relay says, beside the one that lasts. When it does not come
    /// about, the old one's end begins the usual way back.
    fn follow_relay(&mut self, uri: &str) {
        match self.url.moved_to(uri) {
            Ok(url) => match self.net.connect_to(&url) {
                Ok(_) => self.url = url,
                Err(error) => tracing::info!(%error, "cannot follow the relay"),
            },
            Err(error) => tracing::info!(%error, "the relay named no place to go"),
        }
    }

    fn tell(&mut self, state: State, close: Option<&Close>) {
        let before = self.shared.state.swap(state as i32, Ordering::SeqCst);
        let is_first = self.attempts == 0 && state == State::Connecting;
        if before != state as i32 || is_first {
            let on_state = &mut self.on_state;
            guarded(|| on_state(state, close));
        }
    }

    fn end(mut self, close: &Close) {
        if self.shared.state() == State::Connected && close.reason != CloseReason::AuthFailed {
            self.drain();
        }
        self.shared.is_over.store(true, Ordering::SeqCst);
        let slots = std::mem::take(&mut *self.shared.slots());
        let told_by_end = close.reason == CloseReason::ClosedByCaller;
        for slot in slots.into_values() {
            if told_by_end {
                slot.close(true);
            }
            let told = close.clone();
            slot.tell(|_| Some(Arrival::Ended(told)));
        }
        self.tell(close.state(), Some(close));
        self.net.stop();
    }

    /// Ends what is published, and waits until it is with the relay.
    fn drain(&self) {
        let tracks = std::mem::take(&mut *self.shared.tracks());
        let end = move |host: &mut Host<Participant>, now| {
            for track in tracks {
                host.app_mut().end_track(now, &track);
            }
        };
        if self.shared.ask(end).is_err() {
            return;
        }
        let begun = Instant::now();
        while begun.elapsed() < DRAIN_PATIENCE {
            match self.shared.ask(|host, _| host.app().is_drained()) {
                Ok(false) => std::thread::sleep(DRAIN_PAUSE),
                Ok(true) | Err(_) => return,
            }
        }
    }
}
