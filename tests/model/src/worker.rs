//! A delivery in a worker's hands, call by call: `Protocol::receive`, `guard` and `finish`.

use haul_common::{faults::Bug, life::Owner};

use crate::{
    action::Luck,
    compact::{Decision, How, Move, Msg, Place, Rec},
    rules::{Event, Rules},
    state::{Hold, Pc, Stop, Task, World},
    store::{Claimed, Writer},
};

impl World {
    /// The next call of a task.
    pub(crate) fn step(&mut self, rules: &Rules, worker: usize, task: usize, luck: Luck) {
        let mut task = self.workers[worker].tasks.remove(task);
        let more = match task.pc {
            Pc::Claim(_) | Pc::Recreate | Pc::Apply(_) => {
                self.receive(rules, worker, &mut task);
                if luck == Luck::Unheard {
                    // Whatever failed: the delivery is received again, from the start.
                    self.left.answers -= 1;
                    (task.run, task.pc) = (None, Pc::Claim(task.msg.attempt));
                }
                true
            }
            Pc::Write(..) | Pc::WriteNew(_) => {
                self.write_end(rules, &mut task, luck);
                true
            }
            _ => self.send(rules, &mut task, luck),
        };
        if !more {
            return;
        }
        let settles = matches!(task.pc, Pc::Ack | Pc::Release | Pc::Settle(_));
        if settles && !self.may_be_cut() {
            // Nobody can tell whether a delivery is settled at once or later.
            self.send(rules, &mut task, Luck::Fine);
        } else {
            self.keep(worker, task);
        }
    }

    /// Whether deliveries may still come back by themselves.
    const fn may_be_cut(&self) -> bool {
        let left = &self.left;
        left.crashes > 0 || left.cuts > 0 || left.pauses > 0 || self.silent != 0
    }

    fn receive(&mut self, rules: &Rules, worker: usize, task: &mut Task) {
        task.pc = match task.pc {
            Pc::Claim(attempt) => self.ask(rules, worker, attempt, task),
            // A claim that carries the record along: one call.
            Pc::Recreate => {
                if self.create(task.msg.recreated(self.now), false) {
                    rules.see(Event::Recreated);
                }
                self.ask(rules, worker, task.msg.attempt, task)
            }
            Pc::Apply(step) => {
                self.apply_arrival(rules, &step, &task.msg);
                Pc::Claim(step.to.attempt)
            }
            other => other,
        };
    }

    fn ask(&mut self, rules: &Rules, worker: usize, attempt: u8, task: &mut Task) -> Pc {
        let me = self.workers[worker].id;
        match self.claim(rules, attempt, me) {
            Claimed::Granted(running) => self.begin(rules, running, task),
            Claimed::Missing => Pc::Recreate,
            Claimed::Held(rec) => {
                let owner = self.owner(worker, &rec);
                self.decide(rules, &rec, &task.msg, owner)
            }
        }
    }

    /// `Protocol::owner`. Asks the store a second time, right after the claim.
    fn owner(&self, worker: usize, rec: &Rec) -> Owner {
        let me = &self.workers[worker];
        match rec.owner() {
            Some(owner) if owner == me.id && !me.in_hand() => Owner::MeUnaware,
            Some(owner) if owner != me.id && self.is_silent(owner) => Owner::Vanished,
            _ => Owner::Alive,
        }
    }

    fn begin(&self, rules: &Rules, running: Rec, task: &mut Task) -> Pc {
        let tasks = self.workers.iter().flat_map(|worker| &worker.tasks);
        if tasks.into_iter().any(|other| other.pc == Pc::Run) {
            rules.see(Event::DuplicateRun);
        }
        task.run = Some(running);
        Pc::Run
    }

