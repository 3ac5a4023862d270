//! The first thing that a person tries: `cargo xtask demo`.

use mainstem_conformance::harness::program::Running;
use mainstem_conformance::harness::{Scratch, media};
use mainstem_conformance::house;
use std::time::Duration;

/// Ten seconds of stream, and a build where the demo's own selection of packages differs.
const LIMIT: Duration = Duration::from_mins(10);

#[test]
fn the_demo_checks_itself_and_leaves_an_mp4_that_decodes() {
    let scratch = Scratch::new("demo");
    let recording = scratch.join("demo.mp4");
    let mut command = house::cargo();
    command.env("CARGO_TARGET_DIR", house::target_dir());
    command.args(["xtask", "demo", "--seconds", "10", "--check", "--output"]);
    command.arg(&recording);
    let finished = Running::start(&scratch, "demo", &mut command).finish_within(LIMIT);
    finished.assert_code(0, "cargo xtask demo --seconds 10 --check");

    media::assert_decodes(&recording);
    for kind in [media::Kind::Video, media::Kind::Audio] {
        let packets = media::packets(&recording, kind);
        media::assert_times_never_go_back(&packets, &format!("{kind:?}"));
        let seconds = packets.last().map_or(0.0, |last| last.dts)
            - packets.first().map_or(0.0, |first| first.dts);
        println!("{kind:?}: {} packets over {seconds:.1} s", packets.len());
        // The encoder starts before the viewer joins, and a group may still be missing at the end.
        assert!(seconds > 5.0, "{kind:?}: only {seconds:.1} s of 10 arrived");
    }
}
