//! Turns `spec/moqt/*.toml` into a constant table, and refuses rows that break the rules of `src/rows.rs`.

#![expect(clippy::panic, reason = "a table that is wrong stops the build")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[path = "src/rows.rs"]
mod rows;

fn main() {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let folder = Path::new(&package).join("../moqt");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=src/rows.rs");
    let chapters = match rows::read(&folder) {
        Ok(chapters) => chapters,
        Err(error) => panic!("{error}"),
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("table.rs");
    if let Err(error) = std::fs::write(&out, table(&chapters)) {
        panic!("cannot write {}: {error}", out.display());
    }
}

/// The source of the table: ids in byte order for the compile-time search, rows in reading order.
fn table(chapters: &[rows::Chapter]) -> String {
    let mut ids: Vec<&str> = chapters
        .iter()
        .flat_map(|chapter| &chapter.row)
        .map(|row| row.id.as_str())
        .collect();
    ids.sort_unstable();
    let mut text = format!(
        "/// Every id, in byte order.\npub const IDS: [&str; {}] = {ids:?};\n\n",
        ids.len()
    );
    text.push_str("/// Every row, in the order of the document.\npub const ROWS: &[Row] = &[\n");
    for chapter in chapters {
        for row in &chapter.row {
            let roles: Vec<String> = row
                .role
                .iter()
                .map(|role| format!("Role::{role:?}"))
                .collect();
            let _ = writeln!(
                text,
                "Row {{ id: {:?}, chapter: {:?}, section: {:?}, level: Level::{:?}, roles: &[{}], \
                 first: {}, last: {:?}, text: {:?}, exception: {:?} }},",
                row.id,
                chapter.title,
                row.section,
                row.level,
                roles.join(", "),
                row.first,
                row.last,
                row.text,
                row.exception,
            );
        }
    }
    text.push_str("];\n");
    text
}
