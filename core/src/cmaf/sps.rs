//! Picture size and frame rate from H.264 and HEVC sequence parameter sets.
//!
//! Only what a catalog and a sample entry need is read. A set that does not parse gives `None`:
//! the stream may still play, we merely cannot tell its size.
//! Sources: ITU-T H.264 7.3.2.1.1 and E.1.1; ITU-T H.265 7.3.2.2.1, 7.3.3.

use super::bits::Bits;
use super::track::Video;

/// What an H.264 sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct H264Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint flags byte.
    pub constraints: u8,
    /// `level_idc`.
    pub level: u8,
    /// Chroma format, 1 for 4:2:0.
    pub chroma_format: u8,
    /// Luma bit depth.
    pub bit_depth_luma: u8,
    /// Chroma bit depth.
    pub bit_depth_chroma: u8,
    /// Picture size and rate.
    pub video: Video,
}

/// Profiles whose parameter sets carry chroma format and bit depths.
pub(crate) const HIGH_PROFILES: [u8; 13] =
    [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Parses an H.264 sequence parameter set NAL unit (with its one-byte header).
pub fn parse_h264_sps(nal: &[u8]) -> Option<H264Sps> {
    let (_header, payload) = nal.split_first()?;
    let mut bits = Bits::nal(payload);
    let profile = u8::try_from(bits.bits(8)?).ok()?;
    let constraints = u8::try_from(bits.bits(8)?).ok()?;
    let level = u8::try_from(bits.bits(8)?).ok()?;
    bits.ue()?; // seq_parameter_set_id
    let chroma = if HIGH_PROFILES.contains(&profile) {
        chroma(&mut bits)?
    } else {
        Sampling {
            format: 1,
            separate_planes: false,
            bits_luma: 8,
            bits_chroma: 8,
        }
    };
    skip_order_count(&mut bits)?;
    bits.ue()?; // max_num_ref_frames
    bits.flag()?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let frame_mbs_only = bits.flag()?;
    if !frame_mbs_only {
        bits.flag()?; // mb_adaptive_frame_field_flag
    }
    bits.flag()?; // direct_8x8_inference_flag
    let field_factor = if frame_mbs_only { 1 } else { 2 };
    let (mut crop_x, mut crop_y) = (0u32, 0u32);
    if bits.flag()? {
        let (left, right) = (bits.ue()?, bits.ue()?);
        let (top, bottom) = (bits.ue()?, bits.ue()?);
        let (unit_x, unit_y) = chroma.crop_units();
        crop_x = left.checked_add(right)?.checked_mul(unit_x)?;
        crop_y = top
            .checked_add(bottom)?
            .checked_mul(unit_y * field_factor)?;
    }
    let width = width_mbs.checked_mul(16)?.checked_sub(crop_x)?;
    let height = height_units
        .checked_mul(16 * field_factor)?
        .checked_sub(crop_y)?;
    // Usability information is optional and at the end: a failure there loses the rate only.
    let frame_rate = vui_frame_rate(&mut bits);
    Some(H264Sps {
        profile,
        constraints,
        level,
        chroma_format: chroma.format,
        bit_depth_luma: chroma.bits_luma,
        bit_depth_chroma: chroma.bits_chroma,
        video: Video {
            width: u16::try_from(width).ok()?,
            height: u16::try_from(height).ok()?,
            frame_rate,
        },
    })
}

struct Sampling {
    format: u8,
    separate_planes: bool,
    bits_luma: u8,
    bits_chroma: u8,
}

impl Sampling {
    /// Luma samples per unit of the cropping offsets.
    fn crop_units(&self) -> (u32, u32) {
        match self.format {
            1 if !self.separate_planes => (2, 2),
            2 if !self.separate_planes => (2, 1),
            _ => (1, 1),
        }
    }
}

fn chroma(bits: &mut Bits<'_>) -> Option<Sampling> {
    let format = u8::try_from(bits.ue()?).ok().filter(|f| *f <= 3)?;
    let separate_planes = format == 3 && bits.flag()?;
    let bits_luma = depth(bits)?;
    let bits_chroma = depth(bits)?;
    bits.flag()?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        let lists = if format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(Sampling {
        format,
        separate_planes,
        bits_luma,
        bits_chroma,
    })
}

fn depth(bits: &mut Bits<'_>) -> Option<u8> {
    let over_eight = u8::try_from(bits.ue()?).ok().filter(|d| *d <= 6)?;
    Some(8 + over_eight)
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn skip_order_count(bits: &mut Bits<'_>) -> Option<()> {
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => {
            bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.skip_se()?; // offset_for_non_ref_pic
            bits.skip_se()?; // offset_for_top_to_bottom_field
            let cycle = bits.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.skip_se()?;
            }
        }
        _ => {}
    }
    Some(())
}

