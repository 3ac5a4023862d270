//! A clip that a third party encoded, pushed by ffmpeg over RTMP, arrives at a viewer whole.

use mainstem_conformance::harness::media::{self, Kind};
use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::watch::{View, Watch};
use mainstem_conformance::harness::{Scratch, clip, report_timing};
use std::time::Duration;

const PUSH_SECONDS: u32 = 60;
const WATCH_SECONDS: u64 = 30;

/// What we aim at on two cores, engine to viewer.
const LATENCY_P50_MS: f64 = 60.0;
const LATENCY_P99_MS: f64 = 200.0;

#[test]
fn every_frame_between_first_and_last_arrives_unchanged() {
    let scratch = Scratch::new("rtmp_to_watch");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("rtmp to watch");
    let token = api.mint(&input.id, 3600).token;

    let mut encoder = media::push(&scratch, &up, &input, &clip(), PUSH_SECONDS);
    // Long enough for more than one group: a viewer must join late, not first.
    std::thread::sleep(Duration::from_secs(8));
    assert!(encoder.is_running(), "the encoder was turned away");
    let recording = scratch.join("viewer.mp4");
    let view = View {
        input: &input.external_id,
        token: &token,
        seconds: WATCH_SECONDS,
        output: Some(&recording),
        ..View::default()
    };
    let report = Watch::start(&scratch, &up, view).report();
    assert!(
        encoder.is_running(),
        "the encoder was turned away mid-stream"
    );

    println!("report: {report:?}");
    report_timing("latency p50", report.latency_ms.0, LATENCY_P50_MS);
    report_timing("latency p99", report.latency_ms.1, LATENCY_P99_MS);
    assert_eq!(report.gaps, 0, "frames are missing");
    assert!(
        report.track("video").first_is_key,
        "the first frame is no key frame"
    );

    let mut group_seconds = 0.0;
    for (kind, name) in [(Kind::Video, "video"), (Kind::Audio, "audio")] {
        let sent = media::reference(&scratch, &clip(), PUSH_SECONDS, kind);
        let got = media::packets(&recording, kind);
        media::assert_unbroken_run(&sent, &got, name);
        media::assert_times_never_go_back(&got, name);
        let frames = usize::try_from(report.track(name).frames).unwrap();
        assert_eq!(frames, got.len(), "{name}: report and recording differ");
        if kind == Kind::Video {
            group_seconds = media::group_seconds_max(&sent);
        }
        let seconds = got.last().unwrap().dts - got.first().unwrap().dts;
        println!(
            "{name}: {} packets over {seconds:.1} s, unbroken",
            got.len()
        );
        let least = 0.8 * f64::from(u32::try_from(WATCH_SECONDS).unwrap());
        assert!(seconds > least, "{name}: only {seconds:.1} s arrived");
    }
    media::assert_decodes(&recording);
    report_timing("join", report.join_ms, 500.0);
    println!("the clip's longest group: {group_seconds:.1} s");
    assert!(
        report.join_ms <= group_seconds.max(1.0) * 1000.0,
        "joining took {} ms, longer than a group of {group_seconds:.1} s",
        report.join_ms
    );

    encoder.interrupt();
    up.assert_log_holds_none_of(&[&input.stream_key, &token, api.key.as_deref().unwrap()]);
}
