//! How what a program writes becomes groups and objects.
//!
//! | format | a group is | priority |
//! |---|---|---|
//! | [`Format::Broadcast`] | what follows a key frame: the init segment, then a fragment each | 192 |
//! | [`Format::Frames`] | one frame: each has a stream and a priority of its own | the frame's |
//! | [`Format::Audio`] | a second of frames | 64 |
//! | [`Format::Video`] | what follows a key frame | 128 |
//!
//! Lower priorities go first. Every group is one subgroup. The time stamp travels as the property
//! Timestamp (0x10) in microseconds; what a track is for (its capability), and of what kind (its schema),
//! as properties of the track that are ours: 0x2D51 and 0x2D53, in UTF-8. Group ids begin with the wall
//! clock's milliseconds, so that those of a later start are larger.
//!
//! Chunks of a broadcast may be cut anywhere. A group of a broadcast without video is a second long. What
//! does not begin like MP4 is carried as frames. Limits: those of [`Reader`].
//!
//! Sources: CONTRACTS A1 (publisher semantics); draft-ietf-moq-loc-04 (Timestamp); core's broadcast.

use bytes::Bytes;
use mainstem_core::cmaf::{
    self, ChunkSize, Event as BoxEvent, Fragment, Init, Limits, Reader, Splitter,
};
use mainstem_core::moqt::object::Object;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::track::cache::SubgroupInfo;
use mainstem_core::payload::Payload;
use std::sync::Arc;
use std::time::Duration;

/// Timestamp of LOC, microseconds.
pub(crate) const TIMESTAMP: u64 = 0x10;
const CAPABILITY: u64 = 0x2D51;
const SCHEMA: u64 = 0x2D53;
/// What every draft can write.
const TIMESTAMP_MAX: u64 = (1 << 62) - 1;

const BROADCAST_PRIORITY: u8 = 192;
const AUDIO_PRIORITY: u8 = 64;
const VIDEO_PRIORITY: u8 = 128;
/// How much makes a group where nothing else does.
const GROUP_US: u64 = 1_000_000;
/// Longest chunk that is left whole when a fragment is written anew.
const CHUNK_MAX: Duration = Duration::from_secs(10);

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Muxed fragmented MP4, cut anywhere.
    Broadcast,
    /// Bytes of any kind, each with a priority.
    Frames,
    /// Frames of sound, each decodable by itself.
    Audio,
    /// Pictures, decodable from a key frame on.
    Video,
}

/// What to publish.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Object(SubgroupInfo, Object),
    /// A group is over.
    End(u64),
}

/// Turns writes into objects.
#[derive(Debug)]
pub(crate) struct Framer {
    format: Format,
    next_group: u64,
    /// The open group, and its next object.
    open: Option<(u64, u64)>,
    /// When the open group began, in the writer's time.
    began_us: u64,
    media: Option<Media>,
    steps: Vec<Step>,
}

/// What is known of a broadcast.
#[derive(Debug)]
struct Media {
    reader: Reader,
    init: Option<(Arc<Init>, Splitter)>,
    /// The next independent fragment begins a group in any case.
    is_seeking: bool,
}

impl Framer {
    /// A track whose first group has this id.
    pub(crate) fn new(format: Format, first_group: u64) -> Self {
        Self {
            format,
            next_group: first_group,
            open: None,
            began_us: 0,
            media: None,
            steps: Vec::new(),
        }
    }

    /// A frame of sound.
    pub(crate) fn audio(&mut self, time_us: u64, data: Bytes) -> Vec<Step> {
        if self.is_full(time_us) {
            self.begin(time_us);
        }
        self.put(time_us, AUDIO_PRIORITY, data.into());
        std::mem::take(&mut self.steps)
    }

    /// A picture. Nothing is sent before the first key frame.
    pub(crate) fn video(&mut self, time_us: u64, is_key: bool, data: Bytes) -> Vec<Step> {
        if is_key {
            self.begin(time_us);
        }
        self.put(time_us, VIDEO_PRIORITY, data.into());
        std::mem::take(&mut self.steps)
    }

    /// A frame of any kind, or bytes of a broadcast.
    pub(crate) fn frame(
        &mut self,
        time_us: u64,
        priority: u8,
        data: Bytes,
    ) -> Result<Vec<Step>, cmaf::Error> {
        if self.format == Format::Broadcast && self.media.is_none() {
            if begins_like_mp4(&data) {
                self.media = Some(Media::new());
            } else {
                self.format = Format::Frames;
            }
        }
        if self.format == Format::Broadcast {
            self.broadcast(time_us, data)?;
        } else {
            self.begin(time_us);
            self.put(time_us, priority, data.into());
            self.end();
        }
        Ok(std::mem::take(&mut self.steps))
    }

