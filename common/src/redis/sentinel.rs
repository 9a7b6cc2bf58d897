//! Follows Sentinels: who is the primary, and that it is another one now.
//!
//! A primary that stood still while another one took its place does not know. It takes writes until
//! the Sentinels have made a replica of it, some ten seconds later, and all of these are gone then.
//! So an answer counts only if it came from the server that they name. They tell of a change a moment
//! after it, so that all are asked before an answer counts that gives reason to doubt. (Cut off from
//! the Sentinels together with such a primary, nobody can tell: `min-replicas-to-write` is against that.)

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How long a Sentinel may take to answer.
const ASK: Duration = Duration::from_millis(500);
/// How often one is asked that says nothing, and how soon again one that does not answer.
const ROUND: Duration = Duration::from_secs(5);
/// A Sentinel whose configuration is older than another's is not believed, unless nobody has
/// confirmed that other one for so long: then they were set up anew.
const FORGOTTEN: Duration = Duration::from_secs(30);
const SWITCHED: &str = "+switch-master";

/// A server's host and port, as Sentinels write them.
pub(super) type Place = (String, u16);

/// What Sentinels said last.
#[derive(Debug)]
struct Named {
    place: Place,
    /// Grows with each fail-over.
    epoch: u64,
    heard: Instant,
}

/// Tells when another server is the primary; never where no Sentinel says so.
pub(super) struct Demotions(Option<watch::Receiver<Option<Named>>>);

impl Demotions {
    pub(super) fn of(sentinels: Option<&Arc<Sentinels>>) -> Self {
        Self(sentinels.map(|it| it.primary.subscribe()))
    }

