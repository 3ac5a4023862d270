//! The broadcaster: packaged tracks out to relays, in the layout that viewers know.
//!
//! [`Broadcaster`] is an [`App`](crate::transport::App) over [`Publisher`](crate::moqt::publisher::Publisher):
//! its sessions are connections to relays, and its commands are what a
//! [`Packager`](crate::packager::Packager) puts out.
//!
//! | track | a group is | its objects | priority |
//! |---|---|---|---|
//! | `catalog` (MSF), `.catalog` (seed JSON) | one state of the catalog | 0: the whole catalog | 16 |
//! | `audio` ... | what stands beside a group of video | one chunk each | 64 |
//! | `video/720p` ... | a group of pictures, from a key frame on | one chunk each | 128 |
//! | `broadcast` | the same as of video | 0: `ftyp moov` of all tracks; then the chunks of all | 192 |
//!
//! Lower priorities go first. Every group is one subgroup (0) and says that it holds the group's
//! end. Group ids are common to all media tracks: the same id means the same stretch of time. They
//! begin at a number that the owner gives, the time in milliseconds since the Unix epoch, and rise
//! by one, so that those of a later start are larger. Groups of the catalogs are numbered by the
//! time of their change.
//!
//! What `catalog` says is said again every five seconds while media comes: players that subscribe to it without the
//! fetch that MSF asks for, and relays that keep nothing, have it from then on.
//!
//! Groups begin with the key frames of the first video track. A group of audio begins with the
//! first chunk that is not before the key frame's presentation time, and without video, or when
//! video stands still, after a bounded time.
//!
//! | state | means | left by |
//! |---|---|---|
//! | live | an encoder sends | [`Broadcaster::finish`], [`Broadcaster::lose`] |
//! | lost | the encoder vanished; groups are ended, tracks and viewers stay | a new set of tracks, or [`Config::linger`] |
//! | finished | the catalog says so, tracks are ended | - |
//!
//! A track whose init segment changes while its name stays gets a new name (`video/720p-2`), so
//! that no viewer feeds chunks to a decoder that was set up for others.
//!
//! [`Fleet`] runs any number of broadcasters over one host.
//!
//! Sources: seed document 003 (namespace, tracks, catalog); MSF draft-01; draft-ietf-moq-cmsf
//! (groups and objects of CMAF); CONTRACTS, finding 3 (`broadcast`).

mod broadcaster;
mod fleet;
mod groups;
mod rendition;

pub use broadcaster::{Broadcaster, Config, Error, Event, MUXED_TRACK};
pub use fleet::{BroadcastId, Fleet, FleetFull};
