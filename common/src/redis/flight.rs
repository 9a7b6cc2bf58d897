//! Group commit over the network: calls that wait while one round trip is out leave together in
//! the next.
//!
//! One task owns one connection. Any doubt about that connection – an error, a late answer, a
//! server that is no longer the primary – gives it up. Whoever was on the flight learns it; nothing
//! is sent again here, for only the caller knows whether that is still wanted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::redis::{Pipeline, Value, aio::ConnectionLike};
use deadpool_redis::Connection;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{fault, link::Link, scripts::Call};
use crate::ports::StoreError;

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

struct Pilot {
    waiting: mpsc::Receiver<Passenger>,
    link: Arc<Link>,
    connection: Option<Connection>,
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
            let aboard = self.board(first);
            self.fly(aboard).await;
        }
    }

    fn board(&mut self, first: Passenger) -> Vec<Passenger> {
        let mut luggage = first.call.size();
        let mut aboard = vec![first];
        while aboard.len() < SEATS && luggage < LUGGAGE_BYTES_MAX {
            let Ok(next) = self.waiting.try_recv() else {
                break;
            };
            if next.answer.is_closed() {
                continue;
            }
            luggage += next.call.size();
            aboard.push(next);
        }
        aboard
    }

    async fn fly(&mut self, aboard: Vec<Passenger>) {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.link.connection().await {
                Ok(connection) => connection,
                Err(error) => return self.cancel_all(aboard, &error),
            },
        };
        let outcome = self.round_trip(&mut connection, &aboard).await;
        self.link.heard(&outcome.as_ref().map(|_| ()));
        match outcome {
            Ok(replies) => {
                self.connection = Some(connection);
                for (passenger, reply) in aboard.into_iter().zip(replies) {
                    let _ = passenger.answer.send(self.link.accept(reply));
                }
            }
            Err(error) => {
                drop(Connection::take(connection));
                for passenger in aboard {
                    let _ = passenger.answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn round_trip(
        &self,
        connection: &mut Connection,
        aboard: &[Passenger],
    ) -> Result<Vec<Value>, StoreError> {
        let trip = async {
            let mut replies = self
                .send(connection, aboard.iter().map(|seat| &seat.call))
                .await?;
            let unknown = |reply: &Value| fault::is_unknown_script(reply);
            let again: Vec<_> = replies
                .iter()
                .enumerate()
                .filter(|(_, r)| unknown(r))
                .map(|(i, _)| i)
                .collect();
            if !again.is_empty() {
                self.load(connection, again.iter().map(|&i| &aboard[i].call))
                    .await?;
                let calls = again.iter().map(|&i| &aboard[i].call);
                for (&i, reply) in again.iter().zip(self.send(connection, calls).await?) {
                    replies[i] = reply;
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
        calls: impl Iterator<Item = &Call>,
    ) -> Result<Vec<Value>, StoreError> {
        let mut pipeline = Pipeline::new();
        for call in calls {
            pipeline.add_command(call.command().clone());
        }
        let replies = connection
            .req_packed_commands(&pipeline, 0, pipeline.len())
            .await
            .map_err(|error| fault::of(self.link.at(), &error))?;
        match replies
            .iter()
            .find_map(|reply| fault::not_primary(self.link.at(), reply))
        {
            Some(error) => Err(error),
            None if replies.len() == pipeline.len() => Ok(replies),
            None => Err(self
                .link
                .unreachable("it answered more or less than it was asked")),
        }
    }

    async fn load(
        &self,
        connection: &mut Connection,
        calls: impl Iterator<Item = &Call>,
    ) -> Result<(), StoreError> {
        let scripts: BTreeMap<_, _> = calls
            .filter_map(Call::load)
            .map(|load| (load.get_packed_command(), load))
            .collect();
        let mut pipeline = Pipeline::new();
        for load in scripts.into_values() {
            pipeline.add_command(load);
        }
        let loaded = connection
            .req_packed_commands(&pipeline, 0, pipeline.len())
            .await;
        loaded
            .map(drop)
            .map_err(|error| fault::of(self.link.at(), &error))
    }

    /// There is no server: whoever waits learns it now instead of one flight after the other.
    fn cancel_all(&mut self, aboard: Vec<Passenger>, error: &StoreError) {
        for passenger in aboard {
            let _ = passenger.answer.send(Err(error.clone()));
        }
        for _ in 0..self.waiting.len() {
            if let Ok(passenger) = self.waiting.try_recv() {
                let _ = passenger.answer.send(Err(error.clone()));
            }
        }
    }
}
