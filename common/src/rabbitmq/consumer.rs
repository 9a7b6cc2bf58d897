//! One consumer: a channel of its own, and the task that owns it.
//!
//! ```text
//! consuming ── inbox dropped ─► leaving (cancelled; unread deliveries given back)
//!     │                             │ everything handed out is settled or dropped
//!     │ stream ends, any error      ▼
//!     └──────────────────────────► over: channel closed, unsettled deliveries come again
//! ```
//! Each delivery settles through a little channel of its own, so that one dropped unread is told
//! apart from one that is still worked on.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{
    FutureExt,
    future::{BoxFuture, try_join_all},
    stream::{FuturesUnordered, StreamExt},
};
use lapin::{
    Channel, Consumer,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::FieldTable,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ANSWER, convert, errors,
    link::Link,
    settle::{Frame, group},
};
use crate::{
    ports::{BrokerError, Delivery, Inbox, Settlement, Source, Verdict},
    wire::topology::Namespace,
};

/// All consumers of this process.
#[derive(Debug)]
pub(super) struct Consumers {
    link: Arc<Link>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Consumers {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Tells the broker what was settled until now, and ends them all.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = timeout(ANSWER, self.tasks.wait()).await;
    }

    /// Starts one.
    pub(super) async fn start(
        &self,
        names: &Namespace,
        source: Source,
        prefetch: u16,
    ) -> Result<Inbox, BrokerError> {
        let (task, inbox) = prepare(&self.link, names, source, prefetch).await?;
        self.tasks.spawn(task.run(self.stop.clone()));
        Ok(inbox)
    }
}

async fn prepare(
    link: &Link,
    names: &Namespace,
    source: Source,
    prefetch: u16,
) -> Result<(Task, Inbox), BrokerError> {
    // Zero would mean no limit at all, and the library buffers without one.
    let prefetch = prefetch.max(1);
    let queue = match &source {
        Source::Lane(queue, lane) => names.work_queue(queue, *lane),
        Source::Unrouted => names.unrouted(),
    };
    let (_, channel) = link.channel().await?;
    let started = timeout(ANSWER, subscribe(&channel, &queue, prefetch)).await;
    let stream = match started {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(errors::of_request(link.address(), &queue, &error)),
        // Not the connection's fault, most likely, but a queue's without a leader: the other
        // consumers stay. A dead connection is found by its heartbeat.
        Err(_) => return Err(errors::overdue(link.address(), &queue)),
    };
    // As many places as there can be unsettled deliveries: handing out never waits.
    let (inbox, outlet) = mpsc::channel(prefetch.into());
    let task = Task {
        source,
        queue,
        channel,
        stream,
        inbox,
        outstanding: BTreeSet::new(),
        fates: FuturesUnordered::new(),
        leaving: false,
    };
    Ok((task, Inbox(outlet)))
}

async fn subscribe(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    // For each consumer, which is the only kind that quorum queues have.
    let each = BasicQosOptions { global: false };
    channel.basic_qos(prefetch, each).await?;
    let options = BasicConsumeOptions {
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
    };
    channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await
}

/// A delivery's tag and its verdict; none when it was dropped unsettled.
type Fate = (u64, Option<Verdict>);

struct Task {
    source: Source,
    queue: String,
    channel: Channel,
    stream: Consumer,
    inbox: mpsc::Sender<Delivery>,
    /// Tags that the broker waits for.
    outstanding: BTreeSet<u64>,
    /// One for each delivery that was handed out and whose fate is open.
    fates: FuturesUnordered<BoxFuture<'static, Fate>>,
    leaving: bool,
}

