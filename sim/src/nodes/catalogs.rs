//! What a catalog track says: a version for each place, whole or as an update of the one before.
//!
//! Version `group * group_objects + object` is a function of its number, so that any object can be judged from its
//! place alone. The first object of a group is a whole catalog; the others are updates where an update
//! can say what changed, and whole catalogs where not. MSF draft-01, as an engine writes it.

use crate::plan::TrackPlan;
use bytes::Bytes;
use mainstem_core::catalog::{Audio, Catalog, Kind, Track, Video, diff};
use mainstem_core::time::UnixTime;

/// More than any of them has bytes.
pub const CATALOG_BYTES_MAX: usize = 3_000;

/// The version at a place.
pub fn version(track: &TrackPlan, group: u64, object: u64) -> u64 {
    group
        .saturating_mul(track.group_objects)
        .saturating_add(object)
}

/// The catalog of a version: renditions come at one end and go at the other, and change on the way.
pub fn catalog(version: u64) -> Catalog {
    let oldest = version / 3;
    let newest = oldest + 2 + version % 3;
    let audio = Track {
        name: "audio".to_owned(),
        kind: Kind::Audio,
        codec: "mp4a.40.2".to_owned(),
        audio: Some(Audio {
            sample_rate: 48_000,
            channels: 2,
        }),
        bitrate: Some(96_000 + version % 7),
        language: Some("en".to_owned()),
        ..Track::default()
    };
    let renditions = (oldest..newest).map(|at| Track {
        name: format!("video/{at}"),
        kind: Kind::Video,
        codec: "avc1.64001f".to_owned(),
        video: Some(Video {
            width: 640,
            height: 360,
            frame_rate: Some(25.0),
        }),
        bitrate: Some(500_000 + (version + at) % 5 * 100_000),
        alt_group: Some(1),
        ..Track::default()
    });
    Catalog {
        live: true,
        complete: false,
        generated_at: Some(UnixTime::from_secs(1_800_000_000 + version)),
        tracks: std::iter::once(audio).chain(renditions).collect(),
    }
}

/// The object at a place, and whether it is a whole catalog.
pub fn payload(track: &TrackPlan, group: u64, object: u64) -> (Bytes, bool) {
    let version = version(track, group, object);
    let is = catalog(version);
    let update = (object > 0)
        .then(|| diff::delta_json(&catalog(version.saturating_sub(1)), &is))
        .flatten();
    let is_whole = update.is_none();
    let json = update.unwrap_or_else(|| is.to_msf_json());
    (json.into(), is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NodeId;
    use mainstem_core::catalog::{Limits, msf::Reader};

    #[test]
    fn updates_are_most_of_a_group_and_lead_to_what_is_whole() {
        let track = TrackPlan {
            origin: NodeId(0),
            name: "catalog".to_owned(),
            interval_ms: 200,
            group_objects: 9,
            subgroups: 1,
            object_bytes_min: 0,
            object_bytes_max: CATALOG_BYTES_MAX,
            priority: 0,
            groups: None,
            is_catalog: true,
        };
        let mut reader = Reader::new(Limits::default());
        for group in 0..4 {
            let mut wholes = 0;
            for object in 0..track.group_objects {
                let (json, is_whole) = payload(&track, group, object);
                wholes += usize::from(is_whole);
                assert!(json.len() < CATALOG_BYTES_MAX, "{}", json.len());
                let read = reader.apply(&json).unwrap();
                assert_eq!(*read, catalog(version(&track, group, object)));
            }
            assert_eq!(wholes, 1, "the first of a group");
        }
    }
}
