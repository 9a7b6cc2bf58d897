//! The checker of the chaos suite can fail: that is seen with every change, not only when somebody
//! runs `tests/chaos bugs`.

use std::process::Command;

/// What a job does follows from it: some are cancelled long before they are due.
const SEED: &str = "5";

#[test]
fn a_planted_bug_is_caught_in_what_a_real_run_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["bugs", "--scenario", "brief", "--seed", SEED, "--keep"])
        .arg(dir.path())
        .output()
        .unwrap();
    let table = String::from_utf8(run.stdout).unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{table}{said}");
    for (bug, sign) in [
        ("no bug", ""),
        ("cancel-forgotten", "cancelled_but_started"),
        ("ended-runs-again", "accepted_twice"),
    ] {
        let row = table.lines().find(|row| row.contains(bug));
        let row = row.unwrap_or_else(|| panic!("no row of `{bug}`:\n{table}"));
        assert!(row.contains(sign), "{row}");
    }
}
