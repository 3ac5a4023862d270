//! A track object of an MSF catalog as read: a set of fields that are given.
//!
//! A whole catalog and `add` make a track of it, `clone` and `update` lay it over one that is there.
//! Sources: draft-ietf-moq-msf-01 sections 5.1.6 and 5.2, draft-00 section 4.1.

use super::json::{Error, Object};
use super::model::{Audio, Catalog, Kind, Packaging, Track, Video};
use crate::map::BTreeMap;
use bytes::Bytes;

/// The fields that a track object gives; what it does not give stays as it was.
#[derive(Default)]
pub(super) struct Patch {
    pub(super) parent_name: Option<String>,
    parent_namespace: Option<String>,
    pub(super) name: Option<String>,
    namespace: Option<String>,
    packaging: Option<Packaging>,
    pub(super) is_live: Option<bool>,
    role: Option<String>,
    label: Option<String>,
    render_group: Option<u32>,
    alt_group: Option<u32>,
    init: Option<Bytes>,
    codec: Option<String>,
    mime_type: Option<String>,
    frame_rate: Option<f64>,
    timescale: Option<u32>,
    bitrate: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    sample_rate: Option<u32>,
    channels: Option<u32>,
    language: Option<String>,
}

impl Patch {
    pub(super) fn parse(
        entry: &Object<'_>,
        inits: &BTreeMap<String, Bytes>,
    ) -> Result<Self, Error> {
        let init = match entry.text("initRef")? {
            Some(id) => inits.get(&id).cloned(),
            None => entry.base64("initData")?,
        };
        // `channelConfig` is a string that mostly holds a number; some write the number itself.
        let channels = match entry.value("channelConfig") {
            Some(value) if value.is_string() => entry
                .text("channelConfig")?
                .and_then(|text| text.parse().ok()),
            _ => entry.whole_u32("channelConfig")?,
        };
        Ok(Self {
            parent_name: entry.text("parentName")?,
            parent_namespace: entry.text("parentNamespace")?,
            name: entry.text("name")?,
            namespace: entry.text("namespace")?,
            packaging: entry
                .text("packaging")?
                .map(|word| Packaging::from(word.as_str())),
            is_live: entry.boolean("isLive")?,
            role: entry.text("role")?,
            label: entry.text("label")?,
            render_group: entry.whole_u32("renderGroup")?,
            alt_group: entry.whole_u32("altGroup")?,
            init,
            codec: entry.text("codec")?,
            mime_type: entry.text("mimeType")?,
            frame_rate: entry.number("framerate")?,
            timescale: entry.whole_u32("timescale")?,
            bitrate: entry.whole("bitrate")?,
            width: entry.whole_u32("width")?,
            height: entry.whole_u32("height")?,
            sample_rate: entry.whole_u32("samplerate")?,
            channels,
            language: entry.text("lang")?,
        })
    }

    /// Index of the track called `name`, in the namespace that the patch gives for it.
    pub(super) fn target(&self, catalog: &Catalog, name: Option<&str>) -> Result<usize, Error> {
        let namespace = self.parent_namespace.as_ref().or(self.namespace.as_ref());
        let name = name.ok_or(Error::BadField {
            field: "name",
            expected: "a string",
        })?;
        catalog
            .tracks
            .iter()
            .position(|track| {
                track.name == name
                    && namespace.is_none_or(|wanted| track.namespace.as_ref() == Some(wanted))
            })
            .ok_or(Error::UnknownTrack)
    }

    pub(super) fn into_track(self) -> Result<Track, Error> {
        if self.name.is_none() {
            return Err(Error::BadField {
                field: "name",
                expected: "a string",
            });
        }
        if self.packaging.is_none() {
            return Err(Error::BadField {
                field: "packaging",
                expected: "a string",
            });
        }
        let kind = self.kind();
        Ok(self.onto(Track {
            kind,
            ..Track::default()
        }))
    }

    /// The role, or what the other fields let guess: `role` is optional.
    fn kind(&self) -> Kind {
        if let Some(role) = &self.role {
            return Kind::from(role.as_str());
        }
        let mime = self.mime_type.as_deref().unwrap_or_default();
        if self.sample_rate.is_some() || self.channels.is_some() || mime.starts_with("audio/") {
            return Kind::Audio;
        }
        if self.width.is_some() || self.frame_rate.is_some() || mime.starts_with("video/") {
            return Kind::Video;
        }
        let codec = self.codec.as_deref().unwrap_or_default();
        if ["opus", "mp4a", "flac", "ac-3", "ec-3"]
            .iter()
            .any(|name| codec.starts_with(name))
        {
            Kind::Audio
        } else if codec.is_empty() {
            Kind::Other("data".to_owned())
        } else {
            Kind::Video
        }
    }

    /// `track` with the given fields replaced.
    pub(super) fn onto(self, track: Track) -> Track {
        let kind = self.role.as_deref().map_or(track.kind, Kind::from);
        let old_video = track.video.unwrap_or_default();
        let old_audio = track.audio.unwrap_or_default();
        let video = Video {
            width: self.width.unwrap_or(old_video.width),
            height: self.height.unwrap_or(old_video.height),
            frame_rate: self.frame_rate.or(old_video.frame_rate),
        };
        let audio = Audio {
            sample_rate: self.sample_rate.unwrap_or(old_audio.sample_rate),
            channels: self.channels.unwrap_or(old_audio.channels),
        };
        Track {
            name: self.name.unwrap_or(track.name),
            namespace: self.namespace.or(track.namespace),
            video: (kind == Kind::Video).then_some(video),
            audio: (kind == Kind::Audio).then_some(audio),
            kind,
            packaging: self.packaging.unwrap_or(track.packaging),
            codec: self.codec.unwrap_or(track.codec),
            init: self.init.or(track.init),
            bitrate: self.bitrate.or(track.bitrate),
            timescale: self.timescale.or(track.timescale),
            language: self.language.or(track.language),
            label: self.label.or(track.label),
            alt_group: self.alt_group.or(track.alt_group),
            render_group: self.render_group.or(track.render_group),
        }
    }
}
