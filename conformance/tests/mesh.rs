//! Relays of a mesh as processes: one upload serves viewers on both sides of a chain, a relay that is
//! killed comes back without its viewers behind it noticing more than a pause, and one that is asked
//! to end sends everybody on.

use mainstem_conformance::harness::Scratch;
use mainstem_conformance::harness::relays::Relay;
use mainstem_conformance::harness::watch::{Report, Watch};
use std::time::{Duration, Instant};

/// The clip's rate.
const FRAMES_PER_SECOND: u64 = 25;
/// Time for a publisher to be announced through a chain.
const SETTLE: Duration = Duration::from_secs(2);
/// Viewers of a relay that goes away.
const MOVING_VIEWERS: usize = 20;

fn chain(scratch: &Scratch) -> [Relay; 3] {
    let a = Relay::start(scratch, "a", &[], &[]);
    let b = Relay::start(scratch, "b", &[&a], &[]);
    let c = Relay::start(scratch, "c", &[&b], &[]);
    [a, b, c]
}

#[test]
fn one_upload_serves_viewers_on_both_sides_of_a_chain() {
    let scratch = Scratch::new("mesh_chain");
    let [a, _b, c] = chain(&scratch);
    let mut at_a = a.publish(&scratch, "lv_1");
    let mut at_c = c.publish(&scratch, "lv_2");
    std::thread::sleep(SETTLE);
    let viewers = [
        ("a to a", a.stream("lv_1")),
        ("a to c", c.stream("lv_1")),
        ("c to a", a.stream("lv_2")),
        ("c to c", c.stream("lv_2")),
    ]
    .map(|(way, url)| (way, Watch::start_at(&scratch, &url, 6)));
    for (way, viewer) in viewers {
        let report = viewer.report();
        println!(
            "{way}: {} frames, join {:.0} ms, latency p50 {:.1} p99 {:.1} ms",
            report.frames, report.join_ms, report.latency_ms.0, report.latency_ms.1
        );
        assert_eq!(report.gaps, 0, "{way}: {report:?}");
        let video = report.track("video");
        assert!(video.first_is_key, "{way}");
        assert!(video.frames > 4 * FRAMES_PER_SECOND, "{way}: {report:?}");
    }
    at_a.kill();
    at_c.kill();
}

