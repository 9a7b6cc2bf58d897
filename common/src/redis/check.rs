//! Whether the server is one that jobs are safe on.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ::redis::{Pipeline, Value};

use super::{link::Link, reply};
use crate::{
    ports::{Finding, Level, StoreError},
    time::Timestamp,
};

/// Slower than this, the round trip shows in every job.
const SLOW: Duration = Duration::from_millis(50);
/// The oldest version that is tried.
const OLDEST: (u32, u32) = (6, 2);
const HEADROOM_PERCENT_MIN: u64 = 20;

/// What the server says of itself.
struct Facts {
    info: HashMap<String, String>,
    /// When it writes snapshots, if it may be asked.
    snapshots: Option<String>,
    took: Duration,
}

/// Refuses a server that would evict jobs; warns of one that forgets them when it stops.
pub(super) async fn at_start(link: &Link) -> Result<(), StoreError> {
    set_clock(link).await?;
    let facts = match Facts::read(link).await {
        Ok(facts) => facts,
        // Whoever lets us in but not ask has to know by himself.
        Err(error @ StoreError::Forbidden { .. }) => {
            tracing::warn!(%error, "cannot see whether the store is safe; run `haul doctor`");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let eviction = eviction(&facts);
    if eviction.level == Level::Broken {
        return Err(StoreError::Unsafe {
            at: link.at().to_owned(),
            why: eviction.detail,
        });
    }
    let persistence = persistence(&facts);
    if persistence.level != Level::Fine {
        tracing::warn!(store = link.at(), "{}", persistence.detail);
    }
    Ok(())
}

/// What `haul doctor` shows.
pub(super) async fn findings(link: &Link) -> Vec<Finding> {
    let facts = match Facts::read(link).await {
        Ok(facts) => facts,
        Err(error) => return vec![finding(Level::Broken, "connection", error.to_string())],
    };
    vec![
        connection(link, &facts),
        clock(link).await,
        version(&facts),
        eviction(&facts),
        persistence(&facts),
        memory(&facts),
        encryption(link),
    ]
}

/// How far this host's clock and the server's may be apart: delays are counted on the server's,
/// deadlines and times of day on those of producers.
const SKEW_MS_MAX: u64 = 2000;

async fn clock(link: &Link) -> Finding {
    if let Err(error) = set_clock(link).await {
        return finding(Level::Warning, "clock", error.to_string());
    }
    let here = Timestamp::now().as_millis();
    judge_clock(link.now().as_millis().saturating_sub(here))
}

fn judge_clock(ahead_ms: i64) -> Finding {
    let apart = ahead_ms.unsigned_abs();
    let word = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let detail = format!("{apart} ms {word} this host's");
    if apart <= SKEW_MS_MAX {
        return finding(Level::Fine, "clock", detail);
    }
    let advice = "; times and deadlines of jobs are off by that: let both keep time by NTP";
    finding(Level::Warning, "clock", detail + advice)
}

async fn set_clock(link: &Link) -> Result<(), StoreError> {
    let asked = Instant::now();
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("TIME");
    let time = link.query(&pipeline).await?.pop().unwrap_or_default();
    let parts = reply::array(time)
        .and_then(|parts| {
            parts
                .into_iter()
                .map(reply::number::<i64>)
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|why| link.corrupt(why))?;
    if let [seconds, micros] = parts[..] {
        link.set_clock(
            asked,
            seconds.saturating_mul(1000).saturating_add(micros / 1000),
        );
    }
    Ok(())
}

impl Facts {
    async fn read(link: &Link) -> Result<Self, StoreError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.cmd("INFO");
        // The pool tries its connection first; what is measured is the second trip.
        drop(link.connection().await?);
        let asked = Instant::now();
        let info = link.query(&pipeline).await?.pop().unwrap_or_default();
        let took = asked.elapsed();
        let info = reply::text(info).map_err(|why| link.corrupt(why))?;
        pipeline.clear();
        pipeline.cmd("CONFIG").arg("GET").arg("save");
        let snapshots = link
            .query(&pipeline)
            .await
            .ok()
            .and_then(|mut replies| replies.pop());
        Ok(Self {
            info: parse(&info),
            snapshots: snapshots.and_then(second),
            took,
        })
    }

    fn text(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// What is told of a server that says this of itself. For tests.
#[cfg(feature = "faults")]
pub(super) fn judge(info: &str) -> Vec<Finding> {
    let facts = Facts {
        info: parse(info),
        snapshots: None,
        took: Duration::ZERO,
    };
    let judges = [version, eviction, persistence, memory];
    judges.iter().map(|judge| judge(&facts)).collect()
}

fn parse(info: &str) -> HashMap<String, String> {
    let pairs = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn second(pair: Value) -> Option<String> {
    reply::text(reply::array(pair).ok()?.into_iter().nth(1)?).ok()
}

fn finding(level: Level, subject: &str, detail: impl Into<String>) -> Finding {
    Finding {
        level,
        subject: format!("store: {subject}"),
        detail: detail.into(),
    }
}

fn connection(link: &Link, facts: &Facts) -> Finding {
    let millis = facts.took.as_secs_f64() * 1000.0;
    let detail = format!("{} answers in {millis:.1} ms", link.at());
    if facts.took > SLOW {
        let advice = "; every job takes two such trips, so move the store closer to the workers";
        return finding(Level::Warning, "connection", detail + advice);
    }
    finding(Level::Fine, "connection", detail)
}

fn version(facts: &Facts) -> Finding {
    let (name, version) = match facts.text("valkey_version") {
        "" => ("Redis", facts.text("redis_version")),
        version => ("Valkey", version),
    };
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if known < OLDEST {
        let (major, minor) = OLDEST;
        let detail = format!("{name} {version} is older than {major}.{minor}; upgrade it");
        return finding(Level::Warning, "version", detail);
    }
    finding(Level::Fine, "version", format!("{name} {version}"))
}

fn eviction(facts: &Facts) -> Finding {
    match facts.text("maxmemory_policy") {
        "noeviction" if facts.number("evicted_keys") > 0 => finding(
            Level::Warning,
            "eviction",
            format!(
                "noeviction by now, but {} keys were dropped since it started: records of jobs may \
                 be missing",
                facts.number("evicted_keys")
            ),
        ),
        "noeviction" => finding(
            Level::Fine,
            "eviction",
            "noeviction: it drops nothing by itself",
        ),
        "" => finding(
            Level::Warning,
            "eviction",
            "it does not say what it does when it is full",
        ),
        policy => finding(
            Level::Broken,
            "eviction",
            format!(
                "maxmemory-policy is {policy}, so it drops jobs when it is full; set it to \
                 noeviction: CONFIG SET maxmemory-policy noeviction, and in its configuration file"
            ),
        ),
    }
}

fn persistence(facts: &Facts) -> Finding {
    if facts.text("aof_enabled") == "1" {
        if facts.text("aof_last_write_status") == "err" {
            let detail = "the append-only file cannot be written; look at its disk";
            return finding(Level::Broken, "persistence", detail);
        }
        return finding(Level::Fine, "persistence", "append-only file");
    }
    match facts.snapshots.as_deref() {
        Some("") => finding(
            Level::Warning,
            "persistence",
            "nothing is written to disk, so a restart forgets states, results and checkpoints \
             (waiting jobs stay in the broker); set appendonly yes",
        ),
        Some(save) => finding(
            Level::Warning,
            "persistence",
            format!(
                "snapshots only (save {save}), so a crash forgets what came after the last one; \
                 set appendonly yes"
            ),
        ),
        None => finding(
            Level::Warning,
            "persistence",
            "no append-only file, and it does not say whether it writes snapshots; \
             set appendonly yes",
        ),
    }
}

fn memory(facts: &Facts) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let (used, limit) = (facts.number("used_memory"), facts.number("maxmemory"));
    if limit == 0 {
        let detail = format!("{} MiB used, no limit but the machine's", used / MIB);
        return finding(Level::Fine, "memory", detail);
    }
    let free = limit.saturating_sub(used).saturating_mul(100) / limit;
    let detail = format!("{} of {} MiB used", used / MIB, limit / MIB);
    if free < HEADROOM_PERCENT_MIN {
        let advice = "; when it is full, nothing can be recorded and workers stand still: raise \
                      maxmemory, or shorten the retention of jobs";
        return finding(Level::Warning, "memory", detail + advice);
    }
    finding(Level::Fine, "memory", detail)
}

fn encryption(link: &Link) -> Finding {
    if link.is_exposed() {
        let detail =
            "arguments, results and the password cross the network in clear; use rediss://";
        return finding(Level::Warning, "encryption", detail);
    }
    finding(
        Level::Fine,
        "encryption",
        "TLS, or the line does not leave this machine",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(info: &str, snapshots: Option<&str>) -> Facts {
        Facts {
            info: parse(info),
            snapshots: snapshots.map(str::to_owned),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn any_policy_but_noeviction_is_broken() {
        for (policy, level) in [
            ("noeviction", Level::Fine),
            ("allkeys-lru", Level::Broken),
            ("volatile-ttl", Level::Broken),
        ] {
            let facts = facts(&format!("# Memory\r\nmaxmemory_policy:{policy}\r\n"), None);
            assert_eq!(eviction(&facts).level, level, "{policy}");
        }
        let evicted = facts("maxmemory_policy:noeviction\r\nevicted_keys:7\r\n", None);
        assert_eq!(eviction(&evicted).level, Level::Warning);
    }

    #[test]
    fn memory_and_crashes_need_an_append_only_file() {
        assert_eq!(
            persistence(&facts("aof_enabled:1\r\n", None)).level,
            Level::Fine
        );
        for snapshots in [None, Some(""), Some("3600 1")] {
            let finding = persistence(&facts("aof_enabled:0\r\n", snapshots));
            assert_eq!(finding.level, Level::Warning);
            assert!(
                finding.detail.contains("appendonly yes"),
                "{}",
                finding.detail
            );
        }
    }

    #[test]
    fn clocks_that_are_apart_are_a_warning() {
        for (ahead_ms, level) in [
            (0, Level::Fine),
            (-2000, Level::Fine),
            (2001, Level::Warning),
            (i64::MIN, Level::Warning),
        ] {
            assert_eq!(judge_clock(ahead_ms).level, level, "{ahead_ms}");
        }
    }

    #[test]
    fn a_nearly_full_store_is_a_warning() {
        let full = facts("used_memory:90\r\nmaxmemory:100\r\n", None);
        assert_eq!(memory(&full).level, Level::Warning);
        let free = facts("used_memory:50\r\nmaxmemory:100\r\n", None);
        assert_eq!(memory(&free).level, Level::Fine);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let level = |info| version(&facts(info, None)).level;
        assert_eq!(level("redis_version:5.0.14\r\n"), Level::Warning);
        assert_eq!(level("redis_version:10.0.0\r\n"), Level::Fine);
        assert_eq!(
            level("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n"),
            Level::Fine
        );
    }
}
