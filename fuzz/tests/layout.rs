//! The table of targets, the wrappers, the manifest and the corpora name the same targets.

use mainstem_fuzz::TARGETS;
use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stems(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).into_iter().flatten();
    let stem = |path: std::path::PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    entries
        .flatten()
        .filter_map(|entry| stem(entry.path()))
        .collect()
}

#[test]
fn every_target_has_its_wrapper_and_its_bin() {
    let names: BTreeSet<String> = TARGETS.iter().map(|each| each.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "a name twice");
    assert_eq!(stems("fuzz_targets"), names);
    let manifest = include_str!("../Cargo.toml");
    for name in &names {
        let bin = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&bin), "Cargo.toml has no bin {name}");
        let path = root().join(format!("fuzz_targets/{name}.rs"));
        let wrapper = std::fs::read_to_string(path).expect("a file that was listed");
        assert!(
            wrapper.contains(&format!("check(\"{name}\", data)")),
            "{name}"
        );
    }
    for folder in ["corpus", "crashes"] {
        assert!(stems(folder).is_subset(&names), "{folder} of no target");
    }
}

/// A corpus is there so that a replay sees what the fuzzer saw; what it needs beyond that is found
/// again in minutes.
#[test]
fn corpora_and_crashes_are_small() {
    let mut bytes = 0;
    for folder in ["corpus", "crashes"] {
        for target in stems(folder) {
            let entries = std::fs::read_dir(root().join(folder).join(target))
                .into_iter()
                .flatten();
            for entry in entries.flatten() {
                bytes += entry.metadata().map_or(0, |data| data.len());
            }
        }
    }
    assert!(bytes < 300_000, "{bytes} bytes");
}
