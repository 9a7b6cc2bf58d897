//! A whole run: stage, fleet, load and faults; then calm, a look at every job, and the verdict.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use haul_common::job::{Outcome, Record};
use haul_producer::Producer;
use tokio::time::{Instant, sleep};

use super::{
    cluster::Cluster,
    evidence::{EVENTS, Evidence, FINALS, Final, RUN, Run, SUBMITS, write_lines},
    faults::{CLOCK_FILE, CLOCK_WORKER, FAKETIME, Hands},
    fleet::{Events, Fleet, Launch},
    ledger::{Log, now_us},
    load::{Progress, QUEUE, Submitter, id, number},
    plan::{Shape, Tracks, chore},
    report::Report,
    stage::{Stage, env},
};

/// The variable by which a bug is planted, here and in the workers.
pub const PLANT: &str = "HAUL_PLANT";
/// Who is looked at after all is done, for what should not happen any more.
const AFTERWARDS: Duration = Duration::from_secs(5);
const LOOKS_AT_ONCE: usize = 256;
const GUARD_AFTER: Duration = Duration::from_secs(2);

/// Runs it in `dir`, which is emptied first.
///
/// # Errors
/// When the run could not be carried out; what it found is in the report.
pub async fn run(dir: &Path, seed: u64, shape: &Shape, tracks: Tracks) -> Result<Report> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let (hands, direct, submitter) = set_up(dir, shape).await?;
    let supervision = hands.fleet.supervise();
    let mut run = Run {
        form: shape.form.to_owned(),
        seed,
        planted: std::env::var(PLANT).ok(),
        first_kills: shape.counts.first_kills,
        began_us: now_us(),
        ..Run::default()
    };
    let (pace, mix) = (shape.pace, shape.mix);
    let load = {
        let submitter = submitter.clone();
        tokio::spawn(async move { submitter.run(move |n| chore(seed, mix, n), pace).await })
    };
    play(&hands, tracks).await?;
    run.calm_us = now_us();
    let attempted = load.await?;
    run.submitted_us = now_us();
    run.calm_us = run.calm_us.max(run.submitted_us);
    run.drained_us = drain(&hands.stage, &direct, &submitter.progress, shape.drain).await;
    sleep(AFTERWARDS).await;
    run.left = hands.stage.left().await;
    run.dead_letters = hands.stage.dead_letters().await?;
    drop(supervision);
    run.seen.clone_from(&hands.seen.lock().unwrap());
    write_lines(&dir.join(FINALS), &finals(&direct, attempted).await)?;
    hands.events.write(&dir.join(EVENTS))?;
    fs::write(dir.join(RUN), serde_json::to_vec_pretty(&run)?)?;
    drop(hands);
    Report::of(&Evidence::read(dir)?, dir)
}

async fn set_up(dir: &Path, shape: &Shape) -> Result<(Arc<Hands>, Producer, Submitter)> {
    let small_disk = shape.counts.full_disks > 0;
    let stage = if shape.embedded {
        Stage::embedded(dir, small_disk)?
    } else if shape.cluster {
        Stage::Cluster(tokio::task::spawn_blocking(Cluster::start).await?)
    } else {
        tokio::task::spawn_blocking(move || Stage::fleet(small_disk)).await?
    };
    let mut links = Vec::new();
    for _ in 0..=shape.workers {
        links.extend(stage.links().await);
    }
    let direct = stage.producer(None).await?;
    direct.backend().broker.declare(&[QUEUE.parse()?]).await?;
    let progress = Arc::new(Progress::default());
    let submitter = Submitter {
        producer: stage.producer(links.last()).await?,
        log: Arc::new(Log::open(&dir.join(SUBMITS))?),
        progress: progress.clone(),
    };
    let events = Arc::new(Events::default());
    let how = Launch {
        slots: shape.slots,
        guard_after: GUARD_AFTER,
        dir: dir.to_owned(),
    };
    let envs = (0..shape.workers).map(|worker| {
        let mut env = env(stage.urls(links.get(worker)));
        if worker == CLOCK_WORKER && shape.counts.clocks > 0 {
            env.extend(clock(dir));
        }
        env
    });
    let fleet = Fleet::start(how, envs.collect(), events.clone(), progress);
    let hands = Hands {
        stage,
        fleet,
        links,
        events,
        dir: dir.to_owned(),
        seen: Vec::new().into(),
    };
    Ok((Arc::new(hands), direct, submitter))
}

/// What lets the wall clock of a process be set. Its timers stay right, as on a real machine.
fn clock(dir: &Path) -> Vec<(String, String)> {
    let file: PathBuf = dir.join(CLOCK_FILE);
    let written = fs::write(&file, "+0\n").is_ok();
    if !written || !Path::new(FAKETIME).exists() {
        tracing::warn!("no clock can be set here: {FAKETIME} is missing");
        return Vec::new();
    }
    [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_CACHE_DURATION", "1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

async fn play(hands: &Arc<Hands>, tracks: Tracks) -> Result<()> {
    let began = Instant::now();
    let mut playing = tokio::task::JoinSet::new();
    for steps in [tracks.kills, tracks.pauses, tracks.cuts, tracks.servers] {
        playing.spawn(hands.clone().play(began, steps));
    }
    while let Some(played) = playing.join_next().await {
        played??;
    }
    Ok(())
}

/// Waits until no job is open; says when that was.
async fn drain(
    stage: &Stage,
    direct: &Producer,
    progress: &Progress,
    limit: Duration,
) -> Option<u64> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if is_drained(stage, direct, progress).await.unwrap_or(false) {
            return Some(now_us());
        }
        sleep(Duration::from_millis(200)).await;
    }
    None
}

async fn is_drained(stage: &Stage, direct: &Producer, progress: &Progress) -> Result<bool> {
    for job in progress.pending() {
        match direct.find(&id(job)).await? {
            Some(record) if record.life.state.kind().is_terminal() => progress.forget(job),
            // It was dead when the store was emptied; nobody else remembers it.
            None if stage.dead_letters().await?.contains(&job) => progress.forget(job),
            _ => return Ok(false),
        }
    }
    let counts = direct.counts().await?;
    let states = counts.iter().flat_map(|queue| &queue.states);
    let open: u64 = states
        .filter(|(state, _)| !state.is_terminal())
        .map(|(_, count)| count)
        .sum();
    Ok(open == 0 && messages(direct).await? == 0)
}

/// Messages that no worker has.
async fn messages(direct: &Producer) -> Result<u64> {
    let facts = direct.backend().broker.facts(&QUEUE.parse()?).await?;
    Ok(facts.lanes.iter().map(|lane| lane.ready).sum())
}

async fn finals(direct: &Producer, attempted: u64) -> Vec<Final> {
    let look = |job| async move {
        // Nothing is done to the store any more: an error here is for people to look at.
        let found = direct.find(&id(job)).await;
        found.unwrap_or_else(|error| panic!("job {job}: {error}"))
    };
    let found = stream::iter((0..attempted).map(look)).buffered(LOOKS_AT_ONCE);
    found
        .filter_map(async |record| last(&record?))
        .collect()
        .await
}

fn last(record: &Record) -> Option<Final> {
    let life = &record.life;
    let won = |attempt: &&haul_common::job::Attempt| attempt.outcome == Outcome::Succeeded;
    Some(Final {
        job: number(&record.spec.id)?,
        state: life.state.kind().to_string(),
        reason: life.state.reason().map(|reason| reason.to_string()),
        crashes: life.crashes,
        won: record
            .attempts
            .iter()
            .filter(won)
            .map(|attempt| attempt.fence.0)
            .collect(),
    })
}
