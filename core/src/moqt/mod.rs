//! Media over QUIC Transport: wire, session, relay.
//!
//! The wire half turns bytes into values and back, for drafts 18, 20, 21 and 22 of
//! draft-ietf-moq-transport, with one codec (16 is another protocol, see [`legacy`]): a [`Draft`] selects forms and tables by its
//! [`Profile`], and the values are the same whichever draft carried them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`draft`] | which drafts are spoken, and how they differ |
//! | [`error`] | wire codes, [`ProtocolError`], [`EncodeError`] |
//! | [`uri`] | `moqt://` URIs |
//! | [`varint`] | the `vi64` integer |
//! | [`name`] | namespaces, track names, locations |
//! | [`filter`] | which locations and values of a track pass |
//! | [`grease`] | values that mean nothing, sent so that peers ignore them |
//! | [`parameter`] | Message Parameters, as one typed struct |
//! | [`property`] | Track and Object Properties, raw and typed |
//! | [`message`] | control messages |
//! | [`control`] | framing of control and request streams; telling streams apart |
//! | [`object`] | subgroup streams, datagrams |
//! | [`legacy`] | draft 16, translated to the shape of the later drafts |
//! | [`session`] | one peer: its control, request and data streams |
//! | [`track`] | what is retained of a track, and who is served from it |
//! | [`relay`] | the registry between publishers and subscribers |
//! | [`publisher`], [`subscriber`] | the two kinds of client |
//! | [`participant`] | both in one session, with tracks that outlive it |
//! | [`moqtest`] | test tracks whose every object is known from their name |
//!
//! Decoding has three outcomes that are never mixed: a value, "more bytes are needed" (`None`),
//! and a peer's fault ([`ProtocolError`], or [`object::DataFault`] on data streams).

pub mod control;
pub mod draft;
pub mod error;
pub mod filter;
pub mod grease;
pub mod legacy;
pub mod message;
pub mod moqtest;
pub mod name;
pub mod object;
pub mod parameter;
pub mod participant;
pub mod property;
pub mod publisher;
#[cfg(feature = "relay")]
pub mod relay;
pub mod session;
pub mod subscriber;
pub mod track;
pub mod uri;
pub mod varint;
mod wire;

pub use draft::{Draft, Profile};
pub use error::{EncodeError, ProtocolError};
pub use name::{FullTrackName, Location, RequestId, TrackAlias, TrackName, TrackNamespace};
