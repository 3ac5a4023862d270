//! Where the media of [`publish`](super) comes from: an MP4 file, plain or fragmented, or a pipe with
//! fragmented MP4.
//!
//! Samples come out one by one in the order of their decode times over all tracks.

use super::merge::Merge;
use bytes::Bytes;
use mainstem_core::cmaf::progressive::{Locator, Source as Samples};
use mainstem_core::cmaf::{self, Event, Fragment, Limits, MediaSample, Reader, Track};
use mainstem_core::time::MediaTime;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read from a pipe at a time.
const READ_BYTES: usize = 64 << 10;

/// Why media cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Reading failed.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{name} is not an MP4 that can be published: {source}")]
    Format {
        /// The file, or `standard input`.
        name: String,
        /// What is wrong.
        source: cmaf::Error,
    },
    /// Nothing in it can be published.
    #[error("{name} has no track that can be published")]
    NoTracks {
        /// The file, or `standard input`.
        name: String,
    },
}

/// What a source gives.
#[derive(Clone, Debug)]
pub enum Item {
    /// The tracks of what follows.
    Tracks(Vec<Track>),
    /// A sample of one of them.
    Sample {
        /// Its track.
        track_id: u32,
        /// When it is to be decoded.
        decode_time: MediaTime,
        /// The sample.
        sample: MediaSample,
    },
}

/// Media that can be read once, or again when it is a file.
pub struct Source {
    name: String,
    kind: Kind,
    queue: Merge,
}

