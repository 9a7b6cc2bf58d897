//! `haul run`: a command for each of many items, in the foreground, each item a job that survives
//! this process.
//!
//! [`options`] is the command line. [`source`] and [`rows`] read items, [`template`] and [`work`]
//! say what is done for each, [`identity`] names run and jobs, [`intake`] submits. [`follow`] is the
//! loop: around a worker in this process, or beside workers elsewhere; [`open`] are the jobs that it
//! waits for. What they left behind ([`ended`]) goes through [`outlet`] to the screen, [`results`]
//! and [`joblog`]; [`display`] and [`summary`] tell a person.

mod display;
mod door;
mod ended;
mod follow;
mod halt;
mod identity;
mod intake;
mod joblog;
mod open;
mod options;
mod outlet;
mod results;
mod rows;
mod seen;
mod source;
mod summary;
mod template;
mod window;
mod work;

use haul_producer::{Producer, QueueName};
use haul_worker::{Running, Shell, Worker};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};

use self::{
    display::Display,
    follow::{Follow, Stop, Wishes, Workers},
    identity::Identity,
    intake::Intake,
    joblog::JobLog,
    open::{News, OpenJobs},
    outlet::{Order, Outlet},
    results::Results,
    source::{Origin, Source},
    summary::Tally,
    window::Window,
    work::{Deed, Work},
};
use super::worker::cores;
use crate::{
    callbacks::{self, HttpFlags},
    exit::Exit,
    output,
    session::Session,
};

pub use door::items;
pub(crate) use identity::is_run_queue;
pub(crate) use options::RunArgs;

/// What runs may finish, however long it takes; a second signal stops it.
const GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs the command for each item.
///
/// # Errors
/// When the command line or an item is wrong, an item failed for good, or it was interrupted.
pub(crate) async fn run(session: &Session, mut args: RunArgs) -> anyhow::Result<()> {
    let (words, items) = options::split(std::mem::take(&mut args.command))?;
    let origin = args.origin(items)?;
    let work = Work::new(&words, args.task.clone(), &origin)?;
    let total = match origin.is_lasting() {
        true => Some(work.check(&origin).map_err(Exit::usage)?),
        false => None,
    };
    if args.dry_run {
        return dry_run(session, &origin, &work);
    }
    let source = Source::open(&origin, total)?;
    // Whoever is asked for another queue's workers does not work here.
    let works_here = session.settings.is_embedded() && args.queue.is_none();
    let cwd = directory(&args, works_here)?;
    let queue = match (works_here, &args.queue) {
        (true, _) => None,
        (false, Some(queue)) => Some(queue.clone()),
        (false, None) => Some(QueueName::default_queue()),
    };
    let producer = session.connect().await?;
    let (identity, is_resumed) =
        Identity::settle(&producer, &names(&words, &args, &cwd), queue, args.resume).await?;
    if args.resume && !is_resumed {
        session.say("haul: no earlier run of this command in this directory; starting one");
    }
    let intake = Intake {
        identity,
        work,
        cwd: cwd.1.then(|| cwd.0.into()),
        attempts: args.retries.saturating_add(1),
        timeout: args.timeout,
        lane: args.priority,
        is_resumed,
        works_here,
    };
    if is_resumed {
        intake.call_back(&producer).await?;
    }
    start(session, &args, producer, intake, (origin, source)).await
}

/// Where commands run, and whether jobs say so: another machine may not have this directory.
fn directory(args: &RunArgs, works_here: bool) -> anyhow::Result<(String, bool)> {
    let chosen = args.cwd.as_ref();
    let path = match chosen {
        Some(path) => std::path::absolute(path)?,
        None => std::env::current_dir()?,
    };
    if chosen.is_some() && works_here && !path.is_dir() {
        let path = path.display();
        return Err(Exit::usage(format!("--cwd {path} is not a directory")));
    }
    let text = path.to_str();
    let text = text.ok_or_else(|| Exit::usage(format!("{path:?} is not UTF-8")))?;
    Ok((text.to_owned(), works_here || chosen.is_some()))
}

/// What makes it the same command.
fn names<'n>(words: &'n [String], args: &'n RunArgs, cwd: &'n (String, bool)) -> Vec<&'n str> {
    let words = words.iter().map(String::as_str);
    let task = args.task.iter().flat_map(|task| ["--task", &**task]);
    task.chain(words).chain([cwd.0.as_str()]).collect()
}

/// An item, and what would be done for it, as JSON.
#[derive(Debug, Serialize)]
struct DryView<'a> {
    item: &'a str,
    command: String,
}