    pub(super) async fn next(&mut self) {
        if let Some(named) = &mut self.0
            && named.changed().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

/// The Sentinels of one server, and what they said.
#[derive(Debug)]
pub(super) struct Sentinels {
    ways: Vec<Client>,
    name: String,
    primary: watch::Sender<Option<Named>>,
    /// How often there was reason to ask them, and how many of these they were asked after.
    doubts: AtomicU64,
    asked_after: AtomicU64,
}

impl Sentinels {
    /// Those that these ways lead to, and what they call the server.
    pub(super) fn new(ways: Vec<Client>, name: String) -> Self {
        Self {
            ways,
            name,
            primary: watch::Sender::new(None),
            doubts: AtomicU64::new(0),
            asked_after: AtomicU64::new(0),
        }
    }

    pub(super) fn ways(&self) -> &[Client] {
        &self.ways
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether this server is the primary, for all they said.
    pub(super) fn may_name(&self, place: &Place) -> bool {
        let named = self.primary.borrow();
        named.as_ref().is_none_or(|named| named.place == *place)
    }

    /// Another one may have taken its place meanwhile.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Leaves no doubt, if they answer.
    pub(super) async fn settle(&self) {
        if self.asked_after.load(Ordering::Acquire) < self.doubts.load(Ordering::Acquire)
            && let Err(error) = self.ask().await
        {
            tracing::debug!(%error, "no Sentinel says who is the primary");
        }
    }

    /// Asks all of them at once: the primary by the newest that one of them says.
    ///
    /// # Errors
    /// If none of them knows it, or answers in time.
    pub(super) async fn ask(&self) -> RedisResult<Place> {
        let doubts = self.doubts.load(Ordering::Acquire);
        // Boxed: it nests deeper than the compiler likes to look.
        let ask = |way| answered(async move { self.ask_one(&mut dial(way).await?).await }).boxed();
        let asked = self.ways.iter().map(ask);
        let said = join_all(asked).await;
        self.asked_after.fetch_max(doubts, Ordering::AcqRel);
        let mut error = RedisError::from((ErrorKind::Io, "no Sentinel was asked"));
        for outcome in said {
            match outcome {
                Ok(()) => return self.named().ok_or(error),
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    fn named(&self) -> Option<Place> {
        let named = self.primary.borrow();
        named.as_ref().map(|named| named.place.clone())
    }

    async fn ask_one(&self, line: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut questions = ::redis::pipe();
        for question in ["get-master-addr-by-name", "master"] {
            questions.cmd("SENTINEL").arg(question).arg(&self.name);
        }
        let (place, facts): (Option<Place>, HashMap<String, String>) =
            questions.query_async(line).await?;
        let Some(place) = place else {
            let what = "no Sentinel knows a primary of that name";
            return Err((ErrorKind::Io, what, self.name.clone()).into());
        };
        let epoch = facts.get("config-epoch").and_then(|it| it.parse().ok());
        self.note(place, epoch.unwrap_or(0));
        Ok(())
    }

    fn note(&self, place: Place, epoch: u64) {
        let heard = Instant::now();
        self.primary.send_if_modified(|named| {
            let before = named.as_ref();
            let is_same = before.is_some_and(|before| before.place == place);
            let is_stale = before.is_some_and(|before| {
                epoch < before.epoch && heard.duration_since(before.heard) < FORGOTTEN
            });
            if is_stale {
                return false;
            }
            let is_another = before.is_some() && !is_same;
            if is_another {
                tracing::info!(
                    host = place.0,
                    port = place.1,
                    "another Redis is the primary"
                );
            }
            *named = Some(Named {
                place,
                epoch,
                heard,
            });
            is_another
        });
    }

    /// What listens to them for as long as it is polled, one for each.
    pub(super) fn followers(self: &Arc<Self>) -> Vec<impl Future<Output = ()> + use<>> {
        let ways = self.ways.iter().cloned();
        ways.map(|way| Arc::clone(self).follow(way)).collect()
    }

    async fn follow(self: Arc<Self>, way: Client) {
        loop {
            if let Err(error) = self.listen(&way).await {
                tracing::debug!(%error, "a Sentinel does not say who is the primary");
            }
            sleep(ROUND).await;
        }
    }

    async fn listen(&self, way: &Client) -> RedisResult<()> {
        let mut news = answered(subscribe(way)).await?;
        let mut news = news.on_message();
        let mut line = dial(way).await?;
        loop {
            // After one subscribed: what changes from now on is heard.
            self.ask_one(&mut line).await?;
            if let Ok(None) = timeout(ROUND, news.next()).await {
                return Err((ErrorKind::Io, "it hung up").into());
            }
        }
    }
}

/// A connection to ask a Sentinel on.
async fn dial(way: &Client) -> RedisResult<MultiplexedConnection> {
    let limits = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ASK))
        .set_response_timeout(Some(ASK));
    let line = way.get_multiplexed_async_connection_with_config(&limits);
    line.await
}

async fn subscribe(way: &Client) -> RedisResult<PubSub> {
    let mut news = way.get_async_pubsub().await?;
    news.subscribe(SWITCHED).await?;
    Ok(news)
}

async fn answered<T>(asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
    timeout(ASK, asked).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels() -> Sentinels {
        Sentinels::new(Vec::new(), "name".to_owned())
    }

    fn place(port: u16) -> Place {
        ("host".to_owned(), port)
    }

    #[test]
    fn whoever_is_named_last_is_the_primary() {
        let said = sentinels();
        assert!(said.may_name(&place(1)), "nobody has said anything yet");
        said.note(place(1), 1);
        let changes = said.primary.subscribe();
        said.note(place(2), 2);
        assert!(said.may_name(&place(2)) && !said.may_name(&place(1)));
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_sentinel_that_was_not_told_yet_is_not_believed() {
        let said = sentinels();
        said.note(place(2), 2);
        let changes = said.primary.subscribe();
        said.note(place(1), 1);
        said.note(place(2), 2);
        assert!(said.may_name(&place(2)));
        assert!(!changes.has_changed().unwrap(), "it is the same one");
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_after_a_while() {
        let said = sentinels();
        said.note(place(1), 9);
        said.primary.send_modify(|named| {
            let named = named.as_mut().unwrap();
            named.heard = named.heard.checked_sub(FORGOTTEN).unwrap();
        });
        said.note(place(2), 0);
        assert!(said.may_name(&place(2)));
    }
}
