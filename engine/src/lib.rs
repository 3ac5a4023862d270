//! Ingest and packaging: from an encoder or a file to MoQT.
//!
//! | part | what it does |
//! |---|---|
//! | [`publish`] | publishes a file or a pipe, paced by its media time |

#![forbid(unsafe_code)]

pub mod publish;
