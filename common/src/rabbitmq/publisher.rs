//! The task that owns the confirm channel.
//!
//! One task and never a clone of the channel: the library takes a publication's number and queues
//! its frames under two different locks, so that two tasks on one channel get each other's
//! confirms. The task takes whatever waits, of however many callers, publishes it pipelined, waits
//! for the whole window, and judges it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    ANSWER, convert, errors,
    link::Link,
    topology::Topology,
    window::{Identity, Window},
};
use crate::{
    ports::{BrokerError, Confirm, Publication, Route},
    wire::topology::{Namespace, delay_route, lane_key},
};

/// How many publications go out before their confirms are waited for. More gains nothing.
const WINDOW: usize = 1024;
/// How many bytes, so that a slow line can carry a window well within its deadline.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// How long what is on its way out may take when all is closed.
const FINISH: Duration = Duration::from_secs(10);

/// The handle to the task.
#[derive(Debug)]
pub(super) struct Publisher {
    // Unbounded: it holds no more than what the callers, who wait, had in their hands.
    orders: mpsc::UnboundedSender<Vec<Order>>,
    finished: mpsc::Sender<()>,
}

/// One publication and who waits for it.
#[derive(Debug)]
struct Order {
    publication: Publication,
    answer: oneshot::Sender<Confirm>,
}

impl Order {
    fn refuse(self, why: &str) {
        let _ = self.answer.send(Confirm::Refused(why.to_owned()));
    }
}

impl Publisher {
    pub(super) fn start(link: Arc<Link>, topology: Arc<Topology>) -> Self {
        let (orders, incoming) = mpsc::unbounded_channel();
        let (finished, stopped) = mpsc::channel(1);
        let task = Task {
            link,
            topology,
            open: None,
        };
        tokio::spawn(task.run(incoming, stopped));
        Self { orders, finished }
    }

    /// Publishes all and says of each what became of it.
    pub(super) async fn publish(&self, batch: Vec<Publication>) -> Vec<Confirm> {
        let gone = || Confirm::Refused("the publisher is closed".to_owned());
        // The whole batch is in line at once: in parts, its first would go out in a window alone.
        let (orders, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|publication| {
                let (answer, wait) = oneshot::channel();
                let order = Order {
                    publication,
                    answer,
                };
                (order, wait)
            })
            .unzip();
        if self.orders.send(orders).is_err() {
            return answers.iter().map(|_| gone()).collect();
        }
        let mut confirms = Vec::with_capacity(answers.len());
        for answer in answers {
            confirms.push(answer.await.unwrap_or_else(|_| {
                Confirm::Unknown("the publisher stopped in between".to_owned())
            }));
        }
        confirms
    }

    /// Waits until what is in line is out, and ends the task.
    pub(super) async fn close(&self) {
        if self.finished.send(()).await.is_ok() {
            let _ = timeout(FINISH, self.finished.closed()).await;
        }
    }
}

/// The confirm channel, and the connection it is on.
struct Open {
    channel: Channel,
    generation: u64,
}

struct Task {
    link: Arc<Link>,
    topology: Arc<Topology>,
    open: Option<Open>,
}

/// How a window went.
enum Went {
    Well,
    /// The channel or connection failed; the rest may be luckier with a new one.
    Lost,
    /// Nothing can be had from the broker now; what was never sent is refused.
    Away(String),
}

/// A publication, ready to be sent.
struct Parcel {
    answer: oneshot::Sender<Confirm>,
    identity: Identity,
    exchange: ShortString,
    key: ShortString,
    mandatory: bool,
    properties: BasicProperties,
    body: bytes::Bytes,
}

