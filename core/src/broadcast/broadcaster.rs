//! [`Broadcaster`]: see the parent module.

use super::groups::{Groups, is_after};
use super::rendition::{GroupFull, Rendition};
use crate::catalog::{self, Catalog};
use crate::cmaf::{self, Kind, init_segment};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::moqt::publisher::{self, Publisher};
use crate::moqt::session;
use crate::moqt::track;
use crate::packager::{Chunk, PackagedTrack};
use crate::payload::Payload;
use crate::time::{Instant, MediaTime, UnixTime};
use crate::transport::{Action, App, Input};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// The track that carries everything, for clients that take one stream.
pub const MUXED_TRACK: &str = "broadcast";

const CATALOG_PRIORITY: u8 = 16;
const AUDIO_PRIORITY: u8 = 64;
const VIDEO_PRIORITY: u8 = 128;
const MUXED_PRIORITY: u8 = 192;

/// Habits and bounds of a broadcaster.
#[derive(Clone, Debug)]
pub struct Config {
    /// What each session is told and allowed.
    pub session: session::Config,
    /// Bounds of each track. A group that passes those of its cache is an [`Error`].
    pub track: track::Limits,
    /// How long a broadcast outlives its encoder.
    pub linger: Duration,
    /// Length of a group of audio when no key frame ends it: without video.
    pub audio_group: Duration,
    /// The same, with video. Longer than any reasonable distance of key frames: a group of audio
    /// alone leaves a hole in the numbers of the video's groups, which viewers wait for.
    pub audio_group_beside_video: Duration,
    /// Names that a broadcast may use up in its life; changed init segments take new ones.
    pub names_max: usize,
}

impl Default for Config {
    /// Eight groups of each track are kept, within 16 MiB: an encoder that was held up sends what it
    /// has in one go, and none of that is to be lost on the way. A relay that stays further behind
    /// loses the oldest.
    fn default() -> Self {
        let mut track = track::Limits::default();
        track.cache.groups_max = 8;
        track.cache.bytes_max = 16 << 20;
        track.groups_behind_max = 6;
        Self {
            session: session::Config {
                sessions_max: 4,
                implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
                ..session::Config::default()
            },
            track,
            linger: Duration::from_secs(10),
            audio_group: Duration::from_secs(1),
            audio_group_beside_video: Duration::from_mins(1),
            names_max: 64,
        }
    }
}

/// News for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What became of a session.
    Session(publisher::Event),
    /// The encoder stayed away for [`Config::linger`]: the broadcast is finished.
    Expired,
    /// A finished broadcast has handed everything to its sessions: they may be closed.
    Drained,
}

/// Why something was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A chunk of a track that was not told.
    #[error("chunk of track {track_id}, which is not one of the broadcast's")]
    UnknownTrack {
        /// Its id.
        track_id: u32,
    },
    /// No key frame came for so long that the group does not fit its bounds.
    #[error(
        "{track} has no key frame for too long: a group holds at most {objects_max} frames and {bytes_max} bytes"
    )]
    GroupTooLarge {
        /// Name of the track.
        track: String,
        /// Objects that a group may have.
        objects_max: usize,
        /// Bytes that a group may have.
        bytes_max: usize,
    },
    /// The tracks changed more often than names are there.
    #[error("the tracks changed too often: a broadcast has at most {max} track names")]
    TooManyNames {
        /// [`Config::names_max`].
        max: usize,
    },
    /// The tracks do not make an init segment together.
    #[error(transparent)]
    Init(#[from] cmaf::Error),
    /// The broadcast is over.
    #[error("the broadcast is finished")]
    Finished,
}

