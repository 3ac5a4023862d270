//! CMAF: incremental fragmented-MP4 reader, segment writer, codec strings.
//!
//! | part | bytes in | bytes out |
//! |---|---|---|
//! | [`Reader`] | fragmented MP4, cut anywhere | [`Init`], [`Fragment`]s |
//! | [`init_segment`], [`ChunkWriter`] | [`Track`]s, samples | `ftyp moov`, `moof mdat` |
//! | [`Splitter`] | fragments of several tracks | a chunk per frame or so many milliseconds |
//! | [`progressive::Source`] | the `moov` of an ordinary file | where each sample lies |
//! | [`Muxer`] | init segments and chunks of several tracks | one fragmented MP4 file |
//!
//! Media bytes are never copied on these ways: they stay the pieces in which they arrived.
//! Leaf boxes of `moov` are `mp4-atom`'s; box walking, fragments and sample entries are ours,
//! because they decide how much a hostile file may cost ([`Limits`]). Times are ticks of the
//! track's timescale. Sources: ISO/IEC 14496-12 (file format), 14496-15 (NAL codecs), 23000-19
//! (CMAF), and the Opus, AV1 and VP9 bindings.
//!
//! ```
//! use bytes::Bytes;
//! use mainstem_core::cmaf::{ChunkWriter, Codec, MediaSample, SampleFlags, Track, init_segment};
//!
//! // AAC-LC, 48 kHz, stereo, as an RTMP or ADTS header says it.
//! let codec = Codec::aac(Bytes::from_static(&[0x11, 0x90]))?;
//! let track = Track::new(1, 48_000.try_into().unwrap(), codec)?;
//! let init = init_segment(std::slice::from_ref(&track))?;
//! assert_eq!(track.codec_string(), "mp4a.40.2");
//!
//! let frame = MediaSample {
//!     duration: 1024,
//!     composition_offset: 0,
//!     flags: SampleFlags::SYNC,
//!     data: Bytes::from_static(b"an AAC frame").into(),
//! };
//! let chunk = ChunkWriter::new(track.id).chunk(0, &[frame], None)?;
//! assert!(init.raw.starts_with(b"\0\0\0\x20ftypcmfc"));
//! assert_eq!(chunk.pieces().len(), 2); // moof and mdat header; the frame, not copied
//! # Ok::<(), mainstem_core::cmaf::Error>(())
//! ```

mod assemble;
mod bits;
mod boxes;
pub mod codec;
mod demux;
mod error;
mod fragment;
mod init;
mod moof;
pub mod nal;
mod prft;
pub mod progressive;
mod queue;
mod reader;
mod record;
pub mod rules;
pub mod sps;
mod track;
mod writer;

pub use assemble::Muxer;
pub use boxes::FourCc;
pub use demux::{ChunkSize, Splitter, TrackChunk};
pub use error::{Error, Limits};
pub use fragment::{Fragment, Sample, SampleFlags, TrackFragment};
pub use init::Init;
pub use prft::{NtpTime, ProducerReference, ReferencePoint};
pub use reader::{Event, Reader};
pub use track::{Audio, Codec, Defaults, Kind, Track, Video};
pub use writer::{ChunkWriter, MediaSample, init_segment};