    fn decide(&self, rules: &Rules, rec: &Rec, msg: &Msg, owner: Owner) -> Pc {
        match rec.arrive(msg, owner, self.now) {
            Decision::Claim => Pc::Claim(rec.attempt),
            Decision::Apply(step) => Pc::Apply(step),
            Decision::Ended if rules.has(Bug::CancelForgotten) && rec.place == Place::Cancelled => {
                Pc::Claim(rec.attempt)
            }
            Decision::Ended if rules.has(Bug::EndedRunsAgain) => Pc::Apply(Move {
                from: *rec,
                to: Rec {
                    place: Place::Queued,
                    attempt: 1,
                    ..*rec
                },
                ended: false,
            }),
            Decision::Ended if rec.place == Place::Dead => Pc::Bury(*rec),
            Decision::Ended => Pc::Ack,
            Decision::PutOff if rules.has(Bug::CopyDropped) && rec.owner().is_some() => Pc::Ack,
            Decision::PutOff => Pc::PutOff(*rec),
        }
    }

    fn apply_arrival(&mut self, rules: &Rules, step: &Move, msg: &Msg) {
        let redrive = step.from.is_terminal() && msg.redrive;
        let writer = if redrive {
            Writer::Redrive
        } else {
            Writer::Other
        };
        if !self.apply(step, writer) {
            return;
        }
        let (from, to) = (&step.from, &step.to);
        rules.see(match (from.owner(), step.ended) {
            _ if redrive => Event::RedrivenByMessage,
            (Some(_), true) if to.place == Place::Dead => Event::LostForGood,
            (Some(_), true) if msg.guard => Event::TakenByGuard,
            (Some(_), true) => Event::TakenByMessage,
            (Some(_), false) if to.attempt == from.attempt => Event::Unclaimed,
            _ => Event::FastForward,
        });
    }

    /// The handler ends; what follows is judged.
    pub(crate) fn end(&mut self, rules: &Rules, worker: usize, task: usize, how: How) {
        let mut task = self.workers[worker].tasks.remove(task);
        let Some(run) = task.run else { return };
        task.pc = if task.stop == Some(Stop::Lost) {
            Pc::Release
        } else {
            let step = run.judge(how.ended(), self.now);
            Pc::Write(step, step)
        };
        match how {
            How::Released => self.left.releases -= 1,
            How::Asked if task.stop == Some(Stop::Cancelled) => rules.see(Event::CancelledWithin),
            _ => {}
        }
        self.keep(worker, task);
    }

    /// `Protocol::write`
    fn write_end(&mut self, rules: &Rules, task: &mut Task, luck: Luck) {
        let (Pc::Write(judged, _) | Pc::WriteNew(judged)) = task.pc else {
            return;
        };
        task.pc = match task.pc {
            Pc::Write(_, step) => self.write_step(rules, &judged, &step, task),
            _ if self.create(judged.to, judged.ended) => {
                rules.see(Event::WrittenAnew);
                self.after(&judged.to, task)
            }
            _ => Pc::Write(judged, judged),
        };
        if luck == Luck::Unheard {
            self.left.answers -= 1;
            task.pc = Pc::Write(judged, judged);
        }
    }

    fn write_step(&mut self, rules: &Rules, judged: &Move, step: &Move, task: &Task) -> Pc {
        let Some(stored) = self.rec else {
            return Pc::WriteNew(*judged);
        };
        if rules.has(Bug::NoFenceOnFinish) {
            self.write(step.to, Writer::Finish, step.ended);
            return self.after(&step.to, task);
        }
        if self.apply(step, Writer::Finish) {
            return self.after(&step.to, task);
        }
        match judged.settle(&stored) {
            Ok(None) => {
                rules.see(Event::WrittenBefore);
                self.after(&stored, task)
            }
            Ok(Some(step)) => {
                let behind = stored.fence < step.to.fence;
                rules.see(if behind {
                    Event::WrittenInstead
                } else {
                    Event::Heeded
                });
                Pc::Write(*judged, step)
            }
            Err(()) => {
                rules.see(Event::StaleEndRefused);
                Pc::Release
            }
        }
    }

    /// After the end is written: publish what follows, or settle at once if nothing does.
    fn after(&self, rec: &Rec, task: &Task) -> Pc {
        match rec.place {
            Place::Retrying(_) | Place::Dead => Pc::Follow(*rec),
            Place::Queued if task.hold == Hold::Guarded => Pc::Follow(*rec),
            _ => Pc::Settle(*rec),
        }
    }
}
