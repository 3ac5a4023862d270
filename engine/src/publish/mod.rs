//! Publishes a file or a pipe to a relay, paced by its own media time, as an encoder would.
//!
//! | step | waits for |
//! |---|---|
//! | connect | the relay's agreement to the namespace; a refusal ends it |
//! | publish | each sample's time; a lost session is connected again, and nothing waits for it |
//! | finish | the last bytes to be handed over, for a moment |
//!
//! Chunks are written anew from the samples, one sample each, with the time of their publishing in
//! front (`prft`), so that a loop goes on with its time stamps and viewers can measure the delay.

mod merge;
mod source;

use mainstem_core::broadcast::{Broadcaster, Config as BroadcastConfig, Event as BroadcastEvent};
use mainstem_core::cmaf::{
    self, ChunkWriter, Kind, MediaSample, NtpTime, ProducerReference, ReferencePoint, Track,
    init_segment,
};
use mainstem_core::moqt::{Draft, TrackNamespace, publisher};
use mainstem_core::packager::{Chunk, PackagedTrack, Source as Origin};
use mainstem_core::time::MediaTime;
use mainstem_core::transport::{Closed, SessionId};
use mainstem_net::{CallError, Client, ClientConfig, ClientError, Clock, Handle};
use mainstem_quic::{SessionUrl, TlsTrust};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use source::{Item, Source, SourceError};

/// How long the relay may take to agree.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the first new connection; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long the last bytes may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest sleep between two looks at the stop flag.
const NAP: Duration = Duration::from_millis(100);

/// What to publish, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// `moqt://host:port/publish/<input>?sk=<stream key>`, or `https://..`.
    pub url: String,
    /// How to know the relay.
    pub trust: TlsTrust,
    /// The namespace to publish in.
    pub namespace: TrackNamespace,
    /// An MP4 file, or `-` for fragmented MP4 on standard input.
    pub input: PathBuf,
    /// Begin again at the end of a file.
    pub repeat: bool,
    /// Seeds options that mean nothing and that a relay has to ignore; `None` for none.
    pub grease: Option<u64>,
}

/// How publishing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples published.
    pub samples: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Media time published.
    pub media: Duration,
    /// Times that the file began again.
    pub loops: u64,
    /// Sessions after the first.
    pub reconnects: u64,
}

