//! Lets tests in to what reads requests and answers. Only there with the feature `faults`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use url::Url;

use super::{
    args::{Expect, HttpRequest},
    guard::Allow,
    verdict::{Verdict, judge},
};

/// Where a request goes, and with which headers.
///
/// # Errors
/// When it cannot be sent.
pub fn request(args: &HttpRequest) -> Result<(Url, HeaderMap), String> {
    let ask = args.ask().map_err(|failure| failure.message().to_owned())?;
    Ok((ask.url, ask.headers))
}

/// What follows from an answer.
#[derive(Debug)]
pub enum Follows {
    /// Nothing: it is a success.
    Done,
    /// Another request, after so long if the answer says, and there if it says.
    Again(Option<Duration>, Option<Url>),
    /// Nothing more, because of this.
    Stop(String),
}

/// What follows from an answer to a request to `url`.
pub fn answer(
    expect: &Expect,
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Follows {
    match judge(expect, url, status, headers, now) {
        None => Follows::Done,
        Some(Verdict::Poll(wait, at)) => Follows::Again(Some(wait), at),
        Some(Verdict::Throttle(wait) | Verdict::Retry(wait)) => Follows::Again(wait, None),
        Some(Verdict::Stop(why)) => Follows::Stop(why),
    }
}

/// Reads a host that may be called.
///
/// # Errors
/// When it is none.
pub fn host(text: &str) -> Result<String, String> {
    text.parse().map(|allow: Allow| format!("{allow:?}"))
}
