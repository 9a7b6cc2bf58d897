//! The other loops of a worker: heartbeat, janitor, overdue.

use haul_common::faults::Bug;

use crate::{
    action::Luck,
    compact::{Place, Rec},
    rules::{Event, Rules},
    state::{Loop, Pc, Stop, Task, Worker, World},
    store::Writer,
};

/// What a heartbeat hears of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Cancelled,
    Lost,
    Forgotten,
}

impl World {
    /// Whether a beat would change anything.
    pub(crate) fn wants_to_beat(&self, rules: &Rules, worker: usize) -> bool {
        let me = &self.workers[worker];
        self.is_silent(me.id)
            || newest(me).is_some_and(|at| match self.heard(&me.tasks[at]) {
                Heard::Nothing => false,
                Heard::Forgotten => rules.healers[worker] && me.other == Loop::Idle,
                _ => me.tasks[at].pc == Pc::Run && me.tasks[at].stop.is_none(),
            })
    }

    /// `Store::beat`, and what the worker makes of the answer.
    pub(crate) fn beat(&mut self, rules: &Rules, worker: usize) {
        self.silent &= !(1 << self.workers[worker].id);
        let Some(at) = newest(&self.workers[worker]) else {
            return;
        };
        let heard = self.heard(&self.workers[worker].tasks[at]);
        let me = &mut self.workers[worker];
        let stop = match (heard, me.tasks[at].run) {
            (Heard::Forgotten, Some(run)) if rules.healers[worker] && me.other == Loop::Idle => {
                me.other = Loop::Remind(run);
                return;
            }
            (Heard::Cancelled, _) => Stop::Cancelled,
            (Heard::Lost, _) => Stop::Lost,
            _ => return,
        };
        self.stop(worker, at, stop);
    }

    fn stop(&mut self, worker: usize, task: usize, stop: Stop) {
        let mut task = self.workers[worker].tasks.remove(task);
        // The first cause stands.
        task.stop = task.stop.or(Some(stop));
        self.keep(worker, task);
    }

    fn heard(&self, task: &Task) -> Heard {
        let Some(run) = task.run else {
            return Heard::Nothing;
        };
        match self.rec {
            None => Heard::Forgotten,
            Some(rec) if rec.fence < run.fence => Heard::Forgotten,
            Some(rec) if rec.owner().is_none() || rec.fence > run.fence => Heard::Lost,
            Some(rec) if rec.cancel => Heard::Cancelled,
            Some(_) => Heard::Nothing,
        }
    }

    /// Whether the janitor of this worker would see an orphan. One that has just woken judges nobody.
    pub(crate) fn sees_orphan(&self, worker: usize) -> bool {
        let me = &self.workers[worker];
        let owner = self.rec.as_ref().and_then(Rec::owner);
        owner.is_some_and(|owner| {
            !self.is_silent(me.id) && (self.is_silent(owner) || (owner == me.id && !me.in_hand()))
        })
    }

    /// Whether the job waits beyond its turn. Copies that are sent although a message is somewhere
    /// are like those that the broker makes.
    pub(crate) fn is_overdue(&self, worker: usize) -> bool {
        let waits =
            |rec: &Rec| rec.owner().is_none() && !rec.is_terminal() && rec.due() <= self.now;
        !self.has_message()
            && !self.workers[worker].in_hand()
            && self.rec.as_ref().is_some_and(waits)
    }

    /// The next call of heartbeat, janitor or overdue.
    pub(crate) fn go_on(&mut self, rules: &Rules, worker: usize, luck: Luck) {
        let next = match self.workers[worker].other {
            Loop::Idle => Loop::Idle,
            Loop::Take(rec) => self.take(rules, worker, &rec, luck),
            Loop::SendOn(rec) if rec.place == Place::Dead => self
                .sent(Loop::SendOn(rec), |world| {
                    world.publish_letter(rules, &rec, luck)
                }),
            Loop::SendOn(rec) => self.sent(Loop::SendOn(rec), |world| {
                world.publish(rules, rec.vehicle(), luck)
            }),
            Loop::SendAgain(rec) => {
                rules.see(Event::SentAgain);
                self.sent(Loop::SendAgain(rec), |world| {
                    world.publish(rules, rec.vehicle(), luck)
                })
            }
            Loop::Remind(run) => Loop::Reassert(run, self.rec),
            Loop::Reassert(run, found) => self.reassert(rules, worker, &run, found),
        };
        self.workers[worker].other = next;
    }

    fn sent(&mut self, again: Loop, publish: impl FnOnce(&mut Self) -> bool) -> Loop {
        if publish(self) { Loop::Idle } else { again }
    }

    /// `Protocol::take_orphan`
    fn take(&mut self, rules: &Rules, worker: usize, rec: &Rec, luck: Luck) -> Loop {
        let me = self.workers[worker].id;
        let Some(step) = rec.orphaned(me, self.now) else {
            return Loop::Idle;
        };
        let taken = if rules.has(Bug::SweepByIdOnly) {
            self.write(step.to, Writer::Other, step.ended);
            true
        } else {
            self.apply(&step, Writer::Other)
        };
        if luck == Luck::Unheard {
            self.left.answers -= 1;
            return Loop::Idle;
        }
        if !taken {
            return Loop::Idle;
        }
        rules.see(match step.to.place {
            Place::Dead => Event::LostForGood,
            _ if rec.owner() == Some(me) => Event::Disowned,
            _ => Event::TakenByJanitor,
        });
        match step.to.place {
            Place::Cancelled => Loop::Idle,
            _ => Loop::SendOn(step.to),
        }
    }

    /// `Protocol::reassert`, after the record was looked up.
    fn reassert(&mut self, rules: &Rules, worker: usize, run: &Rec, found: Option<Rec>) -> Loop {
        let counts = match found {
            None => {
                if self.create(*run, false) {
                    rules.see(Event::Reasserted);
                }
                true
            }
            Some(stored) => match run.reasserted(&stored) {
                Some(step) => {
                    if self.apply(&step, Writer::Other) {
                        rules.see(Event::Reasserted);
                    }
                    true
                }
                None => stored.fence >= run.fence,
            },
        };
        let of_run = |task: &Task| task.run == Some(*run);
        let at = self.workers[worker].tasks.iter().position(of_run);
        if let (false, Some(at)) = (counts, at) {
            self.stop(worker, at, Stop::Lost);
        }
        Loop::Idle
    }
}

/// The attempt that the worker's table names.
fn newest(worker: &Worker) -> Option<usize> {
    let runs = worker.tasks.iter().enumerate();
    let runs = runs.filter_map(|(at, task)| task.run.map(|run| (run.fence, at)));
    runs.max().map(|(_, at)| at)
}
