//! The broker: publish, deliver, settle.

use haul_common::faults::Bug;

use crate::{
    action::Luck,
    compact::{Msg, Place, Rec},
    rules::{Event, Rules},
    state::{Hold, Pc, Task, World, Wrong},
};

impl World {
    /// Takes the price of bad luck; says whether the publication arrives, and whether it counts as
    /// confirmed.
    fn fate(&mut self, rules: &Rules, luck: Luck) -> (bool, bool) {
        if luck == Luck::Fine {
            return (true, true);
        }
        self.left.confirms -= 1;
        (luck == Luck::Unheard, rules.has(Bug::ConfirmIgnored))
    }

    /// `Broker::publish`; says whether it is confirmed.
    pub(crate) fn publish(&mut self, rules: &Rules, msg: Msg, luck: Luck) -> bool {
        let (arrives, confirmed) = self.fate(rules, luck);
        if arrives {
            self.put(msg);
        }
        if arrives && !confirmed {
            rules.see(Event::PublishedTwice);
        }
        confirmed
    }

    /// Publishes the dead letter of a job.
    pub(crate) fn publish_letter(&mut self, rules: &Rules, rec: &Rec, luck: Luck) -> bool {
        let (arrives, confirmed) = self.fate(rules, luck);
        if arrives {
            self.letter = self.letter.max(Some(rec.fence));
        }
        confirmed
    }

    pub(crate) fn deliver(&mut self, worker: usize, msg: usize) {
        let msg = self.msgs.remove(msg);
        let task = Task {
            msg,
            hold: Hold::Held,
            run: None,
            stop: None,
            pc: Pc::Claim(msg.attempt),
        };
        self.keep(worker, task);
    }

    /// Gives a task back to its worker.
    pub(crate) fn keep(&mut self, worker: usize, task: Task) {
        let tasks = &mut self.workers[worker].tasks;
        let place = tasks.partition_point(|other| *other < task);
        tasks.insert(place, task);
    }

    /// The broker forgets the delivery. By now, what must follow has to be durable.
    pub(crate) fn ack(&mut self, hold: Hold) {
        if hold != Hold::Held || self.ghost.lossy || self.has_message() {
            return;
        }
        let durable = self.rec.is_some_and(|rec| match rec.place {
            Place::Dead => self.letter == Some(rec.fence),
            _ => rec.is_terminal(),
        });
        if !durable {
            self.wrong(Wrong::AckedEarly);
        }
    }

    /// The delivery goes back.
    pub(crate) fn give_back(&mut self, task: &Task) {
        if task.hold == Hold::Held {
            self.put(task.msg);
        }
    }

    /// The consumer of a worker is lost: what it held is somebody else's.
    pub(crate) fn cut(&mut self, worker: usize) {
        let tasks = std::mem::take(&mut self.workers[worker].tasks);
        for mut task in tasks {
            self.give_back(&task);
            if task.hold == Hold::Held {
                task.hold = Hold::Stale;
            }
            self.keep(worker, task);
        }
    }
}
