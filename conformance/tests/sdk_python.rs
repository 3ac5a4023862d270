//! The Python package as people use it: the examples, its own tests, and the C interface by ctypes.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's way of speaking"
)]

use mainstem_conformance::harness::api::LiveInput;
use mainstem_conformance::harness::media::{self, Kind};
use mainstem_conformance::harness::program::Running;
use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::watch::{View, Watch};
use mainstem_conformance::harness::{Scratch, clip, ffi_library, output_of, tool, wait_for};
use mainstem_conformance::house;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// The environment's Python, on a file of the checkout, as the organisation's owner.
fn python(up: &Up, file: &str) -> Command {
    let mut command = bare_python();
    command.arg(house::root().join(file));
    command.env("MAINSTEM_URL", &up.ready.http);
    command.env("MAINSTEM_API_KEY", up.ready.api_key.as_deref().unwrap());
    command.env("MAINSTEM_ORG", &up.ready.org);
    command.env("MAINSTEM_RELAY", up.moqt_authority());
    command.env("MAINSTEM_CERT_SHA256", &up.ready.cert_sha256);
    command
}

fn bare_python() -> Command {
    // A gate that runs in the background ignores interrupts, which children inherit, and Python respects.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=INT")
        .arg(tool("MAINSTEM_PYTHON_SDK", "python3"))
        .args(["-X", "dev"])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn media_file() -> std::path::PathBuf {
    house::root().join("core/tests/media/h264_aac.mp4")
}

#[test]
fn recipe_records_a_live_stream_whole() {
    let scratch = Scratch::new("sdk_python_record");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let input = up.api().create_input("to record");
    let seconds = 30;
    let mut encoder = media::push(&scratch, &up, &input, &clip(), seconds);
    std::thread::sleep(Duration::from_secs(4));
    let recording = scratch.join("broadcast.mp4");
    let mut command = python(&up, "examples/python/record.py");
    let recorder = Running::start(&scratch, "record", command.arg(&input.id).arg(&recording));
    std::thread::sleep(Duration::from_secs(14));
    assert!(encoder.is_running(), "the encoder was turned away");
    recorder.interrupt();
    let finished = recorder.finish_within(LIMIT);
    finished.assert_code(0, "record.py");
    let closed = "capture closed: closed_by_caller None\n";
    assert_eq!(finished.stdout, closed, "{}", finished.stderr);
    for (kind, name) in [(Kind::Video, "video"), (Kind::Audio, "audio")] {
        let sent = media::reference(&scratch, &clip(), seconds, kind);
        let got = media::packets(&recording, kind);
        media::assert_unbroken_run(&sent, &got, name);
        let lasted = got.last().unwrap().dts - got.first().unwrap().dts;
        println!("{name}: {} packets over {lasted:.1} s", got.len());
        assert!(lasted > 8.0, "{name}: only {lasted:.1} s were recorded");
    }
    media::assert_decodes(&recording);
    let key = up.ready.api_key.as_deref().unwrap();
    up.assert_log_holds_none_of(&[&input.stream_key, key]);
}

#[test]
fn what_python_publishes_everybody_can_watch() {
    let scratch = Scratch::new("sdk_python_publish");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let mut command = python(&up, "examples/python/publish.py");
    let publisher = Running::start(&scratch, "publish", command.arg(clip()));
    let input = wait_for("the input", LIMIT, || made_input(&publisher.stdout()));
    let token = up.api().mint(&input.id, 3600).token;

    let mut command = python(&up, "examples/python/watch_aio.py");
    let viewer = Running::start(&scratch, "watch-aio", command.arg(&input.id));
    let recording = scratch.join("viewer.mp4");
    let view = View {
        input: &input.external_id,
        token: &token,
        seconds: 8,
        output: Some(&recording),
        ..View::default()
    };
    let report = Watch::start(&scratch, &up, view).report();
    println!("the command's viewer: {report:?}");
    assert_eq!(report.gaps, 0);
    assert!(report.track("video").first_is_key && report.track("video").frames > 50);
    assert!(report.track("audio").frames > 50);
    media::assert_decodes(&recording);

    publisher.interrupt();
    let finished = publisher.finish_within(LIMIT);
    let words = "publisher closed: finished None\n";
    assert!(finished.stdout.ends_with(words), "{finished:?}");
    let seen = viewer.finish_within(LIMIT);
    seen.assert_code(0, "watch_aio.py");
    println!("the viewer in python: {}", seen.stdout);
    assert!(seen.stdout.starts_with("1 init, "), "{seen:?}");
    assert!(seen.stdout.ends_with("bytes: complete\n"), "{seen:?}");
}

#[test]
fn both_ends_in_python_come_back_after_the_relay() {
    let scratch = Scratch::new("sdk_python_restart");
    let options = Options::new(&scratch);
    let mut up = Up::start(&scratch, &options);
    let mut command = python(&up, "examples/python/publish.py");
    let publisher = Running::start(&scratch, "publish", command.arg(clip()));
    let input = wait_for("the input", LIMIT, || made_input(&publisher.stdout()));
    let recording = scratch.join("broadcast.mp4");
    let mut command = python(&up, "examples/python/record.py");
    let recorder = Running::start(&scratch, "record", command.arg(&input.id).arg(&recording));
    let recorded = || std::fs::metadata(&recording).map_or(0, |data| data.len());
    let wait_beyond = |bytes: u64| {
        wait_for("more of the recording", LIMIT, || {
            (recorded() > bytes).then(&recorded)
        })
    };
    wait_beyond(100_000);
    up.process.kill();
    let before = recorded();
    let again = Up::start(&scratch, &options.again(&up.ready));
    let begun = std::time::Instant::now();
    let resumed = wait_beyond(before);
    println!(
        "the recording goes on {:?} after the restart",
        begun.elapsed()
    );
    wait_beyond(resumed + 100_000);
    recorder.interrupt();
    let finished = recorder.finish_within(LIMIT);
    assert_eq!(finished.stdout, "capture closed: closed_by_caller None\n");
    publisher.interrupt();
    publisher.finish_within(LIMIT).assert_code(0, "publish.py");
    for (kind, name) in [(Kind::Video, "video"), (Kind::Audio, "audio")] {
        let got = media::packets(&recording, kind);
        media::assert_times_never_go_back(&got, name);
    }
    drop(again);
}

fn made_input(said: &str) -> Option<LiveInput> {
    let line = said.lines().find_map(|line| line.strip_prefix("input: "))?;
    let (id, external_id) = line.split_once(' ')?;
    Some(LiveInput {
        id: id.to_owned(),
        external_id: external_id.to_owned(),
        stream_key: String::new(),
    })
}

#[test]
fn the_packages_own_tests_pass() {
    let scratch = Scratch::new("sdk_python_own");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let mut command = python(&up, "sdk/python/tests/test_streams.py");
    command.arg("-v").env("MEDIA", media_file());
    let finished = Running::start(&scratch, "unittest", &mut command).finish_within(LIMIT);
    finished.assert_code(0, "test_streams.py");
    let ran = finished.stderr.lines().find_map(|line| {
        let (count, _) = line.strip_prefix("Ran ")?.split_once(" tests in ")?;
        count.parse::<u32>().ok()
    });
    println!("{ran:?} tests of the package");
    assert!(ran >= Some(14), "{}", finished.stderr);
}

#[test]
fn the_c_interface_works_by_ctypes() {
    let scratch = Scratch::new("sdk_python_ctypes");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("by ctypes");
    let token = api.mint(&input.id, 3600).token;
    let id = &input.external_id;
    let mut command = python(&up, "sdk/ffi/tests/python/roundtrip.py");
    command.arg(ffi_library());
    command.arg(format!(
        "moq://relay.invalid/publish/{id}?sk={}",
        input.stream_key
    ));
    command.arg(format!("moq://relay.invalid/playback/{id}?tok={token}"));
    command.arg(id).arg(media_file());
    let finished = Running::start(&scratch, "ctypes", &mut command).finish_within(LIMIT);
    finished.assert_code(0, "roundtrip.py");
    print!("{}", finished.stdout);
}

#[test]
fn committed_reference_is_what_the_docstrings_say() {
    let scratch = Scratch::new("sdk_python_reference");
    let written = scratch.join("python.md");
    let mut write = bare_python();
    write.arg(house::root().join("sdk/python/reference.py"));
    print!("{}", output_of(write.arg(&written)));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    assert!(
        read(&written) == read(&house::root().join("docs/api/python.md")),
        "docs/api/python.md is not what the docstrings say: run `cargo xtask reference` and commit it"
    );
}

#[test]
fn the_types_hold() {
    let mut check = bare_python();
    check.args([
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--package",
        "mainstem",
    ]);
    let scratch = Scratch::new("sdk_python_types");
    print!("{}", output_of(check.current_dir(scratch.join(""))));
    let mut check = bare_python();
    check.args(["-m", "mypy", "--strict", "--no-incremental"]);
    for example in ["record", "publish", "watch_aio"] {
        check.arg(house::root().join(format!("examples/python/{example}.py")));
    }
    print!("{}", output_of(check.current_dir(scratch.join(""))));
}
