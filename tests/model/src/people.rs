//! Whoever submits, cancels and redrives.

use crate::{
    action::Luck,
    compact::{Msg, Rec},
    rules::{Event, Rules},
    state::{Cancel, Redrive, Submit, World},
    store::Writer,
};

/// How often a submit publishes at most.
const TRIES: u8 = 3;

impl World {
    /// `Protocol::submit`
    pub(crate) fn go_on_submitting(&mut self, rules: &Rules, luck: Luck) {
        let rec = Rec::first(u8::from(rules.later), 0);
        self.submit = match self.submit {
            Submit::Publish(tries) => {
                if self.publish(rules, rec.vehicle(), luck) {
                    self.ghost.accepted = true;
                    Submit::Record
                } else if tries + 1 < TRIES {
                    Submit::Publish(tries + 1)
                } else {
                    Submit::Done
                }
            }
            Submit::Record | Submit::Done => {
                self.create(rec, false);
                if luck == Luck::Unheard {
                    self.left.answers -= 1;
                }
                Submit::Done
            }
        };
    }

    /// `Protocol::cancel`: compare-and-set, or look again.
    pub(crate) fn go_on_cancelling(&mut self, rules: &Rules) {
        let Cancel::Found(found) = self.cancel else {
            return;
        };
        self.cancel = Cancel::Idle;
        match found.cancelled(self.now) {
            Some(step) if self.apply(&step, Writer::Cancel) => {
                if step.to.is_terminal() {
                    rules.see(Event::CancelledBefore);
                }
            }
            Some(_) => self.find_to_cancel(),
            None => rules.see(Event::CancelTooLate),
        }
    }

    /// Looks the job up; without a record it is unknown.
    pub(crate) fn find_to_cancel(&mut self) {
        self.cancel = self.rec.map_or(Cancel::Idle, Cancel::Found);
    }

    /// `Protocol::redrive`: the message first, then the record.
    pub(crate) fn go_on_redriving(&mut self, rules: &Rules, luck: Luck) {
        self.redrive = match self.redrive {
            Redrive::Idle => Redrive::Idle,
            Redrive::Found(rec) => {
                let msg = Msg {
                    attempt: 1,
                    due: 0,
                    redrive: true,
                    ..rec.vehicle()
                };
                if self.publish(rules, msg, luck) {
                    Redrive::Published(rec)
                } else {
                    Redrive::Found(rec)
                }
            }
            Redrive::Published(rec) => {
                let step = rec.step(haul_common::life::Life::redrive);
                if step.is_some_and(|step| self.apply(&step, Writer::Redrive)) {
                    rules.see(Event::RedrivenByRecord);
                }
                if luck == Luck::Unheard {
                    self.left.answers -= 1;
                }
                Redrive::Idle
            }
        };
    }
}