/// Why publishing ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The relay refused. The words begin with `auth_failed` when permission is what lacks.
    #[error("{0}")]
    Refused(String),
    /// The media.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A sample cannot be packed.
    #[error(transparent)]
    Cmaf(#[from] cmaf::Error),
    /// The broadcast.
    #[error(transparent)]
    Broadcast(#[from] mainstem_core::broadcast::Error),
    /// The connection.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client ended.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The relay did not answer.
    #[error("the relay did not answer within {} s", ANNOUNCE_TIMEOUT.as_secs())]
    Timeout,
}

/// Publishes until the end of the input, or until `stop` is set. Blocks: it reads, and sleeps between
/// samples. `on_progress` is called about twice a second.
pub fn run(
    options: &Options,
    stop: &Arc<AtomicBool>,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Progress, Error> {
    let mut source = Source::open(&options.input)?;
    let clock = Clock::start();
    let first_group = clock.unix_time_at_epoch().as_millis();
    let namespace = options.namespace.clone();
    let mut habits = BroadcastConfig::default();
    habits.session.grease = options.grease;
    let machine = Broadcaster::new(clock.now(), habits, namespace, first_group);
    let (sender, events) = channel();
    let config = ClientConfig {
        url: options.url.clone(),
        trust: options.trust.clone(),
        protocols: Draft::ALL
            .iter()
            .map(|draft| draft.protocol().to_owned())
            .collect(),
    };
    let client = Client::open(config, clock, machine, move |event| {
        // The receiver is gone only when publishing ends.
        let _ = sender.send(event);
    })?;
    let session = client.connect()?;
    let mut link = Link {
        session: Some(session),
        moving: None,
        url: client.url().clone(),
        client,
        events,
        retry_at: None,
        pause: RETRY_MIN,
        reconnects: 0,
    };
    link.wait_until_announced()?;
    let mut pace = Pace::new(link.client.handle(), clock);
    let mut shown = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        link.look_after()?;
        let Some(item) = source.next_item()? else {
            if options.repeat && pace.progress.samples > 0 && source.rewind()? {
                pace.begin_again();
                continue;
            }
            break;
        };
        pace.publish(item, stop, &mut link)?;
        if shown.elapsed() > Duration::from_millis(500) {
            shown = Instant::now();
            pace.progress.reconnects = link.reconnects;
            on_progress(&pace.progress);
        }
    }
    pace.progress.reconnects = link.reconnects;
    link.finish(clock)?;
    Ok(pace.progress)
}

/// The connection to the relay.
struct Link {
    client: Client<Broadcaster>,
    /// The session that counts.
    session: Option<SessionId>,
    /// The one that takes its place, while the relay goes away.
    moving: Option<SessionId>,
    url: SessionUrl,
    events: Receiver<BroadcastEvent>,
    retry_at: Option<Instant>,
    pause: Duration,
    reconnects: u64,
}

impl Link {
    fn wait_until_announced(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + ANNOUNCE_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(BroadcastEvent::Session(publisher::Event::Announced { .. })) => return Ok(()),
                Ok(BroadcastEvent::Session(event)) => {
                    return Err(Error::Refused(words_of(&event)));
                }
                Ok(BroadcastEvent::Expired | BroadcastEvent::Drained) => {}
                Err(RecvTimeoutError::Timeout) => return Err(Error::Timeout),
                Err(RecvTimeoutError::Disconnected) => return Err(CallError::Stopped.into()),
            }
        }
    }

    /// Takes the news; a lost session is connected again later, a refusal is final.
    fn look_after(&mut self) -> Result<(), Error> {
        while let Ok(event) = self.events.try_recv() {
            let BroadcastEvent::Session(event) = event else {
                continue;
            };
            match &event {
                publisher::Event::Announced { session } => {
                    self.pause = RETRY_MIN;
                    if self.moving == Some(*session) {
                        self.session = self.moving.take();
                        tracing::info!("the relay that takes over has the broadcast");
                    }
                }
                publisher::Event::Goaway { session, uri } => {
                    if self.session == Some(*session) && self.moving.is_none() {
                        self.move_to(uri);
                    }
                }
                // A relay that does not take over changes nothing while the old one lasts.
                publisher::Event::Refused { session, .. }
                | publisher::Event::Closed { session, .. }
                    if self.moving == Some(*session) && self.session.is_some() =>
                {
                    tracing::warn!(reason = %words_of(&event), "the relay is not taken over");
                    self.moving = None;
                }
                publisher::Event::Refused { .. } => return Err(Error::Refused(words_of(&event))),
                publisher::Event::Closed { session, .. }
                    if self.session == Some(*session) && self.moving.is_some() =>
                {
                    self.session = None;
                }
                publisher::Event::Closed { session, .. }
                    if self.session != Some(*session) && self.moving != Some(*session) => {}
                publisher::Event::Closed { .. } => {
                    self.session = None;
                    self.moving = None;
                    let words = words_of(&event);
                    if words.starts_with("auth_failed") {
                        return Err(Error::Refused(words));
                    }
                    tracing::warn!(reason = %words, "the relay is lost, connecting again");
                    self.retry_at = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(RETRY_MAX);
                }
            }
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.reconnects += 1;
            match self.client.connect_to(&self.url) {
                Ok(session) => self.session = Some(session),
                Err(error) => {
                    tracing::warn!(%error, "cannot connect");
                    self.retry_at = Some(Instant::now() + self.pause);
                }
            }
        }
        Ok(())
    }

    /// Begins a session where the relay says, beside the one that lasts.
    fn move_to(&mut self, uri: &str) {
        let begun = self
            .url
            .moved_to(uri)
            .map_err(ClientError::from)
            .and_then(|url| Ok((self.client.connect_to(&url)?, url)));
        match begun {
            Ok((session, url)) => {
                self.moving = Some(session);
                self.url = url;
            }
            Err(error) => tracing::warn!(%error, "cannot follow the relay"),
        }
    }

    fn finish(self, clock: Clock) -> Result<(), Error> {
        self.client.handle().call(move |host, now| {
            host.app_mut().finish(now, clock.unix_time(now));
        })?;
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(BroadcastEvent::Drained) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.client.stop();
        Ok(())
    }
}

fn words_of(event: &publisher::Event) -> String {
    match event {
        publisher::Event::Announced { .. } => "announced".to_owned(),
        publisher::Event::Goaway { .. } => "the relay is going away".to_owned(),
        publisher::Event::Refused { error, .. } => error.reason.clone(),
        publisher::Event::Closed { closed, .. } => match closed {
            Closed::Application { reason, .. } | Closed::Transport { reason } => reason.clone(),
        },
    }
}

/// Turns samples into chunks when their time has come.
struct Pace {
    handle: Handle<Broadcaster>,
    clock: Clock,
    writers: BTreeMap<u32, (ChunkWriter, Track)>,
    tracks: Vec<Track>,
    /// When media time zero is due, once the first sample has come.
    origin: Option<(Instant, i64)>,
    /// Added to the time stamps of this turn of a loop, in microseconds.
    shift_us: i64,
    end_us: i64,
    progress: Progress,
}

