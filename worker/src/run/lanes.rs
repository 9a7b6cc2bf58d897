//! Which lane is next.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use haul_common::{job::Lane, ports::Delivery};
use tokio::sync::mpsc;

/// Turns of the lanes, highest first, while all have work.
const WEIGHTS: [i64; 4] = [8, 4, 2, 1];

/// A message that was returned this often is kept until it can start: the broker gives up on one that
/// goes round for ever (`x-delivery-limit`), and that is meant for those that crash workers.
const RETURNS_MAX: u32 = 20;

/// Chooses among the lanes that have work: smooth weighted round robin, or strictly the highest.
#[derive(Debug)]
pub(super) struct Picker {
    credit: [i64; 4],
    strict: bool,
}

impl Picker {
    pub(super) const fn new(strict: bool) -> Self {
        Self {
            credit: [0; 4],
            strict,
        }
    }

    /// The lane whose turn it is, of those with work.
    ///
    /// Only lanes with work gain credit, so that an idle time saves nothing up: a critical job
    /// that comes to a busy low lane is next.
    pub(super) fn pick(&mut self, has_work: [bool; 4]) -> Option<usize> {
        let ready = || (0..4).filter(|n| has_work[*n]);
        if self.strict {
            return ready().next();
        }
        let mut total = 0;
        for n in ready() {
            self.credit[n] += WEIGHTS[n];
            total += WEIGHTS[n];
        }
        // The first of equals is the higher lane.
        let chosen = ready().reduce(|best, n| {
            if self.credit[n] > self.credit[best] {
                n
            } else {
                best
            }
        })?;
        self.credit[chosen] -= total;
        Some(chosen)
    }
}

/// The lanes of one queue, as their feeds fill them.
#[derive(Debug)]
pub(super) struct Lanes {
    from: [mpsc::Receiver<Delivery>; 4],
    /// Came before what is in `from`, and was not given back.
    kept: [VecDeque<Delivery>; 4],
    picker: Picker,
}

impl Lanes {
    /// The lanes, and for each the end that its feed fills.
    pub(super) fn new(
        strict: bool,
        prefetch: usize,
    ) -> (Self, impl Iterator<Item = (Lane, mpsc::Sender<Delivery>)>) {
        let channels = [(); 4].map(|()| mpsc::channel(prefetch));
        let (mut to, mut from) = (Vec::new(), Vec::new());
        for (sender, receiver) in channels {
            to.push(sender);
            from.push(receiver);
        }
        let mut from = from.into_iter();
        let mut next = || from.next().unwrap_or_else(|| mpsc::channel(1).1);
        let from = [next(), next(), next(), next()];
        (
            Self {
                from,
                kept: Default::default(),
                picker: Picker::new(strict),
            },
            Lane::ALL.into_iter().zip(to),
        )
    }

    /// The next delivery, by the lanes' turns. Nothing once all feeds have ended.
    pub(super) async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next delivery, if one is here.
    pub(super) fn at_hand(&mut self) -> Option<Delivery> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(delivery) => delivery,
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let has_work = [0, 1, 2, 3].map(|n| !self.kept[n].is_empty() || !self.from[n].is_empty());
        let first = self.picker.pick(has_work);
        if let Some(kept) = first.and_then(|n| self.kept[n].pop_front()) {
            return Poll::Ready(Some(kept));
        }
        let order = first
            .into_iter()
            .chain((0..4).filter(|n| Some(*n) != first));
        self.poll_feeds(cx, order)
            .map(|came| came.map(|(_, delivery)| delivery))
    }

    /// The first that came, of these lanes in this order. Nothing once all four have ended.
    fn poll_feeds(
        &mut self,
        cx: &mut Context<'_>,
        order: impl Iterator<Item = usize>,
    ) -> Poll<Option<(usize, Delivery)>> {
        let mut ended = 0;
        for n in order {
            match self.from[n].poll_recv(cx) {
                Poll::Ready(Some(delivery)) => return Poll::Ready(Some((n, delivery))),
                Poll::Ready(None) => ended += 1,
                Poll::Pending => {}
            }
        }
        if ended == 4 {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Gives back what is here and what still comes, until all feeds have ended.
    pub(super) async fn give_back(&mut self) {
        while let Some((n, delivery)) = std::future::poll_fn(|cx| self.poll_feeds(cx, 0..4)).await {
            self.put_back(n, delivery);
        }
    }

    /// Does not start `delivery`, of the lane with this number.
    pub(super) fn put_back(&mut self, n: usize, delivery: Delivery) {
        if delivery.returned < RETURNS_MAX {
            delivery.settlement.release();
        } else {
            self.kept[n].push_back(delivery);
        }
    }

    /// Gives back what was not started.
    pub(super) fn release(mut self) {
        for (from, kept) in self.from.iter_mut().zip(self.kept) {
            from.close();
            kept.into_iter().for_each(|it| it.settlement.release());
            while let Ok(delivery) = from.try_recv() {
                delivery.settlement.release();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use haul_common::{
        job::QueueName,
        ports::{Fate, Settlement, Verdict},
        wire::Message,
    };

    use super::*;

    fn turns(picker: &mut Picker, has_work: [bool; 4], count: usize) -> [usize; 4] {
        let mut turns = [0; 4];
        for _ in 0..count {
            turns[picker.pick(has_work).unwrap()] += 1;
        }
        turns
    }

    #[test]
    fn busy_lanes_share_by_weight() {
        let mut picker = Picker::new(false);
        assert_eq!(turns(&mut picker, [true; 4], 150), [80, 40, 20, 10]);
    }

    #[test]
    fn a_critical_job_is_next_whatever_the_low_lane_did_before() {
        let mut picker = Picker::new(false);
        turns(&mut picker, [false, false, false, true], 100_000);
        assert_eq!(picker.pick([true, false, false, true]), Some(0));
    }

    #[test]
    fn strict_lanes_starve_lower_ones() {
        let mut picker = Picker::new(true);
        assert_eq!(
            turns(&mut picker, [true, false, true, true], 50),
            [50, 0, 0, 0]
        );
    }

    fn delivery(returned: u32, lane: Lane) -> (Delivery, mpsc::UnboundedReceiver<Fate>) {
        let (to, verdicts) = mpsc::unbounded_channel();
        let delivery = Delivery {
            message: Message::default(),
            origin: (QueueName::default_queue(), lane),
            returned,
            published: None,
            given_up: None,
            settlement: Settlement::new(1, to),
        };
        (delivery, verdicts)
    }

    #[tokio::test]
    async fn what_went_round_often_is_kept_and_has_its_turn() {
        let (mut lanes, ends) = Lanes::new(false, 2);
        let mut verdicts = Vec::new();
        for (lane, to) in ends {
            let often = if lane == Lane::Low { RETURNS_MAX } else { 0 };
            let (delivery, verdict) = delivery(often, lane);
            to.send(delivery).await.unwrap();
            verdicts.push(verdict);
        }
        lanes.give_back().await;
        let given = verdicts.iter_mut().map(|v| v.try_recv().ok());
        let given: Vec<_> = given.map(|v| v.and_then(|(_, verdict)| verdict)).collect();
        let back = Some(Verdict::Release);
        assert_eq!(given, [back, back, back, None]);
        assert_eq!(lanes.next().await.unwrap().origin.1, Lane::Low);
        assert!(lanes.next().await.is_none());
    }

    #[test]
    fn no_work_is_no_turn() {
        assert_eq!(Picker::new(false).pick([false; 4]), None);
    }
}
