//! What a delivery's task sends to the broker: copies, what follows an end, settlements, guards.

use haul_common::faults::Bug;

use crate::{
    action::Luck,
    compact::{Msg, Place, Rec},
    rules::{Event, Rules},
    state::{Hold, Pc, Task, World},
};

impl World {
    /// Publishes or settles; says whether the task has more to do.
    pub(crate) fn send(&mut self, rules: &Rules, task: &mut Task, luck: Luck) -> bool {
        let confirmed = match task.pc {
            Pc::PutOff(rec) => {
                let running = rec.owner().is_some();
                rules.see(if running {
                    Event::PutOffRunning
                } else {
                    Event::PutOffEarly
                });
                self.publish(rules, rec.vehicle(), luck)
            }
            Pc::Bury(rec) => {
                rules.see(Event::BuriedAgain);
                self.publish_letter(rules, &rec, luck)
            }
            Pc::Follow(rec) if late(rules) => {
                self.ack(task.hold);
                task.hold = Hold::Stale;
                task.pc = Pc::FollowLate(rec);
                return true;
            }
            Pc::Follow(rec) => self.follow(rules, &rec, luck),
            Pc::FollowLate(rec) => {
                return !self.follow(rules, &rec, luck) && rules.has(Bug::PublishAfterAck);
            }
            Pc::GuardLate => {
                self.publish(rules, guard(task), luck);
                task.pc = Pc::Run;
                return true;
            }
            Pc::Guarded => {
                self.ack(task.hold);
                (task.hold, task.pc) = (Hold::Guarded, Pc::Run);
                return true;
            }
            Pc::Settle(rec) if rec.place == Place::Queued => return self.release(task),
            Pc::Release => return self.release(task),
            _ => {
                self.ack(task.hold);
                return false;
            }
        };
        match (confirmed, task.pc) {
            (false, _) => {}
            (true, Pc::Follow(rec)) => task.pc = Pc::Settle(rec),
            (true, _) => task.pc = Pc::Ack,
        }
        true
    }

    fn release(&mut self, task: &Task) -> bool {
        self.give_back(task);
        false
    }

    /// `Protocol::follow`
    fn follow(&mut self, rules: &Rules, rec: &Rec, luck: Luck) -> bool {
        match rec.place {
            Place::Dead => self.publish_letter(rules, rec, luck),
            Place::Queued => {
                rules.see(Event::ReleasedAfterGuard);
                self.publish(rules, rec.vehicle(), luck)
            }
            _ => self.publish(rules, rec.vehicle(), luck),
        }
    }

    /// `Protocol::guard`: a copy for later, confirmed before the original is acknowledged.
    pub(crate) fn guard(&mut self, rules: &Rules, worker: usize, task: usize, luck: Luck) {
        let mut task = self.workers[worker].tasks.remove(task);
        if rules.has(Bug::GuardAfterAck) {
            self.left.guards -= 1;
            self.ack(task.hold);
            (task.hold, task.pc) = (Hold::Guarded, Pc::GuardLate);
        } else if self.publish(rules, guard(&task), luck) {
            self.left.guards -= 1;
            task.pc = Pc::Guarded;
        }
        self.keep(worker, task);
    }
}

/// Planted bugs that let the delivery go before what follows is confirmed.
fn late(rules: &Rules) -> bool {
    rules.has(Bug::AckBeforeConfirm) || rules.has(Bug::PublishAfterAck)
}

fn guard(task: &Task) -> Msg {
    let run = task.run.unwrap_or_else(|| task.msg.recreated(0));
    Msg {
        due: 0,
        guard: true,
        ..run.vehicle()
    }
}
