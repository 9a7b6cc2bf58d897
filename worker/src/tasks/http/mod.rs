//! `http.request`: calls an HTTP endpoint.
//!
//! 2xx, or what the job expects, succeeds. 408, 425, 5xx and whatever happens to the connection
//! retry by the job's policy, or when `Retry-After` says; 429 and 503 slow the queue down and cost
//! no attempt. Every other 4xx and every redirect is fatal, and so is 410, or `Haul-Stop: true`
//! beside any failure. A 202 with `Haul-Poll` is asked again later, at no cost of an attempt.
//!
//! [`args`]: what is asked for; [`client`]: sends it, through [`line`] and past the [`guard`];
//! [`verdict`]: what follows from the answer; [`waiting`]: what is remembered of a poll.

mod args;
mod client;
#[cfg(feature = "faults")]
pub mod door;
mod guard;
mod line;
mod result;
mod sign;
mod trouble;
mod verdict;
mod waiting;

use std::time::{Instant, SystemTime};

use haul_common::{job::Failure, time::Timestamp};

pub use args::{Expect, HttpRequest};
pub(crate) use client::Client;
pub use result::HttpResponse;

use crate::Context;
use args::parse_url;
use guard::Guard;
use result::Answer;
use sign::{KEYS_MAX, Key};
use verdict::{Verdict, judge};
use waiting::Waiting;

/// How `http.request` calls out: whom it may call, and how it shows who it is. What is wrong with
/// it is told when the worker starts.
///
/// ```
/// # use haul_worker::tasks::http::Http;
/// let http = Http::default().allow("loopback").allow("*.inner.example").allow("10.1.0.0/16");
/// # let _ = http;
/// ```
#[derive(Debug, Default)]
pub struct Http {
    guard: Guard,
    keys: Vec<Key>,
    authorities: Option<String>,
    identity: Option<(String, String)>,
    wrong: Option<String>,
}

impl Http {
    /// Lets jobs call hosts whose addresses are not public: `loopback`, a name, `*.name`, an
    /// address, or a network such as `10.1.0.0/16`. Without any, they call public addresses only.
    #[must_use]
    pub fn allow(mut self, host: &str) -> Self {
        match host.parse() {
            Ok(allow) => self.guard.allow.push(allow),
            Err(why) => self.wrong(why),
        }
        self
    }

    /// Signs every request with this key; may be called twice, while keys are being exchanged.
    #[must_use]
    pub fn sign_with(mut self, key: &[u8]) -> Self {
        match Key::new(key) {
            Ok(_) if self.keys.len() == KEYS_MAX => {
                self.wrong(format!(
                    "{KEYS_MAX} keys sign at most, the new one and the old one"
                ));
            }
            Ok(key) => self.keys.push(key),
            Err(why) => self.wrong(why),
        }
        self
    }

    /// Trusts those whom this PEM file names too, beside those whom this machine trusts.
    #[must_use]
    pub fn authorities(mut self, path: &str) -> Self {
        self.authorities = Some(path.to_owned());
        self
    }

    /// Shows this certificate to servers that want to know who calls; two PEM files.
    #[must_use]
    pub fn identity(mut self, cert: &str, key: &str) -> Self {
        self.identity = Some((cert.to_owned(), key.to_owned()));
        self
    }

    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

pub(super) async fn run(ctx: Context<Client>, args: HttpRequest) -> Result<HttpResponse, Failure> {
    let mut ask = args.ask()?;
    let mut waiting = Waiting::recall(&ctx).await?;
    if let Some(at) = &waiting.poll {
        ask = ask.poll(parse_url(at).map_err(Failure::fatal)?);
    }
    let (before, timeout) = (waiting.clone(), args.timeout());
    let request = ctx.state().request(&ctx, &ask, timeout)?;
    let started = Instant::now();
    let sent = tokio::select! {
        sent = ctx.state().send(request, &args.expect, timeout) => sent,
        cause = ctx.stopped() => Err(Failure::retry(format!("stopped: {cause:?}"))),
    };
    let took = u64::try_from(started.elapsed().as_millis())?;
    let what = format!("{} {}", ask.method, ask.url);
    let failure = match sent {
        Ok(answer) => {
            ctx.log(format!("{what} → {} after {took} ms", answer.status));
            answer.head().iter().for_each(|line| ctx.log(line));
            let now = SystemTime::now();
            match judge(&args.expect, &ask.url, answer.status, &answer.headers, now) {
                None => return Ok(answer.into_response(took)),
                Some(verdict) => follow(&ctx, &mut waiting, &verdict, &answer),
            }
        }
        Err(failure) => {
            let why = failure.message();
            ctx.log(format!("{what} → no answer after {took} ms: {why}"));
            failure
        }
    };
    let failure = waiting.note(failure, Timestamp::now(), args.patience());
    if waiting != before {
        ctx.save_checkpoint(&waiting).await?;
    }
    Err(failure)
}

/// The failure that follows from an answer, and what the next attempt has to know of it.
fn follow(
    ctx: &Context<Client>,
    waiting: &mut Waiting,
    verdict: &Verdict,
    answer: &Answer,
) -> Failure {
    if let Verdict::Poll(_, Some(at)) = verdict {
        waiting.poll = Some(at.to_string());
    }
    let (starts, spec) = (ctx.core.assignment.life.starts, ctx.core.spec());
    let pause = spec.backoff.delay(starts, fastrand::f64());
    verdict.failure(&answer.complaint(), pause)
}
