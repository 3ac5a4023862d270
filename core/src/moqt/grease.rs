//! Grease: values that mean nothing, sent so that peers keep ignoring what they do not know.
//!
//! Reserved values are `0x7f * N + 0x9D`, in the registries of Setup Options, properties, error codes
//! and token types. What a peer sends of them needs no care of its own, because it is not told apart
//! from any other unknown value.
//!
//! | registry | sent by us |
//! |---|---|
//! | Setup Options | one or two, drawn from a seed, in each SETUP |
//! | track properties | no: a relay forwards them to every viewer, and moq-transport 0.17 refuses a PUBLISH with one that it does not know |
//! | object properties | no: bytes on each object |
//! | error codes | no: a code that means nothing counts as INTERNAL_ERROR, and hides what happened |
//! | token types | no: a token that nobody can read is no token |
//!
//! Message parameters, stream and datagram types are not among the registries: an unknown one must
//! close the session.
//!
//! Source: draft-ietf-moq-transport-18, Section 14.

use super::message::SetupOption;
use bytes::Bytes;

const FIRST: u64 = 0x9D;
const STEP: u64 = 0x7F;
/// The largest multiple that is drawn: types of up to three bytes.
const MULTIPLES: u64 = 1 << 13;

/// Whether a type or code is reserved for grease.
pub const fn is_grease(value: u64) -> bool {
    value >= FIRST && (value - FIRST).is_multiple_of(STEP)
}

/// The reserved value that a number draws.
pub const fn value(draw: u64) -> u64 {
    FIRST + STEP * (draw % MULTIPLES)
}

/// One or two Setup Options that mean nothing, the same for the same seed.
pub fn setup_options(seed: u64) -> Vec<SetupOption> {
    let mut draws = (0..).map(|index| mix(seed, index));
    let mut draw = || draws.next().unwrap_or_default();
    let count = 1 + draw() % 2;
    let mut options: Vec<SetupOption> = (0..count)
        .map(|_| {
            let key = value(draw());
            if key.is_multiple_of(2) {
                let value = draw();
                return SetupOption::Integer { key, value };
            }
            let bytes = draw().to_be_bytes();
            let length = usize::try_from(draw() % 9).unwrap_or_default();
            let value = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
            SetupOption::Bytes { key, value }
        })
        .collect();
    options.sort_by_key(SetupOption::key);
    options
}

/// The `index`-th number of a seed's sequence (splitmix64).
const fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(index.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_values_are_told_apart() {
        for (value, reserved) in [
            (0x9D, true),
            (0x11C, true),
            (0x3fff_ffff_ffff_ffde, true),
            (0x9C, false),
            (0x9E, false),
            (0x1E, false),
        ] {
            assert_eq!(is_grease(value), reserved, "0x{value:x}");
        }
    }

    #[test]
    fn a_seed_draws_the_same_options_and_others_draw_others() {
        let mut seen = crate::map::BTreeSet::new();
        for seed in 0..200 {
            let options = setup_options(seed);
            assert_eq!(options, setup_options(seed));
            assert!(matches!(options.len(), 1 | 2));
            for option in options {
                assert!(is_grease(option.key()));
                assert_eq!(
                    option.key().is_multiple_of(2),
                    matches!(option, SetupOption::Integer { .. })
                );
                seen.insert(option.key());
            }
        }
        assert!(seen.len() > 100);
    }
}
