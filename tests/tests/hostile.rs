//! A little of what the command `hostile` does. How long good jobs take is for a quiet machine.

use haul_tests::{
    hostile::{Plan, run},
    site::{Kind, Site},
    worker_process::{Settings, WorkerProcess},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_kept_and_good_ones_done() {
    let site = Site::of(Kind::Fleet).await;
    let mut worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let plan = Plan {
        count: 2000,
        rate: 400,
    };
    let report = run(&site, &mut worker, plan).await;
    assert!(report.worker_mib < 1024, "{report:?}");
}
