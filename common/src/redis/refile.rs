//! Files all records again, once for each life of a server.
//!
//! A server that was killed while it wrote may come back with a part of a transition: Redis 7.0 cuts
//! the half transaction off its memory, but leaves it in its append-only file, and carries it out
//! when it starts the next time. Then a record says that it runs, and no index knows. So whoever
//! first meets a server that it does not know as in order goes through all records, slowly. Nothing
//! else scans the keyspace.

use std::time::Duration;

use ::redis::{Pipeline, Value};
use tokio::sync::Mutex;

use super::{keys::Keys, link::Link, reply, scripts};
use crate::ports::StoreError;

/// Records of one slice: the server does nothing else meanwhile.
const AT_ONCE: usize = 200;
/// Whoever files and is not heard of for this long is gone, and another one begins anew.
const TURN: Duration = Duration::from_secs(10);

/// How far it got.
#[derive(Debug)]
pub(super) struct Refile {
    /// Tells it from others that would do the same.
    me: u64,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many connections had been made when all was in order: a server's next life needs new ones.
    in_order: Option<usize>,
    /// Which life of which server is gone through, and from where on.
    run: String,
    cursor: String,
    wrong: u64,
}

impl Refile {
    pub(super) fn new() -> Self {
        Self {
            me: fastrand::u64(..),
            progress: Mutex::default(),
        }
    }

    /// The next slice; whether another one is to follow.
    pub(super) async fn slice(&self, link: &Link, keys: &Keys) -> Result<bool, StoreError> {
        let mut progress = self.progress.lock().await;
        let connections = link.connections();
        if progress.in_order == Some(connections) {
            return Ok(false);
        }
        let (run, filed, turn) = self.look(link, keys).await?;
        if filed == run {
            progress.in_order = Some(connections);
            return Ok(false);
        }
        if turn != self.me.to_string() {
            return Ok(false);
        }
        if progress.run != run {
            *progress = Progress {
                run,
                cursor: "0".to_owned(),
                ..Progress::default()
            };
        }
        progress.go_on(link, keys).await
    }

    /// Which life of the server this is, which one was gone through, and whose turn it is.
    async fn look(&self, link: &Link, keys: &Keys) -> Result<(String, String, String), StoreError> {
        let (me, turn) = (self.me.to_string(), TURN.as_millis());
        let mut pipeline = Pipeline::with_capacity(4);
        pipeline.cmd("INFO").arg("server");
        pipeline.cmd("GET").arg(keys.filed());
        let take = pipeline.cmd("SET").arg(keys.filing()).arg(&me);
        take.arg("NX").arg("PX").arg(turn);
        pipeline.cmd("GET").arg(keys.filing());
        let mut replies = link.query(&pipeline).await?.into_iter();
        let mut next = || reply::text(replies.next().unwrap_or_default()).unwrap_or_default();
        let (info, filed, _, holder) = (next(), next(), next(), next());
        let run = reply::info(&info, "run_id").unwrap_or_default();
        Ok((run.to_owned(), filed, holder))
    }
}

impl Progress {
    async fn go_on(&mut self, link: &Link, keys: &Keys) -> Result<bool, StoreError> {
        let prefix = keys.job("");
        let (cursor, ids) = scan(link, &self.cursor, &prefix).await?;
        let wrong = link.eval(scripts::refile(keys, &ids)).await?;
        self.wrong += reply::number::<u64>(wrong).map_err(|why| link.corrupt(why))?;
        let mut pipeline = Pipeline::with_capacity(2);
        let more = cursor != "0";
        if more {
            let turn = pipeline.cmd("PEXPIRE").arg(keys.filing());
            turn.arg(TURN.as_millis());
        } else {
            pipeline.cmd("SET").arg(keys.filed()).arg(&self.run);
            pipeline.cmd("DEL").arg(keys.filing());
            if self.wrong > 0 {
                let count = self.wrong;
                tracing::warn!(
                    count,
                    "the store came back with parts of writes; filed again"
                );
            }
        }
        link.query(&pipeline).await?;
        self.cursor = cursor;
        Ok(more)
    }
}

async fn scan(
    link: &Link,
    cursor: &str,
    prefix: &str,
) -> Result<(String, Vec<String>), StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    let scan = pipeline.cmd("SCAN").arg(cursor);
    // A namespace may hold a letter that patterns know; what else matches is no key of a job.
    scan.arg("MATCH").arg(format!("{prefix}*"));
    scan.arg("COUNT").arg(AT_ONCE);
    let reply = link.query(&pipeline).await?.pop().unwrap_or_default();
    let read = |reply| {
        let [cursor, names] = <[Value; 2]>::try_from(reply::array(reply)?)
            .map_err(|_| "a cursor and a list were expected".to_owned())?;
        let names = reply::array(names)?.into_iter().map(reply::text);
        let ids = names.filter_map(|name| match name {
            Ok(name) => name.strip_prefix(prefix).map(|id| Ok(id.to_owned())),
            Err(why) => Some(Err(why)),
        });
        Ok((reply::text(cursor)?, ids.collect::<Result<_, _>>()?))
    };
    read(reply).map_err(|why: reply::Unreadable| link.corrupt(why))
}