impl Pace {
    fn new(handle: Handle<Broadcaster>, clock: Clock) -> Self {
        Self {
            handle,
            clock,
            writers: BTreeMap::new(),
            tracks: Vec::new(),
            origin: None,
            shift_us: 0,
            end_us: 0,
            progress: Progress::default(),
        }
    }

    fn begin_again(&mut self) {
        self.shift_us = self.end_us;
        self.progress.loops += 1;
    }

    fn publish(&mut self, item: Item, stop: &AtomicBool, link: &mut Link) -> Result<(), Error> {
        match item {
            Item::Tracks(tracks) => self.set_tracks(tracks),
            Item::Sample {
                track_id,
                decode_time,
                sample,
            } => {
                self.wait_for(decode_time, stop, link)?;
                self.send(track_id, decode_time, sample)
            }
        }
    }

    fn set_tracks(&mut self, tracks: Vec<Track>) -> Result<(), Error> {
        // The same tracks again, by a file that begins again, are no change.
        if tracks == self.tracks {
            return Ok(());
        }
        let mut packaged = Vec::new();
        self.writers.clear();
        for track in &tracks {
            let init = init_segment(std::slice::from_ref(track))?;
            self.writers
                .insert(track.id, (ChunkWriter::new(track.id), track.clone()));
            packaged.push(PackagedTrack {
                name: name_of(track),
                source: Origin {
                    kind: track.kind(),
                    number: u8::try_from(track.id).unwrap_or(0),
                },
                track: track.clone(),
                init,
                bitrate: None,
            });
        }
        self.tracks = tracks;
        let clock = self.clock;
        self.handle.ask(move |host, now| {
            host.app_mut()
                .set_tracks(now, clock.unix_time(now), &packaged)
        })??;
        Ok(())
    }

    /// Sleeps until a decode time is due.
    fn wait_for(
        &mut self,
        decode_time: MediaTime,
        stop: &AtomicBool,
        link: &mut Link,
    ) -> Result<(), Error> {
        let media_us = decode_time.as_micros().saturating_add(self.shift_us);
        let (start, first) = *self.origin.get_or_insert((Instant::now(), media_us));
        let ahead = u64::try_from(media_us.saturating_sub(first)).unwrap_or(0);
        let due = start + Duration::from_micros(ahead);
        while !stop.load(Ordering::Relaxed) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
            link.look_after()?;
        }
        self.progress.media = Duration::from_micros(ahead);
        Ok(())
    }

    fn send(
        &mut self,
        track_id: u32,
        decode_time: MediaTime,
        sample: MediaSample,
    ) -> Result<(), Error> {
        let Some((writer, track)) = self.writers.get_mut(&track_id) else {
            return Ok(());
        };
        let timescale = track.timescale;
        let shift = MediaTime::new(self.shift_us, MICROS)
            .rescale(timescale)
            .ticks();
        let ticks = decode_time.ticks().saturating_add(shift);
        let base = u64::try_from(ticks).unwrap_or(0);
        let duration = u64::from(sample.duration);
        let ends = MediaTime::new(ticks.saturating_add(i64::from(sample.duration)), timescale);
        self.end_us = self.end_us.max(ends.as_micros());
        self.progress.samples += 1;
        self.progress.bytes += sample.data.len() as u64;
        let reference = ProducerReference {
            track_id,
            time: NtpTime::from_unix_micros(unix_now_us()),
            media_time: base,
            point: ReferencePoint::Packaged,
        };
        let kind = track.kind();
        let presented = ticks.saturating_add(sample.composition_offset.into());
        let chunk = Chunk {
            track_id,
            kind,
            is_independent: kind == Kind::Audio || sample.flags.is_sync(),
            decode_time: MediaTime::new(ticks, timescale),
            presentation_time: MediaTime::new(presented, timescale),
            duration,
            samples: 1,
            payload: writer.chunk(base, std::slice::from_ref(&sample), Some(reference))?,
        };
        self.handle
            .ask(move |host, now| host.app_mut().publish(now, &chunk))??;
        Ok(())
    }
}

const MICROS: std::num::NonZeroU32 = std::num::NonZeroU32::new(1_000_000).unwrap();

fn name_of(track: &Track) -> String {
    match &track.video {
        Some(video) if video.height > 0 => format!("video/{}p", video.height),
        _ => match track.kind() {
            Kind::Video => "video".to_owned(),
            Kind::Audio => "audio".to_owned(),
            Kind::Other => format!("track-{}", track.id),
        },
    }
}

fn unix_now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
