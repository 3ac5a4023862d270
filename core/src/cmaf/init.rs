//! [`Init`]: an init segment, `ftyp` and `moov`, with its tracks parsed.
//!
//! The bytes are kept as they came, so that an edit list, a colour box or a codec that we do not
//! know passes through untouched. [`Init::single_track`] cuts one track out by copying boxes, not
//! by writing them anew. Sources: ISO/IEC 14496-12 section 8; QuickTime sound entries of version 1.

use super::boxes::{BoxWriter, Child, Fields, FourCc, children, decode_leaf, find, require};
use super::codec;
use super::error::{Error, Limits};
use super::record::{self, aac_from_esds};
use super::sps;
use super::track::{Audio, Codec, Defaults, Kind, Track, Video};
use bytes::Bytes;
use std::num::NonZeroU32;

/// An init segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Init {
    /// `ftyp` (when there was one) and `moov`, as they came.
    pub raw: Bytes,
    /// The tracks, in the order of `moov`.
    pub tracks: Vec<Track>,
}

impl Init {
    /// Parses `ftyp` and `moov` out of `raw`; other boxes between them are ignored.
    pub fn parse(raw: Bytes, limits: &Limits) -> Result<Self, Error> {
        let moov = require(FourCc(*b"file"), &raw, FourCc::MOOV)?;
        let tracks = parse_moov(moov.body, limits)?;
        Ok(Self { raw, tracks })
    }

    /// The track with this id.
    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// Whether any track is video.
    pub fn has_video(&self) -> bool {
        self.tracks.iter().any(|track| track.kind() == Kind::Video)
    }

    /// An init segment of only the track `id`, its boxes copied unchanged; `None` without it.
    pub fn single_track(&self, id: u32) -> Option<Self> {
        let track = self.track(id)?.clone();
        let mut out = BoxWriter::default();
        for child in children(FourCc(*b"file"), &self.raw) {
            let child = child.ok()?;
            match child.kind {
                FourCc::MOOV => out.boxed(FourCc::MOOV, |out| copy_one_track(out, child.body, id)),
                FourCc::FTYP => out.bytes(child.whole),
                _ => {}
            }
        }
        Some(Self {
            raw: out.finish(),
            tracks: vec![track],
        })
    }

    /// Whether `moov` has `mvex`, which is to say that fragments follow.
    pub(crate) fn is_fragmented(&self) -> bool {
        require(FourCc(*b"file"), &self.raw, FourCc::MOOV)
            .and_then(|moov| find(FourCc::MOOV, moov.body, FourCc::MVEX))
            .is_ok_and(|mvex| mvex.is_some())
    }
}

fn copy_one_track(out: &mut BoxWriter, moov: &[u8], id: u32) {
    for child in children(FourCc::MOOV, moov).map_while(Result::ok) {
        match child.kind {
            FourCc::TRAK if trak_id(child.body).ok() != Some(id) => {}
            FourCc::MVEX => out.boxed(FourCc::MVEX, |out| {
                for child in children(FourCc::MVEX, child.body).map_while(Result::ok) {
                    if child.kind != FourCc::TREX || trex_id(child.body).ok() == Some(id) {
                        out.bytes(child.whole);
                    }
                }
            }),
            _ => out.bytes(child.whole),
        }
    }
}

/// Parses the tracks of a `moov` body.
pub(crate) fn parse_moov(moov: &[u8], limits: &Limits) -> Result<Vec<Track>, Error> {
    let mut tracks: Vec<Track> = Vec::new();
    for child in children(FourCc::MOOV, moov) {
        let child = child?;
        if child.kind != FourCc::TRAK {
            continue;
        }
        if tracks.len() >= limits.tracks_max {
            return Err(Error::TooManyTracks {
                max: limits.tracks_max,
            });
        }
        let track = parse_trak(child.body)?;
        if track.id == 0 || tracks.iter().any(|other| other.id == track.id) {
            return Err(Error::BadTrackId { track_id: track.id });
        }
        tracks.push(track);
    }
    if tracks.is_empty() {
        return Err(Error::MissingBox {
            kind: FourCc::TRAK,
            parent: FourCc::MOOV,
        });
    }
    if let Some(mvex) = find(FourCc::MOOV, moov, FourCc::MVEX)? {
        for child in children(FourCc::MVEX, mvex.body) {
            let child = child?;
            if child.kind == FourCc::TREX {
                apply_trex(child.body, &mut tracks)?;
            }
        }
    }
    Ok(tracks)
}

