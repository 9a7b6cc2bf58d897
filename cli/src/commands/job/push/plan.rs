//! From a row to a job.

use std::{fmt::Display, str::FromStr, time::Duration};

use haul_common::{
    job::{Json, NameError, Spec},
    time::parse_duration,
};
use haul_producer::{JobId, Submission, Tag, TaskName, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    Common, Moment,
    rows::{Problem, Row},
    template::{Template, Text, Unfit},
};
use crate::{exit::Exit, traces};

/// What the rows are to become.
#[derive(Debug)]
pub(super) struct Plan {
    /// What all jobs have in common.
    pub(super) common: Common,
    shape: Shape,
    now: Timestamp,
}

/// What a row holds.
#[derive(Debug)]
enum Shape {
    /// The arguments, or what goes into them.
    Args {
        task: TaskName,
        args: Option<Template>,
        id: Option<Text>,
    },
    /// The whole job.
    Envelope { task: Option<TaskName> },
}

/// What a row may say of its job.
const KEYS: [&str; 14] = [
    "task",
    "args",
    "queue",
    "lane",
    "id",
    "delay",
    "at",
    "attempts",
    "backoff",
    "timeout",
    "deadline",
    "retention",
    "tags",
    "batch",
];

impl Plan {
    /// Rows are whole jobs; `task` where they name none.
    pub(super) fn envelopes(common: Common, task: Option<TaskName>) -> Self {
        Self::new(common, Shape::Envelope { task })
    }

    /// Rows are arguments, or fill the places of `args` and `id`.
    pub(super) fn args(
        common: Common,
        task: TaskName,
        args: Option<Json>,
        id: Option<&str>,
    ) -> anyhow::Result<Self> {
        let wrong = |flag: &str, why: &str| Exit::usage(format!("{flag}: {why}"));
        let template = |json: Json| {
            let value = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
            Template::of(value)
        };
        let args = args.map(template).transpose();
        let args = args.map_err(|why| wrong("--args", &why))?;
        let id = id.map(Text::parse).transpose();
        let id = id.map_err(|why| wrong("--id", &why))?;
        if id.as_ref().is_some_and(|id| id.fields().next().is_none()) {
            let why = "it is the same for every row; name a field, such as --id 'user-{id}'";
            return Err(wrong("--id", why));
        }
        Ok(Self::new(common, Shape::Args { task, args, id }))
    }

    fn new(common: Common, shape: Shape) -> Self {
        let now = Timestamp::now();
        Self { common, shape, now }
    }

