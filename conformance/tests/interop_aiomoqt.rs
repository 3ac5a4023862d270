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

/// What must pass at every draft whose client does not skip it.
const CASES: [&str; 14] = [
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
    "fetch",
    "join",
];

/// Cases that the client skips, by draft: draft 16 has no rendezvous.
const SKIPPED: [(u32, &str); 1] = [(16, "rendezvous-timeout")];

/// A failure counts when it comes twice: the client has time limits of its own, and the machine may be busy.
const ATTEMPTS: usize = 2;

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
fn our_client_passes_against_aiomoqts_relay_over_raw_quic() {
    ours_pass("moqt");
}

#[test]
fn our_client_passes_against_aiomoqts_relay_over_webtransport() {
    ours_pass("https");
}

/// One relay, and the drafts beside each other.
fn pass_all(scheme: &str) {
    let scratch = Scratch::new(&format!("interop_aiomoqt_{scheme}"));
    let options = Options {
        open_relay: true,
        ..Options::new(&scratch)
    };
    let up = Up::start(&scratch, &options);
    let url = format!("{scheme}://{}/", up.moqt_authority());
    all_drafts(|draft| {
        let failed = CASES.map(|case| {
            let said = one(&scratch, &url, draft, case);
            let verdict = if said.is_none() { "ok" } else { "NOT OK" };
            println!("{verdict:8} draft {draft} {scheme} {case}");
            said.map(|said| format!("draft {draft} {scheme} {case}: {said}"))
        });
        failed.into_iter().flatten().collect()
    });
}

/// What went wrong in a case, twice.
fn one(scratch: &Scratch, url: &str, draft: u32, case: &str) -> Option<String> {
    let may_skip = SKIPPED.contains(&(draft, case));
    let mut said = None;
    for _ in 0..ATTEMPTS {
        let point = peers::aiomoqt(scratch, url, draft, case);
        // A case that was not run proves nothing.
        if point.passed && point.skipped == may_skip {
            return None;
        }
        let skipped = if point.skipped { "skipped | " } else { "" };
        said = Some(format!("{skipped}{}", point.details.join(" | ")));
    }
    said
}

/// One relay of aiomoqt's, and the drafts beside each other.
fn ours_pass(scheme: &str) {
    let scratch = Scratch::new(&format!("interop_aiomoqt_relay_{scheme}"));
    let (_relay, authority) = peers::aiomoqt_relay(&scratch);
    let url = format!("{scheme}://{authority}/");
    all_drafts(|draft| {
        let mut failed = Vec::new();
        for (case, status, said) in peers::ours(&scratch, &url, draft, None) {
            println!("{status:8} draft {draft} {scheme} {case}");
            let is_ours = !NOT_AIOMOQTS.contains(&case.as_str());
            if status == "failed" && is_ours && fails_again(&scratch, &url, draft, &case) {
                failed.push(format!("draft {draft} {scheme} {case}: {said}"));
            }
        }
        failed
    });
}

fn fails_again(scratch: &Scratch, url: &str, draft: u32, case: &str) -> bool {
    let points = peers::ours(scratch, url, draft, Some(case));
    points.iter().any(|(_, status, _)| status == "failed")
}

/// Fails with what `work` says of each draft.
fn all_drafts(work: impl Fn(u32) -> Vec<String> + Sync) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = &work;
        let drafts = DRAFTS.map(|draft| scope.spawn(move || work(draft)));
        let ended = drafts.map(|draft| draft.join().expect("a draft's cases panicked"));
        ended.into_iter().flatten().collect()
    });
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
