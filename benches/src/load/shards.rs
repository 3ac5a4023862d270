//! [`Shards`]: one client for each draft and carrier, with any number of sessions; what they see comes
//! together in one queue.

use crate::Arguments;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::CommandError;
use mainstem_core::moqt::subscriber::{Event, Key, Subscriber};
use mainstem_core::transport::{Closed, SessionId};
use mainstem_net::{CallError, Client, Clock};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Unread bytes that a stalled viewer takes: small, so that stalls are felt soon.
const RECEIVE_WINDOW: u32 = 512 << 10;

/// What a viewer saw.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The session is ready.
    Ready,
    /// The subscription was accepted.
    Accepted(Key),
    /// It was refused.
    Rejected(Key, String),
    /// An object arrived, this long after it was published.
    Object(Key, u64, u64, Duration),
    /// The subscription was ended by the relay.
    Ended(Key, String),
    /// The session is over.
    Closed(String),
}

/// A session by its shard.
pub(crate) type Place = (usize, SessionId);

/// See the module's description.
pub(crate) struct Shards {
    clients: Vec<Client<Subscriber>>,
    names: Vec<String>,
    seen: Receiver<(Place, Seen)>,
}

impl Shards {
    pub(crate) fn start(arguments: &Arguments, url: &str, clock: Clock) -> anyhow::Result<Self> {
        let (sender, seen) = channel();
        let (mut clients, mut names) = (Vec::new(), Vec::new());
        for carrier in &arguments.carriers {
            for draft in &arguments.drafts {
                let shard = clients.len();
                let sender = sender.clone();
                let machine = Subscriber::new(mainstem_benches::session_config());
                let client = Client::open_tuned(
                    Arguments::client(url, carrier, draft)?,
                    clock,
                    machine,
                    |limits| limits.receive_window = RECEIVE_WINDOW,
                    move |event| {
                        if let Some((session, seen)) = translate(event, clock) {
                            // The receiver is gone only when the run is over.
                            let _ = sender.send(((shard, session), seen));
                        }
                    },
                )?;
                clients.push(client);
                names.push(format!("{draft}/{carrier}"));
            }
        }
        Ok(Self {
            clients,
            names,
            seen,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn name(&self, shard: usize) -> &str {
        self.names.get(shard).map_or("", String::as_str)
    }

    pub(crate) fn connect(&self, shard: usize) -> anyhow::Result<SessionId> {
        Ok(self.clients[shard].connect()?)
    }

    pub(crate) fn subscribe(
        &self,
        (shard, session): Place,
        track: FullTrackName,
    ) -> Result<Result<Key, CommandError>, CallError> {
        self.clients[shard].handle().ask(move |host, _| {
            host.app_mut()
                .subscribe(session, track, Parameters::default())
        })
    }

    pub(crate) fn unsubscribe(&self, shard: usize, key: Key) -> Result<(), CallError> {
        self.clients[shard].handle().ask(move |host, _| {
            // A subscription that ended meanwhile needs no goodbye.
            let _ = host.app_mut().unsubscribe(key);
        })
    }

    pub(crate) fn close(&self, (shard, session): Place) -> Result<(), CallError> {
        self.clients[shard]
            .handle()
            .ask(move |host, _| host.app_mut().close(session, "seen enough"))
    }

    pub(crate) fn abandon(&self, (shard, session): Place) -> Result<(), CallError> {
        self.clients[shard]
            .handle()
            .ask(move |host, now| host.abandon(now, session))
    }

    pub(crate) fn pause(&self, (shard, session): Place, is_paused: bool) -> Result<(), CallError> {
        self.clients[shard]
            .handle()
            .ask(move |host, now| host.pause(now, session, is_paused))
    }

    /// The next thing that a viewer saw, until that time.
    pub(crate) fn next_seen(&self, until: Instant) -> Option<(Place, Seen)> {
        let wait = until.saturating_duration_since(Instant::now());
        self.seen.recv_timeout(wait).ok()
    }

    pub(crate) fn stop(self) {
        for client in self.clients {
            client.stop();
        }
    }
}

fn translate(event: Event, clock: Clock) -> Option<(SessionId, Seen)> {
    Some(match event {
        Event::Ready { session } => (session, Seen::Ready),
        Event::Accepted { key, .. } => (key.0, Seen::Accepted(key)),
        Event::Rejected { key, error, .. } => {
            let reason = format!("refused: {:?} {}", error.code, error.reason);
            (key.0, Seen::Rejected(key, reason))
        }
        Event::Object { key, object } => {
            let now = clock.now().as_nanos();
            let head = object.payload.pieces().first();
            let sent = head.and_then(|piece| piece.first_chunk::<8>());
            let sent = sent.map_or(now, |sent| u64::from_be_bytes(*sent));
            let age = Duration::from_nanos(now.saturating_sub(sent));
            let seen = Seen::Object(key, object.group, object.object, age);
            (key.0, seen)
        }
        Event::Ended { key, reason, .. } => (key.0, Seen::Ended(key, reason)),
        Event::Closed { session, closed } => {
            let reason = match closed {
                Closed::Application { by, code, reason } => {
                    format!("closed by {by:?} with {code:#x} {reason}")
                }
                Closed::Transport { reason } => format!("lost: {reason}"),
            };
            (session, Seen::Closed(reason))
        }
        Event::SubgroupEnded { .. }
        | Event::Goaway { .. }
        | Event::FetchAccepted { .. }
        | Event::FillAccepted { .. }
        | Event::FetchObject { .. }
        | Event::FetchGap { .. }
        | Event::FetchEnded { .. } => return None,
    })
}
