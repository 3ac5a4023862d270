//! One upload of muxed fragmented MP4 in, the tracks of a stream out.
//!
//! | state | means | leaves by |
//! |---|---|---|
//! | start | no init segment is whole | `ftyp` and `moov` are read |
//! | seeking | objects were lost, or the init segment is new | a fragment at which decoding can begin |
//! | flowing | each fragment goes out as it is whole | loss, or the end |
//! | failed | the upload is not what it should be: [`Output::Malformed`] | never |
//!
//! In: objects of the upload, in any of the ways that SDKs cut them (a box, a segment or several per
//! object; one group for all, or a group per write). Out, as [`Output`]s:
//!
//! - `broadcast`: a group at each fragment that begins with a key frame; object 0 is the whole init
//!   segment, then an object per fragment. Without video, a group per [`AUDIO_GROUP`] of sound.
//! - a track per video and audio track of the init segment ([`super::layout`]): one chunk per object,
//!   a video group at each key frame; groups of sound begin where those of `broadcast` do.
//! - `catalog` and `.catalog`: a group per change; `catalog` says it again every [`MSF_INTERVAL`] while media comes.
//!
//! Group numbers begin above what the owner says and grow by one in each track. Media bytes are never copied.
//! Limits: [`Limits`]. Source: seed document 003 (wire model, lanes); CONTRACTS 0.3, A1.

use super::layout::{self, Rendition};
use super::order::{self, Arrival, Order, Step};
use super::shape;
use crate::catalog::{MSF_INTERVAL, MSF_TRACK, SEED_TRACK};
use crate::cmaf::{self, ChunkSize, Event, Fragment, Init, Kind, Reader, Splitter, TrackChunk};
use crate::moqt::name::TrackName;
use crate::moqt::object::{Object, ObjectStatus};
use crate::moqt::track::cache::{End, SubgroupInfo};
use crate::payload::Payload;
use crate::time::{Instant, UnixTime};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How much sound makes a group where there is no video.
pub(super) const AUDIO_GROUP: Duration = Duration::from_secs(1);
/// Longest chunk that is left whole when a fragment is parted by track.
const CHUNK_MAX: Duration = Duration::from_secs(10);

/// Publisher priorities, those of our own publishers: lower goes first. The catalog is what all else
/// waits for, sound is missed more than pictures, and who watches `broadcast` watches nothing else.
const CATALOG_PRIORITY: u8 = 16;
const AUDIO_PRIORITY: u8 = 64;
const VIDEO_PRIORITY: u8 = 128;
const BROADCAST_PRIORITY: u8 = 192;

/// Bounds of one upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of the media.
    pub cmaf: cmaf::Limits,
    /// Of what came out of order.
    pub order: order::Limits,
}

/// What the owner has to do.
#[derive(Debug)]
pub(super) enum Output {
    /// These are the renditions now; others than before.
    Renditions(Vec<TrackName>),
    /// Publish an object of subgroup 0.
    Object {
        track: TrackName,
        info: SubgroupInfo,
        object: Object,
    },
    /// The open group of a track is over.
    End {
        track: TrackName,
        group: u64,
        end: End,
    },
    /// The upload cannot be read on, and why; nothing follows.
    Malformed(Fault),
}

/// Why an upload cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It is not media that we can carry.
    #[error(transparent)]
    Media(#[from] cmaf::Error),
    /// Objects are missing from a file whose offsets count from its beginning.
    #[error("objects are missing, and the offsets of the media count from the beginning of a file")]
    Unplaced,
}

/// A track that is being written.
#[derive(Debug)]
struct Lane {
    track: TrackName,
    priority: u8,
    /// The newest group, and its next object while it is open.
    group: u64,
    next: Option<u64>,
    /// Which group of `broadcast` it belongs to.
    of: u64,
}

impl Lane {
    /// A track whose groups are above `group`.
    fn new(track: TrackName, priority: u8, group: u64) -> Self {
        Self {
            track,
            priority,
            group,
            next: None,
            of: 0,
        }
    }

