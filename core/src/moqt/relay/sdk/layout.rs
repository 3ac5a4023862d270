//! Which tracks an upload becomes, and the catalog that says so.
//!
//! | track of the init segment | name |
//! |---|---|
//! | video of known height | `video/<height>p` |
//! | video of unknown height | `video` |
//! | audio | `audio` |
//! | one whose name is taken, or was that of another init segment until now | the name and `-2`, `-3` ... |
//!
//! Tracks that are neither video nor audio stay in `broadcast` only. Source: seed document 003.

use crate::catalog::{self, Catalog};
use crate::cmaf::{Init, Kind, Track};
use crate::moqt::name::TrackName;
use crate::time::UnixTime;
use bytes::Bytes;

/// Name of the muxed track that SDKs publish and watch.
pub(in super::super) const BROADCAST_TRACK: &str = "broadcast";

/// A track of its own, made of one track of the upload.
#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) track: TrackName,
    pub(super) track_id: u32,
    pub(super) kind: Kind,
    entry: catalog::Track,
}

/// The renditions of an upload, in the order of its init segment. A track that changed since
/// `before` gets another name, so that no viewer feeds a decoder that was set up for others.
pub(super) fn renditions(init: &Init, before: &[Rendition]) -> Vec<Rendition> {
    let mut renditions: Vec<Rendition> = Vec::new();
    for track in &init.tracks {
        let Some(base) = base_name(track) else {
            continue;
        };
        let Some(own) = init.single_track(track.id) else {
            continue;
        };
        let is_free = |name: &String| {
            let is_other = |it: &Rendition| it.entry.name == *name;
            let is_changed =
                |it: &Rendition| is_other(it) && it.entry.init.as_ref() != Some(&own.raw);
            !renditions.iter().any(is_other) && !before.iter().any(is_changed)
        };
        // Each name that is not free is one of those, so one of so many is.
        let further = (2..=renditions.len() + before.len() + 2).map(|n| format!("{base}-{n}"));
        let Some(name) = std::iter::once(base.clone()).chain(further).find(is_free) else {
            continue;
        };
        renditions.push(Rendition {
            track: TrackName(Bytes::copy_from_slice(name.as_bytes())),
            track_id: track.id,
            kind: track.kind(),
            entry: catalog::Track::from_init(&name, &own),
        });
    }
    renditions
}

/// What the stream offers; made at `unix`.
pub(super) fn catalog(renditions: &[Rendition], is_live: bool, unix: Option<UnixTime>) -> Catalog {
    Catalog {
        live: is_live,
        complete: false,
        generated_at: unix.filter(|_| is_live),
        tracks: renditions
            .iter()
            .map(|rendition| rendition.entry.clone())
            .collect(),
    }
}

fn base_name(track: &Track) -> Option<String> {
    match track.kind() {
        Kind::Video => Some(match track.video {
            Some(video) if video.height > 0 => format!("video/{}p", video.height),
            _ => "video".to_owned(),
        }),
        Kind::Audio => Some("audio".to_owned()),
        Kind::Other => None,
    }
}