impl Task {
    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Vec<Order>>,
        mut stopped: mpsc::Receiver<()>,
    ) {
        let mut waiting = VecDeque::new();
        loop {
            let batch = tokio::select! {
                biased;
                batch = orders.recv() => batch,
                _ = stopped.recv() => {
                    orders.close();
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            waiting.extend(batch);
            while !waiting.is_empty() {
                // Whoever came meanwhile shares the window.
                while waiting.len() < WINDOW
                    && let Ok(more) = orders.try_recv()
                {
                    waiting.extend(more);
                }
                let window = waiting.drain(..window_of(&waiting)).collect();
                if let Went::Away(why) = self.send(window).await {
                    // None of these was sent, which is certain. Letting each window find out for
                    // itself would make the last caller wait many deadlines.
                    waiting.drain(..).for_each(|order| order.refuse(&why));
                    while let Ok(more) = orders.try_recv() {
                        more.into_iter().for_each(|order| order.refuse(&why));
                    }
                }
            }
        }
    }

    async fn send(&mut self, orders: Vec<Order>) -> Went {
        // Nobody waits for it any more, and it was not sent: it never will be.
        let orders = orders.into_iter().filter(|order| !order.answer.is_closed());
        let parcels: Vec<_> = orders
            .filter_map(|order| pack(self.topology.names(), order))
            .collect();
        if parcels.is_empty() {
            return Went::Well;
        }
        if let Err(error) = self.ensure_open().await {
            let why = error.to_string();
            for parcel in parcels {
                let _ = parcel.answer.send(Confirm::Refused(why.clone()));
            }
            return Went::Away(why);
        }
        let Some(open) = &self.open else {
            return Went::Lost;
        };
        let (confirms, whole, in_time, missing) = publish_window(&open.channel, &parcels).await;
        for (parcel, confirm) in parcels.into_iter().zip(confirms) {
            let _ = parcel.answer.send(confirm);
        }
        if whole {
            return Went::Well;
        }
        if missing {
            self.topology.doubt().await;
        }
        self.drop_channel().await;
        if in_time {
            Went::Lost
        } else {
            Went::Away(errors::overdue(self.link.address(), "what was published").to_string())
        }
    }

    /// Opens the confirm channel where there is none. Nothing has been sent when this fails.
    async fn ensure_open(&mut self) -> Result<(), BrokerError> {
        let live = self.link.live().await?;
        if let Some(open) = &self.open
            && open.generation == live.generation
            && open.channel.status().connected()
        {
            return Ok(());
        }
        self.open = None;
        // The broker behind a new connection may be a new one, without queues.
        self.topology.restore().await?;
        let (live, channel) = self.link.channel().await?;
        let options = ConfirmSelectOptions { nowait: false };
        match timeout(ANSWER, channel.confirm_select(options)).await {
            Ok(Ok(())) => {
                self.open = Some(Open {
                    channel,
                    generation: live.generation,
                });
                Ok(())
            }
            Ok(Err(error)) => {
                self.link.abandon(live.generation).await;
                Err(errors::of_request(self.link.address(), "confirms", &error))
            }
            Err(_) => {
                self.link.abandon(live.generation).await;
                Err(errors::overdue(self.link.address(), "confirms"))
            }
        }
    }

    /// After a window that broke off, nothing that was said on this connection is waited for.
    async fn drop_channel(&mut self) {
        if let Some(open) = self.open.take() {
            self.link.abandon(open.generation).await;
        }
    }
}

/// How many of the orders make one window: at least one.
fn window_of(orders: &VecDeque<Order>) -> usize {
    let mut bytes = 0;
    let fit = orders.iter().take(WINDOW).take_while(|order| {
        bytes += order.publication.message.body.len();
        bytes <= WINDOW_BYTES
    });
    fit.count().max(1).min(orders.len())
}

/// Publishes all, pipelined, and judges the answers. Also says whether the channel is good, whether
/// all came in time, and whether an exchange was missing.
async fn publish_window(channel: &Channel, parcels: &[Parcel]) -> (Vec<Confirm>, bool, bool, bool) {
    let mut window = Window::new(
        parcels
            .iter()
            .map(|parcel| parcel.identity.clone())
            .collect(),
    );
    let mut missing = false;
    // All are polled by this task alone and for the first time in this order, which is the order
    // in which they go out.
    let mut pending: FuturesUnordered<_> = parcels
        .iter()
        .enumerate()
        .map(|(index, parcel)| async move { (index, parcel.publish(channel).await) })
        .collect();
    let all = async {
        while let Some((index, result)) = pending.next().await {
            missing |= result.as_ref().is_err_and(errors::is_not_found);
            window.note(index, result);
        }
    };
    let in_time = timeout(ANSWER, all).await.is_ok();
    let (confirms, whole) = window.judge("no confirm in time");
    (confirms, whole, in_time, missing)
}

impl Parcel {
    async fn publish(&self, channel: &Channel) -> lapin::Result<lapin::Confirmation> {
        let options = BasicPublishOptions {
            mandatory: self.mandatory,
            immediate: false,
        };
        let (exchange, key) = (self.exchange.clone(), self.key.clone());
        channel
            .basic_publish(exchange, key, options, &self.body, self.properties.clone())
            .await?
            .await
    }
}

/// Where a route leads: exchange and key.
fn place(names: &Namespace, route: &Route) -> (String, String) {
    match route {
        Route::Lane(queue, lane) => (names.jobs(), lane_key(queue, *lane)),
        Route::Later {
            queue,
            lane,
            delay,
            coarse,
        } => match delay_route(queue, *lane, *delay, *coarse) {
            Some(way) => (names.delay(way.level), way.key),
            None => (names.jobs(), lane_key(queue, *lane)),
        },
        Route::Dead(queue) => (names.dead(), names.dead_queue(queue)),
        // The default exchange, where every queue is bound by its own name.
        Route::Reply(queue) => (String::new(), queue.clone()),
    }
}

/// Makes an order ready to be sent; one that AMQP cannot carry is refused.
fn pack(names: &Namespace, order: Order) -> Option<Parcel> {
    let Order {
        publication,
        answer,
    } = order;
    let (exchange, key) = place(names, &publication.route);
    let made = convert::short("routing key", &key)
        .and_then(|key| Ok((key, convert::outgoing(&publication.message.head)?)));
    match made {
        Ok((short_key, properties)) => Some(Parcel {
            answer,
            exchange: exchange.as_str().into(),
            // To the broker, its own pseudo-queue for answers is none: with `mandatory` it returns
            // what it nevertheless delivers.
            mandatory: !key.starts_with("amq.rabbitmq.reply-to"),
            key: short_key,
            properties,
            body: publication.message.body,
            identity: Identity {
                id: publication.message.head.message_id,
                exchange,
                key,
            },
        }),
        Err(why) => {
            let _ = answer.send(Confirm::Refused(why));
            None
        }
    }
}
