//! [`Recorded`]: fragmented MP4 of a `MediaRecorder` in, tracks and chunks of one frame out.
//!
//! A recorder closes a fragment when the next key frame comes, with both tracks in it: a fragment is a
//! group. Its frames are split again, so that viewers get the objects that they get of an encoder.
//! Track ids and timescales are as the recorder chose them; times begin at the broadcast's start. What
//! trails at the end (`mfra`) is passed over.
//!
//! Errors: what is no fragmented MP4. Source: ISO/IEC 14496-12 section 8.8; BROWSER, section 3.

use bytes::Bytes;
use mainstem_core::cmaf::{
    ChunkWriter, Error, Event, Fragment, Init, Kind, Limits, MediaSample, NtpTime,
    ProducerReference, Reader, ReferencePoint, Track, init_segment,
};
use mainstem_core::map::BTreeMap;
use mainstem_core::packager::{Chunk, Output, PackagedTrack, Source};
use mainstem_core::time::MediaTime;
use std::num::NonZeroU32;

const MICROS: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Recorded {
    reader: Reader,
    tracks: BTreeMap<u32, (ChunkWriter, Track)>,
    /// Added to the recorder's times, in microseconds: its first frame stands at the wall clock's time.
    shift_us: Option<i64>,
}

impl Default for Recorded {
    fn default() -> Self {
        Self {
            reader: Reader::new(Limits::default()),
            tracks: BTreeMap::new(),
            shift_us: None,
        }
    }
}

impl Recorded {
    /// The next bytes.
    pub(crate) fn push(&mut self, unix_us: u64, bytes: Bytes) -> Result<Vec<Output>, Error> {
        self.reader.push(bytes)?;
        let mut outputs = Vec::new();
        while let Some(event) = self.reader.poll()? {
            match event {
                Event::Init(init) => outputs.push(self.begin(&init)?),
                Event::Fragment(fragment) => self.split(unix_us, &fragment, &mut outputs)?,
            }
        }
        Ok(outputs)
    }

    fn begin(&mut self, init: &Init) -> Result<Output, Error> {
        self.tracks.clear();
        let mut packaged = Vec::new();
        for kind in [Kind::Video, Kind::Audio] {
            for track in init.tracks.iter().filter(|track| track.kind() == kind) {
                let writer = ChunkWriter::new(track.id);
                self.tracks.insert(track.id, (writer, track.clone()));
                packaged.push(PackagedTrack {
                    name: name_of(track),
                    source: Source {
                        kind,
                        number: u8::try_from(track.id).unwrap_or(0),
                    },
                    track: track.clone(),
                    init: init_segment(std::slice::from_ref(track))?,
                    bitrate: None,
                });
            }
        }
        Ok(Output::Tracks(packaged))
    }

    /// The frames of a fragment, in order of their decode times over all tracks.
    fn split(
        &mut self,
        unix_us: u64,
        fragment: &Fragment,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let shift = self.shift(unix_us, fragment);
        let mut chunks = BTreeMap::new();
        for part in &fragment.tracks {
            let Some((writer, track)) = self.tracks.get_mut(&part.track_id) else {
                continue;
            };
            let timescale = track.timescale;
            let shift = MediaTime::new(shift, MICROS).rescale(timescale).ticks();
            let mut ticks = i64::try_from(part.base_decode_time).unwrap_or(i64::MAX);
            ticks = ticks.saturating_add(shift);
            for sample in &part.samples {
                let base = u64::try_from(ticks).unwrap_or(0);
                let reference = ProducerReference {
                    track_id: track.id,
                    time: NtpTime::from_unix_micros(unix_us),
                    media_time: base,
                    point: ReferencePoint::Packaged,
                };
                let media = MediaSample {
                    duration: sample.duration,
                    composition_offset: sample.composition_offset,
                    flags: sample.flags,
                    data: fragment.sample_payload(sample),
                };
                let kind = track.kind();
                let presented = ticks.saturating_add(sample.composition_offset.into());
                let decode_time = MediaTime::new(ticks, timescale);
                let place = (decode_time.as_micros(), kind, chunks.len());
                let chunk = Chunk {
                    track_id: track.id,
                    kind,
                    is_independent: kind == Kind::Audio || sample.flags.is_sync(),
                    decode_time,
                    presentation_time: MediaTime::new(presented, timescale),
                    duration: sample.duration.into(),
                    samples: 1,
                    payload: writer.chunk(base, std::slice::from_ref(&media), Some(reference))?,
                };
                chunks.insert(place, chunk);
                ticks = ticks.saturating_add(sample.duration.into());
            }
        }
        outputs.extend(chunks.into_values().map(Output::Chunk));
        Ok(())
    }

    /// The first frame was recorded as long ago as its fragment lasts.
    fn shift(&mut self, unix_us: u64, fragment: &Fragment) -> i64 {
        if let Some(shift) = self.shift_us {
            return shift;
        }
        let mut first = i64::MAX;
        let mut end = i64::MIN;
        for part in &fragment.tracks {
            let Some((_, track)) = self.tracks.get(&part.track_id) else {
                continue;
            };
            let micros = |ticks: u64| {
                let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
                MediaTime::new(ticks, track.timescale).as_micros()
            };
            first = first.min(micros(part.base_decode_time));
            end = end.max(micros(part.base_decode_time.saturating_add(part.duration)));
        }
        let now = i64::try_from(unix_us).unwrap_or(i64::MAX);
        let shift = now.saturating_sub(end.max(first).min(now));
        self.shift_us = Some(shift);
        shift
    }
}

fn name_of(track: &Track) -> String {
    match (&track.video, track.kind()) {
        (Some(video), _) if video.height > 0 => format!("video/{}p", video.height),
        (_, Kind::Video) => "video".to_owned(),
        (_, Kind::Audio | Kind::Other) => "audio".to_owned(),
    }
}
