//! A consumer: one task that takes messages, hands them out, and settles what comes back, in one
//! write each time. While that is on its way, the next verdicts gather.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{
    Inner,
    fault::Fault,
    hub::Wake,
    messages::{Taken, Tap, must_exist, number},
    session,
    writer::{OnDisk, Txn},
};
use crate::{
    job::{Lane, QueueName},
    ports::{Delivery, Fate, Inbox, Settlement, Verdict},
    time::Timestamp,
    wire::{Head, Message},
};

/// Messages taken in one write.
const TAKEN_MAX: usize = 1000;
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Why a consumer ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its inbox was dropped.
    Dropped,
    /// It was declared dead, or the file is closed.
    Lost,
}

struct Consumer {
    inner: Arc<Inner>,
    tap: Tap,
    prefetch: usize,
    wake: Arc<Wake>,
    fates: UnboundedReceiver<Fate>,
    settle: UnboundedSender<Fate>,
    /// By their seq.
    unsettled: HashSet<i64>,
    /// What is to be written of them.
    settled: Vec<(u64, Verdict)>,
    /// Those that nobody has any more: given back when this consumer ends.
    dropped: Vec<u64>,
    /// There may be more in the lane.
    more: bool,
}

/// Starts a consumer.
pub(super) async fn start(
    inner: &Arc<Inner>,
    queue: QueueName,
    lane: Lane,
    prefetch: u16,
) -> Result<Inbox, Fault> {
    let (name, current) = (queue.clone(), inner.session.clone());
    // The session is looked up on the writer's thread, so that two first consumers share one.
    let join = move |txn: &Txn<'_>| {
        must_exist(txn.db, &name)?;
        let known = current.load(Ordering::SeqCst);
        let (session, id) = session::join(txn.db, known, &name, number(lane), Timestamp::now())?;
        current.store(session, Ordering::SeqCst);
        Ok((id, known != 0 && known != session))
    };
    let (id, others_are_lost) = inner.writer.call(1, OnDisk::Soon, join).await?;
    if others_are_lost {
        inner.hub.lose_all();
    }
    let prefetch = usize::from(prefetch.max(1));
    let (inbox, deliveries) = mpsc::channel(prefetch);
    let (settle, fates) = mpsc::unbounded_channel();
    let consumer = Consumer {
        wake: inner.hub.add(id, &queue, number(lane)),
        inner: inner.clone(),
        tap: Tap {
            consumer: id,
            queue,
            lane,
        },
        prefetch,
        fates,
        settle,
        unsettled: HashSet::new(),
        settled: Vec::new(),
        dropped: Vec::new(),
        more: true,
    };
    tokio::spawn(consumer.run(inbox));
    Ok(Inbox(deliveries))
}

impl Consumer {
    async fn run(mut self, inbox: mpsc::Sender<Delivery>) {
        if self.serve(&inbox).await == End::Dropped {
            self.drain().await;
        }
        self.leave().await;
        // Only now: whoever sees the inbox end may count on everything having been given back.
        drop(inbox);
        self.inner.hub.remove(self.tap.consumer);
    }

    fn is_lost(&self) -> bool {
        self.wake.lost.load(Ordering::SeqCst) || self.inner.hub.is_closed()
    }

    async fn serve(&mut self, inbox: &mpsc::Sender<Delivery>) -> End {
        loop {
            if self.is_lost() {
                return End::Lost;
            }
            let settled = self.settled();
            let is_idle = !self.more || self.room(0) == 0;
            if settled.is_empty() && is_idle {
                let mut fates = Vec::new();
                tokio::select! {
                    _ = self.fates.recv_many(&mut fates, TAKEN_MAX) => self.note(fates),
                    () = self.wake.bell.notified() => self.more = true,
                    () = inbox.closed() => return End::Dropped,
                }
                continue;
            }
            if inbox.is_closed() {
                self.settle(settled).await;
                return End::Dropped;
            }
            let want = if self.more {
                self.room(settled.len())
            } else {
                0
            };
            let Some(taken) = self.exchange(settled, want).await else {
                return End::Lost;
            };
            if want > 0 {
                self.more = taken.len() == want;
            }
            self.hand_out(taken, inbox);
        }
    }

    /// How many more may be taken, once so many are settled.
    fn room(&self, settled: usize) -> usize {
        (self.prefetch + settled)
            .saturating_sub(self.unsettled.len())
            .min(TAKEN_MAX)
    }

