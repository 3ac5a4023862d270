//! SDK publishers and SDK viewers: one muxed track, `broadcast`, in a stream that has them all.

use crate::house::{House, track_name};
use crate::upload::{
    CUTS, CatalogViewer, Cut, Upload, boxes, check_broadcast, groups, kind_of, media, open,
    samples_of, segments,
};
use bytes::Bytes;
use mainstem_core::catalog::Kind;
use mainstem_core::cmaf;
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::relay::{Config, Event};
use mainstem_core::moqt::session::Event as SessionEvent;
use mainstem_core::viewer;
use std::time::Duration;

pub(crate) const DRAFTS: [&str; 3] = ["moqt-16", "moqt-18", "moqt-22"];
const FIXTURES: [&str; 5] = [
    "h264_aac.mp4",
    "h264_aac_signed.mp4",
    "h264_opus.mp4",
    "hevc_opus.mp4",
    "av1.mp4",
];

pub(crate) fn broadcast() -> FullTrackName {
    track_name("playback/lv_1", "broadcast")
}

pub(crate) fn metrics(house: &House) -> mainstem_core::moqt::relay::Metrics {
    house.relay.borrow().app.metrics()
}

#[test]
fn box_per_write_upload_reaches_sdk_and_catalog_viewers_whole() {
    for fixture in FIXTURES {
        let file = media(fixture);
        let (init, expected) = samples_of(&file);
        for (index, cut) in CUTS.into_iter().enumerate() {
            let mut house = House::new();
            let mut upload = Upload::new(&mut house, DRAFTS[index % 2], cut);
            let sdk = house.good_viewer(DRAFTS[(index + 1) % 2], &broadcast());
            let by_catalog = CatalogViewer::new(&mut house, DRAFTS[index % 2]);
            assert!(sdk.is_accepted(), "before the first byte is here");
            for piece in boxes(&file) {
                upload.write(&mut house, &piece);
            }
            assert_eq!(check_broadcast(&sdk, &init), expected, "{fixture} {cut:?}");
            assert_eq!(by_catalog.samples(), expected, "{fixture} {cut:?}");
            assert_eq!(groups(&sdk).len(), 2, "a group per key frame: {fixture}");
            let catalog = by_catalog.catalogs().remove(0);
            assert!(catalog.live);
            assert_eq!(catalog.tracks.len(), init.tracks.len());
            assert_eq!(catalog.first_video().unwrap().name, "video/64p");
            let metrics = metrics(&house);
            assert_eq!(metrics.upstream_subscriptions, 1, "one upload");
            assert_eq!(metrics.objects_received, boxes(&file).len() as u64);
            assert_eq!(metrics.bytes_received, file.len() as u64);
            assert_eq!(metrics.tracks, 3 + init.tracks.len());
            assert!(
                metrics.cache_bytes > file.len(),
                "what is made counts to the budget"
            );
        }
    }
}

#[test]
fn uploads_in_any_pieces_make_the_same_stream() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    let whole = vec![file.clone()];
    let mut init_and_rest = segments(&file);
    let blob = init_and_rest.split_off(1).concat();
    init_and_rest.push(blob.into());
    let odd: Vec<Bytes> = file.chunks(777).map(Bytes::copy_from_slice).collect();
    for pieces in [segments(&file), whole, init_and_rest, odd] {
        for cut in CUTS {
            let mut house = House::new();
            let mut upload = Upload::new(&mut house, "moqt-22", cut);
            let sdk = house.good_viewer("moqt-18", &broadcast());
            for piece in &pieces {
                upload.write(&mut house, piece);
            }
            assert_eq!(
                check_broadcast(&sdk, &init),
                expected,
                "{} pieces, {cut:?}",
                pieces.len()
            );
            assert_eq!(groups(&sdk).len(), 2);
        }
    }
}

