//! What the answers to a window of pipelined publications mean.
//!
//! The client library hands a returned message to whichever confirm resolves next, so a return says
//! nothing about the publication whose confirm carried it. Returns are therefore matched by what
//! they are (message id, exchange, key), and a window is judged as a whole, when it is over.
//!
//! Windows that are out together share what was returned: an answer to the later one may bring a
//! return of the earlier one.

use std::collections::HashMap;

use lapin::{Confirmation, message::BasicReturnMessage};

use crate::ports::Confirm;

/// What tells one publication from another in its window. Two that are equal go the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) id: Option<String>,
    pub(super) exchange: String,
    pub(super) key: String,
}

/// What the broker said of one publication.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Ack,
    Nack,
    /// The channel failed it.
    Lost(String),
}

/// The answers so far.
#[derive(Debug)]
pub(super) struct Window {
    identities: Vec<Identity>,
    answers: Vec<Option<Answer>>,
}

/// What came back, and why, of the windows that are out.
#[derive(Debug, Default)]
pub(super) struct Returned(HashMap<Identity, String>);

impl Returned {
    fn note(&mut self, message: &BasicReturnMessage) {
        let identity = Identity {
            id: message
                .properties
                .message_id()
                .as_ref()
                .map(ToString::to_string),
            exchange: message.exchange.to_string(),
            key: message.routing_key.to_string(),
        };
        let why = format!("{} {}", message.reply_code, message.reply_text);
        self.0.insert(identity, why);
    }

    /// Forgets what is of none of these windows.
    pub(super) fn keep<'w>(&mut self, windows: impl Iterator<Item = &'w Window> + Clone) {
        self.0.retain(|identity, _| {
            let mut windows = windows.clone();
            windows.any(|window| window.identities.contains(identity))
        });
    }
}

impl Window {
    pub(super) fn new(identities: Vec<Identity>) -> Self {
        Self {
            answers: vec![None; identities.len()],
            identities,
        }
    }

    /// Takes down what became of publication `index`.
    pub(super) fn note(
        &mut self,
        index: usize,
        result: lapin::Result<Confirmation>,
        returns: &mut Returned,
    ) {
        let (answer, returned) = match result {
            Ok(Confirmation::Ack(returned)) => (Answer::Ack, returned),
            Ok(Confirmation::Nack(returned)) => (Answer::Nack, returned),
            // Only without confirms switched on, and then nothing is known.
            Ok(Confirmation::NotRequested) => {
                (Answer::Lost("the channel has no confirms".to_owned()), None)
            }
            Err(error) => (Answer::Lost(error.to_string()), None),
        };
        self.answers[index] = Some(answer);
        if let Some(message) = returned {
            returns.note(&message);
        }
    }

    /// Every publication was answered by the broker itself.
    pub(super) fn is_whole(&self) -> bool {
        self.answers
            .iter()
            .all(|answer| matches!(answer, Some(Answer::Ack | Answer::Nack)))
    }

    /// The verdict on every publication, in order. `sound` while the channel never failed: every
    /// earlier window was whole, and this one is.
    ///
    /// A return comes before the ack of its publication, returns come in the order of publications,
    /// and every confirm that resolves takes the first waiting return along. So once a window and
    /// all before it have been answered, every return of theirs has been taken, if by an answer to
    /// a later one, which is looked at before. After a channel broke off and a return was seen,
    /// another one may have been lost with it; then even an ack proves nothing. While none was
    /// seen, none can have been lost whose ack was seen.
    pub(super) fn judge(self, sound: bool, returned: &Returned, overdue: &str) -> Vec<Confirm> {
        let returned = &returned.0;
        let acks_count = sound || returned.is_empty();
        let judge_one = |(identity, answer): (&Identity, &Option<Answer>)| {
            if let Some(why) = returned.get(identity) {
                return Confirm::Refused(format!(
                    "no queue is bound for key {} of exchange `{}` ({why})",
                    identity.key, identity.exchange
                ));
            }
            match answer {
                Some(Answer::Ack) if acks_count => Confirm::Accepted,
                Some(Answer::Ack) => Confirm::Unknown("the channel broke off".to_owned()),
                Some(Answer::Nack) => Confirm::Refused("the broker refused it (nack)".to_owned()),
                Some(Answer::Lost(why)) => Confirm::Unknown(why.clone()),
                None => Confirm::Unknown(overdue.to_owned()),
            }
        };
        let verdicts = self.identities.iter().zip(&self.answers);
        verdicts.map(judge_one).collect()
    }
}
