//! A CMAF checker: what an init segment and its chunks must be, rule by rule.
//!
//! It knows nothing of how we write: it walks the raw boxes itself where the reader is forgiving,
//! so that tests and the conformance suite can hold our packager and others to the same list.
//! Findings are collected, not errors: a stream that breaks a rule may still play.
//! Sources: ISO/IEC 23000-19 (CMAF) section 7, ISO/IEC 14496-12 section 8, draft-ietf-moq-cmsf.

use super::boxes::{FourCc, children, find};
use super::error::Limits;
use super::fragment::{Fragment, TrackFragment};
use super::init::Init;
use super::nal;
use super::reader::{Event, Reader};
use super::track::{Codec, Kind, Track};
use crate::payload::Payload;
use std::sync::Arc;

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The init segment parses (14496-12).
    InitParses,
    /// `ftyp` comes first and has a CMAF structural brand, `cmfc` or `cmf2` (23000-19, 7.2).
    InitBrand,
    /// One track per CMAF header (23000-19, 7.3.1).
    InitOneTrack,
    /// `mvex` has a `trex` for the track (14496-12, 8.8.3).
    InitTrex,
    /// No samples are indexed in `moov` (23000-19, 7.5).
    InitNoSamples,
    /// The codec is known and its RFC 6381 string complete.
    InitCodec,
    /// Video has a size, audio a rate and channels.
    InitShape,
    /// The chunk parses, and its samples lie inside its `mdat` (14496-12).
    ChunkParses,
    /// An object is whole chunks: nothing half at its end (cmsf).
    ChunkWhole,
    /// One `traf` per `moof`, for the track of the init segment (23000-19, 7.3.2.1).
    ChunkOneTraf,
    /// `tfhd` says default-base-is-moof and gives no absolute offset (23000-19, 7.5.16).
    ChunkBase,
    /// `tfdt` is there (23000-19, 7.5.16).
    ChunkDecodeTime,
    /// `trun` gives a data offset (23000-19, 7.5.17).
    ChunkDataOffset,
    /// Samples cover `mdat` without gaps or overlap, in order.
    ChunkCoversMedia,
    /// The chunk has samples, each with bytes.
    ChunkSamples,
    /// Every sample but the last of a stream has a duration.
    ChunkDurations,
    /// Decode time continues where the chunk before ended.
    DecodeTimeContinues,
    /// Sequence numbers rise (14496-12, 8.8.5).
    SequenceRises,
    /// The first chunk begins with a sync sample (cmsf: a group begins with SAP 1 or 2).
    StartsWithSync,
    /// Every audio sample is a sync sample.
    AudioAllSync,
    /// Sync flags say what the NAL units say (14496-15).
    SyncFlagsTrue,
    /// Presentation times within a chunk differ from each other.
    PresentationDistinct,
    /// A `prft` is for the chunk's track and its first sample (14496-12, 8.16.5).
    ProducerReference,
}

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Index of the chunk, from 0; `None` for the init segment.
    pub chunk: Option<u64>,
}

/// Most findings that are kept.
const FINDINGS_MAX: usize = 256;

/// Checks one track: its init segment, then its chunks in order.
#[derive(Debug)]
pub struct Checker {
    init: Option<Arc<Init>>,
    chunk: Option<u64>,
    next_decode_time: Option<u64>,
    sequence: Option<u32>,
    findings: Vec<Finding>,
}

impl Checker {
    /// Begins with the init segment of the track.
    pub fn new(init: &Payload) -> Self {
        let mut checker = Self {
            init: None,
            chunk: None,
            next_decode_time: None,
            sequence: None,
            findings: Vec::new(),
        };
        match Init::parse(init.to_bytes(), &Limits::default()) {
            Ok(init) => {
                checker.init(&init);
                checker.init = Some(Arc::new(init));
            }
            Err(_) => checker.broken(Rule::InitParses),
        }
        checker
    }

