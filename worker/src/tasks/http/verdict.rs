//! What follows from an answer.

use std::time::{Duration, SystemTime};

use haul_common::job::Failure;
use http::{
    HeaderMap, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use url::Url;

use super::args::{Expect, parse_url};

/// What the receiver may ask for at most, so that one that is mistaken holds nothing up for long.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// What costs no attempt must not be asked for without a pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Between two polls, unless the receiver says.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// What follows from an answer that is no success.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not done yet: ask again after this long, there, or in the same way.
    Poll(Duration, Option<Url>),
    /// Asked for less; when to try again, if it says.
    Throttle(Option<Duration>),
    /// Try again; when, if it says.
    Retry(Option<Duration>),
    /// Never try again, because of this.
    Stop(String),
}

/// Judges an answer by its head; nothing for a success. It came from `url`.
pub(super) fn judge(
    expect: &Expect,
    url: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Verdict> {
    let wait = || retry_after(headers, now);
    let code = status.as_u16();
    if code == 202 && !expect.names(status) && headers.contains_key("haul-poll") {
        return Some(match poll_at(url, headers) {
            Ok(at) => Verdict::Poll(wait().unwrap_or(POLL_EVERY).max(PAUSE_MIN), at),
            Err(why) => Verdict::Stop(why),
        });
    }
    if expect.takes(status) {
        return None;
    }
    let stop = headers.get("haul-stop");
    if stop.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        return Some(Verdict::Stop("the receiver said Haul-Stop".to_owned()));
    }
    Some(match code {
        429 | 503 => Verdict::Throttle(wait().map(|wait| wait.max(PAUSE_MIN))),
        408 | 425 | 500.. => Verdict::Retry(wait()),
        410 => Verdict::Stop("the receiver wants no more of it".to_owned()),
        300..400 => Verdict::Stop(redirected(headers)),
        200..300 => Verdict::Stop(format!("expected {expect}")),
        _ => Verdict::Stop("no retry can help".to_owned()),
    })
}

impl Verdict {
    /// As the failure of an attempt. `said` is the answer in short, `pause` how long to wait when
    /// the receiver asks for less and does not say for how long.
    pub(super) fn failure(&self, said: &str, pause: Duration) -> Failure {
        match self {
            Self::Poll(wait, _) => Failure::postponed(*wait, format!("not done yet: {said}")),
            Self::Throttle(wait) => Failure::throttled(wait.unwrap_or(pause.max(PAUSE_MIN)), said),
            Self::Retry(Some(wait)) => Failure::retry_after(*wait, said),
            Self::Retry(None) => Failure::retry(said),
            Self::Stop(why) => Failure::fatal(format!("{said} ({why})")),
        }
    }
}

/// `Retry-After`, in seconds or as a date; anything else is as if it were not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            at.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(WAIT_MAX))
}

/// Where to ask: what `Haul-Poll` names, or with `true` what `Location` names, or the same again.
fn poll_at(url: &Url, headers: &HeaderMap) -> Result<Option<Url>, String> {
    let read = |name: &str| match headers.get(name) {
        Some(value) => value.to_str().map(str::trim).map(Some),
        None => Ok(None),
    };
    let says_true = |text: &str| text.eq_ignore_ascii_case("true");
    let at = match read("haul-poll") {
        Ok(Some(text)) if says_true(text) => read(LOCATION.as_str()),
        at => at,
    };
    let Some(text) = at.map_err(|_| "where to ask again is not ASCII".to_owned())? else {
        return Ok(None);
    };
    let looks_like_a_url = text.starts_with(['/', '?', '.']) || text.contains("://");
    if !looks_like_a_url {
        return Err(format!(
            "where to ask again, `{}`, is no URL; Haul-Poll is `true`, `/path` or `https://…`",
            text.chars().take(200).collect::<String>()
        ));
    }
    let joined = url.join(text).map_err(|why| why.to_string());
    let at = joined.and_then(|at| parse_url(at.as_str()));
    at.map(Some)
        .map_err(|why| format!("where to ask again: {why}"))
}

