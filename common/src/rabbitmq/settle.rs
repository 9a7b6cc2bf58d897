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
    /// "and all before" must not touch one that still runs.
    pub(super) fn ready(&mut self) -> Vec<Frame> {
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
        frames
    }

    /// What to tell now, and what is done out of order since this was last asked.
    pub(super) fn overdue(&mut self) -> Vec<Frame> {
        let mut frames = self.ready();
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
