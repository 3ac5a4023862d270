//! The sample tables of one track (`stbl`), walked together, sample by sample.
//!
//! Each table is a view of the packed bytes and a position. Every step either gives a sample or
//! moves at least one table forward, so a walk ends after at most as many steps as there are table
//! entries and samples.

use crate::cmaf::boxes::{FourCc, find, require};
use crate::cmaf::error::Error;
use bytes::Bytes;

/// One row of all tables together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) decode_time: u64,
    pub(super) duration: u32,
    pub(super) composition_offset: i32,
    pub(super) is_sync: bool,
    pub(super) offset: u64,
    pub(super) size: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Tables {
    track_id: u32,
    durations: Runs,
    composition: Option<Runs>,
    sizes: Sizes,
    sync: Option<Words>,
    chunks: Chunks,
    /// Number of the next sample, from 1.
    number: u32,
    time: u64,
    file_len: u64,
    /// Bytes that samples may still cover: a track cannot be longer than its file.
    bytes_left: u64,
}

impl Tables {
    /// Tables of the `trak` body, which is part of `moov`.
    pub(super) fn parse(
        moov: &Bytes,
        trak: &[u8],
        track_id: u32,
        delay: u64,
        file_len: u64,
    ) -> Result<Self, Error> {
        let mdia = require(FourCc::TRAK, trak, FourCc::MDIA)?;
        let minf = require(FourCc::MDIA, mdia.body, FourCc::MINF)?;
        let stbl = require(FourCc::MINF, minf.body, FourCc::STBL)?.body;
        let table = |kind| {
            let child = find(FourCc::STBL, stbl, kind)?;
            Ok::<_, Error>(child.map(|child| moov.slice_ref(child.body)))
        };
        let needed = |kind| {
            table(kind)?.ok_or(Error::MissingBox {
                kind,
                parent: FourCc::STBL,
            })
        };
        let (offsets, is_wide) = match table(FourCc::STCO)? {
            Some(offsets) => (offsets, false),
            None => (needed(FourCc::CO64)?, true),
        };
        Ok(Self {
            track_id,
            durations: Runs::new(&needed(FourCc::STTS)?),
            composition: table(FourCc::CTTS)?.map(|table| Runs::new(&table)),
            sizes: match table(FourCc::STSZ)? {
                Some(table) => Sizes::plain(&table)?,
                None => Sizes::compact(&needed(FourCc::STZ2)?)?,
            },
            sync: table(FourCc::STSS)?.map(|table| Words::new(&table, 8)),
            chunks: Chunks::new(Words::new(&needed(FourCc::STSC)?, 8), &offsets, is_wide),
            number: 1,
            time: delay,
            file_len,
            bytes_left: file_len,
        })
    }

    /// The next sample; `None` when any of the tables ends.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let (Some(size), Some(duration)) = (self.sizes.next(), self.durations.next()) else {
            return Ok(None);
        };
        let Some(offset) = self.chunks.place(size) else {
            return Ok(None);
        };
        let outside = Error::SampleOutsideMdat {
            track_id: self.track_id,
        };
        let end = offset
            .checked_add(u64::from(size))
            .filter(|end| *end <= self.file_len);
        // A sample of no bytes is charged one, or a table could hold billions of them.
        let left = self.bytes_left.checked_sub(u64::from(size.max(1)));
        let (Some(_), Some(left)) = (end, left) else {
            return Err(outside);
        };
        self.bytes_left = left;
        let offsets = self.composition.as_mut();
        let composition_offset = offsets.and_then(Runs::next).unwrap_or(0).cast_signed();
        let decode_time = self.time;
        self.time = self
            .time
            .checked_add(u64::from(duration))
            .ok_or(Error::TimeOverflow {
                track_id: self.track_id,
            })?;
        let is_sync = self.is_sync();
        self.number = self.number.saturating_add(1);
        Ok(Some(Entry {
            decode_time,
            duration,
            composition_offset,
            is_sync,
            offset,
            size,
        }))
    }

    fn is_sync(&mut self) -> bool {
        let Some(sync) = &mut self.sync else {
            return true;
        };
        while sync.peek().is_some_and(|number| number < self.number) {
            sync.next();
        }
        sync.peek() == Some(self.number)
    }
}

/// Big-endian 32-bit words after a full box header and count.
#[derive(Clone, Debug)]
struct Words {
    words: Bytes,
    at: usize,
}

