//! Runs a program for each job: a worker that comes for a few jobs, with one handler for all tasks.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use haul_common::{
    job::{Failure, JobId, Json, StateKind, json},
    life::Life,
};
use haul_worker::{
    Worker,
    tasks::shell::{self, Runner, ShellOutput, ShellRules},
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{PullArgs, nothing, paused};
use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};

/// What became of a job, as JSON.
#[derive(Debug, Serialize)]
struct PulledView {
    id: JobId,
    attempt: u32,
    /// Null when the attempt did not count.
    state: Option<StateKind>,
}

pub(super) async fn run(session: &Session, args: PullArgs) -> anyhow::Result<()> {
    let (to, mut news) = mpsc::unbounded_channel();
    let at_most = args.max.unwrap_or(NonZeroU32::MIN);
    let slots = if args.follow {
        args.jobs
    } else {
        args.jobs.min(at_most)
    };
    let command = args.command.clone();
    let mut worker = Worker::connect(session.settings.urls.clone())
        .await?
        // It is the user's own program, with all of the user's environment.
        .state(Runner::new(ShellRules::anything(), true))
        .queue(&*args.queue, slots.get())
        .handle_others(move |ctx, args: Json| {
            let command = command.clone();
            async move { result(shell::program(ctx, command, &args).await?) }
        })
        .observe(to);
    if !args.follow {
        worker = worker
            .at_most(at_most)
            .until_idle(args.wait.unwrap_or(Duration::ZERO));
    }
    if let Some(at) = args.listen {
        worker = worker.listen(at);
    }
    let running = worker.start().await?;
    if let Some(at) = running.listening() {
        session.say(format!("haul: metrics on http://{at}/metrics"));
    }
    if args.follow
        && let Some(words) = paused(session, &args.queue).await?
    {
        session.say(format!("queue `{}` is paused {words}; waiting", args.queue));
    }
    running.stop_on_signals();
    let watch = async {
        let mut tally = Tally::default();
        while let Some((job, life)) = news.recv().await {
            tally.count(session, job, &life)?;
        }
        tally.rest(session)?;
        Ok::<_, anyhow::Error>(tally)
    };
    let (finished, tally) = tokio::join!(running.finished(), watch);
    finished?;
    let tally = tally?;
    match (tally.taken, tally.unsuccessful) {
        _ if args.follow => Ok(()),
        (0, _) => Err(nothing(session, &args).await),
        (_, 0) => Ok(()),
        _ => Err(Exit::silent(Code::Unsuccessful)),
    }
}

/// What a program said in a line `::result` is its job's result, or else what it printed: JSON, or else
/// text.
fn result(output: ShellOutput) -> Result<Json, Failure> {
    match output.result {
        Some(result) => Ok(json(&result)?),
        None => printed(&output.stdout),
    }
}

fn printed(stdout: &str) -> Result<Json, Failure> {
    match serde_json::from_str::<Json>(stdout.trim()) {
        Ok(result) => Ok(result),
        Err(_) => Ok(json(stdout.trim_end_matches('\n'))?),
    }
}

/// Jobs that have been seen to.
#[derive(Default)]
struct Tally {
    taken: usize,
    unsuccessful: usize,
    /// Those that run, and in which attempt.
    running: HashMap<JobId, u32>,
}

impl Tally {
    fn count(&mut self, session: &Session, id: JobId, life: &Life) -> anyhow::Result<()> {
        let state = life.state.kind();
        if state == StateKind::Running {
            self.taken += 1;
            self.running.insert(id, life.attempt);
            return Ok(());
        }
        let attempt = self.running.remove(&id).unwrap_or(life.attempt);
        self.tell(session, id, attempt, Some(state))
    }

    /// Those whose end is not recorded as one of this worker.
    fn rest(&mut self, session: &Session) -> anyhow::Result<()> {
        for (id, attempt) in std::mem::take(&mut self.running) {
            self.tell(session, id, attempt, None)?;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        session: &Session,
        id: JobId,
        attempt: u32,
        state: Option<StateKind>,
    ) -> anyhow::Result<()> {
        self.unsuccessful += usize::from(state != Some(StateKind::Succeeded));
        if session.json {
            return output::json(&PulledView { id, attempt, state });
        }
        let words = match state {
            Some(StateKind::Retrying) => "failed, and is tried again",
            Some(StateKind::Queued) => "given back",
            Some(state) => state.as_str(),
            None => "its end did not count: the job had moved on",
        };
        output::line(format!("{id}  {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_json_or_else_text() {
        for (stdout, expected) in [
            ("{\"n\": 1}\n", "{\"n\": 1}"),
            ("7\n", "7"),
            ("", "\"\""),
            ("two words\n", "\"two words\""),
            ("{\"n\": 1}\n{\"n\": 2}\n", r#""{\"n\": 1}\n{\"n\": 2}""#),
        ] {
            assert_eq!(printed(stdout).unwrap().get(), expected);
        }
    }
}
