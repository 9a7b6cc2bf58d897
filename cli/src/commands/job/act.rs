//! Doing the same to many jobs, and saying of each what came of it.
//!
//! Several go on at the same time, so that they share commits and round trips. One that fails does
//! not hold the others up; only when nothing works any more, the rest is left.

use std::{collections::BTreeMap, pin::pin};

use futures_util::{StreamExt, stream};
use haul_producer::JobId;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::Notify;

use super::{count, rate::Pacer, select::Chosen};
use crate::{
    exit::{self, Code, Exit},
    output,
    redact::redact,
    screen::{self, talk},
    session::Session,
    signals::Signals,
};

/// Jobs that are acted on at the same time.
const AT_ONCE: usize = 64;
/// After so many errors in a row, the rest would fail too.
const ERRORS_MAX: usize = 10;
/// Jobs of a filter that are named because they could not be done; the rest is counted.
const NAMED: usize = 20;

/// What came of one job.
#[derive(Debug)]
pub(super) struct Done {
    /// In a word for scripts.
    pub(super) outcome: &'static str,
    /// In words for people.
    pub(super) words: String,
    /// What the command is to end with, if this is bad news.
    pub(super) code: Option<Code>,
}

#[derive(Debug, Serialize)]
struct DoneView<'a> {
    id: &'a JobId,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// What came of all so far.
#[derive(Debug, Default)]
struct Sum {
    by_filter: bool,
    good: BTreeMap<&'static str, usize>,
    bad: BTreeMap<&'static str, usize>,
    errors_in_a_row: usize,
    worst: Option<(u8, Code)>,
}

