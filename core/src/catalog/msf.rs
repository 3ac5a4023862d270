//! MSF catalogs: draft-01 written, draft-00 and draft-01 read, deltas applied mid-stream.
//!
//! | object | holds | applied by |
//! |---|---|---|
//! | id 0 of a group | a whole catalog | [`Reader::apply`]: replaces all |
//! | id 1 and later | a delta: `add`, `remove`, `clone`, `update` in order | [`Reader::apply`] |
//!
//! Init segments stand in `initDataList`, after the tracks, and are named by a hash of their bytes,
//! so a delta may name one that the group's whole catalog already carried. Draft-00 has them inline
//! in `initData`, and its deltas as `addTracks`, `removeTracks`, `cloneTracks`. An `update` names
//! its track by `parentName` in the text of draft-01 and by `name` in its example; both are read,
//! both are written. Sources: draft-ietf-moq-msf-01 sections 5.1 - 5.3; draft-ietf-moq-cmsf-00.

use super::json::{Error, Limits, Object, check, parse_root, to_base64, write_rate};
use super::model::{Catalog, Track};
use super::patch::Patch;
use crate::map::BTreeMap;
use crate::time::UnixTime;
use bytes::Bytes;
use serde::Serialize;

/// The version that we write.
pub const VERSION: &str = "draft-01";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Root<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_at: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_complete: bool,
    tracks: Vec<Entry<'a>>,
    /// Must stand after `tracks` (draft-01, 5.1.7).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_data_list: Vec<InitData>,
}

#[derive(Serialize)]
struct InitData {
    id: String,
    r#type: &'static str,
    data: String,
}

/// A track as draft-01 writes it. Every field optional, so that it also serves as a delta's patch.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packaging: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_live: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) render_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alt_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) init_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) codec: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_rate")]
    pub(super) framerate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timescale: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bitrate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) samplerate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel_config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lang: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Everything that is known of a track.
    pub(super) fn whole(track: &'a Track, live: bool) -> Self {
        let known = |number: u32| (number > 0).then_some(number);
        let text = |text: &'a str| (!text.is_empty()).then_some(text);
        Self {
            parent_name: None,
            name: Some(&track.name),
            namespace: track.namespace.as_deref(),
            packaging: Some(track.packaging.as_str()),
            is_live: Some(live),
            role: Some(track.kind.as_str()),
            label: track.label.as_deref(),
            render_group: track.render_group,
            alt_group: track.alt_group,
            init_ref: track.init.as_deref().map(init_id),
            codec: text(&track.codec),
            framerate: track.video.and_then(|video| video.frame_rate),
            timescale: track.timescale,
            bitrate: track.bitrate,
            width: track.video.and_then(|video| known(video.width)),
            height: track.video.and_then(|video| known(video.height)),
            samplerate: track.audio.and_then(|audio| known(audio.sample_rate)),
            channel_config: track
                .audio
                .and_then(|audio| known(audio.channels))
                .map(|channels| channels.to_string()),
            lang: track.language.as_deref(),
        }
    }
}

