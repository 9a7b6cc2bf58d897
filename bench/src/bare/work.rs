//! Work off what comes.

use std::{
    collections::BTreeSet,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use futures_util::{StreamExt, future::join_all};
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicCancelOptions},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::interval,
};
use uuid::Uuid;

use super::{
    At, Figure, broker,
    load::{Load, Shape},
    store::{Ended, Store},
};
use crate::span::Span;

const CHUNK: usize = 256;
const SAY_EVERY: Duration = Duration::from_millis(10);

/// What is told of every job that starts.
pub(super) type OnStart = Arc<dyn Fn(&Load) + Send + Sync>;

pub(super) async fn run(at: &At, slots: u16, shape: &Shape) -> Result<()> {
    let connection = broker::connect(&at.broker).await?;
    let store = Store::connect(&at.store).await?;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let on_start: OnStart = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let span = Span::start();
    let mut worker = Worker::start(&connection, &store, slots, shape, on_start).await?;
    println!("ready");
    tokio::select! {
        () = tell(&count) => {}
        error = worker.failed() => return Err(error),
    }
    worker.drain().await?;
    // An acknowledgement is out once the connection has said goodbye.
    connection.close(200, "done".into()).await?;
    Figure::of_span("work", count.load(Ordering::Relaxed), &span).print()
}

/// Prints how many jobs have started, whenever there are more, until stdin ends.
async fn tell(count: &AtomicUsize) {
    let mut end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let mut ticks = interval(SAY_EVERY);
    let mut said = 0;
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = ticks.tick() => {
                let now = count.load(Ordering::Relaxed);
                if now != said {
                    println!("{now}");
                }
                said = now;
            }
        }
    }
}

/// The consumers of one process: a channel for each queue of the broker.
pub(super) struct Worker {
    consumers: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
}

impl Worker {
    pub(super) async fn start(
        connection: &lapin::Connection,
        store: &Store,
        slots: u16,
        shape: &Shape,
        on_start: OnStart,
    ) -> Result<Self> {
        broker::declare(connection, shape.all_queues()).await?;
        let (stop, stopped) = watch::channel(false);
        let name = Uuid::now_v7().to_string();
        let mut consumers = JoinSet::new();
        for queue in shape.all_queues() {
            let prefetch = slots.saturating_mul(2);
            let (channel, consumer) = broker::consume(connection, &queue, prefetch).await?;
            let (store, on_start) = (store.clone(), on_start.clone());
            let lane = Lane {
                channel,
                store,
                on_start,
                worker: name.clone(),
            };
            consumers.spawn(Arc::new(lane).run(consumer, stopped.clone()));
        }
        Ok(Self { consumers, stop })
    }

    /// Why a consumer ended before it was told to.
    async fn failed(&mut self) -> anyhow::Error {
        match self.consumers.join_next().await {
            Some(Ok(Err(error))) => error,
            other => anyhow!("a consumer is gone: {other:?}"),
        }
    }

    /// Finishes what is here, and ends.
    pub(super) async fn drain(mut self) -> Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.consumers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

struct Lane {
    channel: Channel,
    store: Store,
    on_start: OnStart,
    worker: String,
}

impl Lane {
    async fn run(
        self: Arc<Self>,
        consumer: Consumer,
        mut stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let (settled, to_settle) = mpsc::unbounded_channel();
        let acks = tokio::spawn(acknowledge(self.channel.clone(), to_settle));
        let tag = consumer.tag();
        let mut chunks = consumer.ready_chunks(CHUNK);
        let mut working = JoinSet::new();
        let mut stopping = false;
        loop {
            tokio::select! {
                chunk = chunks.next() => {
                    let Some(chunk) = chunk else { break };
                    let chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
                    working.spawn(self.clone().work(chunk, settled.clone()));
                }
                Some(ended) = working.join_next() => ended??,
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    let options = BasicCancelOptions { nowait: false };
                    self.channel.basic_cancel(tag.clone(), options).await?;
                }
            }
        }
        while let Some(ended) = working.join_next().await {
            ended??;
        }
        drop(settled);
        acks.await??;
        Ok(self.channel.close(200, "done".into()).await?)
    }

    /// Claims, runs and records a chunk; then its deliveries may go.
    async fn work(
        self: Arc<Self>,
        chunk: Vec<Delivery>,
        settled: mpsc::UnboundedSender<Vec<u64>>,
    ) -> Result<()> {
        let ids = chunk.iter().map(id_of).collect::<Result<Vec<_>>>()?;
        let attempts = self.store.claim(&ids, &self.worker).await?;
        let jobs = chunk
            .iter()
            .zip(attempts)
            .filter(|(_, attempt)| *attempt > 0);
        let ends = join_all(jobs.map(|(delivery, attempt)| self.attempt(delivery, attempt))).await;
        self.store
            .finish(&ends.into_iter().collect::<Result<Vec<_>>>()?)
            .await?;
        let tags = chunk.iter().map(|delivery| delivery.delivery_tag);
        settled.send(tags.collect())?;
        Ok(())
    }

    async fn attempt(&self, delivery: &Delivery, attempt: u64) -> Result<Ended> {
        let load: Load = serde_json::from_slice(&delivery.data)?;
        (self.on_start)(&load);
        let result = load.handle().await;
        Ok(Ended {
            id: id_of(delivery)?.to_owned(),
            attempt,
            result: serde_json::to_string(&result)?,
        })
    }
}

fn id_of(delivery: &Delivery) -> Result<&str> {
    let id = delivery.properties.message_id().as_ref();
    Ok(id
        .ok_or_else(|| anyhow!("a message without an id"))?
        .as_str())
}

/// Acknowledges as far as everything is done, with `multiple`: tags count from 1 on a channel.
async fn acknowledge(
    channel: Channel,
    mut settled: mpsc::UnboundedReceiver<Vec<u64>>,
) -> Result<()> {
    let (mut done, mut through) = (BTreeSet::new(), 0);
    while let Some(tags) = settled.recv().await {
        done.extend(tags);
        while let Ok(more) = settled.try_recv() {
            done.extend(more);
        }
        let before = through;
        while done.remove(&(through + 1)) {
            through += 1;
        }
        if through > before {
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(through, options).await?;
        }
    }
    Ok(())
}
