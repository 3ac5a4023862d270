//! The rooms and the arrows between them, held against what cargo resolves.
//!
//! [`ROOMS`] is the table of ARCHITECTURE.md. A room that is not built yet may stand in it; a room
//! that is built and does not stand in it fails here, which is the moment to think about its arrows.

use mainstem_conformance::house::{packages, tree};
use std::collections::{BTreeMap, BTreeSet};

/// Every room that has a crate, and the rooms that it may import.
const ROOMS: [(&str, &[&str]); 17] = [
    ("spec/covers", &[]),
    ("core", &[]),
    ("quic", &["core"]),
    ("net", &["core", "quic"]),
    ("sim", &["core", "quic"]),
    ("engine", &["core", "quic", "net"]),
    ("relay", &["core", "quic", "net"]),
    ("control", &["core", "sdk/web"]),
    (
        "cli",
        &[
            "core",
            "quic",
            "net",
            "engine",
            "relay",
            "control",
            "sim",
            "sdk/native",
        ],
    ),
    ("sdk/native", &["core", "quic", "net"]),
    ("sdk/ffi", &["sdk/native", "core", "quic", "net"]),
    ("sdk/typescript", &["core"]),
    ("sdk/wasm", &["core"]),
    ("sdk/web", &[]),
    ("sdk/python", &["core"]),
    ("conformance", ANY_ROOM),
    ("benches", ANY_ROOM),
];

const ANY_ROOM: &[&str] = &[
    "core",
    "quic",
    "net",
    "sim",
    "engine",
    "relay",
    "control",
    "cli",
    "sdk/native",
    "sdk/ffi",
    "sdk/web",
];

/// What the tests of any room may name, and no program is built from.
const FOR_TESTS: [&str; 1] = ["spec/covers"];

/// Rooms that nothing imports.
const LEAVES: [&str; 4] = ["conformance", "benches", "cli", "xtask"];

/// What no sans-IO room may be built from: runtimes, sockets, whole QUIC stacks, log back-ends.
const IO_CRATES: [&str; 20] = [
    "async-io",
    "async-std",
    "env_logger",
    "futures-executor",
    "hyper",
    "io-uring",
    "mio",
    "nix",
    "polling",
    "quinn",
    "quinn-udp",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tracing-subscriber",
    "ureq",
    "walkdir",
];

/// What core without features may not be built from either: the platform's randomness and clocks,
/// and transport or cryptography that belongs to other rooms.
const PLATFORM_CRATES: [&str; 11] = [
    "chrono",
    "getrandom",
    "jsonwebtoken",
    "libc",
    "quinn-proto",
    "rand",
    "ring",
    "rustls",
    "time",
    "wasm-bindgen",
    "web-time",
];

#[test]
fn each_room_imports_only_what_the_plan_allows() {
    let packages = packages();
    let plan: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let names: BTreeMap<&str, &str> = ROOMS
        .iter()
        .filter_map(|(room, _)| {
            let package = packages.values().find(|each| each.folder.ends_with(room))?;
            Some((package.name.as_str(), *room))
        })
        .collect();
    let mut wrong = Vec::new();
    for package in packages.values().filter(|each| each.name != "xtask") {
        let folder = package.folder.to_string_lossy().replace('\\', "/");
        let Some(allowed) = plan.get(folder.as_str()) else {
            wrong.push(format!("{folder}/ stands in no row of ROOMS: add it there"));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(room) = names.get(dependency.as_str()) else {
                continue;
            };
            let is_for_tests = FOR_TESTS.contains(room) && !package.built_from.contains(dependency);
            if *room != folder && !allowed.contains(room) && !is_for_tests {
                wrong.push(format!(
                    "{folder} imports {room}, the plan allows {allowed:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_program_is_built_from_what_is_for_tests() {
    for package in packages().values().filter(|each| each.name != "xtask") {
        let below = tree(&package.name, &[]);
        let found = FOR_TESTS
            .iter()
            .map(|room| format!("mainstem-{}", room.replace('/', "-")))
            .find(|name| below.contains(name));
        assert!(found.is_none(), "{} is built from {found:?}", package.name);
    }
}

#[test]
fn nothing_imports_a_leaf() {
    let packages = packages();
    for package in packages.values() {
        for dependency in &package.dependencies {
            let leaf = packages.get(dependency).filter(|target| {
                let folder = target.folder.to_str().unwrap_or_default();
                LEAVES.contains(&folder) && target.name != package.name
            });
            let importer = package.folder.to_str().unwrap_or_default();
            let is_reader_of_all = ["conformance", "benches"].contains(&importer);
            assert!(
                leaf.is_none() || is_reader_of_all,
                "{importer} imports {dependency}: nothing imports a leaf"
            );
        }
    }
    let benches = packages.values().any(|package| {
        package.dependencies.contains("mainstem-benches") && package.name != "mainstem-benches"
    });
    assert!(!benches, "nothing imports benches");
}

#[test]
fn relay_and_control_never_meet_in_code() {
    for (one, other) in [
        ("relay", "control"),
        ("control", "relay"),
        ("control", "engine"),
    ] {
        let below = tree(&format!("mainstem-{one}"), &[]);
        assert!(
            !below.contains(&format!("mainstem-{other}")),
            "{one} reaches {other}: they meet in typed messages of core"
        );
    }
}

#[test]
fn core_is_built_from_nothing_that_does_input_or_output() {
    assert_free_of(&tree("mainstem-core", &[]), &IO_CRATES, "core");
    let bare = [
        "--no-default-features",
        "--target",
        "wasm32-unknown-unknown",
    ];
    let bare = tree("mainstem-core", &bare);
    assert_free_of(&bare, &IO_CRATES, "core without features");
    assert_free_of(&bare, &PLATFORM_CRATES, "core without features");
}

#[test]
fn the_other_sans_io_rooms_open_no_socket_and_run_on_no_runtime() {
    let packages = packages();
    for room in ["mainstem-quic", "mainstem-sim"] {
        if packages.contains_key(room) {
            assert_free_of(&tree(room, &[]), &IO_CRATES, room);
        }
    }
}

#[test]
fn a_public_folder_holds_the_crate_of_its_name() {
    for package in packages().values() {
        let folder = package.folder.to_string_lossy().replace(['/', '\\'], "-");
        // Libraries for others go by what they are, not by where they lie.
        let expected = match folder.strip_prefix("sdk-") {
            Some("native") => "mainstem-client".to_owned(),
            Some(library) => format!("mainstem-{library}"),
            None if folder == "xtask" => folder,
            None => format!("mainstem-{folder}"),
        };
        assert_eq!(
            package.name,
            expected,
            "in {}/Cargo.toml",
            package.folder.display()
        );
    }
}

fn assert_free_of(tree: &BTreeSet<String>, refused: &[&str], room: &str) {
    let found: Vec<_> = refused
        .iter()
        .filter(|name| tree.contains(**name))
        .collect();
    assert!(found.is_empty(), "{room} is built from {found:?}");
}
