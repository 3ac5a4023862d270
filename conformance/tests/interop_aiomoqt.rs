//! aiomoqt's interoperability client against our relay: an independent reading of the drafts.
//!
//! aiomoqt 0.13.3 speaks drafts 14, 16, 18, 20 and 22; nothing that can be installed from a registry
//! and speaks 21 has a client of these cases.

#![expect(
    clippy::print_stdout,
    reason = "a matrix of outcomes belongs in the output"
)]

use mainstem_conformance::harness::up::{Options, Up};
use mainstem_conformance::harness::{Scratch, peers};

const DRAFTS: [u32; 3] = [22, 20, 18];

const CASES: [&str; 7] = [
    "setup-only",
    "announce-only",
    "publish-namespace-done",
    "subscribe-error",
    "announce-subscribe",
    "subscribe-before-announce",
    "data-subgroup-basic",
];

#[test]
fn aiomoqt_passes_over_raw_quic() {
    pass_all("moqt");
}

#[test]
fn aiomoqt_passes_over_webtransport() {
    pass_all("https");
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
