//! Group commit over the network: calls that wait while one round trip is out leave together in
//! the next.
//!
//! One task owns one connection. Any doubt about that connection – an error, a late answer, a
//! server that is no longer the primary – gives it up. Whoever was on the flight learns it; nothing
//! is sent again here, for only the caller knows whether that is still wanted.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Pipeline, Value, aio::ConnectionLike};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    KIND, fault,
    link::Link,
    pool::Connection,
    scripts::{Call, Lua},
};
use crate::{metrics::TripMeters, ports::StoreError};

const DEADLINE: Duration = Duration::from_secs(2);
/// Longest stay of a call: one flight that fails, one that carries it, and the way to connect.
const PATIENCE: Duration = Duration::from_secs(8);
const SEATS: usize = 512;
const LUGGAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const WAITING_ROOM: usize = 8192;

type Answer = Result<Value, StoreError>;

struct Passenger {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

/// Where calls board.
#[derive(Debug)]
pub(super) struct Flights {
    gate: mpsc::Sender<Passenger>,
    link: Arc<Link>,
}

impl Flights {
    /// The gate, and the task behind it. That ends when the gate is gone, or `closing` trips and
    /// everybody who waited has been served.
    pub(super) fn new(
        link: Arc<Link>,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (gate, waiting) = mpsc::channel(WAITING_ROOM);
        let pilot = Pilot {
            waiting,
            link: Arc::clone(&link),
            connection: None,
            trips: TripMeters::new(KIND, "flight"),
        };
        (Self { gate, link }, pilot.run(closing))
    }

    /// Sends the call with the next flight.
    pub(super) async fn send(&self, call: Call) -> Answer {
        let journey = async {
            let (answer, answered) = oneshot::channel();
            let closed = || self.link.unreachable("the store is closed here");
            self.gate
                .send(Passenger { call, answer })
                .await
                .map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        match timeout(PATIENCE, journey).await {
            Ok(answer) => answer,
            Err(_) => Err(self.link.late(PATIENCE)),
        }
    }
}

/// Calls that share a round trip, and who waits for their answers, in one order.
#[derive(Default)]
struct Cabin {
    commands: Pipeline,
    scripts: Vec<Option<&'static Lua>>,
    answers: Vec<oneshot::Sender<Answer>>,
    luggage: usize,
}

impl Cabin {
    fn take(&mut self, passenger: Passenger) {
        let Passenger { call, answer } = passenger;
        self.luggage += call.size;
        self.commands.add_command(call.command);
        self.scripts.push(call.script);
        self.answers.push(answer);
    }

    fn is_full(&self) -> bool {
        self.answers.len() >= SEATS || self.luggage >= LUGGAGE_BYTES_MAX
    }

    fn refuse(self, error: &StoreError) {
        for answer in self.answers {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

struct Pilot {
    waiting: mpsc::Receiver<Passenger>,
    link: Arc<Link>,
    connection: Option<Connection>,
    trips: TripMeters,
}

impl Pilot {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.waiting.recv() => first,
                () = closing.cancelled(), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let cabin = self.board(first);
            self.fly(cabin).await;
        }
    }

    fn board(&mut self, first: Passenger) -> Cabin {
        let mut cabin = Cabin::default();
        cabin.take(first);
        while !cabin.is_full()
            && let Ok(next) = self.waiting.try_recv()
        {
            if !next.answer.is_closed() {
                cabin.take(next);
            }
        }
        cabin
    }

    async fn fly(&mut self, cabin: Cabin) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.link.connection().await {
                Ok(connection) => connection,
                Err(error) => return self.cancel_all(cabin, &error),
            },
        };
        let since = Instant::now();
        let outcome = self.round_trip(&mut connection, &cabin).await;
        self.trips.over(since, outcome.is_ok());
        self.link.heard(&outcome.as_ref().map(|_| ()));
        match outcome {
            Ok(replies) => {
                self.connection = Some(connection);
                for (answer, reply) in cabin.answers.into_iter().zip(replies) {
                    let _ = answer.send(self.link.accept(reply));
                }
            }
            Err(error) => {
                drop(Connection::take(connection));
                cabin.refuse(&error);
            }
        }
    }

    async fn round_trip(
        &self,
        connection: &mut Connection,
        cabin: &Cabin,
    ) -> Result<Vec<Value>, StoreError> {
        let trip = async {
            let mut replies = self.send(connection, &cabin.commands).await?;
            let unknown: Vec<_> = (0..replies.len())
                .filter(|&seat| fault::is_unknown_script(&replies[seat]))
                .collect();
            if !unknown.is_empty() {
                self.load(
                    connection,
                    unknown.iter().filter_map(|&seat| cabin.scripts[seat]),
                )
                .await?;
                let mut again = Pipeline::with_capacity(unknown.len());
                for (seat, command) in cabin.commands.cmd_iter().enumerate() {
                    if unknown.binary_search(&seat).is_ok() {
                        again.add_command(command.clone());
                    }
                }
                for (&seat, reply) in unknown.iter().zip(self.send(connection, &again).await?) {
                    replies[seat] = reply;
                }
            }
            Ok(replies)
        };
        timeout(DEADLINE, trip)
            .await
            .unwrap_or_else(|_| Err(self.link.late(DEADLINE)))
    }

    async fn send(
        &self,
        connection: &mut Connection,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let replies = connection
            .req_packed_commands(commands, 0, commands.len())
            .await
            .map_err(|error| fault::of(self.link.at(), &error))?;
        match replies
            .iter()
            .find_map(|reply| fault::not_primary(self.link.at(), reply))
        {
            Some(error) => Err(error),
            None if replies.len() == commands.len() => Ok(replies),
            None => Err(self
                .link
                .unreachable("it answered more or less than it was asked")),
        }
    }

    async fn load(
        &self,
        connection: &mut Connection,
        scripts: impl Iterator<Item = &'static Lua>,
    ) -> Result<(), StoreError> {
        let scripts: BTreeMap<_, _> = scripts.map(|script| (script.name(), script)).collect();
        let mut pipeline = Pipeline::with_capacity(scripts.len());
        for script in scripts.into_values() {
            pipeline.add_command(script.load());
        }
        let loaded = connection
            .req_packed_commands(&pipeline, 0, pipeline.len())
            .await;
        loaded
            .map(drop)
            .map_err(|error| fault::of(self.link.at(), &error))
    }

    /// There is no server: whoever waits learns it now instead of one flight after the other.
    fn cancel_all(&mut self, cabin: Cabin, error: &StoreError) {
        cabin.refuse(error);
        for _ in 0..self.waiting.len() {
            if let Ok(passenger) = self.waiting.try_recv() {
                let _ = passenger.answer.send(Err(error.clone()));
            }
        }
    }
}
