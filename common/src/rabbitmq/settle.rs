//! What the broker waits for on one channel, and what it is told: as much as possible in one frame.

use std::collections::BTreeSet;

use crate::ports::Verdict;

/// What is told to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// This delivery and every one before it is done.
    AckThrough(u64),
    /// This delivery is done.
    Ack(u64),
    /// This delivery goes back.
    Release(u64),
}

/// The tags of a channel.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// All that the broker waits for.
    outstanding: BTreeSet<u64>,
    /// Those of them that are done. Most wait a moment for one before them.
    done: BTreeSet<u64>,
    /// Those of them that have waited since [`Self::overdue`] was last asked.
    late: BTreeSet<u64>,
    /// Those that go back; nothing waits for them any more.
    released: Vec<u64>,
}

impl Tags {
    pub(super) fn came(&mut self, tag: u64) {
        self.outstanding.insert(tag);
    }

    /// A tag that is not outstanding was settled before; twice closes the channel.
    pub(super) fn settle(&mut self, tag: u64, verdict: Verdict) {
        match verdict {
            Verdict::Ack if self.outstanding.contains(&tag) => {
                self.done.insert(tag);
            }
            Verdict::Release if self.outstanding.remove(&tag) => {
                self.done.remove(&tag);
                self.released.push(tag);
            }
            Verdict::Ack | Verdict::Release => {}
        }
    }

    /// Whether something is settled that was not told.
    pub(super) fn waits(&self) -> bool {
        !self.done.is_empty() || !self.released.is_empty()
    }

    /// Whether it is worth telling at once: something goes back, which others can start, or so many
    /// are done.
    pub(super) fn is_due(&self, many: usize) -> bool {
        !self.released.is_empty() || self.done.len() >= many
    }

    /// What to tell now: what goes back, and what is done together with all before it. Only where
    /// *every* outstanding tag up to some point is done do they go together: an acknowledgement
    /// "and all before" must not touch one that still runs. What is done out of order waits for it,
    /// but not when so `many` do: behind one slow job they would take up the whole prefetch.
    pub(super) fn ready(&mut self, many: usize) -> Vec<Frame> {
        let mut frames: Vec<_> = self.released.drain(..).map(Frame::Release).collect();
        let (mut through, mut count) = (0, 0);
        while let Some(first) = self.outstanding.first()
            && self.done.remove(first)
        {
            (through, count) = (*first, count + 1);
            self.outstanding.pop_first();
        }
        frames.extend(match count {
            0 => None,
            1 => Some(Frame::Ack(through)),
            _ => Some(Frame::AckThrough(through)),
        });
        if self.done.len() >= many {
            for tag in std::mem::take(&mut self.done) {
                self.outstanding.remove(&tag);
                frames.push(Frame::Ack(tag));
            }
        }
        frames
    }

    /// What to tell now, and what is done out of order since this was last asked.
    pub(super) fn overdue(&mut self) -> Vec<Frame> {
        let mut frames = self.ready(usize::MAX);
        for tag in std::mem::take(&mut self.late) {
            if self.done.remove(&tag) {
                self.outstanding.remove(&tag);
                frames.push(Frame::Ack(tag));
            }
        }
        self.late.clone_from(&self.done);
        frames
    }

    /// All that is settled.
    pub(super) fn all(&mut self) -> Vec<Frame> {
        self.late.clone_from(&self.done);
        self.overdue()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Ack, Release};

    const MANY: usize = 3;

    fn settled(outstanding: &[u64], settled: &[(u64, Verdict)]) -> Tags {
        let mut tags = Tags::default();
        outstanding.iter().for_each(|tag| tags.came(*tag));
        for (tag, verdict) in settled {
            tags.settle(*tag, *verdict);
        }
        tags
    }

    #[test]
    fn a_prefix_that_is_all_done_goes_in_one_frame() {
        let mut tags = settled(&[3, 4, 5, 6], &[(5, Ack), (3, Ack), (4, Ack)]);
        assert_eq!(tags.ready(MANY), [Frame::AckThrough(5)]);
        assert!(!tags.waits());
        tags.settle(6, Ack);
        assert_eq!(tags.ready(MANY), [Frame::Ack(6)]);
    }

    #[test]
    fn what_still_runs_is_never_covered() {
        let mut tags = settled(&[1, 2, 3, 4], &[(1, Ack), (3, Ack), (4, Ack)]);
        assert_eq!(tags.all(), [Frame::Ack(1), Frame::Ack(3), Frame::Ack(4)]);
        tags.settle(2, Ack);
        assert_eq!(tags.all(), [Frame::Ack(2)]);
    }

    #[test]
    fn what_is_done_out_of_order_waits_a_moment_for_what_is_before_it() {
        let mut tags = settled(&[1, 2, 3, 4, 5], &[(2, Ack), (4, Ack)]);
        assert_eq!(tags.ready(MANY), []);
        assert!(tags.waits());
        assert_eq!(tags.overdue(), [], "it has not waited yet");
        tags.settle(1, Ack);
        assert_eq!(tags.ready(MANY), [Frame::AckThrough(2)]);
        tags.settle(5, Ack);
        assert_eq!(tags.overdue(), [Frame::Ack(4)]);
        assert_eq!(tags.overdue(), [Frame::Ack(5)]);
    }

    #[test]
    fn what_is_done_out_of_order_waits_no_longer_when_it_is_much() {
        let mut tags = settled(&[1, 2, 3, 4, 5, 6], &[(2, Ack), (4, Ack)]);
        assert_eq!(tags.ready(MANY), []);
        tags.settle(6, Ack);
        let each = [Frame::Ack(2), Frame::Ack(4), Frame::Ack(6)];
        assert_eq!(tags.ready(MANY), each);
        assert!(!tags.waits());
        for tag in [1, 3, 5] {
            tags.settle(tag, Ack);
        }
        assert_eq!(tags.ready(MANY), [Frame::AckThrough(5)]);
    }

    #[test]
    fn what_goes_back_does_so_before_the_rest_is_acknowledged() {
        let mut tags = settled(&[1, 2, 3], &[(1, Ack), (2, Release), (3, Ack)]);
        assert_eq!(tags.ready(MANY), [Frame::Release(2), Frame::AckThrough(3)]);
    }

    #[test]
    fn nothing_is_settled_twice() {
        let twice = [(1, Ack), (2, Ack), (2, Ack), (1, Release)];
        let mut tags = settled(&[2], &twice);
        assert_eq!(tags.all(), [Frame::Ack(2)]);
        tags.settle(2, Release);
        assert_eq!(tags.all(), []);
    }
}
