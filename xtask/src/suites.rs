//! The table of suites: what `cargo xtask test` runs, in order. A new suite is a new line.
//!
//! Quick refusals come first. Every suite that runs tests must run at least one: a filter that
//! matches nothing is a failure, not a pass.

use crate::house;
use crate::setup::{self, Need};
use anyhow::Result;
use mainstem_spec_covers::RECORDS_VARIABLE;
use std::process::Command;

/// One line of the table.
pub(crate) struct Suite {
    /// Its name for `--only`.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) about: &'static str,
    /// What it needs beside the toolchain.
    pub(crate) needs: &'static [Need],
    /// What it runs.
    pub(crate) work: Work,
}

/// What a suite runs.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// A cargo command that reports by its exit code alone.
    Cargo(&'static [&'static str]),
    /// `cargo test` with these arguments, and variables for the tests.
    Tests(
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    ),
    /// One file of `conformance/tests`, against the built program.
    EndToEnd(&'static str),
    /// The comparison of `spec/COVERAGE.md` with what the suites before it recorded.
    Coverage,
}

/// By the words that stand in their names. The whole workspace is named here and below where one room is
/// meant: with one room alone cargo would choose other features for its libraries, and build them all anew.
const ROOMS_WITH_MUTATIONS: &[&str] =
    &["--workspace", "--lib", "--tests", "--", "mutat", "damaged"];

const MUTATION_COUNTS: &[(&str, &str)] = &[
    ("MAINSTEM_MUTATIONS", "20000"),
    ("MAINSTEM_UPLOAD_MUTATIONS", "2000"),
];

const MEDIA_WITH_TOOLS: &[&str] = &[
    "--package=mainstem-core",
    "--package=mainstem-engine",
    "--features=mainstem-core/external-tools,mainstem-engine/external-tools",
    "--test=ffprobe",
    "--test=packager",
    "--test=rtmp",
];

const LOOM: &[&str] = &["--workspace", "--test=loom_alarm"];

const HARNESS: &[&str] = &[
    "--package=mainstem-conformance",
    "--features=external-tools",
    "--lib",
];

const SIMULATION: &[&str] = &["--workspace", "--test=gate"];

const SIMULATION_SEEDS: &[(&str, &str)] = &[("MAINSTEM_SIM_SEEDS", "300")];

const FOREIGN_CODECS: &[&str] = &[
    "--package=mainstem-conformance",
    "--features=foreign-codecs",
    "--test=moq_transport",
];

/// Its own workspace: no command of this one reaches it.
const FUZZ_REPLAY: &[&str] = &[
    "--manifest-path=fuzz/Cargo.toml",
    "--no-default-features",
    "--locked",
];

const FUZZ_FMT: &[&str] = &["fmt", "--manifest-path=fuzz/Cargo.toml", "--check"];

const PYTHON_FMT: &[&str] = &["fmt", "--manifest-path=sdk/python/Cargo.toml", "--check"];

const ALL_TARGETS: &[&str] = &[
    "clippy",
    "--workspace",
    "--all-targets",
    "--all-features",
    "--",
    "--deny=warnings",
];

