//! The scripts, each with its typed wrapper: one function makes the call, one reads the answer.
//! A script's contract heads its file.
//!
//! Values reach a script as KEYS and ARGV only. The clock is the server's, by TIME.

mod apply;
mod beat;
mod claim;
mod create;
mod keep;

use std::sync::LazyLock;

use ::redis::{Cmd, Script};

pub(super) use apply::{applied, apply};
pub(super) use beat::{beat, pulse};
pub(super) use claim::{claim, claimed};
pub(super) use create::{create, created};
pub(super) use keep::{kept, note, save, saved};

use super::{
    keys::Keys,
    record::Pairs,
    reply::{self, Unreadable},
};

macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {
        $(static $name: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!($file)));)+
    };
}

scripts! {
    APPLY = "apply.lua";
    BEAT = "beat.lua";
    CLAIM = "claim.lua";
    CREATE = "create.lua";
    EXPIRE = "expire.lua";
    NOTE = "note.lua";
    PRUNE = "prune.lua";
    SAVE = "save.lua";
}

/// How long after its expiry a record goes by itself, if no janitor came by.
const BACKSTOP_MS: i64 = 3_600_000;

/// A script and the name that a server knows it by.
struct Lua {
    code: &'static str,
    script: Script,
}

impl Lua {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            script: Script::new(code),
        }
    }
}

/// A script with its keys and values.
pub(super) struct Call {
    script: Option<&'static Lua>,
    command: Cmd,
    size: usize,
}

impl Call {
    fn new(script: &'static Lua, keys: &[String]) -> Self {
        let mut command = ::redis::cmd("EVALSHA");
        command.arg(script.script.get_hash()).arg(keys.len());
        let call = Self {
            script: Some(script),
            command,
            size: 0,
        };
        keys.iter().fold(call, |call, key| call.arg(key.as_bytes()))
    }

    fn arg(mut self, value: &[u8]) -> Self {
        self.size += value.len();
        self.command.arg(value);
        self
    }

    fn number(self, value: impl std::fmt::Display) -> Self {
        self.arg(value.to_string().as_bytes())
    }

    fn pairs(self, pairs: Pairs) -> Self {
        pairs.into_iter().fold(self, |call, (name, value)| {
            call.arg(name.as_bytes()).arg(&value)
        })
    }

    pub(super) const fn command(&self) -> &Cmd {
        &self.command
    }

    /// Bytes of keys and values.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Makes the server know the script.
    pub(super) fn load(&self) -> Option<Cmd> {
        let mut load = ::redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.script?.code);
        Some(load)
    }
}

/// Reads a whole hash. No script, but it rides along.
pub(super) fn hash(key: &str) -> Call {
    let mut command = ::redis::cmd("HGETALL");
    command.arg(key);
    Call {
        script: None,
        command,
        size: 0,
    }
}

/// Forgets up to `limit` jobs whose retention is over.
pub(super) fn expire(keys: &Keys, limit: usize) -> Call {
    let keys = [
        keys.expiry(),
        keys.indexes(),
        keys.job(""),
        keys.saved(""),
        keys.batches(),
    ];
    Call::new(&EXPIRE, &keys).number(limit)
}

/// How many entries it met, how many records it removed.
pub(super) fn expired(value: ::redis::Value) -> Result<(usize, usize), Unreadable> {
    match <[_; 2]>::try_from(reply::array(value)?) {
        Ok([met, removed]) => Ok((reply::number(met)?, reply::number(removed)?)),
        Err(_) => Err("two numbers were expected".to_owned()),
    }
}

/// Drops an index entry whose record is gone.
pub(super) fn prune(keys: &Keys, index: &str, id: &str) -> Call {
    Call::new(&PRUNE, &[keys.job(id), index.to_owned()]).arg(id.as_bytes())
}
