//! Where things are: the checkout, the build directory, and what `setup` keeps.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Names another directory for what `setup` installs.
pub(crate) const CACHE_VARIABLE: &str = "MAINSTEM_CACHE";

/// The checkout's root directory.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The build directory.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        // Cargo takes a relative one from where it was called; xtask is called from the root.
        |dir| root().join(dir),
    )
}

/// Where `setup` keeps what it installs. Kept across builds, safe to delete.
pub(crate) fn cache_dir() -> PathBuf {
    std::env::var_os(CACHE_VARIABLE).map_or_else(
        || target_dir().join("mainstem-cache"),
        |dir| root().join(dir),
    )
}

/// Where tests record which normative rows they prove.
pub(crate) fn covers_dir() -> PathBuf {
    target_dir().join("mainstem-covers")
}

/// The `cargo` that runs this program.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The `mainstem` program in the profile that tests use, after `cargo build`.
pub(crate) fn mainstem() -> PathBuf {
    target_dir().join("debug/mainstem")
}

/// The library of the C interface in that profile, built with it.
pub(crate) fn ffi_library() -> PathBuf {
    target_dir().join("debug/libmainstem_ffi.so")
}

/// Writes a file whole or not at all, and its directory first.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a directory and what is in it; one that is not there is fine.
pub(crate) fn clear(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
