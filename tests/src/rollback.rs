//! What a site's Redis knew at some time, to be put back later: as after a fail-over to a replica
//! that was behind, or the loss of the newest part of the append-only file.

use redis::{Commands, Connection};

/// All that a namespace held.
pub struct Memory {
    redis: Connection,
    pattern: String,
    keys: Vec<(String, Vec<u8>)>,
}

impl Memory {
    /// What this namespace holds now.
    pub fn of(url: &str, namespace: &str) -> Self {
        let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
        let pattern = format!("{{{namespace}}}:*");
        let names: Vec<String> = redis.keys(&pattern).unwrap();
        let dump = |key: String| {
            let dumped = redis::cmd("DUMP").arg(&key).query(&mut redis).unwrap();
            (key, dumped)
        };
        let keys = names.into_iter().map(dump).collect();
        Self {
            redis,
            pattern,
            keys,
        }
    }

    /// Puts everything back as it was then, at once.
    pub fn restore(mut self) {
        let names: Vec<String> = self.redis.keys(&self.pattern).unwrap();
        let mut all = redis::pipe();
        all.atomic();
        for name in names {
            all.del(name).ignore();
        }
        for (key, dumped) in &self.keys {
            all.cmd("RESTORE").arg(key).arg(0).arg(dumped).ignore();
        }
        all.exec(&mut self.redis).unwrap();
    }
}
