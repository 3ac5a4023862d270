//! Fifty viewers join over ten seconds; what the publisher sends is asked for once.

use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::watch::{Report, View, Watch};
use mainstem_conformance::harness::{Scratch, clip, media, wait_for};
use std::time::Duration;

const VIEWERS: u16 = 50;
const JOIN_EVERY: Duration = Duration::from_millis(200);
/// Longer than all joins take, so that at one moment all are there.
const WATCH_SECONDS: u64 = 20;

const UPSTREAM: &str = "mainstem_relay_upstream_subscriptions";
const DOWNSTREAM: &str = "mainstem_relay_downstream_subscriptions";

#[test]
fn fifty_viewers_start_on_a_key_frame_and_share_one_upstream_subscription_a_track() {
    let scratch = Scratch::new("fifty_viewers");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("fifty viewers");
    let token = api.mint(&input.id, 3600).token;
    let mut encoder = media::push(&scratch, &up, &input, &clip(), 120);
    std::thread::sleep(Duration::from_secs(6));
    assert!(encoder.is_running(), "the encoder was turned away");

    let join = || {
        let view = View {
            input: &input.external_id,
            token: &token,
            seconds: WATCH_SECONDS,
            ..View::default()
        };
        Watch::start(&scratch, &up, view)
    };
    let limit = Duration::from_secs(10);
    let of_one = |name: &str| up.metric(name).filter(|value| *value > 0.0);

    let mut viewers = vec![join()];
    // Catalog, video and audio are subscribed to one after the other.
    std::thread::sleep(Duration::from_secs(2));
    let upstream = wait_for(UPSTREAM, limit, || of_one(UPSTREAM));
    let downstream = wait_for(DOWNSTREAM, limit, || of_one(DOWNSTREAM));
    println!("one viewer: {upstream} upstream, {downstream} downstream");
    assert!(downstream >= 2.0, "a viewer subscribes to video and audio");

    for _ in 1..VIEWERS {
        std::thread::sleep(JOIN_EVERY);
        viewers.push(join());
    }
    let wanted = downstream * f64::from(VIEWERS);
    let all = wait_for("fifty viewers' subscriptions", limit, || {
        up.metric(DOWNSTREAM).filter(|now| *now >= wanted)
    });
    let now = up.metric(UPSTREAM);
    println!("{VIEWERS} viewers: {now:?} upstream, {all} downstream");
    assert_eq!(
        now,
        Some(upstream),
        "more viewers must not ask the publisher for more"
    );

    let reports: Vec<Report> = viewers.into_iter().map(Watch::report).collect();
    for (number, report) in reports.iter().enumerate() {
        let video = report.track("video");
        assert!(
            video.first_is_key,
            "viewer {number} started between key frames"
        );
        assert!(video.frames > 0 && report.track("audio").frames > 0);
        assert_eq!(report.gaps, 0, "viewer {number} misses frames: {report:?}");
    }
    let mut joins: Vec<f64> = reports.iter().map(|report| report.join_ms).collect();
    joins.sort_by(f64::total_cmp);
    let (median, slowest) = (joins[joins.len() / 2], joins[joins.len() - 1]);
    println!("join: median {median:.0} ms, slowest {slowest:.0} ms");
    encoder.kill();
}
