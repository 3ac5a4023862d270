//! The proof that core does no hidden input or output: as WebAssembly, it imports nothing.
//!
//! A module of `wasm32-unknown-unknown` can reach a clock, a file, a socket or randomness only
//! through an import. Core is built without features as a module of its own, and every function of
//! it is linked in, reached or not: an import that hides in a corner would be seen.
//!
//! The module that pages load is held to the same, and to its size: it is the first thing that a viewer
//! waits for.

use mainstem_conformance::house::{cargo, packages, target_dir};
use mainstem_conformance::wasm;
use std::path::PathBuf;

const TARGET: &str = "wasm32-unknown-unknown";

/// Fewer functions than this would mean that the linker dropped what the proof is about.
const FUNCTION_COUNT_MIN: u32 = 500;

#[test]
fn core_as_a_wasm_module_imports_nothing() {
    let bytes = std::fs::read(build()).unwrap();
    let module = wasm::parse(&bytes).unwrap();
    assert!(
        module.imports.is_empty(),
        "core reaches outside itself through {:?}",
        module.imports
    );
    assert!(
        module.function_count >= FUNCTION_COUNT_MIN,
        "the proof is empty: {} functions were linked",
        module.function_count
    );
    println!(
        "core imports nothing: {} functions, {} bytes",
        module.function_count,
        bytes.len()
    );
}

/// Bytes of the pages' module as it is sent, gzipped.
const PAGE_BYTES_MAX: usize = 250_000;

#[test]
fn module_for_pages_imports_nothing_and_is_small() {
    let asset = mainstem_web::asset("/sdk/mainstem.wasm").unwrap();
    let module = wasm::parse(asset.bytes).unwrap();
    assert!(
        module.imports.is_empty(),
        "pages would have to give {:?}",
        module.imports
    );
    let gzipped = asset.gzip.len();
    println!("{} bytes, {gzipped} gzipped", asset.bytes.len());
    assert!(
        gzipped <= PAGE_BYTES_MAX,
        "the module is {gzipped} bytes gzipped, more than {PAGE_BYTES_MAX}"
    );
}

fn build() -> PathBuf {
    assert!(packages().contains_key("mainstem-core"));
    let target_dir = target_dir().join("wasm-proof");
    let mut build = cargo();
    build
        .args(["rustc", "--quiet", "--locked", "--package", "mainstem-core"])
        .args(["--lib", "--no-default-features", "--crate-type", "cdylib"])
        // Nobody runs it: half the build time for the same imports.
        .args(["--config", "profile.dev.package.\"*\".opt-level=0"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .args(["--", "-C", "link-dead-code"])
        .args(["-C", "link-arg=--no-gc-sections"])
        // Flags of the outer build are meant for the host.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let output = build.output().expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("target may not be installed"),
        "the target {TARGET} is missing; install it: rustup target add {TARGET}"
    );
    assert!(
        output.status.success(),
        "core does not build for {TARGET}:\n{errors}"
    );
    target_dir.join(TARGET).join("debug/mainstem_core.wasm")
}