/// Every suite, in order.
pub(crate) const SUITES: &[Suite] = &[
    Suite::new(
        "fmt",
        "the formatting is rustfmt's",
        &[],
        Work::Cargo(&["fmt", "--all", "--check"]),
    ),
    Suite::new(
        "fuzz-fmt",
        "the same for the fuzz targets",
        &[],
        Work::Cargo(FUZZ_FMT),
    ),
    Suite::new("clippy", "no lint complains", &[], Work::Cargo(ALL_TARGETS)),
    Suite::new(
        "workspace",
        "every room's own tests, the arrows and the wasm proof",
        &[],
        Work::Tests(&["--workspace"], &[]),
    ),
    Suite::new(
        "canaries",
        "each deliberate fault is found by the simulator's checker for it",
        &[],
        Work::Cargo(&["xtask", "canaries"]),
    ),
    Suite::new(
        "mutations",
        "20,000 mutated inputs a parser: no panic, no growth",
        &[],
        Work::Tests(ROOMS_WITH_MUTATIONS, MUTATION_COUNTS),
    ),
    Suite::new(
        "simulation",
        "300 worlds and every kept plan, alike in two processes, without a finding",
        &[],
        Work::Tests(SIMULATION, SIMULATION_SEEDS),
    ),
    Suite::new(
        "fuzz-replay",
        "every fuzz target over its seeds, corpus and past crashes",
        &[],
        Work::Tests(FUZZ_REPLAY, &[]),
    ),
    Suite::new(
        "loom",
        "no interleaving of threads loses a shard's wake-up",
        &[],
        Work::Tests(LOOM, &[]),
    ),
    Suite::new(
        "codecs",
        "moq-transport reads what we write, and the reverse",
        &[],
        Work::Tests(FOREIGN_CODECS, &[]),
    ),
    Suite::new(
        "media",
        "what ffmpeg pushes we take, what we write ffprobe reads",
        &[Need::Ffmpeg],
        Work::Tests(MEDIA_WITH_TOOLS, &[]),
    ),
    Suite::new(
        "harness",
        "the judges of the suites below can tell right from wrong",
        &[Need::Ffmpeg, Need::Clip],
        Work::Tests(HARNESS, &[]),
    ),
    Suite::new(
        "readme",
        "the commands that people copy exist",
        &[],
        Work::EndToEnd("readme"),
    ),
    Suite::new(
        "demo",
        "one command shows a stream and leaves a good MP4",
        &[Need::Ffmpeg],
        Work::EndToEnd("demo"),
    ),
    Suite::new(
        "rtmp-to-watch",
        "a third-party clip over RTMP arrives whole, byte for byte",
        &[Need::Ffmpeg, Need::Clip],
        Work::EndToEnd("rtmp_to_watch"),
    ),
    Suite::new(
        "fifty-viewers",
        "fifty viewers, one upstream subscription a track",
        &[Need::Ffmpeg, Need::Clip],
        Work::EndToEnd("fifty_viewers"),
    ),
    Suite::new(
        "restart",
        "killed mid-stream: inputs, keys and viewers come back",
        &[Need::Ffmpeg, Need::Clip],
        Work::EndToEnd("restart"),
    ),
    Suite::new(
        "mesh",
        "relays as each other's upstreams: chains, a kill, a drain",
        &[],
        Work::EndToEnd("mesh"),
    ),
    Suite::new(
        "drain",
        "everything on one machine is asked to end while an encoder pushes",
        &[Need::Ffmpeg],
        Work::EndToEnd("drain"),
    ),
    Suite::new(
        "visible",
        "event logs, sessions and figures for a relay's operator",
        &[],
        Work::EndToEnd("visible"),
    ),
    Suite::new(
        "refusals",
        "each wrong credential has its own clear answer",
        &[Need::Ffmpeg, Need::Clip],
        Work::EndToEnd("refusals"),
    ),
    Suite::new(
        "sdk-c",
        "a C program publishes and watches, by the header alone",
        &[],
        Work::EndToEnd("sdk_c"),
    ),
    Suite::new(
        "sdk-python-fmt",
        "the formatting is rustfmt's in the Python package too",
        &[],
        Work::Cargo(PYTHON_FMT),
    ),
    Suite::new(
        "sdk-python",
        "the Python package records, publishes and is refused; ctypes over the C interface",
        &[Need::Ffmpeg, Need::Clip, Need::PythonSdk],
        Work::EndToEnd("sdk_python"),
    ),
    Suite::new(
        "interop-aiomoqt",
        "an independent MoQT client and relay, four drafts, two carriers",
        &[Need::Aiomoqt],
        Work::EndToEnd("interop_aiomoqt"),
    ),
    Suite::new(
        "sdk",
        "the TypeScript is sound, and the committed pages are what it builds",
        &[Need::Node],
        Work::EndToEnd("sdk"),
    ),
    Suite::new(
        "browser",
        "pages, recipes and faults in Chromium, in a network of its own",
        &[Need::Chromium, Need::Node, Need::Ffmpeg, Need::Clip],
        Work::EndToEnd("browser"),
    ),
    Suite::new(
        "coverage",
        "every normative row that was proved still is",
        &[],
        Work::Coverage,
    ),
];

impl Suite {
    const fn new(
        name: &'static str,
        about: &'static str,
        needs: &'static [Need],
        work: Work,
    ) -> Self {
        Self {
            name,
            about,
            needs,
            work,
        }
    }

    /// Whether it counts tests, so that running none is a failure.
    pub(crate) fn counts_tests(&self) -> bool {
        !matches!(self.work, Work::Cargo(_) | Work::Coverage)
    }

    /// Its command; what it needs is installed first.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(house::cargo());
        command.current_dir(house::root());
        command.env("CARGO_TARGET_DIR", house::target_dir());
        match self.work {
            Work::Cargo(arguments) => {
                command.args(arguments);
            }
            Work::Tests(arguments, variables) => {
                command
                    .arg("test")
                    .args(arguments)
                    .envs(variables.iter().copied());
            }
            Work::EndToEnd(file) => {
                command.args(["test", "--package=mainstem-conformance"]);
                command.args(["--features=external-tools", "--test", file]);
                command.args(["--", "--nocapture", "--test-threads=1"]);
                command.env("MAINSTEM_BIN", house::mainstem());
                command.env("MAINSTEM_FFI", house::ffi_library());
            }
            Work::Coverage => {
                command.args(["xtask", "coverage", "--check"]);
            }
        }
        if self.counts_tests() {
            command.env(RECORDS_VARIABLE, house::covers_dir());
        }
        for need in self.needs {
            command.env(setup::variable(*need), setup::ensure(*need)?);
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_end_to_end_file_stands_in_the_table() {
        // Those that drive no program.
        let plain = ["arrows", "moq_transport", "tidy", "wasm_proof"];
        let files = std::fs::read_dir(house::root().join("conformance/tests")).unwrap();
        let files: BTreeSet<String> = files
            .flatten()
            .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
            .filter(|stem| !plain.contains(&stem.as_str()))
            .collect();
        let listed = SUITES.iter().filter_map(|suite| match suite.work {
            Work::EndToEnd(file) => Some(file.to_owned()),
            _ => None,
        });
        assert_eq!(files, listed.collect());
    }
}
