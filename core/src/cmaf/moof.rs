//! `moof` bodies: runs of samples resolved against their defaults and checked against the `mdat`.
//!
//! | where a run's data begins | when |
//! |---|---|
//! | `base_data_offset` + `data_offset` | `tfhd` has an absolute base (old files) |
//! | `moof` + `data_offset` | default-base-is-moof, or the first `traf` |
//! | end of the run before | `trun` has no `data_offset` |
//! | start of the `mdat` content | the first run has none either |
//!
//! Source: ISO/IEC 14496-12, 8.8.4 - 8.8.8 and 8.8.12.

use super::boxes::{Fields, FourCc, children, decode_leaf, require};
use super::error::{Error, Limits};
use super::fragment::{Sample, SampleFlags, TrackFragment};
use super::init::Init;
use super::track::Defaults;
use crate::map::BTreeMap;

/// Positions of the boxes, in bytes from the start of the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) moof: u64,
    /// First byte of the content of `mdat`.
    pub(crate) media: u64,
    pub(crate) media_len: u64,
}

/// What a `moof` says.
#[derive(Debug)]
pub(crate) struct Moof {
    pub(crate) sequence: u32,
    pub(crate) tracks: Vec<TrackFragment>,
    pub(crate) is_relocatable: bool,
}

/// Parses the body of a `moof`. `next_decode_time` carries each track's time from fragment to
/// fragment, for those that have no `tfdt`.
pub(crate) fn parse(
    body: &[u8],
    place: Place,
    init: &Init,
    limits: &Limits,
    next_decode_time: &mut BTreeMap<u32, u64>,
) -> Result<Moof, Error> {
    let mfhd = require(FourCc::MOOF, body, FourCc::MFHD)?;
    let mfhd: mp4_atom::Mfhd = decode_leaf(FourCc::MFHD, mfhd.body)?;
    let mut parser = Parser {
        place,
        init,
        samples_left: limits.samples_max,
        samples_max: limits.samples_max,
        end: None,
        is_relocatable: true,
    };
    let mut tracks = Vec::new();
    for child in children(FourCc::MOOF, body) {
        let child = child?;
        if child.kind != FourCc::TRAF {
            continue;
        }
        // One entry per run at most is useful; this also bounds the empty ones.
        if tracks.len() > limits.tracks_max.saturating_mul(4) {
            return Err(Error::TooManyTracks {
                max: limits.tracks_max,
            });
        }
        let track = parser.traf(child.body, next_decode_time)?;
        next_decode_time.insert(
            track.track_id,
            track.base_decode_time.saturating_add(track.duration),
        );
        tracks.push(track);
    }
    Ok(Moof {
        sequence: mfhd.sequence_number,
        tracks,
        is_relocatable: parser.is_relocatable,
    })
}

struct Parser<'a> {
    place: Place,
    init: &'a Init,
    samples_left: usize,
    samples_max: usize,
    /// Where the run before ended, from the start of the stream.
    end: Option<u64>,
    is_relocatable: bool,
}

