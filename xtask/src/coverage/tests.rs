//! The page, its ratchet and the records, on rows made up here.

use super::page::{page, states};
use super::ratchet::{problems, states_on};
use super::records::{Proofs, add};
use mainstem_spec_covers::{IDS, Level, Role, Row};
use std::collections::BTreeSet;

const MUST: Row = Row {
    id: "MOQT19-1-1",
    chapter: "1 One",
    section: "1",
    level: Level::Must,
    roles: &[Role::Relay],
    first: 18,
    last: None,
    text: "A relay does one thing.",
    exception: None,
};
const MUST_NOT: Row = Row {
    id: "MOQT19-2-1",
    chapter: "2 Two",
    section: "2",
    level: Level::MustNot,
    roles: &[Role::Publisher, Role::Subscriber],
    last: Some(19),
    text: "Nobody does another.",
    ..MUST
};
const ADVICE: Row = Row {
    id: "MOQT19-2-2",
    level: Level::Should,
    text: "Somebody thinks of a third.",
    ..MUST_NOT
};
const EXCEPTED: Row = Row {
    id: "MOQT19-2-3",
    exception: Some("cannot be seen from outside"),
    ..MUST_NOT
};
const FOR_OTHERS: Row = Row {
    id: "MOQT19-2-4",
    roles: &[Role::Application],
    ..MUST_NOT
};

static ROWS: [Row; 5] = [MUST, MUST_NOT, ADVICE, EXCEPTED, FOR_OTHERS];

fn proved(ids: &[&str]) -> Proofs {
    let proof = |file: &str, test: &str| super::records::Proof {
        file: file.to_owned(),
        test: test.to_owned(),
    };
    let proofs = BTreeSet::from([proof("core/b.rs", "two"), proof("core/a.rs", "one")]);
    ids.iter()
        .map(|id| ((*id).to_owned(), proofs.clone()))
        .collect()
}

#[test]
fn the_page_counts_lists_and_names_every_row() {
    let text = page(&states(&ROWS, &proved(&[MUST.id, ADVICE.id])));
    for line in [
        "| 1 One | 1 | 1 | 1 | 0 | 0 | 0 |",
        "| 2 Two | 4 | 2 | 0 | 1 | 1 | 1 |",
        "| **all** | 5 | 3 | 1 | 1 | 1 | 1 |",
        "- MOQT19-2-1 (MUST NOT, publisher, subscriber): Nobody does another.",
        "- MOQT19-2-3 (MUST NOT, publisher, subscriber): Nobody does another. *cannot be seen from outside*",
        "| MOQT19-1-1 | MUST | relay | 18 on | proved | `core/a.rs` one; `core/b.rs` two |",
        "| MOQT19-2-1 | MUST NOT | publisher, subscriber | 18 to 19 | open |  |",
        "| MOQT19-2-4 | MUST NOT | application | 18 to 19 | unproved |  |",
    ] {
        assert!(
            text.lines().any(|each| each == line),
            "{line}\nnot in\n{text}"
        );
    }
}

#[test]
fn the_page_is_a_function_of_rows_and_proofs() {
    let one = page(&states(&ROWS, &proved(&[MUST.id])));
    let other = page(&states(&ROWS, &proved(&[MUST.id])));
    assert_eq!(one, other);
    let states = states_on(&one);
    assert_eq!(states.len(), ROWS.len());
    assert_eq!(states["MOQT19-1-1"], "proved");
    assert_eq!(states["MOQT19-2-1"], "open");
    assert_eq!(states["MOQT19-2-2"], "unproved");
    assert_eq!(states["MOQT19-2-3"], "excepted");
}

#[test]
fn a_row_that_loses_its_proof_is_a_problem() {
    let before = page(&states(&ROWS, &proved(&[MUST.id, ADVICE.id])));
    let now = states(&ROWS, &proved(&[]));
    let found = problems(&now, &before, 9, 50);
    assert_eq!(
        found,
        [
            "MOQT19-1-1 has lost its proof: A relay does one thing.",
            "MOQT19-2-2 has lost its proof: Somebody thinks of a third."
        ]
    );
    assert!(
        problems(
            &states(&ROWS, &proved(&[MUST.id, ADVICE.id])),
            &before,
            9,
            50
        )
        .is_empty()
    );
}

#[test]
fn a_row_that_vanishes_is_a_problem() {
    let before = page(&states(&ROWS, &proved(&[])));
    let found = problems(&states(&ROWS[..4], &proved(&[])), &before, 9, 50);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("MOQT19-2-4 is gone"), "{found:?}");
}

#[test]
fn open_rows_and_exceptions_have_a_limit() {
    let now = states(&ROWS, &proved(&[MUST.id]));
    assert!(problems(&now, "", 1, 50).is_empty());
    let found = problems(&now, "", 0, 50);
    assert!(
        found[0].starts_with("1 rows that have to be proved are open"),
        "{found:?}"
    );
    let found = problems(&now, "", 1, 5);
    assert!(
        found[0].starts_with("1 of 3 rows carry an exception"),
        "{found:?}"
    );
}

#[test]
fn records_of_one_test_are_one_proof_whoever_wrote_them() {
    let mut proofs = Proofs::new();
    let id = IDS[0];
    let lines = format!("{id}\tcore/a.rs\tmoqt::a::claim\n{id}\tcore/a.rs\tmoqt::a::claim\n");
    add(&mut proofs, &lines).unwrap();
    add(&mut proofs, &lines).unwrap();
    let of: Vec<_> = proofs[id].iter().map(|proof| proof.test.as_str()).collect();
    assert_eq!(of, ["claim"]);
}

#[test]
fn records_of_another_checkout_are_refused() {
    let mut proofs = Proofs::new();
    let error = add(&mut proofs, "MOQT19-99-1\ta.rs\tx").unwrap_err();
    assert!(error.to_string().contains("another checkout"), "{error}");
    assert!(add(&mut proofs, "no tabs").is_err());
}
