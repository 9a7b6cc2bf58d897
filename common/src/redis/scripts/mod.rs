//! The scripts, each with its typed wrapper: one function makes the call, one reads the answer.
//! A script's contract heads its file.
//!
//! Values reach a script as KEYS and ARGV only. The clock is the server's, by TIME. What happens to
//! every job – [`create`], [`claim`], [`apply`] – takes many calls at once: see `batch.lua`.

mod apply;
mod beat;
mod claim;
mod create;
mod keep;
mod lease;
mod stored;
mod tally;

use std::{sync::LazyLock, time::Duration};

use ::redis::{Arg, Cmd, Script, ToRedisArgs, Value};

pub(super) use apply::{applied, apply};
pub(super) use beat::{beat, pulse};
pub(super) use claim::{claim, claimed};
pub(super) use create::{create, created};
pub(super) use keep::{kept, note, save, saved};
pub(super) use lease::{lease, leased};
pub(super) use stored::{
    forget_script, keep_script, names_of_scripts, script_names, script_versions, versions,
};
pub(super) use tally::{tallied, tally};

use super::{
    keys::Keys,
    record::Pair,
    reply::{self, Unreadable},
};
use crate::{
    job::StateKind,
    life::{Life, RETENTION_DEAD},
    time::Timestamp,
};

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)+) => {
        $(static $name: LazyLock<Lua> = LazyLock::new(|| {
            Lua::new(concat!($(include_str!($file)),+))
        });)+
    };
}

macro_rules! shared_scripts {
    ($($name:ident = $($file:literal)+, $keys:path;)+) => {
        $(static $name: LazyLock<Lua> = LazyLock::new(|| {
            Lua::shared(concat!(include_str!("batch.lua"), $(include_str!($file)),+), $keys)
        });)+
    };
}

shared_scripts! {
    APPLY = "apply.lua", apply::keys;
    CLAIM = "record.lua" "claim.lua", create::keys;
    CREATE = "record.lua" "create.lua", create::keys;
}

scripts! {
    BEAT = "life.lua" "beat.lua";
    EXPIRE = "head.lua" "expire.lua";
    FORGET_SCRIPT = "forget_script.lua";
    KEEP_SCRIPT = "keep_script.lua";
    LEASE = "life.lua" "lease.lua";
    NOTE = "note.lua";
    PRUNE = "prune.lua";
    REFILE = "head.lua" "refile.lua";
    SAVE = "save.lua";
    TALLY = "tally.lua";
}

/// Room that a call of the common scripts needs.
const ARGS: usize = 20;
const BYTES: usize = 640;
/// How many calls share one of a script; the server does nothing else meanwhile.
const CALLS_MAX: usize = 64;
/// A job that is kept as long as this is forgotten by the minute.
const LONG: Duration = Duration::from_secs(3600);

/// A script and the name that a server knows it by.
pub(super) struct Lua {
    code: &'static str,
    script: Script,
    /// Of one that takes many calls: the keys of all.
    keys: Option<fn(&Keys) -> Vec<String>>,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            script: Script::new(code),
            keys: None,
        }
    }

    fn shared(code: &'static str, keys: fn(&Keys) -> Vec<String>) -> Self {
        Self {
            keys: Some(keys),
            ..Self::new(code)
        }
    }

    /// What a server knows it by.
    pub(super) fn name(&self) -> &str {
        self.script.get_hash()
    }

    /// Makes the server know the script.
    pub(super) fn load(&self) -> Cmd {
        let mut load = ::redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.code);
        load
    }

    fn eval(&self, keys: &[String]) -> Cmd {
        let mut command = Cmd::with_capacity(keys.len() + ARGS, BYTES);
        command.arg("EVALSHA");
        command.arg(self.name()).arg(keys.len()).arg(keys);
        command
    }
}

/// A command: most often a script with its keys and values. Of a script that takes many calls, the
/// values alone.
pub(super) struct Call {
    pub(super) script: Option<&'static Lua>,
    pub(super) command: Cmd,
    /// About how many bytes its keys and values are.
    pub(super) size: usize,
}

impl Call {
    fn new(script: &'static Lua, keys: &[String]) -> Self {
        Self {
            script: Some(script),
            command: script.eval(keys),
            size: keys.iter().map(String::len).sum(),
        }
    }

    /// One of many calls of the script.
    fn one_of(script: &'static Lua) -> Self {
        Self {
            script: Some(script),
            command: Cmd::with_capacity(ARGS, BYTES),
            size: 0,
        }
    }

    /// No script, but it rides along.
    fn plain(command: &Cmd, size: usize) -> Self {
        Self {
            script: None,
            command: command.clone(),
            size,
        }
    }

    fn bytes(mut self, value: &[u8]) -> Self {
        self.size += value.len();
        self.command.arg(value);
        self
    }

    fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    fn number(mut self, value: impl ToRedisArgs) -> Self {
        self.size += size_of::<u64>();
        self.command.arg(value);
        self
    }

