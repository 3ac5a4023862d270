//! What SDKs upload, made into a stream that every viewer can watch.
//!
//! SDKs PUBLISH one track, `broadcast`, of muxed fragmented MP4, cut into objects and groups in ways
//! that no late viewer can join. For each such upload the relay runs a [`normalise::Normaliser`] and
//! publishes what it makes as tracks of its own: `broadcast` again, regular now, a track per
//! rendition, and the catalogs.
//!
//! | a publisher of `/publish/<lv>` | its `broadcast` |
//! |---|---|
//! | PUBLISHes it | is an upload |
//! | announces the namespace and is asked for it | is one if its first object is not a whole init segment and nothing else; that is the regular form, which passes untouched |
//! | the same, and has no catalog though a viewer asks for one | is read in either case; the regular form still passes untouched |
//!
//! A track that somebody publishes under the name of a made one stands instead of it. The newest
//! PUBLISH of an input is its upload: an encoder that reconnects need not wait for its old session.
//!
//! | file | what |
//! |---|---|
//! | `order.rs` | objects back in the order of the upload |
//! | `shape.rs` | what an object is, from the heads of its boxes |
//! | `normalise.rs` | upload in, objects of the made tracks out |
//! | `layout.rs` | names of the made tracks, catalog |
//! | `uploads.rs` | the relay's side |
//! | `wanted.rs` | viewers who ask for what has to be made first |
//!
//! Source: CONTRACTS 0.3 and A1 (publisher semantics); seed document 003 (wire model).

mod layout;
mod normalise;
mod order;
mod shape;
mod uploads;
mod wanted;

pub use normalise::Limits;
pub use order::Limits as OrderLimits;
pub(super) use uploads::Upload;
