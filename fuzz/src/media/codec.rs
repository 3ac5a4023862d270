//! Codec configurations, parameter sets, NAL units, and the init segments made of them.
//!
//! Input: kind, then the record. Laws: what a constructor takes has a codec string, can be written as
//! an init segment, and comes back out of it; NAL units lie inside their sample.

use crate::input::Cursor;
use bytes::Bytes;
use mainstem_core::cmaf::codec::{AacConfig, codec_string, nal_length_size};
use mainstem_core::cmaf::{Codec, Init, Limits, NtpTime, Track, init_segment, nal, sps};
use mainstem_core::time::UnixTime;
use std::num::NonZeroU32;

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let kind = input.byte();
    let scale = NonZeroU32::new(u32::from(input.short())).unwrap_or(NonZeroU32::MIN);
    let codec = match kind % 9 {
        0 => Codec::h264(Bytes::copy_from_slice(input.rest())),
        1 => {
            let parameter_sets = [input.prefixed(), input.prefixed()];
            let [sps, pps] = &parameter_sets;
            Codec::h264_from_parameter_sets(&[sps], &[pps])
        }
        2 => Codec::hevc(Bytes::copy_from_slice(input.rest())),
        3 => Codec::av1(Bytes::copy_from_slice(input.rest())),
        4 => Codec::aac(Bytes::copy_from_slice(input.rest())),
        5 => Codec::opus_from_head(input.rest()),
        6 => return check_parameter_sets(input.rest()),
        7 => return check_units(&mut input),
        _ => return check_times(&mut input),
    };
    if let Ok(codec) = codec {
        check_codec(codec, scale);
    }
}

fn check_codec(codec: Codec, scale: NonZeroU32) {
    assert!(!codec_string(&codec).is_empty());
    assert!((1..=4).contains(&nal_length_size(&codec)));
    let Ok(track) = Track::new(1, scale, codec) else {
        return;
    };
    let Ok(init) = init_segment(std::slice::from_ref(&track)) else {
        return;
    };
    let again = Init::parse(init.raw, &Limits::default()).expect("what was written is read");
    let [read] = &again.tracks[..] else {
        panic!("one track was written: {again:?}");
    };
    // Shapes that the configuration does not say are filled in.
    assert_eq!((read.id, read.timescale), (track.id, track.timescale));
    assert_eq!(read.codec, track.codec);
    assert_eq!(read.codec_string(), track.codec_string());
}

fn check_parameter_sets(bytes: &[u8]) {
    let _ = sps::parse_h264_sps(bytes);
    let _ = sps::parse_hevc_sps(bytes);
    if let Ok(config) = AacConfig::parse(bytes) {
        assert!(config.core_rate > 0 && config.output_rate > 0);
    }
}

fn check_units(input: &mut Cursor<'_>) {
    let length_size = 1 + input.below(4);
    let sample = input.rest();
    let mut left = sample.len();
    for unit in nal::units(sample, length_size).flatten() {
        left = left
            .checked_sub(unit.len() + length_size)
            .expect("units lie inside their sample");
    }
    let config = Bytes::from_static(&[1, 66, 0, 30, 0xff, 0xe1]);
    let codec = Codec::H264 {
        config,
        in_band: false,
    };
    let _ = nal::is_key_frame(&codec, sample);
}

/// NTP time and back, to the microsecond.
fn check_times(input: &mut Cursor<'_>) {
    // Until the year 2036, where NTP's first era ends.
    let micros = input.word() % 2_085_978_495_000_000;
    let time = NtpTime::from_unix_micros(micros);
    assert!(time.as_unix_micros().abs_diff(micros) <= 1, "{micros}");
    let _ = NtpTime::from(UnixTime::from_millis(micros / 1000));
    let any = NtpTime(input.word());
    let _ = any.as_unix_micros();
}
