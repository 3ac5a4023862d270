//! `cargo xtask coverage`: writes `spec/COVERAGE.md` from what the tests recorded.
//!
//! | step | from | to |
//! |---|---|---|
//! | tests run with `MAINSTEM_COVERS` | `covers!` in tests that passed | files of records |
//! | this command | records and the rows of `spec/moqt` | the page |
//! | the gate (`cargo xtask test`) | records of a whole run | compares with the page in the checkout |
//!
//! The ratchet: a row that the page in the checkout shows as proved may not lose its proof; a row that has
//! to be proved may not be open beyond [`OPEN_MAX`]; exceptions stay below [`EXCEPTIONS_PERCENT_MAX`]; no id
//! that the page knows may vanish. A page that breaks one of these is not written.
//!
//! Errors: each names the rows and what to do.

mod page;
mod ratchet;
mod records;
#[cfg(test)]
mod tests;

use crate::house;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How many rows that have to be proved may be open: neither proved nor excepted. Only ever lowered.
pub(crate) const OPEN_MAX: usize = 0;

/// How many of the MUST and MUST NOT rows may carry an exception instead of a proof.
pub(crate) const EXCEPTIONS_PERCENT_MAX: usize = 5;

const PAGE: &str = "spec/COVERAGE.md";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder of records, if not that of `cargo xtask test`.
    #[arg(long, value_name = "FOLDER")]
    records: Option<PathBuf>,
    /// Compare with the page in the checkout, write nothing.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let own = house::covers_dir();
    let folder = arguments.records.as_deref().unwrap_or(&own);
    let fresh = fresh(folder)?;
    if arguments.check {
        // Lies beside the records, for a look at what has changed.
        house::write(&folder.join("COVERAGE.md"), &fresh)?;
        compare(&fresh)?;
    } else {
        house::write(&house::root().join(PAGE), &fresh)?;
        println!("{PAGE} is written");
    }
    Ok(ExitCode::SUCCESS)
}

fn fresh(folder: &Path) -> Result<String> {
    let proofs = records::read(folder)?;
    if proofs.is_empty() {
        bail!(
            "no test has recorded anything in {}; run `cargo xtask test` first",
            folder.display()
        );
    }
    let rows = page::states(mainstem_spec_covers::ROWS, &proofs);
    let problems = ratchet::problems(&rows, &committed(), OPEN_MAX, EXCEPTIONS_PERCENT_MAX);
    if !problems.is_empty() {
        bail!("the coverage of spec/moqt fell:\n{}", problems.join("\n"));
    }
    Ok(page::page(&rows))
}

fn compare(fresh: &str) -> Result<()> {
    let committed = committed();
    if fresh == committed {
        return Ok(());
    }
    let first = fresh
        .lines()
        .zip(committed.lines())
        .find(|(new, old)| new != old)
        .map_or_else(String::new, |(new, old)| format!("\n- {old}\n+ {new}"));
    bail!("{PAGE} is stale: `cargo xtask coverage` writes it from the last run{first}")
}

/// The page in the checkout; empty when there is none yet.
fn committed() -> String {
    std::fs::read_to_string(house::root().join(PAGE)).unwrap_or_default()
}
