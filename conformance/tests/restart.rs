//! The whole process is killed mid-stream and started again: what was promised is still there.

use mainstem_conformance::harness::api::Api;
use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::watch::{View, Watch};
use mainstem_conformance::harness::{Scratch, clip, media, wait_for};
use std::time::{Duration, Instant};

const WATCH_SECONDS: u64 = 30;
/// The clip's rate.
const FRAMES_PER_SECOND: u64 = 25;
/// How long the viewer has watched when the process is killed.
const BEFORE_KILL: Duration = Duration::from_secs(6);

#[test]
fn inputs_keys_and_viewers_survive_a_kill() {
    let scratch = Scratch::new("restart");
    let options = Options::new(&scratch);
    let mut up = Up::start(&scratch, &options);
    let api = up.api();
    let input = api.create_input("survivor");
    let token = api.mint(&input.id, 3600).token;
    let (inputs, keys) = (names(&api), api.list_keys());
    let mut encoder = media::push(&scratch, &up, &input, &clip(), 120);
    std::thread::sleep(Duration::from_secs(4));
    assert!(encoder.is_running(), "the encoder was turned away");
    let view = View {
        input: &input.external_id,
        token: &token,
        seconds: WATCH_SECONDS,
        reconnect: true,
        ..View::default()
    };
    let mut viewer = Watch::start(&scratch, &up, view);
    std::thread::sleep(BEFORE_KILL);
    assert!(
        viewer.is_running(),
        "the viewer did not last until the kill"
    );

    up.process.kill();
    let killed = Instant::now();
    let again = Up::start(&scratch, &options.again(&up.ready));
    println!(
        "serving again {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    );

    assert_eq!(
        again.ready.cert_sha256, up.ready.cert_sha256,
        "the certificate changed"
    );
    assert_eq!(again.ready.http, up.ready.http);
    assert_eq!(names(&api), inputs, "inputs were lost");
    assert_eq!(api.list_keys(), keys, "signing keys were lost");

    // As an encoder does: it notices, and dials again with the same key until it is let in.
    encoder.kill();
    let mut encoder = wait_for(
        "the encoder to be let in again",
        Duration::from_secs(20),
        || {
            let mut encoder = media::push(&scratch, &again, &input, &clip(), 120);
            std::thread::sleep(Duration::from_secs(2));
            encoder.is_running().then_some(encoder)
        },
    );

    let report = viewer.report();
    println!("report: {report:?}");
    assert!(report.reconnects >= 1, "the viewer never reconnected");
    // More than the first session alone can have brought, its retained group included.
    let sent = media::reference(&scratch, &clip(), 60, media::Kind::Video);
    let group = Duration::from_secs_f64(media::group_seconds_max(&sent).ceil());
    let before = (BEFORE_KILL + group).as_secs() * FRAMES_PER_SECOND;
    let video = report.track("video");
    assert!(
        video.frames > before + 5 * FRAMES_PER_SECOND,
        "{} frames came, {before} could be from before the kill",
        video.frames
    );

    // A token from before the kill also lets a new viewer in.
    let view = View {
        seconds: 3,
        reconnect: false,
        ..view
    };
    assert!(Watch::start(&scratch, &again, view).report().frames > 0);
    encoder.kill();
}

/// What has to be there again; whether an input is live is another question.
fn names(api: &Api) -> Vec<(String, String)> {
    let rows = api.list_inputs();
    let rows = rows.as_array().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(&row["id"]), text(&row["external_input_id"])))
        .collect()
}
