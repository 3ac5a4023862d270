//! Ordinary MP4 files: [`Source`] gives their samples in decode order, to be published like live.
//!
//! | step | who | what |
//! |---|---|---|
//! | find `moov` | [`Locator`] | asks for box heads, by offset, until it knows where `moov` is |
//! | index | [`Source::new`] | `moov` in, tracks out; nothing is unpacked in memory |
//! | walk | [`Source::next_sample`] | the next sample of any track: where it lies, when it is due |
//!
//! The caller reads the file; a sample is an offset and a size. The tables stay the packed bytes of
//! `moov` and are walked along with the samples, so an hour of video costs no more than its `moov`.
//! Limits: `moov` of [`Source::MOOV_BYTES_MAX`], every sample inside the file, and all samples of a
//! track together no longer than the file. Tracks whose codec we do not know are left out.
//! Source: ISO/IEC 14496-12, 8.6 (times, edits), 8.7 (sizes, places).

mod tables;

use super::boxes::{Fields, FourCc, Header, children, decode_leaf, find, require};
use super::error::{Error, Limits};
use super::fragment::SampleFlags;
use super::init;
use super::track::{Codec, Track};
use bytes::Bytes;
use tables::Tables;

/// Where a sample lies and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRef {
    /// Which track of [`Source::tracks`].
    pub track_id: u32,
    /// Decode time in ticks of the track, moved by the track's delay (empty edit) if it has one.
    pub decode_time: u64,
    /// Duration in ticks.
    pub duration: u32,
    /// Presentation minus decode time in ticks.
    pub composition_offset: i32,
    /// [`SampleFlags::SYNC`] or [`SampleFlags::DEPENDENT`].
    pub flags: SampleFlags,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
}

/// Finds `moov` in a file without reading the rest.
#[derive(Clone, Debug)]
pub struct Locator {
    at: u64,
    file_len: u64,
}

impl Locator {
    /// For a file of `file_len` bytes.
    pub const fn new(file_len: u64) -> Self {
        Self { at: 0, file_len }
    }

    /// What to read next: offset and length, at most 16 bytes.
    pub fn want(&self) -> (u64, usize) {
        let left = self.file_len.saturating_sub(self.at);
        let len = usize::try_from(left).unwrap_or(usize::MAX);
        (self.at, len.min(Header::LEN_MAX))
    }

    /// Takes what [`Self::want`] asked for. Gives offset and length of `moov` when it is found;
    /// fails when the file ends without one.
    pub fn give(&mut self, bytes: &[u8]) -> Result<Option<(u64, u64)>, Error> {
        let missing = Error::MissingBox {
            kind: FourCc::MOOV,
            parent: FourCc(*b"file"),
        };
        let header = Header::parse(bytes)?.ok_or_else(|| missing.clone())?;
        let left = self.file_len.saturating_sub(self.at);
        let size = header.size.unwrap_or(left);
        if header.kind == FourCc::MOOV {
            if size > left {
                return Err(Error::Truncated { kind: FourCc::MOOV });
            }
            return Ok(Some((self.at, size)));
        }
        self.at = self.at.saturating_add(size);
        if self.at >= self.file_len {
            Err(missing)
        } else {
            Ok(None)
        }
    }
}

/// Samples of an ordinary MP4 file, in decode order over all tracks.
#[derive(Clone, Debug)]
pub struct Source {
    tracks: Vec<Track>,
    cursors: Vec<Cursor>,
    is_fragmented: bool,
}

#[derive(Clone, Debug)]
struct Cursor {
    track_id: u32,
    timescale: u32,
    tables: Tables,
    start: Tables,
    next: Option<SampleRef>,
}

impl Source {
    /// Largest `moov` that is taken: about ten hours of video and audio.
    pub const MOOV_BYTES_MAX: u64 = 64 << 20;

    /// Indexes a file of `file_len` bytes by its whole `moov` box.
    pub fn new(moov: Bytes, file_len: u64) -> Result<Self, Error> {
        let size = moov.len() as u64;
        if size > Self::MOOV_BYTES_MAX {
            let max = Self::MOOV_BYTES_MAX;
            return Err(Error::BoxTooLarge {
                kind: FourCc::MOOV,
                size,
                max,
            });
        }
        let body = require(FourCc(*b"file"), &moov, FourCc::MOOV)?.body;
        let limits = Limits::default();
        let mut source = Self {
            tracks: Vec::new(),
            cursors: Vec::new(),
            is_fragmented: find(FourCc::MOOV, body, FourCc::MVEX)?.is_some(),
        };
        let movie_timescale = movie_timescale(body)?;
        for track in init::parse_moov(body, &limits)? {
            if matches!(track.codec, Codec::Other { .. }) {
                continue;
            }
            if source.is_fragmented {
                source.tracks.push(track);
                continue;
            }
            let trak = children(FourCc::MOOV, body)
                .filter_map(Result::ok)
                .find(|child| init::trak_id(child.body).is_ok_and(|id| id == track.id))
                .ok_or(Error::MissingBox {
                    kind: FourCc::TRAK,
                    parent: FourCc::MOOV,
                })?;
            let delay = delay(trak.body, movie_timescale, track.timescale.get())?;
            let tables = Tables::parse(&moov, trak.body, track.id, delay, file_len)?;
            source.cursors.push(Cursor {
                track_id: track.id,
                timescale: track.timescale.get(),
                start: tables.clone(),
                tables,
                next: None,
            });
            source.tracks.push(track);
        }
        source.rewind()?;
        Ok(source)
    }

