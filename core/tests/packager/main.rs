//! The packager on what real encoders sent, on hand-made streams, and on nonsense.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a test's way of speaking"
)]

mod captures;
#[cfg(feature = "external-tools")]
mod ffprobe;
mod hostile;
mod streams;
mod support;

use bytes::Bytes;
use mainstem_core::cmaf::{Codec, Event, Kind, Limits, NtpTime, Reader};
use mainstem_core::packager::{Chunk, Config, Frame, Input, Output, PackagedTrack, Source};
use mainstem_core::time::MediaTime;
use std::num::NonZeroU32;
use support::*;
