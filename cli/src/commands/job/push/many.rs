//! Pushes a job for each row of a file: all are looked at before the first one goes out.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
};

use futures_util::{StreamExt, stream};
use haul_common::job::Digest;
use haul_producer::{BatchId, JobId, Producer, Submission, Submitted};
use serde::Serialize;

use super::{
    plan::Plan,
    rows::{Format, Problem, Rows, Source},
};
use crate::{
    commands::job::count,
    exit::{Code, Exit},
    output, screen,
    session::Session,
};

/// Jobs that are submitted together.
const CHUNK: usize = 1000;
const CHUNKS_AT_ONCE: usize = 3;
/// Ids that are looked up together.
const LOOKUPS: usize = 256;
/// What is wrong is told in full by a dry run.
const TOLD: usize = 20;

/// Where the rows are.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) dry_run: bool,
}

#[derive(Debug, Serialize)]
struct ProblemView<'a> {
    line: u64,
    field: Option<&'a str>,
    problem: &'a str,
}

#[derive(Debug, Serialize)]
struct PushedView<'a> {
    batch: Option<&'a BatchId>,
    submitted: usize,
    existing: usize,
}

#[derive(Debug, Serialize)]
struct SoundView {
    jobs: usize,
    problems: usize,
}

/// Looks at all rows, then submits them.
pub(super) async fn run(session: &Session, mut plan: Plan, input: &Input) -> anyhow::Result<()> {
    let batch = plan.common.batch.get_or_insert_with(BatchId::new).clone();
    let source = Source::open(&input.path)?;
    let report = Report::new(session, &source, input);
    let jobs = check(&plan, report).await?;
    if input.dry_run {
        if session.json {
            return output::json(&SoundView { jobs, problems: 0 });
        }
        return output::line(format!("{} would be submitted", count(jobs, "job")));
    }
    let producer = session.connect().await?;
    let (_, rows) = source.rows(input.format)?;
    let mut tally = Tally::default();
    let ended = submit(&producer, &plan, rows, &source.name, &mut tally).await;
    let Tally {
        submitted,
        existing,
    } = tally;
    if let Err(error) = ended {
        let told = format!(
            "haul: {} of {jobs} were submitted, as batch {batch}; then it failed",
            submitted + existing
        );
        screen::talk(&told);
        return Err(error);
    }
    let known = if existing > 0 {
        format!("; {} known before", count(existing, "job"))
    } else {
        String::new()
    };
    session.say(format!(
        "haul: {} submitted{known}",
        count(submitted, "job")
    ));
    if session.json {
        let batch = (submitted > 0).then_some(&batch);
        return output::json(&PushedView {
            batch,
            submitted,
            existing,
        });
    }
    if submitted > 0 {
        output::line(&batch)?;
    }
    Ok(())
}

