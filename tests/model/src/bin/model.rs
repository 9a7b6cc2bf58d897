//! Checks all configurations, or those whose names contain a word; prints a table.

use std::process::ExitCode;

use haul_model::{check, configs};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let all = configs::small().into_iter().chain(configs::large());
    let mut failed = false;
    println!(
        "| {:<34} | {:>10} | {:>5} | {:>9} |       |",
        "may go wrong", "states", "depth", "time"
    );
    println!(
        "|{:-<36}|{:->11}:|{:->6}:|{:->10}:|-------|",
        "", "", "", ""
    );
    for rules in all.filter(|rules| wanted(rules.name)) {
        let report = check(&rules);
        println!("{report}");
        for failure in &report.failed {
            failed = true;
            println!("{failure}");
        }
    }
    ExitCode::from(u8::from(failed))
}