#[test]
fn viewers_behind_a_killed_relay_stay_and_lose_at_most_the_groups_in_flight() {
    const WATCH_SECONDS: u64 = 20;
    let scratch = Scratch::new("mesh_killed");
    let [a, mut b, c] = chain(&scratch);
    let mut publisher = a.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let (near, far) = (a.stream("lv_1"), c.stream("lv_1"));
    let near = Watch::start_at(&scratch, &near, WATCH_SECONDS);
    let far = Watch::start_at(&scratch, &far, WATCH_SECONDS);
    std::thread::sleep(Duration::from_secs(5));
    b.process.kill();
    let killed = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let _b = b.again(&scratch, &[&a]);
    println!(
        "serving again {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    );
    let (near, far) = (near.report(), far.report());
    println!("near: {near:?}\nfar: {far:?}");
    assert_eq!(
        near.gaps, 0,
        "a viewer that is not behind it sees nothing of it"
    );
    assert_eq!(
        (far.reconnects, far.close_reason.as_str()),
        (0, "closed_by_caller")
    );
    for kind in ["video", "audio"] {
        // A place that is missing in each of the two groups that may have been under way.
        assert!(far.track(kind).gaps <= 2, "{kind}: {far:?}");
    }
    // The groups in flight are at most two of one second; the pause itself is filled from A.
    let (seen, all) = (far.track("video").frames, near.track("video").frames);
    println!("behind the killed relay: {seen} of {all} frames of video");
    assert!(seen + 3 * FRAMES_PER_SECOND >= all, "{seen} of {all}");
    assert!(
        seen <= all + 2 * FRAMES_PER_SECOND,
        "{seen} of {all}: doubled?"
    );
    publisher.kill();
}

#[test]
fn a_relay_that_is_asked_to_end_sends_its_viewers_and_publishers_on_without_loss() {
    let scratch = Scratch::new("mesh_drain");
    let b = Relay::start(&scratch, "b", &[], &[]);
    let a = Relay::start(&scratch, "a", &[&b], &["--drain-to", &b.url]);
    let mut publisher = a.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let viewers: Vec<Watch> = (0..MOVING_VIEWERS)
        .map(|_| Watch::start_at(&scratch, &a.stream("lv_1"), 14))
        .collect();
    std::thread::sleep(Duration::from_secs(6));
    let asked = Instant::now();
    a.process.terminate();
    let ended = a.process.finish_within(Duration::from_secs(12));
    ended.assert_code(0, "the relay that goes away");
    println!("ended {:.1} s after SIGTERM", asked.elapsed().as_secs_f64());
    let reports: Vec<Report> = viewers.into_iter().map(Watch::report).collect();
    for report in &reports {
        assert_eq!((report.moves, report.reconnects), (1, 0), "{report:?}");
        assert_eq!(report.gaps, 0, "{report:?}");
        assert_eq!(report.close_reason, "closed_by_caller");
        assert!(
            report.track("video").frames > 11 * FRAMES_PER_SECOND,
            "{report:?}"
        );
    }
    println!("{} viewers moved, no frame lost", reports.len());
    assert!(publisher.is_running(), "the publisher moved as well");
    publisher.kill();
}

#[test]
fn a_second_signal_ends_a_relay_at_once() {
    let scratch = Scratch::new("mesh_second_signal");
    let a = Relay::start(&scratch, "a", &[], &["--drain-timeout", "60"]);
    let mut publisher = a.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let viewer = Watch::start_at(&scratch, &a.stream("lv_1"), 60);
    std::thread::sleep(Duration::from_secs(2));
    a.process.terminate();
    std::thread::sleep(Duration::from_secs(3));
    a.process.terminate();
    let ended = a.process.finish_within(Duration::from_secs(5));
    ended.assert_code(0, "the relay");
    drop(viewer);
    publisher.kill();
}

/// The relay that held everything is killed: what its publisher still has comes with it, the rest is
/// reported as missing.
#[test]
fn a_viewer_of_a_killed_relay_comes_back_without_a_repeat() {
    let scratch = Scratch::new("mesh_resumed");
    let mut a = Relay::start(&scratch, "a", &[], &[]);
    let mut publisher = a.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let viewer = Watch::start_again(&scratch, &a.stream("lv_1"), 16);
    std::thread::sleep(Duration::from_secs(5));
    a.process.kill();
    std::thread::sleep(Duration::from_secs(1));
    let _a = a.again(&scratch, &[]);
    let report = viewer.report();
    println!("{report:?}");
    assert!(report.reconnects >= 1, "{report:?}");
    for kind in ["video", "audio"] {
        let track = report.track(kind);
        assert_eq!(track.repeats, 0, "{kind}: {report:?}");
        // What is missing, if anything, is in one place.
        assert!(track.gaps <= 1, "{kind}: {report:?}");
    }
    let video = report.track("video").frames;
    assert!(
        video > 12 * FRAMES_PER_SECOND && video <= 18 * FRAMES_PER_SECOND,
        "{report:?}"
    );
    publisher.kill();
}

#[test]
fn a_viewer_of_a_killed_edge_misses_nothing_that_the_origin_holds() {
    let scratch = Scratch::new("mesh_resumed_edge");
    let origin = Relay::start(&scratch, "origin", &[], &[]);
    let mut edge = Relay::start(&scratch, "edge", &[&origin], &[]);
    let mut publisher = origin.publish(&scratch, "lv_1");
    std::thread::sleep(SETTLE);
    let near = Watch::start_at(&scratch, &origin.stream("lv_1"), 16);
    let viewer = Watch::start_again(&scratch, &edge.stream("lv_1"), 16);
    std::thread::sleep(Duration::from_secs(5));
    edge.process.kill();
    std::thread::sleep(Duration::from_secs(1));
    let _edge = edge.again(&scratch, &[&origin]);
    let (near, far) = (near.report(), viewer.report());
    println!("near: {near:?}\nfar: {far:?}");
    assert!(far.reconnects >= 1, "{far:?}");
    for kind in ["video", "audio"] {
        let track = far.track(kind);
        assert_eq!((track.repeats, track.gaps), (0, 0), "{kind}: {far:?}");
        let (seen, all) = (track.frames, near.track(kind).frames);
        assert!(
            seen + 3 * FRAMES_PER_SECOND >= all,
            "{kind}: {seen} of {all}"
        );
    }
    publisher.kill();
}
