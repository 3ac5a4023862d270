//! Embeds what browsers load: the committed files of `assets/`, each as it is and gzipped, with a tag of its
//! content.

#![expect(clippy::panic, reason = "a build script fails by panicking")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("assets");
    println!("cargo:rerun-if-changed={}", folder.display());
    let out = PathBuf::from(variable("OUT_DIR"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of assets can be read")
        .map(|entry| entry.expect("an asset can be listed").path())
        .collect();
    files.sort();
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

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
