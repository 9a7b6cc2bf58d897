//! Follows Sentinels: who is the primary, and that it is another one now.
//!
//! A primary that stood still while another one took its place does not know. It takes writes until
//! the Sentinels have made a replica of it, some ten seconds later, and all of these are gone then.
//! So an answer counts only if it came from the server that they name. They tell of a change a moment
//! after it, so that all are asked before the first answer after a silence counts. (Cut off from the Sentinels
//! together with such a primary, nobody can tell: `min-replicas-to-write` is against that.)

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use futures_util::{StreamExt, future::join_all};
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
pub(super) struct Named {
    place: Place,
    /// Grows with each fail-over.
    epoch: u64,
    heard: Instant,
}

/// Who is the primary, as far as Sentinels said.
#[derive(Debug, Clone)]
pub(super) struct Primary(Arc<watch::Sender<Option<Named>>>);

impl Primary {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Whether this server is the primary, for all we know.
    pub(super) fn may_be(&self, place: &Place) -> bool {
        let named = self.0.borrow();
        named.as_ref().is_none_or(|named| named.place == *place)
    }

    /// Tells when it is another one.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Named>> {
        self.0.subscribe()
    }

    fn note(&self, place: Place, epoch: u64) {
        let heard = Instant::now();
        self.0.send_if_modified(|named| {
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
}

/// A connection to a Sentinel, to ask it.
pub(super) async fn dial(sentinel: &Client) -> RedisResult<MultiplexedConnection> {
    let limits = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ASK))
        .set_response_timeout(Some(ASK));
    let line = sentinel.get_multiplexed_async_connection_with_config(&limits);
    line.await
}

/// Asks for the primary called `name`: an optional [`Place`].
pub(super) fn who_is(name: &str) -> Cmd {
    let mut question = ::redis::cmd("SENTINEL");
    question.arg(&["get-master-addr-by-name", name]);
    question
}

/// Listens to one Sentinel for as long as it is polled.
pub(super) async fn follow(sentinel: Client, name: String, primary: Primary) {
    loop {
        if let Err(error) = listen(&sentinel, &name, &primary).await {
            tracing::debug!(%error, "a Sentinel does not answer");
        }
        sleep(ROUND).await;
    }
}

async fn listen(sentinel: &Client, name: &str, primary: &Primary) -> RedisResult<()> {
    let mut news = answered(subscribe(sentinel)).await?;
    let mut news = news.on_message();
    let mut line = dial(sentinel).await?;
    loop {
        // After one subscribed: what changes from now on is heard.
        ask(&mut line, name, primary).await?;
        if let Ok(None) = timeout(ROUND, news.next()).await {
            return Err((ErrorKind::Io, "it hung up").into());
        }
    }
}

/// Asks all of them at once. One that does not answer in time says nothing.
pub(super) async fn ask_all(sentinels: &[(Client, String)], primary: &Primary) {
    let ask_one =
        async |sentinel: &Client, name: &str| ask(&mut dial(sentinel).await?, name, primary).await;
    let asked = sentinels.iter().map(|(it, name)| ask_one(it, name));
    for outcome in join_all(asked).await {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a Sentinel does not answer");
        }
    }
}

async fn ask(line: &mut MultiplexedConnection, name: &str, primary: &Primary) -> RedisResult<()> {
    let mut questions = ::redis::pipe();
    questions.add_command(who_is(name));
    questions.cmd("SENTINEL").arg(&["master", name]);
    let (place, facts): (Option<Place>, HashMap<String, String>) =
        questions.query_async(line).await?;
    if let Some(place) = place {
        let epoch = facts.get("config-epoch").and_then(|it| it.parse().ok());
        primary.note(place, epoch.unwrap_or(0));
    }
    Ok(())
}

async fn subscribe(sentinel: &Client) -> RedisResult<PubSub> {
    let mut news = sentinel.get_async_pubsub().await?;
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

    fn place(port: u16) -> Place {
        ("host".to_owned(), port)
    }

    #[test]
    fn whoever_is_named_last_is_the_primary() {
        let primary = Primary::new();
        assert!(primary.may_be(&place(1)), "nobody has said anything yet");
        primary.note(place(1), 1);
        let changes = primary.changes();
        primary.note(place(2), 2);
        assert!(primary.may_be(&place(2)) && !primary.may_be(&place(1)));
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_sentinel_that_was_not_told_yet_is_not_believed() {
        let primary = Primary::new();
        primary.note(place(2), 2);
        let changes = primary.changes();
        primary.note(place(1), 1);
        primary.note(place(2), 2);
        assert!(primary.may_be(&place(2)));
        assert!(!changes.has_changed().unwrap(), "it is the same one");
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_after_a_while() {
        let primary = Primary::new();
        primary.note(place(1), 9);
        primary.0.send_modify(|named| {
            let named = named.as_mut().unwrap();
            named.heard = named.heard.checked_sub(FORGOTTEN).unwrap();
        });
        primary.note(place(2), 0);
        assert!(primary.may_be(&place(2)));
    }
}
