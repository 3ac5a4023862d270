//! The workspace's packages and what they import, as cargo itself resolves it.
//!
//! | question | answered by |
//! |---|---|
//! | which room names which other room | `cargo metadata`, declared dependencies of every kind |
//! | what a room pulls in, all the way down | `cargo tree` for that room alone, so that another room's features do not leak in |

use super::{cargo, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// One member of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name, such as `mainstem-core`.
    pub name: String,
    /// The directory of its manifest, relative to the workspace's root.
    pub folder: PathBuf,
    /// Names of the packages that its manifest names, of every kind (normal, build, dev).
    pub dependencies: BTreeSet<String>,
    /// Those of them that it is built from: all but what its tests alone name.
    pub built_from: BTreeSet<String>,
}

/// All members of the workspace, by name.
///
/// # Panics
///
/// When cargo cannot read the workspace.
pub fn packages() -> BTreeMap<String, Package> {
    let metadata = run(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata prints JSON");
    let members = metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages");
    members.iter().map(package).collect()
}

/// Names of every package that `package` is built from, itself left out.
///
/// Dev-dependencies are left out too: they are not part of what ships. `extra` goes to `cargo tree`,
/// for features and target.
///
/// # Panics
///
/// When cargo cannot resolve the tree.
pub fn tree(package: &str, extra: &[&str]) -> BTreeSet<String> {
    let mut args = vec!["tree", "--package", package, "--edges", "normal"];
    args.extend(["--prefix", "none", "--format", "{p}"]);
    args.extend(extra);
    run(&args)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect()
}

fn package(value: &Value) -> (String, Package) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let folder = manifest.parent().unwrap_or(&manifest);
    let dependencies = value["dependencies"].as_array().into_iter().flatten();
    let built_from = dependencies.clone().filter(|each| each["kind"] != "dev");
    let package = Package {
        name: text(&value["name"]),
        folder: folder.strip_prefix(root()).unwrap_or(folder).to_path_buf(),
        built_from: built_from.map(|each| text(&each["name"])).collect(),
        dependencies: dependencies.map(|each| text(&each["name"])).collect(),
    };
    (package.name.clone(), package)
}

fn run(args: &[&str]) -> String {
    let output = cargo().args(args).output().expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo {} failed:\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
