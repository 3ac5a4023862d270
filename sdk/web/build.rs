//! Embeds what browsers load: the committed files of `assets/`, each as it is and gzipped, with a tag of its
//! content; and the WebAssembly module, which is built here.
//!
//! The module is built by a cargo of its own, for another target, in a build directory of its own:
//! `<target>/wasm-web`. `MAINSTEM_WASM` names a module that was built elsewhere.

#![expect(clippy::panic, reason = "a build script fails by panicking")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target without an operating system.
const TARGET: &str = "wasm32-unknown-unknown";
/// Names a module to embed instead of building one.
const MODULE_VARIABLE: &str = "MAINSTEM_WASM";
/// What the module is built from, below the workspace's root.
const SOURCES: [&str; 3] = ["core/src", "core/Cargo.toml", "sdk/wasm"];

fn main() {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("assets");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-env-changed={MODULE_VARIABLE}");
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of assets can be read")
        .map(|entry| entry.expect("an asset can be listed").path())
        .collect();
    files.sort();
    files.push(module(&out));
    let mut table = String::from("pub(crate) static ASSETS: &[crate::Asset] = &[\n");
    for file in &files {
        let name = file.file_name().and_then(|name| name.to_str());
        embed(&mut table, name.expect("an asset has a name"), file, &out);
    }
    table.push_str("];\n");
    write(&out.join("assets.rs"), table.as_bytes());
}

/// A row of the table, and the gzipped file that it names.
fn embed(table: &mut String, name: &str, file: &Path, out: &Path) {
    let bytes = std::fs::read(file).expect("an asset can be read");
    let gzipped = out.join(format!("{name}.gz"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).expect("memory takes it");
    write(&gzipped, &encoder.finish().expect("memory takes it"));
    let hash = blake3::hash(&bytes).to_hex();
    let tag = hash.get(..32).expect("a hash is longer");
    let _ = writeln!(
        table,
        "    crate::Asset {{ name: {name:?}, bytes: include_bytes!({:?}), gzip: include_bytes!({:?}), \
         tag: {tag:?} }},",
        file.display().to_string(),
        gzipped.display().to_string(),
    );
}

/// The WebAssembly module, under the name by which pages load it.
fn module(out: &Path) -> PathBuf {
    let module = out.join("mainstem.wasm");
    let built = std::env::var_os(MODULE_VARIABLE).map_or_else(|| build(out), PathBuf::from);
    println!("cargo:rerun-if-changed={}", built.display());
    let bytes =
        std::fs::read(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    write(&module, &bytes);
    module
}

fn build(out: &Path) -> PathBuf {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = package
        .ancestors()
        .nth(2)
        .expect("the crate stands two below the root");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    // `<target>/<profile>/build/<crate>/out`, or with the target's name before the profile.
    let above = out
        .ancestors()
        .find(|path| path.join("CACHEDIR.TAG").is_file());
    let target_dir = above.unwrap_or(out).join("wasm-web");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--profile=wasm",
            "--package=mainstem-wasm",
            "--lib",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        // What was said to the outer cargo about the host means nothing here.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", short_paths().join("\u{1f}"))
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_MAKEFLAGS")
        .env_remove("MAKEFLAGS");
    let output = cargo.output().expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("target may not be installed"),
        "the target {TARGET} is missing; install it: rustup target add {TARGET}"
    );
    assert!(
        output.status.success(),
        "the WebAssembly module does not build:\n{errors}"
    );
    target_dir.join(TARGET).join("wasm/mainstem_wasm.wasm")
}

/// Has the compiler leave out where on this machine crates lie: the module is the same wherever it is built, and
/// tells nobody.
fn short_paths() -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.map(|home| home.join("registry/src"));
    let registries = sources.and_then(|sources| std::fs::read_dir(sources).ok());
    let registries = registries.into_iter().flatten().flatten();
    let mut flags: Vec<String> = registries
        .map(|registry| format!("--remap-path-prefix={}=crates", registry.path().display()))
        .collect();
    flags.sort();
    flags
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
