//! Runs a target over its inputs on several threads, and keeps what went wrong.

use std::{
    backtrace::Backtrace,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{Target, Verdict};

/// An input of this size is noted on disk before it is read: what ends the process, as a stack
/// that is used up does, leaves nothing else behind.
const NOTED: usize = 4096;
/// A target that fails so often is not run on.
const FAILURES_MAX: usize = 5;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All inputs follow from it.
    pub seed: u64,
    /// How many inputs in all targets together.
    pub inputs: u64,
    /// How many threads.
    pub threads: u64,
    /// Where inputs go that made a target fail.
    pub keep: PathBuf,
}

/// An input that made a target fail.
#[derive(Debug)]
pub struct Failure {
    /// What failed, and how.
    pub what: String,
    /// Where the input is kept.
    pub path: PathBuf,
}

/// How it went with one target.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs that were read.
    pub accepted: u64,
    /// Inputs that were refused.
    pub refused: u64,
    /// What failed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub took: Duration,
}

/// Panics that nobody has asked for yet: the name of the thread, and what it said.
static PANICS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Begins the names of the threads that run inputs.
const OURS: &str = "fuzz-";

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn listen() {
    panic::set_hook(Box::new(|info| {
        let said = format!("{info}\n{}", Backtrace::capture());
        let mut all = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((thread_name(), said));
    }));
}

/// Panics of this thread, and of threads that an input started.
fn panics() -> Vec<String> {
    let own = thread_name();
    let mut all = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = |(name, _): &mut (String, _)| *name == own || !name.starts_with(OURS);
    all.extract_if(.., mine).map(|(_, said)| said).collect()
}

/// Runs `target` over its share of the plan.
pub fn run(target: &Target, plan: &Plan) -> Report {
    listen();
    let began = Instant::now();
    let count = (plan.inputs * target.share).div_ceil(1_000_000).max(20);
    let total = Mutex::new(Report::default());
    thread::scope(|scope| {
        for first in 0..plan.threads {
            let total = &total;
            let work = move || {
                for number in (first..count).step_by(usize::try_from(plan.threads).unwrap()) {
                    if !one(target, plan, number, total) {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name(format!("{OURS}{first}"));
            thread.spawn_scoped(scope, work).unwrap();
        }
    });
    drop(panic::take_hook());
    let mut report = total.into_inner().unwrap();
    report.took = began.elapsed();
    report
}

/// The seed of one input.
fn seed_of(target: &Target, plan: &Plan, number: u64) -> u64 {
    let name = target.name.bytes();
    let named = name.fold(plan.seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    named.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Runs one input; says whether to go on.
fn one(target: &Target, plan: &Plan, number: u64, total: &Mutex<Report>) -> bool {
    let input = target
        .source
        .input(&mut Rng::with_seed(seed_of(target, plan, number)));
    let noted = (input.len() >= NOTED).then(|| note(target, plan, number, &input));
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| (target.read)(&input)));
    let said = panics();
    let mut total = total.lock().unwrap();
    match verdict {
        Ok(Verdict::Accepted) if said.is_empty() => total.accepted += 1,
        Ok(Verdict::Refused) if said.is_empty() => total.refused += 1,
        _ => {
            let path = note(target, plan, number, &input);
            let what = format!("{} input {number}: {}", target.name, said.join("; "));
            total.failures.push(Failure { what, path });
            return total.failures.len() < FAILURES_MAX;
        }
    }
    if let Some(path) = noted {
        let _ = fs::remove_file(path);
    }
    total.failures.len() < FAILURES_MAX
}

fn note(target: &Target, plan: &Plan, number: u64, input: &[u8]) -> PathBuf {
    let name = format!("{}-{}-{number}", target.name, plan.seed);
    let path = plan.keep.join(name);
    fs::create_dir_all(&plan.keep).unwrap();
    fs::write(&path, input).unwrap();
    path
}

/// Runs `target` once more over an input that was kept. Panics as it did.
pub fn replay(target: &Target, path: &Path) -> Verdict {
    (target.read)(&fs::read(path).unwrap())
}
