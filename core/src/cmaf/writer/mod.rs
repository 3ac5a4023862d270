//! Writing CMAF: init segments and chunks.

mod chunk;
mod init;

pub(crate) use chunk::write_moof;
pub use chunk::{ChunkWriter, MediaSample};
pub use init::init_segment;
