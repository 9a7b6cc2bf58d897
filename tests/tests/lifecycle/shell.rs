//! Shell jobs and stored scripts, as far as the pair of backends or a second worker matters.

use std::time::Duration;

use haul_common::{
    job::{Reason, Script, StateKind, Task},
    time::Timestamp,
};
use haul_producer::{Backoff, Job, WaitError};
use haul_tests::fleet::{Fleet, LONG, result, until};
use haul_worker::{
    Running, Shell,
    tasks::shell::{ScriptRun, ShellOutput, ShellRules, ShellRun},
};

haul_tests::on_both! {
    a_checkpoint_comes_back_on_another_worker,
    a_stored_script_runs_where_it_is_allowed,
    a_worker_that_is_dropped_leaves_no_process,
}

async fn worker(fleet: &Fleet, rules: impl Into<ShellRules>) -> Running {
    fleet
        .worker(|w| w.queue("default", 4).builtins(rules))
        .await
}

fn shell(script: &str) -> ShellRun {
    ShellRun {
        script: Some(script.to_owned()),
        ..ShellRun::default()
    }
}

async fn submit<T: Task>(fleet: &Fleet, args: T) -> Job<T> {
    let backoff = Backoff::fixed(Duration::from_millis(100)).unwrap();
    fleet.producer.submit(args).backoff(backoff).await.unwrap()
}

async fn a_checkpoint_comes_back_on_another_worker(fleet: Fleet) {
    let first = worker(&fleet, Shell::Allowed).await;
    let script = "if [ -e $HAUL_CHECKPOINT ]; then cat $HAUL_CHECKPOINT; exit; fi
        echo row 7 > $HAUL_CHECKPOINT; echo written; exec sleep 300";
    let job = submit(&fleet, shell(script)).await;
    fleet
        .once(job.id(), "its checkpoint is written", |record| {
            record.log.contains("written")
        })
        .await;
    let second = worker(&fleet, Shell::Allowed).await;
    // Given back: no attempt is spent.
    first.abort();
    first.finished().await.unwrap();
    let output: ShellOutput = result(&job).await;
    assert_eq!(output.stdout, "row 7\n");
    let record = fleet.find(job.id()).await;
    assert_eq!(record.life.attempt, 1);
    let last = record.attempts.last().map(|attempt| attempt.worker.clone());
    assert_eq!(last.as_ref(), Some(second.id()));
}

async fn a_stored_script_runs_where_it_is_allowed(fleet: Fleet) {
    let store = &fleet.backend().store;
    let text = "#!/bin/sh\necho \"$HAUL_SCRIPT $1\"\n".to_owned();
    let script = Script::new("greet".parse().unwrap(), text, Timestamp::now()).unwrap();
    store.keep_script(script.clone()).await.unwrap();
    let job = || ScriptRun {
        name: script.name.clone(),
        version: Some(script.version.clone()),
        args: vec!["you".to_owned()],
        stdin: None,
        env: Default::default(),
        cwd: None,
        limits: Default::default(),
    };
    let refuses = worker(&fleet, ShellRules::anything().scripts(false)).await;
    let refused = submit(&fleet, job()).await;
    let ended = refused.wait(LONG).await;
    let dead = |error: &WaitError| matches!(error, WaitError::Dead { .. });
    assert!(ended.as_ref().is_err_and(dead), "{ended:?}");
    let record = fleet.find(refused.id()).await;
    assert_eq!(record.life.state.reason(), Some(Reason::Rejected));
    refuses.drain();
    refuses.finished().await.unwrap();
    let _worker = worker(&fleet, ShellRules::nothing().scripts(true)).await;
    let output: ShellOutput = result(&submit(&fleet, job()).await).await;
    assert_eq!(output.stdout, "greet you\n");
    assert_eq!(output.script_version, Some(script.version.clone()));
    // Scripts alone are allowed there.
    let other = submit(&fleet, shell("true")).await;
    let record = fleet.reaches(other.id(), StateKind::Dead).await;
    assert_eq!(record.life.state.reason(), Some(Reason::Rejected));
}

async fn a_worker_that_is_dropped_leaves_no_process(fleet: Fleet) {
    let running = worker(&fleet, Shell::Allowed).await;
    let script = "setsid sleep 300 & echo $!; echo $$; exec sleep 300";
    let job = submit(&fleet, shell(script)).await;
    let record = fleet
        .once(job.id(), "its processes are there", |record| {
            record.log.lines().count() == 2
        })
        .await;
    drop(running);
    let runs = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default().to_owned();
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    };
    until("both processes are gone", || async {
        !record.log.lines().any(runs)
    })
    .await;
}
