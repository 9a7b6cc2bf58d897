//! How long a job was in which state.

use std::time::Duration;

use haul_producer::{Record, State, Timestamp};

/// How long a job was in which state, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Until its first attempt began.
    pub(super) waiting: Duration,
    /// All attempts together; nothing where there was none.
    pub(super) running: Option<Duration>,
    /// Between attempts, and after one that is not the last; nothing where that never was.
    pub(super) retrying: Option<Duration>,
}

impl Times {
    /// What the record says at `now`. Attempts may be missing where there was only one, and it runs
    /// or succeeded.
    pub(super) fn of(record: &Record, now: Timestamp) -> Self {
        let life = &record.life;
        let end = life.state.finished().unwrap_or(now);
        let Some(started) = life.started else {
            return Self {
                waiting: end.since(record.created),
                ..Self::default()
            };
        };
        let mut spans: Vec<(Timestamp, Timestamp)> = record
            .attempts
            .iter()
            .map(|attempt| (attempt.started, attempt.finished))
            .collect();
        match &life.state {
            State::Running { began, .. } => spans.push((*began, end)),
            _ if spans.is_empty() => spans.push((started, end)),
            _ => {}
        }
        let between = spans.windows(2).map(|pair| pair[1].0.since(pair[0].1));
        let last = spans.last().map_or(end, |span| span.1);
        let retrying = between.sum::<Duration>() + end.since(last);
        Self {
            waiting: started.since(record.created),
            running: Some(spans.iter().map(|span| span.1.since(span.0)).sum()),
            retrying: (!retrying.is_zero() || spans.len() > 1).then_some(retrying),
        }
    }
}

#[cfg(test)]
mod tests {
    use haul_common::{
        job::{Attempt, Fence, Outcome, Reason, Spec, WorkerId, json},
        life::Life,
    };

    use super::*;

    const fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn record() -> Record {
        let args = json(&()).unwrap();
        let spec = Spec::new("t".parse().unwrap(), "q".parse().unwrap(), args);
        Record::new(spec, Life::queued(), at(1000))
    }

    fn attempt(started: i64, finished: i64) -> Attempt {
        Attempt {
            number: 1,
            fence: Fence(1),
            worker: WorkerId::random(),
            started: at(started),
            finished: at(finished),
            outcome: Outcome::Failed,
            error: None,
            log: String::new(),
        }
    }

    fn times(waiting: u64, running: Option<u64>, retrying: Option<u64>) -> Times {
        Times {
            waiting: Duration::from_millis(waiting),
            running: running.map(Duration::from_millis),
            retrying: retrying.map(Duration::from_millis),
        }
    }

    #[test]
    fn a_job_that_never_ran_waits_until_now_or_until_its_end() {
        let mut record = record();
        assert_eq!(Times::of(&record, at(1500)), times(500, None, None));
        record.life = record.life.cancel(at(1200)).unwrap().life;
        assert_eq!(Times::of(&record, at(1500)), times(200, None, None));
    }

    #[test]
    fn one_attempt_is_told_by_the_record_alone() {
        let mut record = record();
        let life = record.life.claim(WorkerId::random(), Fence(1), at(1100));
        record.life = life.unwrap().life;
        assert_eq!(Times::of(&record, at(1500)), times(100, Some(400), None));
        record.life = record
            .life
            .succeed(json(&1).unwrap(), at(1300))
            .unwrap()
            .life;
        assert_eq!(Times::of(&record, at(1500)), times(100, Some(200), None));
    }

    #[test]
    fn what_lies_between_attempts_is_retrying() {
        let mut record = record();
        record.life.started = Some(at(1100));
        record.attempts = vec![attempt(1100, 1200), attempt(1500, 1550)];
        record.life.state = State::Retrying { due: at(9000) };
        assert_eq!(
            Times::of(&record, at(2000)),
            times(100, Some(150), Some(750))
        );
        record.life.state = State::Dead {
            finished: at(1550),
            reason: Reason::Exhausted,
        };
        assert_eq!(
            Times::of(&record, at(2000)),
            times(100, Some(150), Some(300))
        );
    }
}
