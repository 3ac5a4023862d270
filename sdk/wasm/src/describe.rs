//! The catalog as the page reads it: the seed's JSON, and what else is known of each track.
//!
//! `tracks[].id` is the number that [`crate::viewer`]'s chunks carry; it stays with a name for the
//! machine's life. Source: seed document 003 (catalog); MSF draft-01 (the fields beyond it).

use mainstem_core::catalog::{Catalog, Track};
use mainstem_core::map::BTreeMap;
use serde_json::{Map, Value, json};

/// The numbers of tracks, by name.
#[derive(Debug, Default)]
pub(crate) struct Numbers(BTreeMap<String, u32>);

impl Numbers {
    /// The number of a track.
    pub(crate) fn of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(name.to_owned(), number);
        number
    }
}

/// The event that a catalog is.
pub(crate) fn catalog_event(catalog: &Catalog, numbers: &mut Numbers) -> Value {
    let tracks = catalog.tracks.iter();
    let tracks: Vec<Value> = tracks.map(|track| describe(track, numbers)).collect();
    json!({
        "type": "catalog",
        "version": 1,
        "live": catalog.live,
        "complete": catalog.complete,
        "generatedAt": catalog.generated_at.map(mainstem_core::time::UnixTime::as_millis),
        "tracks": tracks,
    })
}

fn describe(track: &Track, numbers: &mut Numbers) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            fields.insert(key.to_owned(), value);
        }
    };
    put("id", numbers.of(&track.name).into());
    put("name", track.name.as_str().into());
    put("kind", track.kind.as_str().into());
    put("codec", track.codec.as_str().into());
    put("packaging", track.packaging.as_str().into());
    let known = |number: u32| (number > 0).then_some(number);
    if let Some(video) = track.video {
        put("width", json!(known(video.width)));
        put("height", json!(known(video.height)));
        put("frameRate", json!(video.frame_rate));
    }
    if let Some(audio) = track.audio {
        put("sampleRate", json!(known(audio.sample_rate)));
        put("channels", json!(known(audio.channels)));
    }
    put("bitrate", json!(track.bitrate));
    put("language", json!(track.language));
    put("label", json!(track.label));
    put("altGroup", json!(track.alt_group));
    put("initData", json!(track.init.as_deref().map(base64)));
    Value::Object(fields)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = (a << 16) | (b << 8) | c;
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = ALPHABET.get(((bits >> shift) & 63) as usize);
            let letter = letter.filter(|_| at <= group.len());
            text.push(char::from(*letter.unwrap_or(&b'=')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_shows_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn numbers_stay_with_their_names() {
        let mut numbers = Numbers::default();
        assert_eq!(
            [numbers.of("a"), numbers.of("b"), numbers.of("a")],
            [0, 1, 0]
        );
    }
}
