//! The habits of the house that a compiler does not hold: sizes, openings, names and words.
//!
//! Each test walks every file of the checkout. The rules stand in CONTRIBUTING.md; a rule that is
//! only prose does not stand there.

use mainstem_conformance::house::{Source, packages, root, rust_sources, texts, words};
use std::fmt::Write as _;

/// A file longer than this is refused.
const LINES_MAX: usize = 900;
/// A file longer than this is a question, printed with the test's output.
const LINES_QUESTION: usize = 600;

/// Rooms whose code is told the time and the dice, and so has its own `clippy.toml`.
const SANS_IO: [&str; 3] = ["core", "quic", "sim"];

/// Rooms that may say `unsafe`.
const MAY_BE_UNSAFE: [&str; 3] = ["net/", "sdk/ffi/", "sdk/wasm/src/abi.rs"];

/// Crates that move bytes; outside `net` their types would make a back-end part of the plan.
const BACK_ENDS: [&str; 5] = ["quinn_udp", "io_uring", "xsk_rs", "aya", "socket2"];

#[test]
fn no_source_file_is_longer_than_900_lines() {
    let mut refused = String::new();
    for source in rust_sources().iter().filter(|each| !each.is_generated()) {
        let lines = source.lines();
        if lines > LINES_MAX {
            let _ = writeln!(refused, "{}: {lines} lines", source.path.display());
        } else if lines > LINES_QUESTION {
            println!(
                "question: {} has {lines} lines; is it one thing?",
                source.path.display()
            );
        }
    }
    assert!(
        refused.is_empty(),
        "longer than {LINES_MAX} lines:\n{refused}"
    );
}

#[test]
fn every_module_opens_with_its_purpose() {
    refuse("a file must open with `//!`", |source| {
        let opening = source.text.lines().find(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with("#!")
        });
        if opening.is_some_and(|line| line.starts_with("//!")) {
            Vec::new()
        } else {
            vec![1]
        }
    });
}

#[test]
fn nothing_is_left_to_do_in_code() {
    refuse("unfinished code", |source| {
        source.code_lines_where(|line| line.contains("todo!") || line.contains("unimplemented!"))
    });
}

#[test]
fn only_net_says_unsafe() {
    refuse(
        "`unsafe` outside net, sdk/ffi and the ABI of sdk/wasm",
        |source| {
            let path = source.path.to_string_lossy();
            if MAY_BE_UNSAFE.iter().any(|room| path.starts_with(room)) {
                return Vec::new();
            }
            source.code_lines_where(|line| words(line).any(|word| word == "unsafe"))
        },
    );
}

#[test]
fn only_net_knows_how_datagrams_move() {
    refuse("a back-end's type outside net", |source| {
        if source.room() == "net" {
            return Vec::new();
        }
        source.code_lines_where(|line| words(line).any(|word| BACK_ENDS.contains(&word)))
    });
}

#[test]
fn net_parses_no_protocol() {
    const MACHINES: [&str; 5] = ["moqt", "cmaf", "catalog", "jwt", "rtmp"];
    refuse("a protocol in net", |source| {
        if source.room() != "net" || is_test_file(source) {
            return Vec::new();
        }
        source.code_lines_where(|line| {
            line.contains("mainstem_core") && words(line).any(|word| MACHINES.contains(&word))
        })
    });
}

#[test]
fn machines_do_not_know_whether_they_are_tested() {
    refuse("a machine that asks who runs it", |source| {
        if !SANS_IO.contains(&source.room()) {
            return Vec::new();
        }
        source.code_lines_where(|line| {
            ["cfg!(test)", "cfg!(sim", "cfg(sim", "cfg(not(test))"]
                .iter()
                .any(|asks| line.contains(asks))
        })
    });
}

#[test]
fn deliberate_faults_are_in_no_build_that_does_not_ask_for_them() {
    const ABOUT_THE_EXAMPLE: [&str; 2] = [
        r#"name = "canaries""#,
        r#"required-features = ["canaries"]"#,
    ];
    let mut features = 0;
    for package in packages().values() {
        let manifest = root().join(&package.folder).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let lines = manifest.lines().filter(|line| line.contains("canaries"));
        for line in lines.filter(|line| !line.starts_with('#')) {
            let is_feature = line.starts_with("canaries = [");
            features += usize::from(is_feature);
            // Neither a default feature nor a dependency may bring them along.
            assert!(
                is_feature || ABOUT_THE_EXAMPLE.contains(&line),
                "{} may have canaries as a feature of its own and nowhere else: {line}",
                package.folder.display()
            );
        }
    }
    assert!(features >= 2, "the feature is gone, or has another name");
}

