//! Where what jobs left behind goes: the screen, in order where that is asked for, `--results` and
//! `--joblog`.

use std::collections::BTreeMap;

use haul_producer::{JobId, Producer, WorkerInfo};

use super::{ended::Ended, joblog::JobLog, open::Open, results::Results};

/// Jobs that ended before their turn to be shown. When there are more, nothing new starts until
/// the one that holds them up has ended.
const HELD_MAX: usize = 100_000;

/// Where what jobs left behind goes.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) json: bool,
    pub(super) tag: bool,
    pub(super) results: Option<Results>,
    pub(super) joblog: Option<JobLog>,
    /// In the order of items.
    pub(super) order: Option<Order>,
    /// Nobody reads any more; the work is still wanted.
    pub(super) is_stdout_gone: bool,
}

/// Who waits for its turn.
#[derive(Debug)]
pub(super) struct Order {
    next: u64,
    /// Nothing where there is nothing to show. Only ids: what they left behind is in the store.
    held: BTreeMap<u64, Option<(JobId, String)>>,
}

impl Order {
    pub(super) const fn new() -> Self {
        Self {
            next: 1,
            held: BTreeMap::new(),
        }
    }

    fn pop(&mut self) -> Option<Option<(JobId, String)>> {
        let next = self.held.remove(&self.next)?;
        self.next += 1;
        Some(next)
    }
}

impl Outlet {
    /// Whether more than lives are asked for.
    pub(super) const fn wants_records(&self, is_fleet: bool) -> bool {
        self.json || (is_fleet && self.joblog.is_some())
    }

    /// Whether items may go on ending before their turn.
    pub(super) fn has_room(&self) -> bool {
        let held = |order: &Order| order.held.len() < HELD_MAX;
        self.order.as_ref().is_none_or(held)
    }

    /// A job has ended.
    ///
    /// # Errors
    /// When a file cannot be written, or the store is away.
    pub(super) async fn put(
        &mut self,
        producer: &Producer,
        id: JobId,
        open: &Open,
        ended: &Ended,
        workers: &[WorkerInfo],
    ) -> anyhow::Result<()> {
        if let Some(results) = &self.results {
            results.write(&open.item, open.number, ended)?;
        }
        if let Some(joblog) = &mut self.joblog {
            joblog.write(open, ended, workers)?;
        }
        match &mut self.order {
            Some(order) if order.next != open.number => {
                order
                    .held
                    .insert(open.number, Some((id, open.item.clone())));
                Ok(())
            }
            Some(order) => {
                order.next += 1;
                self.show(ended, &open.item);
                self.follow_up(producer).await
            }
            None => {
                self.show(ended, &open.item);
                Ok(())
            }
        }
    }

    /// Nothing is to be shown of an item.
    ///
    /// # Errors
    /// When the store is away.
    pub(super) async fn skip(&mut self, producer: &Producer, number: u64) -> anyhow::Result<()> {
        if let Some(order) = &mut self.order {
            order.held.insert(number, None);
            self.follow_up(producer).await?;
        }
        Ok(())
    }

    /// Shows what is held up by items that will not end any more.
    ///
    /// # Errors
    /// When the store is away.
    pub(super) async fn flush(&mut self, producer: &Producer) -> anyhow::Result<()> {
        while let Some(first) = self.order.as_ref().and_then(|it| it.held.first_key_value()) {
            let first = *first.0;
            if let Some(order) = &mut self.order {
                order.next = first;
            }
            self.follow_up(producer).await?;
        }
        Ok(())
    }

    async fn follow_up(&mut self, producer: &Producer) -> anyhow::Result<()> {
        while let Some(next) = self.order.as_mut().and_then(Order::pop) {
            let Some((id, item)) = next else { continue };
            if let Some(record) = producer.find(&id).await? {
                let ended = Ended::gather(producer, &id, record.life, self.json).await?;
                self.show(&ended, &item);
            }
        }
        Ok(())
    }

    fn show(&mut self, ended: &Ended, item: &str) {
        if !self.is_stdout_gone {
            self.is_stdout_gone = ended.show(item, self.tag, self.json).is_err();
        }
    }
}
