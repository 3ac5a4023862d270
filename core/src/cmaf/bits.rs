//! [`Bits`]: a bounded bit reader for parameter sets.
//!
//! Reads most significant bit first and skips the emulation prevention byte of NAL units (the `03`
//! of `00 00 03`). Every read past the end is `None`; Exp-Golomb codes are at most 32 bits long.
//! Sources: ITU-T H.264 7.3.1 and 9.1, H.265 the same.

/// Reads bits of a NAL unit's payload.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Zero bytes seen in a row before `at`.
    zeros: u8,
    current: u8,
    left: u8,
    /// Whether `00 00 03` is unescaped; configuration records are not escaped.
    escaped: bool,
}

impl<'a> Bits<'a> {
    /// Bits of a NAL unit, unescaped while reading.
    pub(crate) fn nal(bytes: &'a [u8]) -> Self {
        Self {
            escaped: true,
            ..Self::plain(bytes)
        }
    }

    /// Bits of plain bytes.
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            zeros: 0,
            current: 0,
            left: 0,
            escaped: false,
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.at)?;
        if self.escaped && self.zeros >= 2 && byte == 3 {
            self.at += 1;
            self.zeros = 0;
            byte = *self.bytes.get(self.at)?;
        }
        self.at += 1;
        self.zeros = if byte == 0 {
            self.zeros.saturating_add(1)
        } else {
            0
        };
        Some(byte)
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.current = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.current >> self.left & 1 == 1)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count.min(32) {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// Skips `count` bits.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.flag()?;
        }
        Some(())
    }

    /// An unsigned Exp-Golomb code.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let suffix = self.bits(zeros)?;
        (1u32 << zeros).checked_sub(1)?.checked_add(suffix)
    }

    /// A signed Exp-Golomb code; only its presence matters to us, so the value is dropped.
    pub(crate) fn skip_se(&mut self) -> Option<()> {
        self.ue().map(|_| ())
    }

    /// A signed Exp-Golomb code.
    pub(crate) fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -code / 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_decode() {
        // 1 | 010 | 011 | 00100 | 00101 -> 0 1 2 3 4
        let mut bits = Bits::plain(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<_> = (0..5).map(|_| bits.ue()).collect();
        assert_eq!(read, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let mut bits = Bits::plain(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<_> = (0..5).map(|_| bits.se()).collect();
        assert_eq!(read, [Some(0), Some(1), Some(-1), Some(2), Some(-2)]);
        assert_eq!(Bits::plain(&[0; 8]).ue(), None);
    }

    #[test]
    fn emulation_prevention_bytes_are_skipped() {
        let mut bits = Bits::nal(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!(bits.bits(24), Some(1));
        assert_eq!(bits.bits(16), Some(0));
        assert_eq!(bits.flag(), None);
    }
}
