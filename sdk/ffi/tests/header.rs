//! The header, the exported functions and the list of the contract name the same symbols.
#![allow(clippy::unwrap_used, reason = "a test's way of speaking")]

use std::collections::BTreeSet;
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(path).unwrap()
}

/// Words that begin as the interface's functions do and stand before a parenthesis.
fn functions(text: &str, before: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("clutch_moqt_") {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let is_alone = text[..at].ends_with(before);
        if is_alone && after.starts_with('(') {
            found.insert(word.to_owned());
        }
    }
    found
}

#[test]
fn header_and_library_name_the_same_symbols() {
    let declared: BTreeSet<String> = functions(&read("include/clutch_moqt.h"), "")
        .into_iter()
        .filter(|name| !name.ends_with("_t") && !name.ends_with("_cb"))
        .collect();
    let exported = functions(&read("src/abi.rs"), "pub extern \"C\" fn ");
    assert_eq!(declared, exported);
    assert_eq!(exported.len(), 23);
}

#[test]
fn each_exported_function_keeps_its_name() {
    let source = read("src/abi.rs");
    let exported = source.matches("pub extern \"C\" fn ").count();
    let unmangled = source
        .matches("#[unsafe(no_mangle)]\npub extern \"C\" fn ")
        .count();
    assert_eq!(exported, unmangled);
}
