//! `keep_script.lua` and `forget_script.lua`: scripts that people store, of whatever language.

use ::redis::Value;

use super::{Call, FORGET_SCRIPT, KEEP_SCRIPT, Keys, Unreadable};
use crate::{
    job::{SCRIPT_VERSIONS_KEPT, Script, ScriptName, ScriptVersion},
    redis::reply,
    time::Timestamp,
};

const SEPARATOR: char = '|';

pub(in crate::redis) fn keep_script(keys: &Keys, script: &Script) -> Call {
    let Script {
        name,
        version,
        added,
        text,
    } = script;
    let entry = format!("{version}{SEPARATOR}{}{SEPARATOR}{text}", added.as_millis());
    Call::new(&KEEP_SCRIPT, &[keys.scripts(), keys.script(name)])
        .text(name)
        .text(version.as_str())
        .text(&entry)
        .number(SCRIPT_VERSIONS_KEPT)
}

pub(in crate::redis) fn forget_script(keys: &Keys, name: &ScriptName) -> Call {
    Call::new(&FORGET_SCRIPT, &[keys.scripts(), keys.script(name)]).text(name)
}

/// Reads the names.
pub(in crate::redis) fn script_names(keys: &Keys) -> Call {
    let key = keys.scripts();
    Call::plain(::redis::cmd("SMEMBERS").arg(&key), key.len())
}

pub(in crate::redis) fn names_of_scripts(value: Value) -> Result<Vec<ScriptName>, Unreadable> {
    let names = reply::array(value)?.into_iter();
    names
        .map(|name| {
            let name = reply::text(name)?;
            name.parse().map_err(|error| format!("{error}"))
        })
        .collect()
}

/// Reads the latest version, or all of them, the latest first.
pub(in crate::redis) fn script_versions(keys: &Keys, name: &ScriptName, all: bool) -> Call {
    let key = keys.script(name);
    let last = if all { -1 } else { 0 };
    let mut command = ::redis::cmd("LRANGE");
    Call::plain(command.arg(&key).arg(0).arg(last), key.len())
}

pub(in crate::redis) fn versions(
    name: &ScriptName,
    value: Value,
) -> Result<Vec<Script>, Unreadable> {
    let entries = reply::array(value)?.into_iter();
    entries
        .map(|entry| script(name, reply::text(entry)?))
        .collect()
}

fn script(name: &ScriptName, entry: String) -> Result<Script, Unreadable> {
    let mut parts = entry.splitn(3, SEPARATOR);
    let mut part = || parts.next().ok_or("three parts were expected");
    let version: ScriptVersion = part()?.parse().map_err(|error| format!("{error}"))?;
    let added = part()?.parse().map(Timestamp::from_millis);
    Ok(Script {
        name: name.clone(),
        version,
        added: added.map_err(|error| format!("when it was added: {error}"))?,
        text: part()?.to_owned(),
    })
}