fn vui_frame_rate(bits: &mut Bits<'_>) -> Option<f64> {
    if !bits.flag()? {
        return None;
    }
    if bits.flag()? && bits.bits(8)? == 255 {
        bits.skip(32)?; // sar_width, sar_height
    }
    if bits.flag()? {
        bits.flag()?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.skip(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.skip(24)?; // colour description
        }
    }
    if bits.flag()? {
        bits.ue()?; // chroma sample location, top field
        bits.ue()?; // bottom field
    }
    if !bits.flag()? {
        return None;
    }
    let units_in_tick = bits.bits(32)?;
    let time_scale = bits.bits(32)?;
    frame_rate(u64::from(time_scale), u64::from(units_in_tick) * 2)
}

/// `numerator / denominator` frames per second with three decimals, when it is a plausible rate.
pub(crate) fn frame_rate(numerator: u64, denominator: u64) -> Option<f64> {
    let millihertz = numerator
        .checked_mul(1000)?
        .checked_add(denominator / 2)?
        .checked_div(denominator)?;
    let millihertz = u32::try_from(millihertz).ok()?;
    (1_000..=1_000_000)
        .contains(&millihertz)
        .then(|| f64::from(millihertz) / 1000.0)
}

/// Picture size from an HEVC sequence parameter set NAL unit (with its two-byte header).
pub fn parse_hevc_sps(nal: &[u8]) -> Option<Video> {
    let mut bits = Bits::nal(nal.get(2..)?);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.bits(3)?;
    bits.flag()?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.ue()?; // sps_seq_parameter_set_id
    let format = bits.ue()?;
    let separate_planes = format == 3 && bits.flag()?;
    let mut width = bits.ue()?;
    let mut height = bits.ue()?;
    if bits.flag()? {
        let (left, right) = (bits.ue()?, bits.ue()?);
        let (top, bottom) = (bits.ue()?, bits.ue()?);
        let (unit_x, unit_y) = match format {
            1 if !separate_planes => (2, 2),
            2 if !separate_planes => (2, 1),
            _ => (1, 1),
        };
        width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    }
    Some(Video {
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
        frame_rate: None,
    })
}

fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    bits.skip(96)?; // general profile, compatibility, constraints, level
    let mut present = Vec::with_capacity(8);
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8u32.checked_sub(sub_layers)?))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 })?;
        bits.skip(if level { 8 } else { 0 })?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 640x360, 25 fps, High profile.
    const SPS_360P: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn size_and_rate_of_a_real_set() {
        let sps = parse_h264_sps(SPS_360P).unwrap();
        assert_eq!((sps.profile, sps.level), (100, 30));
        assert_eq!((sps.video.width, sps.video.height), (640, 360));
        assert_eq!(sps.video.frame_rate, Some(25.0));
    }

    #[test]
    fn any_prefix_of_a_set_is_refused_or_parsed_without_panic() {
        for len in 0..SPS_360P.len() {
            let _ = parse_h264_sps(&SPS_360P[..len]);
            let _ = parse_hevc_sps(&SPS_360P[..len]);
        }
    }
}
