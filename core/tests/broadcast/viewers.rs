//! What the broadcaster promises to viewers.

use crate::encoder::{FFMPEG_5, aac, audio, config, h264, inputs_of, video};
use crate::world::{FIRST_GROUP, Viewer, World};
use mainstem_core::broadcast::{self, Error, Event};
use mainstem_core::catalog::{self, Catalog};
use mainstem_core::cmaf::rules::Checker;
use mainstem_core::cmaf::{self, Fragment, Reader};
use mainstem_core::packager::{Announcement, Input, Output, Packager, Source};
use mainstem_core::time::UnixTime;
use std::time::Duration;

fn catalog_of(viewer: &Viewer) -> Catalog {
    let object = viewer.objects().pop().unwrap();
    Catalog::parse_msf(&object.payload.to_bytes(), &catalog::Limits::default()).unwrap()
}

/// A capture of ffmpeg's: what comes before the first frame, and the rest.
fn captured() -> (Vec<Input>, Vec<Input>) {
    let inputs = inputs_of(FFMPEG_5, 4096);
    let is_frame = |input: &Input| matches!(input, Input::Frame(_));
    let first = inputs.iter().position(is_frame).unwrap();
    let (head, rest) = inputs.split_at(first);
    (head.to_vec(), rest.to_vec())
}

fn both() -> Vec<Input> {
    vec![config(Source::VIDEO, h264()), config(Source::AUDIO, aac())]
}

/// `count` groups of `frames` pictures each, 40 ms apart, and the sound beside them.
fn stream(from_ms: i64, count: i64, frames: i64) -> Vec<Input> {
    let pictures =
        (0..count * frames).map(|n| (from_ms + n * 40, video(from_ms + n * 40, n % frames == 0)));
    let sounds = (0..).map(|n| from_ms + n * 1024 / 48);
    let sounds = sounds
        .take_while(|ms| *ms < from_ms + count * frames * 40)
        .map(|ms| (ms, audio(ms)));
    let mut all: Vec<(i64, Input)> = pictures.chain(sounds).collect();
    all.sort_by_key(|(ms, _)| *ms);
    all.into_iter().map(|(_, input)| input).collect()
}

#[test]
fn every_chunk_reaches_viewers_of_its_track_in_groups_that_are_common() {
    let mut world = World::new();
    let (head, rest) = captured();
    world.feed(head);
    let viewers = ["video/90p", "audio", "broadcast"].map(|track| world.watch(track));
    world.feed(rest);
    let [video, audio, muxed] = viewers;
    // Key frames every 12 pictures.
    assert_eq!(video.groups(), [(0, 12), (1, 12), (2, 6)]);
    let total: usize = audio.groups().iter().map(|(_, count)| count).sum();
    assert_eq!(total, 53);
    assert_eq!(
        audio.groups().iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(
        muxed.groups().iter().map(|(_, count)| count).sum::<usize>(),
        30 + 53 + 3
    );

    let catalog = catalog_of(&world.watch("catalog"));
    for (name, viewer) in [("video/90p", &video), ("audio", &audio)] {
        let init = catalog.track(name).unwrap().init.clone().unwrap();
        let mut checker = Checker::new(&init.into());
        for object in viewer.objects() {
            checker.object(&object.payload);
        }
        assert_eq!(checker.findings(), [], "{name}");
    }
}

/// Each group of the muxed track is a file of its own: init segment first, then a key frame.
#[test]
fn every_muxed_group_can_be_played_alone() {
    let mut world = World::new();
    let muxed = world.watch("broadcast");
    world.feed(inputs_of(FFMPEG_5, 4096));
    for group in 0..3 {
        let mut reader = Reader::new(cmaf::Limits::default());
        for object in muxed.objects() {
            if object.group == FIRST_GROUP + group {
                reader.push_payload(&object.payload).unwrap();
            }
        }
        assert!(
            matches!(reader.poll(), Ok(Some(cmaf::Event::Init(init))) if init.tracks.len() == 2)
        );
        let Ok(Some(cmaf::Event::Fragment(first))) = reader.poll() else {
            panic!("expected a fragment behind the init segment");
        };
        assert!(Fragment::payload(&first).len() > 100 && first.is_independent);
    }
}

#[test]
fn both_catalogs_say_the_same_and_are_kept_for_those_who_come_late() {
    let mut world = World::new();
    world.feed(inputs_of(FFMPEG_5, 4096));
    let msf = catalog_of(&world.watch("catalog"));
    let seed = world.watch(".catalog").objects().pop().unwrap();
    let seed = Catalog::parse_seed(&seed.payload.to_bytes(), &catalog::Limits::default()).unwrap();
    for catalog in [&msf, &seed] {
        assert!(catalog.live);
        let names: Vec<&str> = catalog.tracks.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["video/90p", "audio"]);
        assert_eq!(catalog.tracks[0].codec, "avc1.64000B");
        assert!(catalog.tracks.iter().all(|track| track.init.is_some()));
    }
}

