//! [`Muxer`]: init segments and chunks of several tracks in, one fragmented MP4 file out.
//!
//! | state | what `push` does |
//! |---|---|
//! | gathering | keeps chunks until every input has given one, or too much waits |
//! | running | writes the header once, then each chunk as it comes |
//!
//! The `trak` boxes of the inputs are copied with a new track id; each `moof` is written anew with
//! unique ids, and media bytes are passed on as they are. The file begins at time zero: a viewer
//! joins a live stream at any time, and a file that begins hours after its own start is played
//! badly by many players. The earliest chunk gathered decides the zero; what comes later from
//! before it is dropped and counted. Source: ISO/IEC 14496-12, 8.8.

use super::boxes::{BoxWriter, FourCc, children};
use super::error::{Error, Limits};
use super::fragment::Fragment;
use super::init::{Init, tkhd_id_offset};
use super::reader::{Event, Reader};
use super::writer::write_moof;
use crate::map::BTreeMap;
use crate::payload::Payload;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// Chunks that wait for the other inputs before the file begins.
const GATHERED_CHUNKS_MAX: usize = 512;
/// Bytes that wait, likewise.
const GATHERED_BYTES_MAX: usize = 16 << 20;

/// Joins tracks into one file.
#[derive(Debug)]
pub struct Muxer {
    inputs: Vec<Input>,
    /// Fragments before the zero of the file is known, with their input.
    gathered: VecDeque<(usize, Fragment)>,
    gathered_bytes: usize,
    zero: Option<Zero>,
    sequence: u32,
    dropped: u64,
    out: VecDeque<Payload>,
}

#[derive(Debug)]
struct Input {
    init: Arc<Init>,
    reader: Reader,
    /// New track id for each one of the input.
    ids: BTreeMap<u32, u32>,
    has_begun: bool,
}

/// The moment that becomes time zero, as a fraction of seconds.
#[derive(Clone, Copy, Debug)]
struct Zero {
    ticks: u64,
    timescale: u32,
}

