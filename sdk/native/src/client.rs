//! [`Client`]: a connection to a relay that is kept, and the tracks that are attached to it.
//!
//! `connect` returns at once. A lost session is begun anew with growing pauses; what is published and
//! subscribed is attached to each session by the machine. See [`crate::driver`] for the thread behind it.
//!
//! Limits: commands that may wait for the shard ([`mainstem_net::COMMANDS_MAX`]); a write waits up to
//! [`WRITE_PATIENCE`] for room, and is an error after that.

use crate::close::{Close, CloseReason, State};
use crate::config::{Config, ConfigError};
use crate::decoding::{Decoder, Frame};
use crate::driver::{Driver, Shared, Slot};
use crate::framing::{Format, Framer, Step, track_properties};
use bytes::Bytes;
use mainstem_core::cmaf;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::name::NameError;
use mainstem_core::moqt::participant::{Participant, SubscriptionId, TooManySubscriptions};
use mainstem_core::moqt::{FullTrackName, Location, TrackName, TrackNamespace};
use mainstem_core::time::Instant;
use mainstem_net::{CallError, ClientError};
use mainstem_quic::Host;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a write may wait for room.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);
/// Pause before a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL, or whom to trust.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A namespace or name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The socket, or its thread.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system has no thread left.
    #[error("cannot start the client's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// The shard does not keep up.
    #[error("the client is overloaded: {} writes wait", mainstem_net::COMMANDS_MAX)]
    Overloaded,
    /// As many subscriptions as may be.
    #[error(transparent)]
    TooManySubscriptions(#[from] TooManySubscriptions),
    /// A track of that name was closed a moment ago.
    #[error("a track of that name is still being ended; try again in a moment")]
    StillEnding,
    /// What was written is not media that can be carried.
    #[error("what was written is no fragmented MP4: {0}")]
    Media(#[from] cmaf::Error),
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the newest group, from its beginning: decodable at once.
    #[default]
    Newest,
    /// With the group after that.
    NextGroup,
    /// With the next object.
    NextObject,
    /// With all that the relay retains.
    Retained,
}

/// What a subscription's handler is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An object of the track.
    Frame(Frame),
    /// The relay does not have the track yet; it is asked again.
    Waiting(String),
    /// The track is over; nothing follows.
    Ended(Close),
}

/// Called from the client's thread.
pub type Handler = Box<dyn FnMut(Arrival) + Send>;
/// Called from the client's thread, with why it ended when it did.
pub type OnState = Box<dyn FnMut(State, Option<&Close>) + Send>;

/// See the module's description. Dropping it closes it.
pub struct Client {
    shared: Arc<Shared>,
}

/// A track that is being published.
pub struct Publication {
    shared: Arc<Shared>,
    track: FullTrackName,
    framer: Mutex<Framer>,
    is_closed: AtomicBool,
}

/// A track that is being watched.
pub struct Subscription {
    shared: Arc<Shared>,
    id: SubscriptionId,
    slot: Arc<Slot>,
}

impl Client {
    /// Begins to connect. An error is one of what was asked for, or of this machine; what the network
    /// and the relay do is told by `on_state`.
    pub fn connect(config: &Config, on_state: OnState) -> Result<Self, Error> {
        let shared = Driver::start(config, on_state)?;
        Ok(Self { shared })
    }