    /// The track is over.
    pub(crate) fn finish(&mut self) -> Vec<Step> {
        self.end();
        std::mem::take(&mut self.steps)
    }

    fn broadcast(&mut self, time_us: u64, data: Bytes) -> Result<(), cmaf::Error> {
        let Some(mut media) = self.media.take() else {
            return Ok(());
        };
        let read = self.read(&mut media, time_us, data);
        self.media = Some(media);
        read
    }

    fn read(&mut self, media: &mut Media, time_us: u64, data: Bytes) -> Result<(), cmaf::Error> {
        media.reader.push(data)?;
        while let Some(event) = media.reader.poll()? {
            match event {
                BoxEvent::Init(init) => {
                    let splitter = Splitter::new(&init, ChunkSize::Duration(CHUNK_MAX));
                    media.init = Some((init, splitter));
                    media.is_seeking = true;
                }
                BoxEvent::Fragment(fragment) => self.fragment(media, time_us, &fragment)?,
            }
        }
        Ok(())
    }

    fn fragment(
        &mut self,
        media: &mut Media,
        time_us: u64,
        fragment: &Fragment,
    ) -> Result<(), cmaf::Error> {
        let Some((init, splitter)) = &mut media.init else {
            return Ok(());
        };
        if media.is_seeking && !fragment.is_independent {
            return Ok(());
        }
        // Parted in any case: the splitter keeps the tracks' times.
        let chunks = splitter.split(fragment)?;
        let payload = if fragment.is_relocatable {
            fragment.payload()
        } else {
            // Its offsets count from the beginning of a file that nobody has: written anew.
            let pieces = chunks.iter().flat_map(|chunk| chunk.payload.pieces());
            Payload::from_pieces(pieces.cloned().collect())
        };
        let is_due = media.is_seeking || init.has_video() || self.is_full(time_us);
        let raw = (fragment.is_independent && is_due).then(|| init.raw.clone());
        media.is_seeking = false;
        if let Some(raw) = raw {
            self.begin(time_us);
            self.put(time_us, BROADCAST_PRIORITY, raw.into());
        }
        self.put(time_us, BROADCAST_PRIORITY, payload);
        Ok(())
    }

    fn is_full(&self, time_us: u64) -> bool {
        let age = time_us.checked_sub(self.began_us);
        self.open.is_none() || age.is_none_or(|age| age >= GROUP_US)
    }

    fn begin(&mut self, time_us: u64) {
        self.end();
        self.open = Some((self.next_group, 0));
        self.next_group = self.next_group.saturating_add(1);
        self.began_us = time_us;
    }

    fn put(&mut self, time_us: u64, priority: u8, payload: Payload) {
        let Some((group, next)) = &mut self.open else {
            return;
        };
        let info = SubgroupInfo {
            priority: Some(priority),
            has_properties: true,
            end_of_group: true,
            first_object: true,
        };
        let time_us = time_us.min(TIMESTAMP_MAX);
        let object = Object {
            group: *group,
            object: *next,
            subgroup: Some(0),
            priority: Some(priority),
            properties: PropertiesBuilder::new().integer(TIMESTAMP, time_us).build(),
            payload,
            ..Object::default()
        };
        *next = next.saturating_add(1);
        self.steps.push(Step::Object(info, object));
    }

    fn end(&mut self) {
        if let Some((group, _)) = self.open.take() {
            self.steps.push(Step::End(group));
        }
    }
}

impl Media {
    fn new() -> Self {
        Self {
            reader: Reader::new(Limits::default()),
            init: None,
            is_seeking: true,
        }
    }
}

/// What a track says of itself.
pub(crate) fn track_properties(capability: &str, schema: &str, priority: u8) -> Properties {
    let mut properties = PropertiesBuilder::new().default_publisher_priority(priority);
    for (key, text) in [(CAPABILITY, capability), (SCHEMA, schema)] {
        if !text.is_empty() {
            properties = properties.bytes(key, Bytes::copy_from_slice(text.as_bytes()));
        }
    }
    properties.build()
}

