//! Since when the job waits that has waited longest, from the heads of the indexes.
//!
//! What is queued is indexed in the order in which it waits. What has a time of its own is indexed
//! by creation, so that only those that were created first are looked at.

use ::redis::{Pipeline, Value};

use super::{keys::Keys, link::Link, record, reply};
use crate::{
    job::{QueueName, StateKind},
    ports::StoreError,
    time::Timestamp,
};

/// Jobs with a time of their own that are looked at, of each queue and state.
const TIMED_MAX: usize = 20;
const TIMED: [StateKind; 2] = [StateKind::Scheduled, StateKind::Retrying];

/// Two round trips, however many queues and jobs there are.
pub(super) async fn oldest(
    link: &Link,
    keys: &Keys,
    queues: &[QueueName],
) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let now = link.now();
    let replies = link.query(&heads(keys, queues)).await?;
    let mut oldest = Vec::with_capacity(queues.len());
    let (mut looks, mut owners) = (Pipeline::with_capacity(0), Vec::new());
    for (queue, replies) in replies.chunks(1 + TIMED.len()).enumerate() {
        let texts = |reply: &Value| -> Result<Vec<String>, StoreError> {
            let list = reply::array(reply.clone());
            let texts = list.and_then(|list| list.into_iter().map(reply::text).collect());
            texts.map_err(|why| link.corrupt(why))
        };
        // An id, and its score.
        let first = texts(&replies[0])?.pop();
        let millis = first.and_then(|score| score.parse().ok());
        oldest.push(millis.map(Timestamp::from_millis));
        for reply in &replies[1..] {
            for id in texts(reply)? {
                looks.cmd("HGET").arg(keys.job(&id)).arg("head");
                owners.push(queue);
            }
        }
    }
    for (head, queue) in link.query(&looks).await?.into_iter().zip(owners) {
        let head = reply::text(head).ok();
        let due = head.as_deref().and_then(record::due);
        let due = due.filter(|due| *due <= now);
        oldest[queue] = [oldest[queue], due].into_iter().flatten().min();
    }
    Ok(oldest)
}

fn heads(keys: &Keys, queues: &[QueueName]) -> Pipeline {
    let mut heads = Pipeline::with_capacity(queues.len() * (1 + TIMED.len()));
    for queue in queues {
        heads
            .cmd("ZRANGE")
            .arg(keys.index(queue, StateKind::Queued))
            .arg(0)
            .arg(0)
            .arg("WITHSCORES");
        for state in TIMED {
            heads
                .cmd("ZRANGE")
                .arg(keys.index(queue, state))
                .arg(0)
                .arg(TIMED_MAX - 1);
        }
    }
    heads
}