fn redirected(headers: &HeaderMap) -> String {
    let to = headers
        .get(LOCATION)
        .map(|to| String::from_utf8_lossy(to.as_bytes()));
    let to = to.map_or_else(String::new, |to| {
        format!(" to {}", to.chars().take(300).collect::<String>())
    });
    format!("redirected{to}; redirects are not followed: name the right URL in the job")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 6 November 1994, 08:49:37.
    const NOW: u64 = 784_111_777;

    fn verdict(expect: Expect, code: u16, head: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in head {
            headers.insert(*name, value.parse().unwrap());
        }
        let url = "https://one.example/a/b?c".parse().unwrap();
        let status = StatusCode::from_u16(code).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let in_seconds = |wait: Option<Duration>| wait.map(|wait| wait.as_secs());
        match judge(&expect, &url, status, &headers, now) {
            None => "done".to_owned(),
            Some(Verdict::Poll(wait, None)) => format!("poll {}", wait.as_secs()),
            Some(Verdict::Poll(wait, Some(at))) => format!("poll {} {at}", wait.as_secs()),
            Some(Verdict::Throttle(wait)) => format!("throttle {:?}", in_seconds(wait)),
            Some(Verdict::Retry(wait)) => format!("retry {:?}", in_seconds(wait)),
            Some(Verdict::Stop(why)) => format!("stop: {why}"),
        }
    }

    #[test]
    fn each_status_has_its_verdict() {
        let stop = "stop: no retry can help";
        for (codes, says) in [
            (&[200, 201, 202, 204, 299][..], "done"),
            (&[408, 425, 500, 502, 504, 507, 599], "retry None"),
            (&[429, 503], "throttle None"),
            (&[400, 401, 403, 404, 409, 418, 422, 451], stop),
            (&[410], "stop: the receiver wants no more of it"),
        ] {
            for code in codes {
                assert_eq!(verdict(Expect::Any, *code, &[]), says, "{code}");
            }
        }
        let moved = verdict(Expect::Any, 302, &[("location", "http://10.0.0.1/")]);
        assert!(
            moved.starts_with("stop: redirected to http://10.0.0.1/;"),
            "{moved}"
        );
    }

    #[test]
    fn what_is_expected_is_done_and_nothing_else() {
        let list = || Expect::OneOf(vec![201, 404]);
        assert_eq!(verdict(list(), 404, &[("haul-stop", "true")]), "done");
        assert_eq!(verdict(list(), 201, &[]), "done");
        assert_eq!(verdict(list(), 200, &[]), "stop: expected 201, 404");
        assert_eq!(verdict(list(), 500, &[]), "retry None");
        assert_eq!(
            verdict(Expect::One(202), 202, &[("haul-poll", "true")]),
            "done"
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_reason() {
        for (value, says) in [
            ("0", "Some(0)"),
            ("120", "Some(120)"),
            ("Sun, 06 Nov 1994 08:50:37 GMT", "Some(60)"),
            ("Sunday, 06-Nov-94 08:50:37 GMT", "Some(60)"),
            ("Sun, 06 Nov 1994 08:00:00 GMT", "Some(0)"),
            ("99999999999", "Some(86400)"),
            ("Fri, 31 Dec 9999 23:59:59 GMT", "Some(86400)"),
            ("soon", "None"),
            ("-1", "None"),
        ] {
            let head = [("retry-after", value)];
            assert_eq!(
                verdict(Expect::Any, 500, &head),
                format!("retry {says}"),
                "{value}"
            );
        }
        // What costs nothing has to wait.
        assert_eq!(
            verdict(Expect::Any, 429, &[("retry-after", "0")]),
            "throttle Some(1)"
        );
    }

    #[test]
    fn haul_stop_stops_what_would_retry() {
        for (value, says) in [
            ("true", "stop: the receiver said Haul-Stop"),
            ("no", "retry None"),
        ] {
            assert_eq!(verdict(Expect::Any, 500, &[("haul-stop", value)]), says);
        }
    }

    #[test]
    fn a_poll_goes_where_the_receiver_says() {
        for (poll, location, says) in [
            ("true", None, "poll 5"),
            ("true", Some("/jobs/1"), "poll 5 https://one.example/jobs/1"),
            (
                "/jobs/2?x=1",
                Some("/jobs/1"),
                "poll 5 https://one.example/jobs/2?x=1",
            ),
            (
                "https://two.example/#top",
                None,
                "poll 5 https://two.example/",
            ),
            ("?again", None, "poll 5 https://one.example/a/b?again"),
        ] {
            let mut head = vec![("haul-poll", poll)];
            head.extend(location.map(|at| ("location", at)));
            assert_eq!(verdict(Expect::Any, 202, &head), says, "{poll}");
        }
        for poll in [
            "30",
            "jobs/1",
            "ftp://two.example/",
            "https://me:pw@two.example/",
            "",
        ] {
            let says = verdict(Expect::Any, 202, &[("haul-poll", poll)]);
            assert!(
                says.starts_with("stop: where to ask again"),
                "{poll}: {says}"
            );
        }
        let head = [("haul-poll", "true"), ("retry-after", "0")];
        assert_eq!(verdict(Expect::Any, 202, &head), "poll 1");
        assert_eq!(verdict(Expect::Any, 200, &head), "done");
    }
}
