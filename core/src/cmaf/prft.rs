//! Producer reference time (`prft`): when a fragment was made, in the producer's wall clock.
//!
//! The packager stamps each chunk with the time at which it had the whole chunk
//! ([`ReferencePoint::Packaged`]); a viewer on a synchronised clock subtracts it from the time of
//! arrival and has the delay from packager to viewer, without looking into the picture.
//! Source: ISO/IEC 14496-12, 8.16.5; NTP timestamps: RFC 5905 section 6 (64-bit format, era 0).

use super::boxes::{BoxWriter, Fields, FourCc};
use super::error::Error;
use crate::time::UnixTime;
use bytes::Bytes;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
const NTP_UNIX_OFFSET_SECS: u64 = 2_208_988_800;

/// A 64-bit NTP timestamp: seconds since 1900 and a binary fraction (about 0.23 ns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From microseconds since the Unix epoch; wraps in 2036 as NTP does.
    pub const fn from_unix_micros(micros: u64) -> Self {
        let secs = (micros / 1_000_000).wrapping_add(NTP_UNIX_OFFSET_SECS);
        // Rounded up, so that reading back gives the same microsecond.
        let fraction = ((micros % 1_000_000) << 32).div_ceil(1_000_000);
        Self((secs << 32) | fraction)
    }

    /// Microseconds since the Unix epoch, rounded down; zero for a time before it.
    pub const fn as_unix_micros(self) -> u64 {
        let secs = (self.0 >> 32).saturating_sub(NTP_UNIX_OFFSET_SECS);
        let micros = ((self.0 & 0xffff_ffff) * 1_000_000) >> 32;
        secs * 1_000_000 + micros
    }
}

impl From<UnixTime> for NtpTime {
    fn from(time: UnixTime) -> Self {
        Self::from_unix_micros(time.as_millis().saturating_mul(1000))
    }
}

/// Which moment in the making of a fragment a reference time is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferencePoint {
    /// The picture entered the encoder (flags 0).
    EncoderInput,
    /// The picture left the encoder (flags 1).
    EncoderOutput,
    /// The `moof` was finished (flags 2). What we write.
    Packaged,
    /// The `moof` was handed to the transport (flags 4).
    Written,
    /// Arbitrary, but the same throughout (flags 8).
    Consistent,
    /// The picture was captured (flags 24).
    Captured,
    /// Flags that the standard does not define.
    Unknown(u32),
}

impl ReferencePoint {
    const fn from_flags(flags: u32) -> Self {
        match flags {
            0 => Self::EncoderInput,
            1 => Self::EncoderOutput,
            2 => Self::Packaged,
            4 => Self::Written,
            8 => Self::Consistent,
            24 => Self::Captured,
            other => Self::Unknown(other),
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::EncoderInput => 0,
            Self::EncoderOutput => 1,
            Self::Packaged => 2,
            Self::Written => 4,
            Self::Consistent => 8,
            Self::Captured => 24,
            Self::Unknown(flags) => flags,
        }
    }
}

/// Content of a `prft` box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerReference {
    /// The track whose media time is given.
    pub track_id: u32,
    /// Wall clock of the producer.
    pub time: NtpTime,
    /// The matching decode time of the track, in its ticks.
    pub media_time: u64,
    /// Which moment `time` is.
    pub point: ReferencePoint,
}

impl ProducerReference {
    /// Reads the body of a `prft` box.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields::new(FourCc::PRFT, body);
        let (version, flags) = fields.version_flags()?;
        Ok(Self {
            track_id: fields.u32()?,
            time: NtpTime(fields.u64()?),
            media_time: fields.sized(version)?,
            point: ReferencePoint::from_flags(flags),
        })
    }

    /// Appends the box (version 1, 32 bytes).
    pub(crate) fn write(&self, out: &mut BoxWriter) {
        out.full(FourCc::PRFT, 1, self.point.flags(), |w| {
            w.u32(self.track_id);
            w.u64(self.time.0);
            w.u64(self.media_time);
        });
    }

    /// The box by itself, to stand before a `moof`.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BoxWriter::default();
        self.write(&mut out);
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_time_keeps_the_microsecond() {
        for micros in [0, 1, 999_999, 1_700_000_000_123_457] {
            assert_eq!(NtpTime::from_unix_micros(micros).as_unix_micros(), micros);
        }
        let written = ProducerReference {
            track_id: 7,
            time: UnixTime::from_millis(1_700_000_000_123).into(),
            media_time: 1 << 40,
            point: ReferencePoint::Packaged,
        };
        let bytes = written.to_bytes();
        assert_eq!(bytes.len(), 32);
        assert_eq!(ProducerReference::parse(&bytes[8..]), Ok(written));
    }
}