fn dry_run(session: &Session, origin: &Origin, work: &Work) -> anyhow::Result<()> {
    origin.prompt();
    for item in origin.items().map_err(Exit::usage)? {
        let item = item.map_err(Exit::usage)?;
        let wrong = |why| Exit::usage(format!("{}: {why}", origin.place(&item)));
        let deed: Deed = work.of(&item).map_err(wrong)?;
        if session.json {
            output::json(&DryView {
                item: &item.text,
                command: deed.to_string(),
            })?;
        } else {
            output::line(deed)?;
        }
    }
    Ok(())
}

async fn start(
    session: &Session,
    args: &RunArgs,
    producer: Producer,
    intake: Intake,
    (origin, source): (Origin, Source),
) -> anyhow::Result<()> {
    let news = mpsc::unbounded_channel();
    let works_here = intake.works_here;
    let (workers, slots, running) = if works_here {
        let slots = args.jobs.map_or_else(cores, |jobs| jobs.get() as usize);
        let running = worker(session, &producer, &intake, slots, news.0.clone()).await?;
        (Vec::new(), slots, Some(running))
    } else {
        let workers = serving(&producer, &intake.identity.queue).await?;
        let slots = workers
            .iter()
            .filter_map(|it| it.queues.get(&intake.identity.queue));
        let slots = slots.map(|slots| *slots as usize).sum();
        complain(session, &intake, slots);
        (workers, slots, None)
    };
    let now = Instant::now();
    let follow = Follow {
        display: Display::new(session.shows_progress(), source.total, args.verbose)?,
        session,
        wishes: Wishes {
            window: window(args, slots, works_here),
            delay: args.delay.unwrap_or_default(),
            halt: args.halt,
        },
        outlet: outlet(session, args, intake.is_resumed)?,
        producer,
        intake,
        origin,
        source,
        running,
        news,
        workers: Workers {
            known: workers,
            looked: now,
            complained: now,
        },
        open: OpenJobs::default(),
        tally: Tally::new(),
        stop: Stop::default(),
        next_start: now,
    };
    follow.run().await
}

/// With a --delay, none may wait: it would start at a time of its own. Elsewhere, -j is how many
/// there are.
fn window(args: &RunArgs, slots: usize, works_here: bool) -> Window {
    match (works_here, args.jobs) {
        (false, Some(jobs)) => Window::Exactly(jobs.get() as usize),
        _ if args.delay.is_some() => Window::Exactly(slots.max(1)),
        _ => Window::ahead_of(slots),
    }
}

fn outlet(session: &Session, args: &RunArgs, is_resumed: bool) -> anyhow::Result<Outlet> {
    let joblog = |path| JobLog::open(path, is_resumed);
    Ok(Outlet {
        json: session.json,
        tag: args.tag,
        results: args.results.clone().map(Results::new).transpose()?,
        joblog: args.joblog.clone().map(joblog).transpose()?,
        order: args.keep_order.then(Order::new),
        is_stdout_gone: false,
    })
}

async fn worker(
    session: &Session,
    producer: &Producer,
    intake: &Intake,
    slots: usize,
    news: mpsc::UnboundedSender<News>,
) -> anyhow::Result<Running> {
    let http = callbacks::settle(&session.settings, HttpFlags::default())?;
    let worker = Worker::new(producer.backend().clone())?
        .builtins(Shell::Allowed)
        .http(http);
    let task = intake.work.task();
    if !worker.knows(task) {
        return Err(Exit::usage(format!(
            "this process cannot do `{task}`; name the queue whose workers do, with --queue NAME"
        )));
    }
    let running = worker
        .queue(&*intake.identity.queue, u32::try_from(slots)?)
        .grace(GRACE)
        .observe(news)
        .start()
        .await?;
    Ok(running)
}

async fn serving(
    producer: &Producer,
    queue: &QueueName,
) -> anyhow::Result<Vec<haul_producer::WorkerInfo>> {
    let mut workers = producer.workers().await?;
    workers.retain(|worker| worker.queues.contains_key(queue));
    Ok(workers)
}

/// Says who does the work, or that nobody does.
fn complain(session: &Session, intake: &Intake, slots: usize) {
    let queue = &intake.identity.queue;
    if slots > 0 {
        return session.say(format!(
            "haul: {slots} slots of queue `{queue}` are at work on it"
        ));
    }
    let shell = match intake.work {
        Work::Task(..) => "",
        _ => " --allow-shell",
    };
    crate::screen::talk(&format!(
        "haul: no worker serves queue `{queue}`: the jobs wait for one; start it where the same \
         broker and store are set\n      haul worker --queue {queue}{shell}"
    ));
}
