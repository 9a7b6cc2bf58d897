//! Work off whatever comes, until stdin ends; say how far it is meanwhile.
//!
//! Several of these work together: whoever starts them adds up what they say, and ends them all.

use std::{io::Read, time::Duration};

use anyhow::Result;
use haul_producer::Backend;
use haul_worker::{Urls, Worker};
use tokio::time::interval;

use super::{
    Figure,
    load::{Run, Shape},
    span::Span,
};

const SAY_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn run(backend: Backend, urls: Urls, slots: u32, shape: Shape) -> Result<()> {
    let run = Run::of_all(backend.clone(), shape);
    let worker = Worker::connect(urls).await?;
    let span = Span::start();
    let worker = run.work(worker, slots, None).await?;
    worker.ready().await;
    println!("ready");
    tell(&run).await;
    worker.drain();
    worker.finished().await?;
    let jobs = run.count();
    Figure::of_span(&backend, "work", jobs, &span).print()
}

/// Prints how many jobs have started, whenever there are more, until stdin ends.
async fn tell(run: &Run) {
    let mut said = 0;
    let mut end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let mut ticks = interval(SAY_EVERY);
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = ticks.tick() => {
                let count = run.count();
                if count != said {
                    println!("{count}");
                }
                said = count;
            }
        }
    }
}