#[test]
fn a_catalog_that_changes_is_a_new_group() {
    let mut world = World::new();
    let viewer = world.watch("catalog");
    world.feed([config(Source::VIDEO, h264())]);
    world.feed((0..20).map(|n| video(n * 40, n == 0)));
    assert_eq!(catalog_of(&viewer).tracks.len(), 1);
    world.net.advance(Duration::from_secs(1));
    world.feed([config(Source::AUDIO, aac()), audio(800)]);
    assert_eq!(catalog_of(&viewer).tracks.len(), 2);
    let groups: Vec<u64> = viewer.objects().iter().map(|object| object.group).collect();
    assert_eq!(groups.len(), 2);
    assert!(groups[0] < groups[1]);
}

/// Some players only subscribe, from the next object on, and wait for some ten seconds.
#[test]
fn a_catalog_is_said_again_every_five_seconds_while_media_comes() {
    let mut world = World::new();
    let viewers = ["catalog", ".catalog"].map(|track| world.watch(track));
    world.feed(both());
    let counts = |viewers: &[Viewer; 2]| viewers.each_ref().map(|viewer| viewer.objects().len());
    world.feed(stream(0, 1, 25));
    world.net.advance(Duration::from_secs(4));
    world.feed(stream(1000, 1, 25));
    assert_eq!(counts(&viewers), [1, 1]);
    world.net.advance(Duration::from_secs(2));
    assert_eq!(counts(&viewers), [1, 1], "without media nothing is said");
    world.feed(stream(2000, 1, 25));
    assert_eq!(counts(&viewers), [2, 1]);
    let said = viewers[0].objects();
    assert!(said[0].group < said[1].group);
    assert_eq!(said[0].payload, said[1].payload);
    let now = world.net.now;
    let time = UnixTime::from_millis(0);
    world.broadcaster.borrow_mut().app.finish(now, time);
    world.net.settle();
    let said = viewers[0].objects();
    assert!(said[1].group < said[2].group, "a clock that went back");
    assert!(!catalog_of(&viewers[0]).live);
}

/// Audio that comes late does not take the picture away from those who watch the muxed track.
#[test]
fn muxed_track_keeps_its_members_until_the_next_key_frame() {
    let mut world = World::new();
    let muxed = world.watch("broadcast");
    world.feed([config(Source::VIDEO, h264())]);
    world.feed((0..20).map(|n| video(n * 40, n == 0)));
    world.feed([config(Source::AUDIO, aac()), audio(800), video(800, false)]);
    assert_eq!(muxed.groups(), [(0, 22)]);
    world.feed([video(840, true), audio(840), video(880, false)]);
    assert_eq!(muxed.groups(), [(0, 22), (1, 4)]);
}

#[test]
fn late_viewers_start_at_the_newest_group_of_each_track() {
    let mut world = World::new();
    world.feed(both());
    world.feed(stream(0, 3, 25));
    for (track, objects) in [("video/720p", 25), ("audio", 47), ("broadcast", 72)] {
        let viewer = world.watch(track);
        let groups = viewer.groups();
        assert_eq!(groups.len(), 1, "{track}");
        assert_eq!(groups[0].0, 2, "{track}");
        assert!(groups[0].1.abs_diff(objects) <= 2, "{track}: {groups:?}");
    }
}

#[test]
fn sound_without_picture_has_a_group_each_second() {
    let mut world = World::new();
    let announced = Announcement {
        has_video: false,
        ..Announcement::default()
    };
    world.feed([Input::Announced(announced), config(Source::AUDIO, aac())]);
    let viewers = ["audio", "broadcast"].map(|track| world.watch(track));
    world.feed((0..141).map(|n| audio(n * 1024 / 48)));
    let [audio, muxed] = viewers;
    assert_eq!(audio.groups(), [(0, 47), (1, 47), (2, 47)]);
    assert_eq!(muxed.groups(), [(0, 48), (1, 48), (2, 48)]);
}

#[test]
fn picture_that_stands_still_does_not_hold_up_the_sound() {
    let mut world = World::with(broadcast::Config {
        audio_group_beside_video: Duration::from_secs(5),
        ..broadcast::Config::default()
    });
    world.feed(both());
    let viewer = world.watch("audio");
    world.feed([video(0, true)]);
    world.feed((0..500).map(|n| audio(n * 1024 / 48)));
    assert_eq!(viewer.groups().len(), 3);
}

