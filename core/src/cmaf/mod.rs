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