#[test]
fn late_viewers_start_at_the_newest_key_frame() {
    let file = media("h264_opus.mp4");
    let (init, expected) = samples_of(&file);
    for cut in CUTS {
        let mut house = House::new();
        let mut upload = Upload::new(&mut house, "moqt-18", cut);
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        let sdk = house.good_viewer("moqt-22", &broadcast());
        let by_catalog = CatalogViewer::new(&mut house, "moqt-18");
        assert_eq!(groups(&sdk).len(), 1);
        let video = init
            .tracks
            .iter()
            .find(|t| t.kind() == cmaf::Kind::Video)
            .unwrap()
            .id;
        for seen in [check_broadcast(&sdk, &init), by_catalog.samples()] {
            let (all, late) = (&expected[&video], &seen[&video]);
            assert_eq!(late[..], all[all.len() - 25..], "the last second: {cut:?}");
        }
        assert!(
            !by_catalog.samples()[&(3 - video)].is_empty(),
            "and its sound"
        );
    }
}

#[test]
fn upload_sent_before_the_stream_key_was_checked_is_whole() {
    let file = media("h264_aac.mp4");
    let (init, expected) = samples_of(&file);
    let mut house = House::new();
    let peer = house.peer("moqt-22", "/publish/lv_1?sk=good");
    let request = peer.publish(&track_name("publish/lv_1", "broadcast"));
    let mut upload = Upload::of(peer, request, Cut::GroupPerWrite);
    for piece in boxes(&file) {
        upload.write(&mut house, &piece);
    }
    assert_eq!(metrics(&house).tracks, 0);
    house.answer(|_| Ok(crate::house::good_reply()));
    let sdk = house.good_viewer("moqt-22", &broadcast());
    let seen = check_broadcast(&sdk, &init);
    assert_eq!(seen[&1].last(), expected[&1].last());
}

#[test]
fn publisher_that_comes_back_continues_above_its_old_groups() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    for pause in [Duration::from_secs(3), Duration::from_mins(1)] {
        let mut house = House::new();
        let mut upload = Upload::new(&mut house, "moqt-22", Cut::OneGroup);
        let sdk = house.good_viewer("moqt-22", &broadcast());
        let by_catalog = CatalogViewer::new(&mut house, "moqt-22");
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        let before = groups(&sdk);
        house.net.cut(upload.peer.id, upload.peer.session);
        house.net.advance(pause);
        let is_gone = pause > Duration::from_secs(10);
        assert_eq!(sdk.ended().is_some(), is_gone);
        assert_eq!(metrics(&house).upstream_subscriptions, 0);
        if is_gone {
            assert_eq!(metrics(&house).tracks, 0, "nothing is left");
        }
        let mut upload = Upload::new(&mut house, "moqt-18", Cut::GroupPerWrite);
        let again = house.good_viewer("moqt-22", &broadcast());
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        let after = groups(if is_gone { &again } else { &sdk });
        let newest = *before.last_key_value().unwrap().0;
        let later: Vec<u64> = after.into_keys().filter(|group| *group > newest).collect();
        assert_eq!(later.len(), 2, "{newest} {later:?}");
        if !is_gone {
            let all = check_broadcast(&sdk, &init);
            assert_eq!(
                all[&1].len(),
                2 * expected[&1].len(),
                "one subscription saw both"
            );
            // The viewer waits for groups between the old numbers and the new.
            house.net.advance(Duration::from_secs(2));
            assert_eq!(by_catalog.samples()[&1].len(), 2 * expected[&1].len());
        }
    }
}

