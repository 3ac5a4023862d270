//! The plans of `sim/regressions/`: what once went wrong, each by the name of the behaviour.

use mainstem_sim::Plan;
use mainstem_sim::trace::Recording;
use mainstem_sim::world::run_plan;
use std::path::{Path, PathBuf};

/// Every kept plan, with its file.
pub(crate) fn kept() -> Vec<(PathBuf, Plan)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let plan = Plan::from_json(&text);
        assert!(plan.is_ok(), "{}: {plan:?}", file.display());
        (file, plan.unwrap())
    };
    files.into_iter().map(read).collect()
}

#[test]
fn nothing_that_once_went_wrong_does_so_again() {
    let kept = kept();
    assert!(!kept.is_empty(), "no plan was read");
    for (file, plan) in kept {
        let report = run_plan(&plan, Recording::Nothing).unwrap();
        assert_eq!(report.findings, Vec::new(), "{}", file.display());
    }
}

#[test]
fn a_kept_plan_says_what_it_shows() {
    for (file, plan) in kept() {
        assert!(!plan.about.is_empty(), "{} has no about", file.display());
    }
}