    fn begin(&mut self, of: u64, out: &mut VecDeque<Output>) {
        self.end(End::Finished, out);
        self.group = self.group.saturating_add(1);
        self.next = Some(0);
        self.of = of;
    }

    fn put(&mut self, payload: Payload, out: &mut VecDeque<Output>) {
        let Some(object) = self.next else {
            return;
        };
        self.next = Some(object.saturating_add(1));
        out.push_back(Output::Object {
            track: self.track.clone(),
            info: SubgroupInfo {
                priority: Some(self.priority),
                has_properties: false,
                end_of_group: true,
                first_object: true,
            },
            object: Object {
                group: self.group,
                object,
                subgroup: Some(0),
                priority: Some(self.priority),
                status: ObjectStatus::Normal,
                payload,
                ..Object::default()
            },
        });
    }

    /// A group of one object.
    fn whole(&mut self, payload: Payload, out: &mut VecDeque<Output>) {
        self.begin(0, out);
        self.put(payload, out);
        self.end(End::Finished, out);
    }

    fn end(&mut self, end: End, out: &mut VecDeque<Output>) {
        if self.next.take().is_some() {
            let (track, group) = (self.track.clone(), self.group);
            out.push_back(Output::End { track, group, end });
        }
    }
}

/// What an init segment makes of the stream.
#[derive(Debug)]
struct Layout {
    init: Arc<Init>,
    splitter: Splitter,
    renditions: Vec<Rendition>,
    lanes: Vec<Lane>,
}

/// The machine. See the module's description.
#[derive(Debug)]
pub(super) struct Normaliser {
    limits: Limits,
    order: Order,
    reader: Reader,
    /// Pieces of the object at hand that the reader has not been given.
    unread: VecDeque<Bytes>,
    /// What was lost left the reader in the middle of a box: objects are dropped until one begins.
    is_lost: bool,
    /// Fragments are dropped until one can begin a group.
    is_seeking: bool,
    /// Offsets in the media count from the beginning of the upload.
    is_placed: bool,
    layout: Option<Layout>,
    broadcast: Lane,
    catalogs: [Lane; 2],
    /// When the newest object came.
    now: Option<Instant>,
    /// What `catalog` says, and when it says it again.
    again: Option<(Instant, Payload)>,
    /// Counts the groups of `broadcast`.
    count: u64,
    /// Where the group at hand begins, in ticks: for a stream of sound alone.
    group_time: u64,
    is_ending: bool,
    has_failed: bool,
    out: VecDeque<Output>,
}

impl Normaliser {
    /// An upload whose groups are numbered above `above`.
    pub(super) fn new(limits: Limits, above: u64) -> Self {
        let name = |name: &str| TrackName(Bytes::copy_from_slice(name.as_bytes()));
        let catalogs = [MSF_TRACK, SEED_TRACK];
        Self {
            limits,
            order: Order::new(limits.order),
            reader: Reader::new(limits.cmaf),
            unread: VecDeque::new(),
            is_lost: false,
            is_seeking: true,
            is_placed: false,
            layout: None,
            broadcast: Lane::new(name(layout::BROADCAST_TRACK), BROADCAST_PRIORITY, above),
            catalogs: catalogs.map(|track| Lane::new(name(track), CATALOG_PRIORITY, above)),
            now: None,
            again: None,
            count: 0,
            group_time: 0,
            is_ending: false,
            has_failed: false,
            out: VecDeque::new(),
        }
    }

    /// An object of the upload arrived.
    pub(super) fn take_object(&mut self, now: Instant, object: Object) {
        let is_media = object.status == ObjectStatus::Normal;
        let arrival = Arrival {
            group: object.group,
            object: object.object,
            subgroup: object.subgroup,
            ends_group: !is_media,
            payload: is_media.then_some(object.payload),
        };
        self.now = Some(now);
        self.order.push(now, arrival);
    }

