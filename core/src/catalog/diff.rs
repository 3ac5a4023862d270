//! MSF deltas between two catalogs, for a catalog that changes mid-stream.
//!
//! A delta may hold nothing but its operations and a time (draft-01, 5.3), so a change that brings
//! a new init segment, the end of the stream, a field that goes away or another order of tracks
//! cannot be said in one: then [`delta_json`] gives `None`, and a whole catalog in a new group is
//! the way. What it gives, applied to the old catalog, is the new one: a property that is tested.

use super::json::Limits;
use super::model::{Catalog, Track};
use super::msf::{Entry, Reader, init_id};
use crate::canary::{self, Canary};
use crate::time::UnixTime;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delta<'a> {
    generated_at: u64,
    delta_update: Vec<Operation<'a>>,
}

#[derive(Serialize)]
struct Operation<'a> {
    op: &'static str,
    tracks: Vec<Entry<'a>>,
}

/// The delta that turns `old` into `new`, as MSF draft-01 JSON; `None` when only a whole catalog
/// can say it, or nothing changed but the time.
pub fn delta_json(old: &Catalog, new: &Catalog) -> Option<String> {
    let generated_at = new.generated_at.filter(|_| new.live)?;
    if old.live != new.live || old.complete != new.complete {
        return None;
    }
    let mut operations = operations(old, new);
    let is_spoilt = canary::is_on(Canary::CatalogChangeLeftOut) && operations.len() > 1;
    if is_spoilt {
        operations.pop();
    }
    let delta = Delta {
        generated_at: UnixTime::as_millis(generated_at),
        delta_update: operations,
    };
    if delta.delta_update.is_empty() {
        return None;
    }
    let json = serde_json::to_string(&delta).ok()?;
    // What cannot be said is found by trying: a reader of the old catalog must arrive at the new.
    let mut reader = Reader::new(Limits::default());
    reader.apply(old.to_msf_json().as_bytes()).ok()?;
    let reached = reader.apply(json.as_bytes()).ok()?;
    (reached == new || is_spoilt).then_some(json)
}

fn operations<'a>(old: &'a Catalog, new: &'a Catalog) -> Vec<Operation<'a>> {
    let find = |catalog: &'a Catalog, track: &Track| {
        let same = |other: &&Track| other.name == track.name && other.namespace == track.namespace;
        catalog.tracks.iter().find(same)
    };
    let named = |track: &'a Track| Entry {
        name: Some(&track.name),
        namespace: track.namespace.as_deref(),
        ..Entry::default()
    };
    let removed = old
        .tracks
        .iter()
        .filter(|track| find(new, track).is_none())
        .map(named);
    let updated = new.tracks.iter().filter_map(|track| {
        let before = find(old, track)?;
        (before != track).then(|| changes(before, track))
    });
    let added = new.tracks.iter().filter(|track| find(old, track).is_none());
    let operations = [
        Operation {
            op: "remove",
            tracks: removed.collect(),
        },
        Operation {
            op: "update",
            tracks: updated.collect(),
        },
        Operation {
            op: "add",
            tracks: added.map(|track| Entry::whole(track, new.live)).collect(),
        },
    ];
    operations
        .into_iter()
        .filter(|operation| !operation.tracks.is_empty())
        .collect()
}

/// Only the fields that differ, and the name.
fn changes<'a>(old: &'a Track, new: &'a Track) -> Entry<'a> {
    let was = Entry::whole(old, true);
    let is = Entry::whole(new, true);
    Entry {
        // The text asks for the parent's name, the example for the name.
        parent_name: Some(&new.name),
        name: Some(&new.name),
        namespace: is.namespace,
        packaging: differing(was.packaging.as_ref(), is.packaging),
        is_live: None,
        role: differing(was.role.as_ref(), is.role),
        label: differing(was.label.as_ref(), is.label),
        render_group: differing(was.render_group.as_ref(), is.render_group),
        alt_group: differing(was.alt_group.as_ref(), is.alt_group),
        init_ref: differing(old.init.as_deref().map(init_id).as_ref(), is.init_ref),
        codec: differing(was.codec.as_ref(), is.codec),
        framerate: differing(was.framerate.as_ref(), is.framerate),
        timescale: differing(was.timescale.as_ref(), is.timescale),
        bitrate: differing(was.bitrate.as_ref(), is.bitrate),
        width: differing(was.width.as_ref(), is.width),
        height: differing(was.height.as_ref(), is.height),
        samplerate: differing(was.samplerate.as_ref(), is.samplerate),
        channel_config: differing(was.channel_config.as_ref(), is.channel_config),
        lang: differing(was.lang.as_ref(), is.lang),
    }
}

fn differing<T: PartialEq>(was: Option<&T>, is: Option<T>) -> Option<T> {
    is.filter(|is| was != Some(is))
}