impl Words {
    /// The words of a table body from `from` on.
    fn new(table: &Bytes, from: usize) -> Self {
        Self {
            words: table.slice(from.min(table.len())..),
            at: 0,
        }
    }

    fn peek(&self) -> Option<u32> {
        let word = self.words.get(self.at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*word))
    }

    fn next(&mut self) -> Option<u32> {
        let word = self.peek()?;
        self.at += 4;
        Some(word)
    }
}

/// `stts` and `ctts`: values with the number of samples that have them.
#[derive(Clone, Debug)]
struct Runs {
    words: Words,
    left: u32,
    value: u32,
}

impl Runs {
    fn new(table: &Bytes) -> Self {
        Self {
            words: Words::new(table, 8),
            left: 0,
            value: 0,
        }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            self.left = self.words.next()?;
            self.value = self.words.next()?;
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// `stsz` and `stz2`.
#[derive(Clone, Debug)]
enum Sizes {
    Same {
        size: u32,
        left: u32,
    },
    Table {
        words: Words,
        left: u32,
    },
    /// Sizes of 4, 8 or 16 bits.
    Compact {
        table: Bytes,
        bits: usize,
        index: usize,
        left: u32,
    },
}

impl Sizes {
    fn plain(table: &Bytes) -> Result<Self, Error> {
        let mut head = Words::new(table, 4);
        let (Some(size), Some(left)) = (head.next(), head.next()) else {
            return Err(Error::Truncated { kind: FourCc::STSZ });
        };
        Ok(if size == 0 {
            Self::Table { words: head, left }
        } else {
            Self::Same { size, left }
        })
    }

    fn compact(table: &Bytes) -> Result<Self, Error> {
        let mut head = Words::new(table, 4);
        let (Some(bits), Some(left)) = (head.next(), head.next()) else {
            return Err(Error::Truncated { kind: FourCc::STZ2 });
        };
        let bits = match bits & 0xff {
            4 => 4,
            8 => 8,
            16 => 16,
            _ => return Err(Error::Truncated { kind: FourCc::STZ2 }),
        };
        Ok(Self::Compact {
            table: table.slice(12..),
            bits,
            index: 0,
            left,
        })
    }

    fn next(&mut self) -> Option<u32> {
        let left = match self {
            Self::Same { left, .. } | Self::Table { left, .. } | Self::Compact { left, .. } => left,
        };
        *left = left.checked_sub(1)?;
        match self {
            Self::Same { size, .. } => Some(*size),
            Self::Table { words, .. } => words.next(),
            Self::Compact {
                table, bits, index, ..
            } => {
                let at = *index * *bits / 8;
                let byte = u32::from(*table.get(at)?);
                let size = match *bits {
                    16 => byte << 8 | u32::from(*table.get(at + 1)?),
                    8 => byte,
                    _ if (*index).is_multiple_of(2) => byte >> 4,
                    _ => byte & 0xf,
                };
                *index += 1;
                Some(size)
            }
        }
    }
}

/// `stsc` with `stco` or `co64`: where the samples lie.
#[derive(Clone, Debug)]
struct Chunks {
    /// Entries of three words: first chunk, samples per chunk, sample description.
    map: Words,
    offsets: Words,
    is_wide: bool,
    /// Number of the current chunk, from 1; 0 before the first.
    number: u32,
    samples_per_chunk: u32,
    left: u32,
    at: u64,
}

impl Chunks {
    fn new(map: Words, offsets: &Bytes, is_wide: bool) -> Self {
        let offsets = Words::new(offsets, 8);
        Self {
            map,
            offsets,
            is_wide,
            number: 0,
            samples_per_chunk: 0,
            left: 0,
            at: 0,
        }
    }

    /// Offset of the next sample, which is `size` long.
    fn place(&mut self, size: u32) -> Option<u64> {
        while self.left == 0 {
            let high = if self.is_wide {
                self.offsets.next()?
            } else {
                0
            };
            self.at = u64::from(high) << 32 | u64::from(self.offsets.next()?);
            self.number = self.number.checked_add(1)?;
            while self.map.peek().is_some_and(|first| first <= self.number) {
                self.map.next();
                self.samples_per_chunk = self.map.next()?;
                self.map.next();
            }
            self.left = self.samples_per_chunk;
        }
        self.left -= 1;
        let at = self.at;
        self.at = at.checked_add(u64::from(size))?;
        Some(at)
    }
}
