//! A shard: one thread, one socket, one [`Host`].
//!
//! ```text
//! commands -> receive a batch -> timers -> send -> events -> sleep until the next deadline
//! ```
//!
//! Other threads reach the host through a [`Handle`]: a bounded queue of closures that run on the
//! shard's thread between two turns of the loop. Events of the application go to a callback on the
//! shard's thread, which must not block.
//!
//! | state | entered when | left when |
//! |---|---|---|
//! | serving | spawned | [`Shard::stop`], the last handle and the shard are dropped, a socket error |
//! | stopping | sessions are being closed | every connection is closed, or patience is over |
//!
//! Limits: [`COMMANDS_MAX`] queued commands; a bounded number of sends per turn, so that receiving
//! goes on. A transmit that the kernel has no room for is kept and tried again.

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::io::{PacketIo, Sent, SocketOptions};
use crate::portable::Portable;
use mainstem_core::time::Instant;
use mainstem_core::transport::App;
use mainstem_quic::{Config, Counters, Host, TlsError, Transmit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Commands that may wait for one shard.
pub const COMMANDS_MAX: usize = 1024;
/// Sends between two looks at the receive queue.
const SENDS_PER_TURN: usize = 64;
/// Commands between two looks at the receive queue.
const COMMANDS_PER_TURN: usize = 64;
/// Errors in a row after which receiving is given up.
const RECEIVE_ERRORS_MAX: u32 = 100;
/// How long a shard that is dropped without [`Shard::stop`] says goodbye.
const DROP_PATIENCE: Duration = Duration::from_millis(200);

/// Wakes the shard's thread.
type Rouse = Box<dyn Fn() + Send + Sync>;
type Call<A> = Box<dyn FnOnce(&mut Host<A>, Instant) + Send>;

enum Command<A: App> {
    Call(Call<A>),
    Stop {
        code: u64,
        reason: String,
        patience: Duration,
    },
}

/// What a shard is made of.
pub struct ShardConfig {
    /// Name of the thread.
    pub name: String,
    /// The socket.
    pub socket: SocketOptions,
    /// The host. Its epoch and wall-clock time must be `clock`'s.
    pub host: Config,
    /// The time.
    pub clock: Clock,
}

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The socket could not be opened.
    #[error("cannot bind udp {address}: {source}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The host's TLS configuration is not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread could not be started.
    #[error("cannot start the shard's thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a command did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The queue is full: the shard is overloaded.
    #[error("{COMMANDS_MAX} commands already wait for the shard")]
    Full,
    /// The shard has stopped.
    #[error("the shard has stopped")]
    Stopped,
}

/// A running shard.
pub struct Shard<A: App> {
    handle: Handle<A>,
    local_addr: SocketAddr,
    thread: Option<JoinHandle<Counters>>,
}

/// Reaches a shard's host from other threads; cheap to clone.
pub struct Handle<A: App> {
    commands: SyncSender<Command<A>>,
    alarm: Arc<Alarm<Rouse>>,
}

impl<A> Shard<A>
where
    A: App + Send + 'static,
    A::Event: Send,
{
    /// Opens the socket and starts the thread. Events go to `on_event` on that thread.
    pub fn spawn(
        config: ShardConfig,
        app: A,
        on_event: impl FnMut(A::Event) + Send + 'static,
    ) -> Result<Self, ShardError> {
        let bind = |source| ShardError::Bind {
            address: config.socket.bind,
            source,
        };
        let io = Portable::open(&config.socket).map_err(bind)?;
        let local_addr = io.local_addr().map_err(bind)?;
        let mut host = config.host;
        host.may_fragment = io.may_fragment();
        let host = Host::new(host, app)?;
        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        let waker = io.waker();
        let rouse: Rouse = Box::new(move || waker.wake());
        let alarm = Arc::new(Alarm::new(rouse));
        let mut running = Running {
            io,
            host,
            clock: config.clock,
            commands: receiver,
            alarm: Arc::clone(&alarm),
            on_event,
            blocked: None,
            buffer: Vec::with_capacity(64 << 10),
            stopping: None,
            send_failed: false,
            receive_errors: 0,
        };
        let thread = std::thread::Builder::new()
            .name(config.name)
            .spawn(move || running.run())
            .map_err(ShardError::Thread)?;
        Ok(Self {
            handle: Handle { commands, alarm },
            local_addr,
            thread: Some(thread),
        })
    }
}

impl<A: App> Shard<A> {
    /// The way to the host.
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// The socket's address, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes every session with this application code, waits up to `patience` for the goodbyes to
    /// be sent, and ends the thread. What happened in the shard's life; `None` if it panicked.
    pub fn stop(mut self, code: u64, reason: &str, patience: Duration) -> Option<Counters> {
        self.send_stop(code, reason, patience);
        self.thread.take()?.join().ok()
    }

    fn send_stop(&self, code: u64, reason: &str, patience: Duration) {
        let stop = Command::Stop {
            code,
            reason: reason.to_owned(),
            patience,
        };
        // Waits for room in the queue; fails only when the shard has ended by itself.
        if self.handle.commands.send(stop).is_ok() {
            self.handle.alarm.ring();
        }
    }
}

impl<A: App> Drop for Shard<A> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.send_stop(0, "", DROP_PATIENCE);
        }
    }
}

impl<A: App> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            alarm: Arc::clone(&self.alarm),
        }
    }
}