/// Name of an init segment: FNV-1a of its bytes, 64 bits in hex.
pub(super) fn init_id(init: &[u8]) -> String {
    let hash = init.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Catalog {
    /// This catalog as an MSF draft-01 whole catalog. Deterministic; holds no `null`.
    pub fn to_msf_json(&self) -> String {
        let inits: BTreeMap<String, &Bytes> = self
            .tracks
            .iter()
            .filter_map(|track| track.init.as_ref())
            .map(|init| (init_id(init), init))
            .collect();
        let root = Root {
            version: VERSION,
            generated_at: self
                .generated_at
                .filter(|_| self.live)
                .map(UnixTime::as_millis),
            is_complete: self.complete,
            tracks: self
                .tracks
                .iter()
                .map(|track| Entry::whole(track, self.live))
                .collect(),
            init_data_list: inits
                .into_iter()
                .map(|(id, init)| InitData {
                    id,
                    r#type: "inline",
                    data: to_base64(init),
                })
                .collect(),
        };
        // Strings, numbers and arrays of them cannot fail to serialise.
        serde_json::to_string(&root).unwrap_or_default()
    }

    /// Parses one whole MSF catalog. For a track with deltas keep a [`Reader`].
    pub fn parse_msf(json: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(*limits);
        reader.apply(json)?;
        reader.catalog.ok_or(Error::UnknownTrack)
    }
}

/// Follows an MSF catalog track: whole catalogs and deltas, in object order.
#[derive(Clone, Debug)]
pub struct Reader {
    limits: Limits,
    catalog: Option<Catalog>,
    /// Init segments that tracks may name, from the latest whole catalog and its deltas.
    inits: BTreeMap<String, Bytes>,
}

impl Reader {
    /// A reader that has seen nothing.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            catalog: None,
            inits: BTreeMap::new(),
        }
    }

    /// The catalog as it stands; `None` before the first whole one.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    /// Takes one object. After an error the catalog is what it was before.
    pub fn apply(&mut self, json: &[u8]) -> Result<&Catalog, Error> {
        let fields = parse_root(json, &self.limits)?;
        let limits = self.limits;
        let root = Object::new(&fields, &limits);
        let is_delta = root
            .value("deltaUpdate")
            .is_some_and(|value| value.is_array() || value.as_bool() == Some(true));
        let (inits, catalog) = if is_delta {
            self.delta(&root)?
        } else {
            self.whole(&root)?
        };
        check(&catalog, &limits)?;
        self.inits = inits;
        Ok(self.catalog.insert(catalog))
    }

    fn whole(&self, root: &Object<'_>) -> Result<State, Error> {
        check_version(root)?;
        let mut inits = BTreeMap::new();
        self.read_init_list(root, &mut inits)?;
        let tracks = root.objects("tracks", self.limits.tracks_max)?;
        let tracks = tracks.ok_or(Error::BadField {
            field: "tracks",
            expected: "an array",
        })?;
        let mut catalog = Catalog {
            live: false,
            complete: root.boolean("isComplete")?.unwrap_or(false),
            generated_at: root.whole("generatedAt")?.map(UnixTime::from_millis),
            tracks: Vec::new(),
        };
        for entry in &tracks {
            let patch = Patch::parse(entry, &inits)?;
            catalog.live |= patch.is_live.unwrap_or(false);
            catalog.tracks.push(patch.into_track()?);
        }
        Ok((inits, catalog))
    }

    fn delta(&self, root: &Object<'_>) -> Result<State, Error> {
        let mut catalog = self.catalog.clone().ok_or(Error::UnknownTrack)?;
        let mut inits = self.inits.clone();
        self.read_init_list(root, &mut inits)?;
        let max = self.limits.entries_max;
        if let Ok(Some(operations)) = root.objects("deltaUpdate", max) {
            for operation in operations {
                let op = operation.text("op")?.ok_or(Error::UnknownOperation)?;
                self.operation(&op, "tracks", &operation, &inits, &mut catalog)?;
            }
        } else {
            // Draft-00 fixes no order among the three; removing first lets a name be used again.
            for (op, field) in [
                ("remove", "removeTracks"),
                ("clone", "cloneTracks"),
                ("add", "addTracks"),
            ] {
                self.operation(op, field, root, &inits, &mut catalog)?;
            }
        }
        if let Some(time) = root.whole("generatedAt")? {
            catalog.generated_at = Some(UnixTime::from_millis(time));
        }
        Ok((inits, catalog))
    }

    fn operation(
        &self,
        op: &str,
        field: &'static str,
        object: &Object<'_>,
        inits: &BTreeMap<String, Bytes>,
        catalog: &mut Catalog,
    ) -> Result<(), Error> {
        for entry in object
            .objects(field, self.limits.tracks_max)?
            .unwrap_or_default()
        {
            let patch = Patch::parse(&entry, inits)?;
            catalog.live |= patch.is_live.unwrap_or(false) && op == "add";
            match op {
                "add" => self.push(patch.into_track()?, catalog)?,
                "remove" => {
                    let index = patch.target(catalog, patch.name.as_deref())?;
                    catalog.tracks.remove(index);
                }
                "clone" => {
                    let index = patch.target(catalog, patch.parent_name.as_deref())?;
                    let parent = catalog
                        .tracks
                        .get(index)
                        .cloned()
                        .ok_or(Error::UnknownTrack)?;
                    self.push(patch.onto(parent), catalog)?;
                }
                "update" => {
                    let named = patch.parent_name.as_deref().or(patch.name.as_deref());
                    let index = patch.target(catalog, named)?;
                    let slot = catalog.tracks.get_mut(index).ok_or(Error::UnknownTrack)?;
                    *slot = patch.onto(std::mem::take(slot));
                }
                _ => return Err(Error::UnknownOperation),
            }
        }
        Ok(())
    }

    fn push(&self, track: Track, catalog: &mut Catalog) -> Result<(), Error> {
        let max = self.limits.tracks_max;
        if catalog.tracks.len() >= max {
            return Err(Error::TooMany {
                what: "tracks",
                max,
            });
        }
        catalog.tracks.push(track);
        Ok(())
    }

    fn read_init_list(
        &self,
        root: &Object<'_>,
        inits: &mut BTreeMap<String, Bytes>,
    ) -> Result<(), Error> {
        let max = self.limits.entries_max;
        for entry in root.objects("initDataList", max)?.unwrap_or_default() {
            // Init data in object or track properties is not in the catalog, and not ours to find.
            if entry.text("type")?.is_some_and(|kind| kind != "inline") {
                continue;
            }
            if let (Some(id), Some(data)) = (entry.text("id")?, entry.base64("data")?) {
                inits.insert(id, data);
            }
        }
        let bytes: usize = inits.values().map(Bytes::len).sum();
        if bytes > self.limits.init_bytes_max || inits.len() > max {
            return Err(Error::TooMany {
                what: "init bytes",
                max: self.limits.init_bytes_max,
            });
        }
        Ok(())
    }
}

type State = (BTreeMap<String, Bytes>, Catalog);

fn check_version(root: &Object<'_>) -> Result<(), Error> {
    let is_known = match root.value("version") {
        Some(version) if version.is_string() => {
            matches!(version.as_str(), Some("1" | "draft-00" | "draft-01"))
        }
        Some(version) => version.as_f64() == Some(1.0),
        None => false,
    };
    if is_known {
        Ok(())
    } else {
        Err(Error::UnknownVersion)
    }
}
