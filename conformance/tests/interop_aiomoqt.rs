//! aiomoqt's interoperability client against our relay, and our client against aiomoqt's relay: an
//! independent reading of the drafts.
//!
//! aiomoqt 0.13.3 speaks drafts 14, 16, 18, 20 and 22; nothing that can be installed from a registry
//! and speaks 21 has a client of these cases.

#![expect(
    clippy::print_stdout,
    reason = "a matrix of outcomes belongs in the output"
)]

use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::{Scratch, peers};

const DRAFTS: [u32; 4] = [22, 20, 18, 16];

/// What must pass at every draft.
const CASES: [&str; 12] = [
    "setup-only",
    "announce-only",
    "publish-namespace-done",
    "subscribe-error",
    "rendezvous-timeout",
    "announce-subscribe",
    "subscribe-before-announce",
    "data-subgroup-basic",
    "namespace-discovery",
    "subscribe-namespace-lifecycle",
    "publish-track-only",
    "publish-track-subscribe",
];

/// What aiomoqt's relay does not do; each for the reason in `xtask/src/interop/known.rs`.
const NOT_AIOMOQTS: &[&str] = &["data-large-objects"];

#[test]
fn aiomoqt_passes_over_raw_quic() {
    pass_all("moqt");
}

#[test]
fn aiomoqt_passes_over_webtransport() {
    pass_all("https");
}

#[test]
fn our_client_passes_against_aiomoqts_relay() {
    let scratch = Scratch::new("interop_aiomoqt_relay");
    let (_relay, authority) = peers::aiomoqt_relay(&scratch);
    let mut failed = Vec::new();
    for draft in DRAFTS {
        for scheme in ["moqt", "https"] {
            let url = format!("{scheme}://{authority}/");
            for (case, status, said) in peers::ours(&scratch, &url, draft) {
                println!("{status:8} draft {draft} {scheme} {case}");
                if status != "passed" && !NOT_AIOMOQTS.contains(&case.as_str()) {
                    failed.push(format!("draft {draft} {scheme} {case}: {said}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn pass_all(scheme: &str) {
    let scratch = Scratch::new(&format!("interop_aiomoqt_{scheme}"));
    let options = Options {
        open_relay: true,
        ..Options::new(&scratch)
    };
    let up = Up::start(&scratch, &options);
    let url = format!("{scheme}://{}/", up.moqt_authority());
    let mut failed = Vec::new();
    for draft in DRAFTS {
        for case in CASES {
            let point = peers::aiomoqt(&scratch, &url, draft, case);
            let verdict = match (point.passed, point.skipped) {
                (true, false) => "ok",
                // A case that was not run proves nothing.
                (true, true) => "SKIPPED",
                (false, _) => "NOT OK",
            };
            println!("{verdict:8} draft {draft} {scheme} {case}");
            if verdict != "ok" {
                failed.push(format!(
                    "draft {draft} {scheme} {case}: {}",
                    point.details.join(" | ")
                ));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
