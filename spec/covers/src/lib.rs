//! Ties tests to the normative rows of `spec/moqt/*.toml`.
//!
//! A test that proves a row says so at its start, after its own items:
//!
//! ```no_run
//! # #[allow(clippy::test_attr_in_doctest)]
//! fn a_test() {
//!     mainstem_spec_covers::covers!("MOQT19-1.4.3-1");
//!     // ... and then asserts what the row demands.
//! }
//! # a_test();
//! ```
//!
//! An id that no row has is refused by the compiler:
//!
//! ```compile_fail
//! mainstem_spec_covers::covers!("MOQT19-1.4.3-999");
//! ```
//!
//! and so is a claim without an id:
//!
//! ```compile_fail
//! mainstem_spec_covers::covers!();
//! ```
//!
//! # States of a claim
//!
//! | state | on | then |
//! |---|---|---|
//! | made | the scope ends without a panic | one line is added to the records |
//! | made | the scope unwinds | nothing: the test has proved nothing |
//!
//! Recording is off unless the environment variable [`RECORDS_VARIABLE`] names a folder; `cargo xtask
//! test` does, and `cargo xtask coverage` makes `spec/COVERAGE.md` from the lines. Within `proptest!` and in
//! tests that return a `Result`, a failure is a value and not a panic: make the claim after the last
//! assertion there, or outside the closure.
//!
//! What a record looks like: `<id> TAB <source file> TAB <path of the test>`. Errors: a record that cannot
//! be written fails the test, because a row would lose its proof in silence. The crate is for tests; no
//! program is built from it, which `conformance/tests/arrows.rs` holds.

use std::io::Write as _;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod rows;
#[cfg(test)]
mod tests;

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// The environment variable that names the folder of records.
pub const RECORDS_VARIABLE: &str = "MAINSTEM_COVERS";

/// One normative statement, in our own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id, such as `MOQT19-5.1.2-3`. Never given to another row.
    pub id: &'static str,
    /// The chapter's number and title.
    pub chapter: &'static str,
    /// The section's number in the draft that the id names.
    pub section: &'static str,
    /// How strongly it binds.
    pub level: Level,
    /// Whom it binds.
    pub roles: &'static [Role],
    /// The first draft of ours in which it holds.
    pub first: u8,
    /// The last one, if it holds no longer.
    pub last: Option<u8>,
    /// The rule.
    pub text: &'static str,
    /// Why no test proves it, if none has to.
    pub exception: Option<&'static str>,
}

impl Row {
    /// Whether a test or an exception has to answer for it: it says MUST or MUST NOT to a part that we play.
    pub fn must_be_proved(&self) -> bool {
        let ours = |role: &Role| !matches!(role, Role::Application | Role::Extension | Role::Iana);
        self.level.is_must() && self.roles.iter().any(ours)
    }
}

/// How strongly a row binds (BCP 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Required.
    Must,
    /// Forbidden.
    MustNot,
    /// Recommended.
    Should,
    /// Advised against.
    ShouldNot,
    /// Allowed, where the permission binds the other side's behaviour.
    May,
}

impl Level {
    /// Whether it is MUST or MUST NOT.
    pub fn is_must(self) -> bool {
        matches!(self, Self::Must | Self::MustNot)
    }

    /// The word of the specification.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::May => "MAY",
        }
    }
}

/// Whom a row binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever ends a session.
    Endpoint,
    /// A relay.
    Relay,
    /// Whoever publishes on a session, a relay towards its viewers as well.
    Publisher,
    /// Whoever subscribes or fetches on a session, a relay towards its upstream as well.
    Subscriber,
    /// Whoever opens a session.
    Client,
    /// Whoever accepts a session.
    Server,
    /// What uses the transport: not proved by us, but listed.
    Application,
    /// A later document that extends the transport: not proved by us, but listed.
    Extension,
    /// A registry: not proved by us, but listed.
    Iana,
}

impl Role {
    /// The word in the rows.
    pub fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Relay => "relay",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Client => "client",
            Self::Server => "server",
            Self::Application => "application",
            Self::Extension => "extension",
            Self::Iana => "iana",
        }
    }
}

/// Says that the test around it proves these rows.
///
/// Takes the ids as literals. See the crate's documentation for when a claim counts.
#[macro_export]
macro_rules! covers {
    ($($id:literal),+ $(,)?) => {
        let _proof = {
            $(const _: () = assert!(
                $crate::is_row($id),
                concat!("no row of spec/moqt has the id ", $id)
            );)+
            fn here() {}
            $crate::Claim::new(&[$($id),+], file!(), ::core::any::type_name_of_val(&here))
        };
    };
}

/// Whether a row has this id. A search at compile time.
pub const fn is_row(id: &str) -> bool {
    let (mut low, mut high) = (0, IDS.len());
    while low < high {
        let middle = low.midpoint(high);
        match order(IDS[middle].as_bytes(), id.as_bytes()) {
            0 => return true,
            1 => high = middle,
            _ => low = middle + 1,
        }
    }
    false
}

/// 0 for equal, 1 for greater, -1 for less: `Ord` cannot be called in a constant.
const fn order(one: &[u8], other: &[u8]) -> i8 {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return if one[at] > other[at] { 1 } else { -1 };
        }
        at += 1;
    }
    if one.len() == other.len() {
        0
    } else if one.len() > other.len() {
        1
    } else {
        -1
    }
}

/// A claim in force: made by [`covers!`], recorded when it is dropped without a panic.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    ids: &'static [&'static str],
    file: &'static str,
    /// The path of a function that stands in the test's body.
    inner: &'static str,
    records: Option<PathBuf>,
}

impl Claim {
    /// A claim of the test that `inner` stands in. For [`covers!`].
    pub fn new(ids: &'static [&'static str], file: &'static str, inner: &'static str) -> Self {
        let records = std::env::var_os(RECORDS_VARIABLE).map(PathBuf::from);
        Self {
            ids,
            file,
            inner,
            records,
        }
    }

    /// The test's path: crate, modules, function.
    fn test(&self) -> &str {
        let mut path = self.inner.strip_suffix("::here").unwrap_or(self.inner);
        while let Some(outer) = path.strip_suffix("::{{closure}}") {
            path = outer;
        }
        path
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        // One file a process: tests of one process append whole lines, processes never meet.
        let path = folder.join(format!("{}.tsv", std::process::id()));
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)?;
        let mut lines = String::new();
        for id in self.ids {
            lines.extend([id, "\t", self.file, "\t", self.test(), "\n"]);
        }
        file.write_all(lines.as_bytes())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let Some(folder) = &self.records else {
            return;
        };
        let written = self.write(folder);
        assert!(
            written.is_ok(),
            "cannot record what this test proves in {}: {written:?}",
            folder.display()
        );
    }
}
