//! Catalogs: MSF whole and by deltas, and the seed's JSON.
//!
//! Input: kind, then JSON objects with a zero byte between. Laws: what is read is written and reads the
//! same; a refused delta changes nothing; a delta that is made leads from the old catalog to the new;
//! no catalog passes its limits.

use crate::input::Cursor;
use mainstem_core::catalog::diff::delta_json;
use mainstem_core::catalog::msf::Reader;
use mainstem_core::catalog::{Catalog, Limits, detect};

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let kind = input.byte();
    let limits = if kind & 0x10 == 0 {
        Limits::default()
    } else {
        Limits {
            tracks_max: 2,
            ..Limits::default()
        }
    };
    let objects: Vec<&[u8]> = input.rest().split(|byte| *byte == 0).collect();
    for json in &objects {
        let _ = detect(json, &limits);
    }
    match kind % 4 {
        0 => objects.iter().for_each(|json| check_msf(json, &limits)),
        1 => objects.iter().for_each(|json| check_seed(json, &limits)),
        2 => check_deltas(&objects, &limits),
        _ => check_diff(&objects, &limits),
    }
}

fn check_msf(json: &[u8], limits: &Limits) {
    let Ok(catalog) = Catalog::parse_msf(json, limits) else {
        return;
    };
    check_bounds(&catalog, limits);
    let written = catalog.to_msf_json();
    let again = Catalog::parse_msf(written.as_bytes(), limits);
    let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.to_msf_json(), written);
    assert_eq!(again.tracks.len(), catalog.tracks.len());
    for track in &catalog.tracks {
        let _ = (track.mse_type(), catalog.track(&track.name));
    }
}

fn check_seed(json: &[u8], limits: &Limits) {
    let Ok(catalog) = Catalog::parse_seed(json, limits) else {
        return;
    };
    check_bounds(&catalog, limits);
    let written = catalog.to_seed_json();
    let again = Catalog::parse_seed(written.as_bytes(), limits);
    let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.to_seed_json(), written);
}

fn check_deltas(objects: &[&[u8]], limits: &Limits) {
    let mut reader = Reader::new(*limits);
    for json in objects {
        let before = reader.catalog().cloned();
        match reader.apply(json) {
            Ok(catalog) => check_bounds(catalog, limits),
            Err(_) => assert_eq!(reader.catalog(), before.as_ref()),
        }
    }
}

fn check_diff(objects: &[&[u8]], limits: &Limits) {
    let [old, new, ..] = objects else {
        return;
    };
    let (Ok(old), Ok(new)) = (
        Catalog::parse_msf(old, limits),
        Catalog::parse_msf(new, limits),
    ) else {
        return;
    };
    let Some(delta) = delta_json(&old, &new) else {
        return;
    };
    let mut reader = Reader::new(Limits::default());
    reader
        .apply(old.to_msf_json().as_bytes())
        .expect("it was read before");
    assert_eq!(reader.apply(delta.as_bytes()), Ok(&new), "{delta}");
}

fn check_bounds(catalog: &Catalog, limits: &Limits) {
    assert!(catalog.tracks.len() <= limits.tracks_max);
}