impl Zero {
    /// In ticks of another timescale, rounded down.
    fn ticks_at(self, timescale: u32) -> u64 {
        let ticks = u128::from(self.ticks) * u128::from(timescale) / u128::from(self.timescale);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

impl Muxer {
    /// A muxer of the tracks of all `inits`; the index of an init segment names its input.
    ///
    /// Tracks are numbered from 1 in order of inputs.
    pub fn new(inits: &[Arc<Init>], limits: Limits) -> Result<Self, Error> {
        let mut next_id = 0;
        let inputs: Vec<Input> = inits
            .iter()
            .map(|init| {
                let ids = init.tracks.iter().map(|track| {
                    next_id += 1;
                    (track.id, next_id)
                });
                Input {
                    ids: ids.collect(),
                    reader: Reader::with_init(Arc::clone(init), limits),
                    init: Arc::clone(init),
                    has_begun: false,
                }
            })
            .collect();
        if next_id == 0 {
            return Err(Error::Empty { what: "track" });
        }
        if next_id as usize > limits.tracks_max {
            return Err(Error::TooManyTracks {
                max: limits.tracks_max,
            });
        }
        Ok(Self {
            out: VecDeque::from([header(&inputs, next_id)?.into()]),
            inputs,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            zero: None,
            sequence: 0,
            dropped: 0,
        })
    }

    /// Takes bytes of input `index`: whole chunks, or cut anywhere.
    ///
    /// An init segment in between is ignored when it is the one that is known.
    pub fn push(&mut self, index: usize, payload: &Payload) -> Result<(), Error> {
        let missing = Error::NoSuch {
            what: "input",
            index,
        };
        self.inputs
            .get_mut(index)
            .ok_or(missing.clone())?
            .reader
            .push_payload(payload)?;
        loop {
            let input = self.inputs.get_mut(index).ok_or(missing.clone())?;
            match input.reader.poll()? {
                None => return Ok(()),
                Some(Event::Init(init)) if init.raw == input.init.raw => {}
                Some(Event::Init(_)) => return Err(Error::InitChanged { input: index }),
                Some(Event::Fragment(fragment)) => {
                    input.has_begun = true;
                    self.take(index, fragment)?;
                }
            }
        }
    }

    /// The next bytes of the file; the header first. `None` when more input is needed.
    pub fn poll(&mut self) -> Option<Payload> {
        self.out.pop_front()
    }

    /// Says that no more input comes: what still waits is written.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.begin()
    }

    /// Chunks left out because they were from before the beginning of the file.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take(&mut self, index: usize, fragment: Fragment) -> Result<(), Error> {
        if self.zero.is_some() {
            return self.write(index, &fragment);
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(fragment.media.len());
        self.gathered.push_back((index, fragment));
        let is_full =
            self.gathered.len() >= GATHERED_CHUNKS_MAX || self.gathered_bytes >= GATHERED_BYTES_MAX;
        if is_full || self.inputs.iter().all(|input| input.has_begun) {
            self.begin()?;
        }
        Ok(())
    }

    /// Decides the zero of the file and writes what was gathered.
    fn begin(&mut self) -> Result<(), Error> {
        if self.zero.is_none() {
            self.zero = self.earliest();
        }
        self.gathered_bytes = 0;
        for (index, fragment) in std::mem::take(&mut self.gathered) {
            self.write(index, &fragment)?;
        }
        Ok(())
    }

    fn earliest(&self) -> Option<Zero> {
        let starts = self.gathered.iter().flat_map(|(index, fragment)| {
            let init = self.inputs.get(*index).map(|input| &input.init);
            fragment.tracks.iter().filter_map(move |track| {
                let timescale = init?.track(track.track_id)?.timescale.get();
                Some(Zero {
                    ticks: track.base_decode_time,
                    timescale,
                })
            })
        });
        starts.min_by_key(|zero| zero.ticks_at(1_000_000_000))
    }

    fn write(&mut self, index: usize, fragment: &Fragment) -> Result<(), Error> {
        let Some(zero) = self.zero else { return Ok(()) };
        let input = self.inputs.get(index).ok_or(Error::NoSuch {
            what: "input",
            index,
        })?;
        let mut shifts = BTreeMap::new();
        for track in &fragment.tracks {
            let track_id = track.track_id;
            let known = input
                .init
                .track(track_id)
                .ok_or(Error::UnknownTrack { track_id })?;
            let shift = zero.ticks_at(known.timescale.get());
            if track.base_decode_time < shift {
                self.dropped += 1;
                return Ok(());
            }
            let id = input.ids.get(&track_id).copied().unwrap_or(track_id);
            shifts.insert(track_id, (id, track.base_decode_time - shift));
        }
        self.sequence = self.sequence.wrapping_add(1);
        let moof = rewrite(fragment, self.sequence, &shifts)?;
        let mut pieces = vec![moof];
        pieces.extend_from_slice(fragment.media.pieces());
        self.out.push_back(Payload::from_pieces(pieces));
        Ok(())
    }
}

/// The `moof` and `mdat` header of `fragment` with new ids, times and sequence number.
///
/// Written anew from the samples: an old `moof` may lack `tfdt`, or count from the start of its
/// own file, and neither can be patched.
fn rewrite(
    fragment: &Fragment,
    sequence: u32,
    tracks: &BTreeMap<u32, (u32, u64)>,
) -> Result<Bytes, Error> {
    let bytes = fragment.media.len();
    let mdat_size = u32::try_from(bytes.saturating_add(8))
        .ok()
        .filter(|size| *size < 1 << 31)
        .ok_or(Error::ChunkTooLarge { bytes })?;
    let mut out = BoxWriter::with_capacity(128 + 16 * fragment.sample_count());
    let tracks: Vec<_> = fragment
        .tracks
        .iter()
        .filter_map(|track| {
            let &(id, time) = tracks.get(&track.track_id)?;
            Some((id, time, track.samples.as_slice()))
        })
        .collect();
    write_moof(&mut out, sequence, &tracks);
    out.u32(mdat_size);
    out.bytes(&FourCc::MDAT.0);
    Ok(out.finish())
}

/// `ftyp` and a `moov` with every input's tracks, renumbered.
fn header(inputs: &[Input], last_id: u32) -> Result<Bytes, Error> {
    const FILE: FourCc = FourCc(*b"file");
    let mut traks = Vec::new();
    let mut trexs = Vec::new();
    for input in inputs {
        let moov = super::boxes::require(FILE, &input.init.raw, FourCc::MOOV)?;
        for child in children(FourCc::MOOV, moov.body) {
            let child = child?;
            match child.kind {
                FourCc::TRAK => traks.push(renumber_trak(child.body, &input.ids)?),
                FourCc::MVEX => {
                    for child in children(FourCc::MVEX, child.body) {
                        let child = child?;
                        if child.kind == FourCc::TREX {
                            trexs.push(renumber(child.body, 4, &input.ids));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut out = BoxWriter::default();
    out.boxed(FourCc::FTYP, |out| {
        out.bytes(b"iso6");
        out.u32(0);
        out.bytes(b"iso6mp41");
    });
    out.boxed(FourCc::MOOV, |out| {
        out.leaf(&mp4_atom::Mvhd {
            timescale: 1000,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: last_id.saturating_add(1),
            ..mp4_atom::Mvhd::default()
        });
        for trak in traks {
            out.boxed(FourCc::TRAK, |out| out.bytes(&trak));
        }
        out.boxed(FourCc::MVEX, |out| {
            for trex in trexs {
                out.boxed(FourCc::TREX, |out| out.bytes(&trex));
            }
        });
    });
    Ok(out.finish())
}

fn renumber_trak(trak: &[u8], ids: &BTreeMap<u32, u32>) -> Result<Bytes, Error> {
    let mut out = BoxWriter::with_capacity(trak.len());
    for child in children(FourCc::TRAK, trak) {
        let child = child?;
        match child.kind {
            FourCc::TKHD => {
                let (at, _) = tkhd_id_offset(child.body)?;
                let tkhd = renumber(child.body, at, ids);
                out.boxed(FourCc::TKHD, |out| out.bytes(&tkhd));
            }
            // References to other tracks go by their old ids, and to tracks that are not here.
            kind if kind == FourCc(*b"tref") => {}
            _ => out.bytes(child.whole),
        }
    }
    Ok(out.finish())
}

/// `body` with the track id at `at` replaced.
fn renumber(body: &[u8], at: usize, ids: &BTreeMap<u32, u32>) -> Bytes {
    let mut body = BytesMut::from(body);
    let field = body.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>);
    if let Some(field) = field
        && let Some(id) = ids.get(&u32::from_be_bytes(*field))
    {
        *field = id.to_be_bytes();
    }
    body.freeze()
}
