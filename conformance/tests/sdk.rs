//! The TypeScript SDK and the pages: types, unit tests, and that the committed assets and reference are what they build.

use mainstem_conformance::harness::{Scratch, tool};
use mainstem_conformance::house;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// node in a folder of `sdk/`; panics with what it said when it fails.
fn node(folder: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool("MAINSTEM_NODE", "node"));
    command
        .current_dir(house::root().join("sdk").join(folder))
        .args(arguments);
    let output = command.output().expect("node starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "node {arguments:?} in sdk/{folder}:\n{said}"
    );
    said
}

#[test]
fn types_are_sound() {
    let compiler = "../typescript/node_modules/typescript/bin/tsc";
    node("typescript", &[compiler, "--noEmit"]);
    node("pages", &[compiler, "--project", "."]);
}

#[test]
fn unit_tests_of_the_sdk_pass() {
    node("typescript", &["build.mjs", "--tests"]);
    let said = node(
        "typescript",
        &["--test", "--test-reporter=tap", "dist/test/"],
    );
    let passed = said.lines().find_map(|line| line.strip_prefix("# pass "));
    let passed: u32 = passed
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0);
    println!("{passed} unit tests of the SDK passed");
    assert!(passed > 10, "only {passed} tests ran:\n{said}");
}

#[test]
fn committed_assets_are_what_the_sources_build() {
    let scratch = Scratch::new("assets");
    let built = scratch.join("assets");
    node("pages", &["build.mjs", &built.display().to_string()]);
    let (built, committed) = (files(&built), files(&house::root().join("sdk/web/assets")));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&built), names(&committed), "other files");
    for (name, bytes) in &built {
        assert!(
            committed.get(name) == Some(bytes),
            "sdk/web/assets/{} is not what the sources build: run `node sdk/pages/build.mjs` and commit it",
            name.display()
        );
    }
}

#[test]
fn committed_reference_is_what_the_comments_say() {
    let scratch = Scratch::new("reference");
    let written = scratch.join("typescript.md");
    node(
        "typescript",
        &["reference.mjs", &written.display().to_string()],
    );
    let read = |path: &Path| std::fs::read_to_string(path).expect("the page can be read");
    assert!(
        read(&written) == read(&house::root().join("docs/api/typescript.md")),
        "docs/api/typescript.md is not what the comments say: run `cargo xtask reference` and commit it"
    );
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder can be listed");
    let read = |entry: std::fs::DirEntry| {
        let bytes = std::fs::read(entry.path()).expect("the file can be read");
        (PathBuf::from(entry.file_name()), bytes)
    };
    entries
        .map(|entry| read(entry.expect("an entry")))
        .collect()
}