impl Parser<'_> {
    fn traf(&mut self, body: &[u8], times: &BTreeMap<u32, u64>) -> Result<TrackFragment, Error> {
        let tfhd = require(FourCc::TRAF, body, FourCc::TFHD)?;
        let tfhd: mp4_atom::Tfhd = decode_leaf(FourCc::TFHD, tfhd.body)?;
        let track_id = tfhd.track_id;
        let trex = self
            .init
            .track(track_id)
            .ok_or(Error::UnknownTrack { track_id })?
            .defaults;
        let defaults = Defaults {
            duration: tfhd.default_sample_duration.unwrap_or(trex.duration),
            size: tfhd.default_sample_size.unwrap_or(trex.size),
            flags: tfhd.default_sample_flags.unwrap_or(trex.flags),
        };
        self.is_relocatable &= tfhd.base_data_offset.is_none();
        let base = match (tfhd.base_data_offset, tfhd.default_base_is_moof) {
            (Some(absolute), _) => absolute,
            (None, true) => self.place.moof,
            // Without either, a later traf begins where the one before ended.
            (None, false) => self.end.unwrap_or(self.place.moof),
        };
        let mut track = TrackFragment {
            track_id,
            base_decode_time: times.get(&track_id).copied().unwrap_or(0),
            duration: 0,
            samples: Vec::new(),
        };
        if tfhd.base_data_offset.is_some() || tfhd.default_base_is_moof {
            self.end = self.end.filter(|_| tfhd.base_data_offset.is_none());
        }
        for child in children(FourCc::TRAF, body) {
            let child = child?;
            match child.kind {
                FourCc::TFDT => {
                    let mut fields = Fields::new(FourCc::TFDT, child.body);
                    let (version, _) = fields.version_flags()?;
                    track.base_decode_time = fields.sized(version)?;
                }
                FourCc::TRUN => self.trun(child.body, base, defaults, &mut track)?,
                _ => {}
            }
        }
        track
            .base_decode_time
            .checked_add(track.duration)
            .ok_or(Error::TimeOverflow { track_id })?;
        Ok(track)
    }

    fn trun(
        &mut self,
        body: &[u8],
        base: u64,
        defaults: Defaults,
        track: &mut TrackFragment,
    ) -> Result<(), Error> {
        let run = Run::parse(body)?;
        let count = run.count as usize;
        self.samples_left = self
            .samples_left
            .checked_sub(count)
            .ok_or(Error::TooManySamples {
                max: self.samples_max,
            })?;
        let outside = Error::SampleOutsideMdat {
            track_id: track.track_id,
        };
        let start = match run.data_offset {
            Some(offset) => base.checked_add_signed(i64::from(offset)),
            None => Some(self.end.unwrap_or(self.place.media)),
        };
        let mut at = start
            .and_then(|start| start.checked_sub(self.place.media))
            .ok_or_else(|| outside.clone())?;
        track.samples.reserve(count);
        let mut fields = run.samples;
        for index in 0..run.count {
            let mut sample = run.layout.sample(&mut fields, defaults)?;
            if let (0, Some(first)) = (index, run.first_flags) {
                sample.flags = SampleFlags(first);
            }
            let end = at.saturating_add(u64::from(sample.size));
            if end > self.place.media_len {
                return Err(outside);
            }
            sample.offset = u32::try_from(at).map_err(|_| outside.clone())?;
            at = end;
            track.duration = track.duration.saturating_add(u64::from(sample.duration));
            track.samples.push(sample);
        }
        self.end = Some(self.place.media.saturating_add(at));
        Ok(())
    }
}

/// Head of a `trun`, and its sample fields still to be read.
struct Run<'a> {
    count: u32,
    data_offset: Option<i32>,
    first_flags: Option<u32>,
    layout: Layout,
    samples: Fields<'a>,
}

/// Which fields each sample of a run has.
#[derive(Clone, Copy)]
struct Layout {
    duration: bool,
    size: bool,
    flags: bool,
    composition_offset: bool,
}

impl<'a> Run<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let mut fields = Fields::new(FourCc::TRUN, body);
        let (_version, flags) = fields.version_flags()?;
        let count = fields.u32()?;
        let data_offset = if flags & 0x1 == 0 {
            None
        } else {
            Some(fields.u32()?.cast_signed())
        };
        let first_flags = if flags & 0x4 == 0 {
            None
        } else {
            Some(fields.u32()?)
        };
        let layout = Layout {
            duration: flags & 0x100 != 0,
            size: flags & 0x200 != 0,
            flags: flags & 0x400 != 0,
            composition_offset: flags & 0x800 != 0,
        };
        Ok(Self {
            count,
            data_offset,
            first_flags,
            layout,
            samples: fields,
        })
    }
}

