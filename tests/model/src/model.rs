//! The world as a `stateright` model: what can happen, and what must hold.

use haul_common::faults::Bug;
use stateright::{Model, Property};

use crate::{
    action::{Action, Luck},
    compact::{How, Place},
    rules::Rules,
    state::{Cancel, Hold, Loop, Pc, Redrive, Stop, Submit, Task, World, Wrong},
};

/// How a call of a store may go.
fn store(world: &World) -> &'static [Luck] {
    if world.left.answers > 0 {
        &[Luck::Fine, Luck::Unheard]
    } else {
        &[Luck::Fine]
    }
}

/// How a publication may go.
fn broker(world: &World) -> &'static [Luck] {
    if world.left.confirms > 0 {
        &[Luck::Fine, Luck::Unheard, Luck::Vain]
    } else {
        &[Luck::Fine]
    }
}

impl Rules {
    fn tasks(&self, world: &World, worker: usize, actions: &mut Vec<Action>) {
        for (at, task) in world.workers[worker].tasks.iter().enumerate() {
            let lucks = match task.pc {
                Pc::Run => {
                    Self::handler(world, worker, (at, task), actions);
                    continue;
                }
                Pc::Claim(_) | Pc::Recreate | Pc::Apply(_) => store(world),
                Pc::Write(..) | Pc::WriteNew(_) => store(world),
                Pc::Follow(_) if self.has(Bug::AckBeforeConfirm) => &[Luck::Fine],
                Pc::Follow(_) if self.has(Bug::PublishAfterAck) => &[Luck::Fine],
                Pc::PutOff(_) | Pc::Bury(_) | Pc::Follow(_) => broker(world),
                Pc::FollowLate(_) | Pc::GuardLate => broker(world),
                Pc::Ack | Pc::Release | Pc::Guarded | Pc::Settle(_) => &[Luck::Fine],
            };
            actions.extend(lucks.iter().map(|luck| Action::Step(worker, at, *luck)));
        }
    }

    fn handler(world: &World, worker: usize, (at, task): (usize, &Task), to: &mut Vec<Action>) {
        to.push(Action::End(worker, at, How::Well));
        match task.stop {
            None => to.push(Action::End(worker, at, How::Badly)),
            Some(Stop::Cancelled) => to.push(Action::End(worker, at, How::Asked)),
            Some(Stop::Lost) => {}
        }
        if world.left.releases > 0 && task.stop.is_none() {
            to.push(Action::End(worker, at, How::Released));
        }
        if world.left.guards > 0 && task.hold != Hold::Guarded {
            let guards = broker(world).iter();
            to.extend(guards.map(|luck| Action::Guard(worker, at, *luck)));
        }
    }

    fn worker(&self, world: &World, worker: usize, actions: &mut Vec<Action>) {
        if world.workers[worker].tasks.len() < self.hands[worker] {
            for (msg, message) in world.msgs.iter().enumerate() {
                if message.due <= world.now {
                    actions.push(Action::Deliver { worker, msg });
                } else if world.left.early > 0 {
                    actions.push(Action::Early { worker, msg });
                }
            }
        }
        self.tasks(world, worker, actions);
        if world.wants_to_beat(self, worker) {
            actions.push(Action::Beat(worker));
        }
        let lucks = match world.workers[worker].other {
            Loop::Idle => {
                if self.healers[worker] && world.sees_orphan(worker) {
                    actions.push(Action::Sweep(worker));
                }
                if self.healers[worker] && world.is_overdue(worker) {
                    actions.push(Action::Overdue(worker));
                }
                return;
            }
            Loop::Take(_) => store(world),
            Loop::SendOn(_) | Loop::SendAgain(_) => broker(world),
            Loop::Remind(_) | Loop::Reassert(..) => &[Luck::Fine],
        };
        actions.extend(lucks.iter().map(|luck| Action::Other(worker, *luck)));
    }

