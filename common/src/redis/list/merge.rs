//! Several indexes read as one, newest first.

use std::collections::VecDeque;

use ::redis::{Pipeline, Value};

use super::Cursor;
use crate::{
    filter::Filter,
    ports::StoreError,
    redis::{
        link::Link,
        reply::{self, Unreadable},
    },
    time::Timestamp,
};

/// Entries that one index gives at a time.
const FETCH: usize = 100;
/// The same, on the way through many jobs of one millisecond.
const FETCH_TIES: usize = 1000;

/// An entry of an index.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) cursor: Cursor,
    pub(super) index: String,
}

/// One index, read downwards.
struct Stream {
    index: String,
    /// The last entry that was read; what follows is smaller.
    after: Option<Cursor>,
    /// Where the next fetch begins: this millisecond,
    top: Option<i64>,
    /// less this many entries of it that were fetched.
    skip: usize,
    ready: VecDeque<Cursor>,
    done: bool,
}

/// Several indexes read as one.
pub(super) struct Merge<'a> {
    link: &'a Link,
    streams: Vec<Stream>,
    oldest: Option<i64>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        link: &'a Link,
        indexes: Vec<String>,
        filter: &Filter,
        now: Timestamp,
        after: Option<Cursor>,
    ) -> Self {
        let ago = |age: std::time::Duration| {
            now.as_millis()
                .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        let newest = [
            filter.older_than.map(ago),
            after.as_ref().map(|after| after.created),
        ];
        let stream = |index| Stream {
            index,
            after: after.clone(),
            top: newest.into_iter().flatten().min(),
            skip: 0,
            ready: VecDeque::new(),
            done: false,
        };
        let streams = indexes.into_iter().map(stream).collect();
        Self {
            link,
            streams,
            oldest: filter.newer_than.map(ago),
        }
    }

    /// Whether everything that was fetched is taken, and there is nothing more to fetch.
    pub(super) fn is_exhausted(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.done && stream.ready.is_empty())
    }

    /// The next entries, `count` of them unless that is the end.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<Candidate>, StoreError> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            self.refill().await?;
            let next = self
                .streams
                .iter_mut()
                .max_by(|a, b| a.ready.front().cmp(&b.ready.front()));
            let Some(stream) = next else { break };
            let Some(cursor) = stream.ready.pop_front() else {
                break;
            };
            taken.push(Candidate {
                cursor,
                index: stream.index.clone(),
            });
        }
        // So that `is_exhausted` knows.
        self.refill().await?;
        Ok(taken)
    }

    async fn refill(&mut self) -> Result<(), StoreError> {
        loop {
            let empty = |stream: &&mut Stream| stream.ready.is_empty() && !stream.done;
            let mut pipeline = Pipeline::new();
            for stream in self.streams.iter_mut().filter(empty) {
                stream.ask(&mut pipeline, self.oldest);
            }
            if pipeline.is_empty() {
                return Ok(());
            }
            let replies = self.link.query(&pipeline).await?;
            for (stream, reply) in self.streams.iter_mut().filter(empty).zip(replies) {
                stream.put(reply).map_err(|why| self.link.corrupt(why))?;
            }
        }
    }
}

impl Stream {
    const fn size(&self) -> usize {
        if self.skip < FETCH { FETCH } else { FETCH_TIES }
    }

    fn ask(&self, pipeline: &mut Pipeline, oldest: Option<i64>) {
        let bound = |ms: Option<i64>, open: &str| ms.map_or(open.to_owned(), |ms| ms.to_string());
        pipeline
            .cmd("ZREVRANGEBYSCORE")
            .arg(&self.index)
            .arg(bound(self.top, "+inf"))
            .arg(bound(oldest, "-inf"))
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(self.skip)
            .arg(self.size());
    }

    fn put(&mut self, reply: Value) -> Result<(), Unreadable> {
        let mut values = reply::array(reply)?.into_iter();
        let (mut fetched, asked) = (0, self.size());
        while let (Some(id), Some(score)) = (values.next(), values.next()) {
            let cursor = Cursor {
                created: whole(reply::number(score)?),
                id: reply::text(id)?,
            };
            if self.top != Some(cursor.created) {
                self.top = Some(cursor.created);
                self.skip = 0;
            }
            self.skip += 1;
            fetched += 1;
            if self.after.as_ref().is_none_or(|after| cursor < *after) {
                self.ready.push_back(cursor);
            }
        }
        self.done = fetched < asked;
        if let Some(last) = self.ready.back() {
            self.after = Some(last.clone());
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores are whole milliseconds"
)]
const fn whole(score: f64) -> i64 {
    score as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(after: &str) -> Stream {
        let after: Option<Cursor> = after.parse().ok();
        Stream {
            index: String::new(),
            top: after.as_ref().map(|after| after.created),
            after,
            skip: 0,
            ready: VecDeque::new(),
            done: false,
        }
    }

    fn reply(entries: impl Iterator<Item = (String, i64)>) -> Value {
        let text = |text: String| Value::BulkString(text.into_bytes());
        Value::Array(
            entries
                .flat_map(|(id, at)| [text(id), text(at.to_string())])
                .collect(),
        )
    }

    #[test]
    fn a_fetch_goes_on_below_the_last_entry() {
        let mut stream = stream("");
        let entries = || {
            [
                ("c".to_owned(), 3),
                ("b".to_owned(), 2),
                ("a".to_owned(), 2),
            ]
        };
        stream.put(reply(entries().into_iter())).unwrap();
        assert!(stream.done, "a short fetch is the last one");
        assert_eq!(stream.after, "2:a".parse().ok());
        assert_eq!((stream.top, stream.skip), (Some(2), 2));
        stream.ready.clear();
        stream.put(reply(entries().into_iter())).unwrap();
        assert!(stream.ready.is_empty(), "what was read does not come again");
    }

    #[test]
    fn more_entries_in_one_millisecond_than_a_fetch_holds_are_passed_over() {
        let mut stream = stream("5:a");
        stream
            .put(reply((0..FETCH).map(|n| (format!("b{n}"), 5))))
            .unwrap();
        assert!(!stream.done && stream.ready.is_empty());
        assert_eq!((stream.top, stream.skip), (Some(5), FETCH));
        assert_eq!(stream.size(), FETCH_TIES, "in larger steps");
    }
}