    fn note(&mut self, fates: Vec<Fate>) {
        for (tag, verdict) in fates {
            match verdict {
                Some(verdict) => self.settled.push((tag, verdict)),
                None => self.dropped.push(tag),
            }
        }
    }

    /// What was settled meanwhile.
    fn settled(&mut self) -> Vec<(u64, Verdict)> {
        let waiting = std::iter::from_fn(|| self.fates.try_recv().ok());
        let waiting = waiting.take(TAKEN_MAX).collect();
        self.note(waiting);
        std::mem::take(&mut self.settled)
    }

    /// Tries until it is written: what was settled must not be forgotten because a disk is full.
    /// Nothing when the consumer is lost.
    async fn exchange(&mut self, settled: Vec<(u64, Verdict)>, want: usize) -> Option<Vec<Taken>> {
        let settled: Arc<[(i64, Verdict)]> = settled
            .into_iter()
            .map(|(tag, verdict)| (tag.cast_signed(), verdict))
            .collect();
        let mut wait = Duration::from_millis(20);
        loop {
            let (tap, verdicts) = (self.tap.clone(), settled.clone());
            let writing =
                self.inner
                    .writer
                    .call(1 + settled.len() + want, OnDisk::Soon, move |txn| {
                        tap.exchange(txn.db, &verdicts, want)
                    });
            match writing.await {
                Ok(taken) => {
                    for (seq, _) in settled.iter() {
                        self.unsettled.remove(seq);
                    }
                    return taken;
                }
                Err(_) if self.inner.hub.is_closed() => return None,
                Err(fault) => {
                    let queue = &self.tap.queue;
                    tracing::warn!(%queue, ?fault, "cannot take and settle; tries again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        }
    }

    async fn settle(&mut self, settled: Vec<(u64, Verdict)>) {
        if settled.is_empty() {
            return;
        }
        let released = settled.iter().any(|it| it.1 == Verdict::Release);
        self.exchange(settled, 0).await;
        if released {
            self.inner.hub.wake(&self.tap.queue, number(self.tap.lane));
        }
    }

    fn hand_out(&mut self, taken: Vec<Taken>, inbox: &mpsc::Sender<Delivery>) {
        for message in taken {
            self.unsettled.insert(message.seq);
            let tag = message.seq.cast_unsigned();
            let delivery = Delivery {
                returned: u32::try_from(message.deliveries).unwrap_or(u32::MAX),
                published: None,
                message: read(message),
                origin: (self.tap.queue.clone(), self.tap.lane),
                given_up: None,
                settlement: Settlement::new(tag, self.settle.clone()),
            };
            // There is room for all that may be unsettled. Where the inbox is gone, it is dropped.
            let _ = inbox.try_send(delivery);
        }
    }

    /// The inbox is gone, and what was in it dropped. Gives that back, and settles the rest as it
    /// comes.
    async fn drain(&mut self) {
        while !self.unsettled.is_empty() && !self.is_lost() {
            let mut settled = self.settled();
            let back = |tag| (tag, Verdict::Release);
            settled.extend(self.dropped.drain(..).map(back));
            if settled.is_empty() {
                let mut fates = Vec::new();
                tokio::select! {
                    _ = self.fates.recv_many(&mut fates, TAKEN_MAX) => self.note(fates),
                    () = self.wake.bell.notified() => {}
                }
            }
            self.settle(settled).await;
        }
    }

    async fn leave(&mut self) {
        let settled = self.settled();
        let closed = self.inner.hub.is_closed();
        self.settle(settled).await;
        let id = self.tap.consumer;
        let left = self
            .inner
            .writer
            .call(1, OnDisk::Soon, move |txn| session::leave(txn.db, id));
        if let Err(fault) = left.await
            && !closed
        {
            let queue = &self.tap.queue;
            tracing::warn!(%queue, ?fault, "a consumer could not say goodbye");
        }
        if !self.unsettled.is_empty() {
            self.inner.hub.wake(&self.tap.queue, number(self.tap.lane));
        }
    }
}

/// A message as it was written. A head that cannot be read is left empty, and what comes of that
/// is for the rules to decide: nothing is dropped here.
fn read(taken: Taken) -> Message {
    let head: Head = serde_json::from_str(&taken.head).unwrap_or_else(|error| {
        tracing::warn!(seq = taken.seq, %error, "the head of a message cannot be read");
        Head::default()
    });
    Message {
        head,
        body: taken.body.into(),
    }
}
