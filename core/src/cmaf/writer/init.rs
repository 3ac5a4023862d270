//! [`init_segment`]: `ftyp` and `moov` of one or more tracks, no samples in them.
//!
//! One track gives a CMAF header (brand `cmfc`); several give a muxed one for players that take a
//! single stream. Configuration records are written as they were given, byte for byte.
//! Sources: ISO/IEC 23000-19 section 7.3.1 (CMAF header), ISO/IEC 14496-12 section 8.

use crate::cmaf::boxes::{BoxWriter, FourCc};
use crate::cmaf::codec::entry_kind;
use crate::cmaf::error::{Error, Limits};
use crate::cmaf::init::Init;
use crate::cmaf::record::write_esds;
use crate::cmaf::track::{Audio, Codec, Kind, Track, Video};
use mp4_atom as atom;

/// Writes an init segment for `tracks`, which get the ids that they have.
///
/// Errors: no track, more tracks than [`Limits`] allows by default, a zero or doubled id, or a
/// codec that we cannot write.
pub fn init_segment(tracks: &[Track]) -> Result<Init, Error> {
    check(tracks)?;
    let mut out = BoxWriter::default();
    out.boxed(FourCc::FTYP, |out| write_brands(out, tracks));
    out.boxed(FourCc::MOOV, |out| {
        let next_track_id = tracks.iter().map(|track| track.id).max().unwrap_or(0);
        out.leaf(&atom::Mvhd {
            timescale: 1000,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: next_track_id.saturating_add(1),
            ..atom::Mvhd::default()
        });
        for track in tracks {
            out.boxed(FourCc::TRAK, |out| write_trak(out, track));
        }
        out.boxed(FourCc::MVEX, |out| {
            for track in tracks {
                out.leaf(&atom::Trex {
                    track_id: track.id,
                    default_sample_description_index: 1,
                    default_sample_duration: track.defaults.duration,
                    default_sample_size: track.defaults.size,
                    default_sample_flags: track.defaults.flags,
                });
            }
        });
    });
    Ok(Init {
        raw: out.finish(),
        tracks: tracks.to_vec(),
    })
}

fn check(tracks: &[Track]) -> Result<(), Error> {
    if tracks.is_empty() {
        return Err(Error::Empty { what: "track" });
    }
    let max = Limits::default().tracks_max;
    if tracks.len() > max {
        return Err(Error::TooManyTracks { max });
    }
    for (index, track) in tracks.iter().enumerate() {
        let is_doubled = tracks.iter().take(index).any(|other| other.id == track.id);
        if track.id == 0 || is_doubled {
            return Err(Error::BadTrackId { track_id: track.id });
        }
        if matches!(track.codec, Codec::Other { .. }) {
            return Err(Error::BadConfig {
                codec: "sample entry",
                reason: "codec is not known",
            });
        }
    }
    Ok(())
}

fn write_brands(out: &mut BoxWriter, tracks: &[Track]) {
    out.bytes(if tracks.len() == 1 { b"cmfc" } else { b"iso6" });
    out.u32(0);
    out.bytes(b"iso6mp41");
    if tracks.len() == 1 {
        out.bytes(b"cmfc");
    }
    if tracks
        .iter()
        .any(|track| matches!(track.codec, Codec::Av1 { .. }))
    {
        out.bytes(b"av01");
    }
    out.bytes(b"dash");
}

fn write_trak(out: &mut BoxWriter, track: &Track) {
    let video = track.video.unwrap_or_default();
    out.leaf(&atom::Tkhd {
        track_id: track.id,
        enabled: true,
        in_movie: true,
        volume: if track.kind() == Kind::Audio {
            1.into()
        } else {
            0.into()
        },
        width: video.width.into(),
        height: video.height.into(),
        ..atom::Tkhd::default()
    });
    if track.presentation_start > 0 {
        write_edit(out, track.presentation_start);
    }
    out.boxed(FourCc::MDIA, |out| {
        out.leaf(&atom::Mdhd {
            timescale: track.timescale.get(),
            language: track.language.clone(),
            ..atom::Mdhd::default()
        });
        let (handler, name) = match track.kind() {
            Kind::Audio => (b"soun", "Sound"),
            Kind::Video | Kind::Other => (b"vide", "Video"),
        };
        out.leaf(&atom::Hdlr {
            handler: atom::FourCC::new(handler),
            name: name.to_owned(),
        });
        out.boxed(FourCc::MINF, |out| write_minf(out, track));
    });
}

