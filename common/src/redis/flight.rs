//! Group commit over the network: calls that wait while one round trip is out leave together in
//! the next, those of one script as one command where it takes many.
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
    keys::Keys,
    link::Link,
    pool::Connection,
    scripts::{Call, Lua, Shared},
};
use crate::{metrics::TripMeters, ports::StoreError};

const DEADLINE: Duration = Duration::from_secs(2);
/// A call that has waited for longer does not board: its flight would end too late for who waits.
const PATIENCE: Duration = Duration::from_secs(4);
const SEATS: usize = 512;
const LUGGAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const WAITING_ROOM: usize = 8192;

type Answer = Result<Value, StoreError>;

struct Passenger {
    call: Call,
    since: Instant,
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
        keys: Keys,
        closing: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (gate, waiting) = mpsc::channel(WAITING_ROOM);
        let pilot = Pilot {
            waiting,
            keys,
            link: Arc::clone(&link),
            connection: None,
            trips: TripMeters::new(KIND, "flight"),
        };
        (Self { gate, link }, pilot.run(closing))
    }

    /// Sends the call with the next flight. Answered in time by the pilot, whose every step has a
    /// deadline: a timer for each call would be a good part of what it costs.
    pub(super) async fn send(&self, call: Call) -> Answer {
        let (answer, answered) = oneshot::channel();
        let closed = || self.link.unreachable("the store is closed here");
        let passenger = Passenger {
            call,
            since: Instant::now(),
            answer,
        };
        self.gate.send(passenger).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// Calls that share a round trip.
#[derive(Default)]
struct Cabin {
    rows: Vec<Row>,
    seats: usize,
    luggage: usize,
}

/// Calls that share a command, and who waits for their answers, in one order.
struct Row {
    shared: Shared,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Cabin {
    fn take(&mut self, passenger: Passenger, keys: &Keys) {
        let Passenger { call, answer, .. } = passenger;
        self.seats += 1;
        self.luggage += call.size;
        let mut rows = self.rows.iter_mut().rev();
        if let Some(row) = rows.find(|row| row.shared.takes(&call)) {
            row.shared.add(&call);
            row.answers.push(answer);
            return;
        }
        self.rows.push(Row {
            shared: Shared::new(call, keys),
            answers: vec![answer],
        });
    }

    fn is_full(&self) -> bool {
        self.seats >= SEATS || self.luggage >= LUGGAGE_BYTES_MAX
    }

    /// The commands of all rows, which do not have them any more.
    fn take_off(&mut self) -> Pipeline {
        let mut commands = Pipeline::with_capacity(self.rows.len());
        for row in &mut self.rows {
            commands.add_command(std::mem::take(&mut row.shared.command));
        }
        commands
    }

    fn refuse(self, error: &StoreError) {
        for answer in self.rows.into_iter().flat_map(|row| row.answers) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

struct Pilot {
    waiting: mpsc::Receiver<Passenger>,
    keys: Keys,
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
        cabin.take(first, &self.keys);
        while !cabin.is_full()
            && let Ok(next) = self.waiting.try_recv()
        {
            if next.since.elapsed() > PATIENCE {
                let _ = next.answer.send(Err(self.link.late(PATIENCE)));
            } else if !next.answer.is_closed() {
                cabin.take(next, &self.keys);
            }
        }
        cabin
    }

    async fn fly(&mut self, mut cabin: Cabin) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.link.connection().await {
                Ok(connection) => connection,
                Err(error) => return self.cancel_all(cabin, &error),
            },
        };
        let since = Instant::now();
        let outcome = self.round_trip(&mut connection, &mut cabin, since).await;
        self.trips.over(since, outcome.is_ok());
        self.link.heard(&outcome.as_ref().map(|_| ()));
        match outcome {
            Ok(replies) => {
                self.connection = Some(connection);
                let answers = cabin.rows.into_iter().flat_map(|row| row.answers);
                for (answer, reply) in answers.zip(replies) {
                    let _ = answer.send(self.link.accept(reply));
                }
            }
            Err(error) => {
                drop(Connection::take(connection));
                cabin.refuse(&error);
            }
        }
    }

    /// The answers to all calls, row by row.
    async fn round_trip(
        &self,
        connection: &mut Connection,
        cabin: &mut Cabin,
        since: Instant,
    ) -> Result<Vec<Value>, StoreError> {
        let trip = async {
            let commands = cabin.take_off();
            let mut replies = self.send(connection, &commands).await?;
            let unknown: Vec<_> = (0..replies.len())
                .filter(|&row| fault::is_unknown_script(&replies[row]))
                .collect();
            if !unknown.is_empty() {
                self.load(
                    connection,
                    unknown
                        .iter()
                        .filter_map(|&row| cabin.rows[row].shared.script),
                )
                .await?;
                let mut again = Pipeline::with_capacity(unknown.len());
                for (row, command) in commands.cmd_iter().enumerate() {
                    if unknown.binary_search(&row).is_ok() {
                        again.add_command(command.clone());
                    }
                }
                for (&row, reply) in unknown.iter().zip(self.send(connection, &again).await?) {
                    replies[row] = reply;
                }
            }
            let rows = cabin.rows.iter().zip(replies);
            let answers: Vec<_> = rows
                .flat_map(|(row, reply)| row.shared.answers(reply))
                .collect();
            self.link
                .check(connection, &answers, since.elapsed())
                .await?;
            Ok(answers)
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
        if replies.len() == commands.len() {
            return Ok(replies);
        }
        Err(self
            .link
            .unreachable("it answered more or less than it was asked"))
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
