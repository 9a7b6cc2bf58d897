//! The task that owns the confirm channel.
//!
//! One task and never a clone of the channel: the library takes a publication's number and queues
//! its frames under two different locks, so that two tasks on one channel get each other's
//! confirms. The task takes whatever waits, of however many callers, publishes it pipelined, and
//! judges the window once it is answered. Meanwhile the next one goes out, so that the broker always
//! has something to do.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use lapin::{Channel, options::ConfirmSelectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    ANSWER, errors,
    link::Link,
    parcel::{Order, Packed, pack},
    sent::Sent,
    topology::Topology,
    window::Returned,
};
use crate::ports::{BrokerError, Confirm, Publication};

/// How many windows are out at once.
const WINDOWS: usize = 2;
/// How many publications make a window. More gains nothing.
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

impl Publisher {
    pub(super) fn start(link: Arc<Link>, topology: Arc<Topology>) -> Self {
        let (orders, incoming) = mpsc::unbounded_channel();
        let (finished, stopped) = mpsc::channel(1);
        let line = Line {
            orders: incoming,
            stopped,
            waiting: VecDeque::new(),
        };
        let task = Task {
            link,
            topology,
            open: None,
            out: VecDeque::new(),
            returned: Returned::default(),
        };
        tokio::spawn(task.run(line));
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

/// What is to be published, in the order in which it came.
struct Line {
    orders: mpsc::UnboundedReceiver<Vec<Order>>,
    stopped: mpsc::Receiver<()>,
    waiting: VecDeque<Order>,
}

impl Line {
    /// The next window; nothing once all is closed. Whoever came meanwhile shares it.
    async fn next(&mut self) -> Option<Vec<Order>> {
        while self.waiting.is_empty() {
            tokio::select! {
                biased;
                batch = self.orders.recv() => self.waiting.extend(batch?),
                _ = self.stopped.recv() => self.orders.close(),
            }
        }
        while self.waiting.len() < WINDOW
            && let Ok(more) = self.orders.try_recv()
        {
            self.waiting.extend(more);
        }
        let count = window_of(&self.waiting);
        Some(self.waiting.drain(..count).collect())
    }

    /// None of these was sent, which is certain. Letting each window find out for itself that the
    /// broker is away would make the last caller wait many deadlines.
    fn refuse(&mut self, why: &str) {
        self.waiting.drain(..).for_each(|order| order.refuse(why));
        while let Ok(more) = self.orders.try_recv() {
            more.into_iter().for_each(|order| order.refuse(why));
        }
    }
}

/// The confirm channel, and the connection it is on.
struct Open {
    channel: Arc<Channel>,
    generation: u64,
}

struct Task {
    link: Arc<Link>,
    topology: Arc<Topology>,
    open: Option<Open>,
    /// Windows that are out, oldest first, all on the open channel.
    out: VecDeque<Sent>,
    returned: Returned,
}

impl Task {
    async fn run(mut self, mut line: Line) {
        let mut closed = false;
        while !closed || !self.out.is_empty() {
            tokio::select! {
                biased;
                in_time = first(&mut self.out, &mut self.returned), if !self.out.is_empty() => {
                    self.land(in_time, &mut line).await;
                }
                next = line.next(), if !closed && self.out.len() < WINDOWS => match next {
                    Some(window) => self.send(window, &mut line).await,
                    None => closed = true,
                },
            }
        }
    }

    async fn send(&mut self, orders: Vec<Order>, line: &mut Line) {
        // Nobody waits for it any more, and it was not sent: it never will be.
        let orders = orders.into_iter().filter(|order| !order.answer.is_closed());
        let packed: Vec<_> = orders
            .filter_map(|order| pack(self.topology.names(), order))
            .collect();
        if packed.is_empty() {
            return;
        }
        match self.channel().await {
            Ok(channel) => {
                let sent = Sent::new(&channel, packed, &mut self.returned);
                self.out.push_back(sent);
            }
            Err(error) => {
                let why = error.to_string();
                for Packed { answer, .. } in packed {
                    let _ = answer.send(Confirm::Refused(why.clone()));
                }
                line.refuse(&why);
            }
        }
    }

    /// Judges the oldest window, which is answered, or whose time is up.
    async fn land(&mut self, in_time: bool, line: &mut Line) {
        // What an answer to a later window brought may be of this one.
        self.catch_up();
        if self.out.front().is_some_and(Sent::is_whole)
            && let Some(sent) = self.out.pop_front()
        {
            sent.judge(true, &self.returned);
            self.returned.keep(self.out.iter().map(Sent::window));
            return;
        }
        if self.out.iter().any(Sent::misses_exchange) {
            self.topology.doubt().await;
        }
        self.break_off().await;
        if !in_time {
            let late = errors::overdue(self.link.address(), "what was published");
            line.refuse(&late.to_string());
        }
    }

    fn catch_up(&mut self) {
        for sent in &mut self.out {
            sent.catch_up(&mut self.returned);
        }
    }

    /// Judges what is out by the answers there are, and drops the channel: nothing that is said on
    /// this connection any more is waited for.
    async fn break_off(&mut self) {
        self.catch_up();
        for sent in self.out.drain(..) {
            sent.judge(false, &self.returned);
        }
        self.returned = Returned::default();
        if let Some(open) = self.open.take() {
            self.link.abandon(open.generation).await;
        }
    }

    /// The confirm channel; a new one where there is none that works.
    async fn channel(&mut self) -> Result<Arc<Channel>, BrokerError> {
        let live = self.link.live().await;
        if let Ok(live) = &live
            && let Some(open) = &self.open
            && open.generation == live.generation
            && open.channel.status().connected()
        {
            return Ok(Arc::clone(&open.channel));
        }
        if !self.out.is_empty() {
            self.break_off().await;
        }
        live?;
        self.open().await
    }

    /// Opens the confirm channel. Nothing has been sent when this fails.
    async fn open(&mut self) -> Result<Arc<Channel>, BrokerError> {
        self.open = None;
        // The broker behind a new connection may be a new one, without queues.
        self.topology.restore().await?;
        let (live, channel) = self.link.channel().await?;
        let options = ConfirmSelectOptions { nowait: false };
        let error = match timeout(ANSWER, channel.confirm_select(options)).await {
            Ok(Ok(())) => {
                let channel = Arc::new(channel);
                self.open = Some(Open {
                    channel: Arc::clone(&channel),
                    generation: live.generation,
                });
                return Ok(channel);
            }
            Ok(Err(error)) => errors::of_request(self.link.address(), "confirms", &error),
            Err(_) => errors::overdue(self.link.address(), "confirms"),
        };
        self.link.abandon(live.generation).await;
        Err(error)
    }
}

/// Waits for the answers to the oldest window; says whether they came in time.
async fn first(out: &mut VecDeque<Sent>, returned: &mut Returned) -> bool {
    match out.front_mut() {
        Some(sent) => sent.answered(returned).await,
        None => true,
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