#[test]
fn names_say_what_a_thing_is() {
    const EMPTY_WORDS: [&str; 4] = ["Manager", "Helper", "Util", "Utils"];
    const KINDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];
    /// A map that takes the place of the standard library's has its words.
    const STANDARD: &str = "get_mut";
    refuse("a name that says nothing", |source| {
        let stem = source.path.file_stem().and_then(|stem| stem.to_str());
        if stem.is_some_and(|stem| ["util", "utils", "helper", "helpers"].contains(&stem)) {
            return vec![1];
        }
        source.code_lines_where(|line| {
            let mut pairs = words(line).zip(words(line).skip(1));
            pairs.any(|(kind, name)| {
                let is_empty = EMPTY_WORDS.iter().any(|word| name.ends_with(word));
                (KINDS.contains(&kind) && is_empty)
                    || (kind == "fn" && name.starts_with("get_") && name != STANDARD)
            })
        })
    });
}

#[test]
fn tests_take_any_free_port() {
    refuse("a fixed port", |source| {
        let lines = source.text.lines().enumerate();
        let listens = ["bind(", "listen(", "--http", "--moqt", "--rtmp"];
        lines
            .filter(|(_, line)| listens.iter().any(|word| line.contains(word)))
            .filter(|(index, _)| is_test_file(source) || is_in_test_module(source, *index))
            .filter(|(_, line)| names_a_loopback_port(line))
            .map(|(index, _)| index + 1)
            .collect()
    });
}

#[test]
fn each_crate_inherits_the_workspace() {
    for package in packages().values() {
        let path = root().join(&package.folder).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        let squeezed = manifest.replace(' ', "");
        for wanted in [
            "[lints]\nworkspace=true",
            "edition.workspace=true",
            "license.workspace=true",
        ] {
            assert!(
                squeezed.contains(wanted),
                "{} lacks {wanted:?}",
                path.display()
            );
        }
    }
}

#[test]
fn rooms_without_input_or_output_refuse_clocks_by_lint() {
    for room in SANS_IO {
        if !root().join(room).join("Cargo.toml").exists() {
            continue;
        }
        let path = root().join(room).join("clippy.toml");
        let lints = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for refused in [
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "std::thread::spawn",
            "std::collections::HashMap",
            "std::net::UdpSocket",
        ] {
            assert!(
                lints.contains(refused),
                "{room}/clippy.toml lacks {refused}"
            );
        }
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // Written apart, so that this file does not find itself.
    let strangers = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("shared/", "design"),
        concat!("language ", "model"),
        concat!("generated with ", "ai"),
        concat!("co-authored-", "by"),
        concat!("lorem ", "ipsum"),
    ];
    let mut found = String::new();
    for (path, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let stranger = strangers
                .iter()
                .find(|each| lower.contains(&each.to_lowercase()));
            if let Some(stranger) = stranger {
                let _ = writeln!(found, "{}:{}: {stranger}", path.display(), index + 1);
            }
        }
    }
    assert!(
        found.is_empty(),
        "a place or tool of somebody's own:\n{found}"
    );
}

#[test]
fn the_documents_are_there() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        ".ci/run",
    ] {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
    let changes = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    for part in [
        "### Safety and performance",
        "### Features",
        "### Internals",
    ] {
        assert!(changes.contains(part), "CHANGELOG.md lacks {part:?}");
    }
}

#[test]
fn every_room_stands_in_the_architecture_page() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for package in packages().values() {
        let room = format!("`{}/`", package.folder.display());
        assert!(page.contains(&room), "ARCHITECTURE.md does not name {room}");
    }
}

/// Fails with every line that `find` names, in every file that a person wrote.
fn refuse(rule: &str, find: impl Fn(&Source) -> Vec<usize>) {
    let mut found = String::new();
    for source in rust_sources().iter().filter(|each| !each.is_generated()) {
        for line in find(source) {
            let _ = writeln!(found, "{}:{line}", source.path.display());
        }
    }
    assert!(found.is_empty(), "{rule}:\n{found}");
}

fn is_test_file(source: &Source) -> bool {
    let mut parts = source.path.components();
    parts.any(|part| part.as_os_str() == "tests") || source.path.ends_with("tests.rs")
}

/// Test modules stand at the end of a file.
fn is_in_test_module(source: &Source, index: usize) -> bool {
    let mut before = source.text.lines().take(index);
    before.any(|line| line.trim() == "#[cfg(test)]")
}

fn names_a_loopback_port(line: &str) -> bool {
    let hosts = ["127.0.0.1:", "localhost:", "[::1]:", "0.0.0.0:", "[::]:"];
    hosts.iter().any(|host| {
        let mut rests = line.split(host).skip(1);
        rests.any(|rest| rest.starts_with(|c: char| matches!(c, '1'..='9')))
    })
}
