//! Ticks: one subscribing connection for the process, however many watch.
//!
//! A tick carries nothing; whoever watches looks again. When the connection is lost, the loop
//! connects anew, subscribes to everything again and then ticks everybody, for what happened in
//! between went unheard. A ping finds out about a line that is dead without saying so.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::redis::aio::{PubSubSink, PubSubStream};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{fault, link::Link, sentinel::Demotions};
use crate::ports::StoreError;

const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the line is tried, and watches that nobody holds any more are given up.
const ROUND: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 512;

type Ticks = watch::Receiver<u64>;

struct Request {
    channel: String,
    answer: oneshot::Sender<Ticks>,
}

/// Where watches are asked for.
#[derive(Debug)]
pub(super) struct Watches {
    requests: mpsc::Sender<Request>,
    link: Arc<Link>,
}

impl Watches {
    /// The place to ask, and the task behind it. That ends when the place is gone, or `closing`
    /// trips.
    pub(super) fn new(
        link: Arc<Link>,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, asked) = mpsc::channel(AT_ONCE);
        let watcher = Watcher {
            asked,
            ticks: HashMap::new(),
            link: Arc::clone(&link),
            pause: pauses(),
        };
        (Self { requests, link }, async move {
            closing.run_until_cancelled(watcher.run()).await;
        })
    }

    /// Ticks of a channel; what happens after it returns is noticed.
    pub(super) async fn watch(&self, channel: String) -> Result<Ticks, StoreError> {
        let asking = async {
            let (answer, answered) = oneshot::channel();
            self.requests.send(Request { channel, answer }).await.ok()?;
            answered.await.ok()
        };
        match timeout(PATIENCE, asking).await {
            Ok(Some(ticks)) => Ok(ticks),
            Ok(None) => Err(self.link.unreachable("the store is closed here")),
            Err(_) => Err(self.link.late(PATIENCE)),
        }
    }
}

fn pauses() -> backon::ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

/// A connection that hears what others publish.
struct Line {
    sink: PubSubSink,
    stream: PubSubStream,
    demotions: Demotions,
}

struct Watcher {
    asked: mpsc::Receiver<Request>,
    ticks: HashMap<String, watch::Sender<u64>>,
    link: Arc<Link>,
    pause: backon::ExponentialBackoff,
}

impl Watcher {
    async fn run(mut self) {
        while !self.asked.is_closed() {
            match self.connect().await {
                Ok(line) => {
                    self.pause = pauses();
                    let why = self.listen(line).await;
                    if self.asked.is_closed() {
                        return;
                    }
                    tracing::warn!(store = self.link.at(), why, "the line for watches is lost");
                }
                Err(error) => tracing::debug!(%error, "the line for watches cannot be opened"),
            }
            sleep(self.pause.next().unwrap_or(PATIENCE)).await;
        }
    }

    /// Connects, subscribes to all that is watched, and ticks it.
    async fn connect(&mut self) -> Result<Line, StoreError> {
        let opened = timeout(CONNECT, self.link.pubsub()).await;
        let pubsub = opened.map_err(|_| self.link.late(CONNECT))?;
        let (pubsub, demotions) = pubsub.map_err(|error| fault::of(self.link.at(), &error))?;
        let (mut sink, stream) = pubsub.split();
        self.give_up_unheld(None).await?;
        let channels: Vec<_> = self.ticks.keys().cloned().collect();
        for channels in channels.chunks(AT_ONCE) {
            self.answer(sink.subscribe(channels)).await?;
        }
        for ticks in self.ticks.values() {
            ticks.send_modify(|tick| *tick = tick.wrapping_add(1));
        }
        Ok(Line {
            sink,
            stream,
            demotions,
        })
    }

    async fn answer<T>(
        &self,
        asked: impl Future<Output = ::redis::RedisResult<T>>,
    ) -> Result<T, StoreError> {
        match timeout(ANSWER, asked).await {
            Ok(answer) => answer.map_err(|error| fault::of(self.link.at(), &error)),
            Err(_) => Err(self.link.late(ANSWER)),
        }
    }

    /// Passes ticks on until the line is lost, and says why it is.
    async fn listen(&mut self, line: Line) -> String {
        let Line {
            mut sink,
            mut stream,
            mut demotions,
        } = line;
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests = Vec::with_capacity(AT_ONCE);
        loop {
            let kept = tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return "it was closed".to_owned() };
                    self.tick(message.get_channel_name());
                    continue;
                }
                count = self.asked.recv_many(&mut requests, AT_ONCE) => {
                    if count == 0 {
                        return "nobody needs it".to_owned();
                    }
                    self.subscribe(&mut sink, &mut requests).await
                }
                () = demotions.next() => return "it leads to a former primary".to_owned(),
                _ = round.tick() => self.tend(&mut sink).await,
            };
            if let Err(error) = kept {
                return error.to_string();
            }
        }
    }

    fn tick(&self, channel: &str) {
        if let Some(ticks) = self.ticks.get(channel) {
            ticks.send_modify(|tick| *tick = tick.wrapping_add(1));
        }
    }

    async fn subscribe(
        &mut self,
        sink: &mut PubSubSink,
        requests: &mut Vec<Request>,
    ) -> Result<(), StoreError> {
        let new: Vec<_> = requests
            .iter()
            .map(|request| request.channel.clone())
            .filter(|channel| !self.ticks.contains_key(channel))
            .collect();
        // Noted first: should the line break now, the next one subscribes to them.
        let held: Vec<_> = requests
            .drain(..)
            .map(|Request { channel, answer }| {
                let ticks = self
                    .ticks
                    .entry(channel)
                    .or_insert_with(|| watch::channel(0).0);
                (answer, ticks.subscribe())
            })
            .collect();
        if !new.is_empty() {
            self.answer(sink.subscribe(new)).await?;
        }
        for (answer, ticks) in held {
            let _ = answer.send(ticks);
        }
        Ok(())
    }

    async fn tend(&mut self, sink: &mut PubSubSink) -> Result<(), StoreError> {
        self.give_up_unheld(Some(sink)).await?;
        self.answer(sink.ping::<::redis::Value>()).await.map(drop)
    }

    async fn give_up_unheld(&mut self, sink: Option<&mut PubSubSink>) -> Result<(), StoreError> {
        let mut unheld = Vec::new();
        self.ticks.retain(|channel, ticks| {
            let held = ticks.receiver_count() > 0;
            if !held {
                unheld.push(channel.clone());
            }
            held
        });
        if let Some(sink) = sink {
            for channels in unheld.chunks(AT_ONCE) {
                self.answer(sink.unsubscribe(channels)).await?;
            }
        }
        Ok(())
    }
}
