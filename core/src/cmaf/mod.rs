//! CMAF: incremental fragmented-MP4 reader, segment writer, codec strings.
