//! Generated worlds: nothing is found, and all of them repeat.

use mainstem_sim::{Plan, Profile, World};

/// How many seeds of each profile run here; the gate runs more.
const SEEDS: u64 = 3;

#[test]
fn generated_worlds_of_every_profile_have_no_finding() {
    for profile in Profile::ALL {
        for seed in 0..SEEDS {
            let plan = Plan::generate(seed, profile);
            let report = World::new(&plan).unwrap().run();
            assert_eq!(report.findings, Vec::new(), "{profile} {seed}");
        }
    }
}
