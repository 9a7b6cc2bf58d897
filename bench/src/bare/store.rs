//! Redis by hand: a hash for each job, and a script for each of its three writes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use redis::{AsyncConnectionConfig, Client, Pipeline, aio::MultiplexedConnection};

use super::load::Job;

const RETENTION_MS: u64 = 600_000;

/// The worker may be quicker than the submitter: then the record is there.
const CREATE: &str = "
    if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
    redis.call('HSET', KEYS[1], 'state', 'queued', 'task', 'bench', 'queue', ARGV[1],
        'created', ARGV[2])
    return 1";

/// Counts the attempt, which is also its fence; refuses a job that is over.
const CLAIM: &str = "
    if redis.call('HGET', KEYS[1], 'state') == 'succeeded' then return 0 end
    redis.call('HSET', KEYS[1], 'state', 'running', 'worker', ARGV[1], 'started', ARGV[2])
    return redis.call('HINCRBY', KEYS[1], 'attempt', 1)";

/// Records the end, if this attempt is still the current one.
const FINISH: &str = "
    local job = redis.call('HMGET', KEYS[1], 'state', 'attempt')
    if job[1] ~= 'running' or job[2] ~= ARGV[1] then return 0 end
    redis.call('HSET', KEYS[1], 'state', 'succeeded', 'result', ARGV[2], 'ended', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return 1";

/// The end of one attempt.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: String,
    pub(super) attempt: u64,
    pub(super) result: String,
}

#[derive(Debug, Clone)]
pub(super) struct Store {
    connection: MultiplexedConnection,
    create: String,
    claim: String,
    finish: String,
}

/// A connection that waits: a server that rewrites its file may be busy for longer than the half
/// second that the library gives it by itself.
pub(crate) async fn open(url: &str) -> Result<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(url)?;
    Ok(client
        .get_multiplexed_async_connection_with_config(&patient)
        .await?)
}

impl Store {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut connection = open(url).await?;
        let mut names = Vec::new();
        for script in [CREATE, CLAIM, FINISH] {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script);
            names.push(load.query_async::<String>(&mut connection).await?);
        }
        let mut name = || names.remove(0);
        Ok(Self {
            connection,
            create: name(),
            claim: name(),
            finish: name(),
        })
    }

    pub(super) async fn create(&self, jobs: &[Job]) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(jobs.len());
        let now = now_ms();
        for job in jobs {
            call(&mut pipeline, &self.create, &job.id)
                .arg(&job.queue)
                .arg(now);
        }
        let _: Vec<u64> = pipeline.query_async(&mut self.connection.clone()).await?;
        Ok(())
    }

    /// The attempt of each job; 0 for one that is over.
    pub(super) async fn claim(&self, ids: &[&str], worker: &str) -> Result<Vec<u64>> {
        let mut pipeline = Pipeline::with_capacity(ids.len());
        let now = now_ms();
        for id in ids {
            call(&mut pipeline, &self.claim, id).arg(worker).arg(now);
        }
        Ok(pipeline.query_async(&mut self.connection.clone()).await?)
    }

    pub(super) async fn finish(&self, ends: &[Ended]) -> Result<()> {
        let mut pipeline = Pipeline::with_capacity(ends.len());
        let now = now_ms();
        for end in ends {
            call(&mut pipeline, &self.finish, &end.id)
                .arg(end.attempt)
                .arg(&end.result)
                .arg(now)
                .arg(RETENTION_MS);
        }
        let _: Vec<u64> = pipeline.query_async(&mut self.connection.clone()).await?;
        Ok(())
    }
}

fn call<'p>(pipeline: &'p mut Pipeline, script: &str, id: &str) -> &'p mut Pipeline {
    let key = format!("bare:job:{id}");
    pipeline.cmd("EVALSHA").arg(script).arg(1).arg(key)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