#[test]
fn newest_upload_takes_over_from_one_that_hangs() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    let mut house = House::new();
    let mut old = Upload::new(&mut house, "moqt-22", Cut::OneGroup);
    let sdk = house.good_viewer("moqt-22", &broadcast());
    let pieces = boxes(&file);
    for piece in &pieces[..5] {
        old.write(&mut house, piece);
    }
    let mut new = Upload::new(&mut house, "moqt-18", Cut::OneGroup);
    let was_cancelled = |event: &SessionEvent| matches!(event, SessionEvent::Cancelled { .. });
    assert!(old.peer.has(was_cancelled), "the older one is told");
    assert_eq!(old.peer.closed(), None);
    for piece in &pieces {
        new.write(&mut house, piece);
    }
    let whole = check_broadcast(&sdk, &init);
    assert!(whole[&1].ends_with(&expected[&1]));
    assert_eq!(metrics(&house).upstream_subscriptions, 1);
}

#[test]
fn upload_that_ends_ends_all_that_was_made_of_it() {
    for cut in CUTS {
        let file = media("h264_opus.mp4");
        let (init, expected) = samples_of(&file);
        let mut house = House::new();
        let mut upload = Upload::new(&mut house, "moqt-22", cut);
        let sdk = house.good_viewer("moqt-18", &broadcast());
        let by_catalog = CatalogViewer::new(&mut house, "moqt-22");
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        upload.end(&mut house);
        house.net.advance(Duration::from_secs(1));
        assert_eq!(check_broadcast(&sdk, &init), expected);
        assert_eq!(sdk.ended().unwrap(), "the track has ended");
        assert!(by_catalog.has(|event| matches!(event, viewer::Event::TrackEnded { .. })));
        assert!(!by_catalog.catalogs().last().unwrap().live, "{cut:?}");
        let metrics = metrics(&house);
        assert_eq!((metrics.tracks, metrics.downstream_subscriptions), (0, 0));
        assert_eq!(metrics.cache_bytes, 0);
    }
}