/// Why a consumer ends before its time.
#[derive(Debug)]
struct Lost(String);

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let end = tokio::select! {
            end = self.work() => end,
            () = stop.cancelled() => Ok(()),
        };
        let end = match end {
            // What is settled already may still be under way to us.
            Ok(()) => self.settle_what_is_known().await,
            lost => lost,
        };
        // The inbox ends first: nobody should start on what is already somebody else's.
        let Self { channel, inbox, .. } = self;
        drop(inbox);
        if let Err(Lost(why)) = end {
            tracing::warn!(queue = %self.queue, why, "consumer lost");
        }
        // Everything unsettled comes again.
        if channel.status().connected() {
            let _ = timeout(ANSWER, channel.close(200, "done".into())).await;
        }
    }

    async fn work(&mut self) -> Result<(), Lost> {
        loop {
            tokio::select! {
                Some(fate) = self.fates.next() => self.settle(fate).await?,
                came = self.stream.next(), if !self.leaving => match came {
                    Some(Ok(delivery)) => self.hand_out(delivery).await?,
                    Some(Err(error)) => return Err(Lost(error.to_string())),
                    // By the broker: the queue is gone, or our time is up and our deliveries with
                    // it.
                    None => return Err(Lost("the broker cancelled it".to_owned())),
                },
                () = self.inbox.closed(), if !self.leaving => self.leave().await?,
                else => {}
            }
            if self.leaving && self.fates.is_empty() {
                return Ok(());
            }
        }
    }

    async fn hand_out(&mut self, incoming: lapin::message::Delivery) -> Result<(), Lost> {
        let tag = incoming.delivery_tag;
        self.outstanding.insert(tag);
        let (verdicts, mut fate) = mpsc::unbounded_channel();
        let settlement = Settlement::new(tag, verdicts);
        let delivery = convert::incoming(incoming, &self.source, settlement);
        match self.inbox.try_send(delivery) {
            Ok(()) => {
                let fate = async move { (tag, fate.recv().await.map(|(_, verdict)| verdict)) };
                self.fates.push(fate.boxed());
                Ok(())
            }
            Err(TrySendError::Closed(_)) => self.tell(&[(tag, Verdict::Release)]).await,
            Err(TrySendError::Full(_)) => Err(Lost("the broker went over the prefetch".into())),
        }
    }

    /// Settles whatever was settled meanwhile.
    async fn settle_what_is_known(&mut self) -> Result<(), Lost> {
        match self.fates.next().now_or_never().flatten() {
            Some(fate) => self.settle(fate).await,
            None => Ok(()),
        }
    }

    /// Settles this one and whatever else was settled meanwhile.
    async fn settle(&mut self, first: Fate) -> Result<(), Lost> {
        let mut settled = Vec::new();
        let mut next = Some(first);
        while let Some((tag, verdict)) = next {
            match verdict {
                Some(verdict) => settled.push((tag, verdict)),
                // Dropped by a worker that left: given back now. By one that did not: a handler
                // was lost, and its delivery waits for the consumer's end.
                None if self.inbox.is_closed() => settled.push((tag, Verdict::Release)),
                None => {}
            }
            next = self.fates.next().now_or_never().flatten();
        }
        self.tell(&settled).await
    }

    /// Nobody reads the inbox any more.
    async fn leave(&mut self) -> Result<(), Lost> {
        self.leaving = true;
        let options = BasicCancelOptions { nowait: false };
        let cancel = self.channel.basic_cancel(self.stream.tag(), options);
        answered(timeout(ANSWER, cancel).await)?;
        // What arrived before the cancel was answered. Then the stream ends.
        while let Some(came) = self.stream.next().await {
            match came {
                Ok(delivery) => self.hand_out(delivery).await?,
                Err(error) => return Err(Lost(error.to_string())),
            }
        }
        Ok(())
    }

    /// Tells the broker. Several frames are in flight together; they go out in this order.
    async fn tell(&mut self, settled: &[(u64, Verdict)]) -> Result<(), Lost> {
        let frames = group(&mut self.outstanding, settled);
        let sent = try_join_all(frames.into_iter().map(|frame| send(&self.channel, frame)));
        answered(timeout(ANSWER, sent).await).map(|_| ())
    }
}

fn answered<T>(result: Result<lapin::Result<T>, tokio::time::error::Elapsed>) -> Result<T, Lost> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Lost(error.to_string())),
        Err(_) => Err(Lost("the broker took too long".to_owned())),
    }
}

async fn send(channel: &Channel, frame: Frame) -> lapin::Result<()> {
    match frame {
        Frame::AckThrough(tag) => {
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(tag, options).await
        }
        Frame::Ack(tag) => {
            let options = BasicAckOptions { multiple: false };
            channel.basic_ack(tag, options).await
        }
        Frame::Release(tag) => {
            let options = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            channel.basic_nack(tag, options).await
        }
    }
}
