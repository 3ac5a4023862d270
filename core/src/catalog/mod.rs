//! The catalog: one model, the seed JSON on `.catalog` and MSF on `catalog`.
//!
//! | format | track | written | read |
//! |---|---|---|---|
//! | seed JSON, version 1 | `.catalog` | [`Catalog::to_seed_json`] | [`Catalog::parse_seed`] |
//! | MSF | `catalog` | draft-01, [`Catalog::to_msf_json`] | draft-00 and -01, [`msf::Reader`] |
//! | catalogformat | `.catalog` | no | recognised: [`detect`] |
//!
//! Input and output are JSON text. A catalog is what the peer says: sizes are bounded by
//! [`Limits`], unknown fields are ignored, `null` is read as absent and never written.
//! Sources: the seed's "The catalog"; draft-ietf-moq-msf-00, -01; draft-ietf-moq-cmsf;
//! draft-ietf-moq-catalogformat-01.

pub mod diff;
mod json;
mod model;
pub mod msf;
mod patch;
mod seed;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use json::{Error, Format, Limits, detect};
pub use model::{Audio, Catalog, Kind, Packaging, Track, Video};

/// Name of the track that carries the seed JSON.
pub const SEED_TRACK: &str = ".catalog";
/// Name of the track that carries MSF.
pub const MSF_TRACK: &str = "catalog";
/// How often that track says again what it said, while media comes. MSF has subscribers fetch what was said before they
/// came; players that only subscribe wait for some ten seconds, and relays of others need not keep it.
pub const MSF_INTERVAL: Duration = Duration::from_secs(5);