enum Kind {
    Plain {
        file: File,
        samples: Box<Samples>,
        tracks_given: bool,
    },
    Fragmented {
        input: Box<dyn Read + Send>,
        reader: Box<Reader>,
        path: Option<std::path::PathBuf>,
    },
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        if path == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self::fragmented(name, Box::new(io::stdin()), None));
        }
        let name = path.display().to_string();
        let read = |source| SourceError::Read {
            name: name.clone(),
            source,
        };
        let format = |source| SourceError::Format {
            name: name.clone(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let mut locator = Locator::new(len);
        let (at, size) = loop {
            let (at, size) = locator.want();
            let head = read_range(&file, at, size as u64).map_err(read)?;
            if let Some(place) = locator.give(&head).map_err(format)? {
                break place;
            }
        };
        let moov = read_range(&file, at, size.min(Samples::MOOV_BYTES_MAX + 1)).map_err(read)?;
        let samples = Samples::new(moov, len).map_err(format)?;
        if samples.is_fragmented() {
            let input = File::open(path).map_err(read)?;
            return Ok(Self::fragmented(
                name,
                Box::new(input),
                Some(path.to_owned()),
            ));
        }
        if samples.tracks().is_empty() {
            return Err(SourceError::NoTracks { name });
        }
        let kind = Kind::Plain {
            file,
            samples: Box::new(samples),
            tracks_given: false,
        };
        Ok(Self {
            name,
            kind,
            queue: Merge::default(),
        })
    }

    fn fragmented(
        name: String,
        input: Box<dyn Read + Send>,
        path: Option<std::path::PathBuf>,
    ) -> Self {
        let reader = Box::new(Reader::new(Limits::default()));
        Self {
            name,
            kind: Kind::Fragmented {
                input,
                reader,
                path,
            },
            queue: Merge::default(),
        }
    }

    /// The next item; `None` at the end.
    pub fn next_item(&mut self) -> Result<Option<Item>, SourceError> {
        loop {
            if let Some(item) = self.queue.pop() {
                return Ok(Some(item));
            }
            let more = match &mut self.kind {
                Kind::Plain { .. } => self.next_plain()?,
                Kind::Fragmented { .. } => self.next_fragmented()?,
            };
            if !more {
                self.queue.end();
                return Ok(self.queue.pop());
            }
        }
    }

    /// Begins again. Returns `false` for a pipe, which cannot.
    pub fn rewind(&mut self) -> Result<bool, SourceError> {
        let name = self.name.clone();
        match &mut self.kind {
            Kind::Plain { samples, .. } => {
                samples
                    .rewind()
                    .map_err(|source| SourceError::Format { name, source })?;
                self.queue = Merge::default();
                Ok(true)
            }
            Kind::Fragmented { path: None, .. } => Ok(false),
            Kind::Fragmented {
                path: Some(path), ..
            } => {
                *self = Self::open(&path.clone())?;
                Ok(true)
            }
        }
    }

    fn next_plain(&mut self) -> Result<bool, SourceError> {
        let name = self.name.clone();
        let Kind::Plain {
            file,
            samples,
            tracks_given,
        } = &mut self.kind
        else {
            return Ok(false);
        };
        if !std::mem::replace(tracks_given, true) {
            self.queue.push(Item::Tracks(samples.tracks().to_vec()));
            return Ok(true);
        }
        let found = samples.next_sample();
        let found = found.map_err(|source| SourceError::Format {
            name: name.clone(),
            source,
        })?;
        let Some(found) = found else { return Ok(false) };
        let Some(track) = samples
            .tracks()
            .iter()
            .find(|track| track.id == found.track_id)
        else {
            return Ok(true);
        };
        let data = read_range(file, found.offset, found.size.into())
            .map_err(|source| SourceError::Read { name, source })?;
        let ticks = i64::try_from(found.decode_time).unwrap_or(i64::MAX);
        self.queue.push(Item::Sample {
            track_id: found.track_id,
            decode_time: MediaTime::new(ticks, track.timescale),
            sample: MediaSample {
                duration: found.duration,
                composition_offset: found.composition_offset,
                flags: found.flags,
                data: data.into(),
            },
        });
        Ok(true)
    }

    fn next_fragmented(&mut self) -> Result<bool, SourceError> {
        let Kind::Fragmented { input, reader, .. } = &mut self.kind else {
            return Ok(false);
        };
        let name = &self.name;
        let format = |source| SourceError::Format {
            name: name.clone(),
            source,
        };
        match reader.poll().map_err(format)? {
            Some(Event::Init(init)) => {
                self.queue.push(Item::Tracks(init.tracks.clone()));
                return Ok(true);
            }
            Some(Event::Fragment(fragment)) => {
                let init = reader.init().cloned();
                let tracks = init.map(|init| init.tracks.clone()).unwrap_or_default();
                for item in samples_of(&fragment, &tracks) {
                    self.queue.push(item);
                }
                return Ok(true);
            }
            None => {}
        }
        let mut buffer = vec![0; READ_BYTES];
        let read = |source| SourceError::Read {
            name: name.clone(),
            source,
        };
        let count = input.read(&mut buffer).map_err(read)?;
        if count == 0 {
            return Ok(false);
        }
        buffer.truncate(count);
        reader.push(buffer.into()).map_err(format)?;
        Ok(true)
    }
}

/// A fragment's samples in the order of their decode times.
fn samples_of(fragment: &Fragment, tracks: &[Track]) -> Vec<Item> {
    let mut timed = Vec::new();
    for part in &fragment.tracks {
        let Some(track) = tracks.iter().find(|track| track.id == part.track_id) else {
            continue;
        };
        let mut ticks = part.base_decode_time;
        for sample in &part.samples {
            let at = i64::try_from(ticks).unwrap_or(i64::MAX);
            let decode_time = MediaTime::new(at, track.timescale);
            ticks = ticks.saturating_add(sample.duration.into());
            timed.push((
                decode_time.as_micros(),
                Item::Sample {
                    track_id: part.track_id,
                    decode_time,
                    sample: MediaSample {
                        duration: sample.duration,
                        composition_offset: sample.composition_offset,
                        flags: sample.flags,
                        data: fragment.sample_payload(sample),
                    },
                },
            ));
        }
    }
    // Stable: samples of one track that share a time keep their order.
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, item)| item).collect()
}

fn read_range(file: &File, at: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}
