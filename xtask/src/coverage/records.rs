//! Reads what `covers!` wrote: lines of `<id> TAB <source file> TAB <path of the test>`.
//!
//! The same test may have run several times and in several processes: it is one proof. Errors: a line of
//! another form, or an id that no row has (the records are then of another checkout).

use anyhow::{Context as _, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One test, named so that a person finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proof {
    /// The source file, relative to the checkout.
    pub(crate) file: String,
    /// The function.
    pub(crate) test: String,
}

/// The tests that proved each row.
pub(crate) type Proofs = BTreeMap<String, BTreeSet<Proof>>;

/// Reads every file of a folder. A folder that is not there holds nothing.
pub(crate) fn read(folder: &Path) -> Result<Proofs> {
    let mut proofs = Proofs::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(proofs);
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "tsv") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            add(&mut proofs, &text).with_context(|| format!("in {}", path.display()))?;
        }
    }
    Ok(proofs)
}

/// Adds the lines of one file.
pub(crate) fn add(proofs: &mut Proofs, text: &str) -> Result<()> {
    for line in text.lines() {
        let mut parts = line.split('\t');
        let (Some(id), Some(file), Some(test), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("a record must be id, file and test, got {line:?}");
        };
        if !mainstem_spec_covers::is_row(id) {
            bail!(
                "no row has the id {id}: the records are of another checkout, run the tests again"
            );
        }
        let function = test.rsplit("::").next().unwrap_or(test);
        proofs.entry(id.to_owned()).or_default().insert(Proof {
            file: file.replace('\\', "/"),
            test: function.to_owned(),
        });
    }
    Ok(())
}