    fn people(world: &World, actions: &mut Vec<Action>) {
        let lucks = match world.submit {
            Submit::Publish(_) => broker(world),
            Submit::Record => store(world),
            Submit::Done => &[],
        };
        actions.extend(lucks.iter().map(|luck| Action::Submit(*luck)));
        if world.cancel != Cancel::Idle {
            actions.push(Action::Cancel);
        } else if world.left.cancels > 0 && world.rec.is_some_and(|rec| !rec.is_terminal()) {
            actions.push(Action::AskCancel);
        }
        let lucks = match world.redrive {
            Redrive::Idle => &[],
            Redrive::Found(_) => broker(world),
            Redrive::Published(_) => store(world),
        };
        actions.extend(lucks.iter().map(|luck| Action::Redrive(*luck)));
        let may = |place| matches!(place, Place::Dead | Place::Cancelled);
        if world.redrive == Redrive::Idle
            && world.left.redrives > 0
            && world.rec.is_some_and(|rec| may(rec.place))
        {
            actions.push(Action::AskRedrive);
        }
    }

    fn time(world: &World, actions: &mut Vec<Action>) {
        let due = world.rec.map_or(0, |rec| rec.due());
        let later = world.msgs.iter().map(|msg| msg.due);
        if later.chain([due]).any(|due| due > world.now) {
            actions.push(Action::Tick);
        }
        actions.extend(world.may_fall().map(Action::Fall));
    }

    fn faults(world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        for (at, worker) in world.workers.iter().enumerate() {
            let busy = worker.in_hand() || worker.other != Loop::Idle;
            if left.crashes > 0 && busy {
                actions.push(Action::Crash(at));
            }
            if left.pauses > 0 && busy && !world.is_silent(worker.id) {
                actions.push(Action::Freeze(at));
            }
            let held = worker.tasks.iter().any(|task| task.hold == Hold::Held);
            if held && left.cuts > 0 {
                actions.push(Action::Cut(at));
            }
        }
        if left.crashes > 0 && world.submit == Submit::Record {
            actions.push(Action::CrashSubmit);
        }
        if left.crashes > 0 && world.redrive != Redrive::Idle {
            actions.push(Action::CrashRedrive);
        }
        if left.copies > 0 {
            actions.extend((0..world.msgs.len()).map(Action::Copy));
        }
        if left.rollbacks > 0 {
            match world.kept {
                None => actions.push(Action::Keep),
                Some(kept) if kept != world.rec => actions.push(Action::Rollback),
                Some(_) => {}
            }
        }
        if left.wipes > 0 && world.rec.is_some() {
            actions.push(Action::Wipe);
        }
    }

    fn go(&self, world: &mut World, action: Action) {
        match action {
            Action::Submit(luck) => world.go_on_submitting(self, luck),
            Action::Deliver { worker, msg } => world.deliver(worker, msg),
            Action::Step(worker, task, luck) => world.step(self, worker, task, luck),
            Action::End(worker, task, how) => world.end(self, worker, task, how),
            Action::Guard(worker, task, luck) => world.guard(self, worker, task, luck),
            Action::Beat(worker) => world.beat(self, worker),
            Action::Sweep(worker) => {
                let orphan = world.rec.map_or(Loop::Idle, Loop::Take);
                world.workers[worker].other = orphan;
            }
            Action::Overdue(worker) => {
                let again = world.rec.map_or(Loop::Idle, Loop::SendAgain);
                world.workers[worker].other = again;
            }
            Action::Other(worker, luck) => world.go_on(self, worker, luck),
            Action::Tick => world.now += 1,
            Action::Fall(id) => world.silent |= 1 << id,
            Action::Cancel => world.go_on_cancelling(self),
            Action::Redrive(luck) => world.go_on_redriving(self, luck),
            fault => self.fail(world, fault),
        }
    }

