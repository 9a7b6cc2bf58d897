//! One consumer: a channel of its own, and the task that owns it.
//!
//! ```text
//! consuming ── inbox dropped ─► leaving (cancelled; unread deliveries given back)
//!     │                             │ everything handed out is settled or dropped
//!     │ stream ends, any error      ▼
//!     └──────────────────────────► over: channel closed, unsettled deliveries come again
//! ```
//! Acknowledgements are in no hurry, and each one costs the broker as much as a message: those that
//! come at about the same time go together.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::try_join_all, stream::StreamExt};
use lapin::{
    Channel, Consumer,
    message::Delivery as Incoming,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::FieldTable,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::yield_now,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ANSWER, convert, errors,
    gather::Gather,
    link::Link,
    settle::{Frame, Tags},
};
use crate::{
    ports::{BrokerError, Delivery, Fate, Inbox, Settlement, Source, Verdict},
    wire::topology::Namespace,
};

/// How long a few acknowledgements wait for more: nobody waits for them, with many lanes few come at
/// once, and each costs the broker as much as several jobs. What is done out of order waits once more,
/// unless it is much. A worker that is killed meanwhile gets them again, and finds in their records that
/// they have ended.
const GATHER: Duration = Duration::from_millis(100);
/// This part of the prefetch is not few: with half of it running, the broker is to have what to deliver.
const FEW: u16 = 3;
/// Fates that are looked at together.
const FATES: usize = 1024;

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
    let (settle, fates) = mpsc::unbounded_channel();
    let task = Task {
        source,
        queue,
        channel,
        stream,
        inbox,
        tags: Tags::default(),
        out: 0,
        settle,
        fates,
        many: usize::from(prefetch / FEW).max(1),
        gather: Gather::new(GATHER),
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

struct Task {
    source: Source,
    queue: String,
    channel: Channel,
    stream: Consumer,
    inbox: mpsc::Sender<Delivery>,
    tags: Tags,
    /// Deliveries that were handed out and whose fate is open.
    out: usize,
    settle: mpsc::UnboundedSender<Fate>,
    fates: mpsc::UnboundedReceiver<Fate>,
    /// So many acknowledgements are told at once.
    many: usize,
    /// When those that wait are told.
    gather: Gather,
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
            Ok(()) => {
                self.note(Vec::new());
                let frames = self.tags.all();
                self.tell(frames).await
            }
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
        let mut fates = Vec::new();
        while !self.leaving || self.out > 0 {
            tokio::select! {
                _ = self.fates.recv_many(&mut fates, FATES) => {
                    // Whoever is about to settle as well goes first.
                    yield_now().await;
                    self.note(std::mem::take(&mut fates));
                    if self.tags.is_due(self.many) {
                        let frames = self.tags.ready(self.many);
                        self.tell(frames).await?;
                    }
                    self.gather.pace(self.tags.waits());
                }
                () = self.gather.rings() => {
                    let frames = self.tags.overdue();
                    self.tell(frames).await?;
                    self.gather.pace(self.tags.waits());
                }
                came = self.stream.next(), if !self.leaving => self.take(came)?,
                () = self.inbox.closed(), if !self.leaving => self.leave().await?,
            }
        }
        Ok(())
    }

    /// Hands out what came, and what is there already behind it.
    fn take(&mut self, mut came: Option<lapin::Result<Incoming>>) -> Result<(), Lost> {
        loop {
            match came {
                Some(Ok(delivery)) => self.hand_out(delivery)?,
                Some(Err(error)) => return Err(Lost(error.to_string())),
                // By the broker: the queue is gone, or our time is up and our deliveries with it.
                None => return Err(Lost("the broker cancelled it".to_owned())),
            }
            match self.stream.next().now_or_never() {
                Some(next) => came = next,
                None => return Ok(()),
            }
        }
    }

    fn hand_out(&mut self, incoming: Incoming) -> Result<(), Lost> {
        let tag = incoming.delivery_tag;
        self.tags.came(tag);
        self.out += 1;
        let settlement = Settlement::new(tag, self.settle.clone());
        let delivery = convert::incoming(incoming, &self.source, settlement);
        match self.inbox.try_send(delivery) {
            // Where nobody reads any more, it was dropped just now, and goes back.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Lost("the broker went over the prefetch".into())),
        }
    }

    /// Takes down these fates, and all that came after them.
    fn note(&mut self, fates: Vec<Fate>) {
        let came = std::iter::from_fn(|| self.fates.try_recv().ok());
        for (tag, verdict) in fates.into_iter().chain(came) {
            self.out -= 1;
            match verdict {
                Some(verdict) => self.tags.settle(tag, verdict),
                // Dropped by a worker that left: given back now. By one that did not: a handler
                // was lost, and its delivery waits for the consumer's end.
                None if self.inbox.is_closed() => self.tags.settle(tag, Verdict::Release),
                None => {}
            }
        }
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
                Ok(delivery) => self.hand_out(delivery)?,
                Err(error) => return Err(Lost(error.to_string())),
            }
        }
        Ok(())
    }

    /// Tells the broker. Several frames are in flight together; they go out in this order.
    async fn tell(&mut self, frames: Vec<Frame>) -> Result<(), Lost> {
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
