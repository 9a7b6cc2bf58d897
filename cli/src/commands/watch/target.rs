//! What is watched, and how it is counted.

use std::collections::{BTreeMap, VecDeque};

use futures_util::{StreamExt, stream};
use haul_producer::{
    BatchId, Filter, JobId, Listing, PageRequest, Producer, QueueName, StateKind, StoreError,
};

use crate::exit::{Code, Exit};

/// How many jobs are in which state.
pub(super) type Counts = BTreeMap<StateKind, u64>;

const PAGE: usize = 500;
/// Jobs that a filter may mean: each is looked at by itself.
const FOLLOWED_MAX: usize = 100_000;
/// Jobs that one look covers; those that have not ended have their turn one after the other.
const LOOKED_AT: usize = 2000;
const AT_ONCE: usize = 64;

/// What is watched.
#[derive(Debug)]
pub(in crate::commands) enum Target {
    /// The store keeps counts of its jobs.
    Batch(BatchId),
    /// Here too.
    Queue(QueueName),
    /// The jobs that a filter meant at the beginning.
    Jobs(Followed),
}

/// Jobs that are followed one by one.
#[derive(Debug)]
pub(in crate::commands) struct Followed {
    filter: String,
    counts: Counts,
    open: VecDeque<(JobId, StateKind)>,
}

impl Target {
    /// Whether the words can be a batch or a filter, before anything is connected.
    ///
    /// # Errors
    /// When they cannot.
    pub(in crate::commands) fn check(words: &[String]) -> anyhow::Result<()> {
        let text = words.join(" ");
        if text.contains(':') {
            text.parse::<Filter>()?;
        } else {
            text.parse::<BatchId>()?;
        }
        Ok(())
    }

    /// A batch, or what the words of a filter mean now.
    ///
    /// # Errors
    /// When they are neither, or mean too many to be followed one by one.
    pub(in crate::commands) async fn read(
        producer: &Producer,
        words: &[String],
    ) -> anyhow::Result<Self> {
        let text = words.join(" ");
        if !text.contains(':') {
            return Ok(Self::Batch(text.parse()?));
        }
        let filter: Filter = text.parse()?;
        if let Some(batch) = filter.batch.clone()
            && text == format!("batch:{batch}")
        {
            return Ok(Self::Batch(batch));
        }
        if let Some(queue) = filter.queue.clone()
            && text == format!("queue:{queue}")
        {
            return Ok(Self::Queue(queue));
        }
        Followed::collect(producer, &filter, text)
            .await
            .map(Self::Jobs)
    }

    /// How it is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Batch(batch) => batch,
            Self::Queue(queue) => queue,
            Self::Jobs(jobs) => &jobs.filter,
        }
    }

    /// Counts; nothing where no job is known.
    pub(super) async fn look(&mut self, producer: &Producer) -> Result<Option<Counts>, StoreError> {
        match self {
            Self::Batch(batch) => Ok(producer.batch(batch).await?.map(|counts| counts.states)),
            Self::Queue(queue) => {
                let counts = producer.counts().await?;
                let found = counts.into_iter().find(|counts| counts.queue == *queue);
                Ok(found.map(|counts| counts.states))
            }
            Self::Jobs(jobs) => jobs.look(producer).await,
        }
    }

    /// Nothing is known of it.
    pub(super) fn unknown(&self) -> anyhow::Error {
        let text = match self {
            Self::Batch(batch) => {
                format!("no job of a batch {batch} is known; see haul batch list")
            }
            Self::Queue(queue) => format!("no job of queue {queue} is known; see haul queue list"),
            Self::Jobs(jobs) => format!("no jobs match `{}`; see haul job list", jobs.filter),
        };
        Exit::with(Code::NotFound, text)
    }

    /// Nothing is known of it any more.
    pub(super) fn forgotten(&self) -> anyhow::Error {
        let text = format!("the jobs of {} were forgotten meanwhile", self.name());
        Exit::with(Code::NotFound, text)
    }
}

impl Followed {
    async fn collect(producer: &Producer, filter: &Filter, text: String) -> anyhow::Result<Self> {
        let mut followed = Self {
            filter: text,
            counts: Counts::new(),
            open: VecDeque::new(),
        };
        let (mut after, mut number) = (None, 0);
        loop {
            let page = PageRequest { limit: PAGE, after };
            let Listing { records, next } = producer.list(filter, page).await?;
            number += records.len();
            if number > FOLLOWED_MAX {
                return Err(Exit::usage(format!(
                    "more than {FOLLOWED_MAX} jobs match `{}`, too many to follow one by one\n      \
                     watch a batch or a whole queue (queue:NAME alone), which may have any number",
                    followed.filter
                )));
            }
            for record in records {
                let state = record.life.state.kind();
                *followed.counts.entry(state).or_default() += 1;
                if !state.is_terminal() {
                    // The oldest, which end first, are listed last.
                    followed.open.push_front((record.spec.id, state));
                }
            }
            after = next;
            if after.is_none() {
                return Ok(followed);
            }
        }
    }

    async fn look(&mut self, producer: &Producer) -> Result<Option<Counts>, StoreError> {
        let turn: Vec<_> = self.open.iter().take(LOOKED_AT).cloned().collect();
        let find = |(id, was): (JobId, StateKind)| async move {
            let found = producer.find(&id).await?;
            Ok::<_, StoreError>((id, was, found.map(|record| record.life.state.kind())))
        };
        let mut found = stream::iter(turn).map(find).buffered(AT_ONCE);
        while let Some(one) = found.next().await {
            let (id, was, now) = one?;
            self.open.pop_front();
            self.count(was, now);
            // One that was forgotten meanwhile is no longer there to be counted.
            if let Some(now) = now.filter(|now| !now.is_terminal()) {
                self.open.push_back((id, now));
            }
        }
        Ok(Some(self.counts.clone()).filter(|counts| !counts.is_empty()))
    }

    fn count(&mut self, was: StateKind, now: Option<StateKind>) {
        if let Some(count) = self.counts.get_mut(&was) {
            *count -= 1;
        }
        if let Some(now) = now {
            *self.counts.entry(now).or_default() += 1;
        }
        self.counts.retain(|_, count| *count > 0);
    }
}