    /// Checks the next object: one chunk, or several whole ones.
    pub fn object(&mut self, object: &Payload) {
        let Some(init) = self.init.clone() else {
            return;
        };
        let mut reader = Reader::with_init(Arc::clone(&init), Limits::default());
        self.chunk = Some(self.chunk.map_or(0, |chunk| chunk + 1));
        if reader.push_payload(object).is_err() {
            return self.broken(Rule::ChunkParses);
        }
        reader.finish();
        let mut is_empty = true;
        loop {
            match reader.poll() {
                Ok(Some(Event::Fragment(fragment))) => self.fragment(&init, &fragment),
                Ok(Some(Event::Init(_))) => self.broken(Rule::ChunkParses),
                Ok(None) => break,
                Err(_) => return self.broken(Rule::ChunkParses),
            }
            is_empty = false;
        }
        self.require(!is_empty && reader.is_at_boundary(), Rule::ChunkWhole);
    }

    /// What was found so far, in order.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn broken(&mut self, rule: Rule) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                rule,
                chunk: self.chunk,
            });
        }
    }

    fn require(&mut self, holds: bool, rule: Rule) {
        if !holds {
            self.broken(rule);
        }
    }

    fn init(&mut self, init: &Init) {
        self.require(has_cmaf_brand(&init.raw), Rule::InitBrand);
        self.require(init.tracks.len() == 1, Rule::InitOneTrack);
        self.require(has_trex(init), Rule::InitTrex);
        self.require(!has_samples(init), Rule::InitNoSamples);
        for track in &init.tracks {
            let is_known = !matches!(track.codec, Codec::Other { .. });
            self.require(is_known && is_complete(track), Rule::InitCodec);
            let has_shape = match track.kind() {
                Kind::Video => track.video.is_some_and(|v| v.width > 0 && v.height > 0),
                Kind::Audio => track
                    .audio
                    .is_some_and(|a| a.sample_rate > 0 && a.channels > 0),
                Kind::Other => true,
            };
            self.require(has_shape, Rule::InitShape);
        }
    }

    fn fragment(&mut self, init: &Init, fragment: &Fragment) {
        self.structure(fragment);
        let rises = self
            .sequence
            .is_none_or(|before| fragment.sequence > before);
        self.require(rises, Rule::SequenceRises);
        self.sequence = Some(fragment.sequence);
        let [run] = fragment.tracks.as_slice() else {
            return;
        };
        let Some(track) = init.track(run.track_id) else {
            return;
        };
        self.timing(run);
        self.samples(fragment, run);
        self.sync(fragment, run, track);
        if let Some(reference) = fragment.producer_reference {
            let is_ours =
                reference.track_id == run.track_id && reference.media_time == run.base_decode_time;
            self.require(is_ours, Rule::ProducerReference);
        }
    }

    /// Rules on the raw boxes of the `moof`.
    fn structure(&mut self, fragment: &Fragment) {
        let body = fragment.moof.get(8..).unwrap_or_default();
        let trafs: Vec<_> = children(FourCc::MOOF, body)
            .filter_map(Result::ok)
            .filter(|child| child.kind == FourCc::TRAF)
            .collect();
        self.require(trafs.len() == 1, Rule::ChunkOneTraf);
        for traf in trafs {
            let has_tfdt = find(FourCc::TRAF, traf.body, FourCc::TFDT).is_ok_and(|b| b.is_some());
            self.require(has_tfdt, Rule::ChunkDecodeTime);
            for child in children(FourCc::TRAF, traf.body).filter_map(Result::ok) {
                match child.kind {
                    FourCc::TFHD => {
                        let flags = full_flags(child.body);
                        let is_relative = flags & 0x02_0000 != 0 && flags & 1 == 0;
                        self.require(is_relative, Rule::ChunkBase);
                    }
                    FourCc::TRUN => {
                        self.require(full_flags(child.body) & 1 != 0, Rule::ChunkDataOffset);
                    }
                    _ => {}
                }
            }
        }
    }

    fn timing(&mut self, run: &TrackFragment) {
        let continues = self
            .next_decode_time
            .is_none_or(|next| next == run.base_decode_time);
        self.require(continues, Rule::DecodeTimeContinues);
        self.next_decode_time = Some(run.base_decode_time.saturating_add(run.duration));
        let has_durations = run.samples.iter().all(|sample| sample.duration > 0);
        self.require(has_durations, Rule::ChunkDurations);
        let mut time = 0i64;
        let mut shown: Vec<i64> = Vec::with_capacity(run.samples.len());
        for sample in &run.samples {
            shown.push(time.saturating_add(i64::from(sample.composition_offset)));
            time = time.saturating_add(i64::from(sample.duration));
        }
        shown.sort_unstable();
        let is_distinct = shown
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a != b));
        self.require(is_distinct, Rule::PresentationDistinct);
    }

    fn samples(&mut self, fragment: &Fragment, run: &TrackFragment) {
        let has_bytes = run.samples.iter().all(|sample| sample.size > 0);
        self.require(!run.samples.is_empty() && has_bytes, Rule::ChunkSamples);
        let mut at = Some(0u32);
        for sample in &run.samples {
            at = at
                .filter(|at| *at == sample.offset)
                .and_then(|at| at.checked_add(sample.size));
        }
        let covers = at.is_some_and(|at| at as usize == fragment.media.len());
        self.require(covers, Rule::ChunkCoversMedia);
    }

    fn sync(&mut self, fragment: &Fragment, run: &TrackFragment, track: &Track) {
        if self.chunk == Some(0) {
            self.require(run.starts_with_sync(), Rule::StartsWithSync);
        }
        if track.kind() == Kind::Audio {
            let all = run.samples.iter().all(|sample| sample.flags.is_sync());
            self.require(all, Rule::AudioAllSync);
            return;
        }
        let is_true = run.samples.iter().all(|sample| {
            let data = fragment.sample_payload(sample).to_bytes();
            nal::is_key_frame(&track.codec, &data).is_none_or(|key| key == sample.flags.is_sync())
        });
        self.require(is_true, Rule::SyncFlagsTrue);
    }
}