    /// The stream of a subgroup is over.
    pub(super) fn take_end(&mut self, now: Instant, group: u64, subgroup: u64, is_whole: bool) {
        self.order.end(now, group, subgroup, is_whole);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.order.handle_timeout(now);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.order.next_timeout().filter(|_| !self.has_failed)
    }

    /// The publisher ended the track: what waits goes out, and the catalog says that it is over.
    pub(super) fn finish(&mut self) {
        self.order.finish();
        self.is_ending = true;
    }

    /// What to do next; to be called until `None` after each of the calls above, so that nothing
    /// piles up here. `unix` is for the catalog.
    pub(super) fn poll(&mut self, unix: Option<UnixTime>) -> Option<Output> {
        loop {
            if let Some(output) = self.out.pop_front() {
                return Some(output);
            }
            if self.has_failed {
                return None;
            }
            match self.advance(unix) {
                Ok(true) => {}
                Ok(false) if self.is_ending => {
                    self.is_ending = false;
                    self.conclude(unix);
                }
                Ok(false) => return None,
                Err(error) => {
                    self.has_failed = true;
                    self.end_all(End::Abandoned);
                    self.out.push_back(Output::Malformed(error));
                }
            }
        }
    }

    /// Reads on; `false` when there is nothing to read.
    fn advance(&mut self, unix: Option<UnixTime>) -> Result<bool, Fault> {
        match self.reader.poll()? {
            Some(Event::Init(init)) => self.take_init(init, unix),
            Some(Event::Fragment(fragment)) => self.take_fragment(&fragment)?,
            None => {
                if let Some(piece) = self.unread.pop_front() {
                    self.reader.push(piece)?;
                    return Ok(true);
                }
                match self.order.poll() {
                    None => return Ok(false),
                    Some(Step::Gap) => self.lose()?,
                    Some(Step::Object(payload)) => {
                        if !self.is_lost || shape::begins_segment(&payload) {
                            self.is_lost = false;
                            self.unread.extend(payload.pieces().iter().cloned());
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    fn conclude(&mut self, unix: Option<UnixTime>) {
        self.end_all(End::Finished);
        self.publish_catalog(false, unix);
    }

    /// Bytes are missing: what is open stays incomplete, and reading begins anew.
    fn lose(&mut self) -> Result<(), Fault> {
        if self.is_placed {
            return Err(Fault::Unplaced);
        }
        self.is_lost = true;
        self.is_seeking = true;
        self.reader = match self.reader.init() {
            Some(init) => Reader::with_init(Arc::clone(init), self.limits.cmaf),
            None => Reader::new(self.limits.cmaf),
        };
        self.end_all(End::Abandoned);
        Ok(())
    }

    fn end_all(&mut self, end: End) {
        self.broadcast.end(end, &mut self.out);
        let lanes = self.layout.iter_mut().flat_map(|layout| &mut layout.lanes);
        for lane in lanes {
            lane.end(end, &mut self.out);
        }
    }

    fn take_init(&mut self, init: Arc<Init>, unix: Option<UnixTime>) {
        if self
            .layout
            .as_ref()
            .is_some_and(|layout| layout.init.raw == init.raw)
        {
            // Some publishers repeat it. Times begin anew with it, so a group does as well.
            self.is_seeking = true;
            return;
        }
        self.end_all(End::Finished);
        self.is_seeking = true;
        let before = self.layout.as_ref().map(|layout| &layout.renditions[..]);
        let renditions = layout::renditions(&init, before.unwrap_or_default());
        // A track of the same name goes on above its old groups.
        let lanes = self.layout.iter().flat_map(|layout| &layout.lanes);
        let newest = lanes.fold(self.broadcast.group, |newest, lane| newest.max(lane.group));
        let lanes: Vec<Lane> = renditions
            .iter()
            .map(|rendition| {
                let priority = match rendition.kind {
                    Kind::Audio => AUDIO_PRIORITY,
                    Kind::Video | Kind::Other => VIDEO_PRIORITY,
                };
                Lane::new(rendition.track.clone(), priority, newest)
            })
            .collect();
        let names = lanes.iter().map(|lane| lane.track.clone()).collect();
        self.out.push_back(Output::Renditions(names));
        self.layout = Some(Layout {
            splitter: Splitter::new(&init, ChunkSize::Duration(CHUNK_MAX)),
            init,
            renditions,
            lanes,
        });
        self.publish_catalog(true, unix);
    }

    fn publish_catalog(&mut self, is_live: bool, unix: Option<UnixTime>) {
        let Some(layout) = &self.layout else {
            return;
        };
        let catalog = layout::catalog(&layout.renditions, is_live, unix);
        let texts = [catalog.to_msf_json(), catalog.to_seed_json()];
        let texts = texts.map(|text| Payload::from(Bytes::from(text)));
        let again = self.now.filter(|_| is_live).map(|now| now + MSF_INTERVAL);
        self.again = again.map(|due| (due, texts[0].clone()));
        for (lane, text) in self.catalogs.iter_mut().zip(texts) {
            lane.whole(text, &mut self.out);
        }
    }

    fn repeat_catalog(&mut self) {
        let (Some(now), Some((due, text))) = (self.now, &mut self.again) else {
            return;
        };
        if *due <= now {
            *due = now + MSF_INTERVAL;
            let [msf, _] = &mut self.catalogs;
            msf.whole(text.clone(), &mut self.out);
        }
    }

    fn take_fragment(&mut self, fragment: &Fragment) -> Result<(), cmaf::Error> {
        self.is_placed |= !fragment.is_relocatable;
        if fragment.is_independent {
            self.repeat_catalog();
        }
        let Some(layout) = &mut self.layout else {
            return Ok(());
        };
        if self.is_seeking && !fragment.is_independent {
            return Ok(());
        }
        let chunks = layout.splitter.split(fragment)?;
        let has_video = layout.init.has_video();
        let is_due = has_video || self.is_seeking || is_group_full(self.group_time, &chunks);
        if fragment.is_independent && is_due {
            self.count = self.count.saturating_add(1);
            self.group_time = chunks.first().map_or(0, |chunk| chunk.base_decode_time);
            self.broadcast.begin(self.count, &mut self.out);
            let init = Payload::from(layout.init.raw.clone());
            self.broadcast.put(init, &mut self.out);
        }
        self.is_seeking = false;
        let whole = if fragment.is_relocatable {
            fragment.payload()
        } else {
            // Its offsets count from the beginning of a file that nobody has: written anew.
            let pieces = chunks.iter().flat_map(|chunk| chunk.payload.pieces());
            Payload::from_pieces(pieces.cloned().collect())
        };
        self.broadcast.put(whole, &mut self.out);
        for chunk in chunks {
            self.take_chunk(chunk);
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: TrackChunk) {
        let Some(layout) = &mut self.layout else {
            return;
        };
        let of_track = |rendition: &Rendition| rendition.track_id == chunk.track_id;
        let Some(index) = layout.renditions.iter().position(of_track) else {
            return;
        };
        let Some(lane) = layout.lanes.get_mut(index) else {
            return;
        };
        let begins = match chunk.kind {
            Kind::Video => chunk.is_independent,
            Kind::Audio | Kind::Other => lane.of != self.count || lane.next.is_none(),
        };
        if begins {
            lane.begin(self.count, &mut self.out);
        }
        lane.put(chunk.payload, &mut self.out);
    }
}

/// Whether a stream of sound alone has come far enough for another group.
fn is_group_full(began: u64, chunks: &[TrackChunk]) -> bool {
    chunks.first().is_none_or(|chunk| {
        let ticks = u128::from(chunk.base_decode_time.saturating_sub(began));
        ticks * 1000 >= AUDIO_GROUP.as_millis() * u128::from(chunk.timescale.get())
            || chunk.base_decode_time < began
    })
}