fn apply_trex(body: &[u8], tracks: &mut [Track]) -> Result<(), Error> {
    let trex: mp4_atom::Trex = decode_leaf(FourCc::TREX, body)?;
    if let Some(track) = tracks.iter_mut().find(|track| track.id == trex.track_id) {
        track.defaults = Defaults {
            duration: trex.default_sample_duration,
            size: trex.default_sample_size,
            flags: trex.default_sample_flags,
        };
        if let Some(video) = &mut track.video {
            let timescale = u64::from(track.timescale.get());
            video.frame_rate = video
                .frame_rate
                .or_else(|| sps::frame_rate(timescale, u64::from(trex.default_sample_duration)));
        }
    }
    Ok(())
}

/// Track id of a `trak` body.
pub(crate) fn trak_id(trak: &[u8]) -> Result<u32, Error> {
    let tkhd = require(FourCc::TRAK, trak, FourCc::TKHD)?;
    let (at, _) = tkhd_id_offset(tkhd.body)?;
    Fields::new(FourCc::TKHD, tkhd.body.get(at..).unwrap_or_default()).u32()
}

/// Where the track id stands in a `tkhd` body, and the box's version.
pub(crate) fn tkhd_id_offset(tkhd: &[u8]) -> Result<(usize, u8), Error> {
    let (version, _) = Fields::new(FourCc::TKHD, tkhd).version_flags()?;
    Ok((if version == 1 { 20 } else { 12 }, version))
}

fn trex_id(body: &[u8]) -> Result<u32, Error> {
    let mut fields = Fields::new(FourCc::TREX, body);
    fields.version_flags()?;
    fields.u32()
}

fn parse_trak(trak: &[u8]) -> Result<Track, Error> {
    let tkhd = require(FourCc::TRAK, trak, FourCc::TKHD)?;
    let tkhd: mp4_atom::Tkhd = decode_leaf(FourCc::TKHD, tkhd.body)?;
    let mdia = require(FourCc::TRAK, trak, FourCc::MDIA)?;
    let mdhd = require(FourCc::MDIA, mdia.body, FourCc::MDHD)?;
    let mdhd: mp4_atom::Mdhd = decode_leaf(FourCc::MDHD, mdhd.body)?;
    let timescale = NonZeroU32::new(mdhd.timescale).ok_or(Error::ZeroTimescale {
        track_id: tkhd.track_id,
    })?;
    let hdlr = require(FourCc::MDIA, mdia.body, FourCc::HDLR)?;
    let mut fields = Fields::new(FourCc::HDLR, hdlr.body);
    fields.skip(8)?;
    let kind = match FourCc(fields.array()?) {
        FourCc::VIDE => Kind::Video,
        FourCc::SOUN => Kind::Audio,
        _ => Kind::Other,
    };
    let minf = require(FourCc::MDIA, mdia.body, FourCc::MINF)?;
    let stbl = require(FourCc::MINF, minf.body, FourCc::STBL)?;
    let stsd = require(FourCc::STBL, stbl.body, FourCc::STSD)?;
    let entry = parse_stsd(stsd.body, kind)?;
    Ok(Track {
        id: tkhd.track_id,
        codec: entry.codec,
        timescale,
        language: language(&mdhd.language),
        video: entry.video,
        audio: entry.audio,
        defaults: Defaults::default(),
        presentation_start: presentation_start(trak)?,
    })
}

fn language(code: &str) -> String {
    let is_plain = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_plain { code } else { "und" }.to_owned()
}

/// Media time of the first edit that shows media; 0 without an edit list.
fn presentation_start(trak: &[u8]) -> Result<i64, Error> {
    let Some(edts) = find(FourCc::TRAK, trak, FourCc::EDTS)? else {
        return Ok(0);
    };
    let Some(elst) = find(FourCc::EDTS, edts.body, FourCc::ELST)? else {
        return Ok(0);
    };
    let mut fields = Fields::new(FourCc::ELST, elst.body);
    let (version, _) = fields.version_flags()?;
    // The first entries may be empty edits (media time -1), which delay the track.
    for _ in 0..fields.u32()?.min(8) {
        fields.sized(version)?;
        let media_time = if version == 1 {
            fields.u64()?.cast_signed()
        } else {
            i64::from(fields.u32()?.cast_signed())
        };
        fields.u32()?;
        if media_time >= 0 {
            return Ok(media_time);
        }
    }
    Ok(0)
}

struct Entry {
    codec: Codec,
    video: Option<Video>,
    audio: Option<Audio>,
}

/// Parses the first sample entry.
fn parse_stsd(stsd: &[u8], kind: Kind) -> Result<Entry, Error> {
    let body = stsd
        .get(8..)
        .ok_or(Error::Truncated { kind: FourCc::STSD })?;
    let entry = children(FourCc::STSD, body)
        .next()
        .ok_or(Error::MissingBox {
            kind: FourCc(*b"any "),
            parent: FourCc::STSD,
        })??;
    match kind {
        Kind::Video => video_entry(&entry),
        Kind::Audio => audio_entry(&entry),
        Kind::Other => Ok(Entry {
            codec: Codec::Other {
                entry: entry.kind,
                kind,
            },
            video: None,
            audio: None,
        }),
    }
}

