//! The one way to choose jobs: `state:dead task:email.* queue:mail error:timeout age:>1h`.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    job::{BatchId, Lane, QueueName, Reason, Record, StateKind, Tag},
    time::{Timestamp, parse_duration},
};

/// Which jobs. All words must hold; an empty filter is every job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these states (`state:dead,cancelled`); any state when empty.
    pub states: Vec<StateKind>,
    /// The task's name; a final `*` matches any rest.
    pub task: Option<Pattern>,
    /// The queue.
    pub queue: Option<QueueName>,
    /// The lane.
    pub lane: Option<Lane>,
    /// Why it is dead.
    pub reason: Option<Reason>,
    /// Text within the last error, in any case.
    pub error: Option<String>,
    /// Every one of these tags.
    pub tags: Vec<Tag>,
    /// The batch.
    pub batch: Option<BatchId>,
    /// Created longer ago than this.
    pub older_than: Option<Duration>,
    /// Created less long ago than this.
    pub newer_than: Option<Duration>,
}

/// A name, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What names are, or begin with.
    pub text: String,
    /// Whether any rest matches.
    pub prefix: bool,
}

impl Pattern {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.prefix {
            name.starts_with(&self.text)
        } else {
            name == self.text
        }
    }
}

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{word}` in the filter: {why}")]
pub struct FilterError {
    word: String,
    why: String,
}

const WORDS: &str = "state, task, queue, lane, reason, error, tag, batch, age";

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for word in text.split_whitespace() {
            filter.add(word).map_err(|why| FilterError {
                word: word.chars().take(80).collect(),
                why: why.chars().take(300).collect(),
            })?;
        }
        Ok(filter)
    }
}

impl Filter {
    fn add(&mut self, word: &str) -> Result<(), String> {
        let (key, value) = word
            .split_once(':')
            .ok_or_else(|| format!("write key:value, where key is one of {WORDS}"))?;
        if value.is_empty() {
            return Err("nothing stands behind the colon".to_owned());
        }
        match key {
            "state" => {
                for state in value.split(',') {
                    self.states.push(state.parse()?);
                }
            }
            "task" => {
                let (text, prefix) = value
                    .strip_suffix('*')
                    .map_or((value, false), |head| (head, true));
                if text.contains('*') {
                    return Err("a * may only stand at the end".to_owned());
                }
                self.task = Some(Pattern {
                    text: text.to_owned(),
                    prefix,
                });
            }
            "queue" => self.queue = Some(read(value)?),
            "lane" => self.lane = Some(read(value)?),
            "reason" => self.reason = Some(value.parse()?),
            "error" => self.error = Some(value.to_lowercase()),
            "tag" => self.tags.push(read(value)?),
            "batch" => self.batch = Some(read(value)?),
            "age" => self.add_age(value)?,
            _ => return Err(format!("`{key}` is not one of {WORDS}")),
        }
        Ok(())
    }

    fn add_age(&mut self, value: &str) -> Result<(), String> {
        let bound = |text: &str| parse_duration(text).map_err(|error| error.to_string());
        if let Some(text) = value.strip_prefix('>') {
            self.older_than = Some(bound(text)?);
        } else if let Some(text) = value.strip_prefix('<') {
            self.newer_than = Some(bound(text)?);
        } else {
            return Err("write age:>1h or age:<30m".to_owned());
        }
        Ok(())
    }

    /// Whether the filter means this record.
    pub fn matches(&self, record: &Record, now: Timestamp) -> bool {
        let Record { spec, life, .. } = record;
        let error = life.error.as_deref().unwrap_or_default().to_lowercase();
        (self.states.is_empty() || self.states.contains(&life.state.kind()))
            && self
                .task
                .as_ref()
                .is_none_or(|task| task.matches(&spec.task))
            && self.queue.as_ref().is_none_or(|queue| *queue == spec.queue)
            && self.lane.is_none_or(|lane| lane == spec.lane)
            && self
                .reason
                .is_none_or(|reason| life.state.reason() == Some(reason))
            && self.error.as_ref().is_none_or(|text| error.contains(text))
            && self.tags.iter().all(|tag| spec.tags.contains(tag))
            && self
                .batch
                .as_ref()
                .is_none_or(|batch| spec.batch.as_ref() == Some(batch))
            && self
                .older_than
                .is_none_or(|age| now.since(record.created) > age)
            && self
                .newer_than
                .is_none_or(|age| now.since(record.created) < age)
    }
}

fn read<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        job::{Spec, json},
        life::Life,
    };

    fn record() -> Record {
        let mut spec = Spec::new(
            "email.send".parse().unwrap(),
            "mail".parse().unwrap(),
            json(&()).unwrap(),
        );
        spec.tags = vec!["eu".parse().unwrap()];
        let now = Timestamp::from_millis(10_000_000);
        Record::new(
            spec,
            Life::stillborn(Reason::Fatal, "SMTP Timeout".into(), now),
            now,
        )
    }

    fn matches(filter: &str) -> bool {
        let later = Timestamp::from_millis(10_000_000) + Duration::from_secs(7200);
        filter.parse::<Filter>().unwrap().matches(&record(), later)
    }

    #[test]
    fn every_word_must_hold() {
        assert!(matches(""));
        assert!(matches(
            "state:dead task:email.* queue:mail error:timeout tag:eu age:>1h"
        ));
        assert!(matches(
            "state:queued,dead reason:fatal lane:normal age:<3h"
        ));
        for other in [
            "state:queued",
            "task:email",
            "lane:low",
            "tag:us",
            "age:>3h",
            "batch:b",
        ] {
            assert!(!matches(&format!("queue:mail {other}")), "{other}");
        }
    }

    #[test]
    fn a_wrong_word_is_named_with_what_would_be_right() {
        for (wrong, hint) in [
            ("dead", "key:value"),
            ("colour:red", "one of state"),
            ("state:dying", "one of blocked"),
            ("age:1h", "age:>1h"),
            ("task:a*b", "at the end"),
            ("queue:", "nothing stands"),
        ] {
            let error = wrong.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains(hint), "{error}");
        }
    }
}