    /// Publishes a track, in this session and those that follow it.
    pub fn publish(
        &self,
        namespace: &str,
        name: &str,
        track: &TrackInfo<'_>,
    ) -> Result<Publication, Error> {
        let track_name = full_name(namespace, name)?;
        let properties = track_properties(track.capability, track.schema, track.priority);
        let (name, space) = (track_name.clone(), track_name.namespace.clone());
        let is_made = self.shared.ask(move |host, now| {
            let app = host.app_mut();
            let is_made = app.create_track(name, properties);
            if is_made {
                app.announce(now, space);
            }
            is_made
        })?;
        if !is_made {
            return Err(Error::StillEnding);
        }
        self.shared.add_track(track_name.clone());
        Ok(Publication {
            shared: Arc::clone(&self.shared),
            track: track_name,
            framer: Mutex::new(Framer::new(track.format, unix_millis())),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Watches a track, in this session and those that follow it. A track of the name
    /// [`BROADCAST_TRACK`](crate::BROADCAST_TRACK) is read as a broadcast, and begins where it can be decoded.
    pub fn subscribe(
        &self,
        namespace: &str,
        name: &str,
        start: Start,
        handler: Handler,
    ) -> Result<Subscription, Error> {
        let track = full_name(namespace, name)?;
        let is_broadcast = name == crate::BROADCAST_TRACK;
        let filter = match start {
            Start::Newest => None,
            Start::NextObject if is_broadcast => None,
            Start::NextGroup => Some(Filter::NextGroup),
            Start::NextObject => Some(Filter::NextObject),
            Start::Retained => Some(Filter::Absolute {
                start: Location::ZERO,
            }),
        };
        let slot = Arc::new(Slot::new(handler, Decoder::new(is_broadcast)));
        let (shared, placed) = (Arc::clone(&self.shared), Arc::clone(&slot));
        // On the shard's thread, so that nothing comes before there is a place for it.
        let id = self.shared.ask(move |host, now| {
            let id = host.app_mut().subscribe(now, track, filter)?;
            shared.slots().insert(id, placed);
            Ok::<_, TooManySubscriptions>(id)
        })??;
        Ok(Subscription {
            shared: Arc::clone(&self.shared),
            id,
            slot,
        })
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Objects that were dropped because callbacks took too long.
    pub fn dropped(&self) -> u64 {
        self.shared.queue.dropped()
    }

    /// Ends all tracks and the session, and waits until all is said and no callback runs any more. From
    /// within a callback it returns at once. A client that is closed stays so.
    pub fn close(&self) {
        self.close_as(CloseReason::ClosedByCaller);
    }

    pub(crate) fn close_as(&self, reason: CloseReason) {
        self.shared.close(Close::by_caller(reason));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client {:?}", self.state())
    }
}

/// What a track says of itself.
#[derive(Clone, Copy, Debug)]
pub struct TrackInfo<'a> {
    /// What it carries.
    pub format: Format,
    /// What it is for; may be empty.
    pub capability: &'a str,
    /// Of what kind its objects are; may be empty.
    pub schema: &'a str,
    /// The priority of frames that have none of their own; lower goes first.
    pub priority: u8,
}

impl TrackInfo<'static> {
    /// Muxed fragmented MP4 with these codecs.
    pub(crate) const BROADCAST: Self = Self {
        format: Format::Broadcast,
        capability: "media.broadcast",
        schema: "",
        priority: 128,
    };
}

impl Publication {
    /// Writes a frame, or bytes of a broadcast.
    pub fn write(&self, timestamp_us: u64, priority: u8, data: Bytes) -> Result<(), Error> {
        self.put(|framer| Ok(framer.frame(timestamp_us, priority, data)?))
    }

    /// Writes a frame of sound.
    pub fn write_audio(&self, timestamp_us: u64, data: Bytes) -> Result<(), Error> {
        self.put(|framer| Ok(framer.audio(timestamp_us, data)))
    }

    /// Writes a picture; those before the first key frame are not sent.
    pub fn write_video(&self, timestamp_us: u64, is_key: bool, data: Bytes) -> Result<(), Error> {
        self.put(|framer| Ok(framer.video(timestamp_us, is_key, data)))
    }

    /// Subscriptions of the relay: one however many viewers watch there, none when nobody does.
    pub fn subscribers(&self) -> usize {
        let track = self.track.clone();
        let count = self
            .shared
            .ask(move |host, _| host.app().subscribers_len(&track));
        count.unwrap_or(0)
    }

    /// Ends the track; viewers are told once they have everything.
    pub fn close(&self) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let steps = self.framer().finish();
        // A client that is closed has ended its tracks.
        let _ = self.send(steps);
        self.shared.tracks().remove(&self.track);
        let track = self.track.clone();
        let _ = self.shared.call(move |host, now| {
            host.app_mut().end_track(now, &track);
        });
    }

    fn put(
        &self,
        frame: impl FnOnce(&mut Framer) -> Result<Vec<Step>, Error>,
    ) -> Result<(), Error> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        // Held until it is sent: writes of several threads keep their order.
        let mut framer = self.framer();
        let steps = frame(&mut framer)?;
        self.send(steps)
    }

    fn framer(&self) -> std::sync::MutexGuard<'_, Framer> {
        self.framer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, steps: Vec<Step>) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        let work = Arc::new((self.track.clone(), steps));
        let begun = std::time::Instant::now();
        loop {
            let work = Arc::clone(&work);
            match self.shared.call(move |host, now| publish(host, now, &work)) {
                Ok(()) => return Ok(()),
                Err(CallError::Full) if begun.elapsed() < WRITE_PATIENCE => {
                    std::thread::sleep(QUEUE_PAUSE);
                }
                Err(CallError::Full) => return Err(Error::Overloaded),
                Err(_) => return Err(Error::Closed),
            }
        }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.close();
    }
}

fn publish(host: &mut Host<Participant>, now: Instant, work: &(FullTrackName, Vec<Step>)) {
    let (track, steps) = work;
    let app = host.app_mut();
    for step in steps {
        match step {
            Step::Object(info, object) => app.publish(now, track, *info, object.clone()),
            Step::End(group) => app.end_subgroup(now, track, *group, 0),
        }
    }
}

impl Subscription {
    /// Gives the track up. The handler is not called any more once this has returned; from within a
    /// callback it returns at once.
    pub fn close(&self) {
        self.slot.close(self.shared.is_driver());
        if self.shared.slots().remove(&self.id).is_some() {
            let id = self.id;
            // A client that is closed has no subscriptions.
            let _ = self
                .shared
                .call(move |host, _| host.app_mut().unsubscribe(id));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close();
    }
}

fn full_name(namespace: &str, name: &str) -> Result<FullTrackName, NameError> {
    let namespace = TrackNamespace::from_path(namespace)?;
    let name = TrackName(Bytes::copy_from_slice(name.as_bytes()));
    FullTrackName::new(namespace, name)
}

pub(crate) fn unix_millis() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