/// The broadcaster machine. See the parent module.
#[derive(Debug)]
pub struct Broadcaster {
    config: Config,
    publisher: Publisher,
    namespace: TrackNamespace,
    groups: Groups,
    catalog: Option<Catalog>,
    catalog_group: u64,
    msf: Option<Rendition>,
    seed: Option<Rendition>,
    /// What `catalog` says, and when it says it again.
    again: Option<(Instant, Payload)>,
    /// By track id.
    media: BTreeMap<u32, Media>,
    muxed: Option<Muxed>,
    /// Every name that was used, with the init segment that it stands for.
    names: BTreeMap<String, Bytes>,
    /// Ended tracks that still have subscriptions.
    ended: BTreeSet<FullTrackName>,
    lost_until: Option<Instant>,
    is_finished: bool,
    drained_told: bool,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Media {
    kind: Kind,
    rendition: Rendition,
    init: Bytes,
}

#[derive(Debug)]
struct Muxed {
    rendition: Rendition,
    /// Of all tracks: for the next group.
    init: Bytes,
    /// What the open group's init segment has: track ids and their own init segments.
    members: BTreeMap<u32, Bytes>,
}

impl Broadcaster {
    /// A broadcast in `namespace`, whose first group gets the id `first_group`: the time in
    /// milliseconds since the Unix epoch.
    pub fn new(now: Instant, config: Config, namespace: TrackNamespace, first_group: u64) -> Self {
        let mut publisher = Publisher::new(config.session.clone(), config.track);
        let mut create =
            |name, priority| Rendition::create(&mut publisher, &namespace, name, priority);
        let msf = create(catalog::MSF_TRACK, CATALOG_PRIORITY);
        let seed = create(catalog::SEED_TRACK, CATALOG_PRIORITY);
        let muxed = create(MUXED_TRACK, MUXED_PRIORITY).map(|rendition| Muxed {
            rendition,
            init: Bytes::new(),
            members: BTreeMap::new(),
        });
        publisher.announce(now, namespace.clone());
        Self {
            config,
            publisher,
            namespace,
            groups: Groups::new(first_group),
            catalog: None,
            catalog_group: first_group,
            msf,
            seed,
            again: None,
            media: BTreeMap::new(),
            muxed,
            names: BTreeMap::new(),
            ended: BTreeSet::new(),
            lost_until: None,
            is_finished: false,
            drained_told: false,
            events: VecDeque::new(),
        }
    }

    /// Replaces the set of tracks and publishes the catalog that says so, unless it says nothing
    /// new. `time` is the wall clock. A broadcast whose encoder was lost goes on.
    pub fn set_tracks(
        &mut self,
        now: Instant,
        time: UnixTime,
        tracks: &[PackagedTrack],
    ) -> Result<(), Error> {
        if self.is_finished {
            return Err(Error::Finished);
        }
        self.lost_until = None;
        let all: Vec<cmaf::Track> = tracks.iter().map(|track| track.track.clone()).collect();
        let init = init_segment(&all)?.raw;
        let names = self.name_all(tracks)?;
        let mut before = std::mem::take(&mut self.media);
        let mut catalog = Catalog {
            live: true,
            ..Catalog::default()
        };
        for (track, name) in tracks.iter().zip(&names) {
            let known = before
                .iter()
                .find(|(_, media)| media.rendition.name().name.0 == name.as_bytes())
                .map(|(id, _)| *id);
            match known.and_then(|id| before.remove(&id)) {
                Some(media) => {
                    self.media.insert(track.track.id, media);
                }
                None => self.create(track, name),
            }
            catalog.tracks.push(described(track, name, tracks));
        }
        for mut vanished in before.into_values() {
            vanished.rendition.end(now, &mut self.publisher);
            self.ended.insert(vanished.rendition.name().clone());
        }
        self.forget_ended();
        if let Some(muxed) = &mut self.muxed {
            // For the next group: the open one goes on with the tracks that it has.
            muxed.init = init;
        }
        self.publish_catalog(now, time, catalog);
        Ok(())
    }