#[test]
fn an_encoder_that_comes_back_finds_its_viewers_and_goes_on_with_larger_groups() {
    let mut world = World::new();
    world.feed(both());
    let viewer = world.watch("video/720p");
    world.feed(stream(0, 2, 25));
    let now = world.net.now;
    world.broadcaster.borrow_mut().app.lose(now);
    world.net.advance(Duration::from_secs(8));
    assert!(!viewer.has_ended());
    world.new_encoder();
    world.feed(both());
    world.feed(stream(0, 1, 25));
    world.net.advance(Duration::from_mins(1));
    assert!(!viewer.has_ended());
    assert_eq!(viewer.groups(), [(0, 25), (1, 25), (2, 25)]);
    let catalogs = world.watch("catalog").objects();
    assert_eq!(catalogs.len(), 1, "nothing changed, so nothing was said");
}

#[test]
fn a_broadcast_whose_encoder_stays_away_is_finished() {
    let mut world = World::new();
    world.feed(both());
    let viewer = world.watch("video/720p");
    let catalogs = world.watch("catalog");
    world.feed(stream(0, 1, 25));
    let now = world.net.now;
    world.broadcaster.borrow_mut().app.lose(now);
    world.net.advance(Duration::from_secs(20));
    assert!(viewer.has_ended());
    assert!(!catalog_of(&catalogs).live);
    let events = world.events();
    assert_eq!(events[events.len() - 2..], [Event::Expired, Event::Drained]);
    let refused = world
        .broadcaster
        .borrow_mut()
        .app
        .set_tracks(now, UnixTime::default(), &[]);
    assert_eq!(refused, Err(Error::Finished));
}

#[test]
fn finishing_ends_tracks_behind_their_last_object() {
    let mut world = World::new();
    world.feed(both());
    let viewers = ["video/720p", "audio", "broadcast", "catalog"].map(|track| world.watch(track));
    world.feed(stream(0, 1, 25));
    let now = world.net.now;
    let time = UnixTime::from_millis(FIRST_GROUP + 60_000);
    world.broadcaster.borrow_mut().app.finish(now, time);
    world.net.settle();
    assert!(viewers.iter().all(Viewer::has_ended));
    assert_eq!(viewers[0].groups(), [(0, 25)]);
    let last = catalog_of(&viewers[3]);
    assert!(!last.live && last.complete);
    assert_eq!(world.events().last(), Some(&Event::Drained));
}

#[test]
fn a_relay_that_was_lost_and_found_gets_what_is_published_from_then_on() {
    let mut world = World::new();
    world.feed(both());
    let viewer = world.watch("video/720p");
    world.feed(stream(0, 1, 25));
    world.net.cut(world.id, world.session);
    world.feed(stream(1000, 1, 25));
    world.net.connect(world.id, world.relay, "moqt-22", "/");
    world.feed(stream(2000, 1, 25));
    let groups = viewer.groups();
    assert_eq!(groups.first(), Some(&(0, 25)));
    assert_eq!(groups.last(), Some(&(2, 25)));
    assert!(!viewer.has_ended());
}

/// The name would say "the same decoder configuration" to those who are watching.
#[test]
fn a_changed_init_segment_gets_a_name_of_its_own() {
    let mut world = World::new();
    world.feed(both());
    let viewer = world.watch("audio");
    world.feed(stream(0, 1, 25));
    let mono = cmaf::Codec::aac(bytes::Bytes::from_static(&[0x11, 0x88])).unwrap();
    world.feed([config(Source::AUDIO, mono), audio(1000)]);
    assert!(viewer.has_ended());
    let catalog = catalog_of(&world.watch("catalog"));
    let names: Vec<&str> = catalog.tracks.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["video/720p", "audio-2"]);
    assert_eq!(world.watch("audio-2").objects().len(), 1);
    // And back again: the first name stands for the first init segment.
    world.feed([config(Source::AUDIO, aac()), audio(1021)]);
    let catalog = catalog_of(&world.watch("catalog"));
    assert_eq!(catalog.tracks[1].name, "audio");
    assert_eq!(world.watch("audio").objects().len(), 1);
}

#[test]
fn groups_without_end_are_refused_by_name() {
    let mut settings = broadcast::Config::default();
    settings.track.cache.group_objects_max = 30;
    let world = World::with(settings);
    let mut packager = Packager::new(mainstem_core::packager::Config::default());
    let app = &mut world.broadcaster.borrow_mut().app;
    let now = world.net.now;
    let mut last = Ok(());
    for input in both()
        .into_iter()
        .chain((0..31).map(|n| video(n * 40, n == 0)))
    {
        packager.handle(input);
        while let Some(output) = packager.poll() {
            last = match output {
                Output::Tracks(tracks) => app.set_tracks(now, UnixTime::default(), &tracks),
                Output::Chunk(chunk) => app.publish(now, &chunk),
                Output::Fault(fault) => panic!("{fault}"),
            };
        }
    }
    assert_eq!(
        last.unwrap_err().to_string(),
        "video/720p has no key frame for too long: a group holds at most 30 frames and 67108864 bytes"
    );
}
