//! What arrives on a track, as a program sees it.
//!
//! Each group of a broadcast begins with the init segment. A program gets it once, and again when it
//! changes; then the fragments. The time stamp is the publisher's, if it gave one; else the wall
//! clock's time in front of the fragment (`prft`), or its decode time.
//!
//! Source: seed document 000 (chunks); CONTRACTS A1 (priorities 0 and 1).

use crate::framing::TIMESTAMP;
use bytes::Bytes;
use mainstem_core::cmaf::{Event, Fragment, Init, Limits, Reader};
use mainstem_core::moqt::object::Object;
use mainstem_core::time::MediaTime;
use std::sync::Arc;

/// One object of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The publisher's time stamp, in microseconds of its own clock.
    pub timestamp_us: u64,
    /// Lower is more urgent. Of a broadcast: 0 for an init segment, 1 for media.
    pub priority: u8,
    /// Whether decoding can begin here: it is the first of its group.
    pub is_key: bool,
    /// Whether it is an init segment of a broadcast.
    pub is_init: bool,
    /// The bytes.
    pub data: Bytes,
}

/// Turns objects into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    is_broadcast: bool,
    init: Option<Bytes>,
    /// For time stamps; `None` when the init segment cannot be read.
    parsed: Option<Arc<Init>>,
}

impl Decoder {
    /// For a broadcast, or for a track of anything.
    pub(crate) fn new(is_broadcast: bool) -> Self {
        Self {
            is_broadcast,
            ..Self::default()
        }
    }

    /// What a program gets of an object, if anything.
    pub(crate) fn frame(&mut self, object: &Object) -> Option<Frame> {
        let data = object.payload.to_bytes();
        let told = object.properties.integer(TIMESTAMP);
        let is_init = self.is_broadcast && begins_init(&data);
        if is_init {
            if self.init.as_ref() == Some(&data) {
                return None;
            }
            self.init = Some(data.clone());
            let parsed = Init::parse(data.clone(), &Limits::default());
            self.parsed = parsed.ok().map(Arc::new);
        }
        let priority = match (self.is_broadcast && self.init.is_some(), is_init) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => object.priority.unwrap_or(128),
        };
        let timestamp_us = match told {
            Some(told) => told,
            None if is_init => 0,
            None => self.time_of(&data).unwrap_or(0),
        };
        Some(Frame {
            timestamp_us,
            priority,
            is_key: object.object == 0,
            is_init,
            data,
        })
    }

    fn time_of(&self, data: &Bytes) -> Option<u64> {
        let init = self.parsed.as_ref()?;
        let mut reader = Reader::with_init(Arc::clone(init), Limits::default());
        reader.push(data.clone()).ok()?;
        let Ok(Some(Event::Fragment(fragment))) = reader.poll() else {
            return None;
        };
        time_of_fragment(init, &fragment)
    }
}

fn time_of_fragment(init: &Init, fragment: &Fragment) -> Option<u64> {
    if let Some(reference) = fragment.producer_reference {
        return Some(reference.time.as_unix_micros());
    }
    let first = fragment.tracks.first()?;
    let timescale = init.track(first.track_id)?.timescale;
    let ticks = i64::try_from(first.base_decode_time).ok()?;
    u64::try_from(MediaTime::new(ticks, timescale).as_micros()).ok()
}

fn begins_init(data: &[u8]) -> bool {
    matches!(data.get(4..8), Some(b"ftyp" | b"moov"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstem_core::moqt::property::PropertiesBuilder;

    fn object(place: (u64, u64), data: &'static [u8]) -> Object {
        Object {
            group: place.0,
            object: place.1,
            priority: Some(192),
            payload: Bytes::from_static(data).into(),
            ..Object::default()
        }
    }

    #[test]
    fn an_init_segment_is_told_once_and_again_when_it_changes() {
        let mut decoder = Decoder::new(true);
        let objects = [
            object((1, 0), b"\0\0\0\x09ftypA"),
            object((1, 1), b"\0\0\0\x08moof"),
            object((2, 0), b"\0\0\0\x09ftypA"),
            object((2, 1), b"\0\0\0\x08moof"),
            object((3, 0), b"\0\0\0\x09ftypB"),
        ];
        let told: Vec<_> = objects
            .iter()
            .filter_map(|object| decoder.frame(object))
            .map(|frame| (frame.is_init, frame.priority))
            .collect();
        assert_eq!(told, [(true, 0), (false, 1), (false, 1), (true, 0)]);
    }

    #[test]
    fn other_tracks_keep_their_priority_and_their_publishers_time() {
        let mut decoder = Decoder::new(false);
        let mut given = object((1, 0), b"\0\0\0\x08ftyp");
        given.properties = PropertiesBuilder::new().integer(TIMESTAMP, 42).build();
        let frame = decoder.frame(&given).unwrap();
        assert_eq!((frame.timestamp_us, frame.priority), (42, 192));
        assert!(frame.is_key && !frame.is_init);
    }
}
