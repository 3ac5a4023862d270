//! [`Catalog`] and [`Track`]: what a stream offers, whatever format it is written in.

use crate::cmaf;
use crate::time::UnixTime;
use bytes::Bytes;

/// What a stream offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Whether media is still being produced.
    pub live: bool,
    /// Whether nothing will ever be added (MSF `isComplete`); the seed JSON has no word for it.
    pub complete: bool,
    /// When this catalog was made, if it is live (MSF `generatedAt`).
    pub generated_at: Option<UnixTime>,
    /// The tracks; names are unique.
    pub tracks: Vec<Track>,
}

/// Role of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    #[default]
    Video,
    /// Sound.
    Audio,
    /// Any other role, by its word (`caption`, `subtitle`, `signlanguage` ...).
    Other(String),
}

impl Kind {
    /// The word that both formats use.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Kind {
    fn from(word: &str) -> Self {
        match word {
            "video" => Self::Video,
            "audio" => Self::Audio,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// How a track's objects are packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Packaging {
    /// `moof mdat` chunks; the only packaging of the seed JSON.
    #[default]
    Cmaf,
    /// Low-overhead container: a frame per object.
    Loc,
    /// Another MSF packaging, by its word.
    Other(String),
}

impl Packaging {
    /// The word that MSF uses.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cmaf => "cmaf",
            Self::Loc => "loc",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Packaging {
    fn from(word: &str) -> Self {
        match word {
            "cmaf" => Self::Cmaf,
            "loc" => Self::Loc,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Shape of a video track.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Video {
    /// Luma samples per line; 0 when not known.
    pub width: u32,
    /// Lines; 0 when not known.
    pub height: u32,
    /// Frames per second.
    pub frame_rate: Option<f64>,
}

/// Shape of an audio track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Samples per second; 0 when not known.
    pub sample_rate: u32,
    /// Channels; 0 when not known.
    pub channels: u32,
}

/// One track of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// Track name under the catalog's namespace: `video/720p`, `audio`.
    pub name: String,
    /// Namespace of the track as the catalog wrote it, when it is not the catalog's own.
    pub namespace: Option<String>,
    /// Role.
    pub kind: Kind,
    /// Packaging.
    pub packaging: Packaging,
    /// RFC 6381 codec string; may be empty for a track that is not video or audio.
    pub codec: String,
    /// Init segment (`ftyp moov`) of a CMAF track.
    pub init: Option<Bytes>,
    /// Set for video.
    pub video: Option<Video>,
    /// Set for audio.
    pub audio: Option<Audio>,
    /// Highest bitrate in bits per second.
    pub bitrate: Option<u64>,
    /// Ticks per second of the media times.
    pub timescale: Option<u32>,
    /// BCP 47 language.
    pub language: Option<String>,
    /// Words for a person who chooses.
    pub label: Option<String>,
    /// Tracks of one group are alternatives of each other (renditions).
    pub alt_group: Option<u32>,
    /// Tracks of one group are played together.
    pub render_group: Option<u32>,
}

impl Catalog {
    /// The track with this name.
    pub fn track(&self, name: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.name == name)
    }

    /// The first video track, which is the best one by the custom of our publisher.
    pub fn first_video(&self) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == Kind::Video)
    }

    /// The first audio track.
    pub fn first_audio(&self) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == Kind::Audio)
    }
}

impl Track {
    /// A CMAF track called `name` with the shape and init segment of `init`'s first track.
    pub fn from_init(name: &str, init: &cmaf::Init) -> Self {
        let Some(track) = init.tracks.first() else {
            return Self {
                name: name.to_owned(),
                ..Self::default()
            };
        };
        Self {
            name: name.to_owned(),
            kind: match track.kind() {
                cmaf::Kind::Video => Kind::Video,
                cmaf::Kind::Audio => Kind::Audio,
                cmaf::Kind::Other => Kind::Other("data".to_owned()),
            },
            codec: track.codec_string(),
            init: Some(init.raw.clone()),
            video: track.video.map(|video| Video {
                width: video.width.into(),
                height: video.height.into(),
                frame_rate: video.frame_rate,
            }),
            audio: track.audio.map(|audio| Audio {
                sample_rate: audio.sample_rate,
                channels: audio.channels.into(),
            }),
            timescale: Some(track.timescale.get()),
            language: (track.language != "und").then(|| track.language.clone()),
            render_group: Some(1),
            ..Self::default()
        }
    }

    /// The type for `MediaSource.addSourceBuffer`: `video/mp4; codecs="avc1.42E01F"`.
    pub fn mse_type(&self) -> String {
        let top = if self.kind == Kind::Audio {
            "audio"
        } else {
            "video"
        };
        format!("{top}/mp4; codecs=\"{}\"", self.codec)
    }
}