    /// Publishes a chunk of one of the tracks.
    pub fn publish(&mut self, now: Instant, chunk: &Chunk) -> Result<(), Error> {
        if self.is_finished {
            return Err(Error::Finished);
        }
        self.lost_until = None;
        let track_id = chunk.track_id;
        if !self.media.contains_key(&track_id) {
            return Err(Error::UnknownTrack { track_id });
        }
        if self.is_leading(chunk) && chunk.is_independent {
            self.begin_everywhere(now, chunk);
        } else {
            self.follow_groups(now, chunk);
        }
        self.publish_muxed(now, chunk);
        self.repeat_catalog(now);
        let limits = self.config.track.cache;
        let Some(media) = self.media.get_mut(&track_id) else {
            return Ok(());
        };
        let payload = chunk.payload.clone();
        media
            .rendition
            .publish(now, &mut self.publisher, &limits, payload)
            .map_err(|GroupFull| Error::GroupTooLarge {
                track: String::from_utf8_lossy(&media.rendition.name().name.0).into_owned(),
                objects_max: limits.group_objects_max,
                bytes_max: limits.group_bytes_max,
            })
    }

    /// The encoder is done: the catalog says so and all tracks end. [`Event::Drained`] follows.
    pub fn finish(&mut self, now: Instant, time: UnixTime) {
        if self.is_finished {
            return;
        }
        self.is_finished = true;
        self.lost_until = None;
        if let Some(mut catalog) = self.catalog.clone() {
            catalog.live = false;
            catalog.complete = true;
            self.publish_catalog(now, time, catalog);
        }
        let catalogs = [&mut self.msf, &mut self.seed].into_iter().flatten();
        let media = self.media.values_mut().map(|media| &mut media.rendition);
        let muxed = self.muxed.iter_mut().map(|muxed| &mut muxed.rendition);
        for rendition in media.chain(muxed).chain(catalogs) {
            rendition.end(now, &mut self.publisher);
        }
    }

    /// The encoder vanished: open groups end where they are. Tracks and viewers stay for
    /// [`Config::linger`]; an encoder that comes back goes on with larger groups.
    pub fn lose(&mut self, now: Instant) {
        if self.is_finished {
            return;
        }
        for media in self.media.values_mut() {
            media.rendition.end_group(now, &mut self.publisher);
        }
        if let Some(muxed) = &mut self.muxed {
            muxed.rendition.end_group(now, &mut self.publisher);
        }
        self.groups.forget();
        self.lost_until = Some(now + self.config.linger);
    }

    /// Ends every session.
    pub fn close(&mut self, reason: &str) {
        self.publisher.close_all(reason);
    }

    /// The namespace of the broadcast.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// Whether [`Self::finish`] was called, or the linger is over.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The catalog that was published last.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    /// Subscriptions of relays, over all tracks and sessions.
    pub fn subscriptions(&self) -> usize {
        let catalogs = [&self.msf, &self.seed].into_iter().flatten();
        let media = self.media.values().map(|media| &media.rendition);
        let muxed = self.muxed.iter().map(|muxed| &muxed.rendition);
        let all = catalogs.chain(media).chain(muxed);
        all.map(|rendition| self.publisher.subscribers_len(rendition.name()))
            .sum()
    }

    /// The names under which the tracks are published: their own, unless another init segment has
    /// been published under it.
    fn name_all(&mut self, tracks: &[PackagedTrack]) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for track in tracks {
            let mut name = track.name.clone();
            let mut number = 2;
            while self
                .names
                .get(&name)
                .is_some_and(|init| *init != track.init.raw)
                || names.contains(&name)
            {
                name = format!("{}-{number}", track.name);
                number += 1;
            }
            let max = self.config.names_max;
            if !self.names.contains_key(&name) && self.names.len() >= max {
                return Err(Error::TooManyNames { max });
            }
            self.names.insert(name.clone(), track.init.raw.clone());
            names.push(name);
        }
        Ok(names)
    }

    /// Lets go of ended tracks that nobody subscribes to any more.
    fn forget_ended(&mut self) {
        let publisher = &mut self.publisher;
        self.ended.retain(|name| !publisher.remove_track(name));
    }

