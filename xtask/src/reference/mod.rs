//! `cargo xtask reference`: the reference of each SDK, written from the comments beside its declarations.
//!
//! | page | from | by |
//! |---|---|---|
//! | `docs/api/typescript.md` | what `sdk/typescript/src/index.ts` exports | `sdk/typescript/reference.mjs`, with node |
//! | `docs/api/python.md` | what `mainstem.streams`, `mainstem.aio` and `mainstem` export | `sdk/python/reference.py` |
//! | `docs/api/c.md` | `sdk/ffi/include/clutch_moqt.h` | [`c`] |
//!
//! Each of them refuses a declaration without a comment. That the committed pages are what the sources say is a test:
//! of the suite `sdk`, of the suite `sdk-python`, and here.

mod c;

use crate::setup::{self, Need};
use crate::{house, run};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const C_HEADER: &str = "sdk/ffi/include/clutch_moqt.h";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the pages go, instead of `docs/api`.
    #[arg(long)]
    into: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let folder = match &arguments.into {
        Some(folder) => std::path::absolute(folder).context("no such folder")?,
        None => house::root().join("docs/api"),
    };
    let root = house::root();
    house::write(&folder.join("c.md"), &c_page()?)?;
    let mut typescript = Command::new(setup::ensure(Need::Node)?);
    typescript.arg(root.join("sdk/typescript/reference.mjs"));
    run::run(typescript.arg(folder.join("typescript.md")))?;
    let mut python = Command::new(setup::any_python()?);
    python.arg(root.join("sdk/python/reference.py"));
    run::run(python.arg(folder.join("python.md")))?;
    println!("written: {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn c_page() -> Result<String> {
    let header = house::root().join(C_HEADER);
    let text = std::fs::read_to_string(&header)
        .with_context(|| format!("cannot read {}", header.display()))?;
    c::page(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const C_PAGE: &str = "docs/api/c.md";

    #[test]
    fn committed_page_of_the_c_interface_is_what_the_header_says() {
        let committed = std::fs::read_to_string(house::root().join(C_PAGE)).unwrap();
        assert!(
            committed == c_page().unwrap(),
            "{C_PAGE} is not what {C_HEADER} says: run `cargo xtask reference` and commit it"
        );
    }
}