    /// Finds and indexes the `moov` of a file that is in memory.
    pub fn from_bytes(file: &Bytes) -> Result<Self, Error> {
        let file_len = file.len() as u64;
        let mut locator = Locator::new(file_len);
        loop {
            let (at, len) = locator.want();
            // Both lie inside the file, which is in memory.
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let head = file.get(at..at.saturating_add(len)).unwrap_or_default();
            if let Some((at, len)) = locator.give(head)? {
                let range = |n| usize::try_from(n).unwrap_or(usize::MAX);
                let moov = file.slice(range(at)..range(at.saturating_add(len)));
                return Self::new(moov, file_len);
            }
        }
    }

    /// Tracks whose samples come, in the order of the file.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Whether the samples are in fragments: then none come from here, and a
    /// [`Reader`](super::Reader) is what is needed.
    pub fn is_fragmented(&self) -> bool {
        self.is_fragmented
    }

    /// The next sample in order of decode time; `None` at the end.
    pub fn next_sample(&mut self) -> Result<Option<SampleRef>, Error> {
        let due = |cursor: &&mut Cursor| {
            let time = cursor.next.map_or(u64::MAX, |sample| sample.decode_time);
            // Nanoseconds keep tracks of any two timescales apart well enough to interleave them.
            u128::from(time) * 1_000_000_000 / u128::from(cursor.timescale)
        };
        let waiting = self
            .cursors
            .iter_mut()
            .filter(|cursor| cursor.next.is_some());
        let Some(cursor) = waiting.min_by_key(due) else {
            return Ok(None);
        };
        let sample = cursor.next.take();
        cursor.advance()?;
        Ok(sample)
    }

    /// Goes back to the beginning.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.cursors.iter_mut().try_for_each(|cursor| {
            cursor.tables = cursor.start.clone();
            cursor.advance()
        })
    }
}

impl Cursor {
    fn advance(&mut self) -> Result<(), Error> {
        self.next = self.tables.next()?.map(|entry| SampleRef {
            track_id: self.track_id,
            decode_time: entry.decode_time,
            duration: entry.duration,
            composition_offset: entry.composition_offset,
            flags: if entry.is_sync {
                SampleFlags::SYNC
            } else {
                SampleFlags::DEPENDENT
            },
            offset: entry.offset,
            size: entry.size,
        });
        Ok(())
    }
}

fn movie_timescale(moov: &[u8]) -> Result<u32, Error> {
    let mvhd = require(FourCc::MOOV, moov, FourCc::MVHD)?;
    let mvhd: mp4_atom::Mvhd = decode_leaf(FourCc::MVHD, mvhd.body)?;
    Ok(mvhd.timescale)
}

/// Length of the empty edits before the first that shows media, in ticks of the track.
fn delay(trak: &[u8], movie_timescale: u32, timescale: u32) -> Result<u64, Error> {
    let Some(edts) = find(FourCc::TRAK, trak, FourCc::EDTS)? else {
        return Ok(0);
    };
    let Some(elst) = find(FourCc::EDTS, edts.body, FourCc::ELST)? else {
        return Ok(0);
    };
    let mut fields = Fields::new(FourCc::ELST, elst.body);
    let (version, _) = fields.version_flags()?;
    let mut empty = 0u64;
    for _ in 0..fields.u32()?.min(8) {
        let duration = fields.sized(version)?;
        let media_time = fields.sized(version)?;
        fields.u32()?;
        let is_empty = media_time
            == if version == 1 {
                u64::MAX
            } else {
                u64::from(u32::MAX)
            };
        if !is_empty {
            break;
        }
        empty = empty.saturating_add(duration);
    }
    let ticks = (u128::from(empty) * u128::from(timescale)).checked_div(movie_timescale.into());
    // A delay of years is damage, not an edit; it must not overflow the times that follow.
    Ok(ticks
        .and_then(|ticks| u32::try_from(ticks).ok())
        .map_or(0, u64::from))
}