/// One edit that begins at `media_time` and lasts as long as there is media.
fn write_edit(out: &mut BoxWriter, media_time: i64) {
    out.boxed(FourCc::EDTS, |out| {
        out.full(FourCc::ELST, 1, 0, |out| {
            out.u32(1);
            out.u64(0);
            out.u64(media_time.cast_unsigned());
            out.u32(0x0001_0000);
        });
    });
}

fn write_minf(out: &mut BoxWriter, track: &Track) {
    match track.kind() {
        Kind::Audio => out.full(FourCc::SMHD, 0, 0, |out| out.u32(0)),
        Kind::Video | Kind::Other => out.full(FourCc::VMHD, 0, 1, |out| out.u64(0)),
    }
    out.boxed(FourCc::DINF, |out| {
        out.full(FourCc::DREF, 0, 0, |out| {
            out.u32(1);
            // The media is in this file.
            out.full(FourCc(*b"url "), 0, 1, |_| {});
        });
    });
    out.boxed(FourCc::STBL, |out| {
        out.full(FourCc::STSD, 0, 0, |out| {
            out.u32(1);
            out.boxed(entry_kind(&track.codec), |out| write_entry(out, track));
        });
        for empty in [FourCc::STTS, FourCc::STSC] {
            out.full(empty, 0, 0, |out| out.u32(0));
        }
        out.full(FourCc::STSZ, 0, 0, |out| out.u64(0));
        out.full(FourCc::STCO, 0, 0, |out| out.u32(0));
    });
}

fn write_entry(out: &mut BoxWriter, track: &Track) {
    out.bytes(&[0, 0, 0, 0, 0, 0, 0, 1]); // reserved, data reference 1
    match track.kind() {
        Kind::Audio => write_audio_fields(out, track.audio.unwrap_or_default()),
        Kind::Video | Kind::Other => write_video_fields(out, track.video.unwrap_or_default()),
    }
    let record = |out: &mut BoxWriter, kind, config: &[u8]| {
        out.boxed(kind, |out| out.bytes(config));
    };
    match &track.codec {
        Codec::H264 { config, .. } => record(out, FourCc::AVCC, config),
        Codec::Hevc { config, .. } => record(out, FourCc::HVCC, config),
        Codec::Av1 { config } => record(out, FourCc::AV1C, config),
        Codec::Vp9 { config } => record(out, FourCc::VPCC, config),
        Codec::Aac { config } => write_esds(out, config),
        Codec::Opus { config } => record(out, FourCc::DOPS, config),
        Codec::Flac { config } => record(out, FourCc::DFLA, config),
        // Refused before anything was written.
        Codec::Other { .. } => {}
    }
}

fn write_video_fields(out: &mut BoxWriter, video: Video) {
    out.bytes(&[0; 16]);
    out.u16(video.width);
    out.u16(video.height);
    out.u32(0x0048_0000); // 72 dpi
    out.u32(0x0048_0000);
    out.u32(0);
    out.u16(1); // frames per sample
    out.bytes(&[0; 32]); // compressor name
    out.u16(0x18); // depth
    out.u16(0xffff);
}

fn write_audio_fields(out: &mut BoxWriter, audio: Audio) {
    out.u64(0);
    out.u16(audio.channels.max(1));
    out.u16(16);
    out.u32(0);
    // 16.16 fixed point: a rate past 65,535 does not fit, and the codec's record is what counts.
    out.u16(u16::try_from(audio.sample_rate).unwrap_or(0));
    out.u16(0);
}
