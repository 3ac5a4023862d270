//! Writing CMAF: init segments and chunks.

mod chunk;
mod init;

pub use chunk::{ChunkWriter, MediaSample};
pub use init::init_segment;
