//! The formats against their documents, and the laws of deltas.

use super::*;
use crate::time::UnixTime;
use bytes::Bytes;
use proptest::prelude::*;

fn two_tracks() -> Catalog {
    Catalog {
        live: true,
        tracks: vec![
            Track {
                name: "video/720p".to_owned(),
                codec: "avc1.42E01F".to_owned(),
                video: Some(Video {
                    width: 1280,
                    height: 720,
                    frame_rate: None,
                }),
                bitrate: Some(2_500_000),
                ..Track::default()
            },
            Track {
                name: "audio".to_owned(),
                kind: Kind::Audio,
                codec: "opus".to_owned(),
                audio: Some(Audio {
                    sample_rate: 48_000,
                    channels: 2,
                }),
                ..Track::default()
            },
        ],
        ..Catalog::default()
    }
}

/// The example of the seed, its white space taken out.
const SEED: &str = concat!(
    r#"{"version":1,"live":true,"tracks":["#,
    r#"{"name":"video/720p","kind":"video","codec":"avc1.42E01F","width":1280,"height":720,"#,
    r#""bitrate":2500000},"#,
    r#"{"name":"audio","kind":"audio","codec":"opus","sampleRate":48000,"channels":2}]}"#,
);

#[test]
fn seed_json_is_exactly_the_seeds() {
    assert_eq!(two_tracks().to_seed_json(), SEED);
    let parsed = Catalog::parse_seed(SEED.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(parsed, two_tracks());
}

#[test]
fn seed_init_segment_goes_in_base64() {
    let mut catalog = two_tracks();
    catalog.tracks[1].init = Some(Bytes::from_static(b"\0\0\0\x08ftyp"));
    let json = catalog.to_seed_json();
    assert!(
        json.contains(r#""channels":2,"initData":"AAAACGZ0eXA="}"#),
        "{json}"
    );
    assert_eq!(
        Catalog::parse_seed(json.as_bytes(), &Limits::default()),
        Ok(catalog)
    );
}

#[test]
fn msf_is_written_as_draft_01_asks() {
    let mut catalog = two_tracks();
    catalog.generated_at = Some(UnixTime::from_millis(1_746_104_606_044));
    catalog.tracks[0].init = Some(Bytes::from_static(b"init"));
    catalog.tracks[0].alt_group = Some(1);
    catalog.tracks[0].video = Some(Video {
        width: 1280,
        height: 720,
        frame_rate: Some(29.97),
    });
    let json = catalog.to_msf_json();
    insta::assert_snapshot!(json, @r#"{"version":"draft-01","generatedAt":1746104606044,"tracks":[{"name":"video/720p","packaging":"cmaf","isLive":true,"role":"video","altGroup":1,"initRef":"f5d2afc57ab57213","codec":"avc1.42E01F","framerate":29.97,"bitrate":2500000,"width":1280,"height":720},{"name":"audio","packaging":"cmaf","isLive":true,"role":"audio","codec":"opus","samplerate":48000,"channelConfig":"2"}],"initDataList":[{"id":"f5d2afc57ab57213","type":"inline","data":"aW5pdA=="}]}"#);
    assert_eq!(
        Catalog::parse_msf(json.as_bytes(), &Limits::default()),
        Ok(catalog)
    );
}

#[test]
fn draft_00_with_inline_init_and_guessed_role_is_read() {
    let json = br#"{"version":1,"generatedAt":1,"tracks":[
        {"name":"v","packaging":"cmaf","isLive":true,"codec":"av01.0.08M.08","width":1920,"height":1080,
         "framerate":30,"initData":"aW5pdA","com.example-tier":"premium","label":null},
        {"name":"a","packaging":"loc","isLive":true,"codec":"opus","samplerate":48000,"channelConfig":"2"}]}"#;
    let catalog = Catalog::parse_msf(json, &Limits::default()).unwrap();
    assert!(catalog.live);
    assert_eq!(catalog.tracks[0].init.as_deref(), Some(&b"init"[..]));
    assert_eq!(catalog.tracks[0].video.unwrap().frame_rate, Some(30.0));
    assert_eq!(catalog.tracks[1].kind, Kind::Audio);
    assert_eq!(catalog.tracks[1].packaging, Packaging::Loc);
}

#[test]
fn deltas_of_both_drafts_are_applied_in_order() {
    let mut reader = msf::Reader::new(Limits::default());
    assert_eq!(
        reader.apply(br#"{"deltaUpdate":[]}"#),
        Err(Error::UnknownTrack)
    );
    reader.apply(two_tracks().to_msf_json().as_bytes()).unwrap();
    let delta = br#"{"generatedAt":5,"deltaUpdate":[
        {"op":"update","tracks":[{"name":"video/720p","bitrate":4000000}]},
        {"op":"clone","tracks":[{"parentName":"video/720p","name":"video/360p","width":640,"height":360}]},
        {"op":"remove","tracks":[{"name":"audio"}]},
        {"op":"add","tracks":[{"name":"audio","packaging":"loc","isLive":true,"role":"audio"}]}]}"#;
    let catalog = reader.apply(delta).unwrap();
    let names: Vec<_> = catalog.tracks.iter().map(|track| &track.name[..]).collect();
    assert_eq!(names, ["video/720p", "video/360p", "audio"]);
    assert_eq!(catalog.tracks[1].bitrate, Some(4_000_000));
    assert_eq!(catalog.tracks[1].video.unwrap().height, 360);
    assert_eq!(catalog.generated_at, Some(UnixTime::from_millis(5)));
    let draft_00 = br#"{"deltaUpdate":true,"removeTracks":[{"name":"audio"}],
        "cloneTracks":[{"parentName":"video/360p","name":"video/180p"}]}"#;
    assert_eq!(reader.apply(draft_00).unwrap().tracks.len(), 3);
}

