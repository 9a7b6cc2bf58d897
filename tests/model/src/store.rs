//! The store: claim, create, compare-and-set, and what must hold of every write.

use haul_common::faults::Bug;

use crate::{
    compact::{Move, Place, Rec},
    rules::Rules,
    state::{Worker, World, Wrong},
};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A claim.
    Claim,
    /// The end of an attempt.
    Finish,
    /// A redrive, by whoever asked for it or by its message.
    Redrive,
    /// Whoever cancels.
    Cancel,
    /// Anybody who takes a job from its worker, or moves one that waits.
    Other,
}

/// What a claim is answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claimed {
    Granted(Rec),
    Missing,
    Held(Rec),
}

impl World {
    /// `Store::claim`
    pub(crate) fn claim(&mut self, rules: &Rules, attempt: u8, worker: u8) -> Claimed {
        let Some(mut stored) = self.rec else {
            return Claimed::Missing;
        };
        if rules.has(Bug::CancelForgotten) && stored.place == Place::Cancelled {
            stored.place = Place::Queued;
        }
        match stored.claimed(attempt, worker, self.clock, self.now) {
            Some(running) => {
                self.clock += 4;
                self.write(running, Writer::Claim, false);
                Claimed::Granted(running)
            }
            None => Claimed::Held(stored),
        }
    }

    /// `Store::create`; says whether it was new.
    pub(crate) fn create(&mut self, rec: Rec, ended: bool) -> bool {
        let new = self.rec.is_none();
        if new {
            self.write(rec, Writer::Other, ended);
        }
        new
    }

    /// `Store::apply`; says whether the job was still where the transition was made from.
    pub(crate) fn apply(&mut self, step: &Move, writer: Writer) -> bool {
        let same = self.rec.is_some_and(|rec| rec.same_version(&step.from));
        if same {
            self.write(step.to, writer, step.ended);
        }
        same
    }

    /// Writes, and sees to it that nothing is written that must not be.
    pub(crate) fn write(&mut self, new: Rec, writer: Writer, ended: bool) {
        if writer == Writer::Claim && self.ghost.barred {
            self.wrong(Wrong::CancelForgotten);
        }
        if let Some(old) = self.rec {
            self.check_write(&old, &new, writer);
            let waits = old.owner().is_none() && !old.is_terminal();
            self.ghost.barred |= writer == Writer::Cancel && waits;
        }
        if writer == Writer::Redrive {
            self.ghost.asked = self.ghost.asked.saturating_sub(1);
            (self.ghost.barred, self.ghost.ended) = (false, false);
        }
        if new.is_terminal() {
            self.ghost.ended = true;
            // Claims move the clock in steps of four.
            let fence = 1 << (new.fence / 4);
            if ended && self.ghost.ends & fence != 0 {
                self.wrong(Wrong::EndedTwice);
            }
            self.ghost.ends |= if ended { fence } else { 0 };
        }
        self.rec = Some(new);
    }

    fn check_write(&mut self, old: &Rec, new: &Rec, writer: Writer) {
        let redrive = writer == Writer::Redrive && (self.ghost.asked > 0 || self.ghost.lossy);
        if old.is_terminal() && !redrive {
            self.wrong(Wrong::EndLeft);
        }
        if writer == Writer::Finish && new.fence < old.fence {
            self.wrong(Wrong::OldFenceWrote);
        }
        if writer == Writer::Other && new.owner().is_none() && !self.ghost.lossy {
            let runs = |worker: &Worker| {
                let mut runs = worker.tasks.iter().filter_map(|task| task.run);
                !worker.doubted
                    && old.owner() == Some(worker.id)
                    && runs.any(|run| run.fence == old.fence)
            };
            if self.workers.iter().any(runs) {
                self.wrong(Wrong::LiveTaken);
            }
        }
    }

    /// The store goes back to `rec`: what it knew since is lost.
    pub(crate) fn fall_back(&mut self, rec: Option<Rec>) {
        self.rec = rec;
        self.ghost.lossy = true;
        self.ghost.barred = false;
        self.ghost.ends = 0;
    }
}
