//! The seed's catalog JSON, version 1, as it stands on the `.catalog` track.
//!
//! ```json
//! {"version":1,"live":true,"tracks":[
//!   {"name":"video/720p","kind":"video","codec":"avc1.42E01F","width":1280,"height":720,"bitrate":2500000},
//!   {"name":"audio","kind":"audio","codec":"opus","sampleRate":48000,"channels":2}]}
//! ```
//!
//! The key of the init segment is not shown there; it is `initData` here, base64, last in its
//! track. Tracks that are not CMAF cannot be said in this format and are left out.

use super::json::{Error, Limits, Object, check, parse_root, to_base64};
use super::model::{Audio, Catalog, Kind, Packaging, Track, Video};
use serde::Serialize;

#[derive(Serialize)]
struct Root<'a> {
    version: u32,
    live: bool,
    tracks: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    name: &'a str,
    kind: &'a str,
    codec: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_data: Option<String>,
}

impl<'a> From<&'a Track> for Entry<'a> {
    fn from(track: &'a Track) -> Self {
        let known = |number: u32| (number > 0).then_some(number);
        Self {
            name: &track.name,
            kind: track.kind.as_str(),
            codec: &track.codec,
            width: track.video.and_then(|video| known(video.width)),
            height: track.video.and_then(|video| known(video.height)),
            bitrate: track.bitrate,
            sample_rate: track.audio.and_then(|audio| known(audio.sample_rate)),
            channels: track.audio.and_then(|audio| known(audio.channels)),
            init_data: track.init.as_deref().map(to_base64),
        }
    }
}

impl Catalog {
    /// This catalog as the seed's JSON. Deterministic; holds no `null`.
    pub fn to_seed_json(&self) -> String {
        let cmaf = self
            .tracks
            .iter()
            .filter(|track| track.packaging == Packaging::Cmaf);
        let root = Root {
            version: 1,
            live: self.live,
            tracks: cmaf.map(Entry::from).collect(),
        };
        // Strings, numbers and arrays of them cannot fail to serialise.
        serde_json::to_string(&root).unwrap_or_default()
    }

    /// Parses the seed's JSON; fields that we do not know are ignored.
    pub fn parse_seed(json: &[u8], limits: &Limits) -> Result<Self, Error> {
        let fields = parse_root(json, limits)?;
        let root = Object::new(&fields, limits);
        if root.whole("version")?.is_some_and(|version| version != 1) {
            return Err(Error::UnknownVersion);
        }
        let tracks = root.objects("tracks", limits.tracks_max)?;
        let tracks = tracks.ok_or(Error::BadField {
            field: "tracks",
            expected: "an array",
        })?;
        let catalog = Self {
            live: root.boolean("live")?.unwrap_or(false),
            tracks: tracks.iter().map(parse_track).collect::<Result<_, _>>()?,
            ..Self::default()
        };
        check(&catalog, limits)?;
        Ok(catalog)
    }
}

fn parse_track(entry: &Object<'_>) -> Result<Track, Error> {
    let required = |field, value: Option<String>| {
        value.ok_or(Error::BadField {
            field,
            expected: "a string",
        })
    };
    let kind = Kind::from(required("kind", entry.text("kind")?)?.as_str());
    let video = Video {
        width: entry.whole_u32("width")?.unwrap_or(0),
        height: entry.whole_u32("height")?.unwrap_or(0),
        frame_rate: None,
    };
    let audio = Audio {
        sample_rate: entry.whole_u32("sampleRate")?.unwrap_or(0),
        channels: entry.whole_u32("channels")?.unwrap_or(0),
    };
    Ok(Track {
        name: required("name", entry.text("name")?)?,
        codec: entry.text("codec")?.unwrap_or_default(),
        init: entry.base64("initData")?,
        video: (kind == Kind::Video).then_some(video),
        audio: (kind == Kind::Audio).then_some(audio),
        bitrate: entry.whole("bitrate")?,
        kind,
        ..Track::default()
    })
}