#[test]
fn a_refused_delta_changes_nothing() {
    let mut reader = msf::Reader::new(Limits::default());
    reader.apply(two_tracks().to_msf_json().as_bytes()).unwrap();
    let bad = br#"{"deltaUpdate":[{"op":"remove","tracks":[{"name":"audio"}]},
        {"op":"remove","tracks":[{"name":"audio"}]}]}"#;
    assert_eq!(reader.apply(bad), Err(Error::UnknownTrack));
    let twice = br#"{"deltaUpdate":[{"op":"add","tracks":[{"name":"audio","packaging":"loc"}]}]}"#;
    assert_eq!(reader.apply(twice), Err(Error::DuplicateTrack));
    let unknown = br#"{"deltaUpdate":[{"op":"merge","tracks":[{"name":"audio"}]}]}"#;
    assert_eq!(reader.apply(unknown), Err(Error::UnknownOperation));
    assert_eq!(reader.catalog(), Some(&two_tracks()));
}

#[test]
fn formats_on_the_catalog_track_are_told_apart() {
    let detect = |json: &[u8]| super::detect(json, &Limits::default());
    assert_eq!(detect(SEED.as_bytes()), Ok(Format::Seed));
    assert_eq!(
        detect(two_tracks().to_msf_json().as_bytes()),
        Ok(Format::Msf)
    );
    assert_eq!(detect(br#"{"deltaUpdate":[]}"#), Ok(Format::Msf));
    let cloudflare = br#"{"version":1,"streamingFormat":1,"streamingFormatVersion":"0.2",
        "supportsDeltaUpdates":false,"commonTrackFields":{"packaging":"cmaf","renderGroup":1},
        "tracks":[{"name":"1.m4s","initTrack":"0.mp4","selectionParams":{"codec":"avc1.64001f"}}]}"#;
    assert_eq!(detect(cloudflare), Ok(Format::CatalogFormat));
    assert!(matches!(detect(b"{"), Err(Error::NotJson { .. })));
}

#[test]
fn bounds_are_named_errors() {
    let limits = Limits {
        tracks_max: 1,
        json_bytes_max: 2000,
        ..Limits::default()
    };
    let parse = |json: &[u8]| Catalog::parse_seed(json, &limits).unwrap_err();
    assert!(matches!(parse(SEED.as_bytes()), Error::TooMany { .. }));
    assert!(matches!(parse(&[b' '; 2001]), Error::TooLong { .. }));
    assert!(matches!(parse(&[b'['; 2000]), Error::NotJson { .. }));
    assert_eq!(
        parse(br#"{"version":2,"tracks":[]}"#),
        Error::UnknownVersion
    );
    let unknown = Catalog::parse_msf(br#"{"version":"draft-09","tracks":[]}"#, &limits);
    assert_eq!(unknown, Err(Error::UnknownVersion));
}

#[test]
fn an_added_rendition_with_a_known_init_is_a_delta_and_a_new_init_is_not() {
    let mut old = two_tracks();
    old.generated_at = Some(UnixTime::from_millis(1));
    old.tracks[1].init = Some(Bytes::from_static(b"audio init"));
    let mut new = old.clone();
    new.generated_at = Some(UnixTime::from_millis(2));
    new.tracks[0].bitrate = Some(3_000_000);
    let mut copy = old.tracks[1].clone();
    copy.name = "audio/de".to_owned();
    copy.language = Some("de".to_owned());
    new.tracks.push(copy);
    let delta = diff::delta_json(&old, &new).unwrap();
    insta::assert_snapshot!(delta, @r#"{"generatedAt":2,"deltaUpdate":[{"op":"update","tracks":[{"parentName":"video/720p","name":"video/720p","bitrate":3000000}]},{"op":"add","tracks":[{"name":"audio/de","packaging":"cmaf","isLive":true,"role":"audio","initRef":"9718d32b76ebbe45","codec":"opus","samplerate":48000,"channelConfig":"2","lang":"de"}]}]}"#);
    new.tracks[2].init = Some(Bytes::from_static(b"another"));
    assert_eq!(diff::delta_json(&old, &new), None);
    new.live = false;
    assert_eq!(diff::delta_json(&old, &new), None);
}

fn track(name: &'static str) -> impl Strategy<Value = Track> {
    let shape = (any::<bool>(), 0u32..5000, prop::option::of(0.5f64..240.0));
    let rest = (
        prop::option::of(0u64..10_000_000),
        prop::option::of(1u32..90_000),
        prop::option::of("[a-z]{2}"),
        prop::option::of(0u32..4),
        prop::option::of(prop::collection::vec(any::<u8>(), 1..4)),
        "[a-z0-9.]{1,8}",
    );
    (shape, rest).prop_map(move |((is_video, size, rate), rest)| {
        let (bitrate, timescale, language, group, init, codec) = rest;
        let video = Video {
            width: size,
            height: size / 2,
            frame_rate: rate.map(|rate| (rate * 1000.0).round() / 1000.0),
        };
        let audio = Audio {
            sample_rate: size,
            channels: size % 8,
        };
        Track {
            name: name.to_owned(),
            kind: if is_video { Kind::Video } else { Kind::Audio },
            video: is_video.then_some(video),
            audio: (!is_video).then_some(audio),
            codec,
            init: init.map(Bytes::from),
            bitrate,
            timescale,
            language,
            alt_group: group,
            ..Track::default()
        }
    })
}

fn catalog() -> impl Strategy<Value = Catalog> {
    let tracks = ["a", "b", "c", "d"].map(|name| prop::option::of(track(name)));
    let live = prop::bool::weighted(0.9);
    (tracks, live, 1u64..1 << 40).prop_map(|(tracks, live, time)| Catalog {
        live: live && tracks.iter().any(Option::is_some),
        generated_at: Some(UnixTime::from_millis(time)).filter(|_| live),
        tracks: tracks.into_iter().flatten().collect(),
        complete: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn both_formats_give_back_what_was_written(catalog in catalog()) {
        let mut catalog = catalog;
        catalog.generated_at = catalog.generated_at.filter(|_| catalog.live);
        let json = catalog.to_msf_json();
        prop_assert!(!json.contains("null"));
        prop_assert_eq!(Catalog::parse_msf(json.as_bytes(), &Limits::default()), Ok(catalog.clone()));
        let json = catalog.to_seed_json();
        prop_assert!(!json.contains("null"));
        let again = Catalog::parse_seed(json.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(again.to_seed_json(), json);
    }

    #[test]
    fn a_delta_applied_to_the_old_catalog_gives_the_new(old in catalog(), new in catalog()) {
        if let Some(delta) = diff::delta_json(&old, &new) {
            let mut reader = msf::Reader::new(Limits::default());
            reader.apply(old.to_msf_json().as_bytes()).unwrap();
            prop_assert_eq!(reader.apply(delta.as_bytes()), Ok(&new));
        }
    }

    #[test]
    fn a_change_of_bitrate_is_always_a_delta(old in catalog(), bitrate in 1u64..1000) {
        prop_assume!(old.live && old.tracks.iter().all(|track| track.bitrate != Some(bitrate)));
        let mut new = old.clone();
        new.tracks[0].bitrate = Some(bitrate);
        prop_assert!(diff::delta_json(&old, &new).is_some());
    }

    #[test]
    fn no_text_panics(text in ".{0,200}", at in 0usize..400, byte in any::<u8>()) {
        let limits = Limits::default();
        let _ = Catalog::parse_seed(text.as_bytes(), &limits);
        let mut bytes = two_tracks().to_msf_json().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Catalog::parse_msf(&bytes, &limits);
        let _ = Catalog::parse_seed(&bytes, &limits);
        let _ = detect(&bytes, &limits);
    }
}