/// Whether a file or a stream of boxes begins here.
fn begins_like_mp4(data: &[u8]) -> bool {
    // One box each, or bytes as they come: the first few may be all that there is.
    let kind = data.get(4..8.min(data.len())).unwrap_or_default();
    let kinds = [b"ftyp", b"moov", b"styp", b"free", b"skip", b"sidx"];
    kinds.iter().any(|known| known.starts_with(kind)) && data.first().is_none_or(|size| *size == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(steps: &[Step]) -> Vec<(u64, u64)> {
        let objects = steps.iter().filter_map(|step| match step {
            Step::Object(_, object) => Some((object.group, object.object)),
            Step::End(_) => None,
        });
        objects.collect()
    }

    fn objects(steps: Vec<Step>) -> Vec<Object> {
        let objects = steps.into_iter().filter_map(|step| match step {
            Step::Object(_, object) => Some(object),
            Step::End(_) => None,
        });
        objects.collect()
    }

    /// Every file of core's tests that is fragmented MP4.
    fn files() -> Vec<Bytes> {
        let folder = format!("{}/../../core/tests/media", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(folder).unwrap().flatten();
        let paths = files.map(|file| file.path());
        let files: Vec<Bytes> = paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "mp4"))
            .map(|path| Bytes::from(std::fs::read(path).unwrap()))
            .filter(|file| {
                let mut framer = Framer::new(Format::Broadcast, 1);
                framer
                    .frame(0, 0, file.clone())
                    .is_ok_and(|steps| !steps.is_empty())
            })
            .collect();
        assert!(files.len() > 1, "{} files", files.len());
        files
    }

    #[test]
    fn each_group_of_a_broadcast_can_be_decoded_by_itself_however_the_bytes_are_cut() {
        for file in files() {
            let mut framer = Framer::new(Format::Broadcast, 1);
            let whole = objects(framer.frame(7, 0, file.clone()).unwrap());
            for object in &whole {
                let bytes = object.payload.to_bytes();
                let kind = bytes.get(4..8).unwrap();
                assert_eq!(object.object == 0, kind == b"ftyp" || kind == b"moov");
                assert_eq!(object.properties.integer(TIMESTAMP), Some(7));
            }
            for cut in [1, 7, 1000] {
                let mut framer = Framer::new(Format::Broadcast, 1);
                let mut steps = Vec::new();
                for piece in file.chunks(cut) {
                    let piece = Bytes::copy_from_slice(piece);
                    steps.extend(framer.frame(7, 0, piece).unwrap());
                }
                assert_eq!(places(&steps).len(), whole.len());
                for (cut, whole) in objects(steps).iter().zip(&whole) {
                    assert_eq!(cut.payload.to_bytes(), whole.payload.to_bytes());
                }
            }
        }
    }

    #[test]
    fn what_is_no_mp4_is_carried_as_frames() {
        let mut framer = Framer::new(Format::Broadcast, 5);
        for (group, data) in [(5, "hello world"), (6, "ftyp")] {
            let steps = framer
                .frame(1, 3, Bytes::from_static(data.as_bytes()))
                .unwrap();
            assert_eq!(places(&steps), [(group, 0)]);
            assert!(matches!(steps.last(), Some(Step::End(end)) if *end == group));
        }
    }

    #[test]
    fn damage_in_a_broadcast_is_told() {
        let mut framer = Framer::new(Format::Broadcast, 1);
        let bytes = Bytes::from_static(b"\0\0\0\x08ftyp\0\0\0\x02moof");
        assert!(framer.frame(0, 0, bytes).is_err());
        assert!(framer.frame(0, 0, Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn sound_is_grouped_by_the_second_and_pictures_by_key_frames() {
        let mut audio = Framer::new(Format::Audio, 1);
        let frames = [0, 20_000, 999_999, 1_000_000, 500_000];
        let mut steps = Vec::new();
        for time_us in frames {
            steps.extend(audio.audio(time_us, Bytes::from_static(b"a")));
        }
        assert_eq!(places(&steps), [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]);

        let mut video = Framer::new(Format::Video, 1);
        let mut steps = Vec::new();
        for is_key in [false, true, false, true] {
            steps.extend(video.video(0, is_key, Bytes::from_static(b"v")));
        }
        steps.extend(video.finish());
        assert_eq!(places(&steps), [(1, 0), (1, 1), (2, 0)]);
        assert!(matches!(steps.last(), Some(Step::End(2))));
    }
}