/// Prints what came of each job, as it comes; of those that a filter chose, only what could not be
/// done, and a summary. Ends with the worst.
///
/// # Errors
/// When one could not be done, or it was interrupted.
pub(super) async fn on_each<F>(
    session: &Session,
    verb: &str,
    chosen: Chosen,
    act: impl Fn(JobId) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Done>>,
{
    let total = chosen.ids.len();
    let bar = progress(session, verb, &chosen)?;
    let mut signals = Signals::new()?;
    let (mut sum, mut interrupted, stop) = (Sum::new(chosen.by_filter), None, Notify::new());
    let begin = (chosen.ids.into_iter(), Pacer::new(chosen.rate));
    let paced = stream::unfold(begin, |(mut ids, mut pacer)| async move {
        let id = ids.next()?;
        pacer.turn().await;
        Some((id, (ids, pacer)))
    });
    // Once stopped, nothing new is begun; what has begun comes to its end.
    let acting = paced
        .take_until(stop.notified())
        .map(|id| {
            let done = act(id.clone());
            async move { (id, done.await) }
        })
        .buffered(AT_ONCE);
    let mut acting = pin!(acting);
    loop {
        tokio::select! {
            next = acting.next() => {
                let Some((id, done)) = next else { break };
                sum.add(session, &id, done)?;
                bar.inc(1);
                if sum.is_hopeless() {
                    stop.notify_one();
                }
            }
            code = signals.next(), if interrupted.is_none() => {
                interrupted = Some(code);
                stop.notify_one();
            }
        }
    }
    bar.finish_and_clear();
    sum.tell(session, total)?;
    let worst = interrupted.or(sum.worst.map(|(_, code)| code));
    worst.map_or(Ok(()), |code| Err(Exit::silent(code)))
}

/// A progress display where many are done and somebody watches.
fn progress(session: &Session, verb: &str, chosen: &Chosen) -> anyhow::Result<ProgressBar> {
    if !(chosen.by_filter && session.shows_progress()) {
        return Ok(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(chosen.ids.len() as u64);
    let shape = format!("{verb} [{{bar:28}}] {{pos}}/{{len}}  {{per_sec}}  {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&shape)?.progress_chars("=> "));
    screen::show(bar.clone());
    Ok(bar)
}

impl Sum {
    fn new(by_filter: bool) -> Self {
        Self {
            by_filter,
            ..Self::default()
        }
    }

    fn add(
        &mut self,
        session: &Session,
        id: &JobId,
        done: anyhow::Result<Done>,
    ) -> anyhow::Result<()> {
        let (done, error) = match done {
            Ok(done) => (done, None),
            Err(error) => {
                let text = redact(&format!("{error:#}"));
                let done = Done {
                    outcome: "failed",
                    words: text.clone(),
                    code: Some(exit::code_of(&error)),
                };
                (done, Some(text))
            }
        };
        self.errors_in_a_row = error.as_ref().map_or(0, |_| self.errors_in_a_row + 1);
        if session.json {
            output::json(&DoneView {
                id,
                outcome: done.outcome,
                error: error.as_deref(),
            })?;
        } else {
            self.name(id, &done, error.is_some())?;
        }
        let side = if done.code.is_none() {
            &mut self.good
        } else {
            &mut self.bad
        };
        *side.entry(done.outcome).or_default() += 1;
        self.worst = worse(self.worst, done.code, error.is_some());
        Ok(())
    }

    /// Each by its id; of those that a filter chose, some that could not be done.
    fn name(&self, id: &JobId, done: &Done, failed: bool) -> anyhow::Result<()> {
        if self.by_filter {
            if done.code.is_some() && self.bad.values().sum::<usize>() < NAMED {
                talk(&format!("  {id}  {}", done.words));
            }
        } else if failed {
            talk(&format!("haul: {id}: {}", done.words));
        } else {
            output::line(format!("{id}  {}", done.words))?;
        }
        Ok(())
    }

    const fn is_hopeless(&self) -> bool {
        self.errors_in_a_row >= ERRORS_MAX
    }

    /// What was done and what was not, where a filter chose or something is left.
    fn tell(&self, session: &Session, total: usize) -> anyhow::Result<()> {
        let done = self.good.values().chain(self.bad.values()).sum::<usize>();
        let left = total - done;
        if !self.by_filter && left == 0 {
            return Ok(());
        }
        let words = |side: &BTreeMap<_, _>| {
            let words = side.iter().map(|(outcome, n)| format!("{n} {outcome}"));
            words.collect::<Vec<_>>().join(", ")
        };
        let mut parts = vec![count(total, "job")];
        if !self.good.is_empty() {
            parts.push(words(&self.good));
        }
        if !self.bad.is_empty() {
            parts.push(format!("not done: {}", words(&self.bad)));
        }
        if left > 0 {
            parts.push(format!("{left} not tried; the same command goes on"));
        }
        let text = parts.join("; ");
        if session.json {
            session.say(text);
            return Ok(());
        }
        output::line(text)
    }
}

/// Errors are worse than what is unknown, that is worse than what is in another state. Of errors,
/// the first.
fn worse(worst: Option<(u8, Code)>, code: Option<Code>, failed: bool) -> Option<(u8, Code)> {
    let Some(code) = code else { return worst };
    let rank = match code {
        _ if failed => 3,
        Code::NotFound => 2,
        _ => 1,
    };
    worst
        .filter(|(known, _)| *known >= rank)
        .or(Some((rank, code)))
}

/// Nothing is known of the job.
pub(super) fn not_found() -> Done {
    Done {
        outcome: "not_found",
        words: "no such job is known".to_owned(),
        code: Some(Code::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_news_decides_and_of_errors_the_first() {
        let mut worst = None;
        let mut after = |code, failed| {
            worst = worse(worst, code, failed);
            worst.map(|(_, code)| code)
        };
        assert_eq!(after(None, false), None);
        assert_eq!(after(Some(Code::Conflict), false), Some(Code::Conflict));
        assert_eq!(after(Some(Code::NotFound), false), Some(Code::NotFound));
        assert_eq!(after(Some(Code::Conflict), false), Some(Code::NotFound));
        assert_eq!(
            after(Some(Code::Unreachable), true),
            Some(Code::Unreachable)
        );
        assert_eq!(after(Some(Code::Failed), true), Some(Code::Unreachable));
        assert_eq!(after(None, false), Some(Code::Unreachable));
    }
}
