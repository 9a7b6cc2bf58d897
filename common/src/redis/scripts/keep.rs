//! `note.lua` and `save.lua`

use std::borrow::Cow;

use ::redis::Value;

use super::{Call, Keys, NOTE, SAVE, Unreadable};
use crate::{
    ports::{Kept, Note, Save, SaveKey, Saved},
    redis::{record, reply},
};

/// The checkpoint, and this many steps.
const FIELDS_MAX: u32 = 1001;
const CHECKPOINT: &str = "cp";
const STEP: &str = "s:";

pub(in crate::redis) fn note(keys: &Keys, note: &Note) -> Call {
    let progress = note.progress.as_ref().map(serde_json::to_vec);
    Call::new(&NOTE, &[keys.job(&note.id)])
        .number(note.fence.0)
        .bytes(&progress.and_then(Result::ok).unwrap_or_default())
        .text(&record::log(note.fence, &note.log))
}

pub(in crate::redis) fn save(keys: &Keys, save: &Save) -> Call {
    let field = match &save.key {
        SaveKey::Checkpoint => Cow::Borrowed(CHECKPOINT),
        SaveKey::Step(name) => Cow::Owned(format!("{STEP}{name}")),
    };
    Call::new(&SAVE, &[keys.job(&save.id), keys.saved(&save.id)])
        .number(save.fence.0)
        .text(&field)
        .text(save.value.get())
        .number(FIELDS_MAX)
}

pub(in crate::redis) fn kept(value: Value) -> Result<Kept, Unreadable> {
    match reply::text(value)?.as_str() {
        "done" => Ok(Kept::Done),
        "lost" => Ok(Kept::Lost),
        "missing" => Ok(Kept::Missing),
        "full" => Err(format!(
            "the job already remembers {} steps, and that is the limit; use fewer, larger steps",
            FIELDS_MAX - 1
        )),
        other => Err(format!("an outcome was expected instead of {other:?}")),
    }
}

/// Reads HGETALL of what a job saved.
pub(in crate::redis) fn saved(value: Value) -> Result<Saved, Unreadable> {
    let mut saved = Saved::default();
    let mut values = reply::array(value)?.into_iter();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        let (name, text) = (reply::text(name)?, reply::text(value)?);
        let json = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        match name.strip_prefix(STEP) {
            Some(step) => drop(saved.steps.insert(step.to_owned(), json)),
            None => saved.checkpoint = Some(json),
        }
    }
    Ok(saved)
}
