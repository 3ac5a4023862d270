//! Tests of the rows' rules, of the search and of the claim's guard.

use crate::rows::{self, RowError};
use crate::{Claim, IDS, ROWS, is_row};
use std::collections::BTreeSet;
use std::path::Path;

const ROW: &str = r#"
title = "5 Retrieving tracks"
[[row]]
id = "MOQT19-5.1-1"
section = "5.1"
level = "MUST NOT"
role = ["relay"]
first = 18
text = "A rule that somebody has to keep."
"#;

fn parse(text: &str) -> Result<rows::Chapter, RowError> {
    rows::parse("test.toml", text, &mut BTreeSet::new())
}

fn rule_of(text: &str) -> &'static str {
    match parse(text) {
        Err(RowError::Rule { rule, .. }) => rule,
        other => panic!("expected a broken rule, got {other:?}"),
    }
}

#[test]
fn a_row_is_read_as_written() {
    let chapter = parse(ROW).unwrap();
    let row = &chapter.row[0];
    assert_eq!(chapter.title, "5 Retrieving tracks");
    assert_eq!(
        (row.id.as_str(), row.first, row.last),
        ("MOQT19-5.1-1", 18, None)
    );
    assert_eq!(row.level, rows::Level::MustNot);
    assert_eq!(row.role, [rows::Role::Relay]);
}

#[test]
fn an_id_must_name_its_section_and_a_known_draft() {
    for wrong in [
        "MOQT19-5.2-1",
        "MOQT19-5.1-0",
        "MOQT19-5.1",
        "MOQT19-5.1-1-1",
        "MOQT17-5.1-1",
        "MOQT-5.1-1",
        "QUIC19-5.1-1",
    ] {
        let rule = rule_of(&ROW.replace("MOQT19-5.1-1", wrong));
        assert!(rule.starts_with("the id must be"), "{wrong}: {rule}");
    }
}

#[test]
fn drafts_must_be_ours_and_in_order() {
    for wrong in [
        "first = 17",
        "first = 23",
        "first = 20\nlast = 19",
        "first = 18\nlast = 99",
    ] {
        let rule = rule_of(&ROW.replace("first = 18", wrong));
        assert!(rule.starts_with("first and last"), "{wrong}: {rule}");
    }
}

#[test]
fn a_row_without_role_sentence_or_reason_is_refused() {
    assert_eq!(
        rule_of(&ROW.replace("[\"relay\"]", "[]")),
        "role must name somebody"
    );
    let rule = rule_of(&ROW.replace("has to keep.", "has to keep"));
    assert!(rule.starts_with("text must be"), "{rule}");
    let rule = rule_of(&format!("{ROW}exception = \"no\"\n"));
    assert_eq!(rule, "an exception must give its reason");
}

#[test]
fn unknown_fields_levels_and_roles_are_refused() {
    for (from, to) in [
        ("first = 18", "first = 18\nfrist = 19"),
        ("MUST NOT", "OUGHT"),
        ("[\"relay\"]", "[\"nobody\"]"),
    ] {
        let parsed = parse(&ROW.replace(from, to));
        assert!(matches!(parsed, Err(RowError::Form { .. })), "{to}");
    }
}

#[test]
fn an_id_is_never_given_twice_in_any_file() {
    let mut ids = BTreeSet::new();
    rows::parse("one.toml", ROW, &mut ids).unwrap();
    let again = rows::parse("two.toml", ROW, &mut ids);
    let message = again.unwrap_err().to_string();
    assert_eq!(message, "two.toml: MOQT19-5.1-1: the id stands twice");
}

#[test]
fn the_table_holds_the_files_rows_in_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../moqt");
    let chapters = rows::read(&folder).unwrap();
    let written = chapters.iter().flat_map(|chapter| &chapter.row);
    assert!(
        written
            .map(|row| row.id.as_str())
            .eq(ROWS.iter().map(|row| row.id))
    );
}

#[test]
fn every_id_is_found_and_no_other() {
    assert_eq!(IDS.len(), ROWS.len());
    assert!(IDS.is_sorted());
    assert!(IDS.iter().all(|id| is_row(id)));
    for wrong in ["", "MOQT19", "MOQT19-1.4.3-999", "ZZZ", "AAA"] {
        assert!(!is_row(wrong), "{wrong}");
    }
    assert!(ROWS.iter().all(|row| !is_row(&format!("{}0000", row.id))));
}

#[test]
fn a_claim_is_named_after_the_test_around_it() {
    fn inner() -> String {
        fn here() {}
        Claim::new(&[], file!(), std::any::type_name_of_val(&here))
            .test()
            .to_owned()
    }
    assert!(inner().ends_with("a_claim_is_named_after_the_test_around_it::inner"));
    let in_closure = Claim::new(&[], "", "moqt::wire::claim::{{closure}}::{{closure}}::here");
    assert_eq!(in_closure.test(), "moqt::wire::claim");
}

#[test]
fn a_claim_is_recorded_when_its_scope_ends_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let claim = claim(folder.path());
    assert_eq!(records(folder.path()), "");
    drop(claim);
    assert_eq!(
        records(folder.path()),
        "a\tfile.rs\tx::test\nb\tfile.rs\tx::test\n"
    );
}

#[test]
fn a_claim_of_a_test_that_panics_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let ended = std::thread::spawn(move || {
        let _claim = claim(&path);
        panic!("as a failed assertion does");
    });
    assert!(ended.join().is_err());
    assert_eq!(records(folder.path()), "");
}

#[test]
#[should_panic(expected = "cannot record what this test proves")]
fn a_claim_that_cannot_be_recorded_fails_its_test() {
    let file = tempfile::NamedTempFile::new().unwrap();
    drop(claim(file.path()));
}

fn claim(folder: &Path) -> Claim {
    Claim {
        ids: &["a", "b"],
        file: "file.rs",
        inner: "x::test::here",
        records: Some(folder.to_owned()),
    }
}

fn records(folder: &Path) -> String {
    let path = folder.join(format!("{}.tsv", std::process::id()));
    std::fs::read_to_string(path).unwrap_or_default()
}