#[test]
fn malformed_upload_ends_its_request_and_disturbs_nobody() {
    let good = media("h264_opus.mp4");
    let pieces = boxes(&good);
    let (moof, mdat) = (&pieces[2], &pieces[3]);
    let head = |size: u32, kind: &[u8]| Bytes::from([&size.to_be_bytes()[..], kind].concat());
    let cases: [(&str, Vec<Bytes>); 5] = [
        ("progressive", vec![media("progressive.mp4")]),
        ("init segment", vec![moof.clone(), mdat.clone()]),
        (
            "in pairs",
            vec![pieces[0].clone(), pieces[1].clone(), mdat.clone()],
        ),
        (
            "at most",
            vec![pieces[0].clone(), head(0x7fff_ffff, b"moov")],
        ),
        ("less than its header", vec![head(3, b"ftyp")]),
    ];
    for (words, upload_pieces) in cases {
        for cut in CUTS {
            let mut house = House::new();
            let mut bad = Upload::new(&mut house, "moqt-22", cut);
            let other = house.peer("moqt-22", "/publish/lv_2?sk=good");
            house.answer(|_| {
                let namespace = "stream/org_1/lv_2".to_owned();
                let input = "lv_2".to_owned();
                Ok(mainstem_core::resolve::ResolveReply {
                    namespace,
                    input,
                    ..crate::house::good_reply()
                })
            });
            let request = other.publish(&track_name("publish/lv_2", "broadcast"));
            let mut other = Upload::of(other, request, Cut::OneGroup);
            for piece in &upload_pieces {
                bad.write_only(piece);
            }
            house.net.settle();
            house.net.advance(Duration::from_secs(2));
            let code = bad.peer.find(|event| match event {
                SessionEvent::Cancelled { code, .. } => Some(*code),
                _ => None,
            });
            assert_eq!(
                code,
                Some(Some(StreamCode::MALFORMED_TRACK)),
                "{words} {cut:?}"
            );
            assert_eq!(bad.peer.closed(), None, "the session goes on");
            let told = house
                .relay
                .borrow()
                .events
                .iter()
                .find_map(|event| match event {
                    Event::Malformed { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
            let told = told.unwrap();
            assert!(told.contains(words), "{told}");
            for piece in &pieces {
                other.write(&mut house, piece);
            }
            assert_eq!(other.peer.closed(), None);
            assert_eq!(metrics(&house).upstream_subscriptions, 1);
            // And the publisher may do better in the same session.
            let request = bad.peer.publish(&track_name("publish/lv_1", "broadcast"));
            house.net.settle();
            assert!(bad.peer.is_accepted(request));
            let mut better = Upload::of(bad.peer, request, Cut::OneGroup);
            for piece in &pieces {
                better.write(&mut house, piece);
            }
            let sdk = house.good_viewer("moqt-22", &broadcast());
            assert_eq!(groups(&sdk).len(), 1);
        }
    }
}

#[test]
fn groups_that_arrive_out_of_order_are_put_in_order() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    let pieces = boxes(&file);
    for (numbers, skip) in [(1, 0), (7, 0), (1, 4), (1000, 2)] {
        let mut house = House::new();
        let upload = Upload::new(&mut house, "moqt-22", Cut::GroupPerWrite);
        let sdk = house.good_viewer("moqt-22", &broadcast());
        // Neighbours change places, as streams do when packets are lost.
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        for pair in order[skip..].chunks_mut(2) {
            pair.reverse();
        }
        for index in order {
            let group = 5 + index as u64 * numbers;
            let stream = open(&upload.peer, upload.request, group, 0, 0);
            upload.send(stream, (group, 0, 0), &pieces[index], true);
            house.net.settle();
            house.net.advance(Duration::from_millis(40));
        }
        house.net.advance(Duration::from_secs(5));
        if numbers == 1 {
            assert_eq!(check_broadcast(&sdk, &init), expected, "from {skip}");
        } else {
            // Numbers that do not follow cannot tell what is missing; what comes out is whole.
            let seen = check_broadcast(&sdk, &init);
            assert!(seen.values().all(|track| track.len() <= 100));
        }
        assert_eq!(upload.peer.closed(), None);
    }
}

/// Uploads a file by boxes, a group each, of which those of `lost` never arrive.
fn upload_without(house: &mut House, file: &Bytes, lost: &[usize]) -> Upload {
    let upload = Upload::new(house, "moqt-22", Cut::GroupPerWrite);
    for (index, piece) in boxes(file).iter().enumerate() {
        if !lost.contains(&index) {
            let group = index as u64;
            let stream = open(&upload.peer, upload.request, group, 0, 0);
            upload.send(stream, (group, 0, 0), piece, true);
            house.net.settle();
        }
    }
    upload
}

#[test]
fn group_that_is_lost_costs_one_key_frame_interval() {
    let file = media("h264_aac_signed.mp4");
    let (init, expected) = samples_of(&file);
    for (index, piece) in boxes(&file).iter().enumerate().skip(2) {
        let (mut house, is_first) = (House::new(), index < 4);
        let sdk = house.patient_viewer("moqt-22", &broadcast());
        let upload = upload_without(&mut house, &file, &[index]);
        house.net.advance(Duration::from_secs(2));
        assert_eq!(upload.peer.closed(), None);
        let late = CatalogViewer::new(&mut house, "moqt-22");
        if matches!(kind_of(piece), b"moof" | b"mdat") {
            let kept = if is_first { 25..50 } else { 0..25 };
            let seen = check_broadcast(&sdk, &init);
            assert_eq!(
                seen[&1][..],
                expected[&1][kept.clone()],
                "without box {index}"
            );
            let seen = late.samples();
            assert_eq!(
                seen.get(&1).map(|track| &track[..]),
                Some(&expected[&1][kept])
            );
        }
    }
}

#[test]
fn loss_in_an_upload_with_file_offsets_ends_its_request() {
    let file = media("h264_opus.mp4");
    let mut house = House::new();
    let upload = upload_without(&mut house, &file, &[7]);
    house.net.advance(Duration::from_secs(2));
    let is_cancelled = |event: &SessionEvent| {
        matches!(event, SessionEvent::Cancelled { code, .. }
            if *code == Some(StreamCode::MALFORMED_TRACK))
    };
    assert!(upload.peer.has(is_cancelled));
    let is_told = |event: &Event| matches!(event, Event::Malformed { reason, .. } if reason.contains("are missing"));
    assert!(house.relay.borrow().events.iter().any(is_told));
}

#[test]
fn changed_init_segment_changes_catalog_and_tracks() {
    let (first, second) = (media("h264_aac_signed.mp4"), media("hevc_opus.mp4"));
    let mut house = House::new();
    let mut upload = Upload::new(&mut house, "moqt-22", Cut::OneGroup);
    let by_catalog = CatalogViewer::new(&mut house, "moqt-22");
    for file in [&first, &second] {
        for piece in boxes(file) {
            upload.write(&mut house, &piece);
        }
    }
    let codecs: Vec<Vec<String>> = by_catalog
        .catalogs()
        .iter()
        .map(|catalog| catalog.tracks.iter().map(|t| t.codec.clone()).collect())
        .collect();
    assert_eq!(codecs.len(), 2, "{codecs:?}");
    assert!(
        codecs[0][0].starts_with("avc1") && codecs[1][0].starts_with("hvc1"),
        "{codecs:?}"
    );
    assert_eq!(codecs[1][1], "opus");
    let names: Vec<Vec<String>> = by_catalog
        .catalogs()
        .iter()
        .map(|catalog| catalog.tracks.iter().map(|t| t.name.clone()).collect())
        .collect();
    // Other codecs, other names: nobody's decoder is fed what it was not set up for.
    assert_eq!(names, [["video/64p", "audio"], ["video/64p-2", "audio-2"]]);
    assert_eq!(metrics(&house).tracks, 5, "the old ones are gone");
    // The same init segment again changes nothing.
    for piece in boxes(&second) {
        upload.write(&mut house, &piece);
    }
    assert_eq!(by_catalog.catalogs().len(), 2);
}

#[test]
fn made_catalog_is_said_again_every_five_seconds_while_media_comes() {
    let pieces = segments(&media("h264_aac_signed.mp4"));
    let mut house = House::new();
    let mut upload = Upload::new(&mut house, "moqt-22", Cut::OneGroup);
    upload.write(&mut house, &pieces[0]);
    let catalog = house.good_viewer("moqt-16", &track_name("playback/lv_1", "catalog"));
    let seed = house.good_viewer("moqt-16", &track_name("playback/lv_1", ".catalog"));
    for piece in &pieces[1..] {
        upload.write(&mut house, piece);
    }
    assert_eq!((groups(&catalog).len(), groups(&seed).len()), (1, 1));
    house.net.advance(Duration::from_secs(5));
    assert_eq!(groups(&catalog).len(), 1, "without media nothing is said");
    for piece in &pieces[1..] {
        upload.write(&mut house, piece);
    }
    assert_eq!((groups(&catalog).len(), groups(&seed).len()), (2, 1));
    let said: Vec<Vec<Bytes>> = groups(&catalog).into_values().collect();
    assert_eq!(said[0], said[1]);
}

#[test]
fn sound_alone_makes_a_group_a_second() {
    let file = media("flac.mp4");
    let (init, expected) = samples_of(&file);
    let mut house = House::new();
    let mut upload = Upload::new(&mut house, "moqt-22", Cut::GroupPerWrite);
    let sdk = house.good_viewer("moqt-22", &broadcast());
    let by_catalog = CatalogViewer::new(&mut house, "moqt-22");
    for piece in boxes(&file) {
        upload.write(&mut house, &piece);
    }
    assert_eq!(check_broadcast(&sdk, &init), expected);
    assert_eq!(by_catalog.samples(), expected);
    assert_eq!(groups(&sdk).len(), 1);
    assert_eq!(by_catalog.catalogs()[0].tracks[0].kind, Kind::Audio);
}

#[test]
fn catalog_that_the_publisher_has_stands_before_a_made_one() {
    let file = media("h264_aac_signed.mp4");
    let mut house = House::new();
    let peer = house.publisher("moqt-22");
    let catalog = peer.publish(&track_name("publish/lv_1", "catalog"));
    let request = peer.publish(&track_name("publish/lv_1", "broadcast"));
    house.net.settle();
    let mut upload = Upload::of(peer, request, Cut::OneGroup);
    let own = Bytes::from_static(b"its own");
    let stream = open(&upload.peer, catalog, 3, 0, 0);
    upload.send(stream, (3, 0, 0), &own, true);
    for piece in boxes(&file) {
        upload.write(&mut house, &piece);
    }
    let watcher = house.good_viewer("moqt-22", &track_name("playback/lv_1", "catalog"));
    assert_eq!(groups(&watcher).into_values().collect::<Vec<_>>(), [[own]]);
}

#[test]
fn what_uploads_retain_stays_within_the_budget() {
    let file = media("h264_aac_signed.mp4");
    let mut house = House::with(Config {
        cache_bytes_max: 40_000,
        ..Config::default()
    });
    let mut upload = Upload::new(&mut house, "moqt-22", Cut::GroupPerWrite);
    for _ in 0..20 {
        for piece in boxes(&file) {
            upload.write(&mut house, &piece);
        }
        assert!(
            metrics(&house).cache_bytes < 60_000,
            "{:?}",
            metrics(&house)
        );
    }
    house.net.cut(upload.peer.id, upload.peer.session);
    house.net.advance(Duration::from_secs(11));
    let metrics = metrics(&house);
    assert_eq!((metrics.tracks, metrics.cache_bytes), (0, 0));
}

#[test]
fn mutated_uploads_harm_nobody() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test reads how much of it is wanted"
    )]
    let runs = std::env::var("MAINSTEM_UPLOAD_MUTATIONS");
    let runs: u64 = runs.ok().and_then(|runs| runs.parse().ok()).unwrap_or(150);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let (mut house, mut refused) = (House::new(), 0);
    for run in 0..runs {
        if run % 500 == 0 {
            // The viewers' tokens do not last for ever.
            house = House::new();
        }
        let fixture = ["h264_aac_signed.mp4", "hevc_opus.mp4"][draw(2)];
        let mut upload = Upload::new(&mut house, "moqt-22", CUTS[draw(3)]);
        let sdk = house.good_viewer("moqt-22", &broadcast());
        let mut pieces = boxes(&media(fixture));
        for _ in 0..=draw(4) {
            let index = draw(pieces.len());
            let mut bytes = pieces[index].to_vec();
            if bytes.is_empty() {
                continue;
            }
            // Mostly in the heads and tables, which is where it matters.
            let at = draw(bytes.len().min(600));
            match draw(4) {
                0 => bytes[at] = 0xff,
                1 => bytes[at] ^= 1 << draw(8),
                2 => bytes.truncate(at),
                _ => pieces.swap(index, 2),
            }
            pieces[index] = bytes.into();
        }
        for piece in pieces {
            upload.write_only(&piece);
        }
        house.net.settle();
        house.net.advance(Duration::from_secs(2));
        assert_eq!(upload.peer.closed(), None, "run {run}");
        let was_cancelled = |event: &SessionEvent| matches!(event, SessionEvent::Cancelled { .. });
        refused += u64::from(upload.peer.has(was_cancelled));
        assert_eq!(sdk.closed(), None);
        house.net.cut(upload.peer.id, upload.peer.session);
        house.net.cut(sdk.id, sdk.session);
        house.net.advance(Duration::from_secs(3));
    }
    assert!(refused > runs / 4, "{refused} of {runs} were refused");
    let metrics = metrics(&house);
    assert_eq!(
        (metrics.tracks, metrics.cache_bytes, metrics.sessions),
        (0, 0, 0)
    );
}