    fn fail(&self, world: &mut World, fault: Action) {
        match fault {
            Action::AskCancel => {
                world.left.cancels -= 1;
                world.find_to_cancel();
            }
            Action::AskRedrive => {
                world.left.redrives -= 1;
                world.ghost.asked += 1;
                world.redrive = world.rec.map_or(Redrive::Idle, Redrive::Found);
            }
            Action::Crash(worker) => world.crash(self, worker),
            Action::CrashSubmit => {
                world.left.crashes -= 1;
                world.submit = Submit::Done;
            }
            Action::CrashRedrive => {
                world.left.crashes -= 1;
                world.redrive = Redrive::Idle;
            }
            Action::Freeze(worker) => world.freeze(worker),
            Action::Cut(worker) => {
                world.left.cuts -= 1;
                world.cut(worker);
            }
            Action::Copy(msg) => {
                world.left.copies -= 1;
                world.put(world.msgs[msg]);
            }
            Action::Early { worker, msg } => {
                world.left.early -= 1;
                world.deliver(worker, msg);
            }
            Action::Keep => world.kept = Some(world.rec),
            Action::Rollback => {
                world.left.rollbacks -= 1;
                let kept = world.kept.take().flatten();
                world.fall_back(kept);
            }
            Action::Wipe => {
                world.left.wipes -= 1;
                world.fall_back(None);
            }
            _ => {}
        }
    }

    /// Everything that can happen, wishes and faults last.
    pub fn can_happen(&self, world: &World) -> Vec<Action> {
        let mut actions = Vec::new();
        Self::people(world, &mut actions);
        self.worker(world, 0, &mut actions);
        self.worker(world, 1, &mut actions);
        Self::time(world, &mut actions);
        Self::faults(world, &mut actions);
        actions
    }

    /// The world after `action`.
    pub fn after(&self, world: &World, action: Action) -> World {
        let mut next = world.clone();
        self.go(&mut next, action);
        next
    }
}

impl World {
    /// An accepted job is a message, a delivery or a terminal record. Of a store that lost
    /// something: or it has ended before, or its record says that it waits or runs, for the healers
    /// to find.
    pub fn is_somewhere(&self) -> bool {
        let known = match self.rec {
            Some(rec) => rec.is_terminal() || self.ghost.lossy,
            None => self.ghost.lossy && self.ghost.ended,
        };
        !self.ghost.accepted || known || self.has_message()
    }

    /// Nothing is left to do, and the job has ended as it must: with its dead letter if it is dead.
    pub fn is_at_rest(&self) -> bool {
        let idle =
            |worker: &crate::state::Worker| worker.tasks.is_empty() && worker.other == Loop::Idle;
        let quiet = self.submit == Submit::Done
            && self.cancel == Cancel::Idle
            && self.redrive == Redrive::Idle
            && self.msgs.is_empty()
            && self.workers.iter().all(idle);
        let over = match self.rec {
            Some(rec) if rec.place == Place::Dead => {
                self.ghost.lossy || self.letter == Some(rec.fence)
            }
            Some(rec) => rec.is_terminal(),
            None => !self.ghost.accepted || (self.ghost.lossy && self.ghost.ended),
        };
        quiet && over
    }
}

impl Model for Rules {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.ghost.wrong.is_none() {
            actions.extend(self.can_happen(world));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.after(world, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! never {
            ($name:literal, $wrong:ident) => {
                Property::always($name, |_: &Self, world: &World| {
                    world.ghost.wrong != Some(Wrong::$wrong)
                })
            };
        }
        vec![
            Property::always("never nowhere", |_, world: &World| world.is_somewhere()),
            Property::always("still is over", |rules: &Self, world: &World| {
                let moves = |action: &Action| !action.is_fault();
                world.is_at_rest()
                    || world.ghost.wrong.is_some()
                    || rules.can_happen(world).iter().any(moves)
            }),
            never!("one end for each fence", EndedTwice),
            never!("terminal stays terminal", EndLeft),
            never!("cancelled before start, never started", CancelForgotten),
            never!("an old fence never writes", OldFenceWrote),
            never!("nothing is taken from the living", LiveTaken),
            never!("acknowledged, then durable", AckedEarly),
        ]
    }
}
