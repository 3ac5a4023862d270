//! Targets over media: fragmented and ordinary MP4, codec configurations, RTMP, packaging.

pub mod cmaf;
pub mod codec;
pub mod packager;
pub mod rtmp;