    fn create(&mut self, track: &PackagedTrack, name: &str) {
        let kind = track.track.kind();
        let priority = match kind {
            Kind::Audio => AUDIO_PRIORITY,
            Kind::Video | Kind::Other => VIDEO_PRIORITY,
        };
        if let Some(rendition) =
            Rendition::create(&mut self.publisher, &self.namespace, name, priority)
        {
            self.ended.remove(rendition.name());
            let init = track.init.raw.clone();
            let media = Media {
                kind,
                rendition,
                init,
            };
            self.media.insert(track.track.id, media);
        }
    }

    fn publish_catalog(&mut self, now: Instant, time: UnixTime, mut catalog: Catalog) {
        let said = self.catalog.as_ref();
        if said.is_some_and(|said| said.tracks == catalog.tracks && said.live == catalog.live) {
            return;
        }
        catalog.generated_at = catalog.live.then_some(time);
        self.catalog_group = self.catalog_group.saturating_add(1).max(time.as_millis());
        let msf = Payload::from(Bytes::from(catalog.to_msf_json()));
        let seed = Payload::from(Bytes::from(catalog.to_seed_json()));
        self.again = catalog
            .live
            .then(|| (now + catalog::MSF_INTERVAL, msf.clone()));
        for (rendition, payload) in [(&mut self.msf, msf), (&mut self.seed, seed)] {
            if let Some(rendition) = rendition {
                rendition.publish_whole(now, &mut self.publisher, self.catalog_group, payload);
            }
        }
        self.catalog = Some(catalog);
    }

    /// Says on `catalog` again what it said last, while media comes.
    fn repeat_catalog(&mut self, now: Instant) {
        let Some((due, payload)) = self.again.as_mut().filter(|(due, _)| *due <= now) else {
            return;
        };
        *due = now + catalog::MSF_INTERVAL;
        self.catalog_group = self.catalog_group.saturating_add(1);
        if let Some(msf) = &mut self.msf {
            let (group, payload) = (self.catalog_group, payload.clone());
            msf.publish_whole(now, &mut self.publisher, group, payload);
        }
    }

    /// Whether the chunk is of the track whose key frames begin groups.
    fn is_leading(&self, chunk: &Chunk) -> bool {
        let mut video = self
            .media
            .iter()
            .filter(|(_, media)| media.kind == Kind::Video);
        video.next().is_some_and(|(id, _)| *id == chunk.track_id)
    }

    fn has_video(&self) -> bool {
        self.media
            .values()
            .any(|media| media.kind == Kind::Video && media.rendition.open().is_some())
    }

    /// A key frame of the leading track begins a group.
    fn begin_everywhere(&mut self, now: Instant, chunk: &Chunk) {
        let begins = chunk.presentation_time;
        let group = self.groups.begin(begins);
        self.begin(now, chunk.track_id, group, begins);
        self.begin_muxed(now, group, begins);
    }

    /// Chunks of the other tracks go where their time belongs.
    fn follow_groups(&mut self, now: Instant, chunk: &Chunk) {
        let Some(media) = self.media.get(&chunk.track_id) else {
            return;
        };
        let open = media.rendition.open();
        let begins = chunk.presentation_time;
        if media.kind == Kind::Video {
            // Another rendition of the picture changes groups at its own key frames; one that comes
            // in between stays inside.
            let beside = self.groups.at(chunk);
            let group = match (beside, open) {
                _ if !chunk.is_independent => return,
                (Some(beside), None) => beside,
                (Some(beside), Some(open)) if open.group < beside => beside,
                (_, Some(_)) => return,
                (None, None) => self.groups.begin(begins),
            };
            self.begin(now, chunk.track_id, group, begins);
            return;
        }
        let longest = if self.has_video() {
            self.config.audio_group_beside_video
        } else {
            self.config.audio_group
        };
        let longest = i64::try_from(longest.as_micros()).unwrap_or(i64::MAX);
        let beside = self.groups.at(chunk);
        let group = match (beside, open) {
            (Some(beside), None) => beside,
            (Some(beside), Some(open)) if open.group < beside => beside,
            (_, Some(open)) if !is_after(begins, open.begins, longest) => return,
            _ => self.groups.begin(begins),
        };
        self.begin(now, chunk.track_id, group, begins);
        if !self.media.values().any(|media| media.kind == Kind::Video) {
            self.begin_muxed_once(now, group, begins);
        }
    }

