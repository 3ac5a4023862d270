//! The viewer and the publisher of core as a WebAssembly module that pages load.
//!
//! One instance of the module is one machine: a [`viewer`] or a [`publisher`]. It imports nothing.
//! JavaScript moves bytes between WebTransport and this memory, passes the time and a seed in, and
//! decides nothing that a specification describes.
//!
//! | step | who | how |
//! |---|---|---|
//! | begin | JavaScript | [`abi`]: `ms_viewer` or `ms_publisher` with a JSON configuration in the input buffer |
//! | what the world did | JavaScript | `ms_opened`, `ms_stream`, `ms_datagram`, `ms_closed`, `ms_timeout`, media by `ms_config`, `ms_frame`, `ms_recorded`, wishes by `ms_command` |
//! | what is to be done | here | `ms_poll` until 0: one [`out::Out`] each, its payload as addresses and lengths in this memory, valid until the next call |
//! | when to call again | here | `ms_next_timeout` |
//!
//! Units: times of the monotonic clock in milliseconds (any epoch, the same in every call), wall clock
//! and media times in microseconds. Limits: those of the core machines; the input buffer holds at most
//! [`abi::INPUT_BYTES_MAX`].
//!
//! Sources: ARCHITECTURE, "the one shape of a machine"; WebAssembly core specification 1.0 (exports,
//! linear memory).

pub mod abi;
mod describe;
mod machine;
mod media;
pub mod out;
pub mod publisher;
mod recorded;
pub mod viewer;
mod wish;

pub use machine::Machine;
