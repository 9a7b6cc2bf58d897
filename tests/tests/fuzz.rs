//! A little of what the command `fuzz` does, with a seed of its own every time.

use haul_tests::{
    fuzz::{Plan, run, targets},
    worker_process::peak_memory_kib,
};

#[test]
fn no_input_makes_a_decoder_fail() {
    let plan = Plan {
        seed: fastrand::u64(..),
        inputs: 40_000,
        threads: 2,
        keep: std::env::temp_dir().join("haul-fuzz"),
    };
    for target in targets() {
        let report = run(&target, &plan);
        let (name, seed) = (target.name, plan.seed);
        assert!(
            report.failures.is_empty(),
            "{name}, seed {seed}: {:#?}",
            report.failures
        );
        assert!(
            report.accepted > 0,
            "{name}, seed {seed}: nothing was accepted"
        );
        assert!(
            report.refused > 0,
            "{name}, seed {seed}: nothing was refused"
        );
    }
    let peak = peak_memory_kib("self") / 1024;
    assert!(peak < 256, "{peak} MiB");
}
