//! The form of `spec/moqt/*.toml`, and the rules that a row has to keep.
//!
//! The build script reads the files with this module and makes the table of [`crate::ROWS`] from them.
//!
//! | field | form |
//! |---|---|
//! | `id` | `MOQT<draft>-<section>-<number>`: the draft is the text that the row was read in |
//! | `section` | the section's number in that draft, the same as in the id |
//! | `level` | MUST, MUST NOT, SHOULD, SHOULD NOT or MAY |
//! | `role` | who is bound: one or more |
//! | `first`, `last` | the drafts in which it holds; without `last` it holds in the newest |
//! | `text` | the rule in one sentence of our own, ending in a full stop |
//! | `exception` | why no test proves it; absent in nearly all |
//!
//! Errors: each names the file and the row. Limits: none, the files are ours.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// The drafts that rows may speak of.
const DRAFTS: std::ops::RangeInclusive<u8> = 18..=22;
/// The drafts that a row may have been read in.
const SOURCES: std::ops::RangeInclusive<u8> = 18..=22;

/// One file: a chapter of the document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chapter {
    /// The chapter's number and what it is about.
    pub(crate) title: String,
    /// Its rows, in the order of the document.
    #[serde(default)]
    pub(crate) row: Vec<Written>,
}

/// One row as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) section: String,
    pub(crate) level: Level,
    pub(crate) role: Vec<Role>,
    pub(crate) first: u8,
    pub(crate) last: Option<u8>,
    pub(crate) text: String,
    pub(crate) exception: Option<String>,
}

/// How strongly a row binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "MAY")]
    May,
}

/// Whom a row binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Endpoint,
    Relay,
    Publisher,
    Subscriber,
    Client,
    Server,
    Application,
    Extension,
    Iana,
}

/// Why the files of rows were refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("cannot read {file}: {source}")]
    Read {
        file: String,
        source: std::io::Error,
    },
    #[error("{file} is not a chapter of rows: {source}")]
    Form {
        file: String,
        source: toml::de::Error,
    },
    #[error("{file}: {id}: {rule}")]
    Rule {
        file: String,
        id: String,
        rule: &'static str,
    },
}

/// Reads every chapter of a folder, in order of file name.
pub(crate) fn read(folder: &Path) -> Result<Vec<Chapter>, RowError> {
    let cannot_read = |source| RowError::Read {
        file: folder.display().to_string(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(cannot_read)?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let mut ids = BTreeSet::new();
    let mut chapters = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = std::fs::read_to_string(&path).map_err(|source| RowError::Read {
            file: name.to_string(),
            source,
        })?;
        chapters.push(parse(&name, &text, &mut ids)?);
    }
    Ok(chapters)
}

/// Parses one chapter; `ids` holds the ids of those before it.
pub(crate) fn parse(
    file: &str,
    text: &str,
    ids: &mut BTreeSet<String>,
) -> Result<Chapter, RowError> {
    let chapter: Chapter = toml::from_str(text).map_err(|source| RowError::Form {
        file: file.to_owned(),
        source,
    })?;
    for row in &chapter.row {
        if let Some(rule) = broken_rule(row) {
            return Err(refused(file, row, rule));
        }
        if !ids.insert(row.id.clone()) {
            return Err(refused(file, row, "the id stands twice"));
        }
    }
    Ok(chapter)
}

fn refused(file: &str, row: &Written, rule: &'static str) -> RowError {
    RowError::Rule {
        file: file.to_owned(),
        id: row.id.clone(),
        rule,
    }
}

fn broken_rule(row: &Written) -> Option<&'static str> {
    if !has_id_form(row) {
        return Some("the id must be MOQT<draft>-<section>-<number>, with the row's section");
    }
    let last = row.last.unwrap_or(*DRAFTS.end());
    if !DRAFTS.contains(&row.first) || !DRAFTS.contains(&last) || last < row.first {
        return Some("first and last must be drafts from 18 to 22, first not after last");
    }
    if row.role.is_empty() {
        return Some("role must name somebody");
    }
    if row.text.len() < 20 || !row.text.ends_with('.') || row.text.contains('\n') {
        return Some("text must be one sentence on one line that ends in a full stop");
    }
    if row.exception.as_ref().is_some_and(|why| why.len() < 20) {
        return Some("an exception must give its reason");
    }
    None
}

fn has_id_form(row: &Written) -> bool {
    let mut parts = row.id.split('-');
    let source = parts.next().and_then(|part| part.strip_prefix("MOQT"));
    let source = source.and_then(|draft| draft.parse().ok());
    let section = parts.next();
    let number: Option<u16> = parts.next().and_then(|number| number.parse().ok());
    source.is_some_and(|draft| SOURCES.contains(&draft))
        && section == Some(row.section.as_str())
        && row
            .section
            .split('.')
            .all(|part| part.parse::<u8>().is_ok())
        && number.is_some_and(|number| number > 0)
        && parts.next().is_none()
}
