//! The files of a checkout that people wrote.
//!
//! The walk leaves out build output, version control, fuzzing artefacts and packages of other
//! ecosystems; it does not ask git, so it also works in an unpacked archive.

use super::{blank_comments_and_strings, root};
use std::path::{Path, PathBuf};

/// Directory names that hold no source.
const NOT_SOURCE: [&str; 6] = [
    ".git",
    "target",
    "artifacts",
    "corpus",
    "node_modules",
    "mainstem-data",
];

/// File name endings that are text written by people.
const TEXT: [&str; 12] = [
    "rs", "md", "toml", "sql", "ts", "js", "py", "sh", "json", "html", "yaml", "yml",
];

/// One Rust source file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path relative to the workspace's root.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Its text with comments and literals blanked, line for line.
    pub code: String,
}

impl Source {
    /// The room that the file belongs to: the first component of its path.
    pub fn room(&self) -> &str {
        let first = self.path.components().next();
        first
            .and_then(|part| part.as_os_str().to_str())
            .unwrap_or_default()
    }

    /// Number of lines.
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the file's name says that a program wrote it.
    pub fn is_generated(&self) -> bool {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| stem.ends_with("generated"))
    }

    /// The line number, from 1, of each line of code that `matches`.
    pub fn code_lines_where(&self, matches: impl Fn(&str) -> bool) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        lines
            .filter(|(_, line)| matches(line))
            .map(|(index, _)| index + 1)
            .collect()
    }
}

/// Every Rust file, in order of path.
pub fn rust_sources() -> Vec<Source> {
    let rust = |path: &Path| path.extension().is_some_and(|ending| ending == "rs");
    let files = texts().into_iter().filter(|(path, _)| rust(path));
    files
        .map(|(path, text)| Source {
            code: blank_comments_and_strings(&text),
            path,
            text,
        })
        .collect()
}

/// Every text file with its path relative to the root, in order of path.
///
/// # Panics
///
/// When a directory cannot be listed. Files that are not UTF-8 are left out.
#[expect(
    clippy::panic,
    reason = "a checkout that cannot be read fails its tests"
)]
pub fn texts() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root()];
    while let Some(directory) = pending.pop() {
        let entries = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()));
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_symlink() || NOT_SOURCE.iter().any(|each| name == *each) {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if is_text(&path)
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(root()).unwrap_or(&path);
                found.push((relative.to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

fn is_text(path: &Path) -> bool {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some(ending) => TEXT.contains(&ending),
        // Scripts such as `.ci/run` have no ending.
        None => path.components().any(|part| part.as_os_str() == ".ci"),
    }
}