    fn pairs(self, pairs: impl IntoIterator<Item = Pair>) -> Self {
        pairs
            .into_iter()
            .fold(self, |call, (name, value)| call.text(&name).bytes(&value))
    }
}

/// A command on its way, which is one call, or several of a script that takes many.
pub(super) struct Shared {
    pub(super) script: Option<&'static Lua>,
    pub(super) command: Cmd,
    pub(super) calls: usize,
}

impl Shared {
    pub(super) fn new(call: Call, keys: &Keys) -> Self {
        let script = call.script;
        let Some((lua, of_all)) = script.and_then(|lua| Some((lua, lua.keys?))) else {
            return Self {
                script,
                command: call.command,
                calls: 1,
            };
        };
        let mut shared = Self {
            script,
            command: lua.eval(&of_all(keys)),
            calls: 0,
        };
        shared.add(&call);
        shared
    }

    /// Whether there is room for this call too.
    pub(super) fn takes(&self, call: &Call) -> bool {
        let same = |lua: &Lua| call.script.is_some_and(|other| std::ptr::eq(lua, other));
        self.calls < CALLS_MAX && self.is_shared() && self.script.is_some_and(same)
    }

    pub(super) fn add(&mut self, call: &Call) {
        self.calls += 1;
        let values = call.command.args_iter();
        self.command.arg(values.len());
        for value in values {
            if let Arg::Simple(bytes) = value {
                self.command.arg(bytes);
            }
        }
    }

    /// The answers to the calls that share the command.
    pub(super) fn answers(&self, reply: Value) -> Vec<Value> {
        match reply {
            Value::Array(answers) if self.is_shared() && answers.len() == self.calls => answers,
            // An error, for each of them; anything else is one that they cannot read.
            reply => vec![reply; self.calls],
        }
    }

    fn is_shared(&self) -> bool {
        self.script.is_some_and(|lua| lua.keys.is_some())
    }
}

/// Reads a whole hash.
pub(super) fn hash(key: &str) -> Call {
    Call::plain(::redis::cmd("HGETALL").arg(key), key.len())
}

/// When a job that is at `life` may be forgotten, and when it ended; of one that has not ended, neither.
/// What is kept for long is forgotten by the minute, and the rest by the second: each has a list.
fn forget(call: Call, expires: Option<Timestamp>, life: &Life) -> Call {
    let (Some(expires), Some(finished)) = (expires, life.state.finished()) else {
        return call.text("").text("");
    };
    let grain = if expires.since(finished) < LONG {
        1_000
    } else {
        60_000
    };
    let (at, finished) = (expires.as_millis(), finished.as_millis());
    // Rounded up: nothing is forgotten too soon.
    let at = at.saturating_add((grain - at.rem_euclid(grain)) % grain);
    call.number(at).number(finished)
}

/// Forgets up to `limit` jobs whose retention is over.
pub(super) fn expire(keys: &Keys, limit: usize) -> Call {
    let keys = [
        keys.expiry(),
        keys.indexes(),
        keys.job(""),
        keys.saved(""),
        keys.batches(),
        keys.tallies(),
        keys.all_batches(),
    ];
    let ended = StateKind::ALL.iter().filter(|state| state.is_terminal());
    let call = Call::new(&EXPIRE, &keys).number(limit);
    ended.fold(call, |call, state| call.text(state.as_str()))
}

/// How many entries it met, how many records it removed.
pub(super) fn expired(value: Value) -> Result<(usize, usize), Unreadable> {
    match <[_; 2]>::try_from(reply::array(value)?) {
        Ok([met, removed]) => Ok((reply::number(met)?, reply::number(removed)?)),
        Err(_) => Err("two numbers were expected".to_owned()),
    }
}

/// Drops an index entry whose record is gone.
pub(super) fn prune(keys: &Keys, index: &str, id: &str) -> Call {
    Call::new(&PRUNE, &[keys.job(id), index.to_owned()]).text(id)
}

/// Files these jobs' records in the indexes by what they say themselves. One whose expiry is unknown is
/// kept as long as a dead one.
pub(super) fn refile(keys: &Keys, ids: &[String]) -> Call {
    let keys = [
        keys.indexes(),
        keys.queues(),
        keys.expiry(),
        keys.batches(),
        keys.job(""),
        keys.tallies(),
    ];
    let (ended, others): (Vec<StateKind>, Vec<StateKind>) =
        StateKind::ALL.iter().partition(|state| state.is_terminal());
    let call = Call::new(&REFILE, &keys)
        .number(RETENTION_DEAD.as_millis())
        .number(ended.len())
        .number(StateKind::ALL.len())
        .number(tally::COUNTED_ANEW_MAX);
    let states = ended.into_iter().chain(others);
    let call = states.fold(call, |call, state| call.text(state.as_str()));
    ids.iter().fold(call, |call, id| call.text(id))
}
