//! What is published: names, sizes and bytes, all functions of the track, the group and the object.
//!
//! Any object can be judged anywhere from its place alone: nobody has to remember what was sent.

use super::catalogs;
use crate::plan::{NodeId, TrackPlan};
use bytes::Bytes;
use mainstem_core::moqt::name::{FullTrackName, NameError, TrackName, TrackNamespace};
use mainstem_core::payload::Payload;

/// The organisation of all inputs.
pub const ORG: &str = "org_1";

/// The public id of an origin's input.
pub fn input(origin: NodeId) -> String {
    format!("lv_{}", origin.0)
}

/// The stream key of an origin's input.
pub fn stream_key(origin: NodeId) -> String {
    format!("sk_live_{}", origin.0)
}

/// The namespace of an origin's tracks.
pub fn namespace(origin: NodeId) -> Result<TrackNamespace, NameError> {
    TrackNamespace::from_path(&format!("stream/{ORG}/{}", input(origin)))
}

/// A track's full name.
pub fn full_name(track: &TrackPlan) -> Result<FullTrackName, NameError> {
    let name = TrackName(Bytes::copy_from_slice(track.name.as_bytes()));
    FullTrackName::new(namespace(track.origin)?, name)
}

/// Payload bytes of an object.
pub fn size(track: &TrackPlan, index: u16, group: u64, object: u64) -> usize {
    if track.is_catalog {
        return catalogs::payload(track, group, object).0.len();
    }
    let span = track
        .object_bytes_max
        .saturating_sub(track.object_bytes_min);
    let span = u64::try_from(span).unwrap_or(u64::MAX).saturating_add(1);
    let extra = key(index, group, object) % span;
    track
        .object_bytes_min
        .saturating_add(usize::try_from(extra).unwrap_or_default())
}

/// The bytes of an object.
pub fn payload(track: &TrackPlan, index: u16, group: u64, object: u64) -> Bytes {
    if track.is_catalog {
        return catalogs::payload(track, group, object).0;
    }
    let size = size(track, index, group, object);
    let mut words = Words(key(index, group, object));
    let mut bytes = Vec::with_capacity(size.saturating_add(8));
    while bytes.len() < size {
        bytes.extend(words.next_word());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Whether these are the bytes of that object.
pub fn is_payload(track: &TrackPlan, index: u16, group: u64, object: u64, found: &Payload) -> bool {
    if track.is_catalog {
        return found.to_bytes() == catalogs::payload(track, group, object).0;
    }
    if found.len() != size(track, index, group, object) {
        return false;
    }
    let mut words = Words(key(index, group, object));
    let mut word = [0; 8];
    let mut at = word.len();
    for piece in found.pieces() {
        for byte in piece {
            if at == word.len() {
                word = words.next_word();
                at = 0;
            }
            if word.get(at) != Some(byte) {
                return false;
            }
            at += 1;
        }
    }
    true
}

/// A number that stands for a place.
fn key(index: u16, group: u64, object: u64) -> u64 {
    let mut words = Words(
        (u64::from(index) << 48)
            ^ group.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ object.rotate_left(32),
    );
    u64::from_le_bytes(words.next_word())
}

/// The splitmix64 sequence.
struct Words(u64);

impl Words {
    fn next_word(&mut self) -> [u8; 8] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_by_its_place_however_it_is_cut() {
        let track = TrackPlan {
            origin: NodeId(0),
            name: "video".to_owned(),
            interval_ms: 40,
            group_objects: 10,
            subgroups: 1,
            object_bytes_min: 5,
            object_bytes_max: 500,
            priority: 128,
            groups: None,
            is_catalog: false,
        };
        let bytes = payload(&track, 3, 7, 2);
        assert!((5..=500).contains(&bytes.len()));
        let cut = Payload::from_pieces(vec![bytes.slice(..3), bytes.slice(3..)]);
        assert!(is_payload(&track, 3, 7, 2, &cut));
        assert!(!is_payload(&track, 3, 7, 3, &cut));
        assert!(!is_payload(&track, 2, 7, 2, &cut));
        let mut wrong = bytes.to_vec();
        wrong[4] ^= 1;
        assert!(!is_payload(
            &track,
            3,
            7,
            2,
            &Payload::from(Bytes::from(wrong))
        ));
    }
}