/// Body of a configuration box, copied out of `moov`.
fn config(entry: &Child<'_>, fields: &[u8], kind: FourCc) -> Result<Bytes, Error> {
    require(entry.kind, fields, kind).map(|child| Bytes::copy_from_slice(child.body))
}

fn video_entry(entry: &Child<'_>) -> Result<Entry, Error> {
    let mut fields = Fields::new(entry.kind, entry.body);
    fields.skip(24)?;
    let (width, height) = (fields.u16()?, fields.u16()?);
    fields.skip(50)?;
    let rest = fields.rest();
    let codec = match entry.kind {
        FourCc::AVC1 | FourCc::AVC3 => Codec::H264 {
            config: config(entry, rest, FourCc::AVCC)?,
            in_band: entry.kind == FourCc::AVC3,
        },
        FourCc::HVC1 | FourCc::HEV1 => Codec::Hevc {
            config: config(entry, rest, FourCc::HVCC)?,
            in_band: entry.kind == FourCc::HEV1,
        },
        FourCc::AV01 => Codec::Av1 {
            config: config(entry, rest, FourCc::AV1C)?,
        },
        FourCc::VP09 => Codec::Vp9 {
            config: config(entry, rest, FourCc::VPCC)?,
        },
        other => Codec::Other {
            entry: other,
            kind: Kind::Video,
        },
    };
    check_config(&codec)?;
    let shape = codec::shape(&codec)?.0.unwrap_or_default();
    // The sample entry says the size; only a zero there is filled from the parameter set.
    let video = Video {
        width: if width == 0 { shape.width } else { width },
        height: if height == 0 { shape.height } else { height },
        frame_rate: shape.frame_rate,
    };
    Ok(Entry {
        codec,
        video: Some(video),
        audio: None,
    })
}

fn check_config(codec: &Codec) -> Result<(), Error> {
    match codec {
        // avc3 may leave its parameter sets to the samples.
        Codec::H264 {
            config,
            in_band: false,
        } => record::check_avcc(config),
        Codec::Hevc { config, .. } => record::check_hvcc(config),
        Codec::Av1 { config } => record::check_av1c(config),
        _ => Ok(()),
    }
}

fn audio_entry(entry: &Child<'_>) -> Result<Entry, Error> {
    let mut fields = Fields::new(entry.kind, entry.body);
    fields.skip(8)?;
    let version = fields.u16()?;
    fields.skip(6)?;
    let channels = fields.u16()?;
    fields.skip(6)?;
    let sample_rate = fields.u32()? >> 16;
    // QuickTime's longer sound entries put more fields before the boxes.
    fields.skip(match version {
        1 => 16,
        2 => 36,
        _ => 0,
    })?;
    let rest = fields.rest();
    let other = Codec::Other {
        entry: entry.kind,
        kind: Kind::Audio,
    };
    let codec = match entry.kind {
        FourCc::MP4A => mp4a(rest)?.map_or(other, |config| Codec::Aac { config }),
        FourCc::OPUS => Codec::Opus {
            config: config(entry, rest, FourCc::DOPS)?,
        },
        FourCc::FLAC => Codec::Flac {
            config: config(entry, rest, FourCc::DFLA)?,
        },
        _ => other,
    };
    let shape = codec::shape(&codec)?.1.unwrap_or_default();
    let audio = Audio {
        sample_rate: if shape.sample_rate == 0 {
            sample_rate
        } else {
            shape.sample_rate
        },
        channels: if shape.channels == 0 {
            channels
        } else {
            shape.channels
        },
    };
    Ok(Entry {
        codec,
        video: None,
        audio: Some(audio),
    })
}

/// `AudioSpecificConfig` of an `mp4a` entry; `None` when it is not AAC (MP3, for one).
fn mp4a(entry: &[u8]) -> Result<Option<Bytes>, Error> {
    if let Some(esds) = find(FourCc::MP4A, entry, FourCc::ESDS)? {
        return Ok(aac_from_esds(esds.body));
    }
    if let Some(wave) = find(FourCc::MP4A, entry, FourCc::WAVE)?
        && let Some(esds) = find(FourCc::WAVE, wave.body, FourCc::ESDS)?
    {
        return Ok(aac_from_esds(esds.body));
    }
    Err(Error::MissingBox {
        kind: FourCc::ESDS,
        parent: FourCc::MP4A,
    })
}