const FILE: FourCc = FourCc(*b"file");

fn has_cmaf_brand(raw: &[u8]) -> bool {
    let first = children(FILE, raw).next().and_then(Result::ok);
    first
        .filter(|child| child.kind == FourCc::FTYP)
        .is_some_and(|ftyp| {
            let (brands, _) = ftyp.body.as_chunks::<4>();
            brands
                .iter()
                .any(|brand| brand == b"cmfc" || brand == b"cmf2")
        })
}

fn has_trex(init: &Init) -> bool {
    let moov = find(FILE, &init.raw, FourCc::MOOV).ok().flatten();
    let mvex = moov.and_then(|moov| find(FourCc::MOOV, moov.body, FourCc::MVEX).ok().flatten());
    mvex.is_some_and(|mvex| {
        let trexs = children(FourCc::MVEX, mvex.body).filter_map(Result::ok);
        trexs.filter(|child| child.kind == FourCc::TREX).count() == init.tracks.len()
    })
}

/// Whether any `stts` in `moov` has entries.
fn has_samples(init: &Init) -> bool {
    let path = [FourCc::MDIA, FourCc::MINF, FourCc::STBL, FourCc::STTS];
    let Ok(Some(moov)) = find(FILE, &init.raw, FourCc::MOOV) else {
        return false;
    };
    let traks = children(FourCc::MOOV, moov.body).filter_map(Result::ok);
    traks
        .filter(|child| child.kind == FourCc::TRAK)
        .any(|trak| {
            let stts = path.into_iter().try_fold(trak.body, |body, kind| {
                find(FourCc::TRAK, body, kind)
                    .ok()
                    .flatten()
                    .map(|child| child.body)
            });
            stts.is_some_and(|stts| stts.get(4..8).is_some_and(|count| count != [0; 4]))
        })
}

/// Whether the codec string has its parameters, where the codec has any.
fn is_complete(track: &Track) -> bool {
    let string = track.codec_string();
    matches!(track.codec, Codec::Opus { .. } | Codec::Flac { .. }) || string.contains('.')
}

fn full_flags(body: &[u8]) -> u32 {
    body.first_chunk::<4>()
        .map_or(0, |word| u32::from_be_bytes(*word) & 0x00ff_ffff)
}
