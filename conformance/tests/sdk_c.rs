//! The C interface, by a program that the system's C compiler made from the header.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's way of speaking"
)]

use mainstem_conformance::harness::program::Running;
use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::{Scratch, ffi_library, mainstem, output_of, wait_for};
use mainstem_conformance::house;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);

/// A program, compiled with every warning an error.
fn compile(scratch: &Scratch, standard: &str, source: &Path) -> PathBuf {
    let program = scratch.join(source.file_stem().unwrap());
    let library = ffi_library();
    let folder = library.parent().unwrap();
    let mut compile = Command::new("cc");
    compile.args([standard, "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    compile.arg(house::root().join("sdk/ffi/include"));
    compile.arg(source).arg("-o").arg(&program);
    compile.arg("-L").arg(folder).arg("-lmainstem_ffi");
    compile.arg(format!("-Wl,-rpath,{}", folder.display()));
    output_of(&mut compile);
    program
}

fn run(scratch: &Scratch, up: &Up, arguments: &[&str]) -> String {
    let source = house::root().join("sdk/ffi/tests/c/roundtrip.c");
    let mut command = Command::new(compile(scratch, "-std=c11", &source));
    command.args(arguments);
    command.env("MAINSTEM_CERT_SHA256", &up.ready.cert_sha256);
    // As a program does that has another relay's name built in.
    command.env("MAINSTEM_RELAY", up.moqt_authority());
    let finished = Running::start(scratch, "roundtrip", &mut command).finish_within(LIMIT);
    finished.assert_code(0, arguments[0]);
    print!("{}", finished.stdout);
    finished.stdout
}

#[test]
fn a_broadcast_goes_out_and_comes_back_and_a_wrong_token_fails() {
    let scratch = Scratch::new("sdk_c");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("from c");
    let token = api.mint(&input.id, 3600).token;
    let id = input.external_id.as_str();
    let publish = format!("moq://relay.invalid/publish/{id}?sk={}", input.stream_key);
    let playback = format!("moq://relay.invalid/playback/{id}?tok={token}");
    let file = house::root().join("core/tests/media/h264_aac.mp4");
    let file = file.to_str().unwrap();
    let said = run(&scratch, &up, &["broadcast", &publish, &playback, id, file]);
    assert!(said.ends_with("closed\n"), "{said}");

    let other = api.create_input("another");
    let foreign = api.mint(&other.id, 3600).token;
    let playback = format!("quic://relay.invalid:4443/playback/{id}?tok={foreign}");
    run(&scratch, &up, &["refused", &playback, id]);
    up.assert_log_holds_none_of(&[&input.stream_key, &token]);
}

#[test]
fn tracks_of_every_kind_go_both_ways_on_both_carriers() {
    let scratch = Scratch::new("sdk_c_tracks");
    let options = Options {
        open_relay: true,
        ..Options::new(&scratch)
    };
    let up = Up::start(&scratch, &options);
    run(&scratch, &up, &["tracks", "quic://relay.invalid:4443"]);
    run(&scratch, &up, &["tracks", "https://relay.invalid/"]);
}

/// What people copy from `docs/C.md`.
#[test]
fn the_documents_program_watches_until_the_stream_ends() {
    let scratch = Scratch::new("sdk_c_document");
    let up = Up::start(&scratch, &Options::new(&scratch));
    let api = up.api();
    let input = api.create_input("for the document");
    let token = api.mint(&input.id, 3600).token;
    let id = &input.external_id;
    let page = std::fs::read_to_string(house::root().join("docs/C.md")).unwrap();
    let (_, after) = page.split_once("```c\n").unwrap();
    let (program, _) = after.split_once("```").unwrap();
    let source = scratch.join("watch.c");
    std::fs::write(&source, program).unwrap();

    let mut publish = Command::new(mainstem());
    let url = format!("{}/publish/{id}?sk={}", up.ready.moqt, input.stream_key);
    publish.args([
        "publish",
        &url,
        "--loop",
        "--cert-sha256",
        &up.ready.cert_sha256,
    ]);
    publish.arg(house::root().join("core/tests/media/h264_aac.mp4"));
    let publisher = Running::start(&scratch, "publish", &mut publish);

    let mut watch = Command::new(compile(&scratch, "-std=gnu11", &source));
    watch.arg(format!("{}/playback/{id}?tok={token}", up.ready.moqt));
    watch.arg(format!("playback/{id}"));
    watch.env("MAINSTEM_CERT_SHA256", &up.ready.cert_sha256);
    let watcher = Running::start(&scratch, "watch-c", &mut watch);
    wait_for("fragments", LIMIT, || {
        (watcher.stdout().matches("moof").count() > 20).then_some(())
    });
    publisher.interrupt();
    let finished = watcher.finish_within(LIMIT);
    finished.assert_code(0, "the document's program");
    assert_eq!(finished.stdout.matches("ftyp").count(), 1);
    assert_eq!(finished.stdout.find("ftyp"), Some(4));
    println!("{} fragments", finished.stdout.matches("moof").count());
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let symbols = output_of(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(ffi_library()),
    );
    let exported = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|name| name.starts_with("clutch_moqt_"));
    assert_eq!(exported.count(), 23, "{symbols}");
}
