//! A canary: a tiny job that goes all the way through a queue now and then, and is timed. It finds
//! out what no figure of a part shows: that jobs do get done.

use std::time::{Duration, Instant};

use haul_common::{job::json, metrics::families};
use haul_producer::{Producer, QueueName};
use haul_worker::tasks::echo::Echo;

use super::look::unix_now;

/// Long enough to be found while it runs; no more is wanted of it.
const RETENTION: Duration = Duration::from_secs(60);

/// Sends one, waits for it, and so on. There is one at a time, so that they never pile up.
pub(super) async fn run(producer: Producer, queue: QueueName, every: Duration) {
    let (label, families) = ([&*queue], families::get());
    // Late from now on, should none ever come back.
    let success = families.canary_success.with_label_values(&label);
    success.set(unix_now());
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let since = Instant::now();
        match send(&producer, &queue, every).await {
            Ok(()) => {
                let took = families.canary_took.with_label_values(&label);
                took.set(since.elapsed().as_secs_f64());
                success.set(unix_now());
            }
            Err(error) => tracing::warn!(%queue, %error, "the canary did not come back"),
        }
    }
}

async fn send(producer: &Producer, queue: &QueueName, limit: Duration) -> anyhow::Result<()> {
    let canary = producer
        .submit(Echo(json(&"canary")?))
        .queue(&**queue)
        .attempts(1)
        .retention(RETENTION)
        .tag("canary");
    let job = canary.await?;
    let done = job.wait(limit).await;
    if done.is_err() {
        // Nobody waits for it any more; if that fails too, it is done some time, or forgotten.
        let _ = job.cancel().await;
    }
    done?;
    Ok(())
}
