//! What a run and its jobs are called, so that a later run can find them.
//!
//! A run is `run-<command>-<time>`: a hash of command and directory, and the millisecond it was
//! started in. That is its batch, and, where it works its jobs off itself, the queue that it alone
//! consumes from. All its jobs have the tag `run:<command>`, so that `--resume` finds the newest run
//! of the same command by its newest job, and needs no state of its own. A job's id is a hash of
//! run, item, size and time of change of a file of `--files`, and how often the same item came
//! before: the same item of the same run is the same job, and a changed one is another.

use haul_common::job::NameError;
use haul_producer::{
    BatchId, Filter, JobId, Listing, PageRequest, Producer, QueueName, Tag, Timestamp,
};
use sha2::{Digest, Sha256};

use super::{seen::Seen, source::Item};

/// What a run and its jobs are called.
#[derive(Debug)]
pub(super) struct Identity {
    /// The run.
    pub(super) batch: BatchId,
    /// Where its jobs go.
    pub(super) queue: QueueName,
    /// All runs of the same command.
    pub(super) tag: Tag,
    seen: Seen,
}

const PREFIX: &str = "run-";

/// Whether a queue is that of a run.
pub(crate) fn is_run_queue(queue: &str) -> bool {
    queue.starts_with(PREFIX)
}

impl Identity {
    /// A new run, or the newest one of the same command; says which.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn settle(
        producer: &Producer,
        words: &[&str],
        queue: Option<QueueName>,
        resume: bool,
    ) -> anyhow::Result<(Self, bool)> {
        let words = words.iter().copied();
        let hash = format!("{:032x}", digest(words))[..8].to_owned();
        let tag: Tag = format!("run:{hash}").parse()?;
        let last = if resume {
            newest(producer, &tag).await?
        } else {
            None
        };
        let is_resumed = last.is_some();
        let name =
            last.unwrap_or_else(|| format!("{PREFIX}{hash}-{}", Timestamp::now().as_millis()));
        Ok((Self::named(&name, queue, tag)?, is_resumed))
    }

    fn named(name: &str, queue: Option<QueueName>, tag: Tag) -> Result<Self, NameError> {
        Ok(Self {
            batch: name.parse()?,
            queue: queue.map_or_else(|| name.parse(), Ok)?,
            tag,
            seen: Seen::new(),
        })
    }

    /// The id of the job for this item, which is the next in line.
    ///
    /// # Errors
    /// Never: a hash is an id.
    pub(super) fn job(&mut self, item: &Item) -> Result<JobId, NameError> {
        let print = item.print.as_deref().unwrap_or_default();
        let mut nth = 1;
        loop {
            let id = digest([&*self.batch, &item.text, print, &nth.to_string()]);
            if !self.seen.note(id) {
                return format!("r-{id:032x}").parse();
            }
            nth += 1;
        }
    }
}

async fn newest(producer: &Producer, tag: &Tag) -> anyhow::Result<Option<String>> {
    let filter = Filter {
        tags: vec![tag.clone()],
        ..Filter::default()
    };
    let mut after = None;
    loop {
        let page = PageRequest { limit: 1, after };
        let Listing { records, next } = producer.list(&filter, page).await?;
        if let Some(batch) = records.into_iter().find_map(|record| record.spec.batch) {
            return Ok(Some(batch.to_string()));
        }
        after = next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// The first 128 bits of SHA-256 over the words, each with its end.
fn digest<'a>(words: impl IntoIterator<Item = &'a str>) -> u128 {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    u128::from_be_bytes(short)
}

#[cfg(test)]
mod tests {
    use super::{super::source::plain, *};

    fn ids(items: &[&str]) -> Vec<JobId> {
        let mut run = Identity::named("run-0-1", None, "run:0".parse().unwrap()).unwrap();
        let item = |text: &&str| plain((*text).to_owned());
        items
            .iter()
            .map(|text| run.job(&item(text)).unwrap())
            .collect()
    }

    #[test]
    fn the_same_item_of_the_same_run_is_the_same_job() {
        assert_eq!(ids(&["a", "b"])[1], ids(&["b"])[0]);
    }

    #[test]
    fn equal_items_of_one_run_are_different_jobs() {
        let twice = ids(&["a", "a"]);
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn words_do_not_run_together() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }
}
