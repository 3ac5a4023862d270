//! All roles of one machine are asked to end while an encoder pushes: its viewers move to a relay on
//! another machine and miss nothing, for as long as the encoder is served.

use mainstem_conformance::harness::relays::Relay;
use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::watch::{Report, Watch};
use mainstem_conformance::harness::{Scratch, media, wait_for};
use mainstem_conformance::house;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// The clip's rate.
const FRAMES_PER_SECOND: u64 = 25;
const VIEWERS: usize = 5;
/// How long they watch: less than the machine takes to end after it was asked to.
const WATCH_SECONDS: u64 = 12;
/// How long they have watched when it is.
const BEFORE: Duration = Duration::from_secs(5);

#[test]
fn viewers_of_an_encoder_move_when_everything_beside_it_is_asked_to_end() {
    let scratch = Scratch::new("drain");
    let secret = scratch.join("control.secret");
    std::fs::write(&secret, "what relays show the control plane").unwrap();
    let secret = secret.display().to_string();
    // Each has to know the other before it runs.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let elsewhere = free.local_addr().unwrap().to_string();
    drop(free);
    let elsewhere_url = format!("moqt://{elsewhere}");
    let more = [
        ["--control-secret-file", &secret],
        ["--upstream", &elsewhere_url],
        ["--drain-to", &elsewhere_url],
    ];
    let mut options = Options::new(&scratch);
    options.more = more.concat().into_iter().map(str::to_owned).collect();
    options.more.push("--upstream-insecure".to_owned());
    let up = Up::start(&scratch, &options);
    let control = [
        "--control",
        &up.ready.http,
        "--control-secret-file",
        &secret,
    ];
    let relay = Relay::start_under(&scratch, "elsewhere", &elsewhere, control);
    let api = up.api();
    let input = api.create_input("encoder");
    let token = api.mint(&input.id, 3600).token;
    let clip = house::root().join("cli/assets/demo.mp4");
    let mut encoder = media::push(&scratch, &up, &input, &clip, 120);
    let members = "mainstem_relay_mesh_links";
    wait_for(
        "the relays to know each other",
        Duration::from_secs(20),
        || up.metric(members).filter(|count| *count > 0.0),
    );
    std::thread::sleep(Duration::from_secs(3));
    assert!(encoder.is_running(), "the encoder was turned away");

    let url = format!(
        "{}/playback/{}?tok={token}",
        up.ready.moqt, input.external_id
    );
    let viewers: Vec<Watch> = (0..VIEWERS)
        .map(|_| Watch::start_at(&scratch, &url, WATCH_SECONDS))
        .collect();
    std::thread::sleep(BEFORE);
    let asked = Instant::now();
    up.process.terminate();
    let reports: Vec<Report> = viewers.into_iter().map(Watch::report).collect();
    for report in &reports {
        assert_eq!((report.moves, report.reconnects), (1, 0), "{report:?}");
        assert_eq!(report.gaps, 0, "{report:?}");
        let video = report.track("video");
        assert_eq!(video.repeats, 0, "{report:?}");
        assert!(
            video.frames > (WATCH_SECONDS - 2) * FRAMES_PER_SECOND,
            "{report:?}"
        );
    }
    let ended = up.process.finish_within(Duration::from_secs(20));
    ended.assert_code(0, "mainstem up");
    println!("ended {:.1} s after SIGTERM", asked.elapsed().as_secs_f64());
    drop(relay);
    encoder.kill();
}