    fn begin(&mut self, now: Instant, track_id: u32, group: u64, begins: MediaTime) {
        if let Some(media) = self.media.get_mut(&track_id) {
            media
                .rendition
                .begin_group(now, &mut self.publisher, group, begins);
        }
    }

    /// Begins a group of the muxed track, unless another audio track has.
    fn begin_muxed_once(&mut self, now: Instant, group: u64, begins: MediaTime) {
        let open = self.muxed.as_ref().and_then(|muxed| muxed.rendition.open());
        if open.is_none_or(|open| open.group < group) {
            self.begin_muxed(now, group, begins);
        }
    }

    fn begin_muxed(&mut self, now: Instant, group: u64, begins: MediaTime) {
        let Some(muxed) = &mut self.muxed else { return };
        let limits = self.config.track.cache;
        let members = self.media.iter();
        muxed.members = members
            .map(|(id, media)| (*id, media.init.clone()))
            .collect();
        muxed
            .rendition
            .begin_group(now, &mut self.publisher, group, begins);
        let init = Payload::from(muxed.init.clone());
        // An init segment always fits an empty group.
        let _ = muxed
            .rendition
            .publish(now, &mut self.publisher, &limits, init);
    }

    /// Adds the chunk to the muxed track, if its init segment has the chunk's track as it is now.
    fn publish_muxed(&mut self, now: Instant, chunk: &Chunk) {
        let Some(muxed) = &mut self.muxed else { return };
        let is_current = self
            .media
            .get(&chunk.track_id)
            .is_some_and(|media| muxed.members.get(&chunk.track_id) == Some(&media.init));
        let limits = self.config.track.cache;
        if is_current
            && muxed
                .rendition
                .publish(now, &mut self.publisher, &limits, chunk.payload.clone())
                .is_err()
        {
            // It is the sum of the others; the next key frame begins it again.
            muxed.rendition.end_group(now, &mut self.publisher);
        }
    }

    fn tell_drained(&mut self) {
        if self.is_finished && !self.drained_told && self.publisher.is_drained() {
            self.drained_told = true;
            self.events.push_back(Event::Drained);
        }
    }
}

/// The catalog's entry for a track.
fn described(track: &PackagedTrack, name: &str, all: &[PackagedTrack]) -> catalog::Track {
    let mut entry = catalog::Track::from_init(name, &track.init);
    entry.bitrate = track.bitrate;
    let same_kind = |other: &&PackagedTrack| other.track.kind() == track.track.kind();
    if all.iter().filter(same_kind).count() > 1 {
        entry.alt_group = Some(if track.track.kind() == Kind::Video {
            1
        } else {
            2
        });
    }
    entry
}

impl App for Broadcaster {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.publisher.handle(now, input);
        self.tell_drained();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.publisher.handle_timeout(now);
        if self.lost_until.is_some_and(|until| until <= now) {
            self.events.push_back(Event::Expired);
            // A finished catalog carries no time, and its group follows the one before.
            self.finish(now, UnixTime::default());
        }
        self.tell_drained();
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        match self.publisher.poll() {
            Some(Action::Transport(output)) => Some(Action::Transport(output)),
            Some(Action::Event(event)) => Some(Action::Event(Event::Session(event))),
            None => {
                self.tell_drained();
                self.events.pop_front().map(Action::Event)
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.publisher
            .next_timeout()
            .into_iter()
            .chain(self.lost_until)
            .min()
    }
}