impl Layout {
    fn sample(self, fields: &mut Fields<'_>, defaults: Defaults) -> Result<Sample, Error> {
        let mut field = |present: bool, default: u32| {
            if present { fields.u32() } else { Ok(default) }
        };
        Ok(Sample {
            duration: field(self.duration, defaults.duration)?,
            size: field(self.size, defaults.size)?,
            flags: SampleFlags(field(self.flags, defaults.flags)?),
            composition_offset: field(self.composition_offset, 0)?.cast_signed(),
            offset: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::boxes::BoxWriter;
    use crate::cmaf::track::{Codec, Track};
    use crate::cmaf::writer::init_segment;
    use bytes::Bytes;

    const PLACE: Place = Place {
        moof: 1000,
        media: 1200,
        media_len: 100,
    };

    fn init() -> Init {
        let codec = Codec::aac(Bytes::from_static(&[0x11, 0x90])).unwrap();
        let mut track = Track::new(1, 48_000.try_into().unwrap(), codec.clone()).unwrap();
        track.defaults = Defaults {
            duration: 1024,
            size: 10,
            flags: 0x0200_0000,
        };
        let other = Track::new(2, 48_000.try_into().unwrap(), codec).unwrap();
        init_segment(&[track, other]).unwrap()
    }

    fn moof(trafs: impl FnOnce(&mut BoxWriter)) -> Bytes {
        let mut out = BoxWriter::default();
        out.full(FourCc::MFHD, 0, 0, |out| out.u32(9));
        trafs(&mut out);
        out.finish()
    }

    fn words(out: &mut BoxWriter, kind: FourCc, version: u8, flags: u32, words: &[u32]) {
        out.full(kind, version, flags, |out| {
            for word in words {
                out.u32(*word);
            }
        });
    }

    fn read(body: &[u8], limits: &Limits, times: &mut BTreeMap<u32, u64>) -> Result<Moof, Error> {
        parse(body, PLACE, &init(), limits, times)
    }

    fn offsets(track: &TrackFragment) -> Vec<(u32, u32)> {
        let pair = |sample: &Sample| (sample.offset, sample.size);
        track.samples.iter().map(pair).collect()
    }

    #[test]
    fn runs_without_offsets_follow_each_other_and_times_go_on_without_tfdt() {
        let body = moof(|out| {
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 0, &[1]);
                words(out, FourCc::TRUN, 0, 0, &[2]);
                words(out, FourCc::TRUN, 0, 0x200, &[2, 7, 8]);
            });
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 0x18, &[2, 960, 5]);
                words(out, FourCc::TFDT, 0, 0, &[77]);
                words(out, FourCc::TRUN, 0, 0, &[1]);
            });
        });
        let mut times = BTreeMap::from([(1, 4096)]);
        let parsed = read(&body, &Limits::default(), &mut times).unwrap();
        assert_eq!(parsed.sequence, 9);
        assert_eq!(
            offsets(&parsed.tracks[0]),
            [(0, 10), (10, 10), (20, 7), (27, 8)]
        );
        assert_eq!(parsed.tracks[0].base_decode_time, 4096);
        assert_eq!(offsets(&parsed.tracks[1]), [(35, 5)]);
        assert_eq!(parsed.tracks[1].base_decode_time, 77);
        assert_eq!(times, BTreeMap::from([(1, 4096 + 4 * 1024), (2, 77 + 960)]));
    }

    #[test]
    fn bases_are_the_moof_an_absolute_place_or_the_end_of_the_traf_before() {
        let body = moof(|out| {
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 1, &[1, 0, 1150]);
                words(out, FourCc::TRUN, 0, 1, &[1, 60]);
            });
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 0x02_0000, &[1]);
                words(
                    out,
                    FourCc::TRUN,
                    1,
                    0x801,
                    &[1, 230, (-3i32).cast_unsigned()],
                );
            });
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 0, &[1]);
                words(out, FourCc::TRUN, 0, 0x5, &[1, 4, 0x0101_0000]);
            });
        });
        let parsed = read(&body, &Limits::default(), &mut BTreeMap::new()).unwrap();
        assert!(!parsed.is_relocatable);
        assert_eq!(offsets(&parsed.tracks[0]), [(10, 10)]);
        assert_eq!(offsets(&parsed.tracks[1]), [(30, 10)]);
        assert_eq!(parsed.tracks[1].samples[0].composition_offset, -3);
        assert_eq!(offsets(&parsed.tracks[2]), [(44, 10)]);
        assert!(!parsed.tracks[2].starts_with_sync());
    }

    #[test]
    fn what_lies_outside_or_is_too_much_has_a_name() {
        let one = |flags, fields: &[u32]| {
            moof(|out| {
                out.boxed(FourCc::TRAF, |out| {
                    words(out, FourCc::TFHD, 0, 0x02_0000, &[1]);
                    words(out, FourCc::TRUN, 0, flags, fields);
                });
            })
        };
        let error = |body: &[u8]| {
            read(body, &Limits::default(), &mut BTreeMap::new())
                .map(|_| ())
                .unwrap_err()
        };
        let outside = Error::SampleOutsideMdat { track_id: 1 };
        assert_eq!(error(&one(1, &[1, 199])), outside);
        assert_eq!(error(&one(1, &[1, 291])), outside);
        assert_eq!(error(&one(1, &[1, u32::MAX])), outside);
        assert_eq!(
            error(&one(0, &[u32::MAX])),
            Error::TooManySamples { max: 10_000 }
        );
        assert_eq!(
            error(&one(0x200, &[2, 1])),
            Error::Truncated { kind: FourCc::TRUN }
        );
        let stranger = moof(|out| {
            out.boxed(FourCc::TRAF, |out| words(out, FourCc::TFHD, 0, 0, &[3]));
        });
        assert_eq!(error(&stranger), Error::UnknownTrack { track_id: 3 });
        let late = moof(|out| {
            out.boxed(FourCc::TRAF, |out| {
                words(out, FourCc::TFHD, 0, 0, &[1]);
                words(out, FourCc::TFDT, 1, 0, &[u32::MAX, u32::MAX]);
                words(out, FourCc::TRUN, 0, 0, &[1]);
            });
        });
        assert_eq!(error(&late), Error::TimeOverflow { track_id: 1 });
    }
}
