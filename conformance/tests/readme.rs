//! Commands in the README are copied by people: each `mainstem` command and flag in it must exist.

use mainstem_conformance::harness::{mainstem, output_of};
use mainstem_conformance::house;
use std::process::Command;

#[test]
fn every_mainstem_command_in_the_readme_exists() {
    let page = std::fs::read_to_string(house::root().join("README.md")).unwrap();
    // A backslash at a line's end continues the command.
    let page = page.replace("\\\n", " ");
    let mut seen = 0;
    for line in page.lines() {
        let Some((_, rest)) = line.split_once("release/mainstem ") else {
            continue;
        };
        let mut words = rest.split_whitespace();
        let name = words.next().unwrap();
        let help = output_of(Command::new(mainstem()).args([name, "--help"]));
        for flag in words.filter(|word| word.starts_with('-') && word.len() > 1) {
            assert!(
                help.contains(flag),
                "`mainstem {name}` has no {flag}: {line}"
            );
        }
        seen += 1;
    }
    assert!(seen >= 3, "the README shows no mainstem command");
}

#[test]
fn every_flag_in_the_table_of_ports_exists() {
    let help = output_of(Command::new(mainstem()).args(["up", "--help"]));
    for flag in [
        "--http",
        "--moqt",
        "--rtmp",
        "--data-dir",
        "--ready-json",
        "--open-relay",
    ] {
        assert!(help.contains(flag), "`mainstem up` has no {flag}");
    }
}
