//! Mainstem in Chromium. The tests themselves are in `conformance/browser/tests`, in JavaScript; each file runs here as
//! one test, in a network namespace with nothing but a loopback interface (`in-own-network`, as root or as anybody whom
//! the kernel allows a user namespace): what they need is all there, and nothing can leave.
//!
//! `MAINSTEM_BROWSER_SECONDS` is how long the long runs take (15 by default, 60 for the figures that are promised);
//! pictures of what was seen go to `browser-artefacts` in the build directory.

#![expect(clippy::print_stdout, reason = "figures belong in a suite's output")]

use mainstem_conformance::harness::program::Running;
use mainstem_conformance::harness::{Scratch, mainstem, tool};
use mainstem_conformance::house;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(8);

fn run(file: &str) {
    let scratch = Scratch::new(&format!("browser-{file}"));
    let folder = house::root().join("conformance/browser");
    let mut command = Command::new(folder.join("in-own-network"));
    command
        .arg(tool("MAINSTEM_NODE", "node"))
        .args(["run.mjs", file]);
    command
        .current_dir(&folder)
        .env("MAINSTEM_BIN", mainstem())
        .env(
            "MAINSTEM_BROWSER_ARTEFACTS",
            house::target_dir().join("browser-artefacts"),
        );
    let finished = Running::start(&scratch, file, &mut command).finish_within(LIMIT);
    println!("{}", finished.stdout);
    finished.assert_code(0, &format!("the browser tests of {file}"));
    assert!(
        finished.stdout.contains("browser tests: ok."),
        "{file}: no verdict"
    );
}

#[test]
fn pages_are_readable_named_and_worked_by_keys() {
    run("pages");
}

#[test]
fn a_camera_is_watched_in_another_page_and_recipe_1_runs() {
    run("live");
}

#[test]
fn a_player_of_others_watches_our_streams() {
    run("shaka");
}

#[test]
fn an_encoder_is_watched_through_a_freeze_a_restart_and_a_narrow_road() {
    run("faults");
}

/// No browser suite is no green suite.
#[test]
fn where_no_network_of_ones_own_can_be_made_the_suite_says_so_and_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("browser-forbidden");
    let stand_in = scratch.join("unshare");
    let script = "#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n";
    std::fs::write(&stand_in, script).expect("the stand-in is written");
    let may_run = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&stand_in, may_run).expect("the stand-in may run");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(house::root().join("conformance/browser/in-own-network"));
    command.arg("true");
    command.env("PATH", format!("{}:{path}", scratch.join("").display()));
    let finished = Running::start(&scratch, "forbidden", &mut command).finish_within(LIMIT);
    finished.assert_code(77, "in-own-network without a network");
    let said = "cannot make a network of its own: unshare failed: Operation not permitted";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}