impl<A: App> Handle<A> {
    /// Runs `command` on the shard's thread soon, with the host and the time; the application is
    /// driven afterwards. Does not wait, also not for room in the queue.
    pub fn call(
        &self,
        command: impl FnOnce(&mut Host<A>, Instant) + Send + 'static,
    ) -> Result<(), CallError> {
        self.commands
            .try_send(Command::Call(Box::new(command)))
            .map_err(|error| match error {
                TrySendError::Full(_) => CallError::Full,
                TrySendError::Disconnected(_) => CallError::Stopped,
            })?;
        self.alarm.ring();
        Ok(())
    }

    /// Runs `command` on the shard's thread and waits for its result. Not for the shard's own
    /// thread, which would wait for itself.
    pub fn ask<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Host<A>, Instant) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        let (answer, result) = sync_channel(1);
        self.call(move |host, now| {
            // The asker waits, so there is room.
            let _ = answer.send(command(host, now));
        })?;
        result.recv().map_err(|_| CallError::Stopped)
    }
}

/// The loop's own state, on the shard's thread.
struct Running<A: App, I, F> {
    io: I,
    host: Host<A>,
    clock: Clock,
    commands: Receiver<Command<A>>,
    alarm: Arc<Alarm<Rouse>>,
    on_event: F,
    /// A transmit that the kernel had no room for; its bytes are in `buffer`.
    blocked: Option<Transmit>,
    buffer: Vec<u8>,
    /// When a stopping shard ends in any case.
    stopping: Option<Instant>,
    /// A failure to send was logged.
    send_failed: bool,
    /// Receive errors since the last success.
    receive_errors: u32,
}

impl<A: App, I: PacketIo, F: FnMut(A::Event)> Running<A, I, F> {
    fn run(&mut self) -> Counters {
        if let Err(error) = self.serve() {
            tracing::error!(%error, "the shard's socket failed");
        }
        self.host.counters()
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut more = self.run_commands();
            more |= self.receive()?;
            let now = self.clock.now();
            if self.host.next_timeout().is_some_and(|at| at <= now) {
                self.host.handle_timeout(now);
            }
            more |= self.send();
            self.report();
            if let Some(deadline) = self.stopping
                && (now >= deadline || (self.host.is_closed() && !more && self.blocked.is_none()))
            {
                return Ok(());
            }
            let timeout = if more {
                Some(Duration::ZERO)
            } else {
                let at = match (self.host.next_timeout(), self.stopping) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                at.map(|at| self.clock.until(at))
            };
            self.io.park(timeout, self.blocked.is_some())?;
        }
    }

    /// Runs waiting commands; true when some are left.
    fn run_commands(&mut self) -> bool {
        self.alarm.reset();
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(Command::Call(call)) => {
                    let now = self.clock.now();
                    call(&mut self.host, now);
                    self.host.drive(now);
                }
                Ok(Command::Stop {
                    code,
                    reason,
                    patience,
                }) => self.stop(code, &reason, patience),
                Err(TryRecvError::Empty) => return false,
                // Nobody can reach this shard any more.
                Err(TryRecvError::Disconnected) => {
                    self.stop(0, "", DROP_PATIENCE);
                    return false;
                }
            }
        }
        true
    }

    fn stop(&mut self, code: u64, reason: &str, patience: Duration) {
        if self.stopping.is_none() {
            let now = self.clock.now();
            self.stopping = Some(now + patience);
            self.host.stop_accepting();
            self.host.close_all(now, code, reason);
        }
    }

    /// Receives one batch; true when there may be more. Errors say little about the socket (a
    /// peer's closed port, memory pressure) unless they do not end.
    fn receive(&mut self) -> io::Result<bool> {
        let now = self.clock.now();
        let host = &mut self.host;
        let received = self
            .io
            .receive(&mut |datagram| host.handle_datagram(now, datagram));
        match received {
            Ok(received) => {
                self.receive_errors = 0;
                Ok(received > 0)
            }
            Err(error) if self.receive_errors < RECEIVE_ERRORS_MAX => {
                self.receive_errors += 1;
                if self.receive_errors == 1 {
                    tracing::warn!(%error, "cannot receive");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what wants to be sent; true when there is more and room for it.
    fn send(&mut self) -> bool {
        if let Some(transmit) = self.blocked.take()
            && !self.send_one(transmit)
        {
            return false;
        }
        let segments = self.io.segments_max();
        for _ in 0..SENDS_PER_TURN {
            let now = self.clock.now();
            let Some(transmit) = self.host.poll_transmit(now, segments, &mut self.buffer) else {
                return false;
            };
            if !self.send_one(transmit) {
                return false;
            }
        }
        true
    }

    /// Sends the buffer; false when the kernel has no room, and it is kept.
    fn send_one(&mut self, transmit: Transmit) -> bool {
        let bytes = self.buffer.get(..transmit.size).unwrap_or_default();
        match self.io.send(&transmit, bytes) {
            Ok(Sent::Done) => true,
            Ok(Sent::Blocked) => {
                self.blocked = Some(transmit);
                false
            }
            Err(error) => {
                // The packet is lost, as packets may be; QUIC decides what that means. Said once:
                // an unreachable network would fill the log.
                if !self.send_failed {
                    self.send_failed = true;
                    tracing::warn!(%error, destination = %transmit.destination, "cannot send");
                }
                true
            }
        }
    }

    fn report(&mut self) {
        while let Some(event) = self.host.poll_event() {
            (self.on_event)(event);
        }
        while let Some(refusal) = self.host.poll_refusal() {
            tracing::info!(remote = %refusal.remote, reason = refusal.reason, "refused");
        }
    }
}
