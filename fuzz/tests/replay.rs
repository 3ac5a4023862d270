//! Every target over its seeds, its corpus and its past crashes, on stable, without a fuzzer.
//!
//! One input at a time: the bound on memory is of the whole process.

use mainstem_fuzz::{TARGETS, Target, seeds};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, target: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root().join(folder).join(target)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Runs one input. Its name is printed when it fails, and the panic goes on.
fn check(target: &Target, name: &str, data: &[u8]) {
    let result = std::panic::catch_unwind(|| target.check(data));
    if let Err(cause) = result {
        eprintln!("{}: {name} breaks a law", target.name);
        std::panic::resume_unwind(cause);
    }
}

#[test]
fn every_seed_corpus_entry_and_past_crash_keeps_the_laws() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let only = std::env::var("FUZZ_TARGET").ok();
    for target in TARGETS {
        if only.as_deref().is_some_and(|only| only != target.name) {
            continue;
        }
        let start = std::time::Instant::now();
        let mut count = 0;
        target.check(&[]);
        for (index, seed) in seeds::of(target.name).iter().enumerate() {
            check(target, &format!("seed {index}"), seed);
            count += 1;
        }
        for path in ["corpus", "crashes"]
            .iter()
            .flat_map(|folder| files(folder, target.name))
        {
            let data = std::fs::read(&path).expect("a file that was listed");
            check(target, &path.display().to_string(), &data);
            count += 1;
        }
        println!(
            "{:16} {count:5} inputs in {:?}",
            target.name,
            start.elapsed()
        );
    }
}