/// Looks at every row, and says how many there are.
async fn check(plan: &Plan, mut report: Report<'_>) -> anyhow::Result<usize> {
    let (columns, rows) = report.source.rows(report.input.format)?;
    if let Some(columns) = columns {
        plan.fits(&columns)?;
    }
    let mut ids = Ids::default();
    let mut jobs = 0;
    for row in rows {
        let job = row.and_then(|row| Ok((row.line, plan.job(&row)?)));
        let wrong = match job {
            Ok((line, job)) => {
                jobs += 1;
                ids.add(line, job)
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = wrong {
            report.tell(&problem)?;
        }
        if ids.new.len() == LOOKUPS {
            ids.look_up(&mut report).await?;
        }
    }
    ids.look_up(&mut report).await?;
    report.end()?;
    Ok(jobs)
}

/// Says what is wrong: to stdout where that was asked for, else to a person, and not too much.
struct Report<'a> {
    session: &'a Session,
    source: &'a Source,
    input: &'a Input,
    problems: usize,
}

impl<'a> Report<'a> {
    const fn new(session: &'a Session, source: &'a Source, input: &'a Input) -> Self {
        Self {
            session,
            source,
            input,
            problems: 0,
        }
    }

    fn tell(&mut self, problem: &Problem) -> anyhow::Result<()> {
        self.problems += 1;
        let Problem { line, field, what } = problem;
        if self.input.dry_run && self.session.json {
            return output::json(&ProblemView {
                line: *line,
                field: field.as_deref(),
                problem: what,
            });
        }
        let kind = match self.input.format {
            Format::Csv => "column",
            Format::Jsonl => "field",
        };
        let field = match field.as_deref() {
            Some(flag) if flag.starts_with("--") => format!("{flag}: "),
            Some(name) => format!("{kind} `{name}`: "),
            None => String::new(),
        };
        let text = format!("{}:{line}: {field}{what}", self.source.name);
        if self.input.dry_run {
            return output::line(text);
        }
        if self.problems <= TOLD {
            screen::talk(&text);
        }
        Ok(())
    }

    fn end(&self) -> anyhow::Result<()> {
        if self.problems == 0 {
            return Ok(());
        }
        let wrong = count(self.problems, "problem");
        let more = if self.input.dry_run || self.problems <= TOLD {
            String::new()
        } else {
            format!("; the first {TOLD} are above, --dry-run lists all")
        };
        let what = format!(
            "{}: {wrong}, so nothing is submitted{more}",
            self.source.name
        );
        Err(Exit::with(Code::Failed, what))
    }
}

/// Ids that rows choose: each is one job's.
#[derive(Default)]
struct Ids {
    /// By a hash of the id: where it was first, and what its job is.
    seen: HashMap<u64, (u64, Digest)>,
    /// What the store may know.
    new: Vec<(u64, JobId, Digest)>,
}

impl Ids {
    fn add(&mut self, line: u64, job: Submission) -> Option<Problem> {
        if !job.chosen_id {
            return None;
        }
        let (id, digest) = (job.spec.id.clone(), job.spec.digest());
        match self.seen.entry(hash(&id)) {
            Entry::Vacant(place) => {
                place.insert((line, digest));
                self.new.push((line, id, digest));
                None
            }
            Entry::Occupied(first) if first.get().1 == digest => None,
            Entry::Occupied(first) => {
                let first = first.get().0;
                let what = format!("line {first} has the same id `{id}` for another job");
                Some(Problem::new(line, None, what))
            }
        }
    }

    /// Asks whether jobs of other content have the ids that were added.
    async fn look_up(&mut self, report: &mut Report<'_>) -> anyhow::Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let producer = report.session.connect().await?;
        let find = |(line, id, digest): (u64, JobId, Digest)| {
            let producer = &producer;
            async move {
                let known = producer.find(&id).await?;
                let other = known.is_some_and(|known| known.spec.digest() != digest);
                let what = format!(
                    "another job, with another task or other arguments, has the id `{id}`; choose \
                     another"
                );
                anyhow::Ok(other.then(|| Problem::new(line, None, what)))
            }
        };
        let mut looks = stream::iter(self.new.drain(..)).map(find).buffered(LOOKUPS);
        while let Some(problem) = looks.next().await {
            if let Some(problem) = problem? {
                report.tell(&problem)?;
            }
        }
        Ok(())
    }
}

fn hash(text: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    thread_local!(static STATE: RandomState = RandomState::new());
    STATE.with(|state| state.hash_one(text))
}

#[derive(Default)]
struct Tally {
    submitted: usize,
    existing: usize,
}

/// Submits all rows, pipelined, in order, up to the first that is not accepted.
async fn submit(
    producer: &Producer,
    plan: &Plan,
    rows: Rows,
    name: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let changed = |Problem { line, what, .. }| {
        anyhow::anyhow!("{name}:{line}: it has changed since it was looked at: {what}")
    };
    let mut jobs = rows.map(|row| row.and_then(|row| plan.job(&row)).map_err(changed));
    let chunks = std::iter::from_fn(|| {
        let chunk: Vec<_> = jobs.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then(|| chunk.into_iter().collect::<anyhow::Result<Vec<_>>>())
    });
    let send = |chunk: anyhow::Result<Vec<Submission>>| async {
        anyhow::Ok(producer.submit_all(chunk?).await)
    };
    let mut sent = stream::iter(chunks).map(send).buffered(CHUNKS_AT_ONCE);
    let mut refused = None;
    while let Some(answers) = sent.next().await {
        for answer in answers? {
            match answer {
                Ok(Submitted { existing: None, .. }) => tally.submitted += 1,
                Ok(_) => tally.existing += 1,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
    }
    Ok(())
}