    /// Whether all fields that are needed are among these columns.
    pub(super) fn fits(&self, columns: &[String]) -> anyhow::Result<()> {
        let Shape::Args { args, id, .. } = &self.shape else {
            return Ok(());
        };
        let args = args.iter().flat_map(Template::fields);
        let needed = args.chain(id.iter().flat_map(Text::fields));
        for name in needed {
            if !columns.iter().any(|column| column == name) {
                return Err(Exit::usage(format!(
                    "there is no column `{name}`; the columns are {}",
                    columns.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The job of a row.
    pub(super) fn job(&self, row: &Row) -> Result<Submission, Problem> {
        let job = match &self.shape {
            Shape::Args { task, args, id } => self.of_args(row, task, args.as_ref(), id.as_ref()),
            Shape::Envelope { task } => self.of_envelope(row, task.as_ref()),
        };
        let unfit = |(field, what): Unfit| {
            let field = Some(field.as_str()).filter(|field| !field.is_empty());
            Problem::new(row.line, field, what)
        };
        let job = job.map_err(unfit)?;
        let valid = job.spec.validate();
        valid.map_err(|error| Problem::new(row.line, None, error.to_string()))?;
        Ok(job)
    }

    fn of_args(
        &self,
        row: &Row,
        task: &TaskName,
        args: Option<&Template>,
        id: Option<&Text>,
    ) -> Result<Submission, Unfit> {
        let args = match args {
            Some(template) => template.fill(row)?,
            None => serde_json::to_string(&row.fields).map_err(|error| whole(&error))?,
        };
        let args = RawValue::from_string(args).map_err(|error| whole(&error))?;
        let id = id.map(|id| id.fill(row)).transpose()?;
        let id = id.map(|id| id.parse()).transpose();
        let id = id.map_err(|error: NameError| ("--id".to_owned(), error.to_string()))?;
        Ok(self.common.submission(task.clone(), args, id, self.now))
    }

    fn of_envelope(&self, row: &Row, task: Option<&TaskName>) -> Result<Submission, Unfit> {
        if let Some(key) = row.fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let what = format!("there is no such field; the fields are {}", KEYS.join(", "));
            return Err((key.clone(), what));
        }
        let missing = || {
            (
                "task".to_owned(),
                "it is missing, and no TASK is given".to_owned(),
            )
        };
        let task = word(row, "task")?
            .or_else(|| task.cloned())
            .ok_or_else(missing)?;
        let null = || RawValue::NULL.to_owned();
        let args = row.fields.get("args").cloned().unwrap_or_else(null);
        let mut common = self.common.clone();
        let wait = |name| duration(row, name);
        set(&mut common.queue, word(row, "queue")?);
        set(&mut common.lane, word(row, "lane")?);
        set(&mut common.attempts, value(row, "attempts")?);
        set(&mut common.backoff, word(row, "backoff")?);
        common.delay = wait("delay")?.or(common.delay);
        common.at = word(row, "at")?.or(common.at);
        common.timeout = wait("timeout")?.or(common.timeout);
        common.deadline = word::<Moment>(row, "deadline")?.or(common.deadline);
        common.retention = wait("retention")?.or(common.retention);
        common
            .tags
            .extend(value::<Vec<Tag>>(row, "tags")?.unwrap_or_default());
        common.batch = word(row, "batch")?.or(common.batch);
        Ok(common.submission(task, args, word::<JobId>(row, "id")?, self.now))
    }
}

fn whole(error: &serde_json::Error) -> Unfit {
    (String::new(), error.to_string())
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// A field as JSON of this shape; nothing where it is absent or null.
fn value<T: DeserializeOwned>(row: &Row, name: &str) -> Result<Option<T>, Unfit> {
    let Some(field) = row.fields.get(name) else {
        return Ok(None);
    };
    serde_json::from_str(field.get()).map_err(|error| {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let what = error.to_string().replace(&position, "");
        (name.to_owned(), what.replace("a sequence", "a list"))
    })
}

/// A field that is written as the flag of its name is.
fn word<T: FromStr<Err: Display>>(row: &Row, name: &str) -> Result<Option<T>, Unfit> {
    let Some(text) = value::<String>(row, name)? else {
        return Ok(None);
    };
    let read = text.parse::<T>().map(Some);
    read.map_err(|error| (name.to_owned(), error.to_string()))
}

fn duration(row: &Row, name: &str) -> Result<Option<Duration>, Unfit> {
    let Some(text) = value::<String>(row, name)? else {
        return Ok(None);
    };
    let read = parse_duration(&text).map(Some);
    read.map_err(|error| (name.to_owned(), error.to_string()))
}

impl Common {
    /// A job with these options.
    pub(super) fn submission(
        &self,
        task: TaskName,
        args: Json,
        id: Option<JobId>,
        now: Timestamp,
    ) -> Submission {
        let chosen_id = id.is_some();
        let mut spec = Spec::of(id.unwrap_or_default(), task, self.queue.clone(), args);
        spec.lane = self.lane;
        spec.max_attempts = self.attempts;
        spec.backoff = self.backoff.clone();
        spec.timeout = self.timeout;
        spec.deadline = self.deadline.map(|moment| match moment {
            Moment::At(time) => time,
            Moment::In(wait) => now + wait,
        });
        spec.retention = self.retention;
        spec.tags.clone_from(&self.tags);
        spec.batch.clone_from(&self.batch);
        spec.headers = traces::given();
        Submission {
            spec,
            due: self.at.or_else(|| self.delay.map(|wait| now + wait)),
            chosen_id,
        }
    }
}
