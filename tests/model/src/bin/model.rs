//! x
use haul_model::{Budget, Rules, explore};
use stateright::{Checker, Model};
use std::time::Instant;
fn main() {
    let z = Budget::default();
    let all: Vec<Rules> = vec![
        Rules::new("calm", z),
        Rules::new("crash1", Budget { crashes: 1, ..z }),
        Rules::new("crash2", Budget { crashes: 2, ..z }),
        Rules::new("freeze", Budget { pauses: 1, ..z }),
        Rules::new(
            "freezecancel",
            Budget {
                pauses: 1,
                cancels: 1,
                ..z
            },
        ),
        Rules::new("rollback", Budget { rollbacks: 1, ..z }),
        Rules::new(
            "rollback crash",
            Budget {
                rollbacks: 1,
                crashes: 1,
                ..z
            },
        ),
        Rules::new(
            "wipe",
            Budget {
                wipes: 1,
                crashes: 1,
                ..z
            },
        ),
        Rules::new(
            "cancel redrive",
            Budget {
                cancels: 1,
                redrives: 1,
                crashes: 1,
                ..z
            },
        ),
        Rules::new(
            "conf",
            Budget {
                confirms: 1,
                answers: 1,
                crashes: 1,
                ..z
            },
        ),
        Rules::new(
            "guard",
            Budget {
                guards: 1,
                crashes: 1,
                ..z
            },
        ),
        Rules::new(
            "copies",
            Budget {
                copies: 1,
                cuts: 1,
                ..z
            },
        ),
    ];
    let only: Vec<String> = std::env::args().skip(1).collect();
    for r in all {
        if !only.is_empty() && !only.iter().any(|o| o == r.name) {
            continue;
        }
        let t = Instant::now();
        let c = r.clone().checker().threads(1).spawn_bfs().join();
        println!(
            "{}: states {} depth {} {:?}",
            r.name,
            c.unique_state_count(),
            c.max_depth(),
            t.elapsed()
        );
        for (n, p) in c.discoveries() {
            println!("  FAILED {n}");
            for a in p.clone().into_actions() {
                println!("     {a:?}");
            }
            println!("     {:?}", p.last_state());
        }
        let t = Instant::now();
        let e = explore(&r);
        println!(
            "   explored {} depth {} {:?} trap {}",
            e.states,
            e.depth,
            t.elapsed(),
            e.trap.is_some()
        );
        if let Some((a, w)) = e.trap {
            for a in a {
                println!("     {a:?}");
            }
            println!("     {w:?}");
        }
        println!("   seen {:?}", r.seen());
    }
}
